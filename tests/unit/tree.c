/* tree.c -- trees own what is in them, maps are read by a table, and each refusal has the place
 * and these words. */
#include "base/ctx.h"
#include "base/tree.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct mt_attr attrs[] = {
    {"size", MT_ATTR_INT, .min = 1, .required = 1, .doc = "outputs"},
    {"lr", MT_ATTR_NUM, .def.f = 1e-3, .min = 0, .max = INFINITY},
    {"bias", MT_ATTR_BOOL, .def.b = 1},
    {"path", MT_ATTR_TEXT, .def.s = NULL},
    {0}};
static const struct mt_attr none[] = {{0}};
static const char *const skip_name[] = {"name", NULL};

static struct mt_ctx *new_ctx(void)
{
    struct mt_ctx *ctx = NULL;

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    return ctx;
}

static struct mt_tree *node(struct mt_ctx *ctx, enum mt_tree_kind kind, int line, int col,
                            const char *text)
{
    struct mt_tree *t = NULL;

    assert_int_equal(mt_tree_new(ctx, kind, "n.yaml", line, col, text, &t), MOTLEY_OK);
    return t;
}

/* Adds key: text in line `line` of a map; text NULL adds a null. */
static void add(struct mt_ctx *ctx, struct mt_tree *map, int line, const char *key,
                const char *text)
{
    struct mt_tree *v = node(ctx, text != NULL ? MT_TREE_SCALAR : MT_TREE_NULL, line, 9, text);

    v->key_line = line;
    v->key_col = 3;
    assert_int_equal(mt_tree_add(ctx, map, key, v), MOTLEY_OK);
}

static void trees_own_and_replace(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_tree *map = node(ctx, MT_TREE_MAP, 1, 1, NULL), *list;
    char key[16], text[] = "borrowed";

    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "key%d", i);
        add(ctx, map, i, key, text);
    }
    text[0] = 'X';
    assert_int_equal(map->n, 100);
    assert_string_equal(mt_tree_get(map, "key77")->text, "borrowed");
    assert_int_equal(mt_tree_get(map, "key77")->line, 77);
    add(ctx, map, 200, "key77", "new");
    assert_int_equal(map->n, 100);
    assert_string_equal(mt_tree_get(map, "key77")->text, "new");
    assert_null(mt_tree_get(map, "key100"));
    assert_null(mt_tree_get(NULL, "key1"));
    list = node(ctx, MT_TREE_LIST, 1, 1, NULL);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mt_tree_add(ctx, list, NULL, node(ctx, MT_TREE_SCALAR, 1, i, "x")), 0);
    }
    assert_int_equal(list->item[4]->col, 4);
    assert_null(mt_tree_get(list, "x"));
    assert_int_equal(mt_tree_add(ctx, map, "list", list), MOTLEY_OK);
    mt_tree_free(ctx, map);
    mt_tree_free(ctx, NULL);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void good_maps_are_read(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_tree *map = node(ctx, MT_TREE_MAP, 1, 1, NULL), *word;
    union mt_attr_val val[MT_MAXATTR];
    uint32_t given = 99;

    (void)state;
    add(ctx, map, 2, "bias", "no");
    add(ctx, map, 3, "size", "512");
    add(ctx, map, 4, "name", "skipped");
    add(ctx, map, 5, "path", NULL);
    assert_int_equal(mt_tree_attrs(map, attrs, "layer linear", skip_name, val, &given), 0);
    assert_int_equal(val[0].i, 512);
    assert_true(val[1].f == 1e-3);
    assert_int_equal(val[2].b, 0);
    assert_null(val[3].s);
    assert_int_equal(given, 1 | 4 | 8);
    word = node(ctx, MT_TREE_SCALAR, 1, 1, "64");   /* `linear: 64` is its first attribute */
    assert_int_equal(mt_tree_attrs(word, attrs, "layer linear", NULL, val, &given), 0);
    assert_int_equal(val[0].i, 64);
    assert_int_equal(given, 1);
    assert_int_equal(mt_tree_attrs(NULL, attrs + 1, "optimizer", NULL, val, &given), 0);
    assert_int_equal(given, 0);
    assert_int_equal(mt_tree_attrs(NULL, NULL, "relu", NULL, val, NULL), 0);
    mt_tree_free(ctx, map);
    mt_tree_free(ctx, word);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void bad_maps_are_refused_with_these_words(void **state)
{
    static const struct {
        const char *key, *text;   /* key NULL: this scalar, or a list if text is NULL */
        const struct mt_attr *attrs;
        const char *message;
    } bad[] = {
        {"sise", "5", attrs,
         "n.yaml:2:3: unknown key 'sise' in layer linear; did you mean 'size'?"},
        {"nam", "5", attrs, "n.yaml:2:3: unknown key 'nam' in layer linear; did you mean "
                            "'name'?"},
        {"zzz", "5", attrs,
         "n.yaml:2:3: unknown key 'zzz' in layer linear; known: size, lr, bias, path, name"},
        {"zzz", "5", none, "n.yaml:2:3: unknown key 'zzz' in layer linear; known: name"},
        {"size", "0", attrs,
         "n.yaml:2:9: 'size' of layer linear must be an integer, 1 or more, not '0'"},
        {"size", NULL, attrs,
         "n.yaml:2:9: 'size' of layer linear has no value; expected: integer, 1 or more"},
        {"bias", "no", attrs,
         "n.yaml:1:1: layer linear needs 'size' (integer, 1 or more): outputs"},
        {NULL, "many", attrs,
         "n.yaml:2:9: 'size' of layer linear must be an integer, 1 or more, not 'many'"},
        {NULL, "size:5", attrs,
         "n.yaml:2:9: layer linear: write 'size: 5', with a blank after the colon"},
        {NULL, "5", none, "n.yaml:2:9: layer linear has no options; remove '5'"},
        {NULL, NULL, attrs, "n.yaml:2:9: layer linear is a list; expected a map of keys"},
        {NULL, NULL, none, "n.yaml:2:9: layer linear is a list; expected a map of keys, or "
                           "nothing: it has no options"},
    };
    struct mt_ctx *ctx = new_ctx();
    union mt_attr_val val[MT_MAXATTR];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mt_tree *t;

        if (bad[i].key != NULL) {
            t = node(ctx, MT_TREE_MAP, 1, 1, NULL);
            add(ctx, t, 2, bad[i].key, bad[i].text);
        } else {
            t = node(ctx, bad[i].text != NULL ? MT_TREE_SCALAR : MT_TREE_LIST, 2, 9, bad[i].text);
        }
        assert_int_equal(mt_tree_attrs(t, bad[i].attrs, "layer linear", skip_name, val, NULL),
                         MOTLEY_ECONFIG);
        assert_string_equal(mt_err_text(), bad[i].message);
        mt_tree_free(ctx, t);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void single_values_and_places(void **state)
{
    static const char *const keys[] = {"step", "loss", NULL};
    struct mt_ctx *ctx = new_ctx();
    struct mt_tree *map = node(ctx, MT_TREE_MAP, 1, 1, NULL), *t = NULL;
    int64_t i = 7;
    double f = 0;
    const char *s = NULL;
    char buf[64];

    (void)state;
    add(ctx, map, 2, "step", "100");
    add(ctx, map, 3, "loss", "0.25");
    assert_int_equal(mt_tree_int(map, "step", &i), MOTLEY_OK);
    assert_int_equal(i, 100);
    assert_int_equal(mt_tree_num(map, "loss", &f), MOTLEY_OK);
    assert_true(f == 0.25);
    assert_int_equal(mt_tree_text(map, "loss", &s), MOTLEY_OK);
    assert_string_equal(s, "0.25");
    assert_int_equal(mt_tree_int(map, "loss", &i), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "n.yaml:3:9: 'loss' must be an integer, not '0.25'");
    assert_int_equal(mt_tree_num(map, "none", &f), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "n.yaml:1:1: 'none' is missing");
    assert_int_equal(mt_tree_only(map, "state", keys), MOTLEY_OK);
    add(ctx, map, 4, "lost", NULL);
    assert_int_equal(mt_tree_only(map, "state", keys), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(),
                        "n.yaml:4:3: unknown key 'lost' in state; did you mean 'loss'?");
    assert_int_equal(mt_tree_text(map, "lost", &s), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "n.yaml:4:9: 'lost' must be text");
    assert_string_equal(mt_tree_at(map, buf, sizeof buf), "n.yaml:1:1: ");
    assert_string_equal(mt_tree_at(NULL, buf, sizeof buf), "");
    assert_int_equal(mt_tree_new(ctx, MT_TREE_NULL, "command line: a=1", 0, 0, NULL, &t), 0);
    assert_string_equal(mt_tree_at(t, buf, sizeof buf), "command line: a=1: ");
    mt_tree_free(ctx, t);
    mt_tree_free(ctx, map);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_own_and_replace),
        cmocka_unit_test(good_maps_are_read),
        cmocka_unit_test(bad_maps_are_refused_with_these_words),
        cmocka_unit_test(single_values_and_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
