/* yaml.c -- YAML text to a tree with positions; the only file that knows libfyaml.
 *
 * The tree is built from events rather than from libfyaml's documents: each event has its place,
 * and what is accepted (keys, aliases, duplicates) is decided, and worded, here. */
#include "config/yaml.h"

#include "base/ctx.h"
#include "base/text.h"

#include <libfyaml.h>

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 64        /* lists and maps in each other */
#define MAX_NODES 100000    /* with copies: ten lines of aliases can ask for billions */
#define MAX_ANCHORS 64

struct anchor {
    char name[64];
    const struct mt_tree *node;    /* in the tree that is being built */
};

struct reader {
    struct mt_ctx *ctx;
    struct fy_diag *diag;
    struct fy_parser *parser;
    const char *text, *file;
    int places, nodes, nanchor;
    struct anchor anchor[MAX_ANCHORS];
};

/* ---- messages ----------------------------------------------------------------------------- */

struct place {
    int line, col;    /* from 1 */
};

static struct place place_of(const struct reader *r, struct fy_event *e, struct place otherwise)
{
    const struct fy_mark *m = fy_event_start_mark(e);
    struct place p = otherwise;

    if (m != NULL) {
        p.line = m->line + 1;
        p.col = m->column + 1;
    }
    if (!r->places) {
        p.line = p.col = 0;
    }
    return p;
}

#define FAIL_AT(r, p, ...)                                                                    \
    do {                                                                                      \
        mt_err_raise(MOTLEY_ECONFIG, __func__, __FILE__, __LINE__, __VA_ARGS__);              \
        prefix((r), (p));                                                                     \
        return MOTLEY_ECONFIG;                                                                \
    } while (0)

static void prefix(const struct reader *r, struct place p)
{
    if (r->places && p.line > 0) {
        mt_err_prefix("%s:%d:%d: ", r->file, p.line, p.col);
    } else {
        mt_err_prefix("%s: ", r->file);
    }
}

/* Start of a line counted from 1; the end of the text if there are fewer. */
static const char *line_start(const char *text, int line)
{
    for (int i = 1; i < line && *text != '\0'; i++) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return text;
}

static int tab_in_front(const char *line)
{
    return line[strspn(line, " ")] == '\t';
}

/* What libfyaml says, in words that name the usual cause; its own words if there are none. */
static const char *explain(const struct reader *r, const char *said, int line)
{
    static const struct {
        const char *said, *cause;
    } known[] = {
        {"multiline plain key", "the text that begins here runs on into the next line; is a blank "
                                "missing after a colon, or is the next line indented too far?"},
        {"nested block mapping", "a second 'key:' on the same line; put it on a line of its own, "
                                 "or write {key: value}"},
        {"indendation", "entries of one list or map must begin in the same column"},
        {"indentation in", "entries of one list or map must begin in the same column"},
        {"missing comma", "a comma is missing here, or the end of a {...} or [...] before here"},
        {"-quoted scalar", "the quote that begins here does not end"},
        {"cannot start with", "text that begins with this character must be quoted"},
    };

    for (int i = line; i <= line + 1; i++) {
        if (tab_in_front(line_start(r->text, i))) {
            return "a line here is indented with a tab; YAML wants blanks";
        }
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strstr(said, known[i].said) != NULL) {
            return known[i].cause;
        }
    }
    return said;
}

/* Raises what the parser complained of. */
static int raise_parser(const struct reader *r)
{
    struct fy_diag_error *e;
    void *at = NULL;

    while ((e = fy_diag_errors_iterate(r->diag, &at)) != NULL) {
        struct place p = {e->line, e->column};

        if (e->type == FYET_ERROR) {
            FAIL_AT(r, p, "not valid YAML: %s", explain(r, e->msg, e->line));
        }
    }
    MT_FAIL(MOTLEY_ECONFIG, "%s: not valid YAML", r->file);
}

/* ---- events to tree ----------------------------------------------------------------------- */

/* Next event, never NULL. */
static int next(struct reader *r, struct fy_event **out)
{
    struct fy_event *e = fy_parser_parse(r->parser);

    if (e == NULL) {
        return raise_parser(r);
    }
    *out = e;
    return MOTLEY_OK;
}

static int build(struct reader *r, struct fy_event *e, int depth, struct place key,
                 struct mt_tree **out);

/* Next event built as a node; *end instead if it is of the kind `last`. */
static int build_next(struct reader *r, enum fy_event_type last, int depth, struct place key,
                      struct mt_tree **out, int *end)
{
    struct fy_event *e = NULL;
    int st = MOTLEY_OK;

    MT_TRY(next(r, &e));
    *end = e->type == last;
    if (!*end) {
        st = build(r, e, depth, key, out);
    }
    fy_parser_event_free(r->parser, e);
    return st < 0 ? mt_err_trace(st, __func__, __FILE__, __LINE__) : MOTLEY_OK;
}

static int new_node(struct reader *r, enum mt_tree_kind kind, struct place p, const char *text,
                    struct mt_tree **out)
{
    r->nodes++;
    if (r->nodes > MAX_NODES) {
        FAIL_AT(r, p, "more than %d values; do aliases multiply each other?", MAX_NODES);
    }
    return mt_tree_new(r->ctx, kind, r->file, p.line, p.col, text, out);
}

int mt_yaml_null(const char *s)
{
    return *s == '\0' || strcmp(s, "~") == 0 || strcmp(s, "null") == 0 || strcmp(s, "Null") == 0
           || strcmp(s, "NULL") == 0;
}

static int build_scalar(struct reader *r, struct fy_event *e, struct place p,
                        struct mt_tree **out)
{
    struct fy_token *token = fy_event_get_token(e);
    enum fy_scalar_style style = token != NULL ? fy_token_scalar_style(token) : FYSS_PLAIN;
    size_t len = 0;
    const char *s = "";
    char *text = NULL;
    int st;

    if (style == FYSS_LITERAL || style == FYSS_FOLDED) {   /* libfyaml 0.7.12: garbage if empty */
        FAIL_AT(r, p, "blocks of text (| and >) are not understood; write the text on one line");
    }
    if (token != NULL) {
        s = fy_token_get_text(token, &len);
    }
    if (s == NULL || memchr(s, '\0', len) != NULL) {
        FAIL_AT(r, p, "text with a zero byte");
    }
    MT_TRY(mt_mem_get(r->ctx, len + 1, 1, (void **)&text));
    memcpy(text, s, len);
    if (style == FYSS_PLAIN && mt_yaml_null(text)) {
        st = new_node(r, MT_TREE_NULL, p, NULL, out);
    } else {
        st = new_node(r, MT_TREE_SCALAR, p, text, out);
    }
    mt_free(r->ctx, text);
    return st;
}

static int build_list(struct reader *r, int depth, struct mt_tree *t)
{
    struct place p = {t->line, t->col};

    for (;;) {
        struct mt_tree *item = NULL;
        int end = 0;

        MT_TRY(build_next(r, FYET_SEQUENCE_END, depth, p, &item, &end));
        if (end) {
            return MOTLEY_OK;
        }
        MT_TRY(mt_tree_add(r->ctx, t, NULL, item));
    }
}

/* Whether a node can be a key of this map. */
static int check_key(struct reader *r, const struct mt_tree *t, const struct mt_tree *key)
{
    struct place p = {key->line, key->col};
    const struct mt_tree *first;

    if (key->kind != MT_TREE_SCALAR) {
        FAIL_AT(r, p, "a key must be a word%s",
                key->kind == MT_TREE_NULL ? ", and is missing here" : "");
    }
    if (strcmp(key->text, "<<") == 0) {
        FAIL_AT(r, p, "merge keys '<<' are not understood; write the keys out");
    }
    first = mt_tree_get(t, key->text);
    if (first != NULL && r->places) {
        FAIL_AT(r, p, "key '%.60s' stands here a second time (first in line %d)", key->text,
                first->key_line);
    }
    if (first != NULL) {
        FAIL_AT(r, p, "key '%.60s' stands here twice", key->text);
    }
    return MOTLEY_OK;
}

static int build_map(struct reader *r, int depth, struct mt_tree *t)
{
    struct place p = {t->line, t->col};

    for (;;) {
        struct mt_tree *key = NULL, *item = NULL;
        int end = 0, st;

        MT_TRY(build_next(r, FYET_MAPPING_END, depth, p, &key, &end));
        if (end) {
            return MOTLEY_OK;
        }
        MT_TRY_OR(done, check_key(r, t, key));
        p = (struct place){key->line, key->col};
        MT_TRY_OR(done, build_next(r, FYET_NONE, depth, p, &item, &end));
        item->key_line = p.line;
        item->key_col = p.col;
        MT_TRY_OR(done, mt_tree_add(r->ctx, t, key->text, item));
done:
        mt_tree_free(r->ctx, key);
        if (st < 0) {
            return st;
        }
    }
}

static int copy(struct reader *r, const struct mt_tree *from, struct mt_tree **out)
{
    struct place p = {from->line, from->col};
    struct mt_tree *t = NULL;
    int st;

    MT_TRY(new_node(r, from->kind, p, from->text, &t));
    for (int i = 0; i < from->n; i++) {
        struct mt_tree *item = NULL;

        MT_TRY_OR(fail, copy(r, from->item[i], &item));
        item->key_line = from->item[i]->key_line;
        item->key_col = from->item[i]->key_col;
        MT_TRY_OR(fail, mt_tree_add(r->ctx, t, from->key != NULL ? from->key[i] : NULL, item));
    }
    *out = t;
    return MOTLEY_OK;
fail:
    mt_tree_free(r->ctx, t);
    return st;
}

static void token_text(struct fy_token *token, char *buf, size_t room)
{
    size_t len = 0;
    const char *s = token != NULL ? fy_token_get_text(token, &len) : NULL;

    snprintf(buf, room, "%.*s", (int)len, s != NULL ? s : "");
}

static int build_alias(struct reader *r, struct fy_event *e, struct place p,
                       struct mt_tree **out)
{
    char name[sizeof r->anchor[0].name];

    token_text(fy_event_get_token(e), name, sizeof name);
    for (int i = r->nanchor - 1; i >= 0; i--) {
        if (strcmp(r->anchor[i].name, name) == 0) {
            return copy(r, r->anchor[i].node, out);
        }
    }
    FAIL_AT(r, p, "alias '*%s': no value before it has the anchor '&%s'; quote the text if no "
            "alias is meant", name, name);
}

/* Remembers a finished node; a node cannot contain itself this way. */
static int keep_anchor(struct reader *r, struct fy_event *e, struct place p,
                       const struct mt_tree *t)
{
    struct fy_token *token = fy_event_get_anchor_token(e);
    struct anchor *a = &r->anchor[r->nanchor];

    if (token == NULL || e->type == FYET_ALIAS) {
        return MOTLEY_OK;
    }
    if (r->nanchor == MAX_ANCHORS) {
        FAIL_AT(r, p, "more than %d anchors", MAX_ANCHORS);
    }
    token_text(token, a->name, sizeof a->name);
    a->node = t;
    r->nanchor++;
    return MOTLEY_OK;
}

static int build(struct reader *r, struct fy_event *e, int depth, struct place key,
                 struct mt_tree **out)
{
    struct place p = place_of(r, e, key);
    struct mt_tree *t = NULL;
    int st;

    if (depth > MAX_DEPTH) {
        FAIL_AT(r, p, "lists and maps more than %d deep in each other", MAX_DEPTH);
    }
    if (fy_event_get_tag_token(e) != NULL) {
        FAIL_AT(r, p, "tags such as !!int are not understood; kinds follow from the keys");
    }
    switch (e->type) {
    case FYET_SCALAR:
        MT_TRY(build_scalar(r, e, p, &t));
        break;
    case FYET_ALIAS:
        MT_TRY(build_alias(r, e, p, &t));
        break;
    case FYET_SEQUENCE_START:
        MT_TRY(new_node(r, MT_TREE_LIST, p, NULL, &t));
        MT_TRY_OR(fail, build_list(r, depth + 1, t));
        break;
    case FYET_MAPPING_START:
        MT_TRY(new_node(r, MT_TREE_MAP, p, NULL, &t));
        MT_TRY_OR(fail, build_map(r, depth + 1, t));
        break;
    default:
        MT_FAIL(MOTLEY_EBUG, "internal error, please report: YAML event %d", (int)e->type);
    }
    MT_TRY_OR(fail, keep_anchor(r, e, p, t));
    *out = t;
    return MOTLEY_OK;
fail:
    mt_tree_free(r->ctx, t);
    return st;
}

/* ---- a document --------------------------------------------------------------------------- */

/* libfyaml passes over bytes that are no text, and drops what follows on the line. */
static int check_text(const struct reader *r, size_t bytes)
{
    struct place p = {1, 1};

    for (size_t i = 0; i < bytes;) {
        int n = mt_text_utf8(r->text + i), c = (unsigned char)r->text[i];

        if (n == 0) {
            FAIL_AT(r, p, "byte 0x%02x is no UTF-8; is this a text file?", c);
        }
        if (c == 0x7f || (c < 0x20 && c != '\n' && c != '\r' && c != '\t')) {
            FAIL_AT(r, p, "control character 0x%02x; is this a text file?", c);
        }
        p.col++;
        if (c == '\n') {
            p.line++;
            p.col = 1;
        }
        i += (size_t)n;
    }
    return MOTLEY_OK;
}

/* The only document of the stream, *out NULL if there is none. */
static int read_stream(struct reader *r, struct mt_tree **out)
{
    struct place none = {0, 0}, start = {1, 1};

    for (;;) {
        struct fy_event *e = NULL;
        enum fy_event_type type;
        struct place p;
        int end = 0;

        MT_TRY(next(r, &e));
        type = e->type;
        p = place_of(r, e, none);
        fy_parser_event_free(r->parser, e);
        if (type == FYET_STREAM_END) {
            return fy_parser_get_stream_error(r->parser) ? raise_parser(r) : MOTLEY_OK;
        }
        if (type == FYET_DOCUMENT_START && *out != NULL) {
            FAIL_AT(r, p, "a second document begins here ('---'); only one is read");
        }
        if (type == FYET_DOCUMENT_START) {
            MT_TRY(build_next(r, FYET_NONE, 0, start, out, &end));
        }
    }
}

/* Nothing is ever printed: messages are collected, and what is not collected ends here. */
static void swallow(struct fy_diag *diag, void *user, const char *buf, size_t len)
{
    (void)diag;
    (void)user;
    (void)buf;
    (void)len;
}

int mt_yaml_parse(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                  int places, struct mt_tree **out)
{
    struct reader r = {.ctx = ctx, .text = text, .file = file, .places = places};
    struct fy_diag_cfg how;
    struct fy_parse_cfg cfg = {.flags = FYPCF_DEFAULT_VERSION_1_2 | FYPCF_COLLECT_DIAG};
    struct mt_tree *t = NULL;
    int st;

    MT_TRY(check_text(&r, bytes));
    fy_diag_cfg_default(&how);
    how.fp = NULL;
    how.output_fn = swallow;
    r.diag = fy_diag_create(&how);
    MT_CHECK_OR(done, r.diag != NULL, MOTLEY_EMEM, "%s: no memory for the YAML parser", file);
    fy_diag_set_collect_errors(r.diag, true);
    cfg.diag = r.diag;
    r.parser = fy_parser_create(&cfg);
    MT_CHECK_OR(done, r.parser != NULL && fy_parser_set_string(r.parser, text, bytes) == 0,
                MOTLEY_EMEM, "%s: no memory for the YAML parser", file);
    MT_TRY_OR(done, read_stream(&r, &t));
    if (t == NULL) {
        MT_TRY_OR(done, mt_tree_new(ctx, MT_TREE_NULL, file, places, places, NULL, &t));
    }
    *out = t;
    t = NULL;
done:
    mt_tree_free(ctx, t);
    fy_parser_destroy(r.parser);
    fy_diag_destroy(r.diag);
    return st;
}
