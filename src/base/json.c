/* json.c -- JSON out and in; the only file that knows jansson.
 *
 * Writing is done here: jansson prints doubles with a fixed number of digits, and a tree of
 * objects is not needed to write a line. */
#include "base/json.h"

#include "base/ctx.h"
#include "base/num.h"

#include <jansson.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- writing ------------------------------------------------------------------------------ */

void mt_json_init(struct mt_json *j, struct mt_ctx *ctx, int indent)
{
    memset(j, 0, sizeof *j);
    mt_text_init(&j->text, ctx);
    j->indent = indent;
}

static void quote(struct mt_text *t, const char *s)
{
    mt_text_put(t, "\"", 1);
    while (*s != '\0') {
        int n = mt_text_utf8(s);

        if (n == 0) {
            mt_text_put(t, "\xef\xbf\xbd", 3);
            n = 1;
        } else if (*s == '"' || *s == '\\') {
            mt_text_add(t, "\\%c", *s);
        } else if (*s == '\n') {
            mt_text_put(t, "\\n", 2);
        } else if ((unsigned char)*s < 0x20) {
            mt_text_add(t, "\\u%04x", *s);
        } else {
            mt_text_put(t, s, (size_t)n);
        }
        s += n;
    }
    mt_text_put(t, "\"", 1);
}

static void new_line(struct mt_json *j)
{
    if (j->indent > 0) {
        mt_text_add(&j->text, "\n%*s", j->indent * j->depth, "");
    }
}

/* What stands before a value: comma, line, key. */
static void before(struct mt_json *j, const char *key)
{
    if (j->depth > 0) {
        if (j->filled[j->depth - 1]) {
            mt_text_put(&j->text, ",", 1);
        }
        j->filled[j->depth - 1] = 1;
        new_line(j);
    }
    if (key != NULL) {
        quote(&j->text, key);
        mt_text_put(&j->text, j->indent > 0 ? ": " : ":", j->indent > 0 ? 2 : 1);
    }
}

static int broken(struct mt_json *j, int wrong, const char *what)
{
    if (wrong && j->text.status == MOTLEY_OK) {
        j->text.status = mt_err_raise(MOTLEY_EBUG, __func__, __FILE__, __LINE__,
                                      "internal error, please report: JSON %s", what);
    }
    return j->text.status < 0;
}

static void open_with(struct mt_json *j, const char *key, char first, char last)
{
    if (broken(j, j->depth == MT_JSON_DEPTH, "too deep")) {
        return;
    }
    before(j, key);
    mt_text_put(&j->text, &first, 1);
    j->close[j->depth] = last;
    j->filled[j->depth] = 0;
    j->depth++;
}

void mt_json_map(struct mt_json *j, const char *key)
{
    open_with(j, key, '{', '}');
}

void mt_json_list(struct mt_json *j, const char *key)
{
    open_with(j, key, '[', ']');
}

void mt_json_end(struct mt_json *j)
{
    if (broken(j, j->depth == 0, "closed too often")) {
        return;
    }
    j->depth--;
    if (j->filled[j->depth]) {
        new_line(j);
    }
    mt_text_put(&j->text, &j->close[j->depth], 1);
    if (j->depth == 0 && j->indent > 0) {
        mt_text_put(&j->text, "\n", 1);
    }
}

void mt_json_text(struct mt_json *j, const char *key, const char *s)
{
    before(j, key);
    if (s == NULL) {
        mt_text_put(&j->text, "null", 4);
    } else {
        quote(&j->text, s);
    }
}

void mt_json_int(struct mt_json *j, const char *key, int64_t v)
{
    before(j, key);
    mt_text_add(&j->text, "%" PRId64, v);
}

void mt_json_num(struct mt_json *j, const char *key, double v)
{
    char buf[MT_NUM_ROOM];

    before(j, key);
    mt_num_print(v, buf, sizeof buf);
    mt_text_add(&j->text, "%s", isfinite(v) ? buf : "null");
}

void mt_json_bool(struct mt_json *j, const char *key, int v)
{
    before(j, key);
    mt_text_add(&j->text, "%s", v ? "true" : "false");
}

int mt_json_take(struct mt_json *j, char **out)
{
    broken(j, j->depth != 0, "not closed");
    return mt_text_take(&j->text, out);
}

void mt_json_drop(struct mt_json *j)
{
    mt_text_drop(&j->text);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int to_tree(struct mt_ctx *ctx, const json_t *v, const char *file, struct mt_tree **out);

static int to_list(struct mt_ctx *ctx, const json_t *v, const char *file, struct mt_tree *t)
{
    for (size_t i = 0; i < json_array_size(v); i++) {
        struct mt_tree *child = NULL;

        MT_TRY(to_tree(ctx, json_array_get(v, i), file, &child));
        MT_TRY(mt_tree_add(ctx, t, NULL, child));
    }
    return MOTLEY_OK;
}

static int to_map(struct mt_ctx *ctx, const json_t *v, const char *file, struct mt_tree *t)
{
    json_t *w = (json_t *)v;   /* iteration wants it writable, and does not write */

    for (void *i = json_object_iter(w); i != NULL; i = json_object_iter_next(w, i)) {
        struct mt_tree *child = NULL;

        MT_TRY(to_tree(ctx, json_object_iter_value(i), file, &child));
        MT_TRY(mt_tree_add(ctx, t, json_object_iter_key(i), child));
    }
    return MOTLEY_OK;
}

static int to_tree(struct mt_ctx *ctx, const json_t *v, const char *file, struct mt_tree **out)
{
    struct mt_tree *t = NULL;
    char num[MT_NUM_ROOM];
    const char *text = NULL;
    enum mt_tree_kind kind = MT_TREE_SCALAR;
    int st;

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        kind = MT_TREE_MAP;
        break;
    case JSON_ARRAY:
        kind = MT_TREE_LIST;
        break;
    case JSON_STRING:
        text = json_string_value(v);
        break;
    case JSON_INTEGER:
        snprintf(num, sizeof num, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        text = num;
        break;
    case JSON_REAL:
        mt_num_print(json_real_value(v), num, sizeof num);
        text = num;
        break;
    case JSON_TRUE:
        text = "true";
        break;
    case JSON_FALSE:
        text = "false";
        break;
    case JSON_NULL:
        kind = MT_TREE_NULL;
        break;
    }
    MT_TRY(mt_tree_new(ctx, kind, file, 0, 0, text, &t));
    if (kind == MT_TREE_LIST) {
        MT_TRY_OR(fail, to_list(ctx, v, file, t));
    } else if (kind == MT_TREE_MAP) {
        MT_TRY_OR(fail, to_map(ctx, v, file, t));
    }
    *out = t;
    return MOTLEY_OK;
fail:
    mt_tree_free(ctx, t);
    return st;
}

int mt_json_parse(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                  struct mt_tree **out)
{
    json_error_t e;
    json_t *v = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    int st;

    MT_CHECK(v != NULL, MOTLEY_EFORMAT, "%s:%d:%d: not valid JSON: %s", file, e.line, e.column,
             e.text);
    st = to_tree(ctx, v, file, out);
    json_decref(v);
    return st < 0 ? mt_err_trace(st, __func__, __FILE__, __LINE__) : MOTLEY_OK;
}
