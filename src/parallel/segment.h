/* segment.h -- which ranks hold the same numbers: pieces of the flat space with the ranks among
 * which their gradients are summed. */
#ifndef MT_PARALLEL_SEGMENT_H
#define MT_PARALLEL_SEGMENT_H

#include "comm/comm.h"
#include "parallel/layout.h"

struct mt_segment {
    struct mt_range range;   /* in this process's flat space */
    uint64_t key;            /* place in the network's flat space: the same order on all ranks */
    struct mt_group group;   /* who holds it; the first part of each replica adds */
    int alike;               /* all of them hold these parameters whole or the same part, so
                                neighbours in the flat space are neighbours on each */
    int mine;                /* this rank stands for it in sums over parameters */
};

/* whole: the network; g: what this rank has of it (held, divided). layout NULL: every rank has
 * all. Segments are in the order of the flat space and hold every parameter once. Gives *list
 * (mt_segments_free). */
int mt_segments_new(const struct mt_graph *whole, const struct mt_graph *g,
                    const struct mt_layout *layout, int rank, int nrank,
                    struct mt_segment **list, int *n);
void mt_segments_free(struct mt_ctx *ctx, struct mt_segment *list, int n);

/* Who adds to the statistics: the first part of each replica's last stage; all get them. Gives
 * group->rank and adds (mt_segments_free_group). */
int mt_segment_stats(struct mt_ctx *ctx, const struct mt_layout *layout, int nrank,
                     struct mt_group *group);
void mt_segment_free_group(struct mt_ctx *ctx, struct mt_group *group);

#endif
