/* planner_impl.h -- what planner*.c share: the search for a layout under way. */
#ifndef MT_PARALLEL_PLANNER_IMPL_H
#define MT_PARALLEL_PLANNER_IMPL_H

#include "parallel/planner.h"
#include "parallel/team.h"
#include "parallel/why.h"

#define MT_PLANNER_DEPTH   4   /* micro-batches for each stage, at first */
#define MT_PLANNER_REFINED 6   /* of the best: tried in all variants */
#define MT_PLANNER_PARTS   8   /* ranks that divide a layer, at most */

struct mt_planner_draft {
    struct mt_team *team;
    double seconds;        /* estimated, then simulated */
    int number;            /* in the order of making */
};

struct mt_planner {
    struct mt_ctx *ctx;
    const struct mt_graph *whole;
    const struct mt_load *load;
    const struct mt_cluster *cluster;
    const struct mt_plan_wish *wish;
    struct mt_times *times;
    struct mt_arranger *arranger;
    char *may;
    int places;            /* most stages */
    double *rate;          /* by rank: samples a second of the whole network */
    int *order;
    int ndraft, roomdraft;
    struct mt_planner_draft *draft;
    struct mt_why *why;
    struct mt_layout *best;
    struct mt_forecast *forecast;
    double even;
    int tried;
};

/* ---- planner_judge.c ----------------------------------------------------------------------- */

int mt_planner_is_wished(const struct mt_planner *s, int stages, int tensor);
/* Simulates a layout and takes it if it is the best that fits. *seconds: INFINITY if it does not
 * fit. */
int mt_planner_judge(struct mt_planner *s, struct mt_layout *l, double *seconds);
int mt_planner_judge_team(struct mt_planner *s, const struct mt_team *team,
                          const struct mt_arrange_opt *o, double *seconds);
struct mt_arrange_opt mt_planner_options(const struct mt_planner *s);   /* what is tried first */
/* A lower bound of its seconds, nearly. */
double mt_planner_estimate(const struct mt_planner *s, const struct mt_team *team);
/* Takes the team for later. */
int mt_planner_keep(struct mt_planner *s, struct mt_team *team, double seconds);
/* Takes the team (may be NULL): judges it and keeps it for later. seconds: may be NULL. */
int mt_planner_try(struct mt_planner *s, struct mt_team *team, double *seconds);
void mt_planner_sort(struct mt_planner *s);   /* what is kept, the fastest first */

/* ---- planner_many.c ------------------------------------------------------------------------ */

/* Equal replicas in the order of the ranks and of their speed. */
int mt_planner_runs(struct mt_planner *s);
/* Begins with the fastest kind alone, and gives each kind its best use in turn. */
int mt_planner_kinds(struct mt_planner *s);
/* Pipelines over several kinds: all subsets of few kinds, or the fastest ones of many. */
int mt_planner_joined(struct mt_planner *s);

/* ---- planner_even.c ------------------------------------------------------------------------ */

int mt_planner_even(struct mt_planner *s);

#endif
