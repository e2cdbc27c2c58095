/* yaml.h -- YAML text to a tree with positions. */
#ifndef MT_CONFIG_YAML_H
#define MT_CONFIG_YAML_H

#include "base/tree.h"

#include <stddef.h>

struct mt_ctx;

/* One document of YAML 1.2 (bytes long, with a zero byte behind it). file: its name in messages
 * and nodes. places: whether lines and columns mean something to the reader (not so for the value
 * of an override). Keys are scalars and stand once in a map; an alias gives a copy of what its
 * anchor names; tags, merge keys and blocks of text (| and >) are refused. An empty text is a node
 * of kind MT_TREE_NULL. MOTLEY_ECONFIG, "file:line:col: ...", for all that is wrong. Gives *out. */
int mt_yaml_parse(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                  int places, struct mt_tree **out);

/* Whether unquoted text is YAML's word for nothing: empty, ~ or null. */
int mt_yaml_null(const char *text);

#endif
