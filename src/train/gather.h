/* gather.h -- numbers of the network wherever they lie: rank 0 reads any element of any parameter,
 * optimizer slot or state; the ranks that hold it answer. */
#ifndef MT_TRAIN_GATHER_H
#define MT_TRAIN_GATHER_H

#include "train/session.h"

/* Flat spaces, by number: parameters, then each slot of the optimizer, then running state. */
enum { MT_SPACE_PARAM = 0, MT_SPACE_SLOT, MT_SPACE_STATE = MT_SPACE_SLOT + MT_OPTIM_SLOTS };

struct mt_gather;

/* Gives *out. Local. */
int mt_gather_new(struct mt_session *s, struct mt_gather **out);
void mt_gather_free(struct mt_gather *g);

/* On rank 0: numbers [first, first + count) of parameter (state) `number` of s->whole, in the
 * order of the whole parameter; count is at most MT_GATHER_MOST. */
#define MT_GATHER_MOST (1u << 20)
int mt_gather_read(struct mt_gather *g, int space, int number, uint64_t first, uint64_t count,
                   float *dst);
/* On rank 0: no more questions, also after a failure. */
int mt_gather_end(struct mt_gather *g);
/* On the others: answers until the end. */
int mt_gather_serve(struct mt_gather *g);

/* The entry of this process's graph for parameter (state) `number` of s->whole, NULL: none, and
 * the buffer of a space. */
const struct mt_gparam *mt_gather_own(const struct mt_session *s, int space, int number);
struct mt_buf *mt_gather_buf(const struct mt_session *s, int space);

/* The part of a parameter that this process holds: *lo, *hi of its own numbers that lie in
 * [first, first + count) of the whole one. Local. */
void mt_gather_local(const struct mt_gparam *p, uint64_t first, uint64_t count, uint64_t *lo,
                     uint64_t *hi);
/* Copies those out of `whole` (count numbers from `first`) into `part` (from *lo on). */
void mt_gather_take(const struct mt_gparam *p, uint64_t first, uint64_t count, const float *whole,
                    float *part);

#endif
