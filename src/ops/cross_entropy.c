/* cross_entropy.c -- softmax and cross entropy against class numbers, in one operation.
 *
 *   m[r] = max_c x[r,c]    s[r] = sum_c exp(x[r,c] - m[r])
 *   p[r,c] = exp(x[r,c] - m[r]) / s[r]    q[r,c] = (1 - e) [c = t[r]] + e / C
 *   loss   = sum_r -sum_c q[r,c] log p[r,c]
 *          = sum_r (log s[r] - (1 - e) (x[r,t] - m[r]) - e mean_c (x[r,c] - m[r]))
 *   dx     = p - q
 *
 *   x, dx (R, C), leading dimensions folded into R;  t (R) class numbers;  e label smoothing;
 *   m, s (R) kept;  out: MT_STATS {loss, R, hits}
 *
 * As torch.nn.CrossEntropyLoss(reduction="sum", label_smoothing=e). A hit is a row whose
 * largest x is at its label (the first one, if several are equal). A label outside 0..C-1 makes
 * its row's loss and gradient NaN, so that it is noticed, and reads nothing outside. m and s
 * are kept apart: log s + m in one number would lose the digits of s where x is large. Classes that
 * lie with several processes: cross_entropy_parts.c. */
#include "ops/cross_entropy_parts.h"

enum { SMOOTHING };
enum { MAX, SUM };                /* saved */
enum { ROWS, FEW, FWD, BWD };
enum { MOST_FEW = 64 };           /* classes that one work-item sums */

static const struct mt_attr attrs[] = {
    {"label_smoothing", MT_ATTR_NUM, .min = 0, .max = 1,
     .doc = "part of the target that is spread over all classes"},
    {0}};

static const char *const kernels[] = {"cross_entropy_fwd_rows", "cross_entropy_fwd_few",
                                      "cross_entropy_fwd", "cross_entropy_bwd", NULL};

static int infer(struct mt_node *n)
{
    MT_TRY(mt_node_labels(n));
    n->nsaved = 2;
    n->saved[MAX] = n->saved[SUM] = n->in[0];
    n->saved[MAX].rank = n->saved[SUM].rank = n->in[0].rank - 1;
    n->saved[MAX].dtype = n->saved[SUM].dtype = MT_F32;
    n->scratch_bytes = 2 * sizeof(float) * (uint64_t)mt_spec_rows(&n->in[0]);
    return MOTLEY_OK;
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint32_t R = (uint32_t)mt_spec_rows(&io->in[0].spec);
    uint32_t C = (uint32_t)mt_spec_last(&io->in[0].spec);
    struct mt_tensor loss = io->scratch, hit = io->scratch;

    hit.off += R;
    MT_TRY(mt_launch(io->dev, n->kernel[C <= MOST_FEW ? FEW : ROWS],
                     C <= MOST_FEW ? mt_items(R, MT_WG) : mt_groups(R, MT_WG),
                     MT_ARGS(mt_t(&loss), mt_t(&hit), mt_t(&io->saved[MAX]),
                             mt_t(&io->saved[SUM]), mt_t(&io->in[0]), mt_t(&io->in[1]),
                             mt_u32(R), mt_u32(C), mt_f32((float)mt_attr_num(n, SMOOTHING)))));
    return mt_launch(io->dev, n->kernel[FWD], mt_groups(1, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&loss), mt_t(&hit), mt_u32(R)));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint32_t R = (uint32_t)mt_spec_rows(&io->in[0].spec);
    uint32_t C = (uint32_t)mt_spec_last(&io->in[0].spec);
    uint64_t N = (uint64_t)R * C;

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->saved[MAX]), mt_t(&io->saved[SUM]),
                             mt_t(&io->in[0]), mt_t(&io->in[1]), mt_t(&io->loss_scale),
                             mt_u32((uint32_t)N), mt_u32(C),
                             mt_f32((float)mt_attr_num(n, SMOOTHING)), mt_u32(io->acc_in & 1)));
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double R = (double)mt_spec_rows(&n->in[0]), N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = 6 * N;
    c->data_flop = 4 * N;
    c->fwd_bytes = 4 * N + 20 * R;
    c->data_bytes = 8 * N + 12 * R;
}

static void split(const struct mt_node *n, const struct mt_division *how, struct mt_shard *out)
{
    out->attr[MT_CE_SMOOTHING].f = mt_attr_num(n, SMOOTHING);
    out->attr[MT_CE_FIRST].i = how->lo;
    out->attr[MT_CE_COUNT].i = how->hi - how->lo;
    out->attr[MT_CE_CLASSES].i = mt_spec_last(&n->in[0]);
}

static const struct mt_op_parts parts = {&mt_cross_entropy_figures, &mt_cross_entropy_judge};

const struct mt_op mt_op_cross_entropy = {
    .name = "cross_entropy",
    .doc = "softmax cross entropy against class numbers",
    .attrs = attrs,
    .flags = MT_OP_LOSS,
    .keep = MT_KEEP_IN,
    .kernels = kernels,
    .infer = infer,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
    .split = split,
    .parts = &parts,
};
