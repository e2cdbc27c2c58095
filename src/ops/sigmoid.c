/* sigmoid.c -- logistic function.
 *
 *   y  = 1 / (1 + exp(-x))
 *   dx = g y (1 - y)
 *
 *   x, y, g, dx: any shape, elementwise
 *
 * Backward reads y, so the result may lie on the input. For x < -88 exp overflows to infinity
 * and y is 0; for x near 0 and above 1 - y loses at most one rounding of 1. */
#include "ops/op.h"

static const char *const kernels[] = {"sigmoid_fwd", "sigmoid_bwd", NULL};

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = 4 * N;   /* exp counts as one, here and elsewhere */
    c->data_flop = 3 * N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_sigmoid = {
    .name = "sigmoid",
    .doc = "logistic function, 1 / (1 + exp(-x))",
    .flags = MT_OP_INPLACE | MT_OP_EACH,
    .keep = MT_KEEP_OUT,
    .kernels = kernels,
    .act = MT_GEMM_SIGMOID,
    .infer = mt_node_elementwise,
    .fwd = mt_op_map_fwd,
    .bwd = mt_op_map_bwd,
    .cost = cost,
};
