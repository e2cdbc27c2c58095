/* layout.h -- who does what: the grid of a job as plain data, the same on every rank.
 *
 * A job is a list of replicas; each takes a share of every batch. A replica is a list of stages in
 * the order of the network, each with consecutive nodes of the whole graph. A stage is done by one
 * rank, or by several that divide its layers inside (tensor partition). Replicas need not be
 * alike: one may be a single device, another three stages on slower ones. A rank belongs to one
 * replica; with interleaved schedules it holds several stages of it.
 *
 * Nodes are numbered as in the whole graph (mt_graph_build), before any rewriting. */
#ifndef MT_PARALLEL_LAYOUT_H
#define MT_PARALLEL_LAYOUT_H

#include "graph/graph.h"

enum mt_schedule {
    MT_SCHEDULE_GPIPE = 0,    /* all forward, then all backward */
    MT_SCHEDULE_1F1B,         /* one forward, one backward; at most as many alive as stages */
    MT_SCHEDULE_INTERLEAVED,  /* 1F1B over several stages a rank */
    MT_SCHEDULE_ZERO_BUBBLE,  /* 1F1B, gradients of parameters as steps of their own, late */
    MT_SCHEDULES
};

struct mt_stage {
    int lo, hi;               /* nodes [lo, hi) */
    int nrank;                /* ranks that divide it, at least 1 */
    int *rank;                /* ranks of the job */
    double *width;            /* relative width of each one's part; NULL: equal */
    int recompute;            /* activations are computed again in backward */
};

struct mt_replica {
    double share;             /* relative share of every batch */
    int micros;               /* micro-batches a step */
    int nstage;
    struct mt_stage *stage;
};

struct mt_layout {
    struct mt_ctx *ctx;
    int nrank;                /* of the job; a rank that appears nowhere is left out: it has no
                                 samples and no layers, and only takes part in agreements */
    enum mt_schedule schedule;
    int nreplica;
    struct mt_replica *replica;
};

/* A regular grid of data x stages x tensor = nrank ranks; rank = (replica * stages + stage) *
 * tensor + part, and stage s of S * chunks lies on the ranks of stage s % S. The cut balances the
 * cost of the nodes (mt_op cost) unless `cut` names the first node of each stage but the first.
 * shares: NULL or `data` numbers. Gives *out. */
struct mt_mesh {
    int data, stages, tensor, chunks, micros;
    enum mt_schedule schedule;
    const int *cut;           /* stages * chunks - 1 nodes; NULL: balanced */
    const double *shares;
    int recompute;
};
int mt_layout_grid(const struct mt_graph *whole, int nrank, const struct mt_mesh *mesh,
                   struct mt_layout **out);

/* From the list `parallel.layout` of a configuration, or a file of that form (docs/parallel.md):
 *
 *     - share: 3
 *       micro_batches: 4
 *       stages:
 *         - {ranks: [0], to: relu1}              layers up to and with that one
 *         - {ranks: [1, 2], width: [2, 1]}       the last: all that is left
 *
 * or a map {schedule: 1f1b, replicas: that list}. Without a schedule: 1F1B, or interleaved if a
 * rank has several stages. Errors name the place. Gives *out. */
struct mt_tree;
int mt_layout_read(const struct mt_graph *whole, int nrank, const struct mt_tree *tree,
                   struct mt_layout **out);
/* The map as YAML text, to be saved, edited and given back. Gives *text (mt_free). */
int mt_layout_print(const struct mt_graph *whole, const struct mt_layout *l, char **text);
int mt_layout_copy(const struct mt_layout *l, struct mt_layout **out);
void mt_layout_free(struct mt_layout *l);
/* Leaves out the ranks of a replica; at least one must stay. */
void mt_layout_drop(struct mt_layout *l, int replica);

/* Every node exactly once a replica, every rank in at most one replica, at most one part of a
 * stage a rank, numbers in range; stages of a replica where the schedule can take them. */
int mt_layout_check(const struct mt_graph *whole, const struct mt_layout *l);

/* How many stages later the ranks of stage 0 of a replica come again; nstage if never. */
int mt_layout_stride(const struct mt_replica *r);

/* For cuts that are chosen: may[i] says whether a stage should begin with node i. Not so where the
 * node is done by the one before it (a view, or a function that its GEMM applies). Gives *may
 * (mt_free). */
int mt_layout_may_cut(const struct mt_graph *whole, char **may);

/* Where a rank is. replica -1: left out. */
struct mt_seat_in {
    int replica, part;                /* part: index in each of its stages' rank list */
    int nstage;                       /* how many stages of the replica it holds */
    int first;                        /* the lowest of them; they are `stride` apart */
    int stride;
};
void mt_layout_where(const struct mt_layout *l, int rank, struct mt_seat_in *seat);

#endif
