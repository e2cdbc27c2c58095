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
 * means one of these. */
#include "parallel/tp.h"

#include "device/buf.h"

enum { COPY };

/* Parts travel and are summed as f32. */
static int same_infer(struct mt_node *n)
{
    MT_TRY(mt_node_elementwise(n));
    MT_CHECK(n->in[0].dtype == MT_F32, MOTLEY_EUNSUP,
             "layers divided over ranks exchange fp32 values only, here they are %s: set "
             "precision=fp32, or take a layout that divides no layer",
             mt_dtype_name(n->in[0].dtype));
    return MOTLEY_OK;
}

static int prepare(struct mt_node *n, struct mt_dev *dev)
{
    return mt_kernel_get(dev, "tp", "tp_copy", NULL, &n->kernel[COPY]);
}

/* w columns of x (R, ldx) to y (R, ldy), each from where its argument points. */
static int columns(const struct mt_node *n, struct mt_dev *dev, struct mt_arg y, int64_t ldy,
                   struct mt_arg x, int64_t ldx, int64_t R, int64_t w, unsigned acc)
{
    return mt_launch(dev, n->kernel[COPY], mt_items((uint64_t)(R * w), MT_WG),
                     MT_ARGS(y, x, mt_u32((uint32_t)(R * w)), mt_u32((uint32_t)w),
                             mt_u32((uint32_t)ldy), mt_u32((uint32_t)ldx), mt_u32(acc)));
}

int mt_tp_place(const struct mt_node *n, struct mt_dev *dev, struct mt_arg y, int64_t ldy,
                struct mt_arg x, int64_t R, int64_t w)
{
    return columns(n, dev, y, ldy, x, w, R, w, 0);
}

/* Columns [y0, y0 + w) of y from [x0, x0 + w) of x. */
static int copy(const struct mt_node *n, const struct mt_io *io, const struct mt_tensor *y,
                int64_t y0, const struct mt_tensor *x, int64_t x0, int64_t w, unsigned acc)
{
    if (y->buf == NULL || (y->buf == x->buf && y->off == x->off)) {
        return MOTLEY_OK;   /* unwanted, or in place */
    }
    return columns(n, io->dev, mt_b(y->buf, y->off + (uint64_t)y0), mt_spec_last(&y->spec),
                   mt_b(x->buf, x->off + (uint64_t)x0), mt_spec_last(&x->spec),
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

const struct mt_op mt_tp_spread = {
    .name = "spread",
    .doc = "begin of a stretch of divided layers",
    .flags = MT_OP_ALIAS,
    .infer = same_infer,
    .prepare = prepare,
    .fwd = mt_op_nothing,
    .bwd = same_bwd,
    .cost = same_cost,
};

const struct mt_op mt_tp_sum = {
    .name = "sum",
    .doc = "end of a pair of divided layers",
    .flags = MT_OP_INPLACE,
    .infer = same_infer,
    .prepare = prepare,
    .fwd = same_fwd,
    .bwd = same_bwd,
    .cost = same_cost,
};

static int gather_infer(struct mt_node *n)
{
    int64_t total = mt_attr_int(n, MT_TP_GATHER_TOTAL);
    int64_t others = total - mt_attr_int(n, MT_TP_GATHER_WIDTH);

    MT_TRY(same_infer(n));
    n->out[0].dim[n->in[0].rank - 1] = total;
    n->scratch_bytes = sizeof(float) * (uint64_t)(mt_spec_rows(&n->in[0]) * others);
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
    MT_TRY(mt_node_elementwise(n));
    n->out[0].dim[n->in[0].rank - 1] = mt_attr_int(n, MT_TP_ZERO_SIZE);
    return MOTLEY_OK;
}

static int clear(const struct mt_tensor *t)
{
    return mt_buf_fill(t->buf, t->off * sizeof(float), mt_spec_bytes(&t->spec), 0);
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
