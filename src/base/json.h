/* json.h -- JSON out, piece by piece, and in, as a tree.
 *
 * Writing cannot fail on the way; the status comes with mt_json_take:
 *
 *     struct mt_json j;
 *     mt_json_init(&j, ctx, 0);            0: all on one line; 2: indented by two
 *     mt_json_map(&j, NULL);               key NULL: at the top or in a list
 *     mt_json_int(&j, "step", 100);
 *     mt_json_num(&j, "loss", 0.25);
 *     mt_json_list(&j, "shape");
 *     mt_json_int(&j, NULL, 3);
 *     mt_json_end(&j);                     closes the innermost map or list
 *     mt_json_end(&j);
 *     MT_TRY(mt_json_take(&j, &text));     {"step":100,"loss":0.25,"shape":[3]}
 *
 * Doubles are written with the fewest digits that read back the same; nan and infinities, which
 * JSON has no word for, as null. Bytes that are no UTF-8 become U+FFFD. */
#ifndef MT_BASE_JSON_H
#define MT_BASE_JSON_H

#include "base/text.h"
#include "base/tree.h"

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;

#define MT_JSON_DEPTH 32

struct mt_json {
    struct mt_text text;
    int indent, depth;
    char close[MT_JSON_DEPTH];     /* '}' or ']' */
    char filled[MT_JSON_DEPTH];    /* something stands in it already */
};

void mt_json_init(struct mt_json *j, struct mt_ctx *ctx, int indent);
void mt_json_map(struct mt_json *j, const char *key);
void mt_json_list(struct mt_json *j, const char *key);
void mt_json_end(struct mt_json *j);
void mt_json_text(struct mt_json *j, const char *key, const char *s);   /* s NULL: null */
void mt_json_int(struct mt_json *j, const char *key, int64_t v);
void mt_json_num(struct mt_json *j, const char *key, double v);
void mt_json_bool(struct mt_json *j, const char *key, int v);
/* Gives *out, without a newline at the end unless indented. */
int mt_json_take(struct mt_json *j, char **out);
void mt_json_drop(struct mt_json *j);

/* text (bytes long) to a tree: objects are maps, null is MT_TREE_NULL, the rest are scalars
 * (numbers in text form that reads back exactly; true, false). file: its name in messages and in
 * the nodes. Objects that name a key twice are refused. MOTLEY_EFORMAT, "file:line:col: ...", if
 * it is no JSON. Gives *out. Values are read with mt_tree_get, mt_tree_int, mt_tree_num,
 * mt_tree_text of tree.h, or by a table with mt_tree_attrs. */
int mt_json_parse(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                  struct mt_tree **out);

#endif
