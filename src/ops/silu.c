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

enum { FWD, BWD };

static const char *const kernels[] = {"silu_fwd", "silu_bwd", NULL};

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
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->dout[0]), mt_t(&io->in[0]),
                             mt_u32((uint32_t)N), mt_u32(io->acc_in & 1)));
}

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
    .keep = MT_KEEP_IN,
    .kernels = kernels,
    .infer = mt_node_elementwise,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
