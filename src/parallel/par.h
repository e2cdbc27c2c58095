/* par.h -- passes that make one process's list of steps part of a parallel job. */
#ifndef MT_PARALLEL_PAR_H
#define MT_PARALLEL_PAR_H

#include "comm/comm.h"
#include "graph/exec.h"
#include "parallel/layout.h"
#include "parallel/wire.h"

/* ---- share.c: who works on which samples --------------------------------------------------- */

/* Rows [*lo, *hi) of a global batch of `rows` for one rank: proportional to weight, every row to
 * exactly one rank, contiguous, in rank order; largest remainders first, ties to the lower rank.
 * weight NULL: equal. */
void mt_share(int64_t rows, const double *weight, int size, int rank, int64_t *lo, int64_t *hi);
/* How many rows each of them gets. */
void mt_share_counts(int64_t rows, const double *weight, int size, int64_t *count);

/* Rows of a batch for each of n ranks such that the longest time is shortest, by what each takes
 * against its rows (not falling) and the most that it can have; they add up to batch. Returns the
 * longest time, or a negative number if all can have less than the batch together. */
struct mt_curve;
double mt_share_by_time(int n, const struct mt_curve *curve, const int64_t *most, int64_t batch,
                        int64_t *rows);

/* ---- dp.c: gradients of what several ranks hold ---------------------------------------------
 * Gradients (and the statistics behind them) are cut into buckets in the order in which backward
 * finishes them. `reduce` after the last writer of a bucket opens a window on it and returns;
 * `wait` before its update makes the messages happen while the device computes on. */
struct mt_dp;

struct mt_dp_opt {
    int64_t bucket_bytes;             /* as floats, however they travel */
    int bf16;                         /* gradients travel as bf16; statistics and norms do not */
    int clip;
    int apart;                        /* this rank is left out, and nothing is clipped: statistics
                                         stay in host memory */
    const struct mt_layout *layout;   /* NULL: every rank has all and its own samples */
    const struct mt_graph *whole;     /* the network of the layout */
    const struct mt_share *share;     /* where gradients lie, or may; NULL: messages only */
};

/* Edits a list for a job of more than one process. wire: borrowed, joined; layout and whole are
 * not kept, share is borrowed. Gives *out. */
int mt_dp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_dp_opt *opt, struct mt_steps *steps,
              struct mt_dp **out);
void mt_dp_free(struct mt_dp *dp);

extern const struct mt_step_kind mt_step_reduce, mt_step_wait;

/* MT_STATS sums of the last step on a rank whose device does not have them (`apart`): there
 * store->scalar says nothing. Else NULL. */
const float *mt_dp_apart(const struct mt_dp *dp);

/* Seconds since the last call, for the report. What is not exposed was hidden. */
struct mt_dp_times {
    double flight;    /* at least one sum was in flight */
    double exposed;   /* a `wait` step waited when the device had finished backward */
};
struct mt_dp_times mt_dp_times(struct mt_dp *dp);

/* Times of mt_comm_clock in the last step, for measuring how long this process computes. */
struct mt_dp_clock {
    double over;      /* the last gradients were seen on the host */
    double waited;    /* all sums were there */
};
struct mt_dp_clock mt_dp_clock(const struct mt_dp *dp);

/* ---- pipe.c: stages ------------------------------------------------------------------------
 * A process holds the nodes of its stages; what crosses a cut is sent to the neighbour: values
 * forward, their gradients back. A value that is read stages later is handed on by each stage
 * between, so gradients of it are added where they pass. */
struct mt_pipe;

/* The list of one rank of the layout, in place of mt_order: forward and backward of its stages in
 * the order of the schedule (mt_schedule_items), sends and receives between, then the tail. With
 * one stage a replica it is mt_order's list. g: the graph of the process (its nodes held); stages
 * are told by `origin`. opt->micros is the replica's. A rank that is left out gets the tail. */
int mt_pipe_order(const struct mt_graph *g, const struct mt_layout *l, int rank,
                  const struct mt_order_opt *opt, struct mt_steps *out);

/* What the sends and receives of a list need. wire: borrowed, joined. Gives *out, NULL if there
 * are none. */
int mt_pipe_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
                const struct mt_graph *g, const struct mt_steps *steps, struct mt_pipe **out);
void mt_pipe_free(struct mt_pipe *p);

/* ---- tp.c, tp_rewrite.c, tp_split.c: layers divided inside ---------------------------------
 * A rewrite of the graph: divided layers become parts, with nodes between them that communicate
 * and whose backward is the partner's forward. Values outside of such a stretch of layers, so all
 * that cross a border of stages, are complete and alike on the ranks of the stage. */
struct mt_tp;

#define MT_TP_TAG 4999   /* of mt_reduce: no bucket has it */

/* The graph of one rank: `whole` itself copied where its stages have one rank. Sets `origin` of
 * every node, and of every parameter what it is of the network's: `full`, `axis`, `first`,
 * `whole`. Holds what `whole` holds. Gives *out. */
int mt_tp_rewrite(const struct mt_graph *whole, const struct mt_layout *l, int rank,
                  struct mt_graph **out);

/* The part of parameter `param` of node `node` (of the whole graph) that part `part` of the ranks
 * of its stage in a replica holds: [lo, hi) of dimension `axis`; held 0: none of it. The slices
 * that are held tile the parameter, or are all of it each. */
struct mt_slice {
    int held, axis;
    int64_t lo, hi;
};
int mt_tp_slice(const struct mt_graph *whole, const struct mt_layout *l, int replica, int node,
                int param, int part, struct mt_slice *out);

/* Turns the steps of communicating nodes into kinds that communicate; makes what they need. Before
 * mt_dp_new: one step of a layer may become two, and its gradients are complete after the second.
 * wire: borrowed, joined. Gives *out. */
int mt_tp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_layout *l, struct mt_steps *steps,
              struct mt_tp **out);
void mt_tp_free(struct mt_tp *t);

extern const struct mt_step_kind mt_step_tp_begin, mt_step_tp_end;   /* node, micro, want */

/* ---- par.c: all passes of one executor ----------------------------------------------------- */

/* What the passes keep for their steps: exec->pass. Members are NULL where there is nothing. */
struct mt_par {
    struct mt_ctx *ctx;
    struct mt_wire *wire;
    struct mt_tp *tp;
    struct mt_pipe *pipe;
    struct mt_dp *dp;
};

struct mt_par_opt {
    int64_t bucket_bytes;
    int bf16;                         /* gradients travel as bf16 */
    int clip;
    int sums;                         /* gradients travel: training */
    const struct mt_layout *layout;   /* NULL: every rank has all and its own samples */
    const struct mt_graph *whole;     /* the network of the layout */
    const struct mt_share *share;     /* of gradients, borrowed; NULL: none */
};

/* The graph of one rank of a layout (NULL: it has everything): divided, held. Takes whole, also
 * when it fails. Gives *out. */
int mt_par_graph(struct mt_graph *whole, const struct mt_layout *layout, int rank,
                 struct mt_graph **out);
/* Its list of steps, in place of mt_order. */
int mt_par_order(const struct mt_graph *g, const struct mt_layout *layout, int rank,
                 const struct mt_order_opt *opt, struct mt_steps *out);

/* Makes the list of one process part of the job (of one process: leaves it alone). Gives *out,
 * to be set as exec->pass. */
int mt_par_new(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *g,
               const struct mt_par_opt *opt, struct mt_steps *steps, struct mt_par **out);
void mt_par_free(struct mt_par *p);

/* For exec->idle: sleeps while messages go on. */
int mt_par_idle(struct mt_exec *x, double seconds);

#endif
