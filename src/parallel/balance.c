/* balance.c -- shares that follow measured speed.
 *
 * A step of replica i takes  t_i = b_i (f_i + r_i)  for r_i rows. Rows are given such that the
 * longest t_i is shortest:
 *
 *     r_i(T) = T / b_i - f_i, kept within [least_i, most_i];   T with  sum r_i(T) = batch
 *
 * by bisection, then whole rows: all rounded down, the rest one by one to whoever is done first
 * with one more.
 *
 * f_i (update, launches, host) is not known at first and taken as 0, which makes the step towards
 * the answer too short, never too long: it is left out of what a share is made for. Two points
 * with different rows, those before and after a move, give it. It is kept in rows, so that a
 * device that becomes slower as a whole keeps it.
 *
 * Against noise: the times that count are the smaller ones of two looks, so a replica is slow only
 * if it was slow in both; and shares move when the time lost by not moving has reached the cost
 * of a move, twice that after a move that soon took back what the one before had done, and so on
 * (nobody can know whether a disturbance lasts; whoever waits until waiting has cost as much as
 * moving loses at most twice what would have been best: A. Karlin et al., Competitive snoopy
 * caching, 1988).
 *
 * A replica that has samples keeps at least one, or nothing would be measured of it any more. */
#include "parallel/balance.h"

#include "base/ctx.h"

#include <math.h>
#include <string.h>

#define FACTOR   4      /* of a share in one move, up and down: it was measured elsewhere */
#define APART    1.3    /* rows of two points that give the fixed part, at least */
#define MOST_FIX 0.7    /* the fixed part of a time, at most: beyond it noise decides */
#define SOON     20     /* looks: a move back so soon after another doubles the patience */
#define PATIENCE 64.0

struct replica {
    double last;          /* seconds of the look before; 0: none since the last move */
    double fixed;         /* rows */
    double rows0, time0;  /* the point before the last move; time0 0: none */
    double way;           /* rows that it got in the last move */
};

struct mt_balance {
    struct mt_ctx *ctx;
    int n;
    int64_t batch;
    double gain;
    struct replica *of;
    struct mt_rate *rate;
    double *time;         /* of this look: what counts */
    int64_t *to;
    double before, after;
    double lost;          /* seconds, since shares should have moved */
    double patience;      /* costs of a move that are lost first */
    int64_t looks;        /* since the last move, or since patience was changed */
    int settling;         /* no look since the last move */
    int back;             /* the move that is asked for takes back the one before */
};

int mt_balance_new(struct mt_ctx *ctx, int n, int64_t batch, double gain, struct mt_balance **out)
{
    struct mt_balance *b = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(ctx, &b));
    b->ctx = ctx;
    b->n = n;
    b->batch = batch;
    b->gain = gain;
    b->patience = 1;
    b->looks = SOON;
    MT_TRY_OR(fail, MT_NEW_N(ctx, n, &b->of));
    MT_TRY_OR(fail, MT_NEW_N(ctx, n, &b->rate));
    MT_TRY_OR(fail, MT_NEW_N(ctx, n, &b->time));
    MT_TRY_OR(fail, MT_NEW_N(ctx, n, &b->to));
    *out = b;
    return MOTLEY_OK;
fail:
    mt_balance_free(b);
    return st;
}

void mt_balance_free(struct mt_balance *b)
{
    if (b == NULL) {
        return;
    }
    mt_free(b->ctx, b->to);
    mt_free(b->ctx, b->time);
    mt_free(b->ctx, b->rate);
    mt_free(b->ctx, b->of);
    mt_free(b->ctx, b);
}

/* ---- the shares ---------------------------------------------------------------------- */

static double time_of(const struct mt_rate *r, double rows)
{
    return r->b * (r->fixed + rows);
}

/* Rows that are done within `limit` seconds, not rounded. */
static double rows_within(const struct mt_rate *r, double limit)
{
    double rows = limit / r->b - r->fixed;

    rows = rows < (double)r->most ? rows : (double)r->most;
    return rows > (double)r->least ? rows : (double)r->least;
}

static double all_within(int n, const struct mt_rate *rate, double limit)
{
    double sum = 0;

    for (int i = 0; i < n; i++) {
        sum += rows_within(&rate[i], limit);
    }
    return sum;
}

/* Who is done first with one row more; -1: nobody may have one. */
static int first_done(int n, const struct mt_rate *rate, const int64_t *rows)
{
    int best = -1;

    for (int i = 0; i < n; i++) {
        if (rows[i] < rate[i].most &&
            (best < 0 || time_of(&rate[i], (double)rows[i] + 1) <
                             time_of(&rate[best], (double)rows[best] + 1))) {
            best = i;
        }
    }
    return best;
}

double mt_balance_rows(int n, const struct mt_rate *rate, int64_t batch, int64_t *rows)
{
    double lo = 0, hi = 0, longest = 0;
    int64_t left = batch;

    for (int i = 0; i < n; i++) {
        double all = time_of(&rate[i], (double)batch);

        hi = all > hi ? all : hi;
    }
    for (int k = 0; k < 100; k++) {
        double mid = (lo + hi) / 2;

        if (all_within(n, rate, mid) > (double)batch) {
            hi = mid;
        } else {
            lo = mid;
        }
    }
    for (int i = 0; i < n; i++) {
        rows[i] = (int64_t)floor(rows_within(&rate[i], lo));
        left -= rows[i];
    }
    for (; left > 0; left--) {
        int i = first_done(n, rate, rows);

        if (i < 0) {
            break;
        }
        rows[i]++;
    }
    for (int i = 0; i < n; i++) {
        double t = rows[i] > 0 ? time_of(&rate[i], (double)rows[i]) : 0;

        longest = t > longest ? t : longest;
    }
    return longest;
}

/* ---- the model of each replica ------------------------------------------------------- */

/* After a move: what the two points say of the fixed part. */
static void learn(struct replica *r, double rows, double time)
{
    double far = rows > r->rows0 ? rows / r->rows0 : r->rows0 / rows, slope, fixed;

    if (r->time0 <= 0 || rows <= 0 || r->rows0 <= 0 || far < APART) {
        return;
    }
    slope = (time - r->time0) / (rows - r->rows0);
    r->time0 = 0;
    if (slope <= 0) {
        return;   /* it became slower or faster meanwhile: the points are of two devices */
    }
    fixed = (time - slope * rows) / slope;
    r->fixed = fixed > 0 ? fixed : 0;
}

static void set_rate(const struct replica *r, const struct mt_balance_seen *seen, double time,
                     struct mt_rate *out)
{
    double rows = (double)seen->rows, most = MOST_FIX / (1 - MOST_FIX) * rows;

    *out = (struct mt_rate){.b = 1};
    if (seen->rows == 0) {
        return;   /* 0 rows: least and most are 0 */
    }
    out->fixed = r->fixed < most ? r->fixed : most;
    out->b = time / (out->fixed + rows);
    out->least = seen->rows > FACTOR ? seen->rows / FACTOR : 1;
    out->most = seen->most < FACTOR * seen->rows ? seen->most : FACTOR * seen->rows;
    /* What it has it can hold, whatever was counted. */
    out->most = out->most > seen->rows ? out->most : seen->rows;
}

/* ---- the decision -------------------------------------------------------------------- */

/* Times that count; 0 if some are not known yet. */
static int take_times(struct mt_balance *b, const struct mt_balance_seen *seen)
{
    int known = 1;

    for (int i = 0; i < b->n; i++) {
        struct replica *r = &b->of[i];
        double now = seen[i].seconds;

        if (seen[i].rows == 0) {
            continue;
        }
        if (!(now > 0) || !isfinite(now)) {
            return 0;
        }
        known = known && (r->last > 0 || b->settling);
        b->time[i] = r->last > 0 && r->last < now ? r->last : now;
        r->last = now;
    }
    return known;
}

static void be_patient(struct mt_balance *b)
{
    b->looks++;
    if (b->looks >= SOON && b->patience > 1) {
        b->patience /= 2;
        b->looks = 0;
    }
}

static void plan_move(struct mt_balance *b, const struct mt_balance_seen *seen)
{
    double same_way = 0;

    for (int i = 0; i < b->n; i++) {
        struct replica *r = &b->of[i];
        double way = (double)(b->to[i] - seen[i].rows);

        same_way += way * r->way;
        r->way = way;
        r->rows0 = (double)seen[i].rows;
        r->time0 = b->time[i];
    }
    b->back = same_way < 0;
}

int mt_balance_look(struct mt_balance *b, const struct mt_balance_seen *seen, int64_t steps,
                    double cost)
{
    int same = 1;

    b->before = b->after = 0;
    if (!take_times(b, seen)) {
        return 0;
    }
    be_patient(b);
    b->settling = 0;
    for (int i = 0; i < b->n; i++) {
        if (seen[i].rows > 0) {
            learn(&b->of[i], (double)seen[i].rows, b->time[i]);
            b->before = b->time[i] > b->before ? b->time[i] : b->before;
        }
        set_rate(&b->of[i], &seen[i], b->time[i], &b->rate[i]);
    }
    b->after = mt_balance_rows(b->n, b->rate, b->batch, b->to);
    for (int i = 0; i < b->n; i++) {
        same = same && b->to[i] == seen[i].rows;
    }
    if (same || b->before < b->gain * b->after) {
        b->lost = 0;
        return 0;
    }
    b->lost += (b->before - b->after) * (double)steps;
    if (b->lost < cost * b->patience) {
        return 0;
    }
    plan_move(b, seen);
    return 1;
}

const int64_t *mt_balance_to(const struct mt_balance *b)
{
    return b->to;
}

void mt_balance_times(const struct mt_balance *b, double *before, double *after)
{
    *before = b->before;
    *after = b->after;
}

void mt_balance_moved(struct mt_balance *b)
{
    for (int i = 0; i < b->n; i++) {
        b->of[i].last = 0;
    }
    if (b->back && b->looks < SOON && b->patience < PATIENCE) {
        b->patience *= 2;
    }
    b->looks = 0;
    b->lost = 0;
    b->settling = 1;
}
