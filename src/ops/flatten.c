/* flatten.c -- a sample of any shape as one row of numbers.
 *
 *   y (R, N) = x (R, d1, d2, ...)    N = d1 d2 ...
 *
 * The same memory under another shape: no kernel runs, gradients need nothing either. */
#include "ops/op.h"

static int infer(struct mt_node *n)
{
    int64_t dim[2];

    MT_TRY(mt_node_inputs(n, 1));
    MT_CHECK(n->in[0].rank >= 1, MOTLEY_ECONFIG, "flatten needs samples");
    dim[0] = n->in[0].dim[0];
    dim[1] = mt_spec_count(&n->in[0]) / dim[0];
    n->nout = 1;
    n->out[0] = mt_spec_new(n->in[0].dtype, n->in[0].batched, 2, dim);
    return MOTLEY_OK;
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    (void)n;
    *c = (struct mt_cost){0};
}

const struct mt_op mt_op_flatten = {
    .name = "flatten",
    .doc = "a sample of any shape as one row",
    .flags = MT_OP_VIEW,
    .infer = infer,
    .fwd = mt_op_nothing,
    .bwd = mt_op_nothing,
    .cost = cost,
};
