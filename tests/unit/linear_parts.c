/* linear_parts.c -- proves parts of a linear layer whose values are stored in half width against
 * the definition in double: the part with some of the inputs gives its term of y, that with some of
 * the outputs its term of dx, both as f32, rounded no further; the rest is rounded to the width.
 * With and without bias, added to what is there already, few and many numbers.
 *
 * Bound: that of tests/ops/linear.c, and one rounding where a result is stored in half width. */
#include "base/half.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/cast.h"
#include "ops/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devkit.h"

static const struct trial {
    int R, I, O, bias, acc;
} trials[] = {{1, 1, 1, 1, 0},      {5, 33, 9, 1, 0},      {7, 12, 20, 0, 1},
              {64, 200, 150, 1, 1}, {130, 96, 256, 1, 0}};

enum { SIZE, BIAS };   /* options of linear */

static void ok(int st)
{
    if (st < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static float *draw(uint64_t stream, int64_t n, enum mt_dtype dtype)
{
    struct mt_rng_key key = mt_rng_key(5, MT_RNG_TEST, stream);
    float *x = malloc((size_t)n * sizeof *x);

    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        float v = (float)mt_rng_normal(key, (uint64_t)i);

        x[i] = dtype == MT_BF16   ? mt_half_from_bf16(mt_half_to_bf16(v))
               : dtype == MT_FP16 ? mt_half_from_fp16(mt_half_to_fp16(v))
                                  : v;
    }
    return x;
}

/* host NULL: no numbers. */
static struct mt_tensor tensor(struct mt_spec spec, const float *host)
{
    struct mt_tensor t = {.spec = spec};
    int64_t n = mt_spec_count(&spec);

    ok(mt_buf_new(dev, (mt_spec_bytes(&spec) + 3) / 4 * 4, "test", &t.buf));
    ok(mt_buf_fill(t.buf, 0, (mt_spec_bytes(&spec) + 3) / 4 * 4, 0x7fc07fc0u));
    for (int64_t i = 0; i < n && host != NULL; i++) {
        uint16_t half = spec.dtype == MT_BF16 ? mt_half_to_bf16(host[i]) : mt_half_to_fp16(host[i]);

        ok(spec.dtype == MT_F32 ? mt_buf_write(t.buf, (uint64_t)i * 4, 4, &host[i])
                                : mt_buf_write(t.buf, (uint64_t)i * 2, 2, &half));
    }
    return t;
}

struct part {
    struct mt_node n;
    struct mt_io io;
    float *x, *w, *b, *g, *dx;      /* as stored; dx: what is there already */
};

static void part_new(struct part *p, const struct trial *t, enum mt_dtype dtype, unsigned by)
{
    const int64_t R = t->R, I = t->I, O = t->O;
    struct mt_node whole = {.op = mt_op_find("linear"), .name = "whole", .nin = 1,
                            .in = {mt_spec_new(dtype, 1, 2, (int64_t[]){R, I})},
                            .attr = {[SIZE] = {.i = O}, [BIAS] = {.b = t->bias}}};
    struct mt_division all = {.by = by, .hi = by == MT_OP_ROWS ? I : O, .first = 1};
    struct mt_shard shard = {0};
    struct mt_spec w = mt_spec_new(dtype, 0, 2, (int64_t[]){O, I});
    struct mt_spec b = mt_spec_new(dtype, 0, 1, (int64_t[]){O});

    memset(p, 0, sizeof *p);
    p->n = whole;
    ok(mt_node_infer(&whole));
    whole.op->split(&whole, &all, &shard);
    memcpy(p->n.attr, shard.attr, sizeof p->n.attr);
    ok(mt_node_infer(&p->n));
    ok(mt_node_bind(&p->n, dev));
    p->x = draw(1, R * I, dtype);
    p->w = draw(2, O * I, dtype);
    p->b = draw(3, O, dtype);
    p->g = draw(4, R * O, dtype);
    p->dx = draw(6, R * I, p->n.din[0]);
    p->io.dev = dev;
    p->io.want = MT_WANT_DATA;
    p->io.acc_in = (unsigned)t->acc;
    p->io.in[0] = tensor(p->n.in[0], p->x);
    p->io.param[0] = tensor(w, p->w);
    p->io.param[1] = tensor(b, p->b);
    p->io.out[0] = tensor(p->n.out[0], NULL);
    p->io.dout[0] = tensor(mt_spec_new(dtype, 1, 2, (int64_t[]){R, O}), p->g);
    p->io.din[0] = tensor(mt_spec_new(p->n.din[0], 1, 2, (int64_t[]){R, I}), p->dx);
    p->io.scratch = tensor(mt_spec_new(MT_F32, 0, 1, (int64_t[]){
                               (int64_t)p->n.scratch_bytes / 4 + 1}), NULL);
}

static void part_free(struct part *p)
{
    mt_buf_free(p->io.scratch.buf);
    mt_buf_free(p->io.din[0].buf);
    mt_buf_free(p->io.dout[0].buf);
    mt_buf_free(p->io.out[0].buf);
    mt_buf_free(p->io.param[1].buf);
    mt_buf_free(p->io.param[0].buf);
    mt_buf_free(p->io.in[0].buf);
    mt_node_unbind(&p->n);
    free(p->dx);
    free(p->g);
    free(p->b);
    free(p->w);
    free(p->x);
}

static void expect(const struct mt_tensor *got, const double *want, const double *mag, int terms)
{
    double once = got->spec.dtype == MT_BF16   ? 0x1p-8
                  : got->spec.dtype == MT_FP16 ? 0x1p-11
                                               : 0;
    int64_t n = mt_spec_count(&got->spec);
    float *host = malloc((size_t)n * sizeof *host);

    assert_non_null(host);
    ok(mt_cast_read(ctx, got, host));
    for (int64_t i = 0; i < n; i++) {
        double bound = (terms + 4) * 0x1p-24 * mag[i] * (1 + once) + once * fabs(want[i]) +
                       (once > 0 ? 0x1p-25 : 0);

        if (!(fabs((double)host[i] - want[i]) <= bound)) {
            fail_msg("element %d: %.9g, not %.9g within %.3g", (int)i, (double)host[i], want[i],
                     bound);
        }
    }
    free(host);
}

static void check(const struct trial *t, enum mt_dtype dtype, unsigned by)
{
    int64_t most = (int64_t)t->R * (t->I > t->O ? t->I : t->O);
    double *want = calloc((size_t)most, sizeof *want), *mag = calloc((size_t)most, sizeof *mag);
    struct part p;

    assert_true(want != NULL && mag != NULL);
    part_new(&p, t, dtype, by);
    assert_int_equal(p.n.out[0].dtype, by == MT_OP_ROWS ? MT_F32 : dtype);
    assert_int_equal(p.n.din[0], by == MT_OP_COLUMNS ? MT_F32 : dtype);
    ok(p.n.op->fwd(&p.n, &p.io));
    ok(p.n.op->bwd(&p.n, &p.io));
    for (int r = 0; r < t->R; r++) {
        for (int o = 0; o < t->O; o++) {
            double sum = t->bias ? (double)p.b[o] : 0, size = fabs(sum);

            for (int i = 0; i < t->I; i++) {
                double term = (double)p.x[r * t->I + i] * (double)p.w[o * t->I + i];

                sum += term;
                size += fabs(term);
            }
            want[r * t->O + o] = sum;
            mag[r * t->O + o] = size;
        }
    }
    expect(&p.io.out[0], want, mag, t->I);
    for (int r = 0; r < t->R; r++) {
        for (int i = 0; i < t->I; i++) {
            double sum = t->acc ? (double)p.dx[r * t->I + i] : 0, size = fabs(sum);

            for (int o = 0; o < t->O; o++) {
                double term = (double)p.g[r * t->O + o] * (double)p.w[o * t->I + i];

                sum += term;
                size += fabs(term);
            }
            want[r * t->I + i] = sum;
            mag[r * t->I + i] = size;
        }
    }
    expect(&p.io.din[0], want, mag, t->O);
    part_free(&p);
    free(mag);
    free(want);
}

static void terms_are_f32(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        for (int k = 0; k < 3; k++) {
            check(&trials[i], mt_dtype_of(k), MT_OP_COLUMNS);
            check(&trials[i], mt_dtype_of(k), MT_OP_ROWS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(terms_are_f32)};
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
