/* init.c -- first values of parameters, drawn on the host by counters.
 *
 *   normal(s)           N(0, s^2)                       s default 0.01
 *   uniform(a)          U(-a, a)                        a default 0.01
 *   xavier_normal       s = gain sqrt(2 / (in + out))   xavier_uniform    a = sqrt(3) s
 *   kaiming_normal      s = gain / sqrt(in)             kaiming_uniform   a = sqrt(3) s
 *   orthogonal          gain Q, Q from the QR of a normal matrix, rows or columns orthonormal
 *
 * in, out: fan_in, fan_out. X. Glorot, Y. Bengio, AISTATS 2010; K. He et al., ICCV 2015; A. Saxe
 * et al., ICLR 2014. Element i of a parameter is a function of (seed, name, i) alone, computed in
 * double with operations that every host rounds alike, so the weights are the same on every
 * machine and for any number of ranks. */
#include "graph/store.h"

#include "base/ctx.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

static double fan(int64_t n)
{
    return n > 0 ? (double)n : 1;
}

static void fill_normal(struct mt_rng_key key, int64_t n, double s, float *dst)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = (float)(s * mt_rng_normal(key, (uint64_t)i));
    }
}

static void fill_uniform(struct mt_rng_key key, int64_t n, double a, float *dst)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = (float)(a * (2 * mt_rng_uniform(key, (uint64_t)i) - 1));
    }
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Q (few, many) has orthonormal rows: Gram-Schmidt, twice, which is as good as Householder here
 * (W. Giraud et al., 2005) and has one obvious order of sums. */
static void orthonormal_rows(double *q, int64_t few, int64_t many)
{
    for (int64_t r = 0; r < few; r++) {
        double *row = q + r * many, norm;

        for (int pass = 0; pass < 2; pass++) {
            for (int64_t k = 0; k < r; k++) {
                double c = dot(row, q + k * many, many);

                for (int64_t i = 0; i < many; i++) {
                    row[i] -= c * q[k * many + i];
                }
            }
        }
        norm = sqrt(dot(row, row, many));
        for (int64_t i = 0; i < many; i++) {
            row[i] /= norm;
        }
    }
}

/* The parameter as a matrix (R, C): first dimension by all others. */
static int fill_orthogonal(struct mt_ctx *ctx, struct mt_rng_key key, const struct mt_spec *spec,
                           double gain, float *dst)
{
    int64_t R = spec->dim[0], C = mt_spec_count(spec) / R;
    int64_t few = R < C ? R : C, many = R < C ? C : R;
    double *q = NULL;

    MT_TRY(MT_NEW_N(ctx, few * many, &q));
    for (int64_t i = 0; i < few * many; i++) {
        q[i] = mt_rng_normal(key, (uint64_t)i);
    }
    orthonormal_rows(q, few, many);
    for (int64_t r = 0; r < R; r++) {
        for (int64_t c = 0; c < C; c++) {
            dst[r * C + c] = (float)(gain * (R < C ? q[r * C + c] : q[c * R + r]));
        }
    }
    mt_free(ctx, q);
    return MOTLEY_OK;
}

int mt_init_fill(struct mt_ctx *ctx, const struct mt_param *p, const char *name, uint64_t seed,
                 float *dst)
{
    struct mt_rng_key key = mt_rng_key(seed, MT_RNG_INIT, mt_rng_stream(name));
    const struct mt_init *in = &p->init;
    int64_t n = mt_spec_count(&p->spec);
    double gain = in->scale != 0 ? in->scale : 1;
    double small = in->scale != 0 ? in->scale : 0.01;
    double xavier = gain * sqrt(2 / (fan(in->fan_in) + fan(in->fan_out)));
    double kaiming = gain / sqrt(fan(in->fan_in));

    switch (in->kind) {
    case MT_INIT_ZEROS:
        memset(dst, 0, (size_t)n * sizeof *dst);
        return MOTLEY_OK;
    case MT_INIT_CONSTANT:
        for (int64_t i = 0; i < n; i++) {
            dst[i] = (float)in->scale;
        }
        return MOTLEY_OK;
    case MT_INIT_NORMAL:
        fill_normal(key, n, small, dst);
        return MOTLEY_OK;
    case MT_INIT_UNIFORM:
        fill_uniform(key, n, small, dst);
        return MOTLEY_OK;
    case MT_INIT_XAVIER_NORMAL:
        fill_normal(key, n, xavier, dst);
        return MOTLEY_OK;
    case MT_INIT_XAVIER_UNIFORM:
        fill_uniform(key, n, sqrt(3.0) * xavier, dst);
        return MOTLEY_OK;
    case MT_INIT_KAIMING_NORMAL:
        fill_normal(key, n, kaiming, dst);
        return MOTLEY_OK;
    case MT_INIT_KAIMING_UNIFORM:
        fill_uniform(key, n, sqrt(3.0) * kaiming, dst);
        return MOTLEY_OK;
    case MT_INIT_ORTHOGONAL:
        return fill_orthogonal(ctx, key, &p->spec, gain, dst);
    }
    MT_BUG_IF(1);
    return MOTLEY_OK;
}
