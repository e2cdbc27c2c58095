/* share.c -- who works on which samples.
 *
 * rank i gets floor(rows w_i / W) rows, W = sum of w, and one of the rows left over if its
 * remainder is among the largest. Quotient and remainder are taken with fmod, which is exact: for
 * whole weights the answer is that of integer arithmetic, ties included, on every machine. Equal
 * weights need no arithmetic at all (0.1 + 0.1 + 0.1 is not 3 times 0.1). */
#include "parallel/par.h"

#include "parallel/load.h"

#include <math.h>

static double weight_of(const double *weight, int i)
{
    return weight == NULL ? 1.0 : weight[i] > 0 && isfinite(weight[i]) ? weight[i] : 0.0;
}

static double remainder_of(int64_t rows, double w, double sum)
{
    return fmod((double)rows * w, sum);
}

static int64_t floor_of(int64_t rows, double w, double sum)
{
    double p = (double)rows * w;

    return (int64_t)((p - fmod(p, sum)) / sum);
}

/* Time is size squared for uneven weights: for set-up and for changes of shares, a step keeps the
 * answer. */
void mt_share(int64_t rows, const double *weight, int size, int rank, int64_t *lo, int64_t *hi)
{
    double sum = 0;
    int64_t left = rows, at = 0, mine = 0;
    int equal = 1;

    for (int i = 0; i < size; i++) {
        sum += weight_of(weight, i);
        equal = equal && weight_of(weight, i) == weight_of(weight, 0);
    }
    if (equal || !isfinite(sum)) {   /* nothing usable: equal too */
        int64_t extra = rows % size;

        *lo = rows / size * rank + (rank < extra ? rank : extra);
        *hi = *lo + rows / size + (rank < extra);
        return;
    }
    for (int i = 0; i < size; i++) {
        left -= floor_of(rows, weight_of(weight, i), sum);
    }
    for (int i = 0; i <= rank; i++) {
        double w = weight_of(weight, i), rest = remainder_of(rows, w, sum);
        int64_t before = 0;

        for (int j = 0; j < size; j++) {
            double other = remainder_of(rows, weight_of(weight, j), sum);

            before += other > rest || (other == rest && j < i);
        }
        at += mine;
        mine = floor_of(rows, w, sum) + (before < left);
    }
    *lo = at;
    *hi = at + mine;
}

void mt_share_counts(int64_t rows, const double *weight, int size, int64_t *count)
{
    double sum = 0;
    int64_t left = rows;
    int equal = 1;

    for (int i = 0; i < size; i++) {
        sum += weight_of(weight, i);
        equal = equal && weight_of(weight, i) == weight_of(weight, 0);
    }
    equal = equal || !isfinite(sum);
    for (int i = 0; i < size; i++) {
        count[i] = equal ? rows / size + (i < rows % size)
                         : floor_of(rows, weight_of(weight, i), sum);
        left -= count[i];
    }
    for (int i = 0; i < size && left > 0; i++) {
        double rest = remainder_of(rows, weight_of(weight, i), sum);
        int64_t before = 0;

        for (int j = 0; j < size; j++) {
            double other = remainder_of(rows, weight_of(weight, j), sum);

            before += other > rest || (other == rest && j < i);
        }
        count[i] += before < left;
    }
}

/* ---- by time ------------------------------------------------------------------------- */

/* The most rows, up to `most`, that are done within `limit` seconds. */
static int64_t rows_within(const struct mt_curve *c, int64_t most, double limit)
{
    int64_t lo = 0, hi = most;

    while (lo < hi) {
        int64_t mid = lo + (hi - lo + 1) / 2;

        if (mt_curve_at(c, (double)mid) <= limit) {
            lo = mid;
        } else {
            hi = mid - 1;
        }
    }
    return lo;
}

static int64_t all_within(int n, const struct mt_curve *curve, const int64_t *most, double limit,
                          int64_t *rows)
{
    int64_t sum = 0;

    for (int i = 0; i < n; i++) {
        rows[i] = rows_within(&curve[i], most[i], limit);
        sum += rows[i];
    }
    return sum;
}

/* Who is done first with one row more; -1: nobody may have one. */
static int first_done(int n, const struct mt_curve *curve, const int64_t *most,
                      const int64_t *rows)
{
    double soonest = INFINITY;
    int best = -1;

    for (int i = 0; i < n; i++) {
        double t = mt_curve_at(&curve[i], (double)(rows[i] + 1));

        if (rows[i] < most[i] && t < soonest) {
            soonest = t;
            best = i;
        }
    }
    return best;
}

/* By bisection of the time, to 2^-40 of it; what is then left over goes one by one to whoever is
 * done first. */
double mt_share_by_time(int n, const struct mt_curve *curve, const int64_t *most, int64_t batch,
                        int64_t *rows)
{
    double lo = 0, hi = 0, longest = 0;
    int64_t left;

    for (int i = 0; i < n; i++) {
        double all = mt_curve_at(&curve[i], (double)(most[i] < batch ? most[i] : batch));

        hi = all > hi ? all : hi;
    }
    if (all_within(n, curve, most, hi, rows) < batch) {
        return -1;
    }
    for (int k = 0; k < 40; k++) {
        double mid = (lo + hi) / 2;

        if (all_within(n, curve, most, mid, rows) > batch) {
            hi = mid;
        } else {
            lo = mid;
        }
    }
    left = batch - all_within(n, curve, most, lo, rows);
    for (; left > 0; left--) {
        rows[first_done(n, curve, most, rows)]++;
    }
    for (int i = 0; i < n; i++) {
        double t = rows[i] > 0 ? mt_curve_at(&curve[i], (double)rows[i]) : 0;

        longest = t > longest ? t : longest;
    }
    return longest;
}
