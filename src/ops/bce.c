/* bce.c -- binary cross entropy with logits: mean over the numbers of a sample, sum over
 * samples.
 *
 *   loss = sum_r mean_e (max(x, 0) - t x + log(1 + exp(-|x|)))
 *        = sum_r mean_e -(t log p + (1 - t) log(1 - p))       p = 1 / (1 + exp(-x))
 *   dx   = (p - t) / E
 *
 *   x, dx (R, E), all but the first dimension folded into E;  t (R, E) in [0, 1], or (R) class
 *   numbers 0 and 1 if E is 1;  out: MT_STATS {loss, R, hits}
 *
 * Divided by the count of samples it is torch.nn.BCEWithLogitsLoss(). A hit is a sample whose
 * every number lies on the side of its target: x > 0 exactly where t > 1/2. Class numbers other
 * than 0 and 1, and targets outside [0, 1], make loss and gradient NaN, so that they are
 * noticed. */
#include "ops/op.h"

enum { ROWS, FWD, BWD };

static const char *const kernels[] = {"bce_fwd_rows", "bce_fwd", "bce_bwd", NULL};

static int infer(struct mt_node *n)
{
    int64_t E;
    char a[128], b[128];

    MT_TRY(mt_node_loss(n));
    E = mt_spec_count(&n->in[0]) / n->in[0].dim[0];
    MT_CHECK(n->in[1].dtype == MT_F32 || E == 1, MOTLEY_ECONFIG,
             "bce with class numbers needs a network that ends in one number, this one ends in "
             "%s; for several classes use cross_entropy",
             mt_spec_print(&n->in[0], a, (int)sizeof a));
    MT_CHECK(mt_spec_count(&n->in[0]) == mt_spec_count(&n->in[1]), MOTLEY_ECONFIG,
             "bce: prediction %s and targets %s do not fit",
             mt_spec_print(&n->in[0], a, (int)sizeof a),
             mt_spec_print(&n->in[1], b, (int)sizeof b));
    n->scratch_bytes = 2 * sizeof(float) * (uint64_t)n->in[0].dim[0];
    return MOTLEY_OK;
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint32_t R = (uint32_t)io->in[0].spec.dim[0];
    uint32_t E = (uint32_t)(mt_spec_count(&io->in[0].spec) / R);
    struct mt_tensor loss = io->scratch, hit = io->scratch;

    hit.off += R;
    MT_TRY(mt_launch(io->dev, n->kernel[ROWS], mt_groups(R, MT_WG),
                     MT_ARGS(mt_t(&loss), mt_t(&hit), mt_t(&io->in[0]), mt_t(&io->in[1]),
                             mt_u32(R), mt_u32(E), mt_u32(n->in[1].dtype == MT_I32))));
    return mt_launch(io->dev, n->kernel[FWD], mt_groups(1, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&loss), mt_t(&hit), mt_u32(R)));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);
    uint64_t E = N / (uint64_t)io->in[0].spec.dim[0];

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->in[0]), mt_t(&io->in[1]),
                             mt_t(&io->loss_scale), mt_u32((uint32_t)N), mt_u32((uint32_t)E),
                             mt_u32(n->in[1].dtype == MT_I32), mt_u32(io->acc_in & 1)));
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = 7 * N;
    c->data_flop = 5 * N;
    c->fwd_bytes = 8 * N;
    c->data_bytes = 12 * N;
}

const struct mt_op mt_op_bce = {
    .name = "bce",
    .doc = "binary cross entropy with logits",
    .flags = MT_OP_LOSS,
    .keep = MT_KEEP_IN,
    .kernels = kernels,
    .infer = infer,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
