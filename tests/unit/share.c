/* share.c -- proves: mt_share gives every row to exactly one rank, in rank order, as integer
 * arithmetic with largest remainders says, for all small numbers of rows, up to 4 ranks and weights
 * 0..4; equal weights and no weights agree; unusable weights mean equal shares. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parallel/par.h"

/* Oracle: whole weights, integers only, one leftover row after the other. */
static void oracle(int rows, const int *w, int size, int *count)
{
    int sum = 0, left = rows, given[8] = {0};

    for (int i = 0; i < size; i++) {
        sum += w[i];
    }
    for (int i = 0; i < size; i++) {
        count[i] = rows * w[i] / sum;
        left -= count[i];
    }
    while (left-- > 0) {
        int best = -1;

        for (int i = 0; i < size; i++) {
            if (!given[i] && (best < 0 || rows * w[i] % sum > rows * w[best] % sum)) {
                best = i;
            }
        }
        given[best] = 1;
        count[best]++;
    }
}

static void compare(int rows, const double *weight, const int *count, int size)
{
    int64_t at = 0, all[8];

    mt_share_counts(rows, weight, size, all);
    for (int r = 0; r < size; r++) {
        int64_t lo = -1, hi = -1;

        mt_share(rows, weight, size, r, &lo, &hi);
        assert_int_equal(lo, at);
        assert_int_equal(hi - lo, count[r]);
        assert_int_equal(all[r], count[r]);
        at = hi;
    }
    assert_int_equal(at, rows);
}

static void weighted(void **state)
{
    (void)state;
    for (int size = 1; size <= 4; size++) {
        int all = 1;

        for (int i = 0; i < size; i++) {
            all *= 5;
        }
        for (int code = 1; code < all; code++) {
            int w[4] = {0}, count[4];
            double weight[4];

            for (int i = 0, c = code; i < size; i++, c /= 5) {
                w[i] = c % 5;
                weight[i] = w[i];
            }
            for (int rows = 0; rows <= 23; rows++) {
                oracle(rows, w, size, count);
                compare(rows, weight, count, size);
            }
        }
    }
}

static void equal(void **state)
{
    (void)state;
    for (int size = 1; size <= 8; size++) {
        for (int rows = 0; rows <= 40; rows++) {
            int ones[8] = {1, 1, 1, 1, 1, 1, 1, 1}, count[8];
            double same[8], none[8] = {0}, bad[8];

            oracle(rows, ones, size, count);
            for (int i = 0; i < size; i++) {
                same[i] = 0.1;
                bad[i] = i % 2 == 0 ? NAN : -1;
            }
            compare(rows, NULL, count, size);
            compare(rows, same, count, size);
            compare(rows, none, count, size);
            compare(rows, bad, count, size);
        }
    }
}

/* Broken weights and many rows: still a partition, and nobody is more than a row off. */
static void measured(void **state)
{
    double weight[7] = {0.1, 13.7, 1e-9, 2.0 / 3, 5.5, 0, 1e-3}, sum = 0;
    int64_t at = 0, rows = 1000003;

    (void)state;
    for (int i = 0; i < 7; i++) {
        sum += weight[i];
    }
    for (int r = 0; r < 7; r++) {
        int64_t lo, hi;

        mt_share(rows, weight, 7, r, &lo, &hi);
        assert_int_equal(lo, at);
        assert_true(fabs((double)(hi - lo) - (double)rows * weight[r] / sum) < 1);
        at = hi;
    }
    assert_int_equal(at, rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weighted),
        cmocka_unit_test(equal),
        cmocka_unit_test(measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
