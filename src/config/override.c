/* override.c -- puts settings of the command line into a tree.
 *
 * What comes from a setting has "command line: a.b.c=VALUE" as its file, so that whoever refuses
 * it later, and knows nothing of settings, names it. */
#include "config/override.h"

#include "base/ctx.h"
#include "base/num.h"
#include "config/yaml.h"

#include <stdio.h>
#include <string.h>

struct setting {
    struct mt_ctx *ctx;
    const char *path;
    size_t path_len;
    char label[256];           /* "command line: train.batch=64" */
    struct mt_tree *value;     /* NULL once it has found its place */
};

static int replace(struct setting *s, struct mt_tree **slot, enum mt_tree_kind kind)
{
    struct mt_tree *t = NULL;

    MT_TRY(mt_tree_new(s->ctx, kind, s->label, 0, 0, NULL, &t));
    mt_tree_free(s->ctx, *slot);
    *slot = t;
    return MOTLEY_OK;
}

static int find_key(struct setting *s, struct mt_tree *t, const char *key, struct mt_tree ***slot)
{
    struct mt_tree *none = NULL;

    for (int i = 0; i < t->n; i++) {
        if (strcmp(t->key[i], key) == 0) {
            *slot = &t->item[i];
            return MOTLEY_OK;
        }
    }
    MT_TRY(mt_tree_new(s->ctx, MT_TREE_NULL, s->label, 0, 0, NULL, &none));
    MT_TRY(mt_tree_add(s->ctx, t, key, none));
    *slot = &t->item[t->n - 1];
    return MOTLEY_OK;
}

static int find_position(struct setting *s, struct mt_tree *t, const char *part, int before,
                         struct mt_tree ***slot)
{
    int64_t i = 0;

    if (!mt_num_int(part, &i) || i < 0 || i >= t->n) {
        MT_FAIL(MOTLEY_ECONFIG, "%s: %.*s is a list; its entries are %s%d, not '%s'", s->label,
                before, s->path, t->n == 1 ? "only " : "0 to ", t->n - 1, part);
    }
    *slot = &t->item[i];
    return MOTLEY_OK;
}

/* Puts the value where the path from `at` leads, starting in *slot. */
static int put(struct setting *s, struct mt_tree **slot, size_t at)
{
    const char *part = s->path + at;
    size_t len = strcspn(part, ".");
    char word[128], place[512];
    struct mt_tree **next = NULL;

    if (at > s->path_len) {
        mt_tree_free(s->ctx, *slot);
        *slot = s->value;
        s->value = NULL;
        return MOTLEY_OK;
    }
    len = len < s->path_len - at ? len : s->path_len - at;
    MT_CHECK(len > 0 && len < sizeof word, MOTLEY_ECONFIG,
             "%s: %s in '%.*s'; write section.key=value", s->label,
             len == 0 ? "a word is missing" : "a word is too long", (int)s->path_len, s->path);
    snprintf(word, sizeof word, "%.*s", (int)len, part);
    if ((*slot)->kind == MT_TREE_NULL
        || ((*slot)->kind == MT_TREE_SCALAR && strcmp((*slot)->text, word) == 0)) {
        MT_TRY(replace(s, slot, MT_TREE_MAP));   /* the word relu is the same as {relu: null} */
    }
    if ((*slot)->kind == MT_TREE_SCALAR) {
        mt_tree_at(*slot, place, sizeof place);
        MT_FAIL(MOTLEY_ECONFIG, "%s: %s%.*s is '%.60s', which has no key '%s'; set all of it: "
                "%.*s={...}", s->label, place, (int)at - 1, s->path, (*slot)->text, word,
                (int)at - 1, s->path);
    }
    if ((*slot)->kind == MT_TREE_LIST) {
        MT_TRY(find_position(s, *slot, word, (int)at - 1, &next));
    } else {
        MT_TRY(find_key(s, *slot, word, &next));
    }
    return put(s, next, at + len + 1);
}

int mt_override_apply(struct mt_ctx *ctx, struct mt_tree **root, const char *setting)
{
    struct setting s = {.ctx = ctx, .path = setting};
    const char *equals = strchr(setting, '=');
    int st = MOTLEY_OK;

    MT_CHECK(equals != NULL && equals > setting, MOTLEY_ECONFIG,
             "command line: '%.200s' is no setting; write key=value, as in train.batch=64",
             setting);
    s.path_len = (size_t)(equals - setting);
    snprintf(s.label, sizeof s.label, "command line: %s", setting);
    MT_TRY(mt_yaml_parse(ctx, equals + 1, strlen(equals + 1), s.label, 0, &s.value));
    st = put(&s, root, 0);
    mt_tree_free(ctx, s.value);
    return st < 0 ? mt_err_trace(st, __func__, __FILE__, __LINE__) : MOTLEY_OK;
}
