/* relu.c -- rectified linear unit.
 *
 *   y  = max(x, 0)
 *   dx = g where y > 0, else 0
 *
 *   x, y, g, dx: any shape, elementwise
 *
 * Backward reads y, not x: y > 0 exactly where x > 0, so the result may lie on the input. A NaN
 * passes through in both directions, so that it is noticed. Where dropout lies on y, dropped
 * elements are zeros of y, too: its backward is then a factor of this one (n->gain). */
#include "ops/op.h"

static const char *const kernels[] = {"relu_fwd", "relu_bwd", NULL};

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->dout[0].spec);

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[1], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->dout[0]), mt_t(&io->out[0]),
                             mt_u32((uint32_t)N), mt_f32(n->gain != 0 ? n->gain : 1),
                             mt_u32(io->acc_in & 1)));
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = c->data_flop = N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_relu = {
    .name = "relu",
    .doc = "rectified linear unit, max(x, 0)",
    .flags = MT_OP_INPLACE | MT_OP_EACH | MT_OP_SIGN,
    .keep = MT_KEEP_OUT,
    .kernels = kernels,
    .act = MT_GEMM_RELU,
    .infer = mt_node_elementwise,
    .fwd = mt_op_map_fwd,
    .bwd = bwd,
    .cost = cost,
};
