/* sched.h -- the learning rate as a pure function of the step, so that a resumed run needs no
 * memory of it, and with the same bits on every host (same.h). */
#ifndef MT_OPTIM_SCHED_H
#define MT_OPTIM_SCHED_H

#include "base/tree.h"

struct mt_ctx;
struct mt_sched;

/* What a schedule may know. */
struct mt_sched_run {
    double base;               /* the optimizer's lr */
    int64_t total;             /* optimizer steps planned; 0: unknown */
    int64_t steps_per_epoch;
    int64_t warmup;            /* steps of warm-up, already served */
};

struct mt_sched_kind {
    const char *name, *doc;
    const struct mt_attr *attrs;     /* the first is warmup */
    int needs_total;
    /* Rate of step s = 0, 1, ... after the warm-up, as a multiple of base. */
    double (*factor)(const union mt_attr_val *attr, const struct mt_sched_run *run, int64_t s);
};

extern const struct mt_sched_kind *const mt_scheds[];   /* ends in NULL */

/* t: the `schedule` section, {type: cosine, warmup: 100}; NULL: constant. Gives *out. */
int mt_sched_new(struct mt_ctx *ctx, const struct mt_tree *t, double base, int64_t total,
                 int64_t steps_per_epoch, struct mt_sched **out);
void mt_sched_free(struct mt_sched *s);
double mt_sched_lr(const struct mt_sched *s, int64_t step);

#endif
