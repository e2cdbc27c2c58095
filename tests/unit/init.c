/* init.c -- initialisers: moments within five standard errors, limits, orthonormal rows or
 * columns, and values that depend on seed and name alone. */
#include "base/ctx.h"
#include "graph/store.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { R = 300, C = 400 };

static struct mt_ctx *ctx;
static float w[R * C], again[R * C];

static int setup(void **state)
{
    (void)state;
    return mt_ctx_new(NULL, NULL, &ctx);
}

static int teardown(void **state)
{
    int64_t live = ctx->mem.live;

    (void)state;
    mt_ctx_free(ctx);
    return live == 0 ? 0 : -1;
}

static void fill(enum mt_init_kind kind, double scale, int64_t rows, int64_t cols)
{
    struct mt_param p = {.name = "weight",
                         .spec = mt_spec_new(MT_F32, 0, 2, (int64_t[]){rows, cols}),
                         .init = {.kind = kind, .scale = scale, .fan_in = cols, .fan_out = rows}};

    assert_int_equal(mt_init_fill(ctx, &p, "a.weight", 1, w), MOTLEY_OK);
}

/* Mean zero, variance as given; kurtosis: fourth moment over squared variance (3 or 1.8). */
static void moments(enum mt_init_kind kind, double scale, double variance, double kurtosis)
{
    double m1 = 0, m2 = 0, n = R * C;

    fill(kind, scale, R, C);
    for (int i = 0; i < R * C; i++) {
        m1 += w[i];
        m2 += (double)w[i] * w[i];
    }
    assert_true(fabs(m1 / n) < 5 * sqrt(variance / n));
    assert_true(fabs(m2 / n / variance - 1) < 5 * sqrt((kurtosis - 1) / n));
}

static void distributions(void **state)
{
    (void)state;
    moments(MT_INIT_NORMAL, 0.3, 0.09, 3);
    moments(MT_INIT_NORMAL, 0, 1e-4, 3);
    moments(MT_INIT_UNIFORM, 0.5, 0.25 / 3, 1.8);
    moments(MT_INIT_XAVIER_NORMAL, 0, 2.0 / (R + C), 3);
    moments(MT_INIT_XAVIER_UNIFORM, 2, 4 * 2.0 / (R + C), 1.8);
    moments(MT_INIT_KAIMING_NORMAL, sqrt(2), 2.0 / C, 3);
    moments(MT_INIT_KAIMING_UNIFORM, 0, 1.0 / C, 1.8);
    fill(MT_INIT_CONSTANT, 0.25, R, C);
    assert_true(w[0] == 0.25f && w[R * C - 1] == 0.25f);
    fill(MT_INIT_ZEROS, 0, R, C);
    assert_true(w[0] == 0 && w[R * C - 1] == 0);
}

static void orthonormal(int64_t rows, int64_t cols, double gain)
{
    int64_t few = rows < cols ? rows : cols, many = rows < cols ? cols : rows;

    fill(MT_INIT_ORTHOGONAL, gain, rows, cols);
    for (int64_t a = 0; a < few; a++) {
        for (int64_t b = 0; b <= a; b++) {
            double dot = 0;

            for (int64_t i = 0; i < many; i++) {
                dot += rows < cols ? (double)w[a * cols + i] * w[b * cols + i]
                                   : (double)w[i * cols + a] * w[i * cols + b];
            }
            assert_true(fabs(dot - (a == b ? gain * gain : 0)) < 1e-5 * gain * gain);
        }
    }
}

static void orthogonal(void **state)
{
    (void)state;
    orthonormal(20, 50, 1);
    orthonormal(50, 20, 2);
    orthonormal(30, 30, 1);
}

static void depends_on_seed_and_name_only(void **state)
{
    struct mt_param p = {.name = "weight", .spec = mt_spec_new(MT_F32, 0, 1, (int64_t[]){100}),
                         .init = {.kind = MT_INIT_NORMAL}};

    (void)state;
    assert_int_equal(mt_init_fill(ctx, &p, "a.weight", 1, w), MOTLEY_OK);
    assert_int_equal(mt_init_fill(ctx, &p, "a.weight", 1, again), MOTLEY_OK);
    assert_memory_equal(w, again, 100 * sizeof *w);
    assert_int_equal(mt_init_fill(ctx, &p, "b.weight", 1, again), MOTLEY_OK);
    assert_memory_not_equal(w, again, 100 * sizeof *w);
    assert_int_equal(mt_init_fill(ctx, &p, "a.weight", 2, again), MOTLEY_OK);
    assert_memory_not_equal(w, again, 100 * sizeof *w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions),
        cmocka_unit_test(orthogonal),
        cmocka_unit_test(depends_on_seed_and_name_only),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
