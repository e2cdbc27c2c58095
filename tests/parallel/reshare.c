/* reshare.c -- proves: shares that change at given steps, in the middle of epochs and at their
 * ends, also to nothing and back, change no result. A linear network with hinge loss on whole
 * numbers, batches and a rate that are powers of two: every sum is exact, so the loss of every
 * step, the held-out loss and all weights must have the bits of a simulation in double on the
 * host, whatever the shares. A share that a rank cannot hold is refused, and training goes on as
 * if nothing had been asked. A network with tanh stays within rounding of one that keeps its
 * shares, also where replicas are cut into stages.
 * Ranks: 1 2 3 4
 * Time: 200 */
#include "train.h"

#include "device/buf.h"
#include "graph/store.h"
#include "train/train.h"

#include <math.h>

enum { N = 80, HELD = 24, IN = 8, C = 4, B = 32, STEPS = 20, MAXRANKS = 4 };

/* Three steps an epoch: 32, 32, 16 samples. */
static const char exact[] =
    "seed: 5\n"
    "data: {format: exact, n: 80, held: 24, inputs: 8, outputs: 1, classes: 4}\n"
    "model: [{linear: {size: 4, init: zeros}}]\n"
    "loss: hinge\n"
    "optimizer: {type: sgd, lr: 0.125}\n"
    "train: {batch: 32, steps: 20, log_every: 1, eval_every: 7}\n";

static const char smooth[] =
    "seed: 5\n"
    "data: {format: exact, n: 80, held: 24, inputs: 8, outputs: 1, classes: 4}\n"
    "model: [{linear: 24}, tanh, {linear: 4}]\n"
    "loss: cross_entropy\n"
    "optimizer: {type: adam, lr: 0.01}\n"
    "train: {batch: 32, steps: 20, log_every: 1, eval_every: 7}\n";

/* Two replicas, one of them or both in two stages: for 3 and 4 ranks. */
static const char *const layout[] = {
    "parallel: {layout: [{share: 1, stages: [{ranks: [0]}]},"
    " {share: 1, micro_batches: 4, stages: [{ranks: [1], to: tanh1}, {ranks: [2]}]}]}\n",
    "parallel: {stages: 2}\n",
};

/* Its samples are most of what it needs. */
static const char wide[] =
    "seed: 5\n"
    "data: {format: exact, n: 80, inputs: 4096, outputs: 1, classes: 4}\n"
    "model: [{linear: {size: 4}}]\n"
    "loss: hinge\n"
    "optimizer: {type: sgd, lr: 0.125}\n"
    "train: {batch: 32, steps: 12, log_every: 1}\n";

/* After the figures of this step were read, which is up to two steps later. */
static const struct change {
    int64_t step;
    double weight[MAXRANKS];
} changes[] = {
    {1, {3, 1, 2, 1}}, {2, {1, 0, 0, 0}},  {4, {1, 30, 0, 5}}, {5, {0.25, 0.5, 1, 1}},
    {9, {1, 1, 1, 1}}, {10, {7, 1, 1, 1}}, {11, {1, 7, 1, 1}}, {15, {2, 3, 5, 7}},
};

struct run {
    struct job *j;
    struct mt_session *s;
    int changing;              /* shares change as the table says */
    int refused;               /* one change that cannot be */
    double loss[STEPS + 1], held[STEPS + 1];
};

static int warnings;

static void on_log(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    (void)category;
    warnings += level == MT_LOG_WARN && strstr(text, "shares stay") != NULL;
}

static int on_progress(void *arg, const motley_progress *p)
{
    struct run *r = arg;
    double all_on_one[MAXRANKS] = {1};
    int taken = -1;

    if (p->event == MOTLEY_AT_EVAL) {
        r->held[p->step] = p->loss;
    }
    if (p->event != MOTLEY_AT_STEP) {
        return 0;
    }
    r->loss[p->step] = p->loss;
    for (size_t i = 0; r->changing && i < sizeof changes / sizeof *changes; i++) {
        if (changes[i].step == p->step) {
            JOB_DO(r->j, mt_session_reshare(r->s, changes[i].weight, &taken));
            JOB_CHECK(r->j, taken == 1, "step %lld", (long long)p->step);
        }
    }
    if (r->refused && p->step == 8) {
        JOB_DO(r->j, mt_session_reshare(r->s, all_on_one, &taken));
        JOB_CHECK(r->j, taken == 0, "a share beyond the memory was taken");
    }
    return 0;
}

/* Trains; *memory: in: MiB of rank 0, 0: all; out: what the session needed. Gives the weights. */
static float *train(struct job *j, struct mt_job *job, const char *text, struct run *r,
                    double *memory)
{
    struct mt_session_opt opt = {.mode = MT_SESSION_TRAIN};
    struct mt_train_opt how = {.progress = on_progress, .arg = r};
    struct mt_config *config = NULL;
    const char *over[1];
    char limit[64];
    float *w = NULL;

    snprintf(limit, sizeof limit, "device.memory=%.17g", j->rank == 0 ? *memory : 0);
    over[0] = limit;
    r->j = j;
    JOB_DO(j, mt_config_parse(j->ctx, text, "test", over, 1, &config));
    JOB_DO(j, mt_session_new(job, config, &opt, &r->s));
    *memory = (double)r->s->need_bytes / (1 << 20);
    JOB_DO(j, mt_train(r->s, &how));
    JOB_DO(j, MT_NEW_N(j->ctx, r->s->store->size, &w));
    JOB_DO(j, mt_buf_read(r->s->store->param, 0, r->s->store->size * 4, w));
    return w;
}

static void release(struct run *r)
{
    struct mt_config *config = (struct mt_config *)r->s->config;

    mt_session_free(r->s);
    mt_config_free(config);
}

/* ---- the oracle ---------------------------------------------------------------------- */

struct model {
    double w[C][IN], b[C];
};

/* Loss of one sample; its gradient is added to g. */
static double hinge(struct job *j, const struct mt_set *set, int64_t index, const struct model *m,
                    struct model *g)
{
    double loss = 0;
    float x[IN];
    int32_t t;

    JOB_DO(j, set->fetch(set, index, x, &t));
    for (int c = 0; c < C; c++) {
        double v = m->b[c], side = c == t ? 1 : -1;

        for (int k = 0; k < IN; k++) {
            v += m->w[c][k] * (double)x[k];
        }
        if (1 - side * v > 0) {
            loss += 1 - side * v;
            g->b[c] -= side;
            for (int k = 0; k < IN; k++) {
                g->w[c][k] -= side * (double)x[k];
            }
        }
    }
    return loss;
}

static void simulate(struct job *j, const struct run *r, struct model *m)
{
    const struct mt_data *d = r->s->data;
    int64_t epoch = 0, at = 0;

    memset(m, 0, sizeof *m);
    for (int step = 1; step <= STEPS; step++) {
        int64_t rows = N - at < B ? N - at : B;
        struct model g = {{{0}}, {0}}, unused = {{{0}}, {0}};
        double loss = 0;

        for (int64_t i = at; i < at + rows; i++) {
            loss += hinge(j, d->train, mt_data_order(5, epoch, i, N, d->shuffle), m, &g);
        }
        JOB_CHECK(j, r->loss[step] == loss / (double)rows, "step %d: loss %.17g, should be %.17g",
                  step, r->loss[step], loss / (double)rows);
        for (int c = 0; c < C; c++) {
            m->b[c] -= 0.125 * g.b[c] / (double)rows;
            for (int k = 0; k < IN; k++) {
                m->w[c][k] -= 0.125 * g.w[c][k] / (double)rows;
            }
        }
        at = at + rows < N ? at + rows : 0;
        epoch += at == 0;
        if (step % 7 == 0 || step == STEPS) {
            loss = 0;
            for (int64_t i = 0; i < HELD; i++) {
                loss += hinge(j, d->held, i, m, &unused);
            }
            JOB_CHECK(j, r->held[step] == loss / HELD, "step %d: held-out loss %.17g, not %.17g",
                      step, r->held[step], loss / HELD);
        }
    }
}

static void compare(struct job *j, const struct run *r, const float *w, const struct model *m,
                    const char *what)
{
    const struct mt_graph *g = r->s->train.graph;
    int in_first = g->param[0].desc.spec.dim[0] == IN;   /* which way the matrix lies */

    JOB_CHECK(j, g->nparam == 2, "%d parameters", g->nparam);
    for (int c = 0; c < C; c++) {
        double bias = (double)w[g->param[1].range.lo + (uint64_t)c];

        for (int k = 0; k < IN; k++) {
            uint64_t at = g->param[0].range.lo + (uint64_t)(in_first ? k * C + c : c * IN + k);

            JOB_CHECK(j, (double)w[at] == m->w[c][k], "%s: weight %d %d is %.17g, should be %.17g",
                      what, c, k, (double)w[at], m->w[c][k]);
        }
        JOB_CHECK(j, bias == m->b[c], "%s: bias %d is %.17g, should be %.17g", what, c, bias,
                  m->b[c]);
    }
}

/* ---- the trials ---------------------------------------------------------------------- */

static void run_exact(struct job *j, struct mt_job *job, int changing)
{
    struct run r = {.changing = changing};
    struct model m;
    double need = 0;
    float *w = train(j, job, exact, &r, &need);

    simulate(j, &r, &m);
    compare(j, &r, w, &m, changing ? "changing shares" : "fixed shares");
    mt_free(j->ctx, w);
    release(&r);
}

/* Rank 0 has memory for its equal share and a third more. */
static void run_refused(struct job *j, struct mt_job *job)
{
    struct run free = {.changing = 0}, bound = {.refused = j->size > 1};
    double limit = 0;
    float *a = train(j, job, wide, &free, &limit), *b;
    uint64_t bytes = free.s->store->size * sizeof *a;

    release(&free);
    limit *= 1.33;
    b = train(j, job, wide, &bound, &limit);
    release(&bound);
    JOB_CHECK(j, j->rank > 0 || j->size == 1 || warnings == 1, "%d warnings", warnings);
    JOB_CHECK(j, memcmp(a, b, bytes) == 0, "a refused share changed the weights");
    mt_free(j->ctx, a);
    mt_free(j->ctx, b);
}

/* more: of the run whose shares move. */
static void run_smooth(struct job *j, struct mt_job *job, const char *more)
{
    struct run fixed = {.changing = 0}, moving = {.changing = 1};
    double need = 0, worst = 0, curve = 0;
    float *a = train(j, job, smooth, &fixed, &need), *b;
    uint64_t size = fixed.s->store->size;
    char text[1024];

    snprintf(text, sizeof text, "%s%s", smooth, more);
    release(&fixed);
    need = 0;
    b = train(j, job, text, &moving, &need);
    size = *more == '\0' ? size : 0;   /* a stage holds some of the weights */
    release(&moving);
    for (uint64_t i = 0; i < size; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    }
    for (int i = 1; i <= STEPS; i++) {
        curve = fmax(curve, fabs(moving.loss[i] / fixed.loss[i] - 1));
    }
    if (j->rank == 0) {
        printf("tanh%s: weights differ by %g, the loss curve by %g\n",
               *more != '\0' ? ", stages" : "", worst, curve);
    }
    /* Adam divides by the size of the gradient, so a rounding error of a small one counts: 20
     * steps of at most 0.01 each, relative errors of 5e-4. */
    JOB_CHECK(j, worst <= 1e-4, "weights differ by %g", worst);
    JOB_CHECK(j, curve <= 1e-5, "loss curves differ by %g", curve);
    mt_free(j->ctx, a);
    mt_free(j->ctx, b);
}

static void run_all(struct job *j, struct mt_job *job)
{
    run_exact(j, job, 0);
    run_exact(j, job, 1);
    run_refused(j, job);
    run_smooth(j, job, "");
    if (j->size >= 3) {
        run_smooth(j, job, layout[j->size - 3]);
    }
}

int main(void)
{
    return job_train(on_log, run_all);
}
