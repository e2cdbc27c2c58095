/* schema.h -- the tables of the keys of a configuration, with where each value lies. */
#ifndef MT_CONFIG_SCHEMA_H
#define MT_CONFIG_SCHEMA_H

#include "base/tree.h"

#include <stddef.h>

/* One part of the configuration. With attrs, its values are stored in struct mt_config: value i
 * at offset at[i], as int64_t, double, int (also words) or const char * by its kind. Without, the
 * part belongs to another folder and is kept as a tree at offset at[0]. */
struct mt_section {
    const char *name;              /* "train"; "" for the keys at the top */
    const char *doc;
    const struct mt_attr *attrs;
    const size_t *at;
    enum mt_tree_kind kind;        /* of a tree: map or list; null: a word or a map */
    const char *word;              /* key that a single word stands for: `optimizer: adam` */
    const char *const *special;    /* keys beside those of attrs, read in config.c; ends in NULL */
};

extern const struct mt_section mt_sections[];   /* the one at the top first; name NULL: the end */

#endif
