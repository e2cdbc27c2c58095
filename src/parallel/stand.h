/* stand.h -- a part of a network set up on a device as for training, to be measured. */
#ifndef MT_PARALLEL_STAND_H
#define MT_PARALLEL_STAND_H

#include "graph/exec.h"
#include "parallel/par.h"
#include "parallel/profile.h"

struct mt_stand {
    struct mt_graph *graph;     /* the whole, of which only the part is held */
    struct mt_store *store;
    struct mt_exec *exec;
    struct mt_par *par;         /* of a job; share: its gradients, NULL: not shared */
    struct mt_share *share;
    struct mt_batch batch;
    struct mt_steps steps;      /* until exec takes them over; data and parameter gradients are
                                   steps of their own */
};

/* Graph and list of nodes [lo, hi) for a batch of `rows`; s is all zero. */
int mt_stand_plan(const struct mt_graph *whole, double rows, int lo, int hi, struct mt_stand *s);
/* And memory, filled, with everything run once. *fits 0: it is too large for the device. */
int mt_stand_new(struct mt_dev *dev, const struct mt_graph *whole, const struct mt_optim *optim,
                 const struct mt_profile_opt *opt, double rows, int lo, int hi,
                 struct mt_stand *s, int *fits);
/* The part of this rank of a job: rows of its replica in micro-batches, with all messages. whole is
 * left as it is. *fits as above, for this rank; the ranks of the layout run it together.
 * Collective. */
int mt_stand_job(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                 const struct mt_optim *optim, const struct mt_profile_opt *opt,
                 const struct mt_layout *layout, int64_t rows, int micros, struct mt_stand *s,
                 int *fits);
/* Also after failure; zeroes s. */
void mt_stand_fini(struct mt_stand *s);

#endif
