/* arrange.c -- from groups of ranks to a layout.
 *
 * Replicas that are alike (same devices, same paths) are one class. The time of a class against its
 * samples is a curve of played points. Shares: the lowest T for which the samples that all can do
 * within T add up to the batch, by bisection, exact for curves that do not fall; what whole numbers
 * leave over goes, one by one, where it ends first. Then the cuts are made again for those shares,
 * and the curves get a point there, so what is wrong between points vanishes where it counts. */
#include "parallel/arrange_impl.h"

#include "base/ctx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 3

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

/* ---- shares and cuts ------------------------------------------------------------------------ */

/* *fits: every class has a cut. */
static int settle(struct mt_arrange_work *w, int *fits)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < w->nclass; k++) {
            struct mt_arrange_class *c = &w->class[k];
            int64_t rows = c->rows + (c->more > 0), apart = llabs(rows - c->cut_rows);

            if (c->rep.nstage == 0 || 10 * apart > rows) {
                MT_TRY(mt_arrange_cut(w, c, fits));
                if (!*fits) {
                    return MOTLEY_OK;
                }
            }
            MT_TRY(mt_arrange_point(w, c, rows));
            MT_TRY(mt_arrange_point(w, c, round == 0 ? (rows + 1) / 2 : rows + 1));
        }
        mt_arrange_share(w);
    }
    for (int k = 0; k < w->nclass; k++) {   /* what fits must fit with the last shares, too */
        if (w->class[k].rows + (w->class[k].more > 0) > w->class[k].cut_rows) {
            MT_TRY(mt_arrange_cut(w, &w->class[k], fits));
            if (!*fits) {
                return MOTLEY_OK;
            }
        }
    }
    return mt_arrange_few(w) ? mt_arrange_improve(w) : MOTLEY_OK;
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

static int classify(struct mt_arrange_work *w)
{
    const struct mt_cluster *cl = w->a->cluster;
    double all = 0;

    for (int i = 0; i < w->team->ncrew; i++) {
        const struct mt_crew *crew = &w->team->crew[i];
        int k = 0;

        while (k < w->nclass && (mt_arrange_few(w) || !same_crew(cl, w->class[k].crew, crew))) {
            k++;
        }
        w->of[i] = k;
        w->nclass += k == w->nclass;
        w->class[k].crew = w->class[k].count++ == 0 ? crew : w->class[k].crew;
    }
    for (int k = 0; k < w->nclass; k++) {
        struct mt_arrange_class *c = &w->class[k];

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

static int lay_out(struct mt_arrange_work *w, struct mt_layout **out)
{
    struct mt_layout *l = NULL;
    int st;

    MT_TRY(MT_NEW(w->a->ctx, &l));
    l->ctx = w->a->ctx;
    l->nrank = w->a->cluster->nrank;
    l->schedule = w->o->schedule;
    MT_TRY_OR(fail, MT_NEW_N(l->ctx, w->team->ncrew, &l->replica));
    for (int i = 0; i < w->team->ncrew; i++) {
        struct mt_arrange_class *c = &w->class[w->of[i]];
        int64_t rows = c->rows + (c->more-- > 0);

        if (rows > 0 || w->o->use_all) {
            MT_TRY_OR(fail, mt_arrange_like(l->ctx, &c->rep, &w->team->crew[i],
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
    struct mt_arrange_work w = {.a = a, .o = o, .team = team};
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
        mt_arrange_free_replica(a->ctx, &w.class[k].rep);
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
        for (int b = 0; b < MT_ARRANGE_BUCKETS; b++) {
            while (a->known[b] != NULL) {
                struct mt_arrange_known *e = a->known[b];

                a->known[b] = e->next;
                mt_free(a->ctx, e->cut);
                mt_free(a->ctx, e);
            }
        }
        mt_free(a->ctx, a->params);
        mt_free(a->ctx, a);
    }
}
