/* cross_entropy_parts.c -- softmax cross entropy of which each of several processes has some
 * columns: figures of the own ones, then the verdict from the figures of all.
 *
 *   of part p, row r, with k its number of classes:
 *     m_p = max_c x[r,c]    s_p = sum_c exp(x[r,c] - m_p)    a_p = sum_c (x[r,c] - m_p)
 *     t_p = x[r,label], if the label is one of its classes, else 0
 *     h_p = 1 the label is one of its classes and its x the first largest of the part,
 *           2 the label is one of its classes, but another x is larger,
 *           3 the label is none of its classes, and some x is no number, else 0
 *   of all:
 *     m = max_p m_p    s = sum_p s_p exp(m_p - m)    a = sum_p (a_p + k_p (m_p - m))
 *     loss = log s - (1 - e) (t - m) - e a / C       dx = exp(x - m) / s - q     as cross_entropy.c
 *
 *   x, dx (R, columns), figures (R, 6) {m_p, s_p, a_p, t_p, h_p, k_p}, of all parts side by side
 *   (R, 6 P); labels (R); e label smoothing, C classes in all; out: MT_STATS {loss, R, hits}
 *
 * s and a are added in the order of the parts, from the same figures, so every process gets the
 * same bits. A part without classes (x is then one column that means nothing) has k_p = 0 and is
 * passed over. A label that no part has makes loss and gradient of its row NaN. */
#include "ops/cross_entropy_parts.h"

enum { FIGURES = 6 };
enum { MAX, SUM, VALID };         /* saved by judge */
enum { ROWS, FEW };               /* kernels of figures */
enum { JUDGE, BWD, STATS };       /* of judge */
enum { MOST_FEW = 64 };           /* classes that one work-item sums */
enum { X, LABELS, ALL };          /* inputs */

static const char *const figure_kernels[] = {"cross_entropy_parts_rows", "cross_entropy_parts_few",
                                             NULL};
static const char *const judge_kernels[] = {"cross_entropy_parts_judge",
                                            "cross_entropy_parts_bwd", NULL};

static int figures_infer(struct mt_node *n)
{
    MT_TRY(mt_node_labels(n));
    n->out[0] = n->in[X];
    n->out[0].dim[n->in[X].rank - 1] = FIGURES;
    n->out[0].dtype = MT_F32;
    return MOTLEY_OK;
}

static uint32_t attr_u32(const struct mt_node *n, int i)
{
    return (uint32_t)mt_attr_int(n, i);
}

static int figures_fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint32_t R = (uint32_t)mt_spec_rows(&io->in[X].spec);
    int few = mt_attr_int(n, MT_CE_COUNT) <= MOST_FEW;

    return mt_launch(io->dev, n->kernel[few ? FEW : ROWS],
                     few ? mt_items(R, MT_WG) : mt_groups(R, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[X]), mt_t(&io->in[LABELS]),
                             mt_u32(R), mt_u32((uint32_t)mt_spec_last(&io->in[X].spec)),
                             mt_u32(attr_u32(n, MT_CE_FIRST)), mt_u32(attr_u32(n, MT_CE_COUNT))));
}

static void figures_cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[X]), R = (double)mt_spec_rows(&n->in[X]);

    c->fwd_flop = 6 * N;
    c->fwd_bytes = 4 * N + 4 * (FIGURES + 1) * R;
}

const struct mt_op mt_cross_entropy_figures = {
    .name = "cross_entropy_parts",
    .doc = "figures of some classes for cross entropy",
    .flags = MT_OP_STOPS,
    .kernels = figure_kernels,
    .infer = figures_infer,
    .fwd = figures_fwd,
    .cost = figures_cost,
};

/* Shapes were checked where the loss was added to the whole network. */
static int judge_infer(struct mt_node *n)
{
    MT_TRY(mt_node_inputs(n, 3));
    n->nout = 1;
    n->out[0] = mt_spec_new(MT_F32, 0, 1, &(int64_t){MT_STATS});
    n->nsaved = 3;
    n->saved[MAX] = n->saved[SUM] = n->saved[VALID] = n->in[X];
    for (int i = 0; i < n->nsaved; i++) {
        n->saved[i].rank = n->in[X].rank - 1;
        n->saved[i].dtype = MT_F32;
    }
    n->scratch_bytes = 2 * sizeof(float) * (uint64_t)mt_spec_rows(&n->in[X]);
    return MOTLEY_OK;
}

static int judge_prepare(struct mt_node *n, struct mt_dev *dev)
{
    return mt_kernel_get(dev, "cross_entropy", "cross_entropy_fwd", NULL, &n->kernel[STATS]);
}

static int judge_fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint32_t R = (uint32_t)mt_spec_rows(&io->in[X].spec);
    struct mt_tensor loss = io->scratch, hit = io->scratch;

    hit.off += R;
    MT_TRY(mt_launch(io->dev, n->kernel[JUDGE], mt_items(R, MT_WG),
                     MT_ARGS(mt_t(&loss), mt_t(&hit), mt_t(&io->saved[MAX]),
                             mt_t(&io->saved[SUM]), mt_t(&io->saved[VALID]), mt_t(&io->in[ALL]),
                             mt_u32(R),
                             mt_u32((uint32_t)mt_spec_last(&io->in[ALL].spec) / FIGURES),
                             mt_u32(attr_u32(n, MT_CE_CLASSES)),
                             mt_f32((float)mt_attr_num(n, MT_CE_SMOOTHING)))));
    return mt_launch(io->dev, n->kernel[STATS], mt_groups(1, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&loss), mt_t(&hit), mt_u32(R)));
}

static int judge_bwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[X].spec);

    if (io->din[X].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[BWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[X]), mt_t(&io->saved[MAX]), mt_t(&io->saved[SUM]),
                             mt_t(&io->saved[VALID]), mt_t(&io->in[X]), mt_t(&io->in[LABELS]),
                             mt_t(&io->loss_scale), mt_u32((uint32_t)N),
                             mt_u32((uint32_t)mt_spec_last(&io->in[X].spec)),
                             mt_u32(attr_u32(n, MT_CE_FIRST)), mt_u32(attr_u32(n, MT_CE_COUNT)),
                             mt_u32(attr_u32(n, MT_CE_CLASSES)),
                             mt_f32((float)mt_attr_num(n, MT_CE_SMOOTHING)),
                             mt_u32(io->acc_in & 1)));
}

static void judge_cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[X]), F = (double)mt_spec_count(&n->in[ALL]);
    double R = (double)mt_spec_rows(&n->in[X]);

    c->fwd_flop = F;
    c->data_flop = 4 * N;
    c->fwd_bytes = 4 * F + 28 * R;
    c->data_bytes = 8 * N + 16 * R;
}

const struct mt_op mt_cross_entropy_judge = {
    .name = "cross_entropy_parts",
    .doc = "cross entropy from the figures of all classes",
    .flags = MT_OP_LOSS,
    .keep = MT_KEEP_IN,
    .kernels = judge_kernels,
    .infer = judge_infer,
    .prepare = judge_prepare,
    .fwd = judge_fwd,
    .bwd = judge_bwd,
    .cost = judge_cost,
};
