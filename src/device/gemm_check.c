/* gemm_check.c -- whether a provider is right: its product against the same one computed on the
 * host in double.
 *
 * Two kinds of data. Small integers: every sum is exact in float, so are the results, and
 * Freivalds' identity C w = alpha A (B w) + C0 w + sum(bias) w finds an error in any row of C for
 * the price of three matrix-vector products (R. Freivalds, Probabilistic machines can use less
 * running time, IFIP 1977); w is fixed, so the answer is the same every time. Random numbers: a
 * sample of rows, each element within the bound
 *
 *     |C - ref| <= gamma_(k+4) (|alpha| sum |a b| + |c0| + |bias|),  gamma_n = n u / (1 - n u),
 *
 * u = 2^-24 (N. Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), which
 * holds for any order of the sum; it tells half precision from single. An activation has a slope of
 * at most 1 and adds its own rounding, at most 12 u of the result (sigmoid: exp 3 ulp, sum 0.5,
 * quotient 2.5). Where it hides a sum (sigmoid, tanh) there are random numbers in place of
 * integers, small enough for sums of about 1.
 *
 * Operands of half width are drawn among the numbers of that type. Where C has half width, too, its
 * own rounding, half an ulp, is added to the bound, and integers are such that C is exact: zeros
 * and ones, so many that a sum is about 100, which bf16 has room for twice. A residual adds one
 * more rounding.
 *
 * What lies outside of the result (gaps between rows, rows beyond the present size, the end) must
 * stay untouched; with beta 0 C starts as NaN.
 *
 * Both kinds are run at the planned size, an odd one near the middle and 1 for the dimension that
 * varies. Problems beyond WORK products or ROOM elements are halved in their longest dimension
 * until they fit: the check of a large plan is of the same kind but shorter. */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "base/half.h"
#include "device/buf.h"
#include "device/dev.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WORK   (INT64_C(1) << 27)   /* multiplications of one run on the device */
#define ROOM   (INT64_C(1) << 24)   /* elements of one matrix */
#define SAMPLE (INT64_C(1) << 22)   /* multiplications of one comparison on the host */
#define GAP    3                    /* elements behind C that belong to nobody */

struct trial {
    struct mt_dev *dev;
    struct mt_gemm g;               /* with all leading dimensions and strides */
    struct mt_gemm_plan *plan;
    int64_t na, nb, nc;             /* elements of the buffers */
    float *a, *b, *bias, *r, *c0, *c;   /* host; r: the residual, lies as C; c0: before, c: after */
    uint16_t *half;                 /* host: room for the longest of them in half width */
    double *v;                      /* n + k: vectors of Freivalds' check */
    struct mt_buf *buf_a, *buf_b, *buf_c, *buf_bias, *buf_r, *buf_scratch;
    uint32_t seed;
};

static int64_t at_least(int64_t have, int64_t want)
{
    return have > want ? have : want;
}

/* The same product with everything explicit, small enough to be checked at leisure. */
static struct mt_gemm shrink(struct mt_gemm g)
{
    int64_t gap_a = g.lda > 0 ? g.lda - (g.trans_a ? g.m : g.k) : 0;
    int64_t gap_b = g.ldb > 0 ? g.ldb - (g.trans_b ? g.k : g.n) : 0;
    int64_t gap_c = g.ldc > 0 ? g.ldc - g.n : 0;

    if (g.batch > 3) {
        g.batch = 3;
    }
    while (g.m * g.n > WORK / g.k / g.batch || g.m * g.k > ROOM || g.k * g.n > ROOM ||
           g.m * g.n > ROOM) {
        int64_t *longest = g.m >= g.n && g.m >= g.k ? &g.m : g.n >= g.k ? &g.n : &g.k;

        *longest = (*longest + 1) / 2;
    }
    g.lda = (g.trans_a ? g.m : g.k) + gap_a;
    g.ldb = (g.trans_b ? g.k : g.n) + gap_b;
    g.ldc = g.n + gap_c;
    g.stride_a = g.lda * (g.trans_a ? g.k : g.m);
    g.stride_b = g.ldb * (g.trans_b ? g.n : g.k);
    g.stride_c = g.ldc * g.m;
    return g;
}

/* A fixed sequence (linear congruence, D. Knuth's multiplier; its upper bits are used). */
static uint32_t draw(struct trial *t)
{
    t->seed = t->seed * 1664525u + 1013904223u;
    return t->seed >> 8;
}

static uint16_t to_half(enum mt_dtype type, float x)
{
    return type == MT_BF16 ? mt_half_to_bf16(x) : mt_half_to_fp16(x);
}

static float from_half(enum mt_dtype type, uint16_t h)
{
    return type == MT_BF16 ? mt_half_from_bf16(h) : mt_half_from_fp16(h);
}

/* Half an ulp of a number, as a part of it, and the smallest step of the type. */
static double half_ulp(enum mt_dtype type)
{
    return type == MT_BF16 ? 0x1p-8 : type == MT_FP16 ? 0x1p-11 : 0.0;
}

static double tiny(enum mt_dtype type)
{
    return type == MT_FP16 ? 0x1p-25 : 0.0;
}

/* Integers: 0 to 3, or, for a sum of many terms that must fit eight bits, 0 and 1. */
static void fill(struct trial *t, float *x, int64_t n, int exact, enum mt_dtype type)
{
    double share = 10.0 / sqrt((double)t->g.k);   /* of ones; a sum is k share^2 */
    uint32_t below = (uint32_t)((share < 0.75 ? share : 0.75) * 0x1p24);
    int few = t->g.out != MT_F32 && t->g.k > 28;

    for (int64_t i = 0; i < n; i++) {
        uint32_t u = draw(t);
        float v = !exact ? (float)u * 0x1p-23f - 1.0f
                  : few  ? (u < below ? 1.0f : 0.0f)
                         : (float)(u >> 22);

        x[i] = mt_dtype_is_half(type) ? from_half(type, to_half(type, v)) : v;
    }
}

static int write_as(struct trial *t, struct mt_buf *buf, enum mt_dtype type, const float *x,
                    int64_t n)
{
    if (!mt_dtype_is_half(type)) {
        return mt_buf_write(buf, 0, (uint64_t)n * sizeof *x, x);
    }
    for (int64_t i = 0; i < n; i++) {
        t->half[i] = to_half(type, x[i]);
    }
    return mt_buf_write(buf, 0, (uint64_t)n * sizeof *t->half, t->half);
}

static int read_as(struct trial *t, struct mt_buf *buf, enum mt_dtype type, float *x, int64_t n)
{
    if (!mt_dtype_is_half(type)) {
        return mt_buf_read(buf, 0, (uint64_t)n * sizeof *x, x);
    }
    MT_TRY(mt_buf_read(buf, 0, (uint64_t)n * sizeof *t->half, t->half));
    for (int64_t i = 0; i < n; i++) {
        x[i] = from_half(type, t->half[i]);
    }
    return MOTLEY_OK;
}

static void trial_free(struct trial *t)
{
    struct mt_ctx *ctx = mt_dev_ctx(t->dev);

    mt_gemm_plan_free(t->plan);
    mt_buf_free(t->buf_a);
    mt_buf_free(t->buf_b);
    mt_buf_free(t->buf_c);
    mt_buf_free(t->buf_bias);
    mt_buf_free(t->buf_r);
    mt_buf_free(t->buf_scratch);
    mt_free(ctx, t->a);
    mt_free(ctx, t->b);
    mt_free(ctx, t->bias);
    mt_free(ctx, t->r);
    mt_free(ctx, t->c0);
    mt_free(ctx, t->c);
    mt_free(ctx, t->half);
    mt_free(ctx, t->v);
}

static int trial_init(struct trial *t, struct mt_dev *dev, const struct mt_gemm *g,
                      const struct mt_gemm_provider *provider, const char *form)
{
    struct mt_ctx *ctx = mt_dev_ctx(dev);
    const uint64_t f = sizeof(float);

    t->dev = dev;
    t->g = shrink(*g);
    t->seed = 1;
    t->na = t->g.stride_a * t->g.batch;
    t->nb = t->g.stride_b * t->g.batch;
    t->nc = t->g.stride_c * t->g.batch + GAP;
    MT_TRY(mt_gemm_plan_make(dev, &t->g, provider, form, &t->plan));
    MT_TRY(MT_NEW_N(ctx, t->na, &t->a));
    MT_TRY(MT_NEW_N(ctx, t->nb, &t->b));
    MT_TRY(MT_NEW_N(ctx, t->g.n, &t->bias));
    MT_TRY(MT_NEW_N(ctx, t->nc, &t->r));
    MT_TRY(MT_NEW_N(ctx, t->nc, &t->c0));
    MT_TRY(MT_NEW_N(ctx, t->nc, &t->c));
    MT_TRY(MT_NEW_N(ctx, at_least(at_least(t->na, t->nb), at_least(t->nc, t->g.n)), &t->half));
    MT_TRY(MT_NEW_N(ctx, t->g.n + t->g.k, &t->v));
    MT_TRY(mt_buf_new(dev, (uint64_t)t->na * f, "gemm check A", &t->buf_a));
    MT_TRY(mt_buf_new(dev, (uint64_t)t->nb * f, "gemm check B", &t->buf_b));
    MT_TRY(mt_buf_new(dev, (uint64_t)t->nc * f, "gemm check C", &t->buf_c));
    MT_TRY(mt_buf_new(dev, (uint64_t)t->g.n * f, "gemm check bias", &t->buf_bias));
    if (t->g.after != 0) {
        MT_TRY(mt_buf_new(dev, (uint64_t)t->nc * f, "gemm check residual", &t->buf_r));
    }
    if (t->plan->scratch_bytes > 0) {
        MT_TRY(mt_buf_new(dev, t->plan->scratch_bytes, "gemm check scratch", &t->buf_scratch));
    }
    return MOTLEY_OK;
}

/* Sizes of a run: as planned, but `size` for what varies. */
static struct mt_gemm sizes_now(const struct mt_gemm *g, int64_t size)
{
    struct mt_gemm now = *g;

    *(g->varies == 'n' ? &now.n : g->varies == 'k' ? &now.k : &now.m) = size;
    return now;
}

/* Whether sums come out as they are, if they are positive. */
static int shows_sums(const struct mt_gemm *g)
{
    return g->act != MT_GEMM_SIGMOID && g->act != MT_GEMM_TANH;
}

/* add: with beta 1, on integers where that is of use; otherwise C starts as NaN. */
static int run_once(struct trial *t, int64_t size, int add)
{
    const int exact = add && shows_sums(&t->g);
    const enum mt_dtype in = t->g.in, out = t->g.out;
    struct mt_tensor a = {.spec.dtype = in, .buf = t->buf_a};
    struct mt_tensor b = {.spec.dtype = in, .buf = t->buf_b};
    struct mt_tensor c = {.spec.dtype = out, .buf = t->buf_c};
    struct mt_tensor bias = {.spec.dtype = in, .buf = t->buf_bias};
    struct mt_tensor residual = {.spec.dtype = out, .buf = t->buf_r};
    struct mt_tensor scratch = {.buf = t->buf_scratch};
    struct mt_gemm_after after = {.residual = &residual};

    fill(t, t->a, t->na, exact, in);
    fill(t, t->b, t->nb, exact, in);
    fill(t, t->bias, t->g.n, exact, in);
    fill(t, t->c0, t->nc, exact, out);
    if (t->g.after != 0) {   /* otherwise it stays zero */
        fill(t, t->r, t->nc, exact, out);
        MT_TRY(write_as(t, t->buf_r, out, t->r, t->nc));
    }
    for (int64_t i = 0; !add && i < t->nc; i++) {
        t->c0[i] = NAN;
    }
    if (!shows_sums(&t->g)) {   /* by a power of two: exact in every type */
        float scale = (float)exp2(floor(log2(2.0 / sqrt((double)t->g.k))));

        for (int64_t i = 0; i < t->na; i++) {
            t->a[i] *= scale;
        }
    }
    if (exact && t->g.alpha < 0.0f) {   /* keep the product positive: relu must not hide it */
        for (int64_t i = 0; i < t->na; i++) {
            t->a[i] = -t->a[i];
        }
    }
    MT_TRY(write_as(t, t->buf_a, in, t->a, t->na));
    MT_TRY(write_as(t, t->buf_b, in, t->b, t->nb));
    MT_TRY(write_as(t, t->buf_bias, in, t->bias, t->g.n));
    MT_TRY(write_as(t, t->buf_c, out, t->c0, t->nc));
    MT_TRY(mt_gemm_run_after(t->plan, size, &a, &b, add ? 1.0f : 0.0f, &c, &bias, &scratch,
                             t->g.after != 0 ? &after : NULL));
    return read_as(t, t->buf_c, out, t->c, t->nc);
}

static double elem_a(const struct trial *t, int64_t batch, int64_t i, int64_t l)
{
    const struct mt_gemm *g = &t->g;

    return t->a[batch * g->stride_a + (g->trans_a ? l * g->lda + i : i * g->lda + l)];
}

static double elem_b(const struct trial *t, int64_t batch, int64_t l, int64_t j)
{
    const struct mt_gemm *g = &t->g;

    return t->b[batch * g->stride_b + (g->trans_b ? j * g->ldb + l : l * g->ldb + j)];
}

/* Integers, beta 1: all rows at once. */
static int compare_exact(struct trial *t, const struct mt_gemm *now, char *why, size_t room)
{
    const struct mt_gemm *g = &t->g;
    double alpha = g->alpha, *w = t->v, *bw = t->v + g->n;
    /* Exact if alpha is a power of two; otherwise a few roundings an element. */
    int exact_alpha = frexp(fabs(alpha), &(int){0}) == 0.5;

    for (int64_t j = 0; j < now->n; j++) {
        w[j] = 1.0 + (double)(draw(t) >> 22);
    }
    for (int64_t e = 0; e < g->batch; e++) {
        for (int64_t l = 0; l < now->k; l++) {
            bw[l] = 0.0;
            for (int64_t j = 0; j < now->n; j++) {
                bw[l] += elem_b(t, e, l, j) * w[j];
            }
        }
        for (int64_t i = 0; i < now->m; i++) {
            const float *c = t->c + e * g->stride_c + i * g->ldc;
            const float *c0 = t->c0 + e * g->stride_c + i * g->ldc;
            const float *r = t->r + e * g->stride_c + i * g->ldc;
            double want = 0.0, got = 0.0, rest = 0.0, slack;

            for (int64_t l = 0; l < now->k; l++) {
                want += elem_a(t, e, i, l) * bw[l];
            }
            for (int64_t j = 0; j < now->n; j++) {
                rest += w[j] * ((double)c0[j] + (g->has_bias ? (double)t->bias[j] : 0.0) +
                                (double)r[j]);
                got += w[j] * (double)c[j];
            }
            want = alpha * want + rest;
            slack = exact_alpha ? 0.0 : fabs(want) * (8.0 * 0x1p-24 + half_ulp(g->out));
            if (!(fabs(got - want) <= slack)) {
                snprintf(why, room,
                         "integers, sizes %" PRId64 " x %" PRId64 " x %" PRId64
                         ", row %" PRId64 " of matrix %" PRId64
                         ": weighted sum is %.17g, must be %.17g",
                         now->m, now->n, now->k, i, e, got, want);
                return 0;
            }
        }
    }
    return 1;
}

static double activation(const struct mt_gemm *g, double x)
{
    switch (g->act) {
    case MT_GEMM_NOACT:
        break;
    case MT_GEMM_RELU:
        return x < 0.0 ? 0.0 : x;
    case MT_GEMM_LEAKY_RELU:
        return x < 0.0 ? (double)g->slope * x : x;
    case MT_GEMM_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case MT_GEMM_TANH:
        return tanh(x);
    }
    return x;
}

/* Random numbers: some rows, element by element. */
static int compare_rows(struct trial *t, const struct mt_gemm *now, int add, char *why, size_t room)
{
    const struct mt_gemm *g = &t->g;
    int64_t rows = at_least(SAMPLE / (now->n * now->k * g->batch), 2);
    int64_t step = now->m > rows ? (now->m - 1) / (rows - 1) : 1;
    double nu = ((double)now->k + 4.0) * 0x1p-24, gamma = nu / (1.0 - nu);

    for (int64_t e = 0; e < g->batch; e++) {
        /* From the last row up: the edge is always among them. */
        for (int64_t i = now->m - 1; i >= 0; i -= step) {
            const float *c = t->c + e * g->stride_c + i * g->ldc;
            const float *c0 = t->c0 + e * g->stride_c + i * g->ldc;
            const float *r = t->r + e * g->stride_c + i * g->ldc;

            for (int64_t j = 0; j < now->n; j++) {
                double sum = 0.0, size = 0.0, bias = g->has_bias ? t->bias[j] : 0.0;
                double old = add ? (double)c0[j] : 0.0;

                for (int64_t l = 0; l < now->k; l++) {
                    double x = elem_a(t, e, i, l) * elem_b(t, e, l, j);

                    sum += x;
                    size += fabs(x);
                }
                sum = activation(g, (double)g->alpha * sum + old + bias);
                size = gamma * (fabs((double)g->alpha) * size + fabs(old) + fabs(bias));
                size += g->act > MT_GEMM_RELU ? 12.0 * 0x1p-24 * fabs(sum) : 0.0;
                size += half_ulp(g->out) * (fabs(sum) + size) + tiny(g->out);
                if (g->after != 0) {   /* added to what would be stored, and rounded again */
                    sum += (double)r[j];
                    size += fmax(half_ulp(g->out), 0x1p-24) * (fabs(sum) + size) + tiny(g->out);
                }
                if (!(fabs((double)c[j] - sum) <= size)) {
                    snprintf(why, room,
                             "random, sizes %" PRId64 " x %" PRId64 " x %" PRId64
                             ": C[%" PRId64 "][%" PRId64 "] of matrix %" PRId64
                             " is %.9g, must be %.9g within %.2g",
                             now->m, now->n, now->k, i, j, e, (double)c[j], sum, size);
                    return 0;
                }
            }
        }
    }
    return 1;
}

/* Elements of the buffer of C outside the result are as before, NaN included. */
static int untouched(const struct trial *t, const struct mt_gemm *now, char *why, size_t room)
{
    const struct mt_gemm *g = &t->g;

    for (int64_t p = 0; p < t->nc; p++) {
        int64_t in = p % g->stride_c;

        if ((p >= g->stride_c * g->batch || in / g->ldc >= now->m || in % g->ldc >= now->n) &&
            memcmp(&t->c[p], &t->c0[p], sizeof(float)) != 0) {
            snprintf(why, room,
                     "sizes %" PRId64 " x %" PRId64 " x %" PRId64
                     ": wrote outside of C, at element %" PRId64,
                     now->m, now->n, now->k, p);
            return 0;
        }
    }
    return 1;
}

int mt_gemm_check(struct mt_dev *dev, const struct mt_gemm *g,
                  const struct mt_gemm_provider *provider, const char *form, int *good, char *why,
                  size_t room)
{
    struct trial t = {.dev = dev};
    int64_t sizes[3];
    int n = 0, ok = 1, st = MOTLEY_OK;

    MT_TRY_OR(done, trial_init(&t, dev, g, provider, form));
    sizes[n++] = g->varies == 'n' ? t.g.n : g->varies == 'k' ? t.g.k : t.g.m;
    if (g->varies != 0 && sizes[0] > 1) {
        sizes[n++] = 1;
        if (sizes[0] / 2 > 1) {
            sizes[n++] = (sizes[0] / 2) | 1;
        }
    }
    for (int i = 0; i < n && ok; i++) {
        struct mt_gemm now = sizes_now(&t.g, sizes[i]);

        MT_TRY_OR(done, run_once(&t, sizes[i], 1));
        ok = (shows_sums(&t.g) ? compare_exact(&t, &now, why, room)
                               : compare_rows(&t, &now, 1, why, room)) &&
             untouched(&t, &now, why, room);
        if (ok) {
            MT_TRY_OR(done, run_once(&t, sizes[i], 0));
            ok = compare_rows(&t, &now, 0, why, room) && untouched(&t, &now, why, room);
        }
    }
    *good = ok;
done:
    trial_free(&t);
    return st;
}
