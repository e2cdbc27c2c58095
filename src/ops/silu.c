/* silu.c -- sigmoid linear unit, also called swish.
 *
 *   y  = x s(x)                         s(x) = 1 / (1 + exp(-x))
 *   dx = g s(x) (1 + x (1 - s(x)))
 *
 *   x, y, g, dx: any shape, elementwise
 *
 * S. Elfwing, E. Uchibe, K. Doya: Sigmoid-weighted linear units, Neural Networks 107 (2018).
 * Backward reads x: y does not determine it, the function is not monotone. */
#include "ops/op.h"

static const char *const kernels[] = {"silu_fwd", "silu_bwd", NULL};

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = 5 * N;   /* exp counts as one */
    c->data_flop = 8 * N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_silu = {
    .name = "silu",
    .doc = "sigmoid linear unit (swish), x / (1 + exp(-x))",
    .flags = MT_OP_EACH,
    .keep = MT_KEEP_IN,
    .kernels = kernels,
    .infer = mt_node_elementwise,
    .fwd = mt_op_map_fwd,
    .bwd = mt_op_map_bwd,
    .cost = cost,
};
