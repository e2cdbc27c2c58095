/* balance.c -- proves: mt_balance_rows gives the shortest longest time (all divisions of small
 * batches are tried), within what every replica must and may have; shares follow simulated devices
 * to within a row or 8 % of the best, with and without fixed parts, after a slowdown and back;
 * noise and short disturbances do not move them; a move waits until it pays, longer after moves
 * in a row; memory limits hold; who has no samples stays without and who has some keeps one. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/ctx.h"
#include "base/rng.h"
#include "parallel/balance.h"
#include "parallel/par.h"

enum { MOST = 8 };

/* ---- rows ---------------------------------------------------------------------------- */

/* Oracle: the best longest time over all divisions of `left` rows among replicas i.. */
static double best_of(int n, const struct mt_rate *rate, int i, int64_t left)
{
    double best = INFINITY;

    if (i == n) {
        return left == 0 ? 0 : INFINITY;
    }
    for (int64_t r = rate[i].least; r <= rate[i].most && r <= left; r++) {
        double own = r > 0 ? rate[i].b * (rate[i].fixed + (double)r) : 0;
        double rest = best_of(n, rate, i + 1, left - r);

        own = own > rest ? own : rest;
        best = own < best ? own : best;
    }
    return best;
}

static void rows_are_best(void **state)
{
    struct mt_rng_key key = mt_rng_key(1, MT_RNG_TEST, 0);
    uint64_t at = 0;

    (void)state;
    for (int trial = 0; trial < 300; trial++) {
        int n = 1 + (int)(mt_rng_u32(key, at++) % 4);
        int64_t batch = 4 + mt_rng_u32(key, at++) % 16, rows[MOST], sum = 0;
        struct mt_rate rate[MOST];
        double longest, oracle;

        for (int i = 0; i < n; i++) {
            rate[i].b = (1 + mt_rng_u32(key, at++) % 40) / 8.0;
            rate[i].fixed = mt_rng_u32(key, at++) % 8 / 2.0;
            rate[i].least = mt_rng_u32(key, at++) % 2;
            rate[i].most = i == 0 ? batch : rate[i].least + mt_rng_u32(key, at++) % 9;
        }
        longest = mt_balance_rows(n, rate, batch, rows);
        oracle = best_of(n, rate, 0, batch);
        for (int i = 0; i < n; i++) {
            assert_true(rows[i] >= rate[i].least && rows[i] <= rate[i].most);
            sum += rows[i];
        }
        assert_int_equal(sum, batch);
        assert_true(fabs(longest - oracle) < 1e-9 * oracle);
    }
}

/* ---- simulated devices --------------------------------------------------------------- */

struct world {
    struct mt_ctx *ctx;
    struct mt_balance *b;
    int n;
    int64_t batch;
    struct mt_balance_seen seen[MOST];
    double fixed[MOST], per_row[MOST], slow[MOST];   /* seconds; a factor */
    double noise;                                    /* relative, of a look */
    struct mt_rng_key key;
    uint64_t drawn;
    int moves, looks;
};

static void open_world(struct world *w, int n, int64_t batch, double gain)
{
    *w = (struct world){.n = n, .batch = batch, .key = mt_rng_key(2, MT_RNG_TEST, 0)};
    assert_int_equal(mt_ctx_new(NULL, NULL, &w->ctx), 0);
    assert_int_equal(mt_balance_new(w->ctx, n, batch, gain, &w->b), 0);
    for (int i = 0; i < n; i++) {
        w->seen[i].rows = batch / n + (i < batch % n);
        w->seen[i].most = batch;
        w->per_row[i] = 1e-3;
        w->slow[i] = 1;
    }
}

static void close_world(struct world *w)
{
    mt_balance_free(w->b);
    mt_ctx_free(w->ctx);
}

static double seconds_of(const struct world *w, int i, int64_t rows)
{
    return w->slow[i] * (w->fixed[i] + w->per_row[i] * (double)rows);
}

static double longest_of(const struct world *w)
{
    double t = 0;

    for (int i = 0; i < w->n; i++) {
        double own = w->seen[i].rows > 0 ? seconds_of(w, i, w->seen[i].rows) : 0;

        t = own > t ? own : t;
    }
    return t;
}

/* The best that could be, by the functions proved above. */
static double best_time(const struct world *w)
{
    struct mt_rate rate[MOST];
    int64_t rows[MOST];

    for (int i = 0; i < w->n; i++) {
        rate[i] = (struct mt_rate){.b = w->slow[i] * w->per_row[i],
                                   .fixed = w->fixed[i] / w->per_row[i],
                                   .least = w->seen[i].rows > 0,
                                   .most = w->seen[i].rows > 0 ? w->seen[i].most : 0};
    }
    return mt_balance_rows(w->n, rate, w->batch, rows);
}

/* One look after `steps` steps; whether shares moved. The weights that are used are rows: what
 * mt_share makes of them is what was decided. */
static int look(struct world *w, int64_t steps, double cost)
{
    double weight[MOST];

    for (int i = 0; i < w->n; i++) {
        double u = mt_rng_u32(w->key, w->drawn++) / 4294967296.0;

        w->seen[i].seconds = seconds_of(w, i, w->seen[i].rows) * (1 + w->noise * (2 * u - 1));
    }
    w->looks++;
    if (!mt_balance_look(w->b, w->seen, steps, cost)) {
        return 0;
    }
    w->moves++;
    for (int i = 0; i < w->n; i++) {
        weight[i] = (double)mt_balance_to(w->b)[i];
    }
    for (int i = 0; i < w->n; i++) {
        int64_t lo, hi;

        mt_share(w->batch, weight, w->n, i, &lo, &hi);
        assert_int_equal(hi - lo, mt_balance_to(w->b)[i]);
        assert_true(hi - lo <= w->seen[i].most || hi - lo <= w->seen[i].rows);
        assert_true(w->seen[i].rows > 0 ? hi - lo >= 1 : hi == lo);
        w->seen[i].rows = hi - lo;
    }
    mt_balance_moved(w->b);
    return 1;
}

static void looks(struct world *w, int n, int64_t steps, double cost)
{
    for (int i = 0; i < n; i++) {
        look(w, steps, cost);
    }
}

/* One row from the best, or little more than the gain that is asked for. */
static void near_best(const struct world *w)
{
    double row = 0;

    for (int i = 0; i < w->n; i++) {
        double own = w->slow[i] * w->per_row[i];

        row = own > row ? own : row;
    }
    assert_true(longest_of(w) <= 1.08 * best_time(w) || longest_of(w) <= best_time(w) + row);
}

/* A slowdown by 3: two looks see it, shares move, and are right at once without fixed parts. */
static void slowdown(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 3, 120, 1.05);
    looks(&w, 10, 5, 0.02);
    assert_int_equal(w.moves, 0);
    w.slow[1] = 3;
    assert_int_equal(look(&w, 5, 0.02), 0);
    assert_int_equal(look(&w, 5, 0.02), 1);
    near_best(&w);
    looks(&w, 40, 5, 0.02);
    assert_int_equal(w.moves, 1);
    w.slow[1] = 1;               /* and back */
    looks(&w, 6, 5, 0.02);
    near_best(&w);
    assert_int_equal(w.seen[1].rows, 40);
    close_world(&w);
}

/* Fixed parts of a fifth to two thirds: the second move, one look after the first, is right. */
static void fixed_parts(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 4, 256, 1.05);
    for (int i = 0; i < 4; i++) {
        w.fixed[i] = 0.016 * (1 + 2 * i);
    }
    w.slow[3] = 3;
    w.slow[0] = 0.5;
    looks(&w, 8, 5, 0.02);
    assert_true(w.moves <= 4);
    near_best(&w);
    w.slow[0] = 2;
    w.slow[3] = 1;
    looks(&w, 12, 5, 0.02);
    near_best(&w);
    close_world(&w);
}

static void noise(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 4, 256, 1.05);
    w.noise = 0.04;
    looks(&w, 2000, 5, 0.02);
    assert_true(w.moves <= 2);
    w.noise = 0.15;              /* wild: it may move, but seldom, and stays sensible */
    w.moves = 0;
    looks(&w, 2000, 5, 0.5);
    assert_true(w.moves <= 2000 / 20);
    assert_true(longest_of(&w) <= 1.4 * best_time(&w));
    close_world(&w);
}

/* Ten times slower for one look, again and again: never twice in a row. */
static void disturbance(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 3, 96, 1.05);
    for (int k = 0; k < 50; k++) {
        w.slow[k % 3] = 10;
        looks(&w, 1, 5, 0.001);
        w.slow[k % 3] = 1;
        looks(&w, 2, 5, 0.001);
    }
    assert_int_equal(w.moves, 0);
    close_world(&w);
}

/* A loss of 10 ms a step and a move of 2 s: not before 200 steps; twice that if it goes to and
 * fro. */
static void patience(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 2, 40, 1.05);
    w.slow[0] = 3;               /* 60 ms and 20 ms, best 30 ms */
    looks(&w, 13, 5, 2);
    assert_int_equal(w.moves, 0);
    looks(&w, 2, 5, 2);
    assert_int_equal(w.moves, 1);
    looks(&w, 3, 5, 2);
    w.slow[0] = 1;
    w.slow[1] = 3;
    w.looks = 0;
    while (w.moves == 1) {
        double lost = (longest_of(&w) - best_time(&w)) * 5 * w.looks;

        assert_true(w.looks < 500);
        look(&w, 5, 2);
        assert_true(w.moves == 1 || lost >= 1.9);
    }
    looks(&w, 5, 5, 2);
    w.moves = 0;
    w.slow[0] = 3;
    w.slow[1] = 1;
    w.looks = 0;
    while (w.moves == 0) {
        double lost = (longest_of(&w) - best_time(&w)) * 5 * w.looks;

        assert_true(w.looks < 500);
        look(&w, 5, 2);
        assert_true(w.moves == 0 || lost >= 3.8);
    }
    close_world(&w);
}

static void memory(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 3, 90, 1.05);
    w.seen[0].most = 35;
    w.seen[2].most = 10;         /* it has 30: what it has it can hold */
    w.slow[1] = 4;
    looks(&w, 10, 5, 0.01);
    assert_true(w.moves >= 1);
    assert_int_equal(w.seen[0].rows, 35);
    assert_true(w.seen[2].rows <= 30);
    close_world(&w);

    open_world(&w, 2, 64, 1.05);   /* nobody may have more: nothing to gain */
    w.seen[0].most = w.seen[1].most = 32;
    w.slow[1] = 4;
    looks(&w, 10, 5, 0.01);
    assert_int_equal(w.moves, 0);
    close_world(&w);
}

static void empty(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 3, 60, 1.05);
    w.seen[0].rows = 0;          /* left out */
    w.seen[1].rows = w.seen[2].rows = 30;
    w.fixed[0] = 0.001;
    w.slow[2] = 5;
    looks(&w, 10, 5, 0.01);
    assert_int_equal(w.seen[0].rows, 0);
    near_best(&w);
    close_world(&w);

    open_world(&w, 3, 60, 1.05);
    w.slow[2] = 1000;            /* one sample, to be measured by */
    looks(&w, 20, 5, 0.01);
    assert_int_equal(w.seen[2].rows, 1);
    w.slow[2] = 1;               /* it comes back, by a factor of 4 each time */
    looks(&w, 40, 5, 0.01);
    near_best(&w);
    close_world(&w);

    open_world(&w, 1, 60, 1.05);
    looks(&w, 5, 5, 0.01);
    assert_int_equal(w.moves, 0);
    close_world(&w);
}

/* A rank whose time is not known, and one that says nonsense. */
static void unknown(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, 2, 60, 1.05);
    for (int k = 0; k < 10; k++) {
        w.seen[0].seconds = k % 2 == 0 ? 0 : NAN;
        w.seen[1].seconds = 1;
        assert_int_equal(mt_balance_look(w.b, w.seen, 5, 0.01), 0);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_best), cmocka_unit_test(slowdown),
        cmocka_unit_test(fixed_parts),   cmocka_unit_test(noise),
        cmocka_unit_test(disturbance),   cmocka_unit_test(patience),
        cmocka_unit_test(memory),        cmocka_unit_test(empty),
        cmocka_unit_test(unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
