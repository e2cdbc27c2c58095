/* dp.c -- proves: data parallel training is that of one process. On exact data (whole numbers, a
 * linear network, a rate that is a power of two) the weights are the same to the last bit for even
 * shares, shares of 3:1 and a rank without samples, with micro-batches, with clipping, with many
 * small buckets and with one; a network with tanh and cross entropy stays within rounding over 20
 * steps, and all ranks hold the same bits; a step allocates nothing. All of it with gradients in
 * memory that the ranks share, too, which gives the bits that messages give. Gradients that travel
 * as bf16 are, to the bit, the sums of the rounded gradients of the ranks, rounded, while loss and
 * count are those of fp32. Ranks may be given different devices with MOTLEY_DEVICE.
 * Ranks: 1 2 3 4
 * Time: 300 */
#include "device.h"

#include "base/rng.h"
#include "config/config.h"
#include "device/buf.h"
#include "graph/store.h"
#include "parallel/par.h"

#include <math.h>

enum { B = 16, IN = 20, OUT = 8 };

struct net {
    struct mt_config *config;
    struct mt_graph *graph;
    struct mt_optim *optim;
    struct mt_share *share;
    struct mt_store *store;
    struct mt_exec *exec;
    struct mt_par *par;
    struct mt_buf *xbuf, *ybuf;
    struct mt_batch batch;
    int classes;                   /* targets are labels */
};

struct trial {
    const char *name, *text;
    int classes, steps, micros;
    double lr, clip;
    int64_t bucket_bytes;
    double weight[MAXRANKS];       /* all 0: equal */
    int print;                     /* the list of steps */
    int bf16;
};

/* share: gradients lie in memory that ranks of a host share. */
static void net_new(struct job *j, struct mt_dev *dev, const struct trial *t, int parallel,
                    int share, struct net *n)
{
    int64_t rows = (B + t->micros - 1) / t->micros;
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){rows, IN});
    struct mt_spec y = t->classes ? mt_spec_new(MT_I32, 1, 1, (int64_t[]){rows})
                                  : mt_spec_new(MT_F32, 1, 2, (int64_t[]){rows, OUT});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = t->micros, .clip = t->clip > 0};
    struct mt_exec_opt opt = {
        .mode = MT_TRAIN, .micros = t->micros, .seed = 1, .clip_norm = t->clip};
    struct mt_par_opt par = {.bucket_bytes = t->bucket_bytes, .sums = 1, .clip = t->clip > 0,
                             .bf16 = t->bf16};
    struct mt_steps steps;
    uint64_t bytes;

    memset(n, 0, sizeof *n);
    n->classes = t->classes;
    JOB_DO(j, mt_config_parse(j->ctx, t->text, "test", NULL, 0, &n->config));
    JOB_DO(j, mt_graph_build(j->ctx, n->config->model, n->config->loss, &x, &y, &n->graph));
    JOB_DO(j, mt_optim_new(j->ctx, n->config->optimizer, &n->optim));
    JOB_DO(j, mt_optim_bind(n->optim, dev));
    bytes = mt_store_grad_bytes(n->graph);
    if (share) {
        JOB_DO(j, mt_share_new(j->ctx, j->comm, bytes, &n->share));
        par.share = n->share;
    }
    JOB_DO(j, mt_store_new(dev, n->graph, n->optim,
                           share ? mt_share_of(n->share, j->rank, 0, bytes) : NULL, &n->store));
    JOB_DO(j, mt_store_init(n->store, n->graph, 1));
    opt.optim = n->optim;
    JOB_DO(j, mt_order(n->graph, &order, &steps));
    if (parallel) {
        JOB_DO(j, mt_par_new(dev, j->comm, n->graph, &par, &steps, &n->par));
        JOB_CHECK(j, (n->par->dp == NULL) == (j->size == 1), "a pass for one process");
    }
    JOB_DO(j, mt_exec_new(dev, n->graph, n->store, &opt, &steps, &n->exec));
    n->exec->pass = n->par;
    JOB_DO(j, mt_buf_new(dev, B * IN * 4, "x", &n->xbuf));
    JOB_DO(j, mt_buf_new(dev, B * OUT * 4, "y", &n->ybuf));
    n->batch = (struct mt_batch){.x = {.spec = x, .buf = n->xbuf},
                                 .y = {.spec = y, .buf = n->ybuf}, .lr = t->lr};
}

static void net_free(struct net *n)
{
    mt_buf_free(n->ybuf);
    mt_buf_free(n->xbuf);
    mt_exec_free(n->exec);
    mt_par_free(n->par);
    mt_store_free(n->store);
    mt_share_free(n->share);
    mt_optim_free(n->optim);
    mt_graph_free(n->graph);
    mt_config_free(n->config);
}

static void draw(int64_t step, int classes, float *x, float *y, int32_t *label)
{
    struct mt_rng_key key = mt_rng_key(3, MT_RNG_TEST, (uint64_t)step);

    for (uint64_t i = 0; i < B * IN; i++) {
        x[i] = classes ? (float)mt_rng_normal(key, i) : (float)(mt_rng_u32(key, i) % 3) - 1;
    }
    for (uint64_t i = 0; i < B * OUT; i++) {
        y[i] = (float)(mt_rng_u32(key, 5000 + i) % 9) - 4;
    }
    for (uint64_t i = 0; i < B; i++) {
        label[i] = (int32_t)(mt_rng_u32(key, 9000 + i) % OUT);
    }
}

/* Samples [lo, hi) of the batch of a step. */
static void load(struct job *j, struct net *n, int64_t step, int64_t lo, int64_t hi)
{
    float x[B * IN], y[B * OUT];
    int32_t label[B];

    draw(step, n->classes, x, y, label);
    if (hi > lo) {
        uint64_t rows = (uint64_t)(hi - lo);

        JOB_DO(j, mt_buf_write(n->xbuf, 0, rows * IN * 4, x + lo * IN));
        if (n->classes) {
            JOB_DO(j, mt_buf_write(n->ybuf, 0, rows * 4, label + lo));
        } else {
            JOB_DO(j, mt_buf_write(n->ybuf, 0, rows * OUT * 4, y + lo * OUT));
        }
    }
    n->batch.rows = hi - lo;
    n->batch.first = lo;
    n->batch.step = step;
}

static float whole_weight(uint64_t i)
{
    return (float)(mt_rng_u32(mt_rng_key(4, MT_RNG_TEST, 0), i) % 5) - 2;
}

/* Whole numbers in -2..2 as first weights. */
static void whole_weights(struct job *j, struct net *n)
{

    for (int p = 0; p < n->graph->nparam; p++) {
        struct mt_range r = n->graph->param[p].range;

        for (uint64_t i = r.lo; i < r.hi; i++) {
            float w = whole_weight(i);

            JOB_DO(j, mt_buf_write(n->store->param, i * 4, 4, &w));
        }
    }
}

static float *weights(struct job *j, struct net *n)
{
    float *w = NULL;

    JOB_DO(j, MT_NEW_N(j->ctx, n->store->size, &w));
    JOB_DO(j, mt_buf_read(n->store->param, 0, n->store->size * 4, w));
    return w;
}

/* First position where the bits differ, -1: none. */
static int64_t same_bits(const float *a, const float *b, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            return (int64_t)i;
        }
    }
    return -1;
}

static void print_list(struct job *j, const struct net *n)
{
    char line[256];

    for (int i = 0; j->rank == 0 && i < n->exec->steps.n; i++) {
        mt_step_print(n->graph, &n->exec->steps.step[i], line, (int)sizeof line);
        printf("    %s\n", line);
    }
}

/* To the nearest of bf16, even if two are: 8 binary digits. */
static double rounded(double v)
{
    int exponent;
    double digits = nearbyint(ldexp(frexp(v, &exponent), 8));

    return ldexp(digits, exponent - 8);
}

/* LINEAR after its first step, with gradients that travel as bf16: weight (o, i) is that of output
 * o and input i, i = IN the bias. All but the two roundings is exact. */
static double linear_as_bf16(const struct job *j, const struct trial *t, const struct mt_graph *g,
                             int o, int i)
{
    uint64_t at = g->param[0].range.lo, bias = g->param[1].range.lo + (uint64_t)o;
    float x[B * IN], y[B * OUT];
    int32_t label[B];
    double sum = 0, all = 0;

    for (int r = 0; r < j->size; r++) {
        all += t->weight[r];
    }
    draw(0, 0, x, y, label);
    for (int r = 0; r < j->size; r++) {
        double mine = 0;
        int64_t lo, hi;

        mt_share(B, all > 0 ? t->weight : NULL, j->size, r, &lo, &hi);
        for (int64_t b = lo; b < hi; b++) {
            double residual = (double)whole_weight(bias) - (double)y[b * OUT + o];

            for (int k = 0; k < IN; k++) {
                residual += (double)whole_weight(at + (uint64_t)(o * IN + k)) *
                            (double)x[b * IN + k];
            }
            mine += 2.0 / OUT * residual * (i < IN ? (double)x[b * IN + i] : 1);
        }
        sum += j->size > 1 ? rounded(mine) : mine;
    }
    sum = j->size > 1 ? rounded(sum) : sum;
    return (double)whole_weight(i < IN ? at + (uint64_t)(o * IN + i) : bias) - t->lr * sum / B;
}

/* Returns the largest difference from that. */
static double far_from_oracle(const struct job *j, const struct trial *t, const struct mt_graph *g,
                              const float *w)
{
    double worst = 0;

    for (int o = 0; o < OUT; o++) {
        for (int i = 0; i <= IN; i++) {
            uint64_t at = i < IN ? g->param[0].range.lo + (uint64_t)(o * IN + i)
                                 : g->param[1].range.lo + (uint64_t)o;
            double d = fabs((double)w[at] - linear_as_bf16(j, t, g, o, i));

            worst = d > worst || d != d ? d : worst;
        }
    }
    return worst;
}

/* What weights may differ by from those of one process. Classes: 20 steps of rate 0.1; sums of 16
 * terms of order one in another order: 1e-6 is about 16 half-ulps of such a weight. As bf16 each
 * step adds two roundings, 2^-7 of a mean gradient of order one, so 20 * 0.1 * 2^-7. */
static double bound(const struct job *j, const struct trial *t)
{
    return !t->classes ? 0 : t->bf16 && j->size > 1 ? 0.016 : 1e-6;
}

static void run_trial(struct job *j, struct mt_dev *dev, const struct trial *t)
{
    struct net one, many, messages;
    float *a, *b, *c, *first = NULL, here[MT_SCALARS], alone[MT_SCALARS];
    int64_t lo, hi, requests;
    double worst = 0, sum = 0;
    int64_t at;
    uint64_t buffers;

    for (int r = 0; r < j->size; r++) {
        sum += t->weight[r];
    }
    mt_share(B, sum > 0 ? t->weight : NULL, j->size, j->rank, &lo, &hi);
    net_new(j, dev, t, 0, 0, &one);
    net_new(j, dev, t, 1, 1, &many);
    net_new(j, dev, t, 1, 0, &messages);
    if (!t->classes) {
        whole_weights(j, &one);
        whole_weights(j, &many);
        whole_weights(j, &messages);
    }
    for (int step = 0; step < t->steps; step++) {
        load(j, &one, step, 0, B);
        load(j, &many, step, lo, hi);
        load(j, &messages, step, lo, hi);
        JOB_DO(j, mt_exec_run(one.exec, &one.batch));
        requests = mt_mem_requests(j->ctx);
        buffers = mt_dev_allocations(dev);
        JOB_DO(j, mt_exec_run(many.exec, &many.batch));
        JOB_DO(j, mt_exec_run(messages.exec, &messages.batch));
        JOB_CHECK(j, mt_mem_requests(j->ctx) == requests && mt_dev_allocations(dev) == buffers,
                  "%s: step %d asked for memory", t->name, step);
        JOB_DO(j, mt_buf_read(one.store->scalar, 0, sizeof alone, alone));
        JOB_DO(j, mt_buf_read(many.store->scalar, 0, sizeof here, here));
        JOB_CHECK(j, here[MT_SCALAR_COUNT] == B && alone[MT_SCALAR_COUNT] == B,
                  "%s: step %d: count %g", t->name, step, (double)here[MT_SCALAR_COUNT]);
        JOB_CHECK(j, fabsf(here[MT_SCALAR_LOSS] / alone[MT_SCALAR_LOSS] - 1) <
                         (t->bf16 && step > 0 ? 1e-2f : 1e-5f),
                  "%s: step %d: loss %.9g, alone %.9g", t->name, step,
                  (double)here[MT_SCALAR_LOSS], (double)alone[MT_SCALAR_LOSS]);
    }
    a = weights(j, &one);
    b = weights(j, &many);
    c = weights(j, &messages);
    for (uint64_t i = 0; i < one.store->size; i++) {
        double d = fabs((double)a[i] - (double)b[i]);

        worst = d > worst || d != d ? d : worst;
    }
    worst = t->bf16 && !t->classes ? far_from_oracle(j, t, one.graph, b) : worst;
    JOB_CHECK(j, worst <= bound(j, t), "%s: weights differ by %g", t->name, worst);

    JOB_DO(j, MT_NEW_N(j->ctx, one.store->size, &first));
    memcpy(first, b, one.store->size * 4);
    JOB_DO(j, mt_comm_bcast(j->comm, first, one.store->size * 4, 0));
    at = same_bits(first, b, one.store->size);
    JOB_CHECK(j, at < 0, "%s: weight %lld is %a, %a on rank 0", t->name, (long long)at,
              (double)b[at], (double)first[at]);
    at = same_bits(c, b, one.store->size);
    JOB_CHECK(j, at < 0, "%s: weight %lld is %a, %a without shared memory", t->name, (long long)at,
              (double)b[at], (double)c[at]);
    if (j->rank == 0) {
        printf("%s: largest difference %g, %d steps in the list\n", t->name, worst,
               many.exec->steps.n);
    }
    if (t->print) {
        print_list(j, &many);
    }
    mt_free(j->ctx, first);
    mt_free(j->ctx, a);
    mt_free(j->ctx, b);
    mt_free(j->ctx, c);
    net_free(&messages);
    net_free(&many);
    net_free(&one);
}

#define LINEAR "model: [{linear: 8}]\nloss: mse\noptimizer: {type: sgd, lr: 1}\n"
#define TWO    "model: [{linear: 16}, {linear: 8}]\nloss: mse\noptimizer: {type: sgd, lr: 1}\n"
#define NET    "model: [{linear: 16}, tanh, {linear: 8}]\nloss: cross_entropy\n" \
               "optimizer: {type: sgd, lr: 0.1}\n"

/* Exactness, LINEAR: |x| <= 1, |w| <= 2, so a residual is below 64; the gradient of mse has the
 * factor 2/8, the count is 16, the rate 1/8: weights of step k are multiples of 2^-9k, and sums of
 * 16 of them stay below 2^24 units for two steps. TWO: for one step. */
static const struct trial trials[] = {
    {"linear, even, one bucket", LINEAR, 0, 2, 1, 0.125, 0, 1 << 20, {0}, 0, 0},
    {"linear, even, buckets of a block", LINEAR, 0, 2, 1, 0.125, 0, 256, {0}, 0, 0},
    {"linear, 3:1", LINEAR, 0, 2, 1, 0.125, 0, 1 << 20, {3, 1, 1, 1}, 0, 0},
    {"linear, rank 0 without samples", LINEAR, 0, 2, 1, 0.125, 0, 300, {0, 1, 2, 1}, 0, 0},
    {"linear, 2 micro-batches", LINEAR, 0, 2, 2, 0.125, 0, 256, {1, 3, 1, 2}, 0, 0},
    {"two layers, 9 buckets", TWO, 0, 1, 1, 0.125, 0, 256, {0}, 1, 0},
    {"two layers, 3 micro-batches, 3:1", TWO, 0, 1, 3, 0.125, 0, 700, {3, 1, 1, 1}, 0, 0},
    {"two layers, clipped", TWO, 0, 1, 1, 0.125, 0.01, 256, {3, 1, 1, 1}, 0, 0},
    {"tanh, even", NET, 1, 20, 1, 0.1, 0, 512, {0}, 0, 0},
    {"tanh, 3:1, clipped", NET, 1, 20, 2, 0.1, 0.5, 512, {3, 1, 1, 1}, 0, 0},
    {"bf16, even, one bucket", LINEAR, 0, 1, 1, 0.125, 0, 1 << 20, {0}, 1, 1},
    {"bf16, 3:1, small buckets", LINEAR, 0, 1, 1, 0.125, 0, 256, {3, 1, 1, 1}, 0, 1},
    {"bf16, rank 0 without samples", LINEAR, 0, 1, 2, 0.125, 0, 300, {0, 1, 2, 1}, 0, 1},
    {"bf16, tanh, even", NET, 1, 20, 1, 0.1, 0, 512, {0}, 0, 1},
    {"bf16, tanh, 3:1, clipped", NET, 1, 20, 2, 0.1, 0.5, 512, {3, 1, 1, 1}, 0, 1},
};

int main(void)
{
    struct mt_dev *dev = NULL;
    struct job j;
    char who[256];

    job_open(&j);
    if (!job_device(&j, &dev)) {
        if (j.rank == 0) {
            printf("SKIP opencl: no device\n");
        }
        job_close(&j);
        return 77;
    }
    for (int r = 0; j.rank == 0 && r < j.size; r++) {
        printf("%s\n", mt_comm_who(j.comm, r, who, sizeof who));
    }
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        run_trial(&j, dev, &trials[i]);
    }
    mt_dev_close(dev);
    return job_close(&j);
}
