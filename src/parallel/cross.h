/* cross.h -- what crosses the cuts between the stages of a replica. */
#ifndef MT_PARALLEL_CROSS_H
#define MT_PARALLEL_CROSS_H

#include "parallel/layout.h"

/* A value (not a view of one) that is written before a cut and read behind it. */
struct mt_cross {
    int base;
    int back;                 /* backward gives it a gradient behind the cut, which returns */
};

/* Cut s is the one in front of stage s: cut 0 has nothing. */
struct mt_crossings {
    struct mt_ctx *ctx;
    int nstage;
    int *node;                /* stage s has the nodes [node[s], node[s + 1]) of the graph */
    int *from;                /* at cut s cross list[from[s]] to list[from[s + 1] - 1], in the
                                 order of their numbers */
    struct mt_cross *list;
};

/* g: the graph of any rank of the replica; its nodes are told by `origin`. Samples and targets
 * never cross: whoever needs them reads them. Gives *out. */
int mt_crossings_new(const struct mt_graph *g, const struct mt_replica *r,
                     struct mt_crossings **out);
void mt_crossings_free(struct mt_crossings *c);

#endif
