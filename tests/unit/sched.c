/* sched.c -- learning-rate schedules against closed forms with the C library's functions, at the
 * ends and in the middle; warm-up; what is refused, with the message. */
#include "base/ctx.h"
#include "optim/sched.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PI 3.14159265358979323846

static struct mt_ctx *ctx;

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

/* A map of scalars: key, text, key, text, ..., NULL. */
static struct mt_tree *map(const char *const *words)
{
    struct mt_tree *t = NULL, *v = NULL;

    assert_int_equal(mt_tree_new(ctx, MT_TREE_MAP, "net.yaml", 5, 3, NULL, &t), MOTLEY_OK);
    for (; *words != NULL; words += 2) {
        assert_int_equal(mt_tree_new(ctx, MT_TREE_SCALAR, "net.yaml", 5, 9, words[1], &v),
                         MOTLEY_OK);
        assert_int_equal(mt_tree_add(ctx, t, words[0], v), MOTLEY_OK);
    }
    return t;
}

#define MAP(...) map((const char *const[]){__VA_ARGS__, NULL})

/* Rate at a step of a run of 1000 steps, 100 an epoch, base rate 0.5. */
static double rate(struct mt_tree *t, int64_t step)
{
    struct mt_sched *s = NULL;
    double lr;

    assert_int_equal(mt_sched_new(ctx, t, 0.5, 1000, 100, &s), MOTLEY_OK);
    lr = mt_sched_lr(s, step);
    mt_sched_free(s);
    mt_tree_free(ctx, t);
    return lr;
}

static void near(double a, double b)
{
    assert_true(fabs(a - b) <= 1e-14 * (1 + fabs(b)));
}

/* Units that in steps exceed 63 bits are never reached, not a division by what is left of them:
 * 1e12 epochs of 2^52 steps are 0 modulo 2^64. */
static void units_do_not_overflow(void **state)
{
    struct mt_tree *t = MAP("type", "step", "gamma", "0.1", "every", "1000000000000");
    struct mt_sched *s = NULL;

    (void)state;
    assert_int_equal(mt_sched_new(ctx, t, 0.5, 1000, (int64_t)1 << 52, &s), MOTLEY_OK);
    near(mt_sched_lr(s, 999), 0.5);
    mt_sched_free(s);
    mt_tree_free(ctx, t);
}

static void shapes(void **state)
{
    (void)state;
    near(rate(MAP("type", "constant"), 999), 0.5);
    near(rate(MAP("type", "step", "gamma", "0.1", "every", "3"), 299), 0.5);
    near(rate(MAP("type", "step", "gamma", "0.1", "every", "3"), 300), 0.05);
    near(rate(MAP("type", "step", "gamma", "0.5", "every", "10", "unit", "step"), 25), 0.125);
    near(rate(MAP("type", "exponential", "gamma", "0.9"), 950), 0.5 * pow(0.9, 9));
    near(rate(MAP("type", "linear"), 0), 0.5);
    near(rate(MAP("type", "linear"), 999), 0);
    near(rate(MAP("type", "linear", "end", "0.1"), 500), 0.5 * (1 - 0.9 * 500 / 999));
    near(rate(MAP("type", "cosine"), 0), 0.5);
    near(rate(MAP("type", "cosine"), 333), 0.5 * (1 + cos(PI * 333 / 999)) / 2);
    near(rate(MAP("type", "cosine", "end", "0.2"), 999), 0.1);
    near(rate(MAP("type", "one_cycle"), 0), 0.02);
    near(rate(MAP("type", "one_cycle", "peak", "0.5"), 999), 0.5e-4);
    near(rate(MAP("type", "one_cycle", "peak", "0.25", "start", "10"), 111),
         0.5 * (1 + (0.1 - 1) * (1 + cos(PI * (111.0 / 999) / 0.25)) / 2));
}

static void warm_up_rises_and_joins(void **state)
{
    (void)state;
    near(rate(MAP("type", "cosine", "warmup", "100"), 0), 0.005);
    near(rate(MAP("type", "cosine", "warmup", "100"), 99), 0.5);
    near(rate(MAP("type", "cosine", "warmup", "100"), 100), 0.5);
    near(rate(MAP("type", "cosine", "warmup", "100"), 999), 0);
}

static void refused(struct mt_tree *t, int64_t total, const char *message)
{
    struct mt_sched *s = NULL;

    assert_int_equal(mt_sched_new(ctx, t, 0.5, total, 100, &s), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), message);
    mt_tree_free(ctx, t);
}

static void refusals(void **state)
{
    (void)state;
    refused(MAP("type", "cosin"), 1000,
            "net.yaml:5:9: unknown schedule 'cosin'; there are constant, step, exponential, "
            "linear, cosine, one_cycle");
    refused(MAP("type", "cosine"), 0,
            "net.yaml:5:3: schedule cosine must know how long training lasts; set train.epochs or "
            "train.steps");
    refused(MAP("type", "constant", "warmup", "2000"), 1000,
            "net.yaml:5:3: warm-up of 2000 steps is longer than the training of 1000 steps");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(units_do_not_overflow),
        cmocka_unit_test(warm_up_rises_and_joins),
        cmocka_unit_test(refusals),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
