/* gelu.c -- Gaussian error linear unit, exactly or in its tanh form.
 *
 *   exact   y = x P(x)                P(x) = (1 + erf(x / sqrt(2))) / 2
 *           dx = g (P(x) + x p(x))    p(x) = exp(-x^2 / 2) / sqrt(2 pi)
 *   tanh    y = x (1 + t) / 2         t = tanh(u),  u = k (x + c x^3)
 *           dx = g ((1 + t) / 2 + x (1 - t^2) k (1 + 3 c x^2) / 2)
 *           k = sqrt(2 / pi), c = 0.044715
 *
 *   x, y, g, dx: any shape, elementwise
 *
 * D. Hendrycks, K. Gimpel: Gaussian Error Linear Units, 2016. Both forms because published
 * networks use both. Backward reads x: y does not determine it, the function is not monotone.
 * */
#include "ops/op.h"

enum { FORM };
enum { EXACT, TANH };
enum { FWD, BWD };

static const struct mt_attr attrs[] = {
    {"form", MT_ATTR_WORD, .words = "exact tanh", .def = {.w = EXACT},
     .doc = "by the error function, or its approximation by tanh"},
    {0}};

static const char *const kernels[] = {"gelu_fwd", "gelu_bwd", NULL};

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);

    return mt_launch(io->dev, n->kernel[FWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[0]), mt_u32((uint32_t)N),
                             mt_u32((uint32_t)mt_attr_word(n, FORM))));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->dout[0].spec);

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->dout[0]), mt_t(&io->in[0]),
                             mt_u32((uint32_t)N), mt_u32((uint32_t)mt_attr_word(n, FORM)),
                             mt_u32(io->acc_in & 1)));
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = mt_attr_word(n, FORM) == EXACT ? 5 * N : 9 * N;
    c->data_flop = mt_attr_word(n, FORM) == EXACT ? 11 * N : 18 * N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_gelu = {
    .name = "gelu",
    .doc = "Gaussian error linear unit, exact or tanh form",
    .attrs = attrs,
    .flags = MT_OP_EACH,
    .keep = MT_KEEP_IN,
    .kernels = kernels,
    .infer = mt_node_elementwise,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
