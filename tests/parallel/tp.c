/* tp.c -- proves: a network whose layers are divided inside is that of one process. On exact data
 * (whole numbers, weights -1, 0, 1, a rate that is a power of two) gradients and weights are the
 * same to the last bit: pairs of layers, layers put together again, a residual block around a
 * pair, parts as wide as 2:1 or 5:1, parts without any columns, a layer of one output,
 * micro-batches of which some are empty. Networks with gelu, dropout, cross entropy stay within
 * rounding over 10 steps, and judge held-out samples alike. All this with values stored as fp32,
 * bf16 and fp16, the same in one process; exact data has terms of sums that do not fit them. First
 * weights are those of the whole network, slices are where mt_tp_slice says, sums of data gradients
 * overlap with parameter gradients, parts on equal devices have the same loss to the bit, and a
 * step allocates nothing. A rank that is left out does not disturb. Ranks may be given different
 * devices with MOTLEY_DEVICE.
 * Ranks: 1 2 3 4
 * Time: 300 */
#include "device.h"

#include "base/rng.h"
#include "config/config.h"
#include "device/buf.h"
#include "graph/store.h"
#include "parallel/par.h"

#include <math.h>

enum { B = 8, IN = 20, MAXOUT = 16, LOSS_SCALE = 1024 };

struct trial {
    const char *name, *text;
    int out, classes, exact;       /* classes: targets are labels; exact: all numbers are whole */
    int steps, micros, rows;       /* rows 0: B */
    double lr;
    double width[4];               /* all 0: equal */
    int backwards;                 /* ranks of the stage in falling order */
    int spare;                     /* the last rank is left out, if there are several */
};

struct net {
    struct mt_config *config;
    struct mt_graph *whole, *graph;      /* graph: that of this rank */
    struct mt_optim *optim;
    struct mt_store *store;
    struct mt_wire *wire[2];
    struct mt_par par[2];
    struct mt_graph *eval_graph;
    struct mt_exec *exec, *eval;
    struct mt_buf *xbuf, *ybuf;
    struct mt_batch batch;
};

/* ---- a network ---------------------------------------------------------------------------- */

static struct mt_exec *executor(struct job *j, struct mt_dev *dev, struct net *n, int which,
                                const struct mt_layout *l, enum mt_mode mode, int micros)
{
    struct mt_graph *g = which == 0 ? n->graph : n->eval_graph;
    struct mt_order_opt order = {.mode = mode, .micros = micros,
                                 .clip = mode == MT_TRAIN && g->storage == MT_FP16};
    struct mt_exec_opt opt = {.mode = mode, .micros = micros, .seed = 1, .optim = n->optim};
    struct mt_steps steps;
    struct mt_exec *x = NULL;

    JOB_DO(j, mt_order(g, &order, &steps));
    if (l != NULL) {
        JOB_DO(j, mt_wire_new(j->ctx, j->comm, dev, &n->wire[which]));
        n->par[which].wire = n->wire[which];
        JOB_DO(j, mt_tp_new(dev, j->comm, n->wire[which], g, l, &steps, &n->par[which].tp));
    }
    JOB_DO(j, mt_exec_new(dev, g, n->store, &opt, &steps, &x));
    x->pass = &n->par[which];
    return x;
}

/* l NULL: the network of one process. */
static void net_new(struct job *j, struct mt_dev *dev, const struct trial *t,
                    enum mt_dtype storage, const struct mt_layout *l, struct net *n)
{
    int64_t rows = (B + t->micros - 1) / t->micros;
    struct mt_spec x = mt_spec_new(storage, 1, 2, (int64_t[]){rows, IN});
    struct mt_spec y = t->classes ? mt_spec_new(MT_I32, 1, 1, (int64_t[]){rows})
                                  : mt_spec_new(MT_F32, 1, 2, (int64_t[]){rows, t->out});

    memset(n, 0, sizeof *n);
    JOB_DO(j, mt_config_parse(j->ctx, t->text, "test", NULL, 0, &n->config));
    JOB_DO(j, mt_graph_build(j->ctx, n->config->model, n->config->loss, &x, &y, &n->whole));
    n->graph = n->whole;
    if (l != NULL) {
        JOB_DO(j, mt_tp_rewrite(n->whole, l, j->rank, &n->graph));
    }
    JOB_DO(j, mt_graph_rebatch(n->graph, B, &n->eval_graph));
    JOB_DO(j, mt_optim_new(j->ctx, n->config->optimizer, &n->optim));
    n->optim->storage = storage;
    JOB_DO(j, mt_optim_bind(n->optim, dev));
    JOB_DO(j, mt_store_new(dev, n->graph, n->optim, 0, &n->store));
    JOB_DO(j, mt_store_init(n->store, n->graph, 1));
    JOB_DO(j, mt_store_set_loss_scale(n->store, t->exact ? 1 : LOSS_SCALE, 0));
    n->exec = executor(j, dev, n, 0, l, MT_TRAIN, t->micros);
    n->eval = executor(j, dev, n, 1, l, MT_EVAL, 1);
    JOB_DO(j, mt_buf_new(dev, B * IN * 4, "x", &n->xbuf));
    JOB_DO(j, mt_buf_new(dev, B * MAXOUT * 4, "y", &n->ybuf));
    x.dtype = MT_F32;
    n->batch = (struct mt_batch){.x = {.spec = x, .buf = n->xbuf},
                                 .y = {.spec = y, .buf = n->ybuf}, .lr = t->lr};
}

static void net_free(struct net *n)
{
    mt_buf_free(n->ybuf);
    mt_buf_free(n->xbuf);
    mt_exec_free(n->eval);
    mt_exec_free(n->exec);
    for (int i = 0; i < 2; i++) {
        mt_tp_free(n->par[i].tp);
        mt_wire_free(n->wire[i]);
    }
    mt_store_free(n->store);
    mt_optim_free(n->optim);
    mt_graph_free(n->eval_graph);
    if (n->graph != n->whole) {
        mt_graph_free(n->graph);
    }
    mt_graph_free(n->whole);
    mt_config_free(n->config);
}

static void load(struct job *j, struct net *n, const struct trial *t, int64_t step)
{
    struct mt_rng_key key = mt_rng_key(3, MT_RNG_TEST, (uint64_t)step);
    float x[B * IN], y[B * MAXOUT];
    int32_t label[B];

    for (uint64_t i = 0; i < B * IN; i++) {
        x[i] = t->exact ? (float)(mt_rng_u32(key, i) % 3) - 1 : (float)mt_rng_normal(key, i);
    }
    for (uint64_t i = 0; i < B * MAXOUT; i++) {
        y[i] = (float)(mt_rng_u32(key, 5000 + i) % 9) - 4;
    }
    for (uint64_t i = 0; i < B; i++) {
        label[i] = (int32_t)(mt_rng_u32(key, 9000 + i) % (uint32_t)t->out);
    }
    JOB_DO(j, mt_buf_write(n->xbuf, 0, sizeof x, x));
    if (t->classes) {
        JOB_DO(j, mt_buf_write(n->ybuf, 0, sizeof label, label));
    } else {
        JOB_DO(j, mt_buf_write(n->ybuf, 0, sizeof y, y));
    }
    n->batch.rows = t->rows > 0 ? t->rows : B;
    n->batch.step = step;
}

/* ---- parts -------------------------------------------------------------------------------- */

/* Element of the whole parameter that element e of the part is. */
static int64_t in_whole(const struct mt_gparam *p, int64_t e)
{
    int64_t inner = 1, here = p->desc.spec.dim[p->axis];

    for (int d = p->axis + 1; d < p->full.rank; d++) {
        inner *= p->full.dim[d];
    }
    return (e / (here * inner) * p->full.dim[p->axis] + p->first + e / inner % here) * inner +
           e % inner;
}

/* First weights that are whole: a function of the parameter's name and the element. */
static void whole_weights(struct job *j, struct net *n)
{
    for (int p = 0; p < n->graph->nparam; p++) {
        const struct mt_gparam *q = &n->graph->param[p];
        struct mt_rng_key key = mt_rng_key(4, MT_RNG_TEST, mt_rng_stream(q->name));

        for (uint64_t i = q->range.lo; i < q->range.hi; i++) {
            uint64_t e = (uint64_t)in_whole(q, (int64_t)(i - q->range.lo));
            float w = (float)(mt_rng_u32(key, e) % 3) - 1;

            JOB_DO(j, mt_buf_write(n->store->param, i * 4, 4, &w));
        }
    }
    JOB_DO(j, mt_store_refresh(n->store));
}

static const struct mt_gparam *named(const struct mt_graph *g, const char *name)
{
    for (int i = 0; i < g->nparam; i++) {
        if (strcmp(g->param[i].name, name) == 0) {
            return &g->param[i];
        }
    }
    return NULL;
}

static float *read_all(struct job *j, struct mt_buf *buf, uint64_t n)
{
    float *host = NULL;

    JOB_DO(j, MT_NEW_N(j->ctx, n, &host));
    JOB_DO(j, mt_buf_read(buf, 0, n * 4, host));
    return host;
}

/* The largest difference between the parts and `times` the whole, relative to the largest number of
 * the same parameter; 1e300: a number is none. */
static double difference(struct job *j, const struct net *one, double times,
                         const struct net *many, struct mt_buf *a, struct mt_buf *b)
{
    float *whole = read_all(j, a, one->store->size), *part = read_all(j, b, many->store->size);
    double worst = 0;

    for (int i = 0; i < many->graph->nparam; i++) {
        const struct mt_gparam *p = &many->graph->param[i], *q = named(one->graph, p->name);
        double large = 0, off = 0;

        JOB_CHECK(j, q != NULL, "no parameter %s in the whole network", p->name);
        for (uint64_t e = q->range.lo; e < q->range.hi; e++) {
            large = fmax(large, times * fabs((double)whole[e]));
        }
        for (uint64_t e = p->range.lo; e < p->range.hi; e++) {
            int64_t at = in_whole(p, (int64_t)(e - p->range.lo));
            double d = fabs((double)part[e] - times * (double)whole[q->range.lo + (uint64_t)at]);

            off = d > off || d != d ? d : off;
        }
        worst = fmax(worst, off > 0 ? off / large : off != off ? 1e300 : 0);
    }
    mt_free(j->ctx, part);
    mt_free(j->ctx, whole);
    return worst;
}

/* What this rank holds is what mt_tp_slice tells the others. */
static void check_slices(struct job *j, const struct trial *t, const struct net *n,
                         const struct mt_layout *l, int part)
{
    const struct mt_graph *w = n->whole;

    for (int i = 0; i < w->nnode; i++) {
        for (int k = 0; k < w->node[i].n.nparam; k++) {
            const struct mt_gparam *q = &w->param[w->node[i].param[k]];
            const struct mt_gparam *p = named(n->graph, q->name);
            struct mt_slice s;

            JOB_DO(j, mt_tp_slice(w, l, 0, i, k, part, &s));
            JOB_CHECK(j, s.held == (p != NULL), "%s: %s", t->name, q->name);
            if (p != NULL) {
                JOB_CHECK(j, p->axis == s.axis && p->first == s.lo &&
                                 p->desc.spec.dim[s.axis] == s.hi - s.lo &&
                                 mt_spec_equal(&p->full, &q->full) &&
                                 p->whole.lo == q->whole.lo && p->whole.hi == q->whole.hi,
                          "%s: %s [%lld, %lld) of dimension %d", t->name, q->name,
                          (long long)s.lo, (long long)s.hi, s.axis);
            }
        }
    }
}

/* ---- trials ------------------------------------------------------------------------------- */

/* Whether all ranks have devices of one kind: others round exp in other ways, so the loss, which
 * every part computes, may differ by that. */
static int are_alike(struct job *j, struct mt_dev *dev)
{
    char name[128], all[MAXRANKS][128];
    int alike = 1;

    snprintf(name, sizeof name, "%s", mt_dev_info(dev)->name);
    JOB_DO(j, mt_comm_allgather(j->comm, name, sizeof name, all));
    for (int r = 1; r < j->size; r++) {
        alike = alike && strcmp(all[r], all[0]) == 0;
    }
    return alike;
}

/* Loss, count and hits of a call: those of one process; on the first nbits ranks the same bits. */
static void check_stats(struct job *j, const struct trial *t, const char *when,
                        struct mt_tensor alone, struct mt_tensor here, double tol, int nbits)
{
    float a[MT_STATS], b[MT_STATS], all[MAXRANKS][MT_STATS];

    JOB_DO(j, mt_buf_read(alone.buf, alone.off * 4, sizeof a, a));
    JOB_DO(j, mt_buf_read(here.buf, here.off * 4, sizeof b, b));
    JOB_CHECK(j, fabsf(b[0] - a[0]) <= tol * fabsf(a[0]) && b[1] == a[1] && b[2] == a[2],
              "%s, %s: loss, count, hits %.9g %g %g, alone %.9g %g %g", t->name, when,
              (double)b[0], (double)b[1], (double)b[2], (double)a[0], (double)a[1],
              (double)a[2]);
    JOB_DO(j, mt_comm_allgather(j->comm, b, sizeof b, all));
    for (int r = 0; r < nbits; r++) {
        JOB_CHECK(j, memcmp(all[r], all[0], sizeof b) == 0,
                  "%s, %s: rank %d has loss %a, rank 0 %a", t->name, when, r,
                  (double)all[r][0], (double)all[0][0]);
    }
}

/* Gradients of data are on their way while those of the layer's own parameters are computed. */
static void check_overlap(struct job *j, const struct trial *t, const struct net *n)
{
    const struct mt_steps *l = &n->exec->steps;

    for (int i = 1; i + 2 < l->n; i++) {
        const struct mt_step *s = &l->step[i], *layer = s - 1;

        if (s->kind == &mt_step_tp_begin && s->want != 0 &&
            n->graph->node[layer->node].n.nparam > 0) {
            JOB_CHECK(j, layer->want == MT_WANT_DATA && s[1].node == layer->node &&
                             s[1].want == MT_WANT_PARAM && s[2].kind == &mt_step_tp_end &&
                             s[2].node == s->node,
                      "%s: step %d", t->name, i);
        }
    }
}

static void run_trial(struct job *j, struct mt_dev *dev, const struct trial *one_of,
                      enum mt_dtype storage)
{
    char name[96];
    struct trial named = *one_of, *t = &named;
    int rank[MAXRANKS], nrank = j->size > 1 ? j->size - t->spare : 1, part = -1;
    int nbits = are_alike(j, dev) ? nrank : 1;
    double width[MAXRANKS], grad = 0, weight, first, sum = 0;
    struct mt_stage stage = {.nrank = nrank, .rank = rank};
    struct mt_replica replica = {.share = 1, .micros = t->micros, .nstage = 1, .stage = &stage};
    struct mt_layout layout = {
        .ctx = j->ctx, .nrank = j->size, .nreplica = 1, .replica = &replica};
    struct net one, many, wide;      /* wide: as one, with f32, where values are rounded */
    /* Two orders of a sum of 41 terms differ by at most 80 u of their magnitudes (u = 2^-24); a
     * gradient is at the end of 12 such sums: 6e-5, if all errors had one sign. Seen is 2e-6.
     * Rounded to half width (u: half a unit of the last place) most of them are the same; one in
     * 2^12 (fp16) or 2^16 (bf16) goes the other way, by 2 u. What that makes of a gradient depends
     * on the network: where a gradient is small by cancellation it counts for more. So gradients
     * and weights may differ by 4 u, and as much more as the rounding of values to half width has
     * moved those of the one process from what it has with f32. */
    double rounded = storage == MT_F32 ? 1e-5 : storage == MT_BF16 ? 4 * 0x1p-8 : 4 * 0x1p-11;
    double tol = t->exact ? 0 : rounded, moved[2] = {0, 0};
    double times = storage == MT_FP16 ? LOSS_SCALE : 1;   /* gradients with fp16 */
    int wider = storage != MT_F32 && !t->exact;

    snprintf(name, sizeof name, "%s, %s", one_of->name, mt_dtype_name(storage));
    named.name = name;
    for (int r = 0; r < nrank; r++) {
        rank[r] = t->backwards ? nrank - 1 - r : r;
        part = rank[r] == j->rank ? r : part;
        width[r] = t->width[r % 4];
        sum += width[r];
    }
    stage.width = sum > 0 ? width : NULL;
    net_new(j, dev, t, storage, NULL, &one);
    stage.hi = one.whole->nnode;
    net_new(j, dev, t, storage, part >= 0 ? &layout : NULL, &many);
    if (wider) {
        net_new(j, dev, t, MT_F32, NULL, &wide);
    }
    if (part >= 0) {
        check_slices(j, t, &many, &layout, part);
        check_overlap(j, t, &many);
    }
    first = difference(j, &one, 1, &many, one.store->param, many.store->param);
    JOB_CHECK(j, first == 0, "%s: first weights differ by %g", t->name, first);
    if (t->exact) {
        whole_weights(j, &one);
        whole_weights(j, &many);
    }
    for (int step = 0; step < t->steps; step++) {
        int64_t requests;
        uint64_t buffers;

        load(j, &one, t, step);
        load(j, &many, t, step);
        JOB_DO(j, mt_exec_run(one.exec, &one.batch));
        requests = mt_mem_requests(j->ctx);
        buffers = mt_dev_allocations(dev);
        JOB_DO(j, mt_exec_run(many.exec, &many.batch));
        JOB_CHECK(j, mt_mem_requests(j->ctx) == requests && mt_dev_allocations(dev) == buffers,
                  "%s: step %d asked for memory", t->name, step);
        check_stats(j, t, "training", one.exec->stats, many.exec->stats, tol, nbits);
        grad = fmax(grad, difference(j, &one, 1, &many, one.store->grad, many.store->grad));
        if (wider) {
            load(j, &wide, t, step);
            JOB_DO(j, mt_exec_run(wide.exec, &wide.batch));
            moved[0] = fmax(moved[0], difference(j, &wide, times, &one, wide.store->grad,
                                                 one.store->grad));
        }
    }
    weight = difference(j, &one, 1, &many, one.store->param, many.store->param);
    if (wider) {
        moved[1] = difference(j, &wide, 1, &one, wide.store->param, one.store->param);
        net_free(&wide);
    }
    JOB_CHECK(j, grad <= tol + moved[0] && weight <= tol + moved[1],
              "%s: gradients differ by %g, weights by %g, allowed are %g and %g", t->name, grad,
              weight, tol + moved[0], tol + moved[1]);
    /* After an exact step the weights have more digits than an exact forward could bear. */
    for (int64_t rows = B; rows >= 0; rows -= B) {
        one.batch.rows = many.batch.rows = rows;
        JOB_DO(j, mt_exec_run(one.eval, &one.batch));
        JOB_DO(j, mt_exec_run(many.eval, &many.batch));
        check_stats(j, t, "evaluation", one.eval->stats, many.eval->stats, rounded,
                    nbits);
    }
    if (j->rank == 0) {
        printf("%s: gradients differ by %g, weights by %g (rounded values move them by %g, %g); "
               "%d nodes, %d steps\n", t->name, grad, weight, moved[0], moved[1],
               many.graph->nnode, many.exec->steps.n);
    }
    net_free(&many);
    net_free(&one);
}

#define SGD  "\noptimizer: {type: sgd, lr: 1}\n"
#define MSE  "\nloss: mse" SGD
#define LABELS "\nloss: cross_entropy" SGD
#define SMOOTH "\nloss: {cross_entropy: {label_smoothing: 0.1}}" SGD
#define PAIR "model: [{linear: 12}, relu, {linear: 4}]" MSE
#define CHAIN "model: [{linear: 12}, relu, {linear: 6}, leaky_relu: {slope: 0.5}, {linear: 4}]" MSE
#define LONG                                                                                    \
    "model: [{linear: 40}, relu, {linear: 40}, relu, {linear: 40}, relu, {linear: 4}]" MSE
#define BLOCK \
    "model: [{linear: 6}, {residual: [{linear: 8}, relu, {linear: 6}]}, {linear: 4}]" MSE
#define MLP                                                                                     \
    "model:\n"                                                                                  \
    "- linear: 16\n"                                                                            \
    "- dropout: 0.1\n"                                                                          \
    "- repeat: 2\n"                                                                             \
    "  layers: [{residual: [{linear: 40}, gelu, {linear: 16}, {dropout: 0.2}]}]\n"              \
    "- tanh\n"
#define SEQUENCES                                                                               \
    "model:\n"                                                                                  \
    "- reshape: 4x5\n"                                                                          \
    "- linear: 16\n"                                                                            \
    "- dropout: 0.1\n"                                                                          \
    "- residual: [{linear: 24}, gelu, {linear: 16}]\n"                                          \
    "- linear: 3\n"                                                                             \
    "- flatten\n"                                                                               \
    "- linear: 4" MSE
#define NARROW "model: [{linear: 1}, relu, {linear: 4}]" MSE

/* Exactness: |x| <= 1 and |w| <= 1, so every value and every gradient is a multiple of 1/2 (leaky:
 * 1/8) and no sum of magnitudes passes 2^23: for BLOCK outputs are below 6300, the gradients of the
 * first layer below 8 samples times 612000. In LONG terms grow beyond what half widths hold; sums
 * are exact still, so they are rounded alike, to whole numbers again. Its rate leaves them finite;
 * elsewhere it is 1/8. The count is 8. */
static const struct trial trials[] = {
    {"pair", PAIR, 4, 0, 1, 1, 1, 0, 0.125, {0}, 0, 0},
    {"pair, 2:1", PAIR, 4, 0, 1, 1, 1, 0, 0.125, {2, 1, 1, 1}, 0, 0},
    {"pair, falling ranks, 5:1, 2 micro-batches", PAIR, 4, 0, 1, 1, 2, 0, 0.125, {5, 1, 1, 2}, 1,
     0},
    {"pair, a part without columns", PAIR, 4, 0, 1, 1, 1, 0, 0.125, {0, 1, 2, 0}, 0, 0},
    {"pair of one number", NARROW, 4, 0, 1, 1, 1, 0, 0.125, {0}, 0, 0},
    {"chain", CHAIN, 4, 0, 1, 1, 1, 0, 0.125, {1, 2, 1, 2}, 0, 0},
    {"chain, 3 micro-batches of 2 samples", CHAIN, 4, 0, 1, 1, 3, 2, 0.125, {0}, 0, 0},
    {"long chain", LONG, 4, 0, 1, 1, 1, 0, 0x1p-20, {0}, 0, 0},
    {"long chain, 2:1, 2 micro-batches", LONG, 4, 0, 1, 1, 2, 0, 0x1p-20, {2, 1, 1, 1}, 0, 0},
    {"residual block", BLOCK, 4, 0, 1, 1, 1, 0, 0.125, {0}, 0, 0},
    {"residual block, a rank left out", BLOCK, 4, 0, 1, 1, 2, 0, 0.125, {1, 2, 2, 1}, 0, 1},
    {"blocks, mean squares", MLP "- linear: 4" MSE, 4, 0, 0, 10, 2, 0, 0.1, {0}, 0, 0},
    {"blocks, 10 classes", MLP "- linear: 10" LABELS, 10, 1, 0, 10, 2, 0, 0.1, {2, 1, 1, 1}, 0, 0},
    {"sequences", SEQUENCES, 4, 0, 0, 10, 3, 0, 0.1, {1, 2, 1, 3}, 0, 1},
    {"40 classes of 12 inputs", "model: [{linear: 12}, relu, {linear: 40}]" SMOOTH, 40, 1, 0, 10, 3,
     2, 0.1, {1, 2, 1, 3}, 1, 0},
    {"blocks, 3 classes, smoothed", MLP "- linear: 3" SMOOTH, 3, 1, 0, 10, 1, 0, 0.1, {0}, 0, 0},
};

int main(void)
{
    struct mt_dev *dev = NULL;
    struct job j;

    job_open(&j);
    if (!job_device(&j, &dev)) {
        if (j.rank == 0) {
            printf("SKIP opencl: no device\n");
        }
        job_close(&j);
        return 77;
    }
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        run_trial(&j, dev, &trials[i], MT_F32);
        run_trial(&j, dev, &trials[i], MT_BF16);
        run_trial(&j, dev, &trials[i], MT_FP16);
    }
    mt_dev_close(dev);
    return job_close(&j);
}
