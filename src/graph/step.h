/* step.h -- what a process does in one optimizer step, as a flat list that can be printed,
 * measured, edited by passes, and run by one loop.
 *
 * A kind of step is a table; the kinds that communicate live in parallel/. Steps run in order on
 * one in-order queue; those that start something asynchronous carry a ticket that a later step
 * names. */
#ifndef MT_GRAPH_STEP_H
#define MT_GRAPH_STEP_H

#include "graph/graph.h"

struct mt_exec;
struct mt_step;

/* Memory of the plan that a step touches. */
enum mt_item_kind { MT_ITEM_VALUE = 0, MT_ITEM_GRAD, MT_ITEM_SAVED, MT_ITEM_SCRATCH,
                    MT_ITEM_KINDS };

struct mt_item {
    enum mt_item_kind kind;
    int id;          /* VALUE: root of a value; GRAD: its `grad`; SAVED: node * MT_MAXPARAM + i;
                        SCRATCH: node * MT_SCRATCHES + want of the step */
    int micro;
    int again;       /* of the forward that is done once more, for backward */
};

#define MT_SCRATCHES 4   /* of a node: forward, and backward for each `want` */

#define MT_MAXUSES (4 * MT_MAXIN + MT_MAXPARAM + 1)

struct mt_uses {
    int n;
    struct mt_item item[MT_MAXUSES];
};

struct mt_step_kind {
    const char *name;                                                 /* "fwd", "reduce", ... */
    int (*run)(struct mt_exec *x, const struct mt_step *s);
    /* What it reads and writes in arenas; NULL: nothing. */
    void (*uses)(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u);
    int computes;     /* it is work of the device: what device.slow makes slower */
    int gives_grad;   /* it writes the gradient of s->value, before any consumer adds to it */
    const char *way;  /* of kinds that move s->value: "to" or "from" s->peer; NULL: others */
};

struct mt_step {
    const struct mt_step_kind *kind;
    int node, micro;             /* -1: none */
    int value, peer, tag;        /* of steps that move a value: which, the other rank, and the name
                                    of the message between the two; else 0 */
    int again;                   /* fwd: once more, for backward; bwd: reads what that gave */
    unsigned want;               /* bwd: MT_WANT_DATA | MT_WANT_PARAM */
    unsigned acc_in, acc_param;  /* bwd: bits as in struct mt_io */
    struct mt_range range;       /* part of the flat space */
    int ticket;                  /* -1: none */
};

struct mt_steps {
    struct mt_ctx *ctx;
    int n, room;
    struct mt_step *step;
};

extern const struct mt_step_kind mt_step_fwd, mt_step_bwd;         /* node, micro */
extern const struct mt_step_kind mt_step_stats;                    /* add a micro-batch's loss */
extern const struct mt_step_kind mt_step_norm;                     /* square sum of a range */
extern const struct mt_step_kind mt_step_scale;                    /* 1/count and clipping */
extern const struct mt_step_kind mt_step_update;                   /* optimizer on a range */

/* What step s finds under (kind, id). Computed again are the values that nodes of the same segment
 * write; what came from elsewhere is there once. */
struct mt_item mt_step_item(const struct mt_graph *g, const struct mt_step *s,
                            enum mt_item_kind kind, int id);

int mt_steps_add(struct mt_steps *l, const struct mt_step *s);
void mt_steps_fini(struct mt_steps *l);

struct mt_order_opt {
    enum mt_mode mode;
    int micros;          /* micro-batches a step */
    int clip;            /* gradient clipping is on: norm steps */
};

/* The list of one process alone: forward and backward of each micro-batch, then norm, scale,
 * update (training) or forward only (evaluation, prediction). */
int mt_order(const struct mt_graph *g, const struct mt_order_opt *opt, struct mt_steps *out);

/* The parts that other orders are made of. Forward of the held nodes in [lo, hi), and the figures
 * if the loss is among them; backward of those that the loss depends on, last one first, of data
 * gradients, parameter gradients or both (want). Then, once all are there, the bits that say who
 * writes and who adds (`acc_in`, `acc_param`, and of stats), by what comes first in the list; then
 * norm, scale, update. */
int mt_order_forward(const struct mt_graph *g, int lo, int hi, int micro, struct mt_steps *out);
int mt_order_backward(const struct mt_graph *g, int lo, int hi, int micro, unsigned want,
                      struct mt_steps *out);
int mt_order_acc(const struct mt_graph *g, int micros, struct mt_steps *out);
int mt_order_tail(const struct mt_graph *g, int clip, struct mt_steps *out);

/* reached[node], nnode of them: backward passes through it, held or not. */
int mt_order_reached(const struct mt_graph *g, char *reached);

/* One line: "bwd  linear2  micro 0  writes grad". */
void mt_step_print(const struct mt_graph *g, const struct mt_step *s, char *buf, int room);

#endif
