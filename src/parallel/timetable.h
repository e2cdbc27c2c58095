/* timetable.h -- the work of all ranks of one replica in one order, in which every item comes
 * after what it needs and which keeps each rank's own order.
 *
 * From it follows how long the memory of a message must wait, without danger: if the sender waits
 * for the end of a message only behind items that come, in this order, after the item which
 * receives it, nobody waits for ever. (Take the first item of the order that is not done. What it
 * needs is done and sent; what its rank waits for besides was received by an item before it.) */
#ifndef MT_PARALLEL_TIMETABLE_H
#define MT_PARALLEL_TIMETABLE_H

#include "parallel/schedule.h"

/* Ranks that divide a stage do the same: they count as one column here. */
struct mt_timetable {
    struct mt_ctx *ctx;
    int nstage, stride, micros;
    int *count;                          /* items of each of the `stride` columns */
    struct mt_sched_item **item;
    int *place;                          /* of each item in the common order */
};

/* forward: forward items only (evaluation). Gives *out. */
int mt_timetable_new(struct mt_ctx *ctx, enum mt_schedule kind, int nstage, int stride,
                     int micros, int forward, struct mt_timetable **out);
void mt_timetable_free(struct mt_timetable *t);
/* Backward as a whole is found as the gradients of data, too. -1: there is no such item. */
int mt_timetable_place(const struct mt_timetable *t, enum mt_sched_work work, int stage,
                       int micro);

#endif
