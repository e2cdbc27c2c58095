/* gemm.c -- providers are chosen, checked and dropped as promised: one that computes nonsense,
 * one that is right only in full multiples of its tile, one that writes beyond its rows and one
 * that reads C with beta 0 are each found out, named in one warning and never asked again; the
 * right one takes over; verdicts are kept on disk; sizes that do not fit are refused; nothing is
 * allocated in a run. */
#define _POSIX_C_SOURCE 200809L   /* mkdtemp */
#include "base/ctx.h"
#include "base/file.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/gemm_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    int warnings;
    char last[1024];
};

static void hear(void *arg, int level, const char *category, const char *text)
{
    struct world *w = arg;

    (void)category;
    if (level == MT_LOG_WARN) {
        w->warnings++;
        snprintf(w->last, sizeof w->last, "%s", text);
    }
}

/* ---- providers that are wrong in one way each: plain, and then something ------------------- */

static void version(char *buf, size_t room)
{
    snprintf(buf, room, "test");
}

static int run_nonsense(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                        const struct mt_gemm_call *call)
{
    (void)dev, (void)g, (void)state;
    return mt_buf_fill(call->c->buf, call->c->off * 4, 4, 0x3f800000u);
}

static int run_whole_tiles(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                           const struct mt_gemm_call *call)
{
    struct mt_gemm_call cut = *call;

    cut.k = call->k >= 8 ? call->k / 8 * 8 : call->k;
    return mt_gemm_plain.run(dev, g, state, &cut);
}

static int run_beyond(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                      const struct mt_gemm_call *call)
{
    int st = mt_gemm_plain.run(dev, g, state, call);
    int64_t last = (g->batch - 1) * call->stride_c + (call->m - 1) * call->ldc + call->n - 1;
    uint64_t end = (uint64_t)last + 1;

    return st < 0 ? st : mt_buf_fill(call->c->buf, (call->c->off + end) * 4, 4, 0);
}

static int run_reads_c(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                       const struct mt_gemm_call *call)
{
    struct mt_gemm_call add = *call;

    add.beta = 1.0f;
    return mt_gemm_plain.run(dev, g, state, &add);
}

static int can_all(struct mt_dev *dev, const struct mt_gemm *g)
{
    (void)dev, (void)g;
    return 1;
}

static int prepare_model(struct mt_dev *dev, const struct mt_gemm *g, const char *form,
                         void **state, uint64_t *scratch_bytes)
{
    (void)form;
    return mt_gemm_pairs.prepare(dev, g, "model=1", state, scratch_bytes);
}

static int run_nonsense_half(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                             const struct mt_gemm_call *call)
{
    (void)dev, (void)g, (void)state;
    return mt_buf_fill(call->c->buf, 0, 4, 0x3f803f80u);
}

static int run_loses_half(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                          const struct mt_gemm_call *call)
{
    struct mt_gemm_call cut = *call;

    cut.k -= cut.k > 1;
    return mt_gemm_pairs.run(dev, g, state, &cut);
}

static int run_reads_half(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                          const struct mt_gemm_call *call)
{
    struct mt_gemm_call add = *call;

    add.beta = 1.0f;
    return mt_gemm_pairs.run(dev, g, state, &add);
}

/* ---- the world --------------------------------------------------------------------------- */

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct mt_dev_info *list = NULL;
    int n = 0;

    /* The last of the list: a CPU where there is one. */
    *state = w;
    if (w == NULL || mt_ctx_new(hear, w, &w->ctx) < 0) {
        return -1;
    }
    w->ctx->env.value[MT_ENV_CACHE] = "off";
    w->ctx->env.value[MT_ENV_GEMM] = NULL;
    if (mt_dev_prepare(w->ctx) == 0 && mt_dev_list(w->ctx, &list, &n) == 0 && n > 0 &&
        mt_dev_open(w->ctx, &list[n - 1], 1, &w->dev) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
    }
    mt_free(w->ctx, list);
    return w->dev != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    mt_dev_close(w->dev);
    mt_ctx_free(w->ctx);
    free(w);
    return 0;
}

static const struct mt_gemm shape = {.m = 37, .n = 29, .k = 43, .alpha = 1.0f, .has_bias = 1,
                                     .act = MT_GEMM_RELU, .varies = 'm'};

static void finds_out(struct world *w, const char *name,
                      int (*run)(struct mt_dev *, const struct mt_gemm *, void *,
                                 const struct mt_gemm_call *),
                      const struct mt_gemm *g)
{
    struct mt_gemm_provider wrong = mt_gemm_plain;
    const struct mt_gemm_provider *const table[] = {&wrong, &mt_gemm_plain, NULL};
    struct mt_gemm_plan *plan;
    int before = w->warnings;

    if (g->in == MT_BF16) {
        wrong = mt_gemm_pairs;
        wrong.can = can_all;
        wrong.prepare = prepare_model;
    }
    wrong.name = name;
    wrong.version = version;
    wrong.run = run;
    assert_int_equal(mt_gemm_plan_among(w->dev, g, table, &plan), MOTLEY_OK);
    assert_string_equal(mt_gemm_plan_provider(plan), "plain");
    assert_int_equal(w->warnings, before + 1);
    assert_non_null(strstr(w->last, name));
    mt_gemm_plan_free(plan);

    assert_int_equal(mt_gemm_plan_among(w->dev, g, table, &plan), MOTLEY_OK);
    assert_string_equal(mt_gemm_plan_provider(plan), "plain");
    assert_int_equal(w->warnings, before + 1);   /* said once */
    mt_gemm_plan_free(plan);
    mt_gemm_memo_free(w->dev);   /* `wrong` goes out of scope, its verdict must too */
}

static void wrong_providers_are_dropped(void **state)
{
    struct world *w = *state;
    struct mt_gemm batched = {.m = 16, .n = 8, .k = 24, .batch = 3, .alpha = 0.5f, .ldc = 11};

    finds_out(w, "nonsense", run_nonsense, &shape);
    finds_out(w, "whole tiles", run_whole_tiles, &shape);
    finds_out(w, "beyond", run_beyond, &shape);
    finds_out(w, "reads C", run_reads_c, &shape);
    finds_out(w, "nonsense in a batch", run_nonsense, &batched);
    finds_out(w, "beyond in a batch", run_beyond, &batched);
}

/* The same of providers that take bf16: pairs without its instruction, and then something. */
static void wrong_providers_of_bf16_are_dropped(void **state)
{
    struct world *w = *state;
    struct mt_gemm narrow = shape, batched = {.m = 16, .n = 8, .k = 100, .batch = 3,
                                              .alpha = 1.0f, .in = MT_BF16};

    if (mt_dev_info(w->dev)->type != MT_DEV_CPU || mt_gemm_vector(w->dev) == 0) {
        printf("SKIP tiles: no provider with tiles on this device\n");
        skip();
    }
    narrow.in = narrow.out = MT_BF16;
    finds_out(w, "nonsense", run_nonsense_half, &narrow);
    finds_out(w, "loses a term", run_loses_half, &narrow);
    finds_out(w, "reads C", run_reads_half, &narrow);
    finds_out(w, "loses a term to f32", run_loses_half, &batched);
}

/* Runs of a provider that only counts: how often it was asked is how often it was checked. */
static int runs;

static int run_counted(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                       const struct mt_gemm_call *call)
{
    runs++;
    return mt_gemm_plain.run(dev, g, state, call);
}

/* A verdict is found again by another process (here: after the memory is forgotten), one of
 * another shape is not, and a file that is damaged is no verdict. */
static void verdicts_are_kept_on_disk(void **state)
{
    struct world *w = *state;
    struct mt_gemm_provider counted = mt_gemm_plain;
    const struct mt_gemm_provider *const table[] = {&counted, NULL};
    struct mt_gemm other = shape;
    struct mt_gemm_plan *plan;
    char folder[] = "/tmp/motley-gemm-XXXXXX", path[512], **names = NULL;
    int n = 0, first, kept = 0;

    assert_non_null(mkdtemp(folder));
    w->ctx->env.value[MT_ENV_CACHE] = folder;
    counted.run = run_counted;
    counted.version = version;
    other.n++;
    runs = 0;
    assert_int_equal(mt_gemm_plan_among(w->dev, &shape, table, &plan), MOTLEY_OK);
    mt_gemm_plan_free(plan);
    first = runs;
    assert_true(first > 0);
    mt_gemm_memo_free(w->dev);
    assert_int_equal(mt_gemm_plan_among(w->dev, &shape, table, &plan), MOTLEY_OK);
    mt_gemm_plan_free(plan);
    assert_int_equal(runs, first);
    assert_int_equal(mt_gemm_plan_among(w->dev, &other, table, &plan), MOTLEY_OK);
    mt_gemm_plan_free(plan);
    assert_true(runs > first);

    mt_gemm_memo_free(w->dev);
    assert_int_equal(mt_dir_list(w->ctx, folder, &names, &n), MOTLEY_OK);
    for (int i = 0; i < n; i++) {
        if (strncmp(names[i], "gemm-", 5) == 0) {
            kept++;
            snprintf(path, sizeof path, "%s/%s", folder, names[i]);
            assert_int_equal(mt_file_write(w->ctx, path, "good\n", 5), MOTLEY_OK);
        }
    }
    assert_int_equal(kept, 2);
    first = runs;
    assert_int_equal(mt_gemm_plan_among(w->dev, &shape, table, &plan), MOTLEY_OK);
    mt_gemm_plan_free(plan);
    assert_true(runs > first);
    mt_gemm_memo_free(w->dev);
    mt_dir_list_free(w->ctx, names, n);
    w->ctx->env.value[MT_ENV_CACHE] = "off";
    snprintf(path, sizeof path, "rm -rf %s", folder);
    assert_int_equal(system(path), 0);
}

static void a_pin_is_obeyed(void **state)
{
    struct world *w = *state;
    struct mt_gemm_plan *plan;

    w->ctx->env.value[MT_ENV_GEMM] = "plain";
    assert_int_equal(mt_gemm_plan_new(w->dev, &shape, &plan), MOTLEY_OK);
    assert_string_equal(mt_gemm_plan_provider(plan), "plain");
    mt_gemm_plan_free(plan);
    w->ctx->env.value[MT_ENV_GEMM] = "plane";
    assert_int_equal(mt_gemm_plan_new(w->dev, &shape, &plan), MOTLEY_ECONFIG);
    assert_non_null(strstr(mt_err_text(), "MOTLEY_GEMM=plane"));
    w->ctx->env.value[MT_ENV_GEMM] = NULL;
}

static void sizes_are_checked(void **state)
{
    struct world *w = *state;
    struct mt_gemm bad = shape;
    struct mt_tensor t = {.buf = NULL};
    struct mt_gemm_plan *plan;

    bad.n = 0;
    assert_int_equal(mt_gemm_plan_new(w->dev, &bad, &plan), MOTLEY_EARG);
    bad = shape;
    bad.lda = bad.k - 1;
    assert_int_equal(mt_gemm_plan_new(w->dev, &bad, &plan), MOTLEY_EARG);
    assert_int_equal(mt_gemm_plan_new(w->dev, &shape, &plan), MOTLEY_OK);
    assert_int_equal(mt_gemm_run(plan, shape.m + 1, &t, &t, 0.0f, &t, &t, &t), MOTLEY_EARG);
    assert_non_null(strstr(mt_err_text(), "planned for 0 to 37"));
    mt_gemm_plan_free(plan);
}

/* A run makes no buffer; no row is nothing to do; no term gives relu(beta C + bias). */
static void a_run_allocates_nothing(void **state)
{
    struct world *w = *state;
    struct mt_gemm g = {.m = 4, .n = 3, .k = 5, .alpha = 1.0f, .has_bias = 1,
                        .act = MT_GEMM_RELU, .varies = 'k'};
    float ones[20], c[12], bias[3] = {1.0f, -9.0f, 0.5f};
    struct mt_buf *buf[5] = {NULL};
    struct mt_tensor a, b, x, v, scratch;
    struct mt_gemm_plan *plan;
    uint64_t made;

    for (int i = 0; i < 20; i++) {
        ones[i] = 1.0f;
    }
    assert_int_equal(mt_gemm_plan_new(w->dev, &g, &plan), MOTLEY_OK);
    for (int i = 0; i < 5; i++) {
        uint64_t bytes = i < 4 ? sizeof ones : mt_gemm_plan_scratch(plan) + 4;

        assert_int_equal(mt_buf_new(w->dev, bytes, "test", &buf[i]), MOTLEY_OK);
        if (i < 3) {
            assert_int_equal(mt_buf_write(buf[i], 0, sizeof ones, ones), MOTLEY_OK);
        }
    }
    assert_int_equal(mt_buf_write(buf[3], 0, sizeof bias, bias), MOTLEY_OK);
    a = (struct mt_tensor){.buf = buf[0]};
    b = (struct mt_tensor){.buf = buf[1]};
    x = (struct mt_tensor){.buf = buf[2]};
    v = (struct mt_tensor){.buf = buf[3]};
    scratch = (struct mt_tensor){.buf = buf[4]};
    made = mt_dev_allocations(w->dev);
    assert_int_equal(mt_gemm_run(plan, 5, &a, &b, 1.0f, &x, &v, &scratch), MOTLEY_OK);
    assert_int_equal(mt_buf_read(buf[2], 0, sizeof c, c), MOTLEY_OK);
    assert_true(c[0] == 7.0f && c[1] == 0.0f && c[11] == 6.5f);
    assert_int_equal(mt_gemm_run(plan, 0, &a, &b, 1.0f, &x, &v, &scratch), MOTLEY_OK);
    assert_int_equal(mt_buf_read(buf[2], 0, sizeof c, c), MOTLEY_OK);
    assert_true(c[0] == 8.0f && c[1] == 0.0f && c[11] == 7.0f);
    assert_int_equal(mt_gemm_run(plan, 0, &a, &b, 0.0f, &x, &v, &scratch), MOTLEY_OK);
    assert_int_equal(mt_buf_read(buf[2], 0, sizeof c, c), MOTLEY_OK);
    assert_true(c[0] == 1.0f && c[1] == 0.0f && c[11] == 0.5f);
    assert_int_equal(mt_dev_allocations(w->dev), made);
    mt_gemm_plan_free(plan);
    for (int i = 0; i < 5; i++) {
        mt_buf_free(buf[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_providers_are_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_providers_of_bf16_are_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(verdicts_are_kept_on_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pin_is_obeyed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sizes_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_run_allocates_nothing, set_up, tear_down),
    };
    struct mt_dev_info *list = NULL;
    struct mt_ctx *ctx = NULL;
    int n = 0;

    if (mt_ctx_new(NULL, NULL, &ctx) == 0 && mt_dev_prepare(ctx) == 0) {
        (void)mt_dev_list(ctx, &list, &n);
    }
    mt_free(ctx, list);
    mt_ctx_free(ctx);
    if (n == 0) {
        fprintf(stderr, "no OpenCL device\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
