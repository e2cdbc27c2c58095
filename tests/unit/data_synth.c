/* data_synth.c -- proves: the least-squares solution of the generated linear problem leaves the
 * noise that was asked for, in the training part and in the held-out part; exact problems are
 * small integers and an integer map of them; samples do not depend on how many there are. */
#define _POSIX_C_SOURCE 200809L
#include "datakit.h"

#include <math.h>

#define MOST 12

/* Solves the normal equations of y = (x, 1) W by elimination with pivots, in double. */
static void solve(const struct mt_set *s, int out, double w[MOST])
{
    int64_t n = s->sample.x_size + 1;
    double a[MOST][MOST + 1] = {{0}};

    assert_true(n <= MOST && s->sample.y_size <= MOST);
    for (int64_t i = 0; i < s->n; i++) {
        float x[MOST], y[MOST];

        assert_int_equal(s->fetch(s, i, x, y), 0);
        x[n - 1] = 1;
        for (int r = 0; r < n; r++) {
            for (int c = 0; c < n; c++) {
                a[r][c] += (double)x[r] * (double)x[c];
            }
            a[r][n] += (double)x[r] * (double)y[out];
        }
    }
    for (int k = 0; k < n; k++) {
        int best = k;

        for (int r = k + 1; r < n; r++) {
            best = fabs(a[r][k]) > fabs(a[best][k]) ? r : best;
        }
        for (int c = 0; c <= n; c++) {
            double t = a[k][c];

            a[k][c] = a[best][c];
            a[best][c] = t;
        }
        assert_true(fabs(a[k][k]) > 1e-9);
        for (int r = 0; r < n; r++) {
            double f = a[r][k] / a[k][k];

            for (int c = k; c <= n && r != k; c++) {
                a[r][c] -= f * a[k][c];
            }
        }
    }
    for (int r = 0; r < n; r++) {
        w[r] = a[r][n] / a[r][r];
    }
}

static double residual(const struct mt_set *s, int out, const double *w)
{
    int64_t n = s->sample.x_size;
    double sum = 0;

    for (int64_t i = 0; i < s->n; i++) {
        float x[MOST], y[MOST];
        double e;

        assert_int_equal(s->fetch(s, i, x, y), 0);
        e = (double)y[out] - w[n];
        for (int j = 0; j < n; j++) {
            e -= w[j] * (double)x[j];
        }
        sum += e * e;
    }
    return sqrt(sum / (double)s->n);
}

static void linear(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;
    double w[2][MOST];

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "linear", "outputs", "2", "noise", "0.25"));
    assert_int_equal(d->train->n, 10000);
    assert_int_equal(d->train->sample.x_size, 10);
    assert_int_equal(d->train->sample.y_size, 2);
    for (int k = 0; k < 2; k++) {
        solve(d->train, k, w[k]);
        assert_true(fabs(residual(d->train, k, w[k]) - 0.25) < 0.01);
        assert_true(fabs(residual(d->held, k, w[k]) - 0.25) < 0.03);
        assert_true(k == 0 || residual(d->held, k, w[0]) > 1);
    }
    mt_data_close(d);
    d = kit_must(ctx, KIT_PAIRS("format", "linear", "noise", "0", "n", "500"));
    solve(d->train, 0, w[0]);
    assert_true(residual(d->held, 0, w[0]) < 1e-6);
    mt_data_close(d);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void exact(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;
    double w[MOST];

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "exact", "range", "3"));
    for (int64_t i = 0; i < d->train->n; i++) {
        float x[MOST], y[MOST];

        assert_int_equal(d->train->fetch(d->train, i, x, y), 0);
        for (int j = 0; j < 8; j++) {
            assert_true(x[j] == rintf(x[j]) && fabsf(x[j]) <= 3);
        }
        for (int k = 0; k < 4; k++) {
            assert_true(y[k] == rintf(y[k]) && fabsf(y[k]) <= 3 * 3 * 8 + 3);
        }
    }
    for (int k = 0; k < 4; k++) {
        solve(d->train, k, w);
        for (int j = 0; j < 9; j++) {
            assert_true(fabs(w[j] - rint(w[j])) < 1e-9 && fabs(w[j]) < 3.5);
        }
        assert_true(residual(d->held, k, w) < 1e-9);
    }
    mt_data_close(d);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void exact_labels(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;
    int count[5] = {0};

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "exact", "classes", "5", "n", "1000"));
    assert_int_equal(d->train->sample.classes, 5);
    for (int64_t i = 0; i < 1000; i++) {
        float x[MOST];
        int32_t y = -1;

        assert_int_equal(d->train->fetch(d->train, i, x, &y), 0);
        assert_in_range(y, 0, 4);
        count[y]++;
    }
    for (int k = 0; k < 5; k++) {
        assert_in_range(count[k], 140, 260);
    }
    mt_data_close(d);
    mt_ctx_free(ctx);
}

static void same_for_any_n(void **state)
{
    static const char *const format[] = {"linear", "exact"};
    struct mt_ctx *ctx = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    for (int f = 0; f < 2; f++) {
        struct mt_data *few = kit_must(ctx, KIT_PAIRS("format", format[f], "n", "9"));
        struct mt_data *many = kit_must(ctx, KIT_PAIRS("format", format[f], "n", "900"));
        struct mt_data *other = kit_must(ctx, KIT_PAIRS("format", format[f], "seed", "2"));
        int same = 0;

        for (int64_t i = 0; i < 18; i++) {
            const struct mt_set *s = i < 9 ? few->train : few->held;
            const struct mt_set *t = i < 9 ? many->train : many->held;
            const struct mt_set *u = i < 9 ? other->train : other->held;
            float a[2][MOST] = {{0}}, b[2][MOST] = {{0}}, c[2][MOST] = {{0}};

            s->fetch(s, i % 9, a[0], a[1]);
            t->fetch(t, i % 9, b[0], b[1]);
            u->fetch(u, i % 9, c[0], c[1]);
            assert_memory_equal(a, b, sizeof a);
            same += memcmp(a, c, sizeof a) == 0;
        }
        assert_int_equal(same, 0);
        assert_string_not_equal(few->digest, other->digest);
        mt_data_close(few);
        mt_data_close(many);
        mt_data_close(other);
    }
    mt_ctx_free(ctx);
}

static void refused(void **state)
{
    (void)state;
    kit_refused(KIT_PAIRS("format", "linear", "inputs", "100000", "outputs", "1000"),
                MOTLEY_ECONFIG,
                "data: 100000 inputs x 1000 outputs, at most 10000000 weights are made");
    kit_starve(KIT_PAIRS("format", "linear"));
    kit_starve(KIT_PAIRS("format", "exact", "held", "0", "validation", "8"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),         cmocka_unit_test(exact),
        cmocka_unit_test(exact_labels),   cmocka_unit_test(same_for_any_n),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests_name("data_synth", tests, kit_setup, kit_teardown);
}
