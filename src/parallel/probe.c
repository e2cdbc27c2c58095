/* probe.c -- times of one rank's device.
 *
 * The network is set up as for training, for each size anew, because what an operation chooses
 * (matrix products above all) depends on the size. Then each step of the list is run by itself,
 * many times in a row, and whole lists are run as in training. A list takes a little more than
 * its parts (launches, the host) or less (nobody waits between them): at the smallest size the
 * difference is the time of a step; at the others the parts are scaled to the list.
 *
 * All ranks begin a size together and compute until its time is over, so that each is measured
 * under the load of the others. A size that would take a slow device too long is left out on that
 * rank, and so are larger ones: the curve goes on as a straight line.
 *
 * What does not fit the device as a whole is measured in parts of consecutive nodes. */
#include "parallel/probe.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"
#include "graph/exec.h"
#include "optim/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NODES_PART 0.6      /* of the time of a size is for single steps */
#define BATCHES    5        /* of runs of a step; the median counts */
#define MOST_RUNS  500      /* in one batch */
#define LISTS      3        /* the least number of whole lists */
#define NOISE      4096     /* words that fill memory, again and again */

#define MOST_SCALE 3.0      /* between parts and list; beyond it something else went on */
#define LONGEST    1.5      /* a size may take a slow device so many times the time of all */

/* Sizes: 1 and these parts of the largest. Shares are looked for at the upper ones. */
static const int divisor[] = {64, 16, 4, 2, 1};

/* One part of the network, ready to run. */
struct stand {
    struct mt_graph *graph;
    struct mt_store *store;
    struct mt_exec *exec;
    struct mt_batch batch;
    struct mt_steps steps;      /* until exec takes them over */
};

struct probe_call {
    struct mt_dev *dev;
    struct mt_comm *comm;
    const struct mt_graph *whole;
    const struct mt_optim *optim;
    const struct mt_profile_opt *opt;
    struct mt_probe *p;
    int size;                   /* index of the size in progress */
    double list;                /* seconds of a whole list of this size; 0: not measured */
    double until;               /* the time of this size is over */
};

/* ---- what is the same work ----------------------------------------------------------- */

static int same_specs(const struct mt_spec *a, const struct mt_spec *b, int n)
{
    for (int i = 0; i < n; i++) {
        if (!mt_spec_equal(&a[i], &b[i])) {
            return 0;
        }
    }
    return 1;
}

static unsigned gradients(const struct mt_graph *g, int node)
{
    unsigned bits = 0;

    for (int i = 0; i < g->node[node].n.nin; i++) {
        bits |= (unsigned)g->value[g->node[node].in[i]].needs_grad << i;
    }
    return bits;
}

static int same_work(const struct mt_graph *g, int i, int j)
{
    const struct mt_gnode *a = &g->node[i], *b = &g->node[j];
    int in_place_a = g->value[a->out[0]].root != a->out[0];
    int in_place_b = g->value[b->out[0]].root != b->out[0];

    return a->n.op == b->n.op && a->n.nin == b->n.nin && a->n.nout == b->n.nout &&
           a->n.nparam == b->n.nparam && a->fused == b->fused && a->n.act == b->n.act &&
           in_place_a == in_place_b && gradients(g, i) == gradients(g, j) &&
           memcmp(a->n.attr, b->n.attr, sizeof a->n.attr) == 0 &&
           same_specs(a->n.in, b->n.in, a->n.nin) && same_specs(a->n.out, b->n.out, a->n.nout);
}

static void find_like(const struct mt_graph *g, int *like)
{
    for (int i = 0; i < g->nnode; i++) {
        like[i] = i;
        for (int j = 0; j < i && like[i] == i; j++) {
            like[i] = like[j] == j && same_work(g, i, j) ? j : i;
        }
    }
}

/* ---- setting up a part --------------------------------------------------------------- */

static void stand_fini(struct stand *s)
{
    mt_buf_free(s->batch.y.buf);
    mt_buf_free(s->batch.x.buf);
    mt_exec_free(s->exec);
    mt_store_free(s->store);
    mt_steps_fini(&s->steps);
    mt_graph_free(s->graph);
    memset(s, 0, sizeof *s);
}

/* Backward with data and parameter gradients as steps of their own. */
static int split_backward(const struct mt_graph *g, struct mt_steps *l)
{
    struct mt_steps out = {.ctx = l->ctx};
    int st = MOTLEY_OK;

    for (int i = 0; i < l->n; i++) {
        struct mt_step s = l->step[i];

        if (s.kind == &mt_step_bwd && s.want == (MT_WANT_DATA | MT_WANT_PARAM)) {
            s.want = MT_WANT_DATA;
            MT_TRY_OR(fail, mt_steps_add(&out, &s));
            s.want = MT_WANT_PARAM;
        }
        MT_TRY_OR(fail, mt_steps_add(&out, &s));
    }
    MT_TRY_OR(fail, mt_order_acc(g, 1, &out));
    mt_steps_fini(l);
    *l = out;
    return MOTLEY_OK;
fail:
    mt_steps_fini(&out);
    return st;
}

/* Small numbers of both signs: zeros make some devices faster than they will be, numbers that
 * become smaller than floats can be make others slower. */
static int fill_noise(struct mt_ctx *ctx, struct mt_buf *buf)
{
    uint64_t bytes = mt_buf_bytes(buf) / 4 * 4, there = NOISE * sizeof(float);
    float *noise = NULL;
    int st = MOTLEY_OK;

    there = bytes < there ? bytes : there;
    MT_TRY(MT_NEW_N(ctx, NOISE, &noise));
    for (int i = 0; i < NOISE; i++) {
        noise[i] = 0.001f * (float)(i * 7919 % 61 - 30);
    }
    st = mt_buf_write(buf, 0, there, noise);
    mt_free(ctx, noise);
    for (; there < bytes && st == MOTLEY_OK; there *= 2) {
        st = mt_buf_copy(buf, there, buf, 0, bytes - there < there ? bytes - there : there);
    }
    return st;
}

static int stand_plan(const struct probe_call *c, int lo, int hi, struct stand *s)
{
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 1};
    char *hold = NULL;
    int n = c->whole->nnode;

    MT_TRY(mt_graph_rebatch(c->whole, (int64_t)c->p->rows[c->size], &s->graph));
    MT_TRY(MT_NEW_N(c->whole->ctx, n + 1, &hold));
    for (int i = lo; i < hi; i++) {
        hold[i] = 1;
    }
    mt_graph_hold(s->graph, hold);
    mt_free(c->whole->ctx, hold);
    MT_TRY(mt_order(s->graph, &order, &s->steps));
    return split_backward(s->graph, &s->steps);
}

/* Whether the part fits the device, before scratch is known; *fits. */
static int stand_fits(const struct probe_call *c, struct stand *s, int *fits)
{
    const struct mt_value *x = &s->graph->value[s->graph->x], *y = &s->graph->value[s->graph->y];
    struct mt_plan_opt opt = {.hold = -1, .micros = 1};
    struct mt_plan *plan = NULL;
    uint64_t bytes = mt_store_bytes(s->graph, c->optim);

    MT_TRY(mt_plan_new(s->graph, &s->steps, &opt, &plan));
    bytes += mt_plan_bytes(plan) + mt_spec_bytes(&x->spec) + mt_spec_bytes(&y->spec);
    mt_plan_free(plan);
    *fits = c->opt->memory_bytes <= 0 || (double)bytes <= c->opt->memory_bytes;
    return MOTLEY_OK;
}

static int stand_alloc(const struct probe_call *c, struct stand *s)
{
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = 1, .optim = c->optim,
                              .slow = c->opt->slow};
    struct mt_graph *g = s->graph;

    MT_TRY(mt_store_new(c->dev, g, c->optim, 0, &s->store));
    MT_TRY(mt_exec_new(c->dev, g, s->store, &opt, &s->steps, &s->exec));
    s->batch = (struct mt_batch){.rows = (int64_t)c->p->rows[c->size], .lr = 1e-6};
    s->batch.x.spec = g->value[g->x].spec;
    s->batch.y.spec = g->value[g->y].spec;
    MT_TRY(mt_buf_new(c->dev, mt_spec_bytes(&s->batch.x.spec), "samples", &s->batch.x.buf));
    MT_TRY(mt_buf_new(c->dev, mt_spec_bytes(&s->batch.y.spec), "targets", &s->batch.y.buf));
    MT_TRY(fill_noise(g->ctx, s->batch.x.buf));
    MT_TRY(mt_buf_fill(s->batch.y.buf, 0, mt_spec_bytes(&s->batch.y.spec), 0));
    MT_TRY(fill_noise(g->ctx, s->store->param));
    for (int a = 0; a < s->exec->narena; a++) {
        MT_TRY(fill_noise(g->ctx, s->exec->arena[a]));
    }
    MT_TRY(mt_exec_run(s->exec, &s->batch));   /* what is built or copied at the first launch */
    return mt_dev_finish(c->dev);
}

/* ---- measuring ----------------------------------------------------------------------- */

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Seconds of one step of the list. goal: to spend on it. */
static int time_step(struct stand *s, const struct mt_step *step, double goal, double *seconds)
{
    double batch[BATCHES], begun = mt_comm_clock(), once, now;
    int runs = 1, n = 0;

    do {
        double from = mt_comm_clock();

        for (int i = 0; i < runs; i++) {
            MT_TRY(mt_exec_step(s->exec, step));
        }
        MT_TRY(mt_exec_settle(s->exec));
        MT_TRY(mt_dev_finish(s->exec->dev));
        now = mt_comm_clock();
        once = (now - from) / runs;
        if (n == 0 && runs == 1 && once < goal / BATCHES / 2) {
            double fit = goal / BATCHES / once;

            runs = fit < MOST_RUNS ? (int)fit : MOST_RUNS;   /* the first one only says how many */
            continue;
        }
        batch[n++] = once;
    } while (n < BATCHES && now - begun < goal);
    qsort(batch, (size_t)n, sizeof *batch, rising);
    *seconds = batch[n / 2];
    return MOTLEY_OK;
}

static int work_of(const struct mt_step *s)
{
    return s->kind == &mt_step_fwd                               ? MT_WORK_FWD
           : s->kind != &mt_step_bwd                             ? -1
           : s->want == MT_WANT_DATA                             ? MT_WORK_DATA
                                                                 : MT_WORK_PARAM;
}

static int wanted(const struct probe_call *c, const struct mt_step *s)
{
    if (s->kind == &mt_step_update) {
        return c->p->update <= 0;
    }
    return work_of(s) >= 0 && c->p->like[s->node] == s->node;
}

static int time_steps(struct probe_call *c, struct stand *s, double seconds)
{
    const struct mt_steps *l = &s->exec->steps;
    struct mt_probe *p = c->p;
    int n = 0;

    for (int i = 0; i < l->n; i++) {
        n += wanted(c, &l->step[i]);
    }
    for (int i = 0; i < l->n; i++) {
        const struct mt_step *step = &l->step[i];
        double t = 0;

        if (!wanted(c, step)) {
            continue;
        }
        MT_TRY(time_step(s, step, seconds / n, &t));
        if (step->kind == &mt_step_update) {
            p->update = t / (double)(step->range.hi - step->range.lo);
        } else {
            p->time[step->node][work_of(step)][c->size] = t;
        }
    }
    return MOTLEY_OK;
}

/* Whole lists until the time of this size is over: the median. */
static int time_lists(struct probe_call *c, struct stand *s)
{
    double batch[64], each = 0;
    int n = 0, runs = 1;

    while (n < LISTS || (n < 64 && mt_comm_clock() < c->until)) {
        double from = mt_comm_clock();

        for (int i = 0; i < runs; i++) {
            MT_TRY(mt_exec_run(s->exec, &s->batch));
        }
        MT_TRY(mt_dev_finish(c->dev));
        each = (mt_comm_clock() - from) / runs;
        batch[n++] = each;
        runs = each > 0 && each < 5e-3 ? (int)(5e-3 / each) + 1 : 1;
    }
    qsort(batch, (size_t)n, sizeof *batch, rising);
    c->list = batch[n / 2];
    return MOTLEY_OK;
}

/* A part set up; *fits 0: not, it is too large for the device. */
static int stand_new(const struct probe_call *c, int lo, int hi, struct stand *s, int *fits)
{
    int st;

    MT_TRY(stand_plan(c, lo, hi, s));
    MT_TRY(stand_fits(c, s, fits));
    if (*fits) {
        st = stand_alloc(c, s);
        *fits = st != MOTLEY_EDEV;   /* scratch, or what others hold of the device */
        MT_TRY(*fits ? st : MOTLEY_OK);
    }
    return MOTLEY_OK;
}

/* Nodes [lo, hi), in halves as long as they do not fit. One node that does not fit is given up: it
 * has no time at this size. */
static int time_part(struct probe_call *c, int lo, int hi)
{
    double share = (double)(hi - lo) / c->whole->nnode;
    struct stand s = {0};
    int fits = 0, st = MOTLEY_OK;

    MT_TRY_OR(done, stand_new(c, lo, hi, &s, &fits));
    if (fits) {
        MT_TRY_OR(done, time_steps(c, &s, c->opt->seconds / c->p->nsize * share));
    }
done:
    stand_fini(&s);
    MT_TRY(st);
    if (!fits && hi - lo > 1) {
        MT_TRY(time_part(c, lo, (lo + hi) / 2));
        return time_part(c, (lo + hi) / 2, hi);
    }
    return MOTLEY_OK;
}

static int time_whole(struct probe_call *c, struct stand *s)
{
    MT_TRY(time_steps(c, s, NODES_PART * c->opt->seconds / c->p->nsize));
    return time_lists(c, s);
}

/* Seconds of all nodes at one size, as measured one by one. */
static double sum_of(const struct mt_probe *p, int size)
{
    double sum = 0;

    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            double t = p->time[p->like[i]][w][size];

            sum += isnan(t) ? 0 : t;
        }
    }
    return sum;
}

/* What a list took, divided among its parts. */
static void scale_to_list(struct probe_call *c)
{
    struct mt_probe *p = c->p;
    double sum = sum_of(p, c->size), update = p->update * (double)c->whole->param_size, scale;

    if (c->list <= 0 || sum <= 0) {
        return;
    }
    if (c->size == 0) {
        p->step = c->list - sum - update;
        p->step = p->step > 0 ? p->step : 0;
    }
    scale = (c->list - update - p->step) / sum;
    scale = scale < 1 / MOST_SCALE ? 1 / MOST_SCALE : scale > MOST_SCALE ? MOST_SCALE : scale;
    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            p->time[i][w][c->size] *= scale;
        }
    }
}

/* Whether this size would take longer than all measuring should: judged by the one before. */
static int too_slow(const struct probe_call *c)
{
    const struct mt_probe *p = c->p;
    int k = c->size;

    return k > 0 && (p->done < k || (LISTS + 3) * sum_of(p, k - 1) * p->rows[k] / p->rows[k - 1] >
                                        LONGEST * c->opt->seconds);
}

/* One size: set up, begin together, measure. */
static int probe_size(struct probe_call *c)
{
    struct stand s = {0};
    int fits = 0, skip = too_slow(c), n = c->whole->nnode, st = MOTLEY_OK;

    c->list = 0;
    if (!skip) {
        st = stand_new(c, 0, n, &s, &fits);
    }
    MT_TRY_OR(done, mt_comm_agree(c->comm, st));
    c->until = mt_comm_clock() + c->opt->seconds / c->p->nsize;
    if (!skip) {
        st = fits ? time_whole(c, &s) : MOTLEY_OK;
        stand_fini(&s);
        st = fits || st < 0 ? st : time_part(c, 0, n);
        c->p->done = c->size + 1;
    }
    MT_TRY_OR(done, mt_comm_agree(c->comm, st));
    if (!skip) {
        scale_to_list(c);
    }
done:
    stand_fini(&s);
    return st;
}

static void choose_sizes(struct mt_probe *p, int64_t most)
{
    for (int i = 0; i < (int)(sizeof divisor / sizeof *divisor); i++) {
        double rows = (double)(most / divisor[i] > 0 ? most / divisor[i] : 1);

        if (i == 0 && rows > 1) {
            p->rows[p->nsize++] = 1;
        }
        if (p->nsize == 0 || rows > p->rows[p->nsize - 1]) {
            p->rows[p->nsize++] = rows;
        }
    }
}

/* Times of steps that the list has are unknown until measured, the others stay 0. */
static int prepare(struct probe_call *c)
{
    struct mt_probe *p = c->p;
    struct stand s = {0};
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(p->ctx, p->nnode, &p->like));
    MT_TRY(MT_NEW_N(p->ctx, p->nnode, &p->time));
    find_like(c->whole, p->like);
    choose_sizes(p, c->opt->most);
    MT_TRY_OR(done, stand_plan(c, 0, p->nnode, &s));
    for (int i = 0; i < s.steps.n; i++) {
        int work = work_of(&s.steps.step[i]);

        for (int k = 0; work >= 0 && k < p->nsize; k++) {
            p->time[s.steps.step[i].node][work][k] = NAN;
        }
    }
done:
    stand_fini(&s);
    return st;
}

int mt_probe_new(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                 const struct mt_optim *optim, const struct mt_profile_opt *opt,
                 struct mt_probe **out)
{
    struct probe_call c = {.dev = dev, .comm = comm, .whole = whole, .optim = optim, .opt = opt};
    int st;

    MT_TRY(mt_comm_agree(comm, MT_NEW(whole->ctx, &c.p)));
    c.p->ctx = whole->ctx;
    c.p->nnode = whole->nnode;
    MT_TRY_OR(fail, mt_comm_agree(comm, prepare(&c)));
    for (c.size = 0; c.size < c.p->nsize; c.size++) {
        MT_TRY_OR(fail, probe_size(&c));
    }
    *out = c.p;
    return MOTLEY_OK;
fail:
    mt_probe_free(c.p);
    return st;
}

void mt_probe_free(struct mt_probe *p)
{
    if (p != NULL) {
        mt_free(p->ctx, p->time);
        mt_free(p->ctx, p->like);
        mt_free(p->ctx, p);
    }
}
