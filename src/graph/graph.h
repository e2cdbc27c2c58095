/* graph.h -- a network as nodes and values, before any memory or device.
 *
 * Nodes stand in an order in which each comes after what it reads. A value is what a node writes
 * or what comes from outside. Values that share memory (views, in-place results) name one root,
 * and their gradients one value. */
#ifndef MT_GRAPH_GRAPH_H
#define MT_GRAPH_GRAPH_H

#include "base/tree.h"
#include "device/tensor.h"
#include "ops/op.h"

struct mt_ctx;
struct mt_dev;

#define MT_FLAT_ALIGN 64   /* elements: each parameter starts at a multiple, see store.h */

struct mt_value {
    struct mt_spec spec;
    int node, port;        /* who writes it: out[port] of node; node -1: from outside */
    int base;              /* through views: the value it is another shape of; itself if none */
    int root;              /* through views and in-place results: whose memory this is */
    int grad;              /* whose memory its gradient is: as root, but a result that is its input
                              in forward only (MT_OP_ALIAS) has one of its own where the input
                              has other readers */
    enum mt_dtype grad_dtype;   /* how its gradient is stored: as its reader says (n.din) */
    int consumers;         /* of a base: operations that read it or a view of it; the output has
                              one more, the caller */
    int needs_grad;        /* some parameter is upstream */
};

/* A parameter or state of the graph. */
struct mt_gparam {
    char *name;            /* "linear1.weight" */
    struct mt_param desc;
    int held;              /* by this process */
    struct mt_range range; /* where it lies in this process's flat space; empty if not held */
    struct mt_range whole; /* where it lies in the flat space of a process that holds all */
    struct mt_spec full;   /* of the network's parameter: desc.spec is the part [first, first +
                              dim[axis]) of its dimension `axis` (tensor partition) */
    int axis;
    int64_t first;
};

struct mt_gnode {
    struct mt_node n;
    int in[MT_MAXIN], out[MT_MAXIN];       /* values */
    int param[MT_MAXPARAM];                /* of graph.param */
    int state[MT_MAXPARAM];                /* of graph.state */
    int fused;                             /* its forward is done by the node before it, or is
                                              nothing */
    int passes;                            /* its backward is done by the node before it */
    int residual;                          /* value that its forward adds (n.adds); -1: none */
    int held;                              /* this process runs it */
    int origin;                            /* node of the whole graph that it stands for */
    int segment;                           /* nodes that are computed again together have the same
                                              number; -1: kept until backward */
};

struct mt_graph {
    struct mt_ctx *ctx;
    int nnode, nvalue, nparam, nstate;
    struct mt_gnode *node;
    struct mt_value *value;
    struct mt_gparam *param, *state;
    uint64_t param_size, state_size;       /* elements of the flat spaces of this process, with
                                              alignment */
    enum mt_dtype storage;                 /* of values, and of weights as operations read them:
                                              bf16 or fp16 if some value is, else f32 */
    int x, y;                              /* values from outside: samples and targets */
    int output;                            /* value that the loss judges */
    int loss;                              /* node; -1: a graph for prediction */
    int bound;
};

/* Build from the `model` list and the `loss` of a configuration for samples of spec x (batched,
 * with the largest number of samples of one call) and targets of spec y. The dtype of x says how
 * the network stores values: samples come as f32, and if it is narrower the first node is a cast.
 * Shapes that do not fit are errors at the layer's place. loss NULL: prediction only. The trees
 * must outlive the graph (text attributes). Gives *out. */
int mt_graph_build(struct mt_ctx *ctx, const struct mt_tree *model, const struct mt_tree *loss,
                   const struct mt_spec *x, const struct mt_spec *y, struct mt_graph **out);
void mt_graph_free(struct mt_graph *g);

/* For builders and tests: an empty graph with inputs x and y; append a node (name NULL: the
 * operation's name and a number; in: value numbers; *out0: its first output value); then finish,
 * which names the output and the loss, shares memory and lays out the flat spaces. */
int mt_graph_new(struct mt_ctx *ctx, const struct mt_spec *x, const struct mt_spec *y,
                 struct mt_graph **out);
int mt_graph_add(struct mt_graph *g, const struct mt_op *op, const char *name,
                 const union mt_attr_val *attr, const int *in, int nin, int *out0);
int mt_graph_finish(struct mt_graph *g, int output, int loss_node);

/* Leaves nodes with hold[node] 0 to other processes: they are not bound, their parameters take no
 * room. Values, names and random streams stay those of the whole network. After finish, before
 * bind; a new graph holds all. */
void mt_graph_hold(struct mt_graph *g, const char *hold);

/* Sets `segment` of all nodes. What a segment reads stays as it is until it is read again: nothing
 * in the segment takes its memory. After finish, before lists are made. */
void mt_graph_segments(struct mt_graph *g, const int *segment);

/* Kernels and algorithms of the held nodes for a device; undone by mt_graph_free. */
int mt_graph_bind(struct mt_graph *g, struct mt_dev *dev);

/* Every value again for another batch (evaluation, another share): same parameters, the same
 * nodes held, no segments. Gives *out. */
int mt_graph_rebatch(const struct mt_graph *g, int64_t batch, struct mt_graph **out);

/* Whether a node that this process holds reads the samples (g->x) or the targets (g->y). */
int mt_graph_reads(const struct mt_graph *g, int value);

int64_t mt_graph_weights(const struct mt_graph *g);   /* trained numbers, without alignment */

#endif
