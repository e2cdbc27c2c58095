/* schedule.c -- the orders: fill and drain, 1F1B, interleaved 1F1B, zero-bubble.
 *
 * GPipe: Y. Huang et al., 2019. 1F1B and interleaving: D. Narayanan et al., Efficient large-scale
 * language model training on GPU clusters, 2021. Zero-bubble: P. Qi et al., Zero bubble pipeline
 * parallelism, 2023, the variant H1, whose memory is that of 1F1B.
 *
 * Backward always takes the micro-batches of a stage in ascending order, so gradients are added in
 * the order of a single process. */
#include "parallel/schedule.h"

#include "base/ctx.h"

#include <string.h>

const char *mt_schedule_word(enum mt_schedule kind)
{
    static const char *const word[MT_SCHEDULES] = {"gpipe", "1f1b", "interleaved", "zero_bubble"};

    return kind < MT_SCHEDULES ? word[kind] : "?";
}

int mt_schedule_count(enum mt_schedule kind, const struct mt_sched_rank *r)
{
    return (kind == MT_SCHEDULE_ZERO_BUBBLE ? 3 : 2) * (r->nstage / r->stride) * r->micros;
}

/* ---- fill and drain -------------------------------------------------------------------------- */

static void gpipe(const struct mt_sched_rank *r, struct mt_sched_item *item)
{
    int held = r->nstage / r->stride, n = 0;

    for (int c = 0; c < held; c++) {
        for (int m = 0; m < r->micros; m++) {
            item[n++] = (struct mt_sched_item){MT_SCHED_FWD, r->first + c * r->stride, m};
        }
    }
    for (int c = held - 1; c >= 0; c--) {
        for (int m = 0; m < r->micros; m++) {
            item[n++] = (struct mt_sched_item){MT_SCHED_BWD, r->first + c * r->stride, m};
        }
    }
}

/* ---- 1F1B, over one or several stages a rank ------------------------------------------------- */

/* Item k of one direction: micro-batches go in groups of `stride`, each group through all stages
 * of the rank before the next. */
static struct mt_sched_item turn(const struct mt_sched_rank *r, int k, enum mt_sched_work work)
{
    int held = r->nstage / r->stride, group = k / (r->stride * held);
    int c = k / r->stride % held;

    c = work == MT_SCHED_FWD ? c : held - 1 - c;
    return (struct mt_sched_item){work, r->first + c * r->stride,
                                  group * r->stride + k % r->stride};
}

static void add_turn(const struct mt_sched_rank *r, int k, enum mt_sched_work work,
                     struct mt_sched_item *item, int *n)
{
    struct mt_sched_item it = turn(r, k, work);

    if (it.micro < r->micros) {
        item[(*n)++] = it;
    }
}

/* Forward items in front of the first backward one: those that the later ranks need to reach it
 * and, with several stages a rank, to send it once around for every stage; then one of each. The
 * last group is filled up with micro-batches that are then left out, which cannot make anybody
 * wait: what an item needs is of its own micro-batch. */
static void one_each(const struct mt_sched_rank *r, struct mt_sched_item *item)
{
    int held = r->nstage / r->stride, ahead = r->stride - 1 - r->first, n = 0, back = 0;
    int groups = (r->micros + r->stride - 1) / r->stride;
    int all = held > 1 ? groups * r->stride * held : r->micros;

    if (held > 1) {
        ahead = 2 * ahead + (held - 1) * r->stride;
    }
    for (int k = 0; k < all; k++) {
        add_turn(r, k, MT_SCHED_FWD, item, &n);
        if (k >= ahead) {
            add_turn(r, back++, MT_SCHED_BWD, item, &n);
        }
    }
    while (back < all) {
        add_turn(r, back++, MT_SCHED_BWD, item, &n);
    }
}

/* ---- zero-bubble ----------------------------------------------------------------------------- */

/* All stages, played in units of time in which forward, data and parameter gradients take one
 * each. A stage takes the first of these that is ready: forward, as long as 1F1B would have begun
 * it and at most nstage micro-batches are alive, as many as 1F1B has on its first stage; data
 * gradient, for which the stage before waits; parameter gradient. What one stage does in such a
 * game is an order that cannot block, and the game lasts 3 m + p - 1 units for m >= p. */
struct stage {
    int fwd, data, param;      /* done so far */
};

static struct mt_sched_item pick(const struct stage *all, int nstage, int s, int micros)
{
    const struct stage *g = &all[s];

    if (g->fwd < micros && g->fwd - g->data < nstage - s && g->fwd - g->param < nstage &&
        (s == 0 || g->fwd < all[s - 1].fwd)) {
        return (struct mt_sched_item){MT_SCHED_FWD, s, g->fwd};
    }
    if (g->data < g->fwd && (s == nstage - 1 || g->data < all[s + 1].data)) {
        return (struct mt_sched_item){MT_SCHED_DATA, s, g->data};
    }
    if (g->param < g->data) {
        return (struct mt_sched_item){MT_SCHED_PARAM, s, g->param};
    }
    return (struct mt_sched_item){MT_SCHED_FWD, s, -1};
}

/* Items of the rank at `only`, or of all ranks (-1), one after the other. */
static int zero_bubble(struct mt_ctx *ctx, const struct mt_sched_rank *r, int only,
                       struct mt_sched_item *item)
{
    struct stage *now = NULL, *before = NULL;
    int last = only < 0 ? 0 : only, st;   /* the rank that is done last, of those that count */

    MT_TRY_OR(end, MT_NEW_N(ctx, r->nstage, &now));
    MT_TRY_OR(end, MT_NEW_N(ctx, r->nstage, &before));
    while (now[last].param < r->micros) {
        memcpy(before, now, (size_t)r->nstage * sizeof *now);
        for (int s = 0; s < r->nstage; s++) {
            struct mt_sched_item it = pick(before, r->nstage, s, r->micros);
            int at = before[s].fwd + before[s].data + before[s].param;

            if (it.micro < 0) {
                continue;
            }
            now[s].fwd += it.work == MT_SCHED_FWD;
            now[s].data += it.work == MT_SCHED_DATA;
            now[s].param += it.work == MT_SCHED_PARAM;
            if (only < 0 || s == only) {
                item[(only < 0 ? s * 3 * r->micros : 0) + at] = it;
            }
        }
        while (only < 0 && last < r->nstage - 1 && now[last].param == r->micros) {
            last++;
        }
    }
end:
    mt_free(ctx, now);
    mt_free(ctx, before);
    return st;
}

static int check_rank(enum mt_schedule kind, const struct mt_sched_rank *r)
{
    int one = r->stride == r->nstage;

    MT_BUG_IF(r->stride < 1 || r->nstage % r->stride != 0 || r->first >= r->stride);
    MT_BUG_IF(!one && (kind == MT_SCHEDULE_1F1B || kind == MT_SCHEDULE_ZERO_BUBBLE));
    return MOTLEY_OK;
}

int mt_schedule_items(struct mt_ctx *ctx, enum mt_schedule kind, const struct mt_sched_rank *r,
                      struct mt_sched_item *item)
{
    MT_TRY(check_rank(kind, r));
    if (kind == MT_SCHEDULE_ZERO_BUBBLE) {
        return zero_bubble(ctx, r, r->first, item);
    }
    if (kind == MT_SCHEDULE_GPIPE) {
        gpipe(r, item);
    } else {
        one_each(r, item);
    }
    return MOTLEY_OK;
}

int mt_schedule_all(struct mt_ctx *ctx, enum mt_schedule kind, const struct mt_sched_rank *r,
                    struct mt_sched_item *item)
{
    struct mt_sched_rank each = *r;

    each.first = 0;
    MT_TRY(check_rank(kind, &each));
    if (kind == MT_SCHEDULE_ZERO_BUBBLE) {
        return zero_bubble(ctx, r, -1, item);
    }
    for (; each.first < r->stride; each.first++) {
        MT_TRY(mt_schedule_items(ctx, kind, &each,
                                 item + each.first * mt_schedule_count(kind, &each)));
    }
    return MOTLEY_OK;
}

int mt_schedule_alive(const struct mt_sched_item *item, int n, int stage)
{
    int alive = 0, most = 0;

    for (int i = 0; i < n; i++) {
        if (item[i].stage == stage && item[i].work != MT_SCHED_DATA) {
            alive += item[i].work == MT_SCHED_FWD ? 1 : -1;
            most = alive > most ? alive : most;
        }
    }
    return most;
}
