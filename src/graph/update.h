/* update.h -- the step kinds that act on the flat space: stats, norm, scale, update. */
#ifndef MT_GRAPH_UPDATE_H
#define MT_GRAPH_UPDATE_H

#include "graph/exec.h"

#define MT_NORM_PARTS 256   /* partial sums of squares in exec->partial: the groups of one launch,
                               fixed so that the sum's order does not depend on the device */

/* Kernels and buffers of these kinds, for mt_exec_new and mt_exec_free. */
int mt_update_bind(struct mt_exec *x);
void mt_update_unbind(struct mt_exec *x);

#endif
