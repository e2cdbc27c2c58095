/* planner.h -- chooses who does what, from the work of a network, the speed of devices and the
 * links between them. Pure: the same arguments give the same plan on every rank. */
#ifndef MT_PARALLEL_PLANNER_H
#define MT_PARALLEL_PLANNER_H

#include "parallel/sim.h"

/* What is asked for; what is left at zero (schedule: -1) is chosen. */
struct mt_plan_wish {
    int64_t batch;               /* samples of a step over all replicas; needed */
    int data, stages, tensor;    /* replicas, stages of each, ranks that divide each stage */
    int chunks;                  /* stages a rank, with the interleaved schedule */
    int micros;                  /* micro-batches of every replica */
    int schedule;                /* enum mt_schedule; -1 */
    int recompute;               /* 1: always; -1: never; 0: where memory asks for it */
    int use_all;                 /* leave no rank out */
};
#define MT_PLAN_WISH(samples) ((struct mt_plan_wish){.batch = (samples), .schedule = -1})

struct mt_planned {
    struct mt_ctx *ctx;
    struct mt_layout *layout;
    struct mt_forecast *forecast;
    int nreason;
    char **reason;               /* lines: what was chosen, what comes next, who was left out and
                                    what using him would have cost */
    double even;                 /* seconds of a step of the best regular grid over all ranks with
                                    equal shares; INFINITY: none fits */
    int tried;                   /* layouts that were simulated */
};

/* Fails with MOTLEY_ECONFIG if the wish cannot be fulfilled or the network fits nowhere, saying
 * what lacks how much. Gives *out. */
int mt_planner_choose(const struct mt_graph *whole, const struct mt_load *load,
                      const struct mt_cluster *cluster, const struct mt_plan_wish *wish,
                      struct mt_planned **out);
/* Of a layout that is given: its forecast, and reasons that compare nothing. Takes a copy. */
int mt_planner_given(const struct mt_load *load, const struct mt_cluster *cluster,
                     const struct mt_layout *layout, int64_t batch, struct mt_planned **out);
void mt_planned_free(struct mt_planned *p);

#endif
