/* add.c -- sum of two values of the same shape; the end of a residual block.
 *
 *   y  = a + b
 *   da = g,  db = g
 *
 *   a, b, y, g, da, db: any shape, elementwise
 *
 * Nothing is kept for backward; the result may lie on a or b, and the gradient of that one on g. */
#include "ops/op.h"

enum { FWD, COPY };

static const char *const kernels[] = {"add_fwd", "add_bwd", NULL};

static int infer(struct mt_node *n)
{
    char a[128], b[128];

    MT_TRY(mt_node_inputs(n, 2));
    MT_TRY(mt_node_is_real(n, 0));
    MT_CHECK(mt_spec_equal(&n->in[0], &n->in[1]), MOTLEY_ECONFIG,
             "add: shapes differ: %s and %s", mt_spec_print(&n->in[0], a, (int)sizeof a),
             mt_spec_print(&n->in[1], b, (int)sizeof b));
    n->nout = 1;
    n->out[0] = n->in[0];
    return MOTLEY_OK;
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);

    return mt_launch(io->dev, n->kernel[FWD], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[0]), mt_t(&io->in[1]),
                             mt_u32((uint32_t)N)));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    const struct mt_tensor *g = &io->dout[0];
    uint64_t N = (uint64_t)mt_spec_count(&g->spec);

    for (int i = 0; i < n->nin; i++) {
        const struct mt_tensor *d = &io->din[i];

        if (d->buf == NULL || (d->buf == g->buf && d->off == g->off)) {
            continue;   /* unwanted, or in place */
        }
        MT_TRY(mt_launch(io->dev, n->kernel[COPY], mt_items(N, MT_WG),
                         MT_ARGS(mt_t(d), mt_t(g), mt_u32((uint32_t)N),
                                 mt_u32(io->acc_in >> i & 1))));
    }
    return MOTLEY_OK;
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double N = (double)mt_spec_count(&n->in[0]);

    c->fwd_flop = N;
    c->fwd_bytes = 12 * N;
    c->data_bytes = 16 * N;
}

const struct mt_op mt_op_add = {
    .name = "add",
    .doc = "sum of two values of the same shape",
    .flags = MT_OP_INPLACE | MT_OP_ADDS,
    .kernels = kernels,
    .infer = infer,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
};
