/* team.h -- inside the planner: ways to put ranks together as replicas. */
#ifndef MT_PARALLEL_TEAM_H
#define MT_PARALLEL_TEAM_H

#include "parallel/arrange.h"
#include "parallel/planner.h"

/* Takes the team. */
typedef int mt_team_fn(void *arg, struct mt_team *team);

/* Ranks in an order in which neighbours belong together: by kind (rate: samples a second of each;
 * faster first), host, number. Gives *out, nrank of them (mt_free). */
int mt_team_order(const struct mt_cluster *c, const double *rate, int **out);

/* Whether mt_teams_all takes so many ranks. */
#define MT_TEAM_ALL 8
/* Every way to divide some or all ranks into pipelines, and into groups that divide layers; those
 * that differ only in equal ranks once. */
int mt_teams_all(const struct mt_cluster *c, const struct mt_plan_wish *wish, mt_team_fn *fn,
                 void *arg);

/* Replicas of `stages` * `tensor` ranks, one after the other in the order; what is left over at
 * the end is left out. data: so many; 0: as many as there are. *out NULL: none. Gives *out. */
int mt_team_runs(const struct mt_cluster *c, const int *order, int n, int data, int stages,
                 int tensor, struct mt_team **out);

/* How the ranks of each kind are put together: by kind, stages 0: not at all. Groups that divide
 * layers are of one host. What is left over is `mix`ed into one more pipeline, or left out. */
struct mt_team_choice {
    int stages, tensor;
};
int mt_team_kinds(const struct mt_cluster *c, const int *order, const struct mt_team_choice *choice,
                  int mix, struct mt_team **out);

/* `data` replicas, each a pipeline over ranks of all kinds that are used (by kind), with the same
 * number of each: so the ranks that hold a layer are of one kind. *out NULL: too few of some kind,
 * or more than `most` stages. */
int mt_team_joined(const struct mt_cluster *c, const int *order, const char *use, int data,
                   int tensor, int most, struct mt_team **out);

#endif
