/* grid.c -- proves: every grid of data x stages x tensor over the ranks of the job, with even and
 * uneven shares and cuts, all schedules, micro-batches, clipping and recomputation, trains as one
 * process does: the loss of 20 steps within the stated rounding, weights too; on exact data the
 * same bits; and as bf16 on the wire within what that rounds. So do values stored as bf16 and
 * fp16, beside one process that stores them so, and with fp16 the steps that are skipped and the
 * factor of the loss are the same. The one process is an executor without any pass, run by every
 * rank for itself.
 * Ranks: 1 2 3 4 6 8
 * Time: 600 */
#include "train.h"

#include "base/rng.h"
#include "device/buf.h"
#include "train/gather.h"

#include <math.h>

enum { B = 16, IN = 10, OUT = 4, STEPS = 20, EXACT_STEPS = 3 };

#define CURVE                                                                                 \
    "model: [{linear: 16}, relu, {residual: [{linear: 16}, gelu, {linear: 16}]}, "            \
    "{dropout: 0.2}, {linear: 12}, tanh, silu, {linear: 4}]\n"                                \
    "loss: cross_entropy\noptimizer: {type: adam, lr: 0.01}\ntrain: {batch: 16}\nseed: 3\n"

/* |x|, |w| <= 1 whole; hinge has gradients of -1, 0, 1. The rate is 0 but in the last step, where
 * it is the batch, so all stays whole; weights would outgrow 2^24 in one more (checked below). */
#define EXACT                                                                                 \
    "model: [{linear: 6}, relu, {residual: [{linear: 6}, relu, {linear: 6}]}, relu, "         \
    "{linear: 6}, relu, {linear: 6}, relu, {linear: 4}]\n"                                    \
    "loss: hinge\noptimizer: {type: sgd, lr: 0.0009765625}\ntrain: {batch: 16}\nseed: 3\n"

struct trial {
    int data, stages, tensor, chunks, micros, clip, recompute, uneven, bf16;
    const char *schedule;
    enum mt_dtype storage;
};

/* ---- one process alone ----------------------------------------------------------------- */

struct alone {
    struct mt_config *config;
    struct mt_graph *graph;
    struct mt_optim *optim;
    struct mt_store *store;
    struct mt_exec *exec;
    struct mt_buf *x, *y;
    struct mt_batch batch;
    double lr;
};

static void samples(int64_t step, int exact, float *x, int32_t *y)
{
    struct mt_rng_key key = mt_rng_key(3, MT_RNG_TEST, (uint64_t)step);

    for (uint64_t i = 0; i < B * IN; i++) {
        x[i] = exact ? (float)(mt_rng_u32(key, i) % 3) - 1 : (float)mt_rng_normal(key, i);
    }
    for (uint64_t i = 0; i < B; i++) {
        y[i] = (int32_t)(mt_rng_u32(key, 9000 + i) % OUT);
    }
}

static float whole_number(int param, uint64_t i)
{
    return (float)(mt_rng_u32(mt_rng_key(4, MT_RNG_TEST, (uint64_t)param), i) % 3) - 1;
}

/* With fp16: exact data is not to overflow; other data does so in its first steps. */
static double loss_scale(int exact)
{
    return exact ? 1 : 0x1p24;
}

static void alone_new(struct job *j, struct mt_dev *dev, const char *text,
                      const struct trial *t, int exact, struct alone *a)
{
    struct mt_spec x = mt_spec_new(t->storage, 1, 2, (int64_t[]){B, IN});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){B});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 1,
                                 .clip = t->clip || t->storage == MT_FP16};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = 1, .seed = 3,
                              .clip_norm = t->clip ? 0.5 : 0};
    struct mt_steps steps;

    memset(a, 0, sizeof *a);
    JOB_DO(j, mt_config_parse(j->ctx, text, "test", NULL, 0, &a->config));
    JOB_DO(j, mt_graph_build(j->ctx, a->config->model, a->config->loss, &x, &y, &a->graph));
    JOB_DO(j, mt_optim_new(j->ctx, a->config->optimizer, &a->optim));
    a->optim->storage = t->storage;
    JOB_DO(j, mt_optim_bind(a->optim, dev));
    JOB_DO(j, mt_store_new(dev, a->graph, a->optim, 0, &a->store));
    JOB_DO(j, mt_store_init(a->store, a->graph, 3));
    JOB_DO(j, mt_store_set_loss_scale(a->store, loss_scale(exact), 0));
    opt.optim = a->optim;
    JOB_DO(j, mt_order(a->graph, &order, &steps));
    JOB_DO(j, mt_exec_new(dev, a->graph, a->store, &opt, &steps, &a->exec));
    JOB_DO(j, mt_buf_new(dev, B * IN * 4, "x", &a->x));
    JOB_DO(j, mt_buf_new(dev, B * 4, "y", &a->y));
    x.dtype = MT_F32;
    a->batch = (struct mt_batch){.x = {.spec = x, .buf = a->x}, .y = {.spec = y, .buf = a->y},
                                 .rows = B};
    for (int p = 0; exact && p < a->graph->nparam; p++) {
        struct mt_range r = a->graph->param[p].range;

        for (uint64_t i = 0; i < r.hi - r.lo; i++) {
            float w = whole_number(p, i);

            JOB_DO(j, mt_buf_write(a->store->param, 4 * (r.lo + i), 4, &w));
        }
    }
    JOB_DO(j, mt_store_refresh(a->store));
}

static void alone_free(struct alone *a)
{
    mt_buf_free(a->y);
    mt_buf_free(a->x);
    mt_exec_free(a->exec);
    mt_store_free(a->store);
    mt_optim_free(a->optim);
    mt_graph_free(a->graph);
    mt_config_free(a->config);
}

/* Mean loss of one step. */
static double alone_step(struct job *j, struct alone *a, int64_t step, int exact, double lr)
{
    float x[B * IN], scalar[MT_SCALARS];
    int32_t y[B];

    samples(step, exact, x, y);
    JOB_DO(j, mt_buf_write(a->x, 0, sizeof x, x));
    JOB_DO(j, mt_buf_write(a->y, 0, sizeof y, y));
    a->batch.step = step;
    a->batch.lr = lr;
    JOB_DO(j, mt_exec_run(a->exec, &a->batch));
    JOB_DO(j, mt_buf_read(a->store->scalar, 0, sizeof scalar, scalar));
    return (double)scalar[MT_SCALAR_LOSS] / (double)scalar[MT_SCALAR_COUNT];
}

/* ---- the grid --------------------------------------------------------------------------- */

static void describe(const struct trial *t, int exact, char *buf, size_t room)
{
    snprintf(buf, room, "%s %s %d x %d x %d, %s, %d chunks, %d micro-batches%s%s%s%s",
             exact ? "exact" : "curve", mt_dtype_name(t->storage), t->data, t->stages, t->tensor,
             t->schedule, t->chunks, t->micros, t->clip ? ", clipped" : "",
             t->recompute ? ", recomputed" : "", t->uneven ? ", uneven" : "",
             t->bf16 ? ", bf16 on the wire" : "");
}

/* Borders of stages drawn among the layers where a cut may be. */
static int draw_cut(struct job *j, const struct mt_graph *g, int want, uint64_t seed, char *text,
                    size_t room)
{
    struct mt_rng_key key = mt_rng_key(seed, MT_RNG_TEST, 77);
    char *may = NULL;
    int places = 0, taken = 0, first = 1;

    JOB_DO(j, mt_layout_may_cut(g, &may));
    for (int i = 1; i < g->nnode; i++) {
        places += may[i] != 0;
    }
    snprintf(text, room, "parallel.cut=[");
    for (int i = 1; i < g->nnode && taken < want; i++) {
        if (may[i] && (int)(mt_rng_u32(key, (uint64_t)i) % (uint32_t)places) < want - taken) {
            snprintf(text + strlen(text), room - strlen(text), "%s%s", first ? "" : ", ",
                     g->node[i].n.name);
            first = 0;
            taken++;
        }
        places -= may[i] != 0;
    }
    snprintf(text + strlen(text), room - strlen(text), "]");
    mt_free(j->ctx, may);
    return taken == want;
}

static void session_new(struct job *j, struct mt_job *job, const struct trial *t, int exact,
                        const char *text, const struct mt_graph *g, struct mt_config **config,
                        struct mt_session **s)
{
    struct mt_session_opt opt = {.mode = MT_SESSION_TRAIN, .own_arrays = 1,
                                 .sample = {.x_rank = 1, .x_dim = {IN}, .x_size = IN,
                                            .y_size = 1, .classes = OUT}};
    char words[15][256];
    const char *over[15];
    int n = 0;

    snprintf(words[n++], 256, "parallel.data=%d", t->data);
    snprintf(words[n++], 256, "parallel.stages=%d", t->stages);
    snprintf(words[n++], 256, "parallel.tensor=%d", t->tensor);
    snprintf(words[n++], 256, "parallel.chunks=%d", t->chunks);
    snprintf(words[n++], 256, "parallel.schedule=%s", t->schedule);
    snprintf(words[n++], 256, "parallel.recompute=%s", t->recompute ? "true" : "false");
    snprintf(words[n++], 256, "parallel.bucket_bytes=1024");
    snprintf(words[n++], 256, "parallel.wire=%s", t->bf16 ? "bf16" : "fp32");
    snprintf(words[n++], 256, "precision=%s",
             t->storage == MT_F32 ? "fp32" : mt_dtype_name(t->storage));
    snprintf(words[n++], 256, "train.loss_scale=%.0f", loss_scale(exact));
    snprintf(words[n++], 256, "train.micro_batches=%d", t->micros);
    snprintf(words[n++], 256, "train.clip_norm=%g", t->clip ? 0.5 : 0.0);
    if (t->uneven && t->data > 1) {
        snprintf(words[n], 256, "parallel.shares=3");
        for (int r = 1; r < t->data; r++) {
            snprintf(words[n] + strlen(words[n]), 32, ":%d", r % 3 == 2 ? 0 : r);
        }
        n++;
    }
    if (t->uneven && t->stages * t->chunks > 1 &&
        draw_cut(j, g, t->stages * t->chunks - 1, (uint64_t)(t->stages * 7 + t->micros), words[n],
                 256)) {
        n++;
    }
    for (int i = 0; i < n; i++) {
        over[i] = words[i];
    }
    JOB_DO(j, mt_config_parse(j->ctx, text, "test", over, n, config));
    JOB_DO(j, mt_session_new(job, *config, &opt, s));
}

static void whole_weights(struct job *j, struct mt_session *s)
{
    for (int i = 0; i < s->whole->nparam; i++) {
        const struct mt_gparam *p = mt_gather_own(s, MT_SPACE_PARAM, i);
        uint64_t n = (uint64_t)mt_spec_count(&s->whole->param[i].full), lo, hi;
        float whole[1024], part[1024];

        if (p == NULL || !p->held) {
            continue;
        }
        for (uint64_t k = 0; k < n; k++) {
            whole[k] = whole_number(i, k);
        }
        mt_gather_local(p, 0, n, &lo, &hi);
        mt_gather_take(p, 0, n, whole, part);
        JOB_DO(j, mt_buf_write(s->store->param, 4 * (p->range.lo + lo), 4 * (hi - lo), part));
    }
    JOB_DO(j, mt_store_refresh(s->store));
}

static double grid_step(struct job *j, struct mt_session *s, int64_t step, int exact, double lr)
{
    struct mt_result r;
    float x[B * IN];
    int32_t y[B];
    int64_t lo, hi;

    samples(step, exact, x, y);
    mt_session_share(s, B, &lo, &hi);
    JOB_DO(j, mt_session_step(s, x + lo * IN, y + lo, hi - lo, lr, &r));
    return r.loss;
}

/* Weights that differ from those of one process by more than `bound`; on rank 0. */
static void compare_weights(struct job *j, struct mt_session *s, struct alone *a, double bound,
                            const char *name)
{
    struct mt_gather *g = NULL;
    double worst = 0;

    JOB_DO(j, mt_gather_new(s, &g));
    if (j->rank != 0) {
        JOB_DO(j, mt_gather_serve(g));
    }
    for (int i = 0; i < s->whole->nparam && j->rank == 0; i++) {
        const struct mt_gparam *p = &a->graph->param[i];
        uint64_t n = p->range.hi - p->range.lo;
        float got[1024], want[1024];

        JOB_DO(j, mt_gather_read(g, MT_SPACE_PARAM, i, 0, n, got));
        JOB_DO(j, mt_buf_read(a->store->param, 4 * p->range.lo, 4 * n, want));
        for (uint64_t k = 0; k < n; k++) {
            double d = fabs((double)got[k] - (double)want[k]);

            JOB_CHECK(j, fabsf(want[k]) < 16777216.0f, "%s: %g is not exact", name,
                      (double)want[k]);
            worst = d > worst || d != d ? d : worst;
        }
    }
    if (j->rank == 0) {
        JOB_DO(j, mt_gather_end(g));
        JOB_CHECK(j, worst <= bound, "%s: weights differ by %g", name, worst);
    }
    mt_gather_free(g);
}

/* On every rank: what it does with the gradients of a step has to be what all do. */
static void compare_scales(struct job *j, struct mt_session *s, struct alone *a, const char *name)
{
    float got[MT_SCALARS], want[MT_SCALARS];

    JOB_DO(j, mt_buf_read(s->store->scalar, 0, sizeof got, got));
    JOB_DO(j, mt_buf_read(a->store->scalar, 0, sizeof want, want));
    JOB_CHECK(j, got[MT_SCALAR_LOSS_SCALE] == want[MT_SCALAR_LOSS_SCALE] &&
                     got[MT_SCALAR_STREAK] == want[MT_SCALAR_STREAK] &&
                     got[MT_SCALAR_SKIPPED] == want[MT_SCALAR_SKIPPED],
              "%s: factor of the loss %g, %g steps, %g skipped, alone %g, %g, %g", name,
              (double)got[MT_SCALAR_LOSS_SCALE], (double)got[MT_SCALAR_STREAK],
              (double)got[MT_SCALAR_SKIPPED], (double)want[MT_SCALAR_LOSS_SCALE],
              (double)want[MT_SCALAR_STREAK], (double)want[MT_SCALAR_SKIPPED]);
}

/* Rounding of sums of at most 16 rows in another order, carried through 20 steps of Adam. With bf16
 * on the wire an update, at most the rate of 0.01 whatever the gradient, may be wrong by all of
 * itself where a sum nearly cancels, and by 2^-7 elsewhere. Values in half width are rounded from
 * sums that differ in their last bits: few of them go the other way, by 2 u (seen: none). */
static void bounds(const struct trial *t, int exact, double *loss, double *weight)
{
    double u = t->storage == MT_BF16 ? 0x1p-8 : t->storage == MT_FP16 ? 0x1p-11 : 0;

    *loss = exact ? 0 : t->bf16 ? 0.05 : fmax(2e-6, 4 * u);
    *weight = exact ? 0 : t->bf16 || u > 0 ? STEPS * 0.01 : 1e-3;
}

static void run_trial(struct job *j, struct mt_job *job, const struct trial *t, int exact)
{
    const char *text = exact ? EXACT : CURVE;
    double worst = 0;
    struct mt_config *config = NULL;
    struct mt_session *s = NULL;
    struct alone a;
    int64_t buffers = 0;
    char name[160];
    double loss_bound, weight_bound;

    bounds(t, exact, &loss_bound, &weight_bound);
    describe(t, exact, name, sizeof name);
    alone_new(j, job->dev, text, t, exact, &a);
    session_new(j, job, t, exact, text, a.graph, &config, &s);
    if (exact) {
        whole_weights(j, s);
    }
    for (int64_t step = 0; step < (exact ? EXACT_STEPS : STEPS); step++) {
        double lr = !exact ? 0.01 : step == EXACT_STEPS - 1 ? B : 0;
        double want = alone_step(j, &a, step, exact, lr);
        double got = grid_step(j, s, step, exact, lr), d = fabs(got - want) / (want + 1e-9);

        JOB_CHECK(j, step < 2 || buffers == (int64_t)mt_dev_allocations(job->dev),
                  "%s: step %lld allocates", name, (long long)step);
        buffers = (int64_t)mt_dev_allocations(job->dev);
        worst = d > worst || d != d ? d : worst;
    }
    JOB_CHECK(j, worst <= loss_bound, "%s: loss differs by %g", name, worst);
    compare_weights(j, s, &a, weight_bound, name);
    compare_scales(j, s, &a, name);
    JOB_DO(j, mt_session_compare(s));
    if (j->rank == 0) {
        printf("%s: loss within %.2g%s", name, worst, t->storage == MT_FP16 ? "" : "\n");
        if (t->storage == MT_FP16) {
            float v;

            JOB_DO(j, mt_buf_read(s->store->scalar, 4 * MT_SCALAR_SKIPPED, 4, &v));
            printf(", %g steps skipped\n", (double)v);
        }
        fflush(stdout);
    }
    mt_session_free(s);
    mt_config_free(config);
    alone_free(&a);
}

/* All grids of the job's ranks, each schedule where there are stages; what else varies is spread
 * over them. */
static void run_all(struct job *j, struct mt_job *job)
{
    static const char *const schedules[] = {"gpipe", "1f1b", "interleaved", "zero_bubble"};
    int count = 0;

    for (int stages = 1; stages <= j->size; stages++) {
        for (int tensor = 1; stages * tensor <= j->size; tensor++) {
            if (j->size % (stages * tensor) != 0) {
                continue;
            }
            for (int k = 0; k < (stages > 1 ? 4 : 1); k++, count++) {
                struct trial t = {.data = j->size / (stages * tensor), .stages = stages,
                                  .tensor = tensor, .schedule = schedules[k],
                                  .chunks = k == 2 && stages <= 4 ? 2 : 1,
                                  .micros = 1 + count % 4, .uneven = count % 2,
                                  .clip = count % 3 == 1,
                                  .recompute = stages > 1 && count % 5 == 2};

                if (stages > 1) {
                    t.micros += 1;
                }
                run_trial(j, job, &t, 0);
                t.bf16 = 1;
                run_trial(j, job, &t, 0);
                t.bf16 = 0;
                t.storage = count % 2 ? MT_BF16 : MT_FP16;
                run_trial(j, job, &t, 0);
                t.storage = MT_F32;
                t.clip = 0;
                t.uneven = !t.uneven;
                run_trial(j, job, &t, 1);
                t.storage = count % 2 ? MT_FP16 : MT_BF16;
                run_trial(j, job, &t, 1);
            }
        }
    }
}

int main(void)
{
    return job_train(NULL, run_all);
}
