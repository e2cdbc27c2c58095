/* tree.c -- trees with positions, and the messages about what stands in them.
 *
 * A node is one block with its strings behind it. Lists grow when their length is a power of two,
 * so no node has to remember how much room it has. */
#include "base/tree.h"

#include "base/ctx.h"
#include "base/num.h"

#include <stdio.h>
#include <string.h>

#define MAX_WORDS 64   /* keys that are looked through for the nearest one */

/* ---- making and reading ------------------------------------------------------------------- */

int mt_tree_new(struct mt_ctx *ctx, enum mt_tree_kind kind, const char *file, int line, int col,
                const char *text, struct mt_tree **out)
{
    size_t file_len = file != NULL ? strlen(file) + 1 : 0;
    size_t text_len = text != NULL ? strlen(text) + 1 : 0;
    struct mt_tree *t = NULL;
    char *strings;

    MT_TRY(mt_mem_get(ctx, sizeof *t + file_len + text_len, 1, (void **)&t));
    strings = (char *)(t + 1);
    t->kind = kind;
    t->line = line;
    t->col = col;
    if (file != NULL) {
        t->file = memcpy(strings, file, file_len);
    }
    if (text != NULL) {
        t->text = memcpy(strings + file_len, text, text_len);
    }
    *out = t;
    return MOTLEY_OK;
}

/* Makes room for one more item. */
static int grow(struct mt_ctx *ctx, struct mt_tree *t)
{
    int full = t->n == 0 || (t->n & (t->n - 1)) == 0;

    if (full) {
        MT_TRY(MT_RESIZE(ctx, t->n == 0 ? 1 : 2 * t->n, &t->item));
        if (t->kind == MT_TREE_MAP) {
            MT_TRY(MT_RESIZE(ctx, t->n == 0 ? 1 : 2 * t->n, &t->key));
        }
    }
    return MOTLEY_OK;
}

int mt_tree_add(struct mt_ctx *ctx, struct mt_tree *t, const char *key, struct mt_tree *child)
{
    char *copy = NULL;
    int st;

    for (int i = 0; key != NULL && i < t->n; i++) {
        if (strcmp(t->key[i], key) == 0) {
            mt_tree_free(ctx, t->item[i]);
            t->item[i] = child;
            return MOTLEY_OK;
        }
    }
    MT_TRY_OR(fail, grow(ctx, t));
    if (t->kind == MT_TREE_MAP) {
        MT_TRY_OR(fail, mt_mem_strdup(ctx, key, &copy));
        t->key[t->n] = copy;
    }
    t->item[t->n] = child;
    t->n++;
    return MOTLEY_OK;
fail:
    mt_tree_free(ctx, child);
    return st;
}

void mt_tree_free(struct mt_ctx *ctx, struct mt_tree *t)
{
    if (t == NULL) {
        return;
    }
    for (int i = 0; i < t->n; i++) {
        mt_tree_free(ctx, t->item[i]);
        if (t->key != NULL) {
            mt_free(ctx, (void *)t->key[i]);
        }
    }
    mt_free(ctx, t->item);
    mt_free(ctx, t->key);
    mt_free(ctx, t);
}

struct mt_tree *mt_tree_get(const struct mt_tree *t, const char *key)
{
    for (int i = 0; t != NULL && t->kind == MT_TREE_MAP && i < t->n; i++) {
        if (strcmp(t->key[i], key) == 0) {
            return t->item[i];
        }
    }
    return NULL;
}

static int scalar_of(const struct mt_tree *t, const char *key, const char *must,
                     const struct mt_tree **out)
{
    const struct mt_tree *v = mt_tree_get(t, key);

    if (v == NULL) {
        MT_TREE_FAIL(t, "'%s' is missing", key);
    }
    if (v->kind != MT_TREE_SCALAR) {
        MT_TREE_FAIL(v, "'%s' must be %s", key, must);
    }
    *out = v;
    return MOTLEY_OK;
}

int mt_tree_int(const struct mt_tree *t, const char *key, int64_t *out)
{
    const struct mt_tree *v = NULL;

    MT_TRY(scalar_of(t, key, "an integer", &v));
    if (!mt_num_int(v->text, out)) {
        MT_TREE_FAIL(v, "'%s' must be an integer, not '%.60s'", key, v->text);
    }
    return MOTLEY_OK;
}

int mt_tree_num(const struct mt_tree *t, const char *key, double *out)
{
    const struct mt_tree *v = NULL;

    MT_TRY(scalar_of(t, key, "a number", &v));
    if (!mt_num_real(v->text, out)) {
        MT_TREE_FAIL(v, "'%s' must be a number, not '%.60s'", key, v->text);
    }
    return MOTLEY_OK;
}

int mt_tree_text(const struct mt_tree *t, const char *key, const char **out)
{
    const struct mt_tree *v = NULL;

    MT_TRY(scalar_of(t, key, "text", &v));
    *out = v->text;
    return MOTLEY_OK;
}

/* ---- messages ----------------------------------------------------------------------------- */

static const char *place(const char *file, int line, int col, char *buf, int room)
{
    if (file == NULL) {
        snprintf(buf, (size_t)room, "%s", "");
    } else if (line > 0) {
        snprintf(buf, (size_t)room, "%s:%d:%d: ", file, line, col);
    } else {
        snprintf(buf, (size_t)room, "%s: ", file);
    }
    return buf;
}

const char *mt_tree_at(const struct mt_tree *t, char *buf, int room)
{
    return place(t != NULL ? t->file : NULL, t != NULL ? t->line : 0, t != NULL ? t->col : 0,
                 buf, room);
}

/* A key is wrong: the place is the key's, and the nearest of n words is named, or all of them. */
static int unknown_key(const struct mt_tree *value, const char *key, const char *what,
                       const char *const *words, int n)
{
    const char *near = mt_word_nearest(key, words, n);
    char at[512], known[512];
    size_t used = 0;

    place(value->file, value->key_line, value->key_col, at, sizeof at);
    if (near != NULL) {
        MT_FAIL(MOTLEY_ECONFIG, "%sunknown key '%.60s' in %s; did you mean '%s'?", at, key, what,
                near);
    }
    if (n == 0) {
        MT_FAIL(MOTLEY_ECONFIG, "%sunknown key '%.60s': %s has no options", at, key, what);
    }
    known[0] = '\0';
    for (int i = 0; i < n && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 words[i]);
    }
    MT_FAIL(MOTLEY_ECONFIG, "%sunknown key '%.60s' in %s; known: %s", at, key, what, known);
}

int mt_tree_only(const struct mt_tree *t, const char *what, const char *const *keys)
{
    int n = 0;

    while (keys[n] != NULL) {
        n++;
    }
    for (int i = 0; t != NULL && t->kind == MT_TREE_MAP && i < t->n; i++) {
        int known = 0;

        for (int k = 0; k < n && !known; k++) {
            known = strcmp(keys[k], t->key[i]) == 0;
        }
        if (!known) {
            return unknown_key(t->item[i], t->key[i], what, keys, n);
        }
    }
    return MOTLEY_OK;
}

/* ---- reading by a table ------------------------------------------------------------------- */

static int in_list(const char *const *list, const char *word)
{
    for (int i = 0; list != NULL && list[i] != NULL; i++) {
        if (strcmp(list[i], word) == 0) {
            return 1;
        }
    }
    return 0;
}

/* One value of the table from its node. */
static int read_value(const struct mt_tree *t, const struct mt_attr *a, const char *what,
                      union mt_attr_val *val)
{
    char at[512], allowed[256];
    int st;

    if (t->kind == MT_TREE_NULL && a->kind == MT_ATTR_TEXT && !a->required) {
        val->s = NULL;
        return MOTLEY_OK;
    }
    if (t->kind != MT_TREE_SCALAR) {
        mt_attr_allowed(a, allowed, sizeof allowed);
        MT_TREE_FAIL(t, "'%s' of %s %s; expected: %s", a->name, what,
                     t->kind == MT_TREE_NULL   ? "has no value"
                     : t->kind == MT_TREE_LIST ? "is a list"
                                               : "is a map of keys", allowed);
    }
    st = mt_attr_parse(a, t->text, val);
    if (st < 0) {
        mt_err_prefix("%s'%s' of %s ", mt_tree_at(t, at, sizeof at), a->name, what);
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    return MOTLEY_OK;
}

/* "lr:0.1" where "lr: 0.1" was meant is a single word for YAML. */
static int check_blank(const struct mt_tree *t, const struct mt_attr *attrs, const char *what)
{
    const char *colon = strchr(t->text, ':');
    char name[64];

    if (colon == NULL || colon - t->text >= (long)sizeof name) {
        return MOTLEY_OK;
    }
    snprintf(name, sizeof name, "%.*s", (int)(colon - t->text), t->text);
    if (mt_attr_find(attrs, name) >= 0) {
        MT_TREE_FAIL(t, "%s: write '%s: %.60s', with a blank after the colon", what, name,
                     colon + 1);
    }
    return MOTLEY_OK;
}

static int read_map(const struct mt_tree *t, const struct mt_attr *attrs, const char *what,
                    const char *const *skip, union mt_attr_val *val, uint32_t *given)
{
    for (int i = 0; i < t->n; i++) {
        int k = mt_attr_find(attrs, t->key[i]), n = 0;
        const char *words[MAX_WORDS];

        if (in_list(skip, t->key[i])) {
            continue;
        }
        if (k >= 0) {
            MT_TRY(read_value(t->item[i], &attrs[k], what, &val[k]));
            *given |= UINT32_C(1) << k;
            continue;
        }
        for (int a = 0; a < mt_attr_count(attrs) && n < MAX_WORDS; a++) {
            words[n++] = attrs[a].name;
        }
        for (int s = 0; skip != NULL && skip[s] != NULL && n < MAX_WORDS; s++) {
            words[n++] = skip[s];
        }
        return unknown_key(t->item[i], t->key[i], what, words, n);
    }
    return MOTLEY_OK;
}

int mt_tree_attrs(const struct mt_tree *t, const struct mt_attr *attrs, const char *what,
                  const char *const *skip, union mt_attr_val *val, uint32_t *given)
{
    enum mt_tree_kind kind = t != NULL ? t->kind : MT_TREE_NULL;
    uint32_t got = 0;
    int n = mt_attr_count(attrs);

    mt_attr_defaults(attrs, val);
    if (kind == MT_TREE_LIST) {
        MT_TREE_FAIL(t, "%s is a list; expected a map of keys%s", what,
                     n > 0 ? "" : ", or nothing: it has no options");
    }
    if (kind == MT_TREE_SCALAR) {
        MT_TRY(check_blank(t, attrs, what));
        if (n == 0) {
            MT_TREE_FAIL(t, "%s has no options; remove '%.60s'", what, t->text);
        }
        MT_TRY(read_value(t, &attrs[0], what, &val[0]));
        got = 1;
    } else if (kind == MT_TREE_MAP) {
        MT_TRY(read_map(t, attrs, what, skip, val, &got));
    }
    for (int i = 0; i < n; i++) {
        if (attrs[i].required && (got & (UINT32_C(1) << i)) == 0) {
            char allowed[256];

            mt_attr_allowed(&attrs[i], allowed, sizeof allowed);
            MT_TREE_FAIL(t, "%s needs '%s' (%s)%s%s", what, attrs[i].name, allowed,
                         attrs[i].doc != NULL ? ": " : "",
                         attrs[i].doc != NULL ? attrs[i].doc : "");
        }
    }
    if (given != NULL) {
        *given = got;
    }
    return MOTLEY_OK;
}
