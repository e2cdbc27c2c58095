/* linear.c -- linear layer over the last dimension.
 *
 *   y[r,o]   = sum_i x[r,i] w[o,i] + b[o]
 *   dx[r,i]  = sum_o g[r,o] w[o,i]
 *   dw[o,i] += sum_r g[r,o] x[r,i]
 *   db[o]   += sum_r g[r,o]
 *
 *   x, dx (R, I), y, g (R, O), leading dimensions folded into R;  w (O, I), b (O)
 *
 * w lies as in PyTorch, so that weights move between the two unchanged. The sum for db is a
 * kernel of its own: a product with a vector of ones would need the vector and is no faster.
 *
 * A part of a divided layer gives one term of a sum over the parts: of y, if it has some of the
 * inputs, of dx, if it has some of the outputs. That one is f32 in every precision, since the sum
 * is rounded and not its terms. Products with a wider result take no bias, so it is there before.
 */
#include "ops/dropout.h"

#include "device/dev.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE, BIAS, INIT, GAIN,                    /* attributes */
       PART };                                    /* no word for it: MT_OP_COLUMNS, MT_OP_ROWS */
enum { WEIGHT, BIAS_PARAM };                      /* parameters */
enum { GEMM_FWD, GEMM_DATA, GEMM_WEIGHT };
enum { BWD_BIAS, FIRST_BIAS };

static const struct mt_attr attrs[] = {
    {"size", MT_ATTR_INT, .min = 1, .max = 1 << 30, .required = 1, .doc = "outputs"},
    {"bias", MT_ATTR_BOOL, .def = {.b = 1}, .doc = "add a bias"},
    {"init", MT_ATTR_WORD, .def = {.w = 0},
     .words = "kaiming_uniform kaiming_normal xavier_uniform xavier_normal orthogonal normal "
              "uniform constant zeros",
     .doc = "first weights; the bias starts uniform in +-1/sqrt(inputs) with kaiming_uniform, "
            "otherwise at zero"},
    {"gain", MT_ATTR_NUM, .max = 1e6,
     .doc = "of the initialiser: factor, deviation, half width or value; 0: sqrt(1/3) with "
            "kaiming_uniform (the rule of PyTorch), sqrt(2) with kaiming_normal (for ReLU), 1 "
            "with xavier and orthogonal, 0.02 with normal and uniform"},
    {0}};

static const struct {
    enum mt_init_kind kind;
    double gain;
} inits[] = {                                     /* in the order of the words */
    {MT_INIT_KAIMING_UNIFORM, 0.57735026918962576},
    {MT_INIT_KAIMING_NORMAL, 1.4142135623730951},
    {MT_INIT_XAVIER_UNIFORM, 1},
    {MT_INIT_XAVIER_NORMAL, 1},
    {MT_INIT_ORTHOGONAL, 1},
    {MT_INIT_NORMAL, 0.02},
    {MT_INIT_UNIFORM, 0.02},
    {MT_INIT_CONSTANT, 0},
    {MT_INIT_ZEROS, 0},
};

static int infer(struct mt_node *n)
{
    int64_t O = mt_attr_int(n, SIZE), I;
    int init = mt_attr_word(n, INIT);
    double gain = mt_attr_num(n, GAIN);

    MT_TRY(mt_node_inputs(n, 1));
    MT_TRY(mt_node_is_real(n, 0));
    MT_CHECK(n->in[0].rank >= 2, MOTLEY_ECONFIG,
             "linear needs samples of at least one dimension; this input has one number each");
    I = mt_spec_last(&n->in[0]);
    n->nout = 1;
    n->out[0] = n->in[0];
    n->out[0].dim[n->in[0].rank - 1] = O;
    n->out[0].dtype = mt_attr_int(n, PART) == MT_OP_ROWS ? MT_F32 : n->in[0].dtype;
    n->din[0] = mt_attr_int(n, PART) == MT_OP_COLUMNS ? MT_F32 : n->in[0].dtype;
    n->nparam = mt_attr_bool(n, BIAS) ? 2 : 1;
    n->param[WEIGHT] = (struct mt_param){
        .name = "weight",
        .spec = mt_spec_new(MT_F32, 0, 2, (const int64_t[]){O, I}),
        .init = {inits[init].kind, gain != 0 ? gain : inits[init].gain, I, O},
        .decay = 1,
    };
    n->param[BIAS_PARAM] = (struct mt_param){
        .name = "bias",
        .spec = mt_spec_new(MT_F32, 0, 1, &O),
        .init = {init == 0 ? MT_INIT_UNIFORM : MT_INIT_ZEROS, 1 / sqrt((double)I), I, O},
    };
    return MOTLEY_OK;
}

/* Whether y is wider than what it is made of, and a bias is put there for the product to add to. */
static int bias_is_first(const struct mt_node *n)
{
    return n->nparam > BIAS_PARAM && n->out[0].dtype != n->in[0].dtype;
}

static int prepare(struct mt_node *n, struct mt_dev *dev)
{
    int64_t R = mt_spec_rows(&n->in[0]), I = mt_spec_last(&n->in[0]);
    int64_t O = mt_spec_last(&n->out[0]);
    enum mt_dtype type = mt_node_storage(n);
    struct mt_gemm g[MT_MAXGEMM] = {
        [GEMM_FWD] = {.trans_b = 1, .m = R, .n = O, .k = I, .alpha = 1, .varies = 'm',
                      .has_bias = n->nparam > BIAS_PARAM && !bias_is_first(n), .act = n->act,
                      .slope = n->slope, .in = type, .out = n->out[0].dtype,
                      .after = (n->drops != NULL ? MT_GEMM_DROP : 0u) |
                               (n->adds ? MT_GEMM_RESIDUAL : 0u)},
        [GEMM_DATA] = {.m = R, .n = I, .k = O, .alpha = 1, .varies = 'm', .in = type,
                       .out = n->din[0]},
        [GEMM_WEIGHT] = {.trans_a = 1, .m = O, .n = I, .k = R, .alpha = 1, .varies = 'k',
                         .in = type},
    };

    char defines[32];

    snprintf(defines, sizeof defines, "-DV=%d %s", mt_dev_vector(dev), mt_dtype_defines(type));
    MT_TRY(mt_kernel_get(dev, "linear", "linear_bwd_bias", defines, &n->kernel[BWD_BIAS]));
    MT_TRY(mt_kernel_get(dev, "linear", "linear_first_bias", defines, &n->kernel[FIRST_BIAS]));
    for (int i = 0; i < MT_MAXGEMM; i++) {
        uint64_t scratch;

        MT_TRY(mt_gemm_plan_new(dev, &g[i], &n->gemm[i]));
        scratch = mt_gemm_plan_scratch(n->gemm[i]);
        n->scratch_bytes = scratch > n->scratch_bytes ? scratch : n->scratch_bytes;
    }
    return MOTLEY_OK;
}

static int fwd(const struct mt_node *n, const struct mt_io *io)
{
    int64_t R = mt_spec_rows(&io->in[0].spec);
    struct mt_tensor y = io->out[0];
    const struct mt_tensor *bias = n->nparam > BIAS_PARAM ? &io->param[BIAS_PARAM] : NULL;
    struct mt_gemm_after a = {.residual = n->adds ? &io->residual : NULL};
    float beta = 0;

    if (bias_is_first(n)) {
        uint64_t N = (uint64_t)mt_spec_count(&y.spec);

        MT_TRY(mt_launch(io->dev, n->kernel[FIRST_BIAS], mt_items(N, MT_WG),
                         MT_ARGS(mt_t(&y), mt_t(bias), mt_u32((uint32_t)N),
                                 mt_u32((uint32_t)mt_spec_last(&y.spec)))));
        bias = NULL;
        beta = 1;
    }
    if (n->drops != NULL) {
        mt_dropout_after(n->drops, io, R / io->in[0].spec.dim[0], &a);
    }
    return mt_gemm_run_after(n->gemm[GEMM_FWD], R, &io->in[0], &io->param[WEIGHT], beta, &y, bias,
                             &io->scratch, n->drops != NULL || n->adds ? &a : NULL);
}

static int bwd_bias(const struct mt_node *n, const struct mt_io *io)
{
    int64_t R = mt_spec_rows(&io->dout[0].spec), O = mt_spec_last(&io->dout[0].spec);
    /* Columns of a group, and its size: of cl/linear.cl. */
    int vector = mt_dev_vector(io->dev), columns = vector > 1 ? 16 : 8;

    return mt_launch(io->dev, n->kernel[BWD_BIAS],
                     mt_groups((uint64_t)((O + columns - 1) / columns), vector > 1 ? 1 : MT_WG),
                     MT_ARGS(mt_t(&io->dparam[BIAS_PARAM]), mt_t(&io->dout[0]),
                             mt_u32((uint32_t)R), mt_u32((uint32_t)O),
                             mt_u32(io->acc_param >> BIAS_PARAM & 1)));
}

static int bwd(const struct mt_node *n, const struct mt_io *io)
{
    int64_t R = mt_spec_rows(&io->dout[0].spec);

    if ((io->want & MT_WANT_DATA) && io->din[0].buf != NULL) {
        struct mt_tensor dx = io->din[0];

        MT_TRY(mt_gemm_run(n->gemm[GEMM_DATA], R, &io->dout[0], &io->param[WEIGHT],
                           (float)(io->acc_in & 1), &dx, NULL, &io->scratch));
    }
    if (io->want & MT_WANT_PARAM) {
        struct mt_tensor dw = io->dparam[WEIGHT];

        MT_TRY(mt_gemm_run(n->gemm[GEMM_WEIGHT], R, &io->dout[0], &io->in[0],
                           (float)(io->acc_param >> WEIGHT & 1), &dw, NULL, &io->scratch));
        if (n->nparam > BIAS_PARAM) {
            MT_TRY(bwd_bias(n, io));
        }
    }
    return MOTLEY_OK;
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    double R = (double)mt_spec_rows(&n->in[0]), I = (double)mt_spec_last(&n->in[0]);
    double O = (double)mt_spec_last(&n->out[0]);
    double bias = n->nparam > BIAS_PARAM ? 1 : 0;

    c->fwd_flop = 2 * R * I * O + bias * R * O;
    c->data_flop = 2 * R * I * O;
    c->param_flop = 2 * R * I * O + bias * R * O;
    c->fwd_bytes = 4 * (R * I + I * O + R * O + bias * O);
    c->data_bytes = 4 * (R * I + I * O + R * O);
    c->param_bytes = 4 * (R * I + I * O + (1 + bias) * R * O + bias * O);
}

/* By columns: rows [lo, hi) of w and as much of b. By rows: columns of w, and b once. */
static void split(const struct mt_node *n, const struct mt_division *how, struct mt_shard *out)
{
    int rows = how->by == MT_OP_ROWS;

    memcpy(out->attr, n->attr, sizeof out->attr);
    out->attr[SIZE].i = rows ? mt_attr_int(n, SIZE) : how->hi - how->lo;
    out->attr[BIAS].b = mt_attr_bool(n, BIAS) && (!rows || how->first);
    out->attr[PART].i = how->by;
    out->param[WEIGHT] = (struct mt_shard_param){1, rows, how->lo, how->hi};
    out->param[BIAS_PARAM] =
        rows ? (struct mt_shard_param){how->first, 0, 0, mt_attr_int(n, SIZE)}
             : (struct mt_shard_param){1, 0, how->lo, how->hi};
}

const struct mt_op mt_op_linear = {
    .name = "linear",
    .doc = "linear layer over the last dimension, y = x W^T + b",
    .attrs = attrs,
    .flags = MT_OP_FUSES | MT_OP_COLUMNS | MT_OP_ROWS,
    .keep = MT_KEEP_IN,
    .infer = infer,
    .prepare = prepare,
    .fwd = fwd,
    .bwd = bwd,
    .cost = cost,
    .split = split,
};
