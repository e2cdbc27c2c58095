/* exec.h -- a graph bound to a device: programs, memory, steps; run by one loop.
 *
 * Making it allocates everything; running it allocates nothing and waits only where a step kind
 * says so. Two executors (training and evaluation) may share one store. */
#ifndef MT_GRAPH_EXEC_H
#define MT_GRAPH_EXEC_H

#include "graph/plan.h"
#include "graph/store.h"

/* One call: samples on the device, x and y as large as planned, `rows` of them present. */
struct mt_batch {
    struct mt_tensor x, y;
    int64_t rows;            /* of this process; 0 is fine */
    int64_t first;           /* position of row 0 in the global batch */
    int64_t step;            /* optimizer steps done */
    double lr;
};

struct mt_exec {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_graph *graph;          /* borrowed; bound by this executor */
    struct mt_store *store;          /* borrowed */
    const struct mt_optim *optim;    /* borrowed; NULL: no update */
    enum mt_mode mode;
    uint64_t seed;
    double clip_norm;                /* 0: none */
    int micros;
    struct mt_steps steps;
    struct mt_plan *plan;
    int narena;
    struct mt_buf *arena[MT_MAXARENA];
    int borrowed[MT_MAXARENA];       /* the arena is another executor's */
    struct mt_tensor stats;          /* MT_STATS sums of the call */
    struct mt_kernel *kernel[3];     /* of update.c */
    struct mt_buf *partial;          /* of the norm: sums of squares */
    struct mt_buf *own_stats;        /* where there is no gradient space to carry them */
    int check_nan;
    struct mt_batch batch;           /* of the call in progress */
    void *pass;                      /* of the passes that edited the steps (mt_par) */
    double talked;                   /* seconds of processor time in steps that communicate */

    /* device.slow: after computing for t seconds the executor idles (slow - 1) t, from optimizer
     * step slow_from on. */
    double slow;
    int64_t slow_from;
    int64_t slow_since;              /* when the stretch of computing began; 0: none */
    double slow_spent;               /* processor time then */
    double owed;                     /* seconds not idled yet: naps are never exact */
    int (*idle)(struct mt_exec *x, double seconds);   /* sleeps; a pass sets one that lets
                                                         messages progress */
};

struct mt_exec_opt {
    enum mt_mode mode;
    int micros;
    uint64_t seed;
    double clip_norm;
    const struct mt_optim *optim;
    int hold_output;                 /* output must be readable after the call; micros is 1 */
    double slow;                     /* testing aid: so many times slower; 0 and 1: as it is */
    int64_t slow_from;               /* ... from this optimizer step on */
    const struct mt_exec *share;     /* use its arenas where they are large enough: the two never
                                        run at the same time; it must live longer; NULL: none */
};

/* steps: taken over (emptied). Memory is planned, compared with the device, then allocated.
 * Gives *out. */
int mt_exec_new(struct mt_dev *dev, struct mt_graph *g, struct mt_store *store,
                const struct mt_exec_opt *opt, struct mt_steps *steps, struct mt_exec **out);
void mt_exec_free(struct mt_exec *x);

/* Enqueues one call. Statistics of the call are in x->stats (evaluation: summed since
 * mt_exec_clear) and, after scale, in store->scalar. */
int mt_exec_run(struct mt_exec *x, const struct mt_batch *b);
int mt_exec_clear(struct mt_exec *x);

/* Seconds of processor time in steps that communicate, since the last call. */
double mt_exec_talked(struct mt_exec *x);

/* For measuring: one step of the list, x->batch says of what; and, after several, the idling of a
 * device that is to be slow. */
int mt_exec_step(struct mt_exec *x, const struct mt_step *s);
int mt_exec_settle(struct mt_exec *x);

/* The output of a prediction (hold_output), rows of the last call. */
struct mt_tensor mt_exec_output(const struct mt_exec *x);

/* Samples of micro-batch m of a call with `rows` rows: [*lo, *hi). */
void mt_exec_micro(const struct mt_exec *x, int64_t rows, int m, int64_t *lo, int64_t *hi);

#endif
