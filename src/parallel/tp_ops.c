/* tp_ops.c -- the operations that stand between the parts of divided layers.
 *
 *   spread   y = x              dx = sum over parts of dy
 *   sum      y = sum of x       dx = dy
 *   gather   y = [x0 x1 ...]    dx = own columns of dy
 *   zero     y = 0              dx = 0
 *
 * x, y: samples first, the last dimension is the divided one. What one process can do alone is
 * here, as in any operation; what travels is done by the steps of tp.c, before it on the same
 * memory (spread backward, sum forward) or behind it (gather forward). No word of a configuration
 * means one of these.
 *
 * Terms of sums (dy of spread, x of sum) are f32 in every precision; what is made of the sum, and
 * what is only moved, is stored as the network stores values: dx of spread and y of sum are rounded
 * here, once. */
#include "parallel/tp.h"

#include "device/buf.h"
#include "device/cast.h"

enum { COPY, ROUND };

static int prepare(struct mt_node *n, struct mt_dev *dev)
{
    enum mt_dtype type = mt_node_storage(n);

    if (mt_dtype_is_half(type)) {
        MT_TRY(mt_cast_get(dev, type, MT_F32, &n->kernel[ROUND]));
    }
    return mt_kernel_get(dev, "tp", "tp_copy", mt_dtype_defines(type), &n->kernel[COPY]);
}

/* w columns of x (R, ldx) to y (R, ldy), each from where its tensor begins. */
static int columns(const struct mt_node *n, struct mt_dev *dev, const struct mt_tensor *y,
                   int64_t ldy, const struct mt_tensor *x, int64_t ldx, int64_t R, int64_t w,
                   unsigned acc)
{
    return mt_launch(dev, n->kernel[COPY], mt_items((uint64_t)(R * w), MT_WG),
                     MT_ARGS(mt_t(y), mt_t(x), mt_u32((uint32_t)(R * w)), mt_u32((uint32_t)w),
                             mt_u32((uint32_t)ldy), mt_u32((uint32_t)ldx), mt_u32(acc)));
}

int mt_tp_place(const struct mt_node *n, struct mt_dev *dev, const struct mt_tensor *y,
                int64_t ldy, const struct mt_tensor *x, int64_t R, int64_t w)
{
    return columns(n, dev, y, ldy, x, w, R, w, 0);
}

/* Columns [y0, y0 + w) of y from [x0, x0 + w) of x; all of them where types differ. */
static int copy(const struct mt_node *n, const struct mt_io *io, const struct mt_tensor *y,
                int64_t y0, const struct mt_tensor *x, int64_t x0, int64_t w, unsigned acc)
{
    struct mt_tensor to = *y, from = *x;

    if (y->buf == NULL) {
        return MOTLEY_OK;   /* unwanted */
    }
    if (y->spec.dtype != x->spec.dtype) {
        return mt_cast_run(io->dev, n->kernel[ROUND], y, x, (int)acc);
    }
    if (y->buf == x->buf && y->off == x->off) {
        return MOTLEY_OK;   /* in place */
    }
    to.off += (uint64_t)y0;
    from.off += (uint64_t)x0;
    return columns(n, io->dev, &to, mt_spec_last(&y->spec), &from, mt_spec_last(&x->spec),
                   mt_spec_rows(&x->spec), w, acc);
}

static int same_fwd(const struct mt_node *n, const struct mt_io *io)
{
    return copy(n, io, &io->out[0], 0, &io->in[0], 0, mt_spec_last(&io->in[0].spec), 0);
}

static int same_bwd(const struct mt_node *n, const struct mt_io *io)
{
    return copy(n, io, &io->din[0], 0, &io->dout[0], 0, mt_spec_last(&io->dout[0].spec),
                io->acc_in & 1);
}

static void same_cost(const struct mt_node *n, struct mt_cost *c)
{
    c->data_bytes = 8 * (double)mt_spec_count(&n->in[0]);
}

static int sum_infer(struct mt_node *n)
{
    MT_TRY(mt_node_elementwise(n));
    n->out[0].dtype = n->din[0] = (enum mt_dtype)mt_attr_int(n, MT_TP_SUM_DTYPE);
    return MOTLEY_OK;
}

const struct mt_op mt_tp_spread = {
    .name = "spread",
    .doc = "begin of a stretch of divided layers",
    .flags = MT_OP_ALIAS,
    .infer = mt_node_elementwise,
    .prepare = prepare,
    .fwd = mt_op_nothing,
    .bwd = same_bwd,
    .cost = same_cost,
};

const struct mt_op mt_tp_sum = {
    .name = "sum",
    .doc = "end of a pair of divided layers",
    .flags = MT_OP_INPLACE,
    .infer = sum_infer,
    .prepare = prepare,
    .fwd = same_fwd,
    .bwd = same_bwd,
    .cost = same_cost,
};

static int gather_infer(struct mt_node *n)
{
    int64_t total = mt_attr_int(n, MT_TP_GATHER_TOTAL);
    int64_t others = total - mt_attr_int(n, MT_TP_GATHER_WIDTH);

    MT_TRY(mt_node_elementwise(n));
    n->out[0].dim[n->in[0].rank - 1] = total;
    n->scratch_bytes = (uint64_t)mt_dtype_bytes(n->in[0].dtype) *
                       (uint64_t)(mt_spec_rows(&n->in[0]) * others);
    return MOTLEY_OK;
}

static int gather_fwd(const struct mt_node *n, const struct mt_io *io)
{
    return copy(n, io, &io->out[0], mt_attr_int(n, MT_TP_GATHER_LO), &io->in[0], 0,
                mt_attr_int(n, MT_TP_GATHER_WIDTH), 0);
}

static int gather_bwd(const struct mt_node *n, const struct mt_io *io)
{
    return copy(n, io, &io->din[0], 0, &io->dout[0], mt_attr_int(n, MT_TP_GATHER_LO),
                mt_attr_int(n, MT_TP_GATHER_WIDTH), io->acc_in & 1);
}

static void gather_cost(const struct mt_node *n, struct mt_cost *c)
{
    c->fwd_bytes = 8 * (double)mt_spec_count(&n->out[0]);
    c->data_bytes = 8 * (double)mt_spec_count(&n->in[0]);
}

const struct mt_op mt_tp_gather = {
    .name = "gather",
    .doc = "divided results put together",
    .infer = gather_infer,
    .prepare = prepare,
    .fwd = gather_fwd,
    .bwd = gather_bwd,
    .cost = gather_cost,
};

static int zero_infer(struct mt_node *n)
{
    int rows = mt_attr_int(n, MT_TP_ZERO_BY) == MT_OP_ROWS;

    MT_TRY(mt_node_elementwise(n));
    n->out[0].dim[n->in[0].rank - 1] = mt_attr_int(n, MT_TP_ZERO_SIZE);
    n->out[0].dtype = rows ? MT_F32 : n->in[0].dtype;
    n->din[0] = rows ? n->in[0].dtype : MT_F32;
    return MOTLEY_OK;
}

/* t: an item of the plan, which has whole words. */
static int clear(const struct mt_tensor *t)
{
    return mt_buf_fill(t->buf, t->off * (uint64_t)mt_dtype_bytes(t->spec.dtype),
                       (mt_spec_bytes(&t->spec) + 3) / 4 * 4, 0);
}

static int zero_fwd(const struct mt_node *n, const struct mt_io *io)
{
    (void)n;
    return clear(&io->out[0]);
}

static int zero_bwd(const struct mt_node *n, const struct mt_io *io)
{
    (void)n;
    return io->din[0].buf == NULL || (io->acc_in & 1) ? MOTLEY_OK : clear(&io->din[0]);
}

static void zero_cost(const struct mt_node *n, struct mt_cost *c)
{
    c->fwd_bytes = 4 * (double)mt_spec_count(&n->out[0]);
    c->data_bytes = 4 * (double)mt_spec_count(&n->in[0]);
}

const struct mt_op mt_tp_zero = {
    .name = "zero",
    .doc = "stands for a part without columns",
    .infer = zero_infer,
    .fwd = zero_fwd,
    .bwd = zero_bwd,
    .cost = zero_cost,
};
