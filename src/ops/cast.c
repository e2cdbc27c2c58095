/* cast.c -- the same numbers in another storage type.
 *
 *   y  = x, rounded to nearest even if y is narrower
 *   dx = g, likewise
 *
 *   x, y, g, dx: any shape, elementwise; one of x and y is f32
 *
 * `precision` of a configuration puts one in front of the first layer: samples come as f32 whatever
 * the network stores, and every other layer stores as it finds its input. Written as a layer,
 * `cast: fp32` makes what follows it more exact. */
#include "ops/op.h"

#include "device/cast.h"

enum { TO };
enum { FWD, BWD };

static const struct mt_attr attrs[] = {
    {"to", MT_ATTR_WORD, .words = "fp32 bf16 fp16", .required = 1,
     .doc = "how the values behind it are stored"},
    {0}};

static int infer(struct mt_node *n)
{
    enum mt_dtype to = mt_dtype_of(mt_attr_word(n, TO)), from = n->in[0].dtype;

    MT_TRY(mt_node_elementwise(n));
    MT_CHECK((to == MT_F32) != (from == MT_F32), MOTLEY_ECONFIG,
             "cast: values are stored as %s here; they can be cast to %s, not to %s",
             mt_dtype_name(from), from == MT_F32 ? "bf16 or fp16" : "fp32", mt_dtype_name(to));
    n->out[0].dtype = to;
    return MOTLEY_OK;
}

static int prepare(struct mt_node *n, struct mt_dev *dev)
{
    MT_TRY(mt_cast_get(dev, n->out[0].dtype, n->in[0].dtype, &n->kernel[FWD]));
    return mt_cast_get(dev, n->in[0].dtype, n->out[0].dtype, &n->kernel[BWD]);
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    return mt_cast_run(io->dev, n->kernel[FWD], &io->out[0], &io->in[0], 0);
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_cast_run(io->dev, n->kernel[BWD], &io->din[0], &io->dout[0], io->acc_in & 1);
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_bytes = 6 * N;
    c->data_bytes = 6 * N;
}

const struct mt_op mt_op_cast = {
    .name = "cast",
    .doc = "the same numbers in another storage type",
    .attrs = attrs,
    .infer = infer,
    .prepare = prepare,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
