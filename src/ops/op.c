/* op.c -- finding operations by name, and setting up one use of one: shapes, kernels,
 * release. */
#include "ops/op.h"

#include <inttypes.h>
#include <string.h>

/* Kernels count elements of one tensor in 32 bits. */
#define MAX_ELEMENTS ((int64_t)UINT32_MAX - 1024)

const struct mt_op *mt_op_find(const char *name)
{
    for (const struct mt_op *const *op = mt_ops; *op != NULL; op++) {
        if (strcmp((*op)->name, name) == 0) {
            return *op;
        }
    }
    return NULL;
}

static int check_spec(const struct mt_node *n, const char *what, int i, const struct mt_spec *s)
{
    int64_t count = 1;

    MT_CHECK(s->rank >= 0 && s->rank <= MT_MAXRANK, MOTLEY_ECONFIG,
             "%s: %s %d has %d dimensions, the most is %d", n->op->name, what, i, s->rank,
             MT_MAXRANK);
    for (int d = 0; d < s->rank; d++) {
        MT_CHECK(s->dim[d] > 0, MOTLEY_ECONFIG,
                 "%s: dimension %d of %s %d is %" PRId64 ", must be positive", n->op->name, d,
                 what, i, s->dim[d]);
        MT_CHECK(s->dim[d] <= MAX_ELEMENTS / count, MOTLEY_ECONFIG,
                 "%s: %s %d has more than %" PRId64 " elements; use a smaller batch or "
                 "smaller layers", n->op->name, what, i, MAX_ELEMENTS);
        count *= s->dim[d];
    }
    return MOTLEY_OK;
}

int mt_node_infer(struct mt_node *n)
{
    MT_BUG_IF(n->nin < 0 || n->nin > MT_MAXIN);
    n->nout = n->nparam = n->nstate = n->nsaved = 0;
    n->scratch_bytes = 0;
    for (int i = 0; i < n->nin; i++) {
        MT_TRY(check_spec(n, "input", i, &n->in[i]));
        n->din[i] = n->in[i].dtype;
    }
    n->keep = n->op->keep;
    MT_TRY(n->op->infer(n));
    MT_BUG_IF(n->nout < 1 || n->nout > MT_MAXIN || n->nparam > MT_MAXPARAM ||
              n->nstate > MT_MAXPARAM || n->nsaved > MT_MAXPARAM);
    for (int i = 0; i < n->nout; i++) {
        MT_TRY(check_spec(n, "output", i, &n->out[i]));
    }
    for (int i = 0; i < n->nparam; i++) {
        MT_TRY(check_spec(n, "parameter", i, &n->param[i].spec));
    }
    for (int i = 0; i < n->nsaved; i++) {
        MT_TRY(check_spec(n, "saved value", i, &n->saved[i]));
    }
    return MOTLEY_OK;
}

int mt_node_bind(struct mt_node *n, struct mt_dev *dev)
{
    int st = MOTLEY_OK;

    mt_node_unbind(n);
    for (int k = 0; n->op->kernels != NULL && n->op->kernels[k] != NULL; k++) {
        MT_CHECK_OR(fail, k < MT_MAXKERNEL, MOTLEY_EBUG, "%s has more than %d kernels",
                    n->op->name, MT_MAXKERNEL);
        MT_TRY_OR(fail, mt_kernel_get(dev, n->op->name, n->op->kernels[k],
                                      mt_dtype_defines(mt_node_storage(n)), &n->kernel[k]));
    }
    if (n->op->prepare != NULL) {
        MT_TRY_OR(fail, n->op->prepare(n, dev));
    }
    return MOTLEY_OK;
fail:
    mt_node_unbind(n);
    return st;
}

void mt_node_unbind(struct mt_node *n)
{
    for (int i = 0; i < MT_MAXGEMM; i++) {
        mt_gemm_plan_free(n->gemm[i]);
        n->gemm[i] = NULL;
    }
    memset(n->kernel, 0, sizeof n->kernel);
}

int mt_node_inputs(const struct mt_node *n, int count)
{
    MT_CHECK(n->nin == count, MOTLEY_ECONFIG, "%s takes %d input%s, %d given", n->op->name,
             count, count == 1 ? "" : "s", n->nin);
    return MOTLEY_OK;
}

enum mt_dtype mt_node_storage(const struct mt_node *n)
{
    return mt_dtype_is_half(n->in[0].dtype) ? n->in[0].dtype : n->out[0].dtype;
}

int mt_node_is_real(const struct mt_node *n, int i)
{
    char buf[128];

    MT_CHECK(mt_dtype_is_real(n->in[i].dtype), MOTLEY_ECONFIG,
             "%s takes real numbers, but input %d is %s", n->op->name, i,
             mt_spec_print(&n->in[i], buf, (int)sizeof buf));
    return MOTLEY_OK;
}

int mt_node_elementwise(struct mt_node *n)
{
    MT_TRY(mt_node_inputs(n, 1));
    MT_TRY(mt_node_is_real(n, 0));
    n->nout = 1;
    n->out[0] = n->in[0];
    return MOTLEY_OK;
}

int mt_node_loss(struct mt_node *n)
{
    static const int64_t stats = MT_STATS;

    MT_TRY(mt_node_inputs(n, 2));
    MT_TRY(mt_node_is_real(n, 0));
    MT_CHECK(n->in[0].rank >= 1 && n->in[1].rank >= 1 && n->in[0].dim[0] == n->in[1].dim[0],
             MOTLEY_ECONFIG, "%s: prediction and target differ in their number of samples",
             n->op->name);
    n->nout = 1;
    n->out[0] = mt_spec_new(MT_F32, 0, 1, &stats);
    return MOTLEY_OK;
}

int mt_node_labels(struct mt_node *n)
{
    char a[128], b[128];

    MT_TRY(mt_node_loss(n));
    MT_CHECK(n->in[0].rank >= 2, MOTLEY_ECONFIG,
             "%s needs one number for each class; the network ends in %s", n->op->name,
             mt_spec_print(&n->in[0], a, (int)sizeof a));
    MT_CHECK(n->in[1].dtype == MT_I32, MOTLEY_ECONFIG,
             "%s needs class numbers as targets; the data has real numbers (%s). For those use "
             "mse", n->op->name, mt_spec_print(&n->in[1], b, (int)sizeof b));
    MT_CHECK(mt_spec_count(&n->in[1]) == mt_spec_rows(&n->in[0]), MOTLEY_ECONFIG,
             "%s: prediction %s and labels %s do not fit: there must be one label a row%s",
             n->op->name, mt_spec_print(&n->in[0], a, (int)sizeof a),
             mt_spec_print(&n->in[1], b, (int)sizeof b),
             n->in[0].rank > n->in[1].rank + 1 ? "; is a flatten missing?" : "");
    return MOTLEY_OK;
}

int mt_op_nothing(const struct mt_node *n, const struct mt_io *io)
{
    (void)n;
    (void)io;
    return MOTLEY_OK;
}

int mt_op_map_fwd(const struct mt_node *n, const struct mt_io *io)
{
    uint64_t N = (uint64_t)mt_spec_count(&io->in[0].spec);

    return mt_launch(io->dev, n->kernel[0], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[0]), mt_u32((uint32_t)N)));
}

int mt_op_map_bwd(const struct mt_node *n, const struct mt_io *io)
{
    const struct mt_tensor *kept = n->op->keep & MT_KEEP_OUT ? &io->out[0] : &io->in[0];
    uint64_t N = (uint64_t)mt_spec_count(&io->dout[0].spec);

    if (io->din[0].buf == NULL) {
        return MOTLEY_OK;
    }
    return mt_launch(io->dev, n->kernel[1], mt_items(N, MT_WG),
                     MT_ARGS(mt_t(&io->din[0]), mt_t(&io->dout[0]), mt_t(kept),
                             mt_u32((uint32_t)N), mt_u32(io->acc_in & 1)));
}
