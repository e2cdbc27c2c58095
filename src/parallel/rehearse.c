/* rehearse.c -- steps of small layouts, run and simulated; see rehearse.h.
 *
 *   sums    one replica a rank: measured - simulated without sums, at some numbers of samples
 *   hand    stages, 1F1B: latency for which the simulator says what was measured with small
 *           micro-batches, then the bandwidth for which it does with large ones
 *   inner   divided layers: the same */
#include "parallel/rehearse.h"

#include "base/ctx.h"
#include "base/num.h"
#include "device/dev.h"
#include "parallel/sim.h"
#include "parallel/stand.h"

#include <math.h>

#define SECONDS  0.25      /* of one rehearsal */
#define WINDOWS  5         /* of steps; the median counts */
#define LONGEST  0.4       /* seconds of a step; longer ones are not rehearsed */
#define MOST     200       /* steps in a window */
#define SMALL    8         /* part of the batch that the small ones have */
#define MICROS   4         /* micro-batches a stage */
#define LATENCY  0.02      /* seconds: the longest that is looked for */
#define SLOWEST  1e6       /* bytes a second: the smallest bandwidth that is looked for */
#define NEAR     0.9       /* of what was measured must be explained */
#define HALVINGS 40

struct call {
    struct mt_dev *dev;
    struct mt_comm *comm;
    const struct mt_graph *whole;
    const struct mt_optim *optim;
    const struct mt_profile_opt *opt;
    struct mt_cluster *cluster;
    struct mt_load *load;
    struct mt_times *times;
};

/* ---- a step, simulated and run -------------------------------------------------------- */

static int simulate(const struct call *c, const struct mt_layout *l, int64_t batch, double *seconds)
{
    struct mt_forecast *f = NULL;

    MT_TRY(mt_sim_run(c->times, l, batch, &f));
    *seconds = f->step;
    mt_forecast_free(f);
    return MOTLEY_OK;
}

/* Every rank runs as many steps; the first window is not counted. */
static int time_windows(const struct call *c, struct mt_stand *s, double expected, double *seconds)
{
    double took[WINDOWS], fit = SECONDS / WINDOWS / expected;
    int runs = fit < 1 ? 1 : fit > MOST ? MOST : (int)fit;

    for (int w = -1; w < WINDOWS; w++) {
        double from = mt_comm_clock();

        for (int i = 0; i < runs; i++) {
            MT_TRY(mt_exec_run(s->exec, &s->batch));
        }
        MT_TRY(mt_dev_finish(c->dev));
        if (w >= 0) {
            took[w] = (mt_comm_clock() - from) / runs;
        }
    }
    *seconds = mt_num_median(took, WINDOWS);
    return MOTLEY_OK;
}

/* A layout that is not possible here is no failure. */
static int impossible(int st)
{
    return st == MOTLEY_EDEV || st == MOTLEY_ECONFIG || st == MOTLEY_EUNSUP;
}

/* rows: of each replica. *seconds stays if this rank or another cannot. */
static int run_real(const struct call *c, const struct mt_layout *l, int64_t rows, double expected,
                    double *seconds)
{
    int micros = l->replica[0].micros, fits = 0, st;
    struct mt_stand s = {0};
    double refused, took = 0;

    st = mt_stand_job(c->dev, c->comm, c->whole, c->optim, c->opt, l, rows, micros, &s, &fits);
    if (impossible(st)) {
        fits = 0;
        st = MOTLEY_OK;
    }
    MT_TRY_OR(done, mt_comm_agree(c->comm, st));
    refused = !fits;
    MT_TRY_OR(done, mt_comm_max(c->comm, &refused));
    if (refused == 0) {
        MT_TRY_OR(done, mt_comm_agree(c->comm, time_windows(c, &s, expected, &took)));
        MT_TRY_OR(done, mt_comm_max(c->comm, &took));
        *seconds = took;
    }
done:
    mt_stand_fini(&s);
    return st;
}

/* *measured 0: it was left out. rows: of each replica. */
static int rehearse(const struct call *c, const struct mt_layout *l, int64_t rows, double *measured)
{
    double expected = 0;

    *measured = 0;
    MT_TRY(simulate(c, l, rows * l->nreplica, &expected));
    return expected > 0 && expected < LONGEST ? run_real(c, l, rows, expected, measured)
                                              : MOTLEY_OK;
}

/* ---- layouts -------------------------------------------------------------------------- */

/* *out NULL: the network has no such layout. */
static int make_layout(const struct call *c, const struct mt_mesh *mesh, struct mt_layout **out)
{
    int st = mt_layout_grid(c->whole, c->cluster->nrank, mesh, out);

    if (impossible(st)) {
        *out = NULL;
        return MOTLEY_OK;
    }
    return st;
}

/* The smallest number of stages or parts that leaves no rank over. */
static int divisor_of(int n)
{
    int d = 2;

    while (n % d != 0) {
        d++;
    }
    return d;
}

/* ---- sums of gradients ---------------------------------------------------------------- */

static int find_sums(const struct call *c)
{
    int n = c->cluster->nrank, st = MOTLEY_OK;
    struct mt_mesh mesh = {.data = n, .stages = 1, .tensor = 1, .chunks = 1, .micros = 1};
    struct mt_curve found = {0};
    struct mt_layout *l = NULL;

    MT_TRY(make_layout(c, &mesh, &l));
    c->cluster->sums = (struct mt_curve){.n = 1, .rows = {1}};   /* none, until known */
    for (int part = 16; l != NULL && part >= 1; part /= 4) {
        int64_t rows = c->opt->most / n / part;
        double with = 0, without = 0;

        if (rows < 1 || (found.n > 0 && (double)rows <= found.rows[found.n - 1])) {
            continue;
        }
        MT_TRY_OR(done, rehearse(c, l, rows, &with));
        MT_TRY_OR(done, simulate(c, l, rows * n, &without));
        if (with > 0) {
            found.rows[found.n] = (double)rows;
            found.seconds[found.n++] = fmax(0, with - without);
        }
    }
done:
    c->cluster->sums = found;
    mt_layout_free(l);
    return st;
}

/* ---- messages ------------------------------------------------------------------------- */

/* The latency, or the seconds a byte, in [least, most] for which the simulator says `measured`, or
 * the end that is nearer to it. The time of a step rises with it. */
static int fit(const struct call *c, const struct mt_layout *l, int64_t rows, double measured,
               double least, double most, int of_bandwidth, struct mt_path *path)
{
    double lo = least, hi = most, t = 0;

    for (int i = 0; i < HALVINGS; i++) {
        double mid = (lo + hi) / 2;

        if (of_bandwidth) {
            path->bandwidth = 1 / mid;
        } else {
            path->latency = mid;
        }
        MT_TRY(simulate(c, l, rows * l->nreplica, &t));
        if (t < measured) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return MOTLEY_OK;
}

/* What the simulator cannot be brought to say has other reasons: then nothing is known. */
static int judge(const struct call *c, const struct mt_layout *l, int64_t rows, double measured,
                 struct mt_path *path)
{
    double t = 0;

    MT_TRY(simulate(c, l, rows * l->nreplica, &t));
    if (t < NEAR * measured) {
        *path = (struct mt_path){0, 0};
    }
    return MOTLEY_OK;
}

/* Latency from small steps, bandwidth from large ones; what large ones do not take even without
 * bytes is no latency. path: in the cluster, of no effect yet. */
static int find_path(const struct call *c, const struct mt_layout *l, struct mt_path *path)
{
    int micros = l->replica[0].micros;
    int64_t most = c->opt->most / l->nreplica / micros * micros, least = most / SMALL;
    double fast = 1 / c->cluster->local.bandwidth, small = 0, large = 0, t = 0;

    least = least / micros > 0 ? least / micros * micros : micros;
    if (most < micros) {
        return MOTLEY_OK;
    }
    MT_TRY(rehearse(c, l, least, &small));
    MT_TRY(least < most ? rehearse(c, l, most, &large) : MOTLEY_OK);
    if (small <= 0) {
        return MOTLEY_OK;
    }
    *path = (struct mt_path){0, c->cluster->local.bandwidth};
    MT_TRY(fit(c, l, least, small, 0, LATENCY, 0, path));
    MT_TRY(judge(c, l, least, small, path));
    if (large > 0 && path->bandwidth > 0) {
        MT_TRY(simulate(c, l, most * l->nreplica, &t));
        MT_TRY(t < large ? fit(c, l, most, large, fast, 1 / SLOWEST, 1, path)
                         : fit(c, l, most, large, 0, path->latency, 0, path));
        MT_TRY(judge(c, l, most, large, path));
    }
    return MOTLEY_OK;
}

static int find_hand(const struct call *c)
{
    int n = c->cluster->nrank, p = divisor_of(n), st;
    struct mt_mesh mesh = {.data = n / p, .stages = p, .tensor = 1, .chunks = 1,
                           .micros = MICROS * p, .schedule = MT_SCHEDULE_1F1B};
    struct mt_layout *l = NULL;

    MT_TRY(make_layout(c, &mesh, &l));
    st = l != NULL ? find_path(c, l, &c->cluster->hand) : MOTLEY_OK;
    mt_layout_free(l);
    return st;
}

static int find_inner(const struct call *c)
{
    int n = c->cluster->nrank, p = divisor_of(n), st;
    struct mt_mesh mesh = {.data = n / p, .stages = 1, .tensor = p, .chunks = 1, .micros = 1};
    struct mt_layout *l = NULL;
    double sums = 0;

    for (int i = 0; i < c->load->n; i++) {
        sums += c->load->node[i].tensor_row;
    }
    if (sums <= 0) {
        return MOTLEY_OK;
    }
    MT_TRY(make_layout(c, &mesh, &l));
    st = l != NULL ? find_path(c, l, &c->cluster->inner) : MOTLEY_OK;
    mt_layout_free(l);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------ */

int mt_rehearse(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                const struct mt_optim *optim, const struct mt_profile_opt *opt,
                struct mt_cluster *cluster)
{
    struct call c = {.dev = dev, .comm = comm, .whole = whole, .optim = optim, .opt = opt,
                     .cluster = cluster};
    struct mt_curve *read = NULL;
    int st = MOTLEY_OK;

    if (cluster->nrank < 2 || (cluster->nhost > 1 && cluster->nhost < cluster->nrank) ||
        opt->bucket_bytes <= 0) {
        return MOTLEY_OK;
    }
    /* Nothing is read in a rehearsal. */
    MT_TRY(mt_comm_agree(comm, MT_NEW_N(whole->ctx, cluster->nkind, &read)));
    for (int k = 0; k < cluster->nkind; k++) {
        read[k] = cluster->speed[k].read;
        cluster->speed[k].read.n = 0;
    }
    MT_TRY_OR(done, mt_comm_agree(comm, mt_load_new(whole, optim, opt->bf16, &c.load)));
    MT_TRY_OR(done, mt_comm_agree(comm, mt_times_new(c.load, cluster, &c.times)));
    MT_TRY_OR(done, find_sums(&c));
    MT_TRY_OR(done, find_hand(&c));
    MT_TRY_OR(done, find_inner(&c));
done:
    for (int k = 0; k < cluster->nkind; k++) {
        cluster->speed[k].read = read[k];
    }
    mt_times_free(c.times);
    mt_load_free(c.load);
    mt_free(whole->ctx, read);
    return st;
}
