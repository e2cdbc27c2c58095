/* par.h -- passes that make one process's list of steps part of a parallel job. */
#ifndef MT_PARALLEL_PAR_H
#define MT_PARALLEL_PAR_H

#include "comm/comm.h"
#include "graph/exec.h"
#include "parallel/wire.h"

/* ---- share.c: who works on which samples --------------------------------------------------- */

/* Rows [*lo, *hi) of a global batch of `rows` for one rank: proportional to weight, every row to
 * exactly one rank, contiguous, in rank order; largest remainders first, ties to the lower rank.
 * weight NULL: equal. */
void mt_share(int64_t rows, const double *weight, int size, int rank, int64_t *lo, int64_t *hi);

/* ---- dp.c: data parallel -------------------------------------------------------------------
 * Gradients (and the statistics behind them) are cut into buckets in the order in which backward
 * finishes them. `reduce` after the last writer of a bucket opens a window on it and returns;
 * `wait` before its update makes the messages happen while the device computes on. */
struct mt_dp;

#define MT_DP_TAGS 1000   /* buckets take the tags of mt_reduce from 0 on, around */

struct mt_dp_opt {
    int64_t bucket_bytes;
    int clip;
};

/* Edits the list of mt_order for a job of more than one process. wire: borrowed, joined. Gives
 * *out. */
int mt_dp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_dp_opt *opt, struct mt_steps *steps,
              struct mt_dp **out);
void mt_dp_free(struct mt_dp *dp);

extern const struct mt_step_kind mt_step_reduce, mt_step_wait;

/* Seconds since the last call, for the report. What is not exposed was hidden. */
struct mt_dp_times {
    double flight;    /* at least one sum was in flight */
    double exposed;   /* a `wait` step waited when the device had finished backward */
};
struct mt_dp_times mt_dp_times(struct mt_dp *dp);

/* ---- par.c: all passes of one executor ----------------------------------------------------- */

/* What the passes keep for their steps: exec->pass. Members are NULL where there is nothing. */
struct mt_par {
    struct mt_ctx *ctx;
    struct mt_wire *wire;
    struct mt_dp *dp;
};

struct mt_par_opt {
    int64_t bucket_bytes;
    int clip;
};

/* Makes the list of one process part of the job (of one process: leaves it alone). Gives *out,
 * to be set as exec->pass. */
int mt_par_new(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *g,
               const struct mt_par_opt *opt, struct mt_steps *steps, struct mt_par **out);
void mt_par_free(struct mt_par *p);

#endif
