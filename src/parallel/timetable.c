/* timetable.c -- one order of a replica's items; see timetable.h.
 *
 * The schedule is played: every column begins its next item when it is free and what the item
 * needs is done; whatever begins first comes first. Times are units in which forward and each half
 * of backward take one. */
#include "parallel/timetable.h"

#include "base/ctx.h"

/* The halves of backward count as kinds of their own; the whole has the place of the first. */
static int slot(const struct mt_timetable *t, enum mt_sched_work work, int stage, int micro)
{
    int kind = work == MT_SCHED_FWD ? 0 : work == MT_SCHED_PARAM ? 2 : 1;

    return (kind * t->nstage + stage) * t->micros + micro;
}

int mt_timetable_place(const struct mt_timetable *t, enum mt_sched_work work, int stage,
                       int micro)
{
    return t->place[slot(t, work, stage, micro)];
}

static int fill(struct mt_timetable *t, enum mt_schedule kind, int forward)
{
    MT_TRY(MT_NEW_N(t->ctx, t->stride, &t->count));
    MT_TRY(MT_NEW_N(t->ctx, t->stride, &t->item));
    for (int c = 0; c < t->stride; c++) {
        struct mt_sched_rank r = {t->nstage, c, t->stride, t->micros};
        int n = mt_schedule_count(kind, &r), kept = 0;

        MT_TRY(MT_NEW_N(t->ctx, n + 1, &t->item[c]));
        MT_TRY(mt_schedule_items(t->ctx, kind, &r, t->item[c]));
        for (int i = 0; i < n; i++) {
            if (!forward || t->item[c][i].work == MT_SCHED_FWD) {
                t->item[c][kept++] = t->item[c][i];
            }
        }
        t->count[c] = kept;
    }
    return MOTLEY_OK;
}

/* When item `it` may begin at the earliest, -1: something that it needs has not begun yet.
 * end[slot]: when an item is done, -1: not begun. */
static int earliest(const struct mt_timetable *t, const int *end, struct mt_sched_item it)
{
    int own = 0, other = 0;

    if (it.work == MT_SCHED_FWD) {
        other = it.stage > 0 ? end[slot(t, MT_SCHED_FWD, it.stage - 1, it.micro)] : 0;
    } else if (it.work == MT_SCHED_PARAM) {
        own = end[slot(t, MT_SCHED_DATA, it.stage, it.micro)];
    } else {
        own = end[slot(t, MT_SCHED_FWD, it.stage, it.micro)];
        other = it.stage < t->nstage - 1 ? end[slot(t, MT_SCHED_DATA, it.stage + 1, it.micro)] : 0;
    }
    return own < 0 || other < 0 ? -1 : own > other ? own : other;
}

static int play(struct mt_timetable *t, int *end, int *next, int *idle)
{
    int total = 0;

    for (int c = 0; c < t->stride; c++) {
        total += t->count[c];
    }
    for (int n = 0; n < total; n++) {
        int best = -1, begin = 0;
        struct mt_sched_item it;

        for (int c = 0; c < t->stride; c++) {
            int at = next[c] < t->count[c] ? earliest(t, end, t->item[c][next[c]]) : -1;

            at = at >= 0 && at < idle[c] ? idle[c] : at;
            if (at >= 0 && (best < 0 || at < begin)) {
                best = c;
                begin = at;
            }
        }
        MT_CHECK(best >= 0, MOTLEY_EBUG, "internal error, please report: the schedule of %d "
                 "stages and %d micro-batches stands still after %d items", t->nstage, t->micros,
                 n);
        it = t->item[best][next[best]++];
        t->place[slot(t, it.work, it.stage, it.micro)] = n;
        idle[best] = begin + (it.work == MT_SCHED_BWD ? 2 : 1);
        end[slot(t, it.work, it.stage, it.micro)] = idle[best];
    }
    return MOTLEY_OK;
}

int mt_timetable_new(struct mt_ctx *ctx, enum mt_schedule kind, int nstage, int stride,
                     int micros, int forward, struct mt_timetable **out)
{
    struct mt_timetable *t = NULL;
    int *end = NULL, *next = NULL, *idle = NULL, n = 3 * nstage * micros, st;

    MT_TRY(MT_NEW(ctx, &t));
    *t = (struct mt_timetable){.ctx = ctx, .nstage = nstage, .stride = stride, .micros = micros};
    MT_TRY_OR(over, MT_NEW_N(ctx, n, &t->place));
    MT_TRY_OR(over, MT_NEW_N(ctx, n, &end));
    MT_TRY_OR(over, MT_NEW_N(ctx, stride, &next));
    MT_TRY_OR(over, MT_NEW_N(ctx, stride, &idle));
    for (int i = 0; i < n; i++) {
        t->place[i] = end[i] = -1;
    }
    MT_TRY_OR(over, fill(t, kind, forward));
    MT_TRY_OR(over, play(t, end, next, idle));
over:
    mt_free(ctx, end);
    mt_free(ctx, next);
    mt_free(ctx, idle);
    if (st < 0) {
        mt_timetable_free(t);
    } else {
        *out = t;
    }
    return st;
}

void mt_timetable_free(struct mt_timetable *t)
{
    if (t == NULL) {
        return;
    }
    for (int c = 0; t->item != NULL && c < t->stride; c++) {
        mt_free(t->ctx, t->item[c]);
    }
    mt_free(t->ctx, t->item);
    mt_free(t->ctx, t->count);
    mt_free(t->ctx, t->place);
    mt_free(t->ctx, t);
}
