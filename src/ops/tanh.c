/* tanh.c -- hyperbolic tangent.
 *
 *   y  = tanh(x)
 *   dx = g (1 - y^2)
 *
 *   x, y, g, dx: any shape, elementwise
 *
 * Backward reads y, so the result may lie on the input; (1 - y) (1 + y) keeps its accuracy
 * where y is near one. */
#include "ops/op.h"

static const char *const kernels[] = {"tanh_fwd", "tanh_bwd", NULL};

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = N;   /* elementary functions count as one */
    c->data_flop = 4 * N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_tanh = {
    .name = "tanh",
    .doc = "hyperbolic tangent",
    .flags = MT_OP_INPLACE | MT_OP_EACH,
    .keep = MT_KEEP_OUT,
    .kernels = kernels,
    .act = MT_GEMM_TANH,
    .infer = mt_node_elementwise,
    .fwd = mt_op_map_fwd,
    .bwd = mt_op_map_bwd,
    .cost = cost,
};
