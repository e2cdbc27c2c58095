/* arrange.h -- inside the planner: groups of ranks become a layout with cuts, micro-batches and
 * shares. */
#ifndef MT_PARALLEL_ARRANGE_H
#define MT_PARALLEL_ARRANGE_H

#include "parallel/sim.h"

/* The ranks of a replica: `tensor` for each of nstage stages, stage by stage. */
struct mt_crew {
    int nstage, tensor;
    const int *rank;
};

struct mt_team {
    struct mt_ctx *ctx;
    int ncrew;
    struct mt_crew *crew;
    int *rank;                 /* of all crews */
    int used;
};

/* Room for nrank ranks. Gives *out. */
int mt_team_new(struct mt_ctx *ctx, int nrank, struct mt_team **out);
void mt_team_free(struct mt_team *t);
/* One crew more: nstage * tensor ranks, copied. */
void mt_team_add(struct mt_team *t, int nstage, int tensor, const int *rank);

struct mt_arrange_opt {
    int64_t batch;
    enum mt_schedule schedule;
    int chunks;                /* stages a rank of a pipeline: 1 unless interleaved */
    int micros;                /* of every replica; 0: depth times the stages of a pipeline */
    int depth;
    int recompute;             /* 1: always; -1: never; 0: where memory asks for it */
    int use_all;               /* replicas without samples stay */
};

struct mt_arranger;
/* times, and what it is of, must outlive it. may: mt_layout_may_cut. Gives *out. */
int mt_arranger_new(struct mt_times *times, const char *may, struct mt_arranger **out);
void mt_arranger_free(struct mt_arranger *a);

/* Cuts by time and memory of each rank, as many micro-batches as memory asks for, and shares for
 * which the slowest replica is as fast as possible. Replicas without samples are left away. *out
 * NULL: some replica has no cut that fits. Gives *out. */
int mt_arrange(struct mt_arranger *a, const struct mt_team *team, const struct mt_arrange_opt *o,
               struct mt_layout **out);

#endif
