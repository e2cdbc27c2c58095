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

enum { FWD, BWD };

static const char *const kernels[] = {"sigmoid_fwd", "sigmoid_bwd", NULL};

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);

    return mt_launch(io->dev, n->kernel[FWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[0]), mt_u32((uint32_t)N)));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->dout[0].spec);

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->dout[0]), mt_t(&io->out[0]),
                             mt_u32((uint32_t)N), mt_u32(io->acc_in & 1)));
}

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
    .flags = MT_OP_INPLACE,
    .keep = MT_KEEP_OUT,
    .kernels = kernels,
    .infer = mt_node_elementwise,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
