/* arrange.c -- from groups of ranks to a layout.
 *
 * Replicas that are alike (same devices, same paths) are one class. The time of a class against its
 * samples is a curve of played points. Shares: the lowest T for which the samples that all can do
 * within T add up to the batch, by bisection, exact for curves that do not fall; what whole numbers
 * leave over goes, one by one, where it ends first. Then the cuts are made again for those shares,
 * and the curves get a point there, so what is wrong between points vanishes where it counts. */
#include "parallel/arrange.h"

#include "base/ctx.h"
#include "parallel/cut.h"
#include "parallel/play.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 3
#define POINTS 12          /* of a curve */
#define FEW 16             /* ranks: every time is then played, shares improved by single samples */

/* A cut that was made before, or that there is none. */
struct known {
    uint64_t key;
    int k;
    int *cut;              /* k + 1; NULL: none fits */
    struct known *next;
};

#define BUCKETS 1024

struct mt_arranger {
    struct mt_ctx *ctx;
    struct known *known[BUCKETS];
    struct mt_times *times;
    const struct mt_load *load;
    const struct mt_cluster *cluster;
    const char *may;
    int places;            /* most stages */
    double *params;        /* prefix sums, load.n + 1 */
};

struct class {
    const struct mt_crew *crew;    /* the first of them */
    int count;
    double rate;                   /* samples a second, if all went well */
    struct mt_replica rep;         /* as the first; nstage 0: not cut yet */
    int64_t rows;                  /* of each; the first `more` have one more */
    int more;
    int64_t cut_rows;              /* that it was cut for */
    double height;                 /* of the curve over its closed form */
    int n;                         /* points, by ascending rows */
    double at[POINTS], seconds[POINTS];
};

struct work {
    struct mt_arranger *a;
    const struct mt_arrange_opt *o;
    const struct mt_team *team;
    int *of;                       /* class of each crew */
    int nclass;
    struct class *class;
};

/* ---- teams ----------------------------------------------------------------------------------- */

int mt_team_new(struct mt_ctx *ctx, int nrank, struct mt_team **out)
{
    struct mt_team *t = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &t));
    t->ctx = ctx;
    MT_TRY_OR(fail, MT_NEW_N(ctx, nrank, &t->crew));
    MT_TRY_OR(fail, MT_NEW_N(ctx, nrank, &t->rank));
    *out = t;
    return MOTLEY_OK;
fail:
    mt_team_free(t);
    return st;
}

void mt_team_free(struct mt_team *t)
{
    if (t != NULL) {
        mt_free(t->ctx, t->crew);
        mt_free(t->ctx, t->rank);
        mt_free(t->ctx, t);
    }
}

void mt_team_add(struct mt_team *t, int nstage, int tensor, const int *rank)
{
    int *to = t->rank + t->used;

    memcpy(to, rank, (size_t)(nstage * tensor) * sizeof *to);
    t->crew[t->ncrew++] = (struct mt_crew){nstage, tensor, to};
    t->used += nstage * tensor;
}

/* ---- a replica of a crew --------------------------------------------------------------------- */

static void free_replica(struct mt_ctx *ctx, struct mt_replica *r)
{
    for (int s = 0; s < r->nstage; s++) {
        mt_free(ctx, r->stage[s].rank);
    }
    mt_free(ctx, r->stage);
    *r = (struct mt_replica){0};
}

/* A replica like `from` (its cut and micro-batches) on the ranks of another crew. */
static int like(struct mt_ctx *ctx, const struct mt_replica *from, const struct mt_crew *crew,
                struct mt_replica *out)
{
    *out = (struct mt_replica){.share = from->share, .micros = from->micros};
    MT_TRY(MT_NEW_N(ctx, from->nstage, &out->stage));
    out->nstage = from->nstage;
    for (int s = 0; s < from->nstage; s++) {
        out->stage[s] = from->stage[s];
        out->stage[s].rank = NULL;
        out->stage[s].nrank = crew->tensor;
        MT_TRY(MT_NEW_N(ctx, crew->tensor, &out->stage[s].rank));
        memcpy(out->stage[s].rank, crew->rank + s % crew->nstage * crew->tensor,
               (size_t)crew->tensor * sizeof *crew->rank);
    }
    return MOTLEY_OK;
}

/* ---- cuts ------------------------------------------------------------------------------------ */

struct stage_arg {
    struct mt_span span;           /* of its slowest rank */
    double path, sum;              /* seconds a byte: from the stage before; in sums inside */
    double wait;                   /* seconds of one sum inside */
    double memory, alloc;          /* of its smallest rank; INFINITY: no limit */
    int alive;
};

struct cut_arg {
    struct mt_arranger *a;
    struct stage_arg *stage;
    int k, held, recompute, tensor;
    double rows, micro_rows;
};

/* Seconds for a micro-batch; INFINITY if the parameters alone are too many. */
static double cut_cost(const void *arg, int stage, int lo, int hi)
{
    const struct cut_arg *c = arg;
    const struct stage_arg *g = &c->stage[stage];
    double fwd = g->span.sum[MT_WORK_FWD][hi] - g->span.sum[MT_WORK_FWD][lo];
    double back = g->span.sum[MT_WORK_DATA][hi] - g->span.sum[MT_WORK_DATA][lo] +
                  g->span.sum[MT_WORK_PARAM][hi] - g->span.sum[MT_WORK_PARAM][lo];
    double sums = g->sum * c->micro_rows * (g->span.part_row[hi] - g->span.part_row[lo]) +
                  g->wait * (g->span.parts[hi] - g->span.parts[lo]);
    double bytes = 4 * (2 + c->a->load->slots) * (c->a->params[hi] - c->a->params[lo]) / c->tensor;

    return bytes * c->held > g->memory ? INFINITY
                                       : (c->recompute ? 2 : 1) * (fwd + sums) + back + sums;
}

/* Messages over the cut in front; INFINITY if it does not fit. */
static double cut_extra(const void *arg, int stage, int lo, int hi)
{
    const struct cut_arg *c = arg;
    const struct stage_arg *g = &c->stage[stage];
    struct mt_stage_use use = {lo, hi, stage == 0, stage == c->k - 1, 1.0 / c->tensor,
                               c->micro_rows, c->rows, g->alive, c->recompute};
    struct mt_forecast_rank r = {0};
    double largest;

    if (isinf(g->memory) && isinf(g->alloc)) {
        return g->path * c->micro_rows * c->a->load->node[lo].cut_row;
    }
    largest = mt_memory_add(mt_times_memory(c->a->times), &use, &r);
    return r.memory * c->held > g->memory || largest * c->held > g->alloc
               ? INFINITY
               : g->path * c->micro_rows * c->a->load->node[lo].cut_row;
}

/* How many micro-batches of stage s of k are alive at once, at most. */
static int alive(enum mt_schedule kind, int s, int k, int held, int micros)
{
    int most = kind == MT_SCHEDULE_GPIPE         ? micros
               : kind == MT_SCHEDULE_ZERO_BUBBLE ? k
               : held > 1                        ? 2 * (k / held)
                                                 : k - s;

    return most < micros ? most : micros;
}

static int fill_stage(const struct work *w, const struct mt_crew *crew, int s, int micros,
                      struct cut_arg *c)
{
    const struct mt_cluster *cl = w->a->cluster;
    struct stage_arg *g = &c->stage[s];
    int group = s % crew->nstage, t = crew->tensor;
    const int *rank = crew->rank + group * t;
    double most = -1;

    *g = (struct stage_arg){.memory = INFINITY, .alloc = INFINITY};
    g->alive = alive(w->o->schedule, s, c->k, c->held, micros);
    for (int p = 0; p < t; p++) {
        const struct mt_speed *speed = &cl->speed[cl->kind[rank[p]]];
        struct mt_span span;
        double all = 0;

        MT_TRY(mt_times_get(w->a->times, cl->kind[rank[p]], c->micro_rows, 1.0 / t, &span));
        for (int k = 0; k < MT_WORKS; k++) {
            all += span.sum[k][w->a->load->n];
        }
        if (all > most) {
            most = all;
            g->span = span;
        }
        g->memory = speed->memory_bytes > 0 ? fmin(g->memory, speed->memory_bytes) : g->memory;
        g->alloc = speed->max_alloc_bytes > 0 ? fmin(g->alloc, speed->max_alloc_bytes) : g->alloc;
        if (p > 0) {
            struct mt_path path = mt_cluster_path(cl, rank[p - 1], rank[p]);

            g->sum = fmax(g->sum, 2.0 * (t - 1) / t / path.bandwidth);
            g->wait = fmax(g->wait, 2 * path.latency);
        }
    }
    if (s > 0) {
        const int *before = crew->rank + (s - 1) % crew->nstage * t;

        g->path = 1 / mt_cluster_path(cl, before[0], rank[0]).bandwidth;
    }
    return MOTLEY_OK;
}

/* Everything that a cut depends on. */
static uint64_t key_of(const struct work *w, const struct class *c, int k, int micros,
                       int recompute, double micro_rows)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325), part[5] = {0}, bits;

    memcpy(&bits, &micro_rows, sizeof bits);
    part[0] = bits;
    part[1] = (uint64_t)k << 32 | (uint64_t)c->crew->tensor;
    part[2] = (uint64_t)micros << 8 | (uint64_t)w->o->schedule << 1 | (uint64_t)recompute;
    for (int i = 0; i < 3; i++) {
        h = (h ^ part[i]) * UINT64_C(0x100000001b3);
        h ^= h >> 29;
    }
    for (int i = 0; i < c->crew->nstage * c->crew->tensor; i++) {
        struct mt_path path = mt_cluster_path(w->a->cluster,
                                              c->crew->rank[i > 0 ? i - 1 : 0], c->crew->rank[i]);

        memcpy(&part[3], &path.bandwidth, sizeof part[3]);
        memcpy(&part[4], &path.latency, sizeof part[4]);
        h = (h ^ (uint64_t)w->a->cluster->kind[c->crew->rank[i]]) * UINT64_C(0x100000001b3);
        h = (h ^ part[3]) * UINT64_C(0x9e3779b97f4a7c15);
        h = (h ^ h >> 31 ^ part[4]) * UINT64_C(0xbf58476d1ce4e5b9);
        h ^= h >> 27;
    }
    return h;
}

/* The best cut of a class, from memory if it was made before. *out NULL: none fits. */
static int find_cut(const struct work *w, const struct class *c, struct cut_arg *arg, int micros,
                    const int **out)
{
    struct mt_arranger *a = w->a;
    uint64_t key = key_of(w, c, arg->k, micros, arg->recompute, arg->micro_rows);
    struct known **at = &a->known[key % BUCKETS], *e = NULL;
    double worst = INFINITY;
    int *cut = NULL, st;

    for (e = *at; e != NULL; e = e->next) {
        if (e->key == key && e->k == arg->k) {
            *out = e->cut;
            return MOTLEY_OK;
        }
    }
    MT_TRY_OR(fail, MT_NEW(a->ctx, &e));
    MT_TRY_OR(fail, MT_NEW_N(a->ctx, arg->k + 1, &cut));
    MT_TRY_OR(fail, mt_cut_minmax(a->ctx, a->load->n, arg->k, a->may, cut_cost, cut_extra, arg,
                                  cut, &worst));
    *e = (struct known){key, arg->k, cut, *at};
    if (isinf(worst)) {
        mt_free(a->ctx, cut);
        e->cut = NULL;
    }
    *out = e->cut;
    *at = e;
    return MOTLEY_OK;
fail:
    mt_free(a->ctx, e);
    mt_free(a->ctx, cut);
    return st;
}

/* Cuts the class with so many micro-batches. *done: there is a cut that fits. */
static int try_cut(const struct work *w, struct class *c, int k, int micros, int recompute,
                   int *done)
{
    struct mt_arranger *a = w->a;
    double rows = (double)(c->rows + (c->more > 0));
    struct cut_arg arg = {.a = a, .k = k, .held = k / c->crew->nstage, .recompute = recompute,
                          .tensor = c->crew->tensor,
                          .micro_rows = ceil(fmax(rows, 1) / micros)};
    struct mt_replica rep = {.micros = micros};
    const int *cut = NULL;
    int st;

    *done = 0;
    arg.rows = arg.micro_rows * micros;
    MT_TRY_OR(end, MT_NEW_N(a->ctx, k, &arg.stage));
    for (int s = 0; s < k; s++) {
        MT_TRY_OR(end, fill_stage(w, c->crew, s, micros, &arg));
    }
    MT_TRY_OR(end, find_cut(w, c, &arg, micros, &cut));
    if (cut != NULL) {
        MT_TRY_OR(end, MT_NEW_N(a->ctx, k, &rep.stage));
        rep.nstage = k;
        for (int s = 0; s < k; s++) {
            rep.stage[s] = (struct mt_stage){.lo = cut[s], .hi = cut[s + 1],
                                             .recompute = recompute};
        }
        free_replica(a->ctx, &c->rep);
        st = like(a->ctx, &rep, c->crew, &c->rep);
        *done = st == MOTLEY_OK;
    }
end:
    mt_free(a->ctx, rep.stage);
    mt_free(a->ctx, arg.stage);
    return st;
}

/* Micro-batches and cut for the class's rows: the wished number, or more until it fits, then with
 * recomputation. */
static int fit(const struct work *w, struct class *c, int *done)
{
    const struct mt_arrange_opt *o = w->o;
    int64_t rows = c->rows + (c->more > 0);
    int k = c->crew->nstage * (c->crew->nstage > 1 ? o->chunks : 1);
    int start = o->micros > 0 ? o->micros : c->crew->nstage > 1 ? o->depth * c->crew->nstage : 1;

    *done = 0;
    k = k > w->a->places ? c->crew->nstage : k;
    if (k > w->a->places) {
        return MOTLEY_OK;
    }
    if (o->micros == 0 && start > rows) {
        start = rows > 1 ? (int)rows : 1;
    }
    for (int again = o->recompute > 0; again <= (o->recompute >= 0) && !*done; again++) {
        for (int64_t m = start; !*done; m *= 2) {
            MT_TRY(try_cut(w, c, k, (int)m, again, done));
            if (o->micros > 0 || m >= rows) {
                break;
            }
        }
    }
    c->cut_rows = rows;
    c->n = 0;
    return MOTLEY_OK;
}

/* ---- times ----------------------------------------------------------------------------------- */

/* Few ranks: every replica is a class, and every time is played. */
static int few(const struct work *w)
{
    return w->a->cluster->nrank <= FEW;
}

/* Seconds of the schedule in closed form: all stages once, and the slowest one for each further
 * micro-batch. Near enough for the form of a curve, not for its height. */
static int guess(const struct work *w, const struct class *c, int64_t rows, double *out)
{
    double micro_rows = (double)rows / c->rep.micros, sum = 0, most = 0;
    int held = c->rep.nstage / c->crew->nstage;

    for (int g = 0; g < c->crew->nstage; g++) {
        double mine = 0;

        for (int s = g; s < c->rep.nstage; s += c->crew->nstage) {
            const struct mt_stage *stage = &c->rep.stage[s];
            struct mt_span span;

            MT_TRY(mt_times_get(w->a->times, w->a->cluster->kind[stage->rank[0]], micro_rows,
                                1.0 / stage->nrank, &span));
            for (int k = 0; k < MT_WORKS; k++) {
                double here = span.sum[k][stage->hi] - span.sum[k][stage->lo];

                mine += k == MT_WORK_FWD && stage->recompute ? 2 * here : here;
            }
        }
        sum += mine / held;
        most = fmax(most, mine);
    }
    *out = sum + (c->rep.micros - 1) * most;
    return MOTLEY_OK;
}

/* Seconds of a step of the class with so many samples, without sums of gradients. */
static int measure(const struct work *w, struct class *c, int64_t rows, double *out)
{
    const struct mt_cluster *cl = w->a->cluster;
    struct mt_play *p = NULL;
    double after = 0;

    MT_TRY(mt_play_new(w->a->times, &c->rep, w->o->schedule, rows, &p));
    for (int s = 0; s < c->rep.nstage; s++) {
        const struct mt_stage *g = &c->rep.stage[s];

        for (int k = 0; k < g->nrank; k++) {
            const struct mt_speed *speed = &cl->speed[cl->kind[g->rank[k]]];

            after = fmax(after, speed->step + speed->update * (w->a->params[g->hi] -
                                                               w->a->params[g->lo]) / g->nrank);
        }
    }
    *out = p->seconds + after;
    mt_play_free(p);
    return MOTLEY_OK;
}

/* Puts a point on the curve; the farthest goes if it is full. */
static int add_point(const struct work *w, struct class *c, int64_t rows)
{
    double seconds = 0;
    int at = 0;

    while (at < c->n && c->at[at] < (double)rows) {
        at++;
    }
    if (rows < 1 || (at < c->n && c->at[at] == (double)rows)) {
        return MOTLEY_OK;
    }
    if (c->n == 0 || few(w)) {
        MT_TRY(measure(w, c, rows, &seconds));
    }
    if (!few(w)) {
        double form = 0;

        MT_TRY(guess(w, c, rows, &form));
        c->height = c->n == 0 && form > 0 ? seconds / form : c->height;
        seconds = form * c->height;
    }
    if (c->n == POINTS) {
        if (at == 0) {
            return MOTLEY_OK;
        }
        memmove(c->at, c->at + 1, (POINTS - 1) * sizeof *c->at);
        memmove(c->seconds, c->seconds + 1, (POINTS - 1) * sizeof *c->seconds);
        c->n--;
        at--;
    }
    memmove(c->at + at + 1, c->at + at, (size_t)(c->n - at) * sizeof *c->at);
    memmove(c->seconds + at + 1, c->seconds + at, (size_t)(c->n - at) * sizeof *c->seconds);
    c->at[at] = (double)rows;
    c->seconds[at] = seconds;
    c->n++;
    return MOTLEY_OK;
}

/* Samples that the class does within T. */
static double rows_within(const struct class *c, double T)
{
    int k = 1;
    double slope;

    if (c->n == 0) {
        return 0;
    }
    if (c->n == 1) {
        return c->at[0] * T / c->seconds[0];
    }
    while (k < c->n - 1 && T > c->seconds[k]) {
        k++;
    }
    slope = (c->seconds[k] - c->seconds[k - 1]) / (c->at[k] - c->at[k - 1]);
    return slope > 0 ? fmax(0, c->at[k - 1] + (T - c->seconds[k - 1]) / slope)
                     : c->at[k] * fmax(1, T / c->seconds[k]);
}

static double seconds_of(const struct class *c, double rows)
{
    int k = 1;

    if (c->n == 1) {
        return c->seconds[0] * rows / c->at[0];
    }
    while (k < c->n - 1 && rows > c->at[k]) {
        k++;
    }
    return c->seconds[k - 1] + (c->seconds[k] - c->seconds[k - 1]) * (rows - c->at[k - 1]) /
                                   (c->at[k] - c->at[k - 1]);
}

/* ---- shares ---------------------------------------------------------------------------------- */

static int64_t floor_rows(struct work *w, double T, int set)
{
    int64_t sum = 0;

    for (int k = 0; k < w->nclass; k++) {
        struct class *c = &w->class[k];
        double rows = floor(rows_within(c, T) * (1 + 1e-12));
        int64_t here = rows < (double)w->o->batch ? (int64_t)rows : w->o->batch;

        sum += here * c->count;
        if (set) {
            c->rows = here;
            c->more = 0;
        }
    }
    return sum;
}

static void balance(struct work *w)
{
    double low = 0, high = 1e-9;
    int64_t left;

    while (floor_rows(w, high, 0) < w->o->batch && high < 1e12) {
        high *= 2;
    }
    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;

        if (floor_rows(w, mid, 0) < w->o->batch) {
            low = mid;
        } else {
            high = mid;
        }
    }
    left = w->o->batch - floor_rows(w, low, 1);
    while (left > 0) {
        struct class *best = NULL;
        double first = INFINITY;

        for (int k = 0; k < w->nclass; k++) {
            struct class *c = &w->class[k];
            double then = c->n > 0 ? seconds_of(c, (double)c->rows + 1) : INFINITY;

            if (then < first) {
                first = then;
                best = c;
            }
        }
        if (best == NULL) {
            return;
        }
        best->more++;
        if (best->more == best->count) {
            best->rows++;
            best->more = 0;
        }
        left--;
    }
}

/* Moves samples from the slowest replica to the one that has them done first, as long as that
 * helps, by times that are played. */
static int improve(struct work *w)
{
    for (int64_t step = w->o->batch / 16 > 0 ? w->o->batch / 16 : 1; step >= 1; step /= 2) {
        for (int turn = 0; turn < 8; turn++) {
            struct class *from = NULL, *to = NULL;
            double slow = -1, fast = INFINITY, t;

            for (int k = 0; k < w->nclass; k++) {
                MT_TRY(measure(w, &w->class[k], w->class[k].rows, &t));
                if (w->class[k].rows > 0 && t > slow) {
                    slow = t;
                    from = &w->class[k];
                }
            }
            for (int k = 0; k < w->nclass; k++) {
                if (&w->class[k] == from) {
                    continue;
                }
                MT_TRY(measure(w, &w->class[k], w->class[k].rows + step, &t));
                if (t < fast) {
                    fast = t;
                    to = &w->class[k];
                }
            }
            if (to == NULL || fast >= slow || from->rows < step) {
                break;
            }
            from->rows -= step;
            to->rows += step;
        }
    }
    return MOTLEY_OK;
}

/* *fits: every class has a cut. */
static int settle(struct work *w, int *fits)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < w->nclass; k++) {
            struct class *c = &w->class[k];
            int64_t rows = c->rows + (c->more > 0), apart = llabs(rows - c->cut_rows);

            if (c->rep.nstage == 0 || 10 * apart > rows) {
                MT_TRY(fit(w, c, fits));
                if (!*fits) {
                    return MOTLEY_OK;
                }
            }
            MT_TRY(add_point(w, c, rows));
            MT_TRY(add_point(w, c, round == 0 ? (rows + 1) / 2 : rows + 1));
        }
        balance(w);
    }
    for (int k = 0; k < w->nclass; k++) {   /* what fits must fit with the last shares, too */
        if (w->class[k].rows + (w->class[k].more > 0) > w->class[k].cut_rows) {
            MT_TRY(fit(w, &w->class[k], fits));
            if (!*fits) {
                return MOTLEY_OK;
            }
        }
    }
    return few(w) ? improve(w) : MOTLEY_OK;
}

/* ---- classes --------------------------------------------------------------------------------- */

static int same_crew(const struct mt_cluster *c, const struct mt_crew *a, const struct mt_crew *b)
{
    if (a->nstage != b->nstage || a->tensor != b->tensor) {
        return 0;
    }
    for (int i = 0; i < a->nstage * a->tensor; i++) {
        if (c->kind[a->rank[i]] != c->kind[b->rank[i]]) {
            return 0;
        }
        if (i > 0) {
            struct mt_path p = mt_cluster_path(c, a->rank[i - 1], a->rank[i]);
            struct mt_path q = mt_cluster_path(c, b->rank[i - 1], b->rank[i]);

            if (p.latency != q.latency || p.bandwidth != q.bandwidth) {
                return 0;
            }
        }
    }
    return 1;
}

static int classify(struct work *w)
{
    const struct mt_cluster *cl = w->a->cluster;
    double all = 0;

    for (int i = 0; i < w->team->ncrew; i++) {
        const struct mt_crew *crew = &w->team->crew[i];
        int k = 0;

        while (k < w->nclass && (few(w) || !same_crew(cl, w->class[k].crew, crew))) {
            k++;
        }
        w->of[i] = k;
        w->nclass += k == w->nclass;
        w->class[k].crew = w->class[k].count++ == 0 ? crew : w->class[k].crew;
    }
    for (int k = 0; k < w->nclass; k++) {
        struct class *c = &w->class[k];

        for (int i = 0; i < c->crew->nstage * c->crew->tensor; i++) {
            double rows = fmax(1, (double)w->o->batch / w->team->used), seconds = 0;
            struct mt_span span;

            MT_TRY(mt_times_get(w->a->times, cl->kind[c->crew->rank[i]], floor(rows), 1, &span));
            for (int s = 0; s < MT_WORKS; s++) {
                seconds += span.sum[s][w->a->load->n];
            }
            c->rate += seconds > 0 ? rows / seconds : 1;
        }
        all += c->rate * c->count;
    }
    for (int k = 0; k < w->nclass; k++) {
        w->class[k].rows = (int64_t)ceil((double)w->o->batch * w->class[k].rate / all);
    }
    return MOTLEY_OK;
}

static int lay_out(struct work *w, struct mt_layout **out)
{
    struct mt_layout *l = NULL;
    int st;

    MT_TRY(MT_NEW(w->a->ctx, &l));
    l->ctx = w->a->ctx;
    l->nrank = w->a->cluster->nrank;
    l->schedule = w->o->schedule;
    MT_TRY_OR(fail, MT_NEW_N(l->ctx, w->team->ncrew, &l->replica));
    for (int i = 0; i < w->team->ncrew; i++) {
        struct class *c = &w->class[w->of[i]];
        int64_t rows = c->rows + (c->more-- > 0);

        if (rows > 0 || w->o->use_all) {
            MT_TRY_OR(fail, like(l->ctx, &c->rep, &w->team->crew[i],
                                 &l->replica[l->nreplica++]));
            l->replica[l->nreplica - 1].share = (double)rows;
        }
    }
    *out = l;
    return MOTLEY_OK;
fail:
    mt_layout_free(l);
    return st;
}

int mt_arrange(struct mt_arranger *a, const struct mt_team *team, const struct mt_arrange_opt *o,
               struct mt_layout **out)
{
    struct work w = {.a = a, .o = o, .team = team};
    int st, fits = 1;

    *out = NULL;
    MT_TRY_OR(end, MT_NEW_N(a->ctx, team->ncrew, &w.of));
    MT_TRY_OR(end, MT_NEW_N(a->ctx, team->ncrew, &w.class));
    MT_TRY_OR(end, classify(&w));
    MT_TRY_OR(end, settle(&w, &fits));
    if (fits) {
        MT_TRY_OR(end, lay_out(&w, out));
    }
end:
    for (int k = 0; k < w.nclass; k++) {
        free_replica(a->ctx, &w.class[k].rep);
    }
    mt_free(a->ctx, w.of);
    mt_free(a->ctx, w.class);
    return st;
}

int mt_arranger_new(struct mt_times *times, const char *may, struct mt_arranger **out)
{
    const struct mt_load *l = mt_times_load(times);
    struct mt_arranger *a = NULL;

    MT_TRY(MT_NEW(l->ctx, &a));
    *a = (struct mt_arranger){.ctx = l->ctx, .times = times, .load = l,
                              .cluster = mt_times_cluster(times), .may = may, .places = 1};
    if (MT_NEW_N(l->ctx, l->n + 1, &a->params) < 0) {
        mt_free(l->ctx, a);
        return MOTLEY_EMEM;
    }
    for (int i = 0; i < l->n; i++) {
        a->params[i + 1] = a->params[i] + l->node[i].params;
        a->places += i > 0 && may[i];
    }
    *out = a;
    return MOTLEY_OK;
}

void mt_arranger_free(struct mt_arranger *a)
{
    if (a != NULL) {
        for (int b = 0; b < BUCKETS; b++) {
            while (a->known[b] != NULL) {
                struct known *e = a->known[b];

                a->known[b] = e->next;
                mt_free(a->ctx, e->cut);
                mt_free(a->ctx, e);
            }
        }
        mt_free(a->ctx, a->params);
        mt_free(a->ctx, a);
    }
}
