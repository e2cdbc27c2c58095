/* arrange_cut.c -- how the layers of a class of replicas are cut into stages, and for how many
 * micro-batches; cuts that were made are kept. */
#include "parallel/arrange_impl.h"

#include "base/ctx.h"
#include "parallel/cut.h"

#include <math.h>
#include <string.h>

/* ---- a replica of a crew --------------------------------------------------------------------- */

void mt_arrange_free_replica(struct mt_ctx *ctx, struct mt_replica *r)
{
    for (int s = 0; s < r->nstage; s++) {
        mt_free(ctx, r->stage[s].rank);
    }
    mt_free(ctx, r->stage);
    *r = (struct mt_replica){0};
}

/* A replica like `from` (its cut and micro-batches) on the ranks of another crew. */
int mt_arrange_like(struct mt_ctx *ctx, const struct mt_replica *from, const struct mt_crew *crew,
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

static int fill_stage(const struct mt_arrange_work *w, const struct mt_crew *crew, int s,
                      int micros, struct cut_arg *c)
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
static uint64_t key_of(const struct mt_arrange_work *w, const struct mt_arrange_class *c, int k,
                       int micros, int recompute, double micro_rows)
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
static int find_cut(const struct mt_arrange_work *w, const struct mt_arrange_class *c,
                    struct cut_arg *arg, int micros, const int **out)
{
    struct mt_arranger *a = w->a;
    uint64_t key = key_of(w, c, arg->k, micros, arg->recompute, arg->micro_rows);
    struct mt_arrange_known **at = &a->known[key % MT_ARRANGE_BUCKETS], *e = NULL;
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
    *e = (struct mt_arrange_known){key, arg->k, cut, *at};
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
static int try_cut(const struct mt_arrange_work *w, struct mt_arrange_class *c, int k, int micros,
                   int recompute, int *done)
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
        mt_arrange_free_replica(a->ctx, &c->rep);
        st = mt_arrange_like(a->ctx, &rep, c->crew, &c->rep);
        *done = st == MOTLEY_OK;
    }
end:
    mt_free(a->ctx, rep.stage);
    mt_free(a->ctx, arg.stage);
    return st;
}

/* Micro-batches and cut for the class's rows: the wished number, or more until it fits, then with
 * recomputation. */
int mt_arrange_cut(const struct mt_arrange_work *w, struct mt_arrange_class *c, int *done)
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
