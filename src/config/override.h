/* override.h -- settings of the command line: a.b.c=VALUE. */
#ifndef MT_CONFIG_OVERRIDE_H
#define MT_CONFIG_OVERRIDE_H

#include "base/tree.h"

struct mt_ctx;

/* Puts the setting into the tree. A part of the path is a key of a map or a position, from 0, in
 * a list; missing keys are made. VALUE is YAML; nothing after '=' is null. */
int mt_override_apply(struct mt_ctx *ctx, struct mt_tree **root, const char *setting);

#endif
