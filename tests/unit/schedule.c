/* schedule.c -- proves, for up to 8 groups of ranks, 16 micro-batches and 4 stages a rank: every
 * schedule does each micro-batch of each stage exactly once; executed by ranks that wait for what
 * an item needs, none waits for ever; backward goes through a stage in ascending order; never more
 * micro-batches are alive than the schedule promises; with even stages the time is that of the
 * closed forms, bubble (p - 1) / (m + p - 1) for 1F1B, a third of it for zero-bubble, and less
 * than 1F1B's for interleaving. */
#include "base/ctx.h"
#include "parallel/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { P = 8, M = 16, V = 4, ITEMS = 3 * V * M };

static struct mt_ctx *ctx;

/* One pipeline, with what is done and when: by work, stage, micro. Time -1: not yet. */
struct play {
    enum mt_schedule kind;
    int p, v, m;
    struct mt_sched_item item[P][ITEMS];
    int n[P], at[P], busy[P];
    int end[4][P * V][M];
};

static int end_of(const struct play *y, enum mt_sched_work work, int stage, int micro)
{
    return y->end[work][stage][micro];
}

/* When an item may begin, -1: what it needs is not there. Two units are forward's, the gradients of
 * data and parameters two each, or four together. */
static int ready(const struct play *y, const struct mt_sched_item *i)
{
    int last = y->p * y->v - 1, own, next;

    switch (i->work) {
    case MT_SCHED_FWD:
        return i->stage == 0 ? 0 : end_of(y, MT_SCHED_FWD, i->stage - 1, i->micro);
    case MT_SCHED_PARAM:
        return end_of(y, MT_SCHED_DATA, i->stage, i->micro);
    default:
        own = end_of(y, MT_SCHED_FWD, i->stage, i->micro);
        next = i->stage == last ? 0 : end_of(y, i->work, i->stage + 1, i->micro);
        return own < 0 || next < 0 ? -1 : own > next ? own : next;
    }
}

/* Plays it; the time it takes, -1 if it gets stuck. */
static int play(struct play *y)
{
    int progress = 1, last = 0;

    memset(y->end, -1, sizeof y->end);
    memset(y->at, 0, sizeof y->at);
    memset(y->busy, 0, sizeof y->busy);
    while (progress) {
        progress = 0;
        for (int r = 0; r < y->p; r++) {
            while (y->at[r] < y->n[r]) {
                const struct mt_sched_item *i = &y->item[r][y->at[r]];
                int from = ready(y, i);

                if (from < 0) {
                    break;
                }
                from = from > y->busy[r] ? from : y->busy[r];
                y->busy[r] = from + (i->work == MT_SCHED_BWD ? 4 : 2);
                y->end[i->work][i->stage][i->micro] = y->busy[r];
                last = y->busy[r] > last ? y->busy[r] : last;
                y->at[r]++;
                progress = 1;
            }
        }
    }
    for (int r = 0; r < y->p; r++) {
        if (y->at[r] < y->n[r]) {
            return -1;
        }
    }
    return last;
}

static void check_items(const struct play *y, int r)
{
    static int seen[4][P * V][M];
    int zb = y->kind == MT_SCHEDULE_ZERO_BUBBLE, next[4][P * V] = {{0}};

    memset(seen, 0, sizeof seen);
    for (int i = 0; i < y->n[r]; i++) {
        const struct mt_sched_item *it = &y->item[r][i];

        assert_true(it->stage % y->p == r && it->stage < y->p * y->v);
        assert_true(it->micro >= 0 && it->micro < y->m);
        seen[it->work][it->stage][it->micro]++;
        assert_int_equal(it->micro, next[it->work][it->stage]++);
    }
    for (int s = r; s < y->p * y->v; s += y->p) {
        for (int m = 0; m < y->m; m++) {
            assert_int_equal(seen[MT_SCHED_FWD][s][m], 1);
            assert_int_equal(seen[MT_SCHED_BWD][s][m], !zb);
            assert_int_equal(seen[MT_SCHED_DATA][s][m], zb);
            assert_int_equal(seen[MT_SCHED_PARAM][s][m], zb);
        }
    }
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* The most micro-batches that may be alive on a rank, over all its stages. */
static int bound(const struct play *y, int r)
{
    switch (y->kind) {
    case MT_SCHEDULE_GPIPE:
        return y->v * y->m;
    case MT_SCHEDULE_1F1B:
        return least(y->p - r, y->m);
    case MT_SCHEDULE_ZERO_BUBBLE:
        return least(y->p, y->m);
    default:
        return y->v == 1 ? least(y->p - r, y->m)
                         : least(2 * (y->p - 1 - r) + (y->v - 1) * y->p + 1, y->v * y->m);
    }
}

/* All ranks at once are what each is alone. */
static void same_for_all(const struct play *y)
{
    static struct mt_sched_item item[P * ITEMS];
    struct mt_sched_rank r = {y->p * y->v, 0, y->p, y->m};

    assert_int_equal(mt_schedule_all(ctx, y->kind, &r, item), MOTLEY_OK);
    for (int k = 0; k < y->p; k++) {
        assert_memory_equal(item + k * y->n[k], y->item[k], (size_t)y->n[k] * sizeof *item);
    }
}

static void all(void **state)
{
    static struct play y;
    int one[P + 1][M + 1] = {{0}};

    (void)state;
    for (int kind = 0; kind < MT_SCHEDULES; kind++) {
        int many = kind == MT_SCHEDULE_GPIPE || kind == MT_SCHEDULE_INTERLEAVED;

        for (int p = 1; p <= P; p++) {
            for (int m = 1; m <= M; m++) {
                for (int v = 1; v <= (many ? V : 1); v++) {
                    int time, work = 6 * m * v;

                    y.kind = kind;
                    y.p = p;
                    y.v = v;
                    y.m = m;
                    for (int r = 0; r < p; r++) {
                        struct mt_sched_rank at = {p * v, r, p, m};
                        int alive = 0;

                        y.n[r] = mt_schedule_count(kind, &at);
                        assert_true(y.n[r] <= ITEMS);
                        assert_int_equal(mt_schedule_items(ctx, kind, &at, y.item[r]), MOTLEY_OK);
                        check_items(&y, r);
                        for (int s = r; s < p * v; s += p) {
                            int here = mt_schedule_alive(y.item[r], y.n[r], s);

                            assert_true(here >= 1 && here <= m);
                            alive = v == 1 ? here : alive + here;
                        }
                        assert_true(v > 1 || alive <= bound(&y, r));
                        for (int i = 0, now = 0; i < y.n[r]; i++) {
                            now += y.item[r][i].work == MT_SCHED_FWD ? 1
                                   : y.item[r][i].work == MT_SCHED_DATA ? 0 : -1;
                            assert_true(now <= bound(&y, r));
                        }
                    }
                    same_for_all(&y);
                    time = play(&y);
                    if (time < 0) {
                        fail_msg("%s p %d m %d v %d is stuck", mt_schedule_word(kind), p, m, v);
                    }
                    if (kind == MT_SCHEDULE_GPIPE && v == 1) {
                        assert_int_equal(time, work + 6 * (p - 1));
                    } else if (kind == MT_SCHEDULE_1F1B) {
                        assert_int_equal(time, work + 6 * (p - 1));
                        one[p][m] = time;
                    } else if (kind == MT_SCHEDULE_INTERLEAVED && v == 1) {
                        assert_int_equal(time, one[p][m]);
                    } else if (kind == MT_SCHEDULE_INTERLEAVED && m % p == 0) {
                        assert_int_equal(time, work + 6 * (p - 1));   /* v times the work */
                    } else if (kind == MT_SCHEDULE_ZERO_BUBBLE) {
                        assert_int_equal(time, work + 2 * (p - 1) + (m < p ? 2 * (p - m) : 0));
                    }
                }
            }
        }
    }
}

static int setup(void **state)
{
    (void)state;
    return mt_ctx_new(NULL, NULL, &ctx);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
