/* op.h -- what an operation is. Knows tensors and a device; knows no model file, no process, no
 * optimizer, no neighbour.
 *
 * Contracts, tested for all operations by tests/kit.c:
 *   - infer touches no device; it reads in[] and attr[], fills out[], param[], state[],
 *     saved[].
 *   - prepare (optional) chooses algorithms for the device and says how much scratch they need;
 *     bind gets the kernels listed in `kernels`. After that fwd and bwd allocate nothing and
 *     wait for nothing.
 *   - fwd writes every element of out[] and saved[] for the samples present.
 *   - bwd *writes* din[i], or adds to it if io->acc_in has bit i (another consumer was first);
 *     it *writes* dparam[i], or adds if io->acc_param has bit i (a micro-batch or another user
 *     of the parameter was first). din[i].buf is NULL where nobody wants that gradient;
 *     they are written in ascending order, since two of them may be the same memory (add(x, x)),
 *     of which the later one has its acc bit. io->want says whether data gradients, parameter
 *     gradients or both are asked for (schedules may ask in two calls).
 *   - tensors in io carry the actual number of samples in dim[0]; it is at least 1 and at most
 *     the planned one. Nothing is padded.
 *   - gradients are of the *sum* over samples; nobody divides by a batch size. A loss multiplies
 *     its own by io->loss_scale where there is one.
 *   - real values are stored as in[0] says (f32, bf16, fp16; mt_node_storage), results and
 *     gradients alike; kernels are built for it and compute in f32. Targets, statistics, saved
 *     values and gradients of parameters are f32 in every precision, and so is a result or a
 *     gradient (din) that is one term of a sum over processes: the sum is rounded, once.
 *   - results depend on nothing but the arguments: sums have a fixed order, random numbers are
 *     keyed by (seed, step, global sample, node). */
#ifndef MT_OPS_OP_H
#define MT_OPS_OP_H

#include "base/attr.h"
#include "base/err.h"
#include "device/gemm.h"
#include "device/launch.h"
#include "device/tensor.h"

#define MT_MAXIN     4   /* inputs, and outputs, of one node */
#define MT_MAXPARAM  4   /* parameters, states, and saved values, of one node */
#define MT_MAXKERNEL 8
#define MT_MAXGEMM   3

struct mt_dev;
struct mt_node;
struct mt_io;

enum mt_mode { MT_TRAIN = 0, MT_EVAL };

/* What backward reads besides dout, param and saved; what it does not read is reused. */
enum { MT_KEEP_IN = 1, MT_KEEP_OUT = 2 };

enum {
    MT_OP_VIEW = 1,      /* out[0] is in[0] under another shape: no memory, no kernel */
    MT_OP_INPLACE = 2,   /* out[0] may lie on in[0] (and din[0] on dout[0]) */
    MT_OP_LOSS = 4,      /* in: prediction, target; out[0]: MT_STATS sums; bwd takes no dout */
    MT_OP_FUSES = 8,     /* fwd applies n->act to its result, then n->drops, then n->adds */
    MT_OP_ALIAS = 16,    /* forward out[0] is in[0] and no kernel runs; backward is its own */
    MT_OP_STOPS = 32,    /* no gradient goes through it */
    /* How the ranks of a stage may divide it (tensor partition); the last two by `split`. */
    MT_OP_EACH = 64,     /* one input, one output, each element by itself wherever it stands: of a
                            divided input it gives the part of the output */
    MT_OP_COLUMNS = 128, /* the last dimension of the output may be divided; the gradient of the
                            input is then the sum over the parts */
    MT_OP_ROWS = 256,    /* that of the input; the output is then the sum over the parts */
    /* What a node with MT_OP_FUSES may do for one behind it, besides an activation. */
    MT_OP_DROPS = 512,   /* drops elements as ops/dropout.h says */
    MT_OP_ADDS = 1024,   /* sum of two inputs, in place on either of them */
    MT_OP_SIGN = 2048,   /* backward asks of the result only which elements are positive, and of
                            those that are not for nothing: dropping some first changes nothing,
                            and backward of dropout is n->gain of this one */
};

/* Elements of the output of a loss: sum of the loss, number of terms, hits (correct ones). */
enum { MT_STAT_LOSS = 0, MT_STAT_COUNT, MT_STAT_HITS, MT_STATS };

enum mt_init_kind { MT_INIT_ZEROS = 0, MT_INIT_CONSTANT, MT_INIT_NORMAL, MT_INIT_UNIFORM,
                    MT_INIT_XAVIER_NORMAL, MT_INIT_XAVIER_UNIFORM, MT_INIT_KAIMING_NORMAL,
                    MT_INIT_KAIMING_UNIFORM, MT_INIT_ORTHOGONAL };

struct mt_init {
    enum mt_init_kind kind;
    double scale;              /* value, standard deviation, half width, or gain; 0: default */
    int64_t fan_in, fan_out;
};

/* A parameter (trained) or a state (kept, not trained: running statistics). */
struct mt_param {
    const char *name;          /* "weight": the full name is "<node>.weight" */
    struct mt_spec spec;
    struct mt_init init;
    int decay;                 /* weight decay applies (not to biases and norms) */
};

/* Work of one call for the planned batch. */
struct mt_cost {
    double fwd_flop, data_flop, param_flop;      /* forward, gradients of data, parameters */
    double fwd_bytes, data_bytes, param_bytes;   /* memory moved, each tensor once */
};

/* A part of a node that several processes divide: elements [lo, hi) of the last dimension of its
 * output (MT_OP_COLUMNS) or of its input (MT_OP_ROWS, and losses). first: no part before it has
 * any, so what enters a sum once belongs to it. */
struct mt_division {
    unsigned by;               /* one of the two flags; 0: a loss */
    int64_t lo, hi;
    int first;
};
/* What the part is: options of its node, and which elements [lo, hi) of dimension `axis` of each
 * parameter it holds. The node of the part has the parameters that are held, in their order. */
struct mt_shard {
    union mt_attr_val attr[MT_MAXATTR];
    struct mt_shard_param {
        int held, axis;
        int64_t lo, hi;
    } param[MT_MAXPARAM];
};

/* A loss over a divided last dimension: each process draws `figures` out of its own columns (in:
 * those and the target; out: a few numbers a row; no gradient), and judges from those of all (in:
 * own columns, target, the figures of all parts side by side; as the loss; gradient of the own
 * columns). Both take the options that `split` of the loss gives. */
struct mt_op_parts {
    const struct mt_op *figures, *judge;
};

struct mt_op {
    const char *name;             /* word in configurations, name of kernel file and of suite */
    const char *doc;              /* one line for `motley info` */
    const struct mt_attr *attrs;  /* options; NULL: none */
    unsigned flags;
    unsigned keep;
    const char *const *kernels;   /* functions of cl/<name>.cl, to n->kernel[], ends in NULL */
    enum mt_gemm_act act;         /* this operation is that activation: the producer of its input
                                     may apply it; needs MT_OP_INPLACE */

    int (*infer)(struct mt_node *n);
    int (*prepare)(struct mt_node *n, struct mt_dev *dev);        /* optional */
    int (*fwd)(const struct mt_node *n, const struct mt_io *io);
    int (*bwd)(const struct mt_node *n, const struct mt_io *io);  /* NULL: no gradient */
    void (*cost)(const struct mt_node *n, struct mt_cost *c);
    void (*split)(const struct mt_node *n, const struct mt_division *how, struct mt_shard *out);
    const struct mt_op_parts *parts;    /* of a loss that may be divided; NULL: it may not */
};

/* One use of an operation. The graph owns it; an operation fills what infer and prepare say. */
struct mt_node {
    const struct mt_op *op;
    const char *name;                       /* unique in the graph: "linear1" */
    uint64_t stream;                        /* names the node's random numbers; from its name */
    union mt_attr_val attr[MT_MAXATTR];     /* in the order of op->attrs */

    unsigned keep;                          /* as op->keep; infer may take bits away */
    int nin, nout, nparam, nstate, nsaved;
    struct mt_spec in[MT_MAXIN];            /* set before infer */
    struct mt_spec out[MT_MAXIN];
    enum mt_dtype din[MT_MAXIN];            /* how gradients of inputs are stored: as the inputs,
                                               if infer says nothing else */
    struct mt_param param[MT_MAXPARAM];
    struct mt_param state[MT_MAXPARAM];
    struct mt_spec saved[MT_MAXPARAM];      /* written by fwd for bwd */

    enum mt_gemm_act act;                   /* of the node that follows, done by this one's fwd */
    float slope;                            /* of that, or of this one if it is a leaky_relu */
    const struct mt_node *drops;            /* likewise dropout behind it, NULL: none (borrowed) */
    int adds;                               /* likewise a sum: io->residual is added */
    float gain;                             /* backward multiplies by it, for dropout that lies on
                                               the result of one with MT_OP_SIGN; 0: 1 */
    struct mt_kernel *kernel[MT_MAXKERNEL]; /* borrowed from the device */
    struct mt_gemm_plan *gemm[MT_MAXGEMM];  /* made by prepare, freed by mt_node_unbind */
    uint64_t scratch_bytes;                 /* the most that fwd or bwd needs */
};

/* Arguments of one fwd or bwd. */
struct mt_io {
    struct mt_dev *dev;
    enum mt_mode mode;
    uint64_t seed;
    int64_t step;           /* optimizer steps done: part of the key of random numbers */
    int64_t first;          /* position of sample 0 in the global batch: likewise */
    enum { MT_WANT_DATA = 1, MT_WANT_PARAM = 2 } want;
    unsigned acc_in;
    unsigned acc_param;
    int again;              /* forward is repeated for backward: running state is not updated */

    struct mt_tensor in[MT_MAXIN], out[MT_MAXIN];
    struct mt_tensor din[MT_MAXIN], dout[MT_MAXIN];
    struct mt_tensor param[MT_MAXPARAM], dparam[MT_MAXPARAM];
    struct mt_tensor state[MT_MAXPARAM], saved[MT_MAXPARAM];
    struct mt_tensor scratch;
    struct mt_tensor residual;     /* of forward with n->adds */
    struct mt_tensor loss_scale;   /* one f32; buf NULL: 1 */
};

/* All operations, ends in NULL; generated from ops.mk. */
extern const struct mt_op *const mt_ops[];
const struct mt_op *mt_op_find(const char *name);   /* NULL: none of that name */

/* Set up a node by hand (graph and test kit): in[] and attr[] must be set. */
int mt_node_infer(struct mt_node *n);   /* with checks of ranks and limits */
int mt_node_bind(struct mt_node *n, struct mt_dev *dev);    /* kernels, prepare */
void mt_node_unbind(struct mt_node *n);

/* For infer: the right number of inputs; input i holds real numbers; one input, one output of
 * the same shape; a loss: prediction, target of as many samples, output of MT_STATS sums. */
int mt_node_inputs(const struct mt_node *n, int count);
int mt_node_is_real(const struct mt_node *n, int i);
int mt_node_elementwise(struct mt_node *n);
int mt_node_loss(struct mt_node *n);
/* The same for class numbers: in[1] is i32 with one label for each row of in[0] (..., C). */
int mt_node_labels(struct mt_node *n);

/* How the node's values and the weights it reads are stored, and its kernels are built. */
enum mt_dtype mt_node_storage(const struct mt_node *n);

/* fwd and bwd of a view: nothing to do. */
int mt_op_nothing(const struct mt_node *n, const struct mt_io *io);
/* fwd and bwd of a function of one number without options: kernel 0 has the arguments (y, x,
 * count), kernel 1 (dx, dy, x or y as `keep` says, count, add to dx). */
int mt_op_map_fwd(const struct mt_node *n, const struct mt_io *io);
int mt_op_map_bwd(const struct mt_node *n, const struct mt_io *io);

/* Values of attributes by position in the operation's table. */
static inline int64_t mt_attr_int(const struct mt_node *n, int i) { return n->attr[i].i; }
static inline double mt_attr_num(const struct mt_node *n, int i) { return n->attr[i].f; }
static inline int mt_attr_bool(const struct mt_node *n, int i) { return n->attr[i].b; }
static inline int mt_attr_word(const struct mt_node *n, int i) { return n->attr[i].w; }

#endif
