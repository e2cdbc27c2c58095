/* feed.h -- brings samples to the device ahead of the steps that use them.
 *
 * A few places on the device, each seen through two windows. The loader's thread writes into the
 * windows: where host and device share memory that is the device's memory itself, elsewhere
 * pinned memory that is copied on the transfer queue. A place is given back right after the step
 * that reads it has been enqueued; its windows open when that step has run, while the host goes on,
 * and the loader gets it then. So neither device nor host wait while reading keeps up. */
#ifndef MT_TRAIN_FEED_H
#define MT_TRAIN_FEED_H

#include "data/data.h"
#include "device/tensor.h"

struct mt_dev;
struct mt_feed;

/* What of a sample the steps of this process read; what it does not is neither read nor stored. */
enum { MT_FEED_X = 1, MT_FEED_Y = 2, MT_FEED_ALL = 3 };

/* Bytes of device memory that a feed takes: rows: the most of one batch of this process. */
uint64_t mt_feed_bytes(const struct mt_sample *sample, int64_t rows, unsigned want);

/* set NULL: samples come by mt_feed_put alone. x, y: specs of a whole batch (dim[0] = rows).
 * Gives *out. */
int mt_feed_new(struct mt_dev *dev, const struct mt_set *set, const struct mt_sample *sample,
                const struct mt_spec *x, const struct mt_spec *y, unsigned want,
                struct mt_feed **out);
void mt_feed_free(struct mt_feed *f);

/* One batch of this process: positions first .. first+rows-1 of an epoch. */
struct mt_feed_ask {
    uint64_t seed;
    int64_t epoch, first, rows;
    int shuffle;
};

/* Whether a place is free for another mt_feed_ask. */
int mt_feed_room(const struct mt_feed *f);
int mt_feed_ask(struct mt_feed *f, const struct mt_feed_ask *ask);
/* The oldest batch asked for, ready for commands enqueued from now on. Waits for reading if it is
 * late. */
int mt_feed_take(struct mt_feed *f, struct mt_tensor *x, struct mt_tensor *y);
/* The batch taken has been read by all commands that will: call after enqueueing them. */
void mt_feed_done(struct mt_feed *f);
/* Copies the caller's samples in place of mt_feed_ask and mt_feed_take; y may be NULL. */
int mt_feed_put(struct mt_feed *f, const float *x, const void *y, int64_t rows,
                struct mt_tensor *tx, struct mt_tensor *ty);
/* Forgets what was asked for. */
int mt_feed_reset(struct mt_feed *f);

/* Seconds that mt_feed_take has waited for reading since the last call, for the report. */
double mt_feed_waited(struct mt_feed *f);

#endif
