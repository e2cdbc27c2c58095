/* pace.h -- how fast each rank computes while training, who is slow, and shares that follow. */
#ifndef MT_TRAIN_PACE_H
#define MT_TRAIN_PACE_H

#include "train/session.h"

struct mt_metric;
struct mt_pace;

/* metric: borrowed, NULL on ranks without one. Gives *out. Local. */
int mt_pace_new(struct mt_session *s, struct mt_metric *metric, struct mt_pace **out);
void mt_pace_free(struct mt_pace *p);

/* Around mt_exec_run of a step. whole: it is a whole batch, the only kind that is compared. */
void mt_pace_begin(struct mt_pace *p);
void mt_pace_end(struct mt_pace *p, int whole);
/* Something else than steps is over: the time since the last step is not one of computing. */
void mt_pace_mark(struct mt_pace *p);

/* Steps until the next look, of `most` that others have in mind, when a step takes `each`
 * seconds. */
double mt_pace_steps(const struct mt_pace *p, double most, double each);

/* What a rank tells the others. */
struct mt_pace_note {
    double seconds;   /* of a step until its gradients were there; 0: not known, or a later stage,
                         whose time is not that of its replica */
    double busy;      /* of a step without waiting for any other rank */
    double most;      /* rows that its memory carries */
    double cost;      /* seconds that the last move took */
};
struct mt_pace_note mt_pace_tell(const struct mt_pace *p);
/* all: the notes of all ranks, the same everywhere. Names who is slow; moves shares if that pays
 * and the configuration allows it. Collective. */
int mt_pace_look(struct mt_pace *p, const struct mt_pace_note *all);

#endif
