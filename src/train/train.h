/* train.h -- the loop of training. */
#ifndef MT_TRAIN_TRAIN_H
#define MT_TRAIN_TRAIN_H

#include "train/session.h"

struct mt_train_opt {
    const char *folder;              /* NULL: nothing is written */
    int resume, force;
    motley_progress_fn *progress;
    void *arg;
};

/* motley_fit of motley.h. Collective. */
int mt_train(struct mt_session *s, const struct mt_train_opt *opt);

/* ---- folder.c: the run folder, on rank 0 --------------------------------------------- */

/* Makes or takes over the folder; *c is the checkpoint to continue from, NULL: from the start. */
int mt_folder_open(struct mt_session *s, const struct mt_train_opt *opt, struct mt_ckpt **c);

/* ---- late.c: figures of steps, read when they are there ------------------------------ */

/* The scalars of a step are copied aside on the device and looked at two steps later, so that
 * nobody waits for the end of a step to begin the next. */
struct mt_late;

/* What the host has done so far. */
struct mt_late_host {
    double busy;                     /* processor time of its thread, without messages */
    uint64_t launches;
    int64_t starved;                 /* steps that began when the device had nothing left to do */
};

struct mt_late_step {
    int64_t step, epoch;             /* numbers, from 1 */
    int64_t rows;                    /* samples over all processes */
    double lr;
    double loss, terms, hits, norm;  /* when read: sums; norm of the gradient */
    double loss_scale, skipped;      /* of fp16: MT_SCALAR_LOSS_SCALE, MT_SCALAR_SKIPPED */
    struct mt_late_host host;        /* then; only of the last step of an interval */
};

int mt_late_new(struct mt_session *s, struct mt_late **out);
void mt_late_free(struct mt_late *l);
/* Of a rank that is left out: the figures of the step that mt_exec_run was of, if no device has
 * them (1: v is filled). */
int mt_late_apart(const struct mt_session *s, float v[MT_SCALARS]);
/* After mt_exec_run of that step. *have: the step before the one before was read, into *old. */
int mt_late_push(struct mt_late *l, const struct mt_late_step *now, struct mt_late_step *old,
                 int *have);
/* Whether the device is done with all steps that were pushed. */
int mt_late_over(struct mt_late *l, int *over);
/* The oldest step not yet read, waiting for it; *have 0: none is left. */
int mt_late_pop(struct mt_late *l, struct mt_late_step *old, int *have);

#endif
