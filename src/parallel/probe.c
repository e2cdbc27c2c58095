/* probe.c -- times of one rank's device.
 *
 * The network is set up as for training, for each size anew, because what an operation chooses
 * (matrix products above all) depends on the size. Then each step of the list is run by itself,
 * many times in a row, and whole lists are run as in training. A list takes more than its parts
 * (weights that a step finds in a cache when it is repeated) or less (nobody waits between them):
 * the parts are scaled to the list. Lists in which gradients are added to others tell what that
 * takes, as it does with micro-batches.
 *
 * All ranks begin a size together and compute until its time is over, so that each is measured
 * under the load of the others. A size that would take a slow device too long is left out on that
 * rank, and so are larger ones: the curve goes on as a straight line.
 *
 * What does not fit the device as a whole is measured in parts of consecutive nodes. */
#include "parallel/probe.h"

#include "base/ctx.h"
#include "base/num.h"
#include "device/dev.h"
#include "parallel/stand.h"

#include <math.h>
#include <string.h>

#define NODES_PART 0.5      /* of the time of a size is for single steps */
#define BATCHES    5        /* of runs of a step; the median counts */
#define MOST_RUNS  500      /* in one batch */
#define LISTS      3        /* the least number of whole lists */
#define MEASURED   (LISTS + 3)   /* lists that a size takes at least, single steps included */
#define ADD_AT     8        /* part of the largest size at which adding is measured */

#define MOST_SCALE 3.0      /* between parts and list; beyond it something else went on */
#define DISTURBED  1.2      /* times what a sample takes at the size before: measured again */
#define LONGEST    1.5      /* a size may take a slow device so many times the time of all */

/* Sizes: 1 and these parts of the largest. Shares are looked for at the upper ones. */
static const int divisor[] = {64, 16, 8, 4, 2, 1};

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
           a->n.nparam == b->n.nparam && a->fused == b->fused && a->passes == b->passes &&
           a->n.act == b->n.act &&
           (a->n.drops != NULL) == (b->n.drops != NULL) && a->n.adds == b->n.adds &&
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

/* ---- measuring ----------------------------------------------------------------------- */

/* Seconds of one step of the list. goal: to spend on it. */
static int time_step(struct mt_stand *s, const struct mt_step *step, double goal, double *seconds)
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
    *seconds = mt_num_median(batch, n);
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

static int time_steps(struct probe_call *c, struct mt_stand *s, double seconds)
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

/* Whole lists until a time: the median. */
static int time_lists(struct probe_call *c, struct mt_stand *s, double until, double *seconds)
{
    double batch[64], each = 0;
    int n = 0, runs = 1;

    while (n < LISTS || (n < 64 && mt_comm_clock() < until)) {
        double from = mt_comm_clock();

        for (int i = 0; i < runs; i++) {
            MT_TRY(mt_exec_run(s->exec, &s->batch));
        }
        MT_TRY(mt_dev_finish(c->dev));
        each = (mt_comm_clock() - from) / runs;
        batch[n++] = each;
        runs = each > 0 && each < 5e-3 ? (int)(5e-3 / each) + 1 : 1;
    }
    *seconds = mt_num_median(batch, n);
    return MOTLEY_OK;
}

/* All gradients of parameters are added to what is there, or written. */
static void set_adding(struct mt_stand *s, int adds)
{
    struct mt_steps *l = &s->exec->steps;

    for (int i = 0; i < l->n; i++) {
        struct mt_step *step = &l->step[i];

        if (work_of(step) == MT_WORK_PARAM) {
            step->acc_param = adds ? (1u << s->graph->node[step->node].n.nparam) - 1 : 0;
        }
    }
}

/* Gradients that grow without end would become infinite, which some devices do slowly. */
static int time_adding(struct probe_call *c, struct mt_stand *s)
{
    double with = 0, more;

    set_adding(s, 1);
    MT_TRY(time_lists(c, s, c->until + c->opt->seconds / c->p->nsize / 2, &with));
    set_adding(s, 0);
    more = with - c->list;
    c->p->add = more > 0 ? more / (double)c->whole->param_size : 0;
    return MOTLEY_OK;
}

static int stand(const struct probe_call *c, int lo, int hi, struct mt_stand *s, int *fits)
{
    return mt_stand_new(c->dev, c->whole, c->optim, c->opt, c->p->rows[c->size], lo, hi, s, fits);
}

/* Nodes [lo, hi), in halves as long as they do not fit. One node that does not fit is given up: it
 * has no time at this size. */
static int time_part(struct probe_call *c, int lo, int hi)
{
    double share = (double)(hi - lo) / c->whole->nnode;
    struct mt_stand s = {0};
    int fits = 0, st = MOTLEY_OK;

    MT_TRY_OR(done, stand(c, lo, hi, &s, &fits));
    if (fits) {
        MT_TRY_OR(done, time_steps(c, &s, c->opt->seconds / c->p->nsize * share));
    }
done:
    mt_stand_fini(&s);
    MT_TRY(st);
    if (!fits && hi - lo > 1) {
        MT_TRY(time_part(c, lo, (lo + hi) / 2));
        return time_part(c, (lo + hi) / 2, hi);
    }
    return MOTLEY_OK;
}

static int time_whole(struct probe_call *c, struct mt_stand *s)
{
    MT_TRY(time_steps(c, s, NODES_PART * c->opt->seconds / c->p->nsize));
    MT_TRY(time_lists(c, s, c->until, &c->list));
    return c->p->rows[c->size] * ADD_AT <= (double)c->opt->most && c->p->add <= 0 &&
                   c->size + 1 < c->p->nsize &&
                   c->p->rows[c->size + 1] * ADD_AT > (double)c->opt->most
               ? time_adding(c, s)
               : MOTLEY_OK;
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
    scale = (c->list - update) / sum;
    scale = scale < 1 / MOST_SCALE ? 1 / MOST_SCALE : scale > MOST_SCALE ? MOST_SCALE : scale;
    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            p->time[i][w][c->size] *= scale;
        }
    }
}

/* Whether so many lists of this size would take longer than all measuring should: at most as much
 * longer than those of the size before as there are more samples. */
static int too_slow(const struct probe_call *c, int lists)
{
    const struct mt_probe *p = c->p;
    int k = c->size;

    return k > 0 && (p->done < k || lists * sum_of(p, k - 1) * p->rows[k] / p->rows[k - 1] >
                                        LONGEST * c->opt->seconds);
}

/* What one sample takes tells little of many, because starting is most of it: one list tells. */
static int try_one(const struct probe_call *c, struct mt_stand *s, int *skip)
{
    double from = mt_comm_clock();

    MT_TRY(mt_exec_run(s->exec, &s->batch));
    MT_TRY(mt_dev_finish(c->dev));
    *skip = MEASURED * (mt_comm_clock() - from) > LONGEST * c->opt->seconds;
    return MOTLEY_OK;
}

/* One size: set up, begin together, measure. */
static int probe_size(struct probe_call *c)
{
    struct mt_stand s = {0};
    int unsure = c->size > 0 && c->p->rows[c->size - 1] == 1;
    int skip = too_slow(c, unsure ? 1 : MEASURED), fits = 0, n = c->whole->nnode, st = MOTLEY_OK;

    c->list = 0;
    if (!skip) {
        st = stand(c, 0, n, &s, &fits);
        st = st == MOTLEY_OK && fits && unsure ? try_one(c, &s, &skip) : st;
    }
    MT_TRY_OR(done, mt_comm_agree(c->comm, st));
    c->until = mt_comm_clock() + c->opt->seconds / c->p->nsize;
    if (!skip) {
        st = fits ? time_whole(c, &s) : MOTLEY_OK;
        mt_stand_fini(&s);
        st = fits || st < 0 ? st : time_part(c, 0, n);
        c->p->done = c->size < c->p->done ? c->p->done : c->size + 1;
    }
    MT_TRY_OR(done, mt_comm_agree(c->comm, st));
    if (!skip) {
        scale_to_list(c);
    }
done:
    mt_stand_fini(&s);
    return st;
}

/* Whether a sample takes longer than at the size before: caches do not explain so much. */
static int disturbed(const struct mt_probe *p, int k)
{
    return k > 0 && k < p->done &&
           sum_of(p, k) / p->rows[k] > DISTURBED * sum_of(p, k - 1) / p->rows[k - 1];
}

/* One size once more; the faster times stay. kept: room for a time of each node and work. */
static int probe_once_more(struct probe_call *c, double (*kept)[MT_WORKS])
{
    double before = sum_of(c->p, c->size);
    struct mt_probe *p = c->p;

    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            kept[i][w] = p->time[i][w][c->size];
        }
    }
    MT_TRY(probe_size(c));
    if (before <= 0 || sum_of(p, c->size) <= before) {
        return MOTLEY_OK;
    }
    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            p->time[i][w][c->size] = kept[i][w];
        }
    }
    return MOTLEY_OK;
}

/* Sizes that were disturbed on any rank are measured again on all. */
static int probe_disturbed(struct probe_call *c)
{
    double (*kept)[MT_WORKS] = NULL, mine[MT_CURVE_POINTS] = {0}, *all = NULL;
    int ranks = mt_comm_info(c->comm)->size, st = MOTLEY_OK;

    MT_TRY_OR(done, mt_comm_agree(c->comm, MT_NEW_N(c->p->ctx, c->p->nnode, &kept)));
    MT_TRY_OR(done, mt_comm_agree(c->comm, MT_NEW_N(c->p->ctx, ranks * MT_CURVE_POINTS, &all)));
    for (int k = 0; k < c->p->nsize; k++) {
        mine[k] = disturbed(c->p, k);
    }
    MT_TRY_OR(done, mt_comm_allgather(c->comm, mine, sizeof mine, all));
    for (c->size = 0; c->size < c->p->nsize; c->size++) {
        double any = 0;

        for (int r = 0; r < ranks; r++) {
            any += all[r * MT_CURVE_POINTS + c->size];
        }
        MT_TRY_OR(done, any > 0 ? probe_once_more(c, kept) : MOTLEY_OK);
    }
done:
    mt_free(c->p->ctx, all);
    mt_free(c->p->ctx, kept);
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
    struct mt_stand s = {0};
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(p->ctx, p->nnode, &p->like));
    MT_TRY(MT_NEW_N(p->ctx, p->nnode, &p->time));
    find_like(c->whole, p->like);
    choose_sizes(p, c->opt->most);
    MT_TRY_OR(done, mt_stand_plan(c->whole, 1, 0, p->nnode, &s));
    for (int i = 0; i < s.steps.n; i++) {
        int work = work_of(&s.steps.step[i]);

        for (int k = 0; work >= 0 && k < p->nsize; k++) {
            p->time[s.steps.step[i].node][work][k] = NAN;
        }
    }
done:
    mt_stand_fini(&s);
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
    MT_TRY_OR(fail, probe_disturbed(&c));
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
