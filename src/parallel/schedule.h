/* schedule.h -- in which order a rank of a pipeline takes its micro-batches.
 *
 * A pure function, used by the pass that makes the steps and by the simulator, so that what is
 * predicted is what is done. A rank that does its items in this order, receives what an item needs
 * before it (waiting) and sends what it gives after it (not waiting) never waits for ever: the
 * orders of all ranks are parts of one order in which everything comes after what it needs. */
#ifndef MT_PARALLEL_SCHEDULE_H
#define MT_PARALLEL_SCHEDULE_H

#include "parallel/layout.h"

/* Backward as one, or as the gradients of data (which the stage before waits for) and those of
 * parameters (which nobody waits for until the update). */
enum mt_sched_work { MT_SCHED_FWD = 0, MT_SCHED_BWD, MT_SCHED_DATA, MT_SCHED_PARAM };

struct mt_sched_item {
    enum mt_sched_work work;
    int stage, micro;
};

/* The rank at `first` of a pipeline of nstage stages holds first, first + stride, ...
 * (first < stride; nstage is a multiple of stride). */
struct mt_sched_rank {
    int nstage, first, stride, micros;
};

/* How many items a rank has. */
int mt_schedule_count(enum mt_schedule kind, const struct mt_sched_rank *r);
/* The items, mt_schedule_count of them. Zero-bubble and 1F1B take one stage a rank (stride =
 * nstage); interleaved with one is 1F1B. */
int mt_schedule_items(struct mt_ctx *ctx, enum mt_schedule kind, const struct mt_sched_rank *r,
                      struct mt_sched_item *item);
/* Those of all ranks 0 to stride - 1, one after the other; r->first does not count. */
int mt_schedule_all(struct mt_ctx *ctx, enum mt_schedule kind, const struct mt_sched_rank *r,
                    struct mt_sched_item *item);
/* How many micro-batches of a stage are alive at once: begun, and their backward (the whole of
 * it) not yet done. */
int mt_schedule_alive(const struct mt_sched_item *item, int n, int stage);

/* "1f1b", as in configurations; all words, for a table of attributes, in the order of the enum. */
#define MT_SCHEDULE_WORDS "gpipe 1f1b interleaved zero_bubble"
const char *mt_schedule_word(enum mt_schedule kind);

#endif
