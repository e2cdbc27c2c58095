/* gemm.c -- matrix products by every provider that the device has, called directly, unchecked by
 * the library's own check.
 *
 * Proves, for all transposes, one and several matrices, gaps between rows and between matrices,
 * alpha, beta, bias, activations, sizes from 1 to beyond every tile and smaller than planned:
 *   numbers    within the bound of the reference in double. Bound: the sum of k products in any
 *              order, then alpha, c, bias: gamma_(k+4) (|alpha| sum |a b| + |c| + |bias|) with
 *              gamma_n = n u / (1 - n u), u = 2^-24; relu adds nothing, the other activations have
 *              slopes of at most 1 and add their own rounding: leaky_relu u |y|, tanh 5 ulp = 10 u
 *              |y|, sigmoid 12 u |y| (exp 3 ulp, sum 0.5, quotient 2.5). C starts as NaN where
 *              beta is 0. Where operands or result are bf16 or fp16 (8 and 11 bits), operands are
 *              drawn among those numbers, and rounding C adds half an ulp, 2^-8 or 2^-11 of it.
 *              Behind the activation elements are dropped by the masks of base/rng.c, the others
 *              doubled, and a residual is added: half an ulp, and in half width another of each
 *              number that is stored.
 *   exact      small integers: equal to the last bit (slope 1/4; not with sigmoid and tanh), after
 *              rounding to the width of C
 *   outside    what lies around C in its buffer stays
 *   same bits  the same call again */
#include "base/ctx.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/cast.h"
#include "device/dev.h"
#include "device/gemm.h"
#include "tests/rig.h"

#include <math.h>
#include <stdio.h>

enum { BEFORE = 5, AFTER = 7 };   /* elements around each matrix that belong to nobody */

struct sizes {
    int64_t m, n, k;
    int slow;
};

/* Around the tiles of the providers (6, 12, 16, 32, 64), blocks of K (256) and groups. */
static const struct sizes shapes[] = {
    {1, 1, 1, 0},     {1, 33, 7, 0},    {33, 1, 64, 0},    {5, 10, 17, 0},   {16, 10, 40, 0},
    {12, 32, 16, 0},  {13, 48, 31, 0},  {37, 29, 43, 0},   {24, 65, 257, 0}, {65, 17, 300, 0},
    {16, 96, 530, 0}, {128, 70, 33, 0}, {100, 130, 90, 1}, {67, 259, 520, 1}, {300, 40, 270, 1},
};

struct one {
    const char *provider;
    struct mt_gemm g;
    float beta;
    int64_t size;           /* of what varies */
    int exact;
};

struct data {
    struct mt_ctx *ctx;
    int64_t na, nb, nc;
    float *a, *b, *c, *bias, *got, *again, *add;
    struct mt_gemm_after after;
    uint16_t *half;         /* room for the longest of them */
    struct mt_buf *buf[6];  /* A, B, C, bias, scratch, residual */
};

static int64_t pick(int64_t given, int64_t dense)
{
    return given > 0 ? given : dense;
}

/* Leading dimensions and strides as the header defines them, for the sizes of the run. */
static struct mt_gemm resolve(const struct one *o)
{
    struct mt_gemm g = o->g;

    if (g.varies != 0) {
        *(g.varies == 'm' ? &g.m : g.varies == 'n' ? &g.n : &g.k) = o->size;
    }
    g.batch = pick(g.batch, 1);
    g.lda = pick(g.lda, g.trans_a ? g.m : g.k);
    g.ldb = pick(g.ldb, g.trans_b ? g.k : g.n);
    g.ldc = pick(g.ldc, g.n);
    g.stride_a = pick(g.stride_a, g.lda * (g.trans_a ? g.k : g.m));
    g.stride_b = pick(g.stride_b, g.ldb * (g.trans_b ? g.n : g.k));
    g.stride_c = pick(g.stride_c, g.ldc * g.m);
    return g;
}

/* The nearest number of that type. */
static float rounded(enum mt_dtype type, double x)
{
    struct mt_spec spec = {.dtype = type};

    return (float)mt_slot_number(&spec, mt_slot_word(&spec, x));
}

static void draw(float *x, int64_t n, int exact, enum mt_dtype type, struct mt_rng_key key)
{
    for (int64_t i = 0; i < n; i++) {
        double u = mt_rng_uniform(key, (uint64_t)i);

        x[i] = rounded(type, exact ? floor(7.0 * u) - 3.0 : 2.0 * u - 1.0);
    }
}

/* n numbers into a buffer of that type, and back. */
static int put(struct mt_buf *buf, enum mt_dtype type, const float *x, int64_t n, uint16_t *half)
{
    struct mt_spec spec = {.dtype = type};

    if (!mt_dtype_is_half(type)) {
        return mt_buf_write(buf, 0, 4 * (uint64_t)n, x);
    }
    for (int64_t i = 0; i < n; i++) {
        half[i] = (uint16_t)mt_slot_word(&spec, (double)x[i]);
    }
    return mt_buf_write(buf, 0, 2 * (uint64_t)n, half);
}

static int get(struct mt_ctx *ctx, struct mt_buf *buf, enum mt_dtype type, float *x, int64_t n)
{
    struct mt_tensor t = {.spec = mt_spec_new(type, 0, 1, &n), .buf = buf};

    return mt_cast_read(ctx, &t, x);
}

/* Row and column of element p of the buffer of C, and which matrix; -1: outside of all. */
static int64_t at_c(const struct mt_gemm *g, int64_t p, int64_t *i, int64_t *j)
{
    int64_t in = p - BEFORE;

    if (in < 0 || g->m == 0 || g->n == 0) {
        return -1;
    }
    *i = in % g->stride_c / g->ldc;
    *j = in % g->stride_c % g->ldc;
    return in / g->stride_c < g->batch && *i < g->m && *j < g->n ? in / g->stride_c : -1;
}

/* The activation of x, and what it adds to the bound in units of u |y|. */
static double activation(const struct mt_gemm *g, double x, double *roundings)
{
    static const double adds[] = {[MT_GEMM_NOACT] = 0, [MT_GEMM_RELU] = 0,
                                  [MT_GEMM_LEAKY_RELU] = 1, [MT_GEMM_SIGMOID] = 12,
                                  [MT_GEMM_TANH] = 10};

    *roundings = adds[g->act];
    return g->act == MT_GEMM_RELU         ? fmax(x, 0.0)
           : g->act == MT_GEMM_LEAKY_RELU ? (x > 0.0 ? x : (double)g->slope * x)
           : g->act == MT_GEMM_SIGMOID    ? 1.0 / (1.0 + exp(-x))
           : g->act == MT_GEMM_TANH       ? tanh(x)
                                          : x;
}

/* Whether element (i, j) is dropped, by the words of src/ops/dropout.c. */
static int dropped(const struct mt_gemm *g, const struct mt_gemm_after *a, int64_t i, int64_t j)
{
    uint64_t e = (uint64_t)(i % a->rows * g->n + j);
    uint32_t c[4] = {(uint32_t)(e / 64 * 16 + e % 16), a->first + (uint32_t)(i / a->rows),
                     (uint32_t)a->step, (uint32_t)(a->step >> 32)}, bits[4];

    mt_rng_bits((struct mt_rng_key){{a->key[0], a->key[1]}}, c, bits);
    return bits[e % 64 / 16] < a->limit;
}

static void compare(const struct one *o, const struct mt_gemm *g, const struct data *d,
                    struct mt_result *numbers, struct mt_result *outside)
{
    double nu = ((double)g->k + 4.0) * 0x1p-24, gamma = nu / (1.0 - nu);
    struct mt_spec spec = {.dtype = o->g.out};

    for (int64_t p = 0; p < d->nc; p++) {
        int64_t i, j, e = at_c(g, p, &i, &j);
        double sum = 0.0, mag = 0.0, more;
        int exact;

        if (e < 0) {
            mt_result_element(outside, p, d->got[p], d->c[p], 0);
            continue;
        }
        for (int64_t l = 0; l < g->k; l++) {
            int64_t pa = g->trans_a ? l * g->lda + i : i * g->lda + l;
            int64_t pb = g->trans_b ? j * g->ldb + l : l * g->ldb + j;
            double x = (double)d->a[BEFORE + e * g->stride_a + pa] *
                       (double)d->b[BEFORE + e * g->stride_b + pb];

            sum += x;
            mag += fabs(x);
        }
        sum *= (double)g->alpha;
        mag *= fabs((double)g->alpha);
        if (o->beta != 0.0f) {
            sum += d->c[p];
            mag += fabs((double)d->c[p]);
        }
        if (g->has_bias) {
            sum += d->bias[BEFORE + j];
            mag += fabs((double)d->bias[BEFORE + j]);
        }
        sum = activation(g, sum, &more);
        exact = o->exact && more < 2;
        mag = gamma * mag + more * 0x1p-24 * fabs(sum);
        if (g->after != 0) {   /* what was stored, and read again */
            sum = exact ? (double)rounded(o->g.out, sum) : sum;
            mag += mt_slot_half_ulp(&spec) * (fabs(sum) + mag) + mt_slot_tiny(&spec);
        }
        if (g->after & MT_GEMM_DROP) {
            double scale = dropped(g, &d->after, i, j) ? 0.0 : (double)d->after.scale;

            sum = exact ? (double)rounded(o->g.out, scale * sum) : scale * sum;
            mag = scale * mag;
            mag += mt_slot_half_ulp(&spec) * (fabs(sum) + mag) + mt_slot_tiny(&spec);
        }
        if (g->after & MT_GEMM_RESIDUAL) {
            sum += (double)d->add[p];
            mag += 0x1p-24 * fabs(sum);
        }
        mag += mt_slot_half_ulp(&spec) * (fabs(sum) + mag) + mt_slot_tiny(&spec);
        mt_result_element(numbers, p, d->got[p],
                          exact ? (double)rounded(o->g.out, sum) : sum, exact ? 0.0 : mag);
    }
}

static int upload_and_run(const struct one *o, const struct mt_gemm_plan *plan, struct data *d,
                          float *got)
{
    enum mt_dtype in = o->g.in, out = o->g.out;
    struct mt_tensor a = {.spec.dtype = in, .buf = d->buf[0], .off = BEFORE};
    struct mt_tensor b = {.spec.dtype = in, .buf = d->buf[1], .off = BEFORE};
    struct mt_tensor c = {.spec.dtype = out, .buf = d->buf[2], .off = BEFORE};
    struct mt_tensor bias = {.spec.dtype = in, .buf = d->buf[3], .off = BEFORE};
    struct mt_tensor scratch = {.buf = d->buf[4], .off = BEFORE};
    struct mt_tensor add = {.spec.dtype = out, .buf = d->buf[5], .off = BEFORE};

    MT_TRY(put(d->buf[0], in, d->a, d->na, d->half));
    MT_TRY(put(d->buf[1], in, d->b, d->nb, d->half));
    MT_TRY(put(d->buf[2], out, d->c, d->nc, d->half));
    MT_TRY(put(d->buf[3], in, d->bias, BEFORE + o->g.n, d->half));
    MT_TRY(put(d->buf[5], out, d->add, d->nc, d->half));
    d->after.residual = o->g.after & MT_GEMM_RESIDUAL ? &add : NULL;
    MT_TRY(mt_gemm_run_after(plan, o->size, &a, &b, o->beta, &c, o->g.has_bias ? &bias : NULL,
                             mt_gemm_plan_scratch(plan) > 0 ? &scratch : NULL,
                             o->g.after != 0 ? &d->after : NULL));
    return get(d->ctx, d->buf[2], out, got, d->nc);
}

static int make_data(struct mt_dev *dev, const struct one *o, const struct mt_gemm *g,
                     const struct mt_gemm_plan *plan, struct mt_rng_key key, struct data *d)
{
    struct mt_ctx *ctx = d->ctx;
    uint64_t scratch = mt_gemm_plan_scratch(plan);

    d->na = BEFORE + g->stride_a * g->batch;
    d->nb = BEFORE + g->stride_b * g->batch;
    d->nc = BEFORE + g->stride_c * g->batch + AFTER;
    MT_TRY(MT_NEW_N(ctx, d->na, &d->a));
    MT_TRY(MT_NEW_N(ctx, d->nb, &d->b));
    MT_TRY(MT_NEW_N(ctx, d->nc, &d->c));
    MT_TRY(MT_NEW_N(ctx, BEFORE + o->g.n, &d->bias));
    MT_TRY(MT_NEW_N(ctx, d->nc, &d->got));
    MT_TRY(MT_NEW_N(ctx, d->nc, &d->again));
    MT_TRY(MT_NEW_N(ctx, d->nc, &d->add));
    MT_TRY(MT_NEW_N(ctx, d->na + d->nb + d->nc + o->g.n, &d->half));
    key.k[0]++;
    draw(d->a, d->na, o->exact, o->g.in, key);
    key.k[0]++;
    draw(d->b, d->nb, o->exact, o->g.in, key);
    key.k[0]++;
    draw(d->c, d->nc, o->exact, o->g.out, key);
    key.k[0]++;
    draw(d->bias, BEFORE + o->g.n, o->exact, o->g.in, key);
    key.k[0]++;
    draw(d->add, d->nc, o->exact, o->g.out, key);
    d->after = (struct mt_gemm_after){.drops = (o->g.after & MT_GEMM_DROP) != 0,
                                      .key = {key.k[0], key.k[1]}, .first = 3,
                                      .limit = 1u << 31, .step = ((uint64_t)1 << 33) + 5,
                                      .scale = 2.0f, .rows = 2};
    for (int64_t p = 0, i, j; p < d->nc && o->beta == 0.0f; p++) {
        d->c[p] = at_c(g, p, &i, &j) >= 0 ? NAN : d->c[p];
    }
    MT_TRY(mt_buf_new(dev, (uint64_t)d->na * 4, "gemm suite A", &d->buf[0]));
    MT_TRY(mt_buf_new(dev, (uint64_t)d->nb * 4, "gemm suite B", &d->buf[1]));
    MT_TRY(mt_buf_new(dev, (uint64_t)d->nc * 4, "gemm suite C", &d->buf[2]));
    MT_TRY(mt_buf_new(dev, (uint64_t)(BEFORE + o->g.n) * 4, "gemm suite bias", &d->buf[3]));
    MT_TRY(mt_buf_new(dev, (uint64_t)d->nc * 4, "gemm suite residual", &d->buf[5]));
    if (scratch > 0) {
        MT_TRY(mt_buf_new(dev, scratch + 4 * BEFORE, "gemm suite scratch", &d->buf[4]));
    }
    return MOTLEY_OK;
}

static void free_data(struct data *d)
{
    for (int i = 0; i < 6; i++) {
        mt_buf_free(d->buf[i]);
    }
    mt_free(d->ctx, d->a);
    mt_free(d->ctx, d->b);
    mt_free(d->ctx, d->c);
    mt_free(d->ctx, d->bias);
    mt_free(d->ctx, d->got);
    mt_free(d->ctx, d->again);
    mt_free(d->ctx, d->add);
    mt_free(d->ctx, d->half);
}

/* One product of one plan; name: of the case. */
static int check_one(struct mt_dev *dev, const struct one *o, const struct mt_gemm_plan *plan,
                     const char *name, uint64_t seed, struct mt_report *r)
{
    struct mt_result numbers = mt_result_new("gemm", name, o->exact ? "exact" : "numbers");
    struct mt_result outside = mt_result_new("gemm", name, "outside");
    struct mt_result same = mt_result_new("gemm", name, "same bits");
    struct data d = {.ctx = mt_dev_ctx(dev)};
    struct mt_gemm g = resolve(o);
    int st;

    MT_TRY_OR(end, make_data(dev, o, &g, plan, mt_rng_key(seed, MT_RNG_TEST,
                                                          mt_rng_stream(name)), &d));
    MT_TRY_OR(end, upload_and_run(o, plan, &d, d.got));
    compare(o, &g, &d, &numbers, &outside);
    MT_TRY_OR(end, upload_and_run(o, plan, &d, d.again));
    for (int64_t p = 0; p < d.nc; p++) {
        mt_result_element(&same, p, d.again[p], d.got[p], 0);
    }
    MT_TRY_OR(end, mt_report_add(r, &numbers));
    MT_TRY_OR(end, mt_report_add(r, &outside));
    MT_TRY_OR(end, mt_report_add(r, &same));
end:
    free_data(&d);
    return st;
}

/* A plan, run with real and with exact data at the planned size and at smaller ones. */
int mt_kit_gemm(struct mt_dev *dev, const char *provider, const char *form,
                const struct mt_gemm *g, uint64_t seed, struct mt_report *r)
{
    static const char *const acts[] = {[MT_GEMM_NOACT] = "", [MT_GEMM_RELU] = " relu",
                                       [MT_GEMM_LEAKY_RELU] = " leaky",
                                       [MT_GEMM_SIGMOID] = " sigmoid", [MT_GEMM_TANH] = " tanh"};
    struct mt_gemm_plan *plan = NULL;
    int64_t full = g->varies == 'n' ? g->n : g->varies == 'k' ? g->k : g->m;
    int64_t size[4] = {full, (full + 1) / 2, 1, 0};
    int sizes = g->varies == 0 ? 1 : 4;
    int st = mt_gemm_plan_with(dev, g, provider, form, 1, &plan);

    if (st == MOTLEY_EUNSUP) {
        return MOTLEY_OK;
    }
    MT_TRY_OR(end, st);
    for (int i = 0; i < sizes; i++) {
        for (int variant = 0; variant < 2; variant++) {
            struct one o = {.provider = provider, .g = *g, .beta = (float)((i + variant) % 2),
                            .size = size[i], .exact = variant};
            struct mt_gemm now = resolve(&o);
            char name[96];

            snprintf(name, sizeof name,
                     "%s%s%.12s %s%s %dx%dx%d%s%s%s%s%s%s%s%s%s%s", provider,
                     *form != '\0' ? " " : "", form, g->trans_a ? "T" : "N",
                     g->trans_b ? "T" : "N", (int)now.m, (int)now.n, (int)now.k,
                     g->batch > 1 ? " batch" : "", g->lda > 0 ? " gaps" : "",
                     o.beta != 0.0f ? " add" : "", g->has_bias ? " bias" : "",
                     acts[g->act], g->after & MT_GEMM_DROP ? " drop" : "",
                     g->after & MT_GEMM_RESIDUAL ? " sum" : "", size[i] < full ? " part" : "",
                     g->in == MT_F32    ? ""
                     : g->in == MT_BF16 ? " bf16"
                                        : " fp16",
                     g->out != g->in ? " to f32" : "");
            MT_TRY_OR(end, check_one(dev, &o, plan, name, seed, r));
        }
    }
end:
    mt_gemm_plan_free(plan);
    return st;
}

/* One shape, one way to transpose; the other properties follow the two, so that each meets each in
 * some case. */
static struct mt_gemm mixed(int s, int way, int mix)
{
    static const enum mt_gemm_act act[7] = {MT_GEMM_NOACT, MT_GEMM_RELU, MT_GEMM_LEAKY_RELU,
                                            MT_GEMM_NOACT, MT_GEMM_SIGMOID, MT_GEMM_RELU,
                                            MT_GEMM_TANH};
    struct mt_gemm g = {.trans_a = way & 1, .trans_b = way >> 1, .m = shapes[s].m,
                        .n = shapes[s].n, .k = shapes[s].k,
                        .alpha = mix % 3 == 0 ? -0.5f : 1.0f, .has_bias = mix % 2,
                        .act = act[mix % 7], .slope = 0.25f, .varies = "m\0kn"[mix % 4]};

    /* Those that call functions are kernels of their own: compiled for one way each. */
    if ((g.act == MT_GEMM_SIGMOID && way != 0) || (g.act == MT_GEMM_TANH && way != 2)) {
        g.act = MT_GEMM_LEAKY_RELU;
    }
    g.after = (unsigned)(mix % 4 + mix / 4 % 4) % 4;
    if (mix % 5 == 1) {
        g.batch = 3;
        g.after &= MT_GEMM_RESIDUAL;
    }
    if (mix % 3 == 2) {
        g.lda = (g.trans_a ? g.m : g.k) + 3;
        g.ldb = (g.trans_b ? g.k : g.n) + 1;
        g.ldc = g.n + 2;
        g.stride_a = g.lda * (g.trans_a ? g.k : g.m) + 4;
        g.stride_b = g.ldb * (g.trans_b ? g.n : g.k);
        g.stride_c = g.ldc * g.m + 9;
    }
    return g;
}

/* What tuning may choose, each at one shape beyond every edge. */
static int run_forms(struct mt_dev *dev, const char *provider, uint64_t seed,
                     struct mt_report *r)
{
    const char *form;

    for (int f = 1; (form = mt_gemm_form(dev, provider, f)) != NULL; f++) {
        struct mt_gemm g = mixed(8, f % 4, 0);   /* 24 x 65 x 257 */

        MT_TRY(mt_kit_gemm(dev, provider, form, &g, seed, r));
    }
    return MOTLEY_OK;
}

/* The same product of narrow operands: to the same type and, as for gradients of weights, to
 * f32. */
static int narrow(struct mt_dev *dev, const char *provider, const struct mt_gemm *g, int mix,
                  uint64_t seed, struct mt_report *r)
{
    struct mt_gemm same = *g, wide = *g;

    same.in = same.out = mix % 2 ? MT_BF16 : MT_FP16;
    MT_TRY(mt_kit_gemm(dev, provider, "", &same, seed, r));
    wide.in = mix % 2 ? MT_FP16 : MT_BF16;
    wide.has_bias = 0;
    wide.act = MT_GEMM_NOACT;
    wide.after = 0;
    return mt_kit_gemm(dev, provider, "", &wide, seed, r);
}

/* So long that a provider of f32 is given slices of 192 rows and of 768 terms. */
static int run_slices(struct mt_dev *dev, const char *provider, uint64_t seed,
                      struct mt_report *r)
{
    struct mt_gemm rows = {.trans_b = 1, .m = 600, .n = 40, .k = 1000, .alpha = 1.0f,
                           .has_bias = 1, .act = MT_GEMM_RELU, .varies = 'm', .lda = 1003,
                           .ldc = 41, .in = MT_BF16, .out = MT_BF16};
    struct mt_gemm terms = {.trans_a = 1, .m = 40, .n = 300, .k = 1600, .alpha = -0.5f,
                            .varies = 'k', .in = MT_FP16};

    MT_TRY(mt_kit_gemm(dev, provider, "", &rows, seed, r));
    return mt_kit_gemm(dev, provider, "", &terms, seed, r);
}

static int run(struct mt_dev *dev, const struct mt_check_opt *opt, struct mt_report *r)
{
    for (const char *const *p = mt_gemm_providers(); *p != NULL; p++) {
        for (int s = 0; s < (int)(sizeof shapes / sizeof *shapes); s++) {
            if (opt->small && shapes[s].slow) {
                continue;
            }
            for (int t = 0; t < (opt->small ? 1 : 4); t++) {
                struct mt_gemm g = mixed(s, opt->small ? s % 4 : t, s + t);

                MT_TRY(mt_kit_gemm(dev, *p, "", &g, opt->seed, r));
                if (t == s % 4 || opt->small) {
                    MT_TRY(narrow(dev, *p, &g, s + t, opt->seed, r));
                }
            }
        }
        if (!opt->small) {
            MT_TRY(run_forms(dev, *p, opt->seed, r));
            MT_TRY(run_slices(dev, *p, opt->seed, r));
        }
    }
    return MOTLEY_OK;
}

MT_SUITE(gemm, .run = run);
