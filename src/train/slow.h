/* slow.h -- says who is slow: a replica beside the others, a stage beside the others of its
 * replica. */
#ifndef MT_TRAIN_SLOW_H
#define MT_TRAIN_SLOW_H

#include "parallel/balance.h"
#include "train/pace.h"

struct mt_slow;

/* replica: of each rank, -1: none; borrowed. moving: shares may move. Gives *out. Local. */
int mt_slow_new(struct mt_session *s, const int *replica, int moving, struct mt_slow **out);
void mt_slow_free(struct mt_slow *w);

/* One look, `steps` after the one before: all by rank, seen by replica. Rank 0 warns of who was
 * slow at two looks and has been waited for long enough. */
void mt_slow_look(struct mt_slow *w, const struct mt_pace_note *all,
                  const struct mt_balance_seen *seen, int64_t steps);
/* In place of that when shares move: to rows. */
void mt_slow_moving(struct mt_slow *w, const struct mt_pace_note *all,
                    const struct mt_balance_seen *seen, const int64_t *to);

/* Reorders v. */
double mt_slow_median(double *v, int n);
/* "31 ms", "0.4 ms", "2.5 s" */
const char *mt_slow_time(double seconds, char *buf, size_t room);

#endif
