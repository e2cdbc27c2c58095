/* dropout.h -- dropout done by the producer of its input. */
#ifndef MT_OPS_DROPOUT_H
#define MT_OPS_DROPOUT_H

#include "ops/op.h"

/* What `drop`, a node of dropout, does with the result of a product whose rows are R a sample, in
 * the call io: into *a, which keeps its residual. */
void mt_dropout_after(const struct mt_node *drop, const struct mt_io *io, int64_t R,
                      struct mt_gemm_after *a);

/* What it multiplies those by that it keeps, while training. */
float mt_dropout_scale(const struct mt_node *drop);

#endif
