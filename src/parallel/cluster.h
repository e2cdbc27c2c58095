/* cluster.h -- clusters described in a file: docs/cluster.md. */
#ifndef MT_PARALLEL_CLUSTER_H
#define MT_PARALLEL_CLUSTER_H

#include "base/tree.h"
#include "parallel/load.h"

#define MT_CLUSTER_RANKS 65536   /* the most */

/* From the tree of the file; errors name the place. load: for what the network determines (the
 * time of an update is that of its memory traffic, where none is given). Ranks are numbered host
 * by host, in a host in the order of its devices. Gives *out. */
int mt_cluster_read(struct mt_ctx *ctx, const struct mt_tree *tree, const struct mt_load *load,
                    struct mt_cluster **out);

#endif
