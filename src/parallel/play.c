/* play.c -- forward and backward of one replica, item by item in the order of the schedule. */
#include "parallel/play.h"

#include "base/ctx.h"

#include <math.h>
#include <string.h>

/* Seconds of one stage for one micro-batch. */
struct cost {
    double fwd, data, param;   /* computing; data: with what is computed again */
    double sum_fwd, sum_back;  /* sums inside divided layers */
    double add;                /* gradients of parameters added to those before */
};

struct game {
    struct mt_times *times;
    const struct mt_replica *r;
    struct mt_play *p;
    struct mt_sched_item *item;   /* of all groups, `count` each */
    int count, *at;
    double *port;                 /* [group][direction]: when its last message is out */
    double *fwd, *back;           /* [stage][micro]: when what it needs is there; NAN: not yet */
    struct cost *cost;            /* [stage][2]: of the smaller, of the larger micro-batches */
    int64_t small;                /* samples of the smaller ones; `larger` of them have one more */
    int larger;
};

/* ---- times of a stage ------------------------------------------------------------------------ */

static struct mt_path worst_path(const struct mt_cluster *c, const struct mt_stage *g)
{
    struct mt_path worst = {0, INFINITY};

    if (c->inner.bandwidth > 0) {
        return c->inner;
    }
    for (int p = 1; p < g->nrank; p++) {
        struct mt_path path = mt_cluster_path(c, g->rank[p - 1], g->rank[p]);

        worst.latency = fmax(worst.latency, path.latency);
        worst.bandwidth = fmin(worst.bandwidth, path.bandwidth);
    }
    return worst;
}

static double widths(const struct mt_stage *g)
{
    double sum = 0;

    for (int p = 0; p < g->nrank; p++) {
        sum += g->width != NULL ? g->width[p] : 1;
    }
    return sum;
}

static double params_of(const struct mt_load *l, const struct mt_stage *g)
{
    double sum = 0;

    for (int i = g->lo; i < g->hi; i++) {
        sum += l->node[i].params;
    }
    return sum;
}

static int stage_cost(struct mt_times *t, const struct mt_stage *g, int64_t rows, struct cost *out,
                      struct mt_play_stage *slowest)
{
    const struct mt_cluster *c = mt_times_cluster(t);
    struct mt_path path = worst_path(c, g);
    double sum = widths(g), most = -1, each;
    struct mt_span s;

    *out = (struct cost){0};
    for (int p = 0; p < g->nrank; p++) {
        double width = (g->width != NULL ? g->width[p] : 1) / sum, fwd, data, param;
        int kind = c->kind[g->rank[p]];

        MT_TRY(mt_times_get(t, kind, (double)rows, width, &s));
        fwd = s.sum[MT_WORK_FWD][g->hi] - s.sum[MT_WORK_FWD][g->lo];
        data = s.sum[MT_WORK_DATA][g->hi] - s.sum[MT_WORK_DATA][g->lo];
        param = s.sum[MT_WORK_PARAM][g->hi] - s.sum[MT_WORK_PARAM][g->lo];
        data += g->recompute ? fwd : 0;
        if (fwd + data + param > most) {
            most = fwd + data + param;
            slowest->kind = kind;
            slowest->width = width;
        }
        out->fwd = fmax(out->fwd, fwd);
        out->data = fmax(out->data, data);
        out->param = fmax(out->param, param);
        if (c->speed[kind].add > 0) {
            out->add = fmax(out->add, c->speed[kind].add * width * params_of(mt_times_load(t), g));
        }
    }
    if (g->nrank > 1 && rows > 0) {
        each = 2.0 * (g->nrank - 1) / g->nrank * (double)rows *
                   (s.part_row[g->hi] - s.part_row[g->lo]) / path.bandwidth +
               2 * path.latency * (s.parts[g->hi] - s.parts[g->lo]);
        out->sum_fwd = each;
        out->sum_back = each + (g->recompute ? each : 0);
    }
    return MOTLEY_OK;
}

/* ---- the game -------------------------------------------------------------------------------- */

static int group_of(const struct game *g, int stage)
{
    return stage % g->p->stride;
}

/* What a message takes of the time of a rank that sends or receives it. */
static double handling(const struct game *g, double row_bytes, int64_t rows)
{
    const struct mt_path *hand = &mt_times_cluster(g->times)->hand;

    return hand->bandwidth > 0 ? hand->latency + row_bytes * (double)rows / hand->bandwidth : 0;
}

/* Messages of an item: what it needs (in) and what it makes (out) cross a cut to other ranks. */
static double handled(const struct game *g, const struct mt_sched_item *i, int out)
{
    const struct mt_load *l = mt_times_load(g->times);
    int64_t rows = g->small + (i->micro < g->larger);
    int forward = i->work == MT_SCHED_FWD, front = forward != out;   /* the cut in front of it */
    int other = i->stage + (front ? -1 : 1);

    if (i->work == MT_SCHED_PARAM || other < 0 || other == g->p->nstage ||
        other % g->p->stride == i->stage % g->p->stride) {
        return 0;
    }
    return handling(g, l->node[g->r->stage[front ? i->stage : other].lo].cut_row, rows);
}

/* When a message from one stage's ranks to another's, sent at `now`, is there. */
static double arrival(struct game *g, int from, int to, int direction, double row_bytes,
                      int64_t rows, double now)
{
    const struct mt_stage *a = &g->r->stage[from], *b = &g->r->stage[to];
    double *port = &g->port[2 * group_of(g, from) + direction], out = 0, late = 0;

    if (group_of(g, from) == group_of(g, to)) {
        return now;
    }
    for (int k = 0; k < a->nrank || k < b->nrank; k++) {
        struct mt_path path = mt_cluster_path(mt_times_cluster(g->times), a->rank[k % a->nrank],
                                              b->rank[k % b->nrank]);

        out = fmax(out, row_bytes * (double)rows / path.bandwidth);
        late = fmax(late, path.latency);
    }
    *port = fmax(*port, now) + out;
    return *port + late;
}

/* What an item needs is there since; NAN: not yet. */
static double ready(const struct game *g, const struct mt_sched_item *i)
{
    int m = g->p->micros;

    switch (i->work) {
    case MT_SCHED_FWD:
        return g->fwd[i->stage * m + i->micro];
    case MT_SCHED_PARAM:
        return 0;   /* behind its data gradient on the same rank */
    default:
        return g->back[i->stage * m + i->micro];
    }
}

static void finish(struct game *g, const struct mt_sched_item *i, double end, double seconds)
{
    const struct mt_load *l = mt_times_load(g->times);
    int m = g->p->micros, last = g->p->nstage - 1;
    int64_t rows = g->small + (i->micro < g->larger);

    if (i->work == MT_SCHED_FWD) {
        if (i->stage < last) {
            g->fwd[(i->stage + 1) * m + i->micro] =
                arrival(g, i->stage, i->stage + 1, 0, l->node[g->r->stage[i->stage].hi].cut_row,
                        rows, end);
        } else {
            g->back[last * m + i->micro] = end;
        }
        return;
    }
    if (i->work != MT_SCHED_PARAM && i->stage > 0) {
        g->back[(i->stage - 1) * m + i->micro] =
            arrival(g, i->stage, i->stage - 1, 1, l->node[g->r->stage[i->stage].lo].cut_row, rows,
                    end);
    }
    if (i->work != MT_SCHED_DATA && i->micro == m - 1) {
        g->p->stage[i->stage].end = end;
        g->p->stage[i->stage].seconds = seconds;
    }
}

/* Takes all items of a group that can be taken; how many that were. */
static int advance(struct game *g, int group)
{
    struct mt_play_group *w = &g->p->group[group];
    int taken = 0;

    while (g->at[group] < g->count) {
        const struct mt_sched_item *i = &g->item[group * g->count + g->at[group]];
        const struct cost *c = &g->cost[2 * i->stage + (i->micro < g->larger)];
        double from = ready(g, i), busy, sums = 0, hand;

        if (isnan(from)) {
            break;
        }
        switch (i->work) {
        case MT_SCHED_FWD:
            busy = c->fwd;
            sums = c->sum_fwd;
            break;
        case MT_SCHED_PARAM:
            busy = c->param;
            break;
        case MT_SCHED_DATA:
            busy = c->data;
            sums = c->sum_back;
            break;
        default:
            busy = c->data + c->param;
            sums = c->sum_back;
        }
        busy += i->micro > 0 && (i->work == MT_SCHED_PARAM || i->work == MT_SCHED_BWD) ? c->add : 0;
        hand = handled(g, i, 0) + handled(g, i, 1);
        w->free = fmax(w->free, from) + busy + sums + hand;
        w->busy += busy;
        w->sums += sums;
        w->other += hand;
        finish(g, i, w->free, busy + sums);
        g->at[group]++;
        taken++;
    }
    return taken;
}

static int run(struct game *g)
{
    const struct mt_cluster *c = mt_times_cluster(g->times);
    struct mt_play *p = g->p;
    int taken = 1, left = g->count * p->stride;

    for (int k = 0; k < p->nstage * p->micros; k++) {
        g->fwd[k] = k < p->micros ? 0 : NAN;
        g->back[k] = NAN;
    }
    for (int k = 0; k < g->r->stage[0].nrank; k++) {
        int kind = c->kind[g->r->stage[0].rank[k]];

        p->group[0].free = fmax(p->group[0].free,
                                mt_curve_at(&c->speed[kind].read, (double)p->rows));
    }
    p->group[0].other = p->group[0].free;
    while (taken > 0) {
        taken = 0;
        for (int group = 0; group < p->stride; group++) {
            taken += advance(g, group);
        }
        left -= taken;
    }
    MT_BUG_IF(left > 0);
    for (int group = 0; group < p->stride; group++) {
        p->seconds = fmax(p->seconds, p->group[group].free);
    }
    return MOTLEY_OK;
}

static int prepare(struct game *g, enum mt_schedule schedule)
{
    struct mt_play *p = g->p;
    struct mt_ctx *ctx = p->ctx;
    struct mt_sched_rank at = {p->nstage, 0, p->stride, p->micros};

    MT_TRY(MT_NEW_N(ctx, p->nstage, &p->stage));
    MT_TRY(MT_NEW_N(ctx, p->stride, &p->group));
    g->count = mt_schedule_count(schedule, &at);
    MT_TRY(MT_NEW_N(ctx, g->count * p->stride, &g->item));
    MT_TRY(MT_NEW_N(ctx, p->stride, &g->at));
    MT_TRY(MT_NEW_N(ctx, 2 * p->stride, &g->port));
    MT_TRY(MT_NEW_N(ctx, p->nstage * p->micros, &g->fwd));
    MT_TRY(MT_NEW_N(ctx, p->nstage * p->micros, &g->back));
    MT_TRY(MT_NEW_N(ctx, 2 * p->nstage, &g->cost));
    for (int s = 0; s < p->nstage; s++) {
        for (int k = 0; k < (g->larger > 0 ? 2 : 1); k++) {
            MT_TRY(stage_cost(g->times, &g->r->stage[s], g->small + k, &g->cost[2 * s + k],
                              &p->stage[s]));
        }
    }
    MT_TRY(mt_schedule_all(ctx, schedule, &at, g->item));
    for (int s = 0; s < p->nstage; s++) {
        p->stage[s].alive = mt_schedule_alive(g->item + group_of(g, s) * g->count, g->count, s);
    }
    return MOTLEY_OK;
}

int mt_play_new(struct mt_times *t, const struct mt_replica *r, enum mt_schedule schedule,
                int64_t rows, struct mt_play **out)
{
    struct mt_ctx *ctx = mt_times_load(t)->ctx;
    struct mt_play *p = NULL;
    struct game g = {.times = t, .r = r, .small = rows / r->micros,
                     .larger = (int)(rows % r->micros)};
    int st;

    MT_TRY(MT_NEW(ctx, &p));
    p->ctx = ctx;
    p->rows = rows;
    p->nstage = r->nstage;
    p->stride = mt_layout_stride(r);
    p->micros = r->micros;
    p->micro_rows = (double)(g.small + (g.larger > 0));
    g.p = p;
    MT_TRY_OR(fail, prepare(&g, schedule));
    MT_TRY_OR(fail, run(&g));
fail:
    mt_free(ctx, g.item);
    mt_free(ctx, g.at);
    mt_free(ctx, g.port);
    mt_free(ctx, g.fwd);
    mt_free(ctx, g.back);
    mt_free(ctx, g.cost);
    if (st < 0) {
        mt_play_free(p);
        return st;
    }
    *out = p;
    return MOTLEY_OK;
}

void mt_play_free(struct mt_play *p)
{
    if (p != NULL) {
        mt_free(p->ctx, p->stage);
        mt_free(p->ctx, p->group);
        mt_free(p->ctx, p);
    }
}

/* ---- replicas that are alike ----------------------------------------------------------------- */

static int same_path(const struct mt_cluster *c, int a0, int a1, int b0, int b1)
{
    struct mt_path a = mt_cluster_path(c, a0, a1), b = mt_cluster_path(c, b0, b1);

    return a.latency == b.latency && a.bandwidth == b.bandwidth;
}

int mt_play_alike(const struct mt_cluster *c, const struct mt_replica *a,
                  const struct mt_replica *b)
{
    if (a->nstage != b->nstage || a->micros != b->micros) {
        return 0;
    }
    for (int s = 0; s < a->nstage; s++) {
        const struct mt_stage *f = &a->stage[s], *g = &b->stage[s];

        if (f->lo != g->lo || f->hi != g->hi || f->nrank != g->nrank ||
            f->recompute != g->recompute) {
            return 0;
        }
        for (int p = 0; p < f->nrank; p++) {
            double wf = f->width != NULL ? f->width[p] : 1, wg = g->width != NULL ? g->width[p] : 1;

            if (c->kind[f->rank[p]] != c->kind[g->rank[p]] || wf != wg ||
                (p > 0 && !same_path(c, f->rank[p - 1], f->rank[p], g->rank[p - 1], g->rank[p]))) {
                return 0;
            }
        }
        for (int p = 0; s > 0 && (p < f->nrank || p < f[-1].nrank); p++) {
            if (!same_path(c, f[-1].rank[p % f[-1].nrank], f->rank[p % f->nrank],
                           g[-1].rank[p % g[-1].nrank], g->rank[p % g->nrank])) {
                return 0;
            }
        }
    }
    return 1;
}
