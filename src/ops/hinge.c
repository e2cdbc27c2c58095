/* hinge.c -- hinge loss against class numbers, one class against all others.
 *
 *   loss = sum_r sum_c max(0, 1 - y[r,c] x[r,c])     y[r,c] = +1 if c = t[r], else -1
 *   dx   = -y where y x < 1, else 0
 *
 *   x, dx (R, C), leading dimensions folded into R;  t (R) class numbers 0..C-1;
 *   out: MT_STATS {loss, R, hits}
 *
 * With C = 1 it is the binary hinge loss: t is 0 or 1 and y = 2 t - 1. (Not the multi-class
 * loss of Crammer and Singer, which is torch.nn.MultiMarginLoss: this one is C linear support
 * vector machines side by side, V. Vapnik: Statistical Learning Theory, 1998.) A hit: the
 * largest x is at the label (the first one, if several are equal), or for C = 1 x > 0 exactly
 * where t = 1. A label that is no class makes its row's loss and gradient NaN, so that it is
 * noticed. */
#include "ops/op.h"

enum { ROWS, FWD, BWD };

static const char *const kernels[] = {"hinge_fwd_rows", "hinge_fwd", "hinge_bwd", NULL};

static int infer(struct mt_node *n)
{
    MT_TRY(mt_node_labels(n));
    n->scratch_bytes = 2 * sizeof(float) * (uint64_t)mt_spec_rows(&n->in[0]);
    return MOTLEY_OK;
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint32_t R = (uint32_t)mt_spec_rows(&io->in[0].spec);
    uint32_t C = (uint32_t)mt_spec_last(&io->in[0].spec);
    struct mt_tensor loss = io->scratch, hit = io->scratch;

    hit.off += R;
    MT_TRY(mt_launch(io->dev, n->kernel[ROWS], mt_groups(R, MT_WG),
                     MT_ARGS(mt_t(&loss), mt_t(&hit), mt_t(&io->in[0]), mt_t(&io->in[1]),
                             mt_u32(R), mt_u32(C))));
    return mt_launch(io->dev, n->kernel[FWD], mt_groups(1, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&loss), mt_t(&hit), mt_u32(R)));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->in[0]), mt_t(&io->in[1]),
                             mt_t(&io->loss_scale), mt_u32((uint32_t)N),
                             mt_u32((uint32_t)mt_spec_last(&io->in[0].spec)),
                             mt_u32(io->acc_in & 1)));
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]), R = (double)mt_spec_rows(&n->in[0]);

    c->fwd_flop = 4 * N;
    c->data_flop = 2 * N;
    c->fwd_bytes = 4 * N + 4 * R;
    c->data_bytes = 8 * N + 4 * R;
}

const struct mt_op mt_op_hinge = {
    .name = "hinge",
    .doc = "hinge loss, one class against all others",
    .flags = MT_OP_LOSS,
    .keep = MT_KEEP_IN,
    .kernels = kernels,
    .infer = infer,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
