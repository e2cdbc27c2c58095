/* balance.h -- when shares should move, and to what: a decision from numbers alone, the same on
 * every rank that is given the same numbers. */
#ifndef MT_PARALLEL_BALANCE_H
#define MT_PARALLEL_BALANCE_H

#include "base/err.h"

#include <stdint.h>

struct mt_ctx;

/* Of a replica whose step takes  b (fixed + rows)  seconds. */
struct mt_rate {
    double b;             /* seconds a row, more than 0 */
    double fixed;         /* what does not depend on rows, counted in rows */
    int64_t least, most;  /* rows */
};

/* The rows of each of n replicas for which the longest time is shortest; they add up to batch. The
 * sums of `least` and of `most` must allow it. Returns the longest time. */
double mt_balance_rows(int n, const struct mt_rate *rate, int64_t batch, int64_t *rows);

struct mt_balance;

/* What is known of a replica at one look. */
struct mt_balance_seen {
    double seconds;       /* of a step without waiting for other replicas; 0: not known */
    int64_t rows;         /* its part of a full batch; 0: left out, and it stays so */
    int64_t most;         /* rows that its memory allows */
};

/* gain: how many times shorter a step must be expected to become. Gives *out. */
int mt_balance_new(struct mt_ctx *ctx, int n, int64_t batch, double gain, struct mt_balance **out);
void mt_balance_free(struct mt_balance *b);

/* One look, `steps` steps after the one before. cost: seconds that a move takes. Returns 1 if
 * shares should move: to mt_balance_to, from `before` to `after` seconds a step; the caller moves
 * and says so by mt_balance_moved before the next look. */
int mt_balance_look(struct mt_balance *b, const struct mt_balance_seen *seen, int64_t steps,
                    double cost);
const int64_t *mt_balance_to(const struct mt_balance *b);
/* Seconds a step: now and expected; of the last look. */
void mt_balance_times(const struct mt_balance *b, double *before, double *after);
void mt_balance_moved(struct mt_balance *b);

#endif
