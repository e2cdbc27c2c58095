/* tree.h -- the content of a configuration as a tree that remembers where each word stood.
 *
 * yaml.c makes it; whoever owns a part (operations, readers, optimizers, sections) reads that
 * part through a table of attributes. All messages about a configuration are made here, so all
 * look the same: "net.yaml:7:12: unknown key 'lrr' in optimizer; did you mean 'lr'?" */
#ifndef MT_BASE_TREE_H
#define MT_BASE_TREE_H

#include "base/attr.h"
#include "base/err.h"

struct mt_ctx;

enum mt_tree_kind { MT_TREE_NULL = 0, MT_TREE_SCALAR, MT_TREE_LIST, MT_TREE_MAP };

struct mt_tree {
    enum mt_tree_kind kind;
    const char *file;            /* "net.yaml"; "command line: train.batch=0" for an override */
    int line, col;               /* from 1; 0: no position */
    int key_line, key_col;       /* of its key, if it stands in a map; 0: no position */
    const char *text;            /* SCALAR */
    int n;                       /* LIST, MAP */
    struct mt_tree **item;
    const char **key;            /* MAP: beside item */
};

/* Makers: all blocks belong to the tree, strings are copied; mt_tree_free releases a tree with
 * everything in it. text: for a scalar, else NULL. */
int mt_tree_new(struct mt_ctx *ctx, enum mt_tree_kind kind, const char *file, int line, int col,
                const char *text, struct mt_tree **out);
/* Takes child, and releases it on failure; key NULL for a list. A key that exists is replaced. */
int mt_tree_add(struct mt_ctx *ctx, struct mt_tree *t, const char *key, struct mt_tree *child);
void mt_tree_free(struct mt_ctx *ctx, struct mt_tree *t);

/* Child of a map, NULL if absent or t is NULL or no map. */
struct mt_tree *mt_tree_get(const struct mt_tree *t, const char *key);

/* Values of a map; missing ones and wrong kinds are errors. Text is borrowed from the tree. */
int mt_tree_int(const struct mt_tree *t, const char *key, int64_t *out);
int mt_tree_num(const struct mt_tree *t, const char *key, double *out);
int mt_tree_text(const struct mt_tree *t, const char *key, const char **out);

/* "file:line:col: " of a node for the start of a message; "file: " without line, "" without file
 * or without node. */
const char *mt_tree_at(const struct mt_tree *t, char *buf, int room);

/* Raises MOTLEY_ECONFIG with the place in front. */
#define MT_TREE_FAIL(t, ...)                                                                  \
    do {                                                                                      \
        char mt_at_[512];                                                                     \
        mt_err_raise(MOTLEY_ECONFIG, __func__, __FILE__, __LINE__, __VA_ARGS__);              \
        mt_err_prefix("%s", mt_tree_at((t), mt_at_, sizeof mt_at_));                          \
        return MOTLEY_ECONFIG;                                                                \
    } while (0)

/* Reads a map into values by a table: defaults, unknown keys (with the nearest known one), kinds,
 * ranges, missing required keys. A scalar t is the first attribute alone; a null t (the node or
 * the pointer) is nothing. what: "optimizer adam", for messages. Keys in `skip` (NULL-ended, may
 * be NULL) are left alone. Text values are borrowed from the tree. given (may be NULL): bit i is
 * set if attribute i was written in the tree. */
int mt_tree_attrs(const struct mt_tree *t, const struct mt_attr *attrs, const char *what,
                  const char *const *skip, union mt_attr_val *val, uint32_t *given);

/* Fails on the first key of a map that is not in the NULL-ended list. */
int mt_tree_only(const struct mt_tree *t, const char *what, const char *const *keys);

#endif
