/* sim.h -- what a step of a layout would take, played event by event; nothing is run.
 *
 * Every group of ranks that does a stage takes the items of its schedule in order; an item begins
 * when the group is free and what it needs has arrived. Messages take latency and bytes over
 * bandwidth, one after the other out of a rank, beside its computing. Sums over the parts of a
 * divided layer are waited for. Gradients of a layer are reduced among the ranks that hold it as
 * soon as the last of them has finished it, in pieces, beside the rest of backward; a piece is
 * updated when its sum is there. */
#ifndef MT_PARALLEL_SIM_H
#define MT_PARALLEL_SIM_H

#include "parallel/load.h"

/* Prefix sums of the times of all nodes, kept for devices and numbers of samples that were asked
 * for before. Belongs to one load and one cluster, which must outlive it. */
struct mt_times;
struct mt_memory_sums;         /* prefix sums of memory, see below */
int mt_times_new(const struct mt_load *l, const struct mt_cluster *c, struct mt_times **out);
void mt_times_free(struct mt_times *t);

/* Of the nodes before i, load.n + 1 numbers each: seconds of each work; bytes a sample and number
 * of the sums over the parts of divided nodes, one direction. Valid until mt_times_free. */
struct mt_span {
    const double *sum[MT_WORKS];
    const double *part_row, *parts;
};
int mt_times_get(struct mt_times *t, int kind, double rows, double width, struct mt_span *out);
const struct mt_load *mt_times_load(const struct mt_times *t);
const struct mt_cluster *mt_times_cluster(const struct mt_times *t);
const struct mt_memory_sums *mt_times_memory(const struct mt_times *t);

/* One rank. Bytes. */
struct mt_forecast_rank {
    double busy;          /* seconds of computing in a step, without the update */
    double params;        /* parameters, gradients, state of the optimizer */
    double kept;          /* values that wait for backward: of all micro-batches alive */
    double buffers;       /* samples, messages, values of the moment */
    double memory;        /* all of it */
};

struct mt_forecast_replica {
    int64_t rows;         /* its part of the batch */
    double seconds;       /* until its last backward ends */
};

struct mt_forecast {
    struct mt_ctx *ctx;
    double step;          /* seconds of a step */
    double rate;          /* samples a second */
    double bubble;        /* share of the time until the end of backward in which ranks that have
                             work are idle, over the ranks of all replicas */
    double exposed;       /* seconds of the step after the last backward in which sums of gradients
                             are waited for */
    double sums;          /* seconds of sums inside divided layers, on the rank with most */
    int misfit;           /* a rank whose memory, or an allocation of it, is too large; -1 */
    double lack;          /* how many bytes too many */
    int nrank, nreplica;
    struct mt_forecast_rank *rank;
    struct mt_forecast_replica *replica;
};

/* batch: samples of a step over all replicas. Gives *out. */
int mt_sim_run(struct mt_times *t, const struct mt_layout *l, int64_t batch,
               struct mt_forecast **out);
void mt_forecast_free(struct mt_forecast *f);

/* ---- memory of a stage (sim_memory.c), for the simulator and for those who cut -------------- */

struct mt_stage_use {
    int lo, hi, first, last;   /* nodes; whether it is the first, the last stage */
    double width;              /* of the part, of 1 */
    double micro_rows;         /* of the largest micro-batch */
    double rows;               /* of the replica */
    int alive;                 /* micro-batches at once */
    int recompute;
};

int mt_memory_new(const struct mt_load *l, struct mt_memory_sums **out);
void mt_memory_free(struct mt_memory_sums *m);
/* Adds what the stage takes to *r; returns the largest single allocation. */
double mt_memory_add(const struct mt_memory_sums *m, const struct mt_stage_use *u,
                     struct mt_forecast_rank *r);

#endif
