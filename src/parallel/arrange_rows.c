/* arrange_rows.c -- how many samples each class of replicas takes: its time against its samples, a
 * curve of played points, and the shares that end together; the method is in arrange.c. */
#include "parallel/arrange_impl.h"

#include "parallel/play.h"

#include <math.h>
#include <string.h>

#define FEW 16             /* ranks */

/* ---- times ----------------------------------------------------------------------------------- */

/* Few ranks: every replica is a class, and every time is played. */
int mt_arrange_few(const struct mt_arrange_work *w)
{
    return w->a->cluster->nrank <= FEW;
}

/* Seconds of the schedule in closed form: all stages once, and the slowest one for each further
 * micro-batch. Near enough for the form of a curve, not for its height. */
static int guess(const struct mt_arrange_work *w, const struct mt_arrange_class *c, int64_t rows,
                 double *out)
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
static int measure(const struct mt_arrange_work *w, struct mt_arrange_class *c, int64_t rows,
                   double *out)
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
int mt_arrange_point(const struct mt_arrange_work *w, struct mt_arrange_class *c, int64_t rows)
{
    double seconds = 0;
    int at = 0;

    while (at < c->n && c->at[at] < (double)rows) {
        at++;
    }
    if (rows < 1 || (at < c->n && c->at[at] == (double)rows)) {
        return MOTLEY_OK;
    }
    if (c->n == 0 || mt_arrange_few(w)) {
        MT_TRY(measure(w, c, rows, &seconds));
    }
    if (!mt_arrange_few(w)) {
        double form = 0;

        MT_TRY(guess(w, c, rows, &form));
        c->height = c->n == 0 && form > 0 ? seconds / form : c->height;
        seconds = form * c->height;
    }
    if (c->n == MT_ARRANGE_POINTS) {
        if (at == 0) {
            return MOTLEY_OK;
        }
        memmove(c->at, c->at + 1, (MT_ARRANGE_POINTS - 1) * sizeof *c->at);
        memmove(c->seconds, c->seconds + 1, (MT_ARRANGE_POINTS - 1) * sizeof *c->seconds);
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
static double rows_within(const struct mt_arrange_class *c, double T)
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

static double seconds_of(const struct mt_arrange_class *c, double rows)
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

static int64_t floor_rows(struct mt_arrange_work *w, double T, int set)
{
    int64_t sum = 0;

    for (int k = 0; k < w->nclass; k++) {
        struct mt_arrange_class *c = &w->class[k];
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

void mt_arrange_share(struct mt_arrange_work *w)
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
        struct mt_arrange_class *best = NULL;
        double first = INFINITY;

        for (int k = 0; k < w->nclass; k++) {
            struct mt_arrange_class *c = &w->class[k];
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
int mt_arrange_improve(struct mt_arrange_work *w)
{
    for (int64_t step = w->o->batch / 16 > 0 ? w->o->batch / 16 : 1; step >= 1; step /= 2) {
        for (int turn = 0; turn < 8; turn++) {
            struct mt_arrange_class *from = NULL, *to = NULL;
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
