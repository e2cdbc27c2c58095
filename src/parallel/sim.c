/* sim.c -- a step of a layout: replicas played, gradients reduced, memory added up.
 *
 * Reduction follows docs/parallel.md: of the N ranks that hold a layer each owns one part of its
 * gradients, gets that part from all others and sends the sum to all, 2 (N - 1) / N of the bytes
 * out of each rank. Gradients travel in pieces of some layers, at most PIECES of what the same
 * ranks hold; more of them would change the time after the last backward little. */
#include "parallel/sim.h"

#include "base/ctx.h"
#include "parallel/par.h"
#include "parallel/play.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PIECES 8
#define PIECE_BYTES (1 << 20)   /* the smallest: the default of parallel.bucket_bytes */

/* Nodes [lo, hi) whose gradients travel together. */
struct piece {
    int lo, hi;
    double ready, seconds;      /* all holders have it; of its sum */
    double params;
};

struct sim {
    struct mt_ctx *ctx;
    struct mt_times *times;
    const struct mt_load *load;
    const struct mt_cluster *cluster;
    const struct mt_layout *l;
    struct mt_forecast *f;
    struct mt_play **play;      /* by replica; owned by the first of those that are alike */
    int *twin;                  /* by replica: that first one */
    int npiece, roompiece;
    struct piece *piece;
    double *free;               /* by rank: when its messages are through */
    double *done;               /* by rank: when its last update is done */
    double *update;             /* by rank: seconds of its updates */
    double params;              /* of the network */
    int64_t batch;
    int *count;                 /* by host: holders there, while a piece is looked at */
};

/* ---- replicas -------------------------------------------------------------------------------- */

static int play_all(struct sim *s, int64_t batch)
{
    int n = s->l->nreplica, st;
    double *weight = NULL;
    int64_t *rows = NULL;

    MT_TRY_OR(end, MT_NEW_N(s->ctx, n, &weight));
    MT_TRY_OR(end, MT_NEW_N(s->ctx, n, &rows));
    for (int r = 0; r < n; r++) {
        weight[r] = s->l->replica[r].share;
    }
    mt_share_counts(batch, weight, n, rows);
    for (int r = 0; r < n; r++) {
        s->twin[r] = 0;
        while (s->twin[r] < r &&
               (s->twin[s->twin[r]] != s->twin[r] || rows[s->twin[r]] != rows[r] ||
                !mt_play_alike(s->cluster, &s->l->replica[s->twin[r]], &s->l->replica[r]))) {
            s->twin[r]++;
        }
        if (s->twin[r] == r) {
            MT_TRY_OR(end, mt_play_new(s->times, &s->l->replica[r], s->l->schedule, rows[r],
                                       &s->play[r]));
        } else {
            s->play[r] = s->play[s->twin[r]];
        }
        s->f->replica[r].rows = rows[r];
        s->f->replica[r].seconds = s->play[r]->seconds;
    }
end:
    mt_free(s->ctx, weight);
    mt_free(s->ctx, rows);
    return st;
}

/* Idle time of groups until the end of backward of their replica, and what each rank does. */
static void add_play(struct sim *s)
{
    double idle = 0, all = 0;

    for (int r = 0; r < s->l->nreplica; r++) {
        const struct mt_replica *rep = &s->l->replica[r];
        const struct mt_play *p = s->play[r];

        for (int g = 0; g < p->stride; g++) {
            const struct mt_play_group *w = &p->group[g];
            const struct mt_stage *stage = &rep->stage[g];

            idle += stage->nrank * (p->seconds - w->busy - w->sums - w->other);
            all += stage->nrank * p->seconds;
            s->f->sums = fmax(s->f->sums, w->sums);
            for (int k = 0; k < stage->nrank; k++) {
                s->f->rank[stage->rank[k]].busy = w->busy;
                s->done[stage->rank[k]] = w->free;
            }
        }
    }
    s->f->bubble = all > 0 ? fmax(0, idle / all) : 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static double width_of(const struct mt_stage *g, int part)
{
    double sum = 0;

    for (int p = 0; p < g->nrank; p++) {
        sum += g->width != NULL ? g->width[p] : 1;
    }
    return (g->width != NULL ? g->width[part] : 1) / sum;
}

static void check_memory(struct sim *s, int rank, double largest)
{
    const struct mt_speed *speed = &s->cluster->speed[s->cluster->kind[rank]];
    double lack = speed->memory_bytes > 0 ? s->f->rank[rank].memory - speed->memory_bytes : 0;

    if (speed->max_alloc_bytes > 0) {
        lack = fmax(lack, largest - speed->max_alloc_bytes);
    }
    if (lack > s->f->lack) {
        s->f->lack = lack;
        s->f->misfit = rank;
    }
}

static void add_memory(struct sim *s)
{
    const struct mt_memory_sums *m = mt_times_memory(s->times);

    for (int r = 0; r < s->l->nreplica; r++) {
        const struct mt_replica *rep = &s->l->replica[r];
        const struct mt_play *p = s->play[r];

        for (int g = 0; g < p->stride; g++) {
            for (int k = 0; k < rep->stage[g].nrank; k++) {
                int rank = rep->stage[g].rank[k];
                double largest = 0;

                for (int st = g; st < p->nstage; st += p->stride) {
                    struct mt_stage_use use = {
                        rep->stage[st].lo, rep->stage[st].hi, st == 0, st == p->nstage - 1,
                        width_of(&rep->stage[st], k), p->micro_rows, (double)p->rows,
                        p->stage[st].alive, rep->stage[st].recompute};

                    largest += mt_memory_add(m, &use, &s->f->rank[rank]);
                }
                check_memory(s, rank, largest);
            }
        }
    }
}

/* ---- reduction ------------------------------------------------------------------------------- */

static const struct mt_stage *stage_with(const struct mt_replica *r, int node, int *number)
{
    int s = 0;

    while (r->stage[s].hi <= node) {
        s++;
    }
    *number = s;
    return &r->stage[s];
}

/* When the gradients of node i and all behind it are complete in one stage: its last backward goes
 * through its nodes from the last to the first. */
static int complete(struct sim *s, const struct mt_play_stage *p, const struct mt_stage *g,
                    double rows, int i, double *out)
{
    struct mt_span span;
    double part, whole;

    MT_TRY(mt_times_get(s->times, p->kind, rows, p->width, &span));
    part = span.sum[MT_WORK_DATA][i] + span.sum[MT_WORK_PARAM][i] -
           span.sum[MT_WORK_DATA][g->lo] - span.sum[MT_WORK_PARAM][g->lo];
    whole = span.sum[MT_WORK_DATA][g->hi] + span.sum[MT_WORK_PARAM][g->hi] -
            span.sum[MT_WORK_DATA][g->lo] - span.sum[MT_WORK_PARAM][g->lo];
    *out = p->end - (whole > 0 ? p->seconds * part / whole : 0);
    return MOTLEY_OK;
}

/* Seconds a parameter, and latency, of a sum among the holders of a node: the slowest of them sends
 * 1 / N of it to each other one, twice. Counts holders by host. */
static void sum_speed(struct sim *s, int node, double *each, double *latency)
{
    const struct mt_cluster *c = s->cluster;
    int n = s->l->nreplica, number, one_host = 0;
    double per_byte = 0;

    memset(s->count, 0, (size_t)c->nhost * sizeof *s->count);
    for (int r = 0; r < n; r++) {
        s->count[c->host[stage_with(&s->l->replica[r], node, &number)->rank[0]]]++;
    }
    *latency = 0;
    for (int a = 0; a < c->nhost; a++) {
        double mine = 0, late = 0;

        one_host |= s->count[a] == n;
        if (s->count[a] == 0) {
            continue;
        }
        if (s->count[a] > 1) {
            mine = (s->count[a] - 1) / c->local.bandwidth;
            late = c->local.latency;
        }
        if (c->between == NULL && s->count[a] < n) {
            mine += (n - s->count[a]) / c->remote.bandwidth;
            late = fmax(late, c->remote.latency);
        }
        for (int b = 0; c->between != NULL && b < c->nhost; b++) {
            const struct mt_path *path = &c->between[(size_t)a * (size_t)c->nhost + (size_t)b];

            if (b != a && s->count[b] > 0) {
                mine += s->count[b] / path->bandwidth;
                late = fmax(late, path->latency);
            }
        }
        per_byte = fmax(per_byte, 2 * mine / n);
        *latency = fmax(*latency, 2 * late);
    }
    *each = mt_load_sum_bytes(s->load, one_host) * per_byte;
}

/* What was measured for all parameters, over all ranks, at as many samples a replica as here; for
 * this part of them. */
static double measured(const struct sim *s, double params)
{
    const struct mt_curve *c = &s->cluster->sums;
    double n = s->l->nreplica, all = s->cluster->nrank, rows = (double)s->batch / n;

    rows = fmin(fmax(rows, c->rows[0]), c->rows[c->n - 1]);
    return mt_curve_at(c, rows) * params / s->params *
           ((n - 1) / n) / ((all - 1) / all);
}

/* One piece: nodes [lo, hi), of which every replica has all in one stage. */
static int add_piece(struct sim *s, int lo, int hi, double params, double each, double latency)
{
    struct piece *p;
    double width = 0;

    if (s->npiece == s->roompiece) {
        MT_TRY(MT_RESIZE(s->ctx, 2 * s->roompiece + 64, &s->piece));
        s->roompiece = 2 * s->roompiece + 64;
    }
    p = &s->piece[s->npiece++];
    *p = (struct piece){.lo = lo, .hi = hi, .params = params};
    for (int r = 0; r < s->l->nreplica; r++) {
        int number;
        const struct mt_stage *g = stage_with(&s->l->replica[r], lo, &number);
        double ready = 0;

        MT_TRY(complete(s, &s->play[r]->stage[number], g, s->play[r]->micro_rows, lo, &ready));
        p->ready = fmax(p->ready, ready);
        for (int k = 0; k < g->nrank; k++) {
            width = fmax(width, width_of(g, k));
        }
    }
    p->seconds = s->l->nreplica < 2          ? 0
                 : s->cluster->sums.n > 0 ? measured(s, params * width)
                                          : latency + params * width * each;
    return MOTLEY_OK;
}

/* Pieces of nodes [lo, hi), which the same ranks hold, from the last node to the first. */
static int add_segment(struct sim *s, int lo, int hi)
{
    double all = 0, most, have = 0, each = 0, latency = 0;
    int end = hi;

    for (int i = lo; i < hi; i++) {
        all += s->load->node[i].params;
    }
    if (all <= 0) {
        return MOTLEY_OK;
    }
    if (s->l->nreplica > 1) {
        sum_speed(s, lo, &each, &latency);
    }
    /* What was measured says what comes on top, hidden or not. */
    most = s->cluster->sums.n > 0 ? all : fmax(all / PIECES, PIECE_BYTES / 4.0);
    for (int i = hi - 1; i >= lo; i--) {
        have += s->load->node[i].params;
        if (have > 0 && (have >= most || i == lo)) {
            MT_TRY(add_piece(s, i, end, have, each, latency));
            end = i;
            have = 0;
        }
    }
    return MOTLEY_OK;
}

static int by_ready(const void *a, const void *b)
{
    const struct piece *p = a, *q = b;

    return p->ready != q->ready ? (p->ready > q->ready) - (p->ready < q->ready) : q->lo - p->lo;
}

/* Sums one after the other on each rank, and the update of what was summed, in the same order. */
static void reduce(struct sim *s, const struct piece *p)
{
    double from = p->ready, end;

    for (int r = 0; r < s->l->nreplica; r++) {
        int number;
        const struct mt_stage *g = stage_with(&s->l->replica[r], p->lo, &number);

        for (int k = 0; k < g->nrank; k++) {
            from = fmax(from, s->free[g->rank[k]]);
        }
    }
    end = from + p->seconds;
    for (int r = 0; r < s->l->nreplica; r++) {
        int number;
        const struct mt_stage *g = stage_with(&s->l->replica[r], p->lo, &number);

        for (int k = 0; k < g->nrank; k++) {
            int rank = g->rank[k];
            double update = p->params * width_of(g, k) *
                            s->cluster->speed[s->cluster->kind[rank]].update;

            s->free[rank] = end;
            s->done[rank] = fmax(s->done[rank], end) + update;
            s->update[rank] += update;
        }
    }
}

static int add_reduction(struct sim *s)
{
    char *starts = NULL;
    int st, hi = s->load->n;
    double back = 0;

    MT_TRY_OR(end, MT_NEW_N(s->ctx, s->load->n + 1, &starts));
    for (int r = 0; r < s->l->nreplica; r++) {
        for (int k = 0; k < s->l->replica[r].nstage; k++) {
            starts[s->l->replica[r].stage[k].lo] = 1;
        }
        back = fmax(back, s->play[r]->seconds);
    }
    for (int i = 0; i < s->load->n; i++) {
        s->params += s->load->node[i].params;
    }
    for (int i = s->load->n - 1; i >= 0; i--) {
        if (starts[i]) {
            MT_TRY_OR(end, add_segment(s, i, hi));
            hi = i;
        }
    }
    if (s->npiece > 0) {
        qsort(s->piece, (size_t)s->npiece, sizeof *s->piece, by_ready);
    }
    for (int i = 0; i < s->npiece; i++) {
        reduce(s, &s->piece[i]);
    }
    for (int r = 0; r < s->l->nrank; r++) {
        double all = s->done[r] + s->cluster->speed[s->cluster->kind[r]].step;

        if (s->done[r] > 0 && all > s->f->step) {
            s->f->step = all;
            s->f->exposed = s->done[r] - s->update[r] - back;
            if (s->f->exposed < 1e-9 * all) {   /* nothing, but for rounding */
                s->f->exposed = 0;
            }
        }
    }
end:
    mt_free(s->ctx, starts);
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------- */

void mt_forecast_free(struct mt_forecast *f)
{
    if (f != NULL) {
        mt_free(f->ctx, f->rank);
        mt_free(f->ctx, f->replica);
        mt_free(f->ctx, f);
    }
}

static int room(struct sim *s)
{
    MT_TRY(MT_NEW(s->ctx, &s->f));
    s->f->ctx = s->ctx;
    s->f->misfit = -1;
    s->f->nrank = s->l->nrank;
    s->f->nreplica = s->l->nreplica;
    MT_TRY(MT_NEW_N(s->ctx, s->l->nrank, &s->f->rank));
    MT_TRY(MT_NEW_N(s->ctx, s->l->nreplica, &s->f->replica));
    MT_TRY(MT_NEW_N(s->ctx, s->l->nreplica, &s->play));
    MT_TRY(MT_NEW_N(s->ctx, s->l->nreplica, &s->twin));
    MT_TRY(MT_NEW_N(s->ctx, s->l->nrank, &s->free));
    MT_TRY(MT_NEW_N(s->ctx, s->l->nrank, &s->done));
    MT_TRY(MT_NEW_N(s->ctx, s->l->nrank, &s->update));
    MT_TRY(MT_NEW_N(s->ctx, s->cluster->nhost, &s->count));
    return MOTLEY_OK;
}

int mt_sim_run(struct mt_times *t, const struct mt_layout *l, int64_t batch,
               struct mt_forecast **out)
{
    struct sim s = {.ctx = l->ctx, .times = t, .load = mt_times_load(t),
                    .cluster = mt_times_cluster(t), .l = l, .batch = batch};
    int st;

    MT_CHECK(l->nrank == s.cluster->nrank, MOTLEY_ECONFIG,
             "the layout is for %d ranks, the cluster has %d", l->nrank, s.cluster->nrank);
    MT_TRY_OR(fail, room(&s));
    MT_TRY_OR(fail, play_all(&s, batch));
    add_play(&s);
    add_memory(&s);
    MT_TRY_OR(fail, add_reduction(&s));
    s.f->rate = s.f->step > 0 ? (double)batch / s.f->step : 0;
fail:
    for (int r = 0; s.play != NULL && r < l->nreplica; r++) {
        if (s.twin != NULL && s.twin[r] == r) {
            mt_play_free(s.play[r]);
        }
    }
    mt_free(s.ctx, s.play);
    mt_free(s.ctx, s.twin);
    mt_free(s.ctx, s.piece);
    mt_free(s.ctx, s.free);
    mt_free(s.ctx, s.done);
    mt_free(s.ctx, s.update);
    mt_free(s.ctx, s.count);
    if (st < 0) {
        mt_forecast_free(s.f);
        return st;
    }
    *out = s.f;
    return MOTLEY_OK;
}
