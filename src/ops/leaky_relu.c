/* leaky_relu.c -- rectified linear unit that lets a part of the negative side through.
 *
 *   y  = x where x > 0, else slope x
 *   dx = g where y > 0, else slope g
 *
 *   x, y, g, dx: any shape, elementwise
 *
 * Backward reads y, not x: with slope >= 0 both have the same sign, so the result may lie on
 * the input. Negative slopes are refused for that reason. */
#include "ops/op.h"

enum { SLOPE };
enum { FWD, BWD };

static const struct mt_attr attrs[] = {
    {"slope", MT_ATTR_NUM, .def = {.f = 0.01}, .min = 0, .max = 1,
     .doc = "factor on the negative side"},
    {0}};

static const char *const kernels[] = {"leaky_relu_fwd", "leaky_relu_bwd", NULL};

static int infer(struct mt_node *n)
{
    n->slope = (float)mt_attr_num(n, SLOPE);
    return mt_node_elementwise(n);
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);

    return mt_launch(io->dev, n->kernel[FWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[0]), mt_u32((uint32_t)N),
                             mt_f32((float)mt_attr_num(n, SLOPE))));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->dout[0].spec);

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->dout[0]), mt_t(&io->out[0]),
                             mt_u32((uint32_t)N), mt_f32((float)mt_attr_num(n, SLOPE)),
                             mt_u32(io->acc_in & 1)));
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = c->data_flop = N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_leaky_relu = {
    .name = "leaky_relu",
    .doc = "x where positive, else slope times x",
    .attrs = attrs,
    .flags = MT_OP_INPLACE | MT_OP_EACH,
    .keep = MT_KEEP_OUT,
    .kernels = kernels,
    .act = MT_GEMM_LEAKY_RELU,
    .infer = infer,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
