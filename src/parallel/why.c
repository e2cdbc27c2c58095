/* why.c -- what has been tried, and the reasons that follow from it.
 *
 * Kept are: for each rank the fastest layout that uses it; the fastest layout of another shape than
 * the best; of those that do not fit the one that lacks least. */
#include "parallel/why.h"

#include "base/ctx.h"
#include "base/text.h"
#include "parallel/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SHAPE 400          /* of a shape in words */

struct mt_why {
    struct mt_ctx *ctx;
    const struct mt_cluster *c;
    double *with;          /* by rank: seconds of the fastest layout that uses it */
    char best[SHAPE], second[SHAPE];
    double best_seconds, second_seconds;
    double lack;           /* of the layout that lacks least */
    int misfit;
    char nearest[SHAPE];
};

int mt_why_new(const struct mt_cluster *c, struct mt_why **out)
{
    struct mt_why *w = NULL;

    MT_TRY(MT_NEW(c->ctx, &w));
    w->ctx = c->ctx;
    w->c = c;
    w->best_seconds = w->second_seconds = w->lack = INFINITY;
    if (MT_NEW_N(c->ctx, c->nrank, &w->with) < 0) {
        mt_free(c->ctx, w);
        return MOTLEY_EMEM;
    }
    for (int r = 0; r < c->nrank; r++) {
        w->with[r] = INFINITY;
    }
    *out = w;
    return MOTLEY_OK;
}

void mt_why_free(struct mt_why *w)
{
    if (w != NULL) {
        mt_free(w->ctx, w->with);
        mt_free(w->ctx, w);
    }
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* Whether two replicas read the same in words. */
static int same_words(const struct mt_cluster *c, const struct mt_replica *a,
                      const struct mt_replica *b)
{
    if (a->nstage != b->nstage || a->micros != b->micros) {
        return 0;
    }
    for (int s = 0; s < a->nstage; s++) {
        if (a->stage[s].nrank != b->stage[s].nrank ||
            c->kind[a->stage[s].rank[0]] != c->kind[b->stage[s].rank[0]]) {
            return 0;
        }
    }
    return 1;
}

static void shape_replica(const struct mt_cluster *c, const struct mt_replica *r,
                          struct mt_text *out)
{
    int stride = mt_layout_stride(r);

    if (stride == 1) {
        mt_text_add(out, r->stage[0].nrank == 1 ? "%s" : "%s / %d",
                    c->speed[c->kind[r->stage[0].rank[0]]].name, r->stage[0].nrank);
    }
    for (int s = 0, n = 0; stride > 1 && s < stride; s += n) {
        int kind = c->kind[r->stage[s].rank[0]], part = r->stage[s].nrank;

        for (n = 0; s + n < stride && c->kind[r->stage[s + n].rank[0]] == kind &&
                    r->stage[s + n].nrank == part; n++) {
        }
        mt_text_add(out, "%s%d stage%s of %s", s > 0 ? " + " : "", n, n == 1 ? "" : "s",
                    c->speed[kind].name);
        if (part > 1) {
            mt_text_add(out, " / %d", part);
        }
    }
    if (r->micros > 1) {
        mt_text_add(out, " (%d micro-batches)", r->micros);
    }
}

void mt_why_shape(const struct mt_cluster *c, const struct mt_layout *l, struct mt_text *out)
{
    int deep = 0;

    for (int r = 0; r < l->nreplica; r++) {
        int count = 0, first = 1;

        deep = deep || l->replica[r].nstage > 1;
        for (int k = 0; k < l->nreplica; k++) {
            if (same_words(c, &l->replica[r], &l->replica[k])) {
                first = first && k >= r;
                count++;
            }
            if (!first) {
                break;
            }
        }
        if (first) {
            mt_text_add(out, "%s%d x ", r > 0 ? ", " : "", count);
            shape_replica(c, &l->replica[r], out);
        }
    }
    if (deep) {
        mt_text_add(out, "; %s", mt_schedule_word(l->schedule));
    }
}

static int shape(const struct mt_why *w, const struct mt_layout *l, char *buf)
{
    struct mt_text t;
    char *s = NULL;

    mt_text_init(&t, w->ctx);
    mt_why_shape(w->c, l, &t);
    MT_TRY(mt_text_take(&t, &s));
    snprintf(buf, SHAPE, "%s", s);
    mt_free(w->ctx, s);
    return MOTLEY_OK;
}

/* ---- what was tried -------------------------------------------------------------------------- */

static void note_ranks(struct mt_why *w, const struct mt_layout *l, double seconds)
{
    for (int r = 0; r < l->nreplica; r++) {
        for (int s = 0; s < mt_layout_stride(&l->replica[r]); s++) {
            const struct mt_stage *g = &l->replica[r].stage[s];

            for (int k = 0; k < g->nrank; k++) {
                w->with[g->rank[k]] = fmin(w->with[g->rank[k]], seconds);
            }
        }
    }
}

int mt_why_tried(struct mt_why *w, const struct mt_layout *l, const struct mt_forecast *f)
{
    char words[SHAPE];

    if (f->misfit >= 0) {
        if (f->lack < w->lack) {
            w->lack = f->lack;
            w->misfit = f->misfit;
            MT_TRY(shape(w, l, w->nearest));
        }
        return MOTLEY_OK;
    }
    note_ranks(w, l, f->step);
    if (f->step >= w->second_seconds) {
        return MOTLEY_OK;
    }
    MT_TRY(shape(w, l, words));
    if (f->step < w->best_seconds) {
        if (strcmp(words, w->best) != 0) {
            memcpy(w->second, w->best, SHAPE);
            w->second_seconds = w->best_seconds;
        }
        memcpy(w->best, words, SHAPE);
        w->best_seconds = f->step;
    } else if (strcmp(words, w->best) != 0) {
        memcpy(w->second, words, SHAPE);
        w->second_seconds = f->step;
    }
    return MOTLEY_OK;
}

/* ---- reasons --------------------------------------------------------------------------------- */

static int add_line(struct mt_planned *p, struct mt_text *t)
{
    char *line = NULL;

    MT_TRY(mt_text_take(t, &line));
    if (MT_RESIZE(p->ctx, p->nreason + 1, &p->reason) < 0) {
        mt_free(p->ctx, line);
        return MOTLEY_EMEM;
    }
    p->reason[p->nreason++] = line;
    return MOTLEY_OK;
}

static double percent(double a, double b)
{
    return 100 * (a / b - 1);
}

/* Ranks that are left out, those of a kind together. */
static int left_out(const struct mt_why *w, struct mt_planned *p)
{
    const struct mt_cluster *c = w->c;
    struct mt_text t;

    for (int kind = 0; kind < c->nkind; kind++) {
        int n = 0, first = -1;
        double with = INFINITY;

        for (int r = 0; r < c->nrank; r++) {
            struct mt_seat_in seat;

            if (c->kind[r] != kind) {
                continue;
            }
            mt_layout_where(p->layout, r, &seat);
            if (seat.replica < 0) {
                first = n++ == 0 ? r : first;
                with = fmin(with, w->with[r]);
            }
        }
        if (n == 0) {
            continue;
        }
        mt_text_init(&t, w->ctx);
        mt_text_add(&t, "left out: %d of %s (rank %d%s): ", n, c->speed[kind].name, first,
                    n > 1 ? " and others" : "");
        if (isinf(with)) {
            mt_text_add(&t, "no layout with %s fits its memory or gives it samples",
                        n > 1 ? "them" : "it");
        } else if (with < p->forecast->step * 1.0005) {
            mt_text_add(&t, "no faster with %s", n > 1 ? "any of them" : "it");
        } else {
            mt_text_add(&t, "the fastest layout with %s takes %.1f %% longer",
                        n > 1 ? "one of them" : "it", percent(with, p->forecast->step));
        }
        MT_TRY(add_line(p, &t));
    }
    return MOTLEY_OK;
}

int mt_why_lines(struct mt_why *w, struct mt_planned *p)
{
    struct mt_text t;

    mt_text_init(&t, w->ctx);
    mt_text_add(&t, "fastest of %d layouts: ", p->tried);
    mt_why_shape(w->c, p->layout, &t);
    MT_TRY(add_line(p, &t));
    if (!isinf(w->second_seconds)) {
        mt_text_init(&t, w->ctx);
        mt_text_add(&t, "next: %s: %.1f %% longer", w->second,
                    percent(w->second_seconds, p->forecast->step));
        MT_TRY(add_line(p, &t));
    }
    if (w->c->nrank > 1) {
        mt_text_init(&t, w->ctx);
        if (isinf(p->even)) {
            mt_text_add(&t, "no even grid of all ranks with equal shares fits");
        } else {
            mt_text_add(&t, "the best even grid of all ranks with equal shares takes %.3g s, %.2f "
                        "times as long", p->even, p->even / p->forecast->step);
        }
        MT_TRY(add_line(p, &t));
    }
    return left_out(w, p);
}

int mt_why_nothing(const struct mt_why *w, const struct mt_plan_wish *wish)
{
    (void)wish;
    MT_CHECK(!isinf(w->lack), MOTLEY_ECONFIG,
             "no layout of %d ranks is possible with what is asked for (data, stages, tensor, "
             "schedule) and the memory of the devices; leave more of it to be chosen, or make the "
             "batch smaller", w->c->nrank);
    MT_FAIL(MOTLEY_ECONFIG, "no layout fits the memory of the devices; nearest: %s, where rank %d "
            "(%s) lacks %.3g MiB; make the batch smaller or allow recomputation", w->nearest,
            w->misfit, w->c->speed[w->c->kind[w->misfit]].name, w->lack / (1 << 20));
}
