/* yaml.c -- YAML becomes a tree with the places of values and keys, a tree becomes YAML that
 * reads as the same tree, and text that is no good YAML is refused with these words. */
#include "base/ctx.h"
#include "config/print.h"
#include "config/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct mt_ctx *new_ctx(void)
{
    struct mt_ctx *ctx = NULL;

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    return ctx;
}

static struct mt_tree *parse(struct mt_ctx *ctx, const char *text)
{
    struct mt_tree *t = NULL;

    if (mt_yaml_parse(ctx, text, strlen(text), "n.yaml", 1, &t) < 0) {
        fail_msg("%s", mt_err_text());
    }
    return t;
}

static void places_of_values_and_keys(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_tree *t = parse(ctx, "# head\na: 1\nmodel:\n  - linear: {size: 5, bias: no}\n"
                                   "  - relu\nempty:\nq: 'a b'\n"), *v;

    (void)state;
    assert_int_equal(t->kind, MT_TREE_MAP);
    assert_int_equal(t->line, 2);
    v = mt_tree_get(t, "a");
    assert_string_equal(v->text, "1");
    assert_string_equal(v->file, "n.yaml");
    assert_int_equal(v->line * 100 + v->col, 204);
    assert_int_equal(v->key_line * 100 + v->key_col, 201);
    v = mt_tree_get(t, "model");
    assert_int_equal(v->kind, MT_TREE_LIST);
    assert_int_equal(v->n, 2);
    assert_int_equal(v->key_line * 100 + v->key_col, 301);
    v = mt_tree_get(mt_tree_get(v->item[0], "linear"), "bias");
    assert_string_equal(v->text, "no");
    assert_int_equal(v->line * 100 + v->col, 429);
    assert_int_equal(v->key_line * 100 + v->key_col, 423);
    v = mt_tree_get(t, "empty");
    assert_int_equal(v->kind, MT_TREE_NULL);
    assert_int_equal(v->line * 100 + v->col, 601);   /* nothing stands there: its key's */
    assert_string_equal(mt_tree_get(t, "q")->text, "a b");
    mt_tree_free(ctx, t);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void nothing_and_text_that_looks_like_it(void **state)
{
    static const struct {
        const char *text;
        int null;
    } some[] = {{"", 1}, {"# only this\n", 1}, {"~", 1}, {"null", 1}, {"Null", 1}, {"NULL", 1},
                {"\"null\"", 0}, {"''", 0}, {"nul", 0}, {"no", 0}};
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        struct mt_tree *t = parse(ctx, some[i].text);

        assert_int_equal(t->kind, some[i].null ? MT_TREE_NULL : MT_TREE_SCALAR);
        mt_tree_free(ctx, t);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void aliases_are_copies(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_tree *t = parse(ctx, "a: &x {b: 1}\nc: *x\nd: &x 2\ne: [*x, *x]\n");

    (void)state;
    assert_string_equal(mt_tree_get(mt_tree_get(t, "c"), "b")->text, "1");
    assert_ptr_not_equal(mt_tree_get(t, "c"), mt_tree_get(t, "a"));
    assert_string_equal(mt_tree_get(t, "e")->item[1]->text, "2");
    mt_tree_free(ctx, t);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void bad_text_is_refused_with_these_words(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"a: 1\nb: 2\na: 3\n", "n.yaml:3:1: key 'a' stands here a second time (first in line 1)"},
        {"a: {b: 1, b: 2}\n", "n.yaml:1:11: key 'b' stands here a second time (first in line 1)"},
        {"a: *x\n", "n.yaml:1:5: alias '*x': no value before it has the anchor '&x'; quote the "
                    "text if no alias is meant"},
        {"a: &x [*x]\n", "n.yaml:1:9: alias '*x': no value before it has the anchor '&x'; quote "
                         "the text if no alias is meant"},
        {"a: !!int 3\n",
         "n.yaml:1:10: tags such as !!int are not understood; kinds follow from the keys"},
        {"<<: {a: 1}\n", "n.yaml:1:1: merge keys '<<' are not understood; write the keys out"},
        {"? [a]\n: 1\n", "n.yaml:1:3: a key must be a word"},
        {": 1\n", "n.yaml:1:1: a key must be a word, and is missing here"},
        {"a: 1\n---\nb: 2\n", "n.yaml:2:1: a second document begins here ('---'); only one is "
                              "read"},
        {"a: 1\nb: \xff\n", "n.yaml:2:4: byte 0xff is no UTF-8; is this a text file?"},
        {"\xc3\xa4: \x01\n", "n.yaml:1:4: control character 0x01; is this a text file?"},
        {"a:\n  - |\n    x\n", "n.yaml:3:1: blocks of text (| and >) are not understood; write the "
                              "text on one line"},
        {"a: \"x\\0y\"\n", "n.yaml:1:5: text with a zero byte"},
        {"a: @x\n", "n.yaml:1:4: not valid YAML: text that begins with this character must be "
                    "quoted"},
        {"a: [1\n", "n.yaml:2:1: not valid YAML: flow sequence without a closing bracket"},
        {"a: {b: 1\nc: 2\n", "n.yaml:2:2: not valid YAML: a comma is missing here, or the end "
                             "of a "
                             "{...} or [...] before here"},
        {"a: \"x\nb: 1\n", "n.yaml:1:4: not valid YAML: the quote that begins here does not end"},
        {"a:\n  b:1\n  c: 2\n",
         "n.yaml:2:3: not valid YAML: the text that begins here runs on into the next line; is a "
         "blank missing after a colon, or is the next line indented too far?"},
        {"a: b: 1\n", "n.yaml:1:5: not valid YAML: a second 'key:' on the same line; put it on a "
                      "line of its own, or write {key: value}"},
        {"a:\n  - b\n - c\n",
         "n.yaml:3:2: not valid YAML: entries of one list or map must begin in the same column"},
        {"a:\n  b: 1\n c: 2\n",
         "n.yaml:3:2: not valid YAML: entries of one list or map must begin in the same column"},
        {"a:\n\tb: 1\n",
         "n.yaml:2:1: not valid YAML: a line here is indented with a tab; YAML wants blanks"},
    };
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mt_tree *t = NULL;

        assert_int_equal(mt_yaml_parse(ctx, bad[i].text, strlen(bad[i].text), "n.yaml", 1, &t),
                         MOTLEY_ECONFIG);
        assert_string_equal(mt_err_text(), bad[i].message);
        assert_null(t);
    }
    assert_int_equal(mt_yaml_parse(ctx, "[1", 2, "command line: a=[1", 0, &(struct mt_tree *){0}),
                     MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "command line: a=[1: not valid YAML: flow sequence "
                                       "without "
                                       "a closing bracket");
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void growth_is_limited(void **state)
{
    static const char bomb[] = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b "
                               "[*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                               "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                               "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                               "e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    struct mt_ctx *ctx = new_ctx();
    struct mt_tree *t = NULL;
    char deep[256];

    (void)state;
    assert_int_equal(mt_yaml_parse(ctx, bomb, strlen(bomb), "n.yaml", 1, &t), MOTLEY_ECONFIG);
    assert_non_null(strstr(mt_err_text(), "more than 100000 values"));
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    deep[200] = '\0';
    assert_int_equal(mt_yaml_parse(ctx, deep, strlen(deep), "n.yaml", 1, &t), MOTLEY_ECONFIG);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void printed_reads_back(void **state)
{
    static const char *const texts[] = {
        "a: 1\n",
        "a: {b: 1, c: [x, y]}\nd:\n  - - 1\n    - {e: f}\n  - g: {h: i}\n  - j: [k, {l: m}]\n",
        "model:\n  - relu\n  - linear: {size: 5, bias: no}\n  - repeat: 2\n    layers:\n"
        "      - residual: [layernorm, {linear: 5}]\n      - relu\n",
        "a: ''\nb: ~\nc: 'null'\nd: '~'\ne: []\nf: {}\n",
        "a: '- x'\nb: 'x: y'\nc: 'x #y'\nd: \"tab\\there\\nline\\\\ \\\"q\\\"\"\ne: '[1]'\nf: "
        "'*x'\n",
        "'key: odd': 1\n'': 2\n'null': 3\n'- ': 4\n-1: 5\n",
        "a: '-'\nb: '--- x'\nc: '...'\nd: '%'\ne: '@'\nf: 'x:'\ng: ':x'\nh: -x\ni: '?'\nj: "
        "-1e-3\n",
        "a: \xc3\xa4\xe2\x82\xac\nb: \"\\x01\\x7f\"\nc: ' x '\nd: 0:1\ne: C:/x\nf: ../x\n",
        "[1, [2, [3, {a: [4]}]]]\n",
        "word\n",
        "",
    };
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct mt_tree *t = parse(ctx, texts[i]), *again;
        struct mt_text out;
        char *first = NULL, *second = NULL;

        mt_text_init(&out, ctx);
        mt_print_tree(&out, t, 0);
        assert_int_equal(mt_text_take(&out, &first), MOTLEY_OK);
        again = parse(ctx, first);
        mt_print_tree(&out, again, 0);
        assert_int_equal(mt_text_take(&out, &second), MOTLEY_OK);
        assert_string_equal(first, second);
        assert_int_equal(again->kind, t->kind);
        for (int k = 0; k < t->n && t->kind == MT_TREE_MAP; k++) {
            const struct mt_tree *v = mt_tree_get(again, t->key[k]);

            assert_non_null(v);
            assert_int_equal(v->kind, t->item[k]->kind);
            if (v->kind == MT_TREE_SCALAR) {
                assert_string_equal(v->text, t->item[k]->text);
            }
        }
        mt_free(ctx, first);
        mt_free(ctx, second);
        mt_tree_free(ctx, t);
        mt_tree_free(ctx, again);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void cut_and_changed_text_never_crashes(void **state)
{
    static const char text[] = "a: &x {b: [1, 'q', \"r\\n\"], c: ~}\n# no\nd:\n  - e: *x\n  - |\n"
                               "    f\n  - >-\n    g\n? h\n: i\n";
    static const char swap[] = "\t\n :-[]{}&*!|>'\"%@`#?,\x01\xff\xc3";
    struct mt_ctx *ctx = new_ctx();
    char buf[sizeof text];

    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        for (size_t k = 0; k < sizeof swap; k++) {   /* the last puts a zero byte: cut there */
            struct mt_tree *t = NULL;

            memcpy(buf, text, sizeof text);
            buf[i] = swap[k];
            if (mt_yaml_parse(ctx, buf, i + 1 < sizeof text ? strlen(buf) : i, "n.yaml", 1, &t)
                < 0) {
                assert_memory_equal(mt_err_text(), "n.yaml:", 7);
            }
            mt_tree_free(ctx, t);
            assert_int_equal(ctx->mem.live, 0);
        }
    }
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_of_values_and_keys),
        cmocka_unit_test(nothing_and_text_that_looks_like_it),
        cmocka_unit_test(aliases_are_copies),
        cmocka_unit_test(bad_text_is_refused_with_these_words),
        cmocka_unit_test(growth_is_limited),
        cmocka_unit_test(printed_reads_back),
        cmocka_unit_test(cut_and_changed_text_never_crashes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
