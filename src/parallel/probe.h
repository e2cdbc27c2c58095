/* probe.h -- times of one rank's device on the nodes of a network; what profile.c is made of. */
#ifndef MT_PARALLEL_PROBE_H
#define MT_PARALLEL_PROBE_H

#include "comm/comm.h"
#include "graph/graph.h"
#include "parallel/profile.h"

struct mt_probe {
    struct mt_ctx *ctx;
    int nnode, nsize;
    double rows[MT_CURVE_POINTS];          /* sizes, the same on all ranks, ascending */
    int done;                              /* the first so many were measured */
    int *like;                             /* of node i: the first node that is the same work */
    double (*time)[MT_WORKS][MT_CURVE_POINTS];   /* of each node that is like no
                                              earlier one; 0: no such step, NaN: not measured */
    double update;                         /* seconds a parameter */
    double add;                            /* ... when its gradient is added to one before */
};

/* As mt_profile_measure, for this rank alone. Collective: sizes begin together. Gives *out. */
int mt_probe_new(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                 const struct mt_optim *optim, const struct mt_profile_opt *opt,
                 struct mt_probe **out);
void mt_probe_free(struct mt_probe *p);

#endif
