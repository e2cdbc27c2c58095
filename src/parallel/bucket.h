/* bucket.h -- gradients cut into the pieces in which they travel. */
#ifndef MT_PARALLEL_BUCKET_H
#define MT_PARALLEL_BUCKET_H

#include "graph/step.h"
#include "parallel/segment.h"

struct mt_cut {
    struct mt_range range;         /* of the gradient space; the first: with the statistics */
    const struct mt_group *group;  /* who sums it; borrowed */
    int tag;                       /* of mt_reduce_start, the same on all ranks of the group */
    int after;                     /* position of the last step that writes it; -1: none */
    int update;                    /* it can be updated by itself */
    int exact;                     /* it has the statistics: nothing may round it */
};

struct mt_cuts {
    struct mt_ctx *ctx;
    struct mt_segment *segment;
    int nsegment;
    struct mt_group stats;         /* who adds statistics */
    struct mt_cut *cut;            /* in the order in which their sums begin, everywhere */
    int n;
    int alike;                     /* every rank has all parameters and its own samples */
};

#define MT_TAGS_BUCKETS 4096       /* of mt_reduce: [0, this) are those of buckets */

/* steps: before any is inserted. most: elements of a bucket. apart: statistics are a bucket by
 * themselves in any case. Gives *out, to be ended by mt_cuts_fini also after a failure. */
int mt_cuts_init(const struct mt_graph *whole, const struct mt_graph *g,
                 const struct mt_layout *layout, int rank, int nrank,
                 const struct mt_steps *steps, uint64_t most, int apart, struct mt_cuts *out);
void mt_cuts_fini(struct mt_cuts *c);

#endif
