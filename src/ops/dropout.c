/* dropout.c -- sets elements to zero at random while training; the identity in evaluation.
 *
 *   y  = x m / (1 - rate)       m = 1 with probability 1 - rate, else 0
 *   dx = g m / (1 - rate)
 *
 *   x, y, g, dx: samples first, any shape; m: of the same shape, never stored
 *
 * N. Srivastava et al.: Dropout, JMLR 15 (2014). The mask is a function of (seed, node, step,
 * position of the sample in the global batch, element), so backward and recomputation draw it
 * again, and neither the number of ranks nor that of micro-batches changes it. One Philox call with
 * key (seed, MT_RNG_DROPOUT, node) decides 4 elements: element e of a sample looks at word
 * e % 64 / 16 of counter (e / 64 * 16 + e % 16, sample, step), so that 16 calls side by side decide
 * 64 neighbours. An element is dropped if its 32 bits are below rate 2^32. */
#include "ops/dropout.h"

#include "base/rng.h"
#include "device/dev.h"

#include <stdio.h>

enum { RATE };
enum { APPLY, COPY };

static const struct mt_attr attrs[] = {
    {"rate", MT_ATTR_NUM, .def = {.f = 0.5}, .min = 0, .max = 0.999,
     .doc = "probability of dropping an element"},
    {0}};

static const char *const kernels[] = {"dropout_apply", "dropout_copy", NULL};

static int prepare(struct mt_node *n, struct mt_dev *dev)
{
    char defines[32];

    snprintf(defines, sizeof defines, "-DV=%d %s", mt_dev_vector(dev),
             mt_dtype_defines(mt_node_storage(n)));
    return mt_kernel_get(dev, "dropout", "dropout_apply", defines, &n->kernel[APPLY]);
}

float mt_dropout_scale(const struct mt_node *drop)
{
    return (float)(1 / (1 - mt_attr_num(drop, RATE)));
}

void mt_dropout_after(const struct mt_node *drop, const struct mt_io *io, int64_t R,
                      struct mt_gemm_after *a)
{
    struct mt_rng_key key = mt_rng_key(io->seed, MT_RNG_DROPOUT, drop->stream);
    double rate = mt_attr_num(drop, RATE);

    a->drops = io->mode == MT_TRAIN;
    a->key[0] = key.k[0];
    a->key[1] = key.k[1];
    a->first = (uint32_t)io->first;
    a->step = (uint64_t)io->step;
    a->limit = (uint32_t)(rate * 4294967296.0);
    a->scale = mt_dropout_scale(drop);
    a->rows = R;
}

/* y = x m / (1 - rate): forward and backward are the same. */
static int apply(const struct mt_node *n, const struct mt_io *io, const struct mt_tensor *y,
                 const struct mt_tensor *x, unsigned acc)
{
    uint32_t R = (uint32_t)x->spec.dim[0], N = (uint32_t)(mt_spec_count(&x->spec) / R);
    struct mt_gemm_after a;
    uint64_t items = (uint64_t)R * ((N + 63) / 64) * (uint64_t)(16 / mt_dev_vector(io->dev));

    mt_dropout_after(n, io, 1, &a);
    return mt_launch(io->dev, n->kernel[APPLY], mt_items(items, MT_WG),
                     MT_ARGS(mt_t(y), mt_t(x), mt_u32(R), mt_u32(N), mt_u32(a.key[0]),
                             mt_u32(a.key[1]), mt_u32(a.first), mt_u64(a.step), mt_u32(a.limit),
                             mt_f32(a.scale), mt_u32(acc)));
}

static int copy(const struct mt_node *n, const struct mt_io *io, const struct mt_tensor *y,
                const struct mt_tensor *x, unsigned acc)
{
    uint64_t N = (uint64_t)mt_spec_count(&x->spec);

    if (y->buf == x->buf && y->off == x->off) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[COPY], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(y), mt_t(x), mt_u32((uint32_t)N), mt_u32(acc)));
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    return io->mode == MT_TRAIN ? apply(n, io, &io->out[0], &io->in[0], 0)
                                : copy(n, io, &io->out[0], &io->in[0], 0);
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return io->mode == MT_TRAIN ? apply(n, io, &io->din[0], &io->dout[0], io->acc_in & 1)
                                : copy(n, io, &io->din[0], &io->dout[0], io->acc_in & 1);
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = c->data_flop = N;   /* not counting the integer work of the generator */
    c->fwd_bytes = c->data_bytes = 8 * N;
}

const struct mt_op mt_op_dropout = {
    .name = "dropout",
    .doc = "drops elements at random while training",
    .attrs = attrs,
    .flags = MT_OP_INPLACE | MT_OP_DROPS,
    .kernels = kernels,
    .infer = mt_node_elementwise,
    .prepare = prepare,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
