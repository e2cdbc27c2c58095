/* gemm_tune.c -- a choice that was measured is taken, for its class of sizes and no other; a pin
 * wins over it; it survives in its file, and nothing but saving changes that; one that cannot be
 * built is passed over; a file with one byte changed, cut short or of another device is ignored
 * with one warning. */
#define _POSIX_C_SOURCE 200809L   /* mkdtemp */
#include "base/ctx.h"
#include "base/file.h"
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
    char last[1024], folder[64];
};

static const struct mt_gemm shape = {.m = 37, .n = 29, .k = 43, .alpha = 1.0f};

static void hear(void *arg, int level, const char *category, const char *text)
{
    struct world *w = arg;

    (void)category;
    if (level == MT_LOG_WARN) {
        w->warnings++;
        snprintf(w->last, sizeof w->last, "%s", text);
    }
}

static int set_up(void **state)
{
    static struct world w;
    struct mt_dev_info *list = NULL;
    int n = 0;

    memset(&w, 0, sizeof w);
    *state = &w;
    snprintf(w.folder, sizeof w.folder, "/tmp/motley-tune-XXXXXX");
    if (mkdtemp(w.folder) == NULL || mt_ctx_new(hear, &w, &w.ctx) < 0) {
        return -1;
    }
    w.ctx->env.value[MT_ENV_CACHE] = w.folder;
    w.ctx->env.value[MT_ENV_GEMM] = NULL;
    if (mt_dev_prepare(w.ctx) == 0 && mt_dev_list(w.ctx, &list, &n) == 0 && n > 0) {
        (void)mt_dev_open(w.ctx, &list[n - 1], 1, &w.dev);
    }
    mt_free(w.ctx, list);
    return w.dev != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    char command[128];

    mt_dev_close(w->dev);
    mt_ctx_free(w->ctx);
    snprintf(command, sizeof command, "rm -rf %s", w->folder);
    return system(command);
}

static void takes(struct world *w, const struct mt_gemm *g, const char *provider)
{
    struct mt_gemm_plan *plan = NULL;

    assert_int_equal(mt_gemm_plan_new(w->dev, g, &plan), MOTLEY_OK);
    assert_string_equal(mt_gemm_plan_provider(plan), provider);
    mt_gemm_plan_free(plan);
}

/* What is taken where nothing was measured. */
static void untuned(struct world *w, const struct mt_gemm *g, char *name, size_t room)
{
    struct mt_gemm_plan *plan = NULL;

    assert_int_equal(mt_gemm_plan_new(w->dev, g, &plan), MOTLEY_OK);
    snprintf(name, room, "%s", mt_gemm_plan_provider(plan));
    mt_gemm_plan_free(plan);
}

static void a_choice_is_taken_and_kept(void **state)
{
    struct world *w = *state;
    struct mt_gemm near = shape, far = shape, turned = shape, narrow = shape;
    struct mt_gemm_choice plain = {.provider = "plain", .seconds = 0.5};
    char path[512], first[16], last[16], half[16];

    narrow.in = narrow.out = MT_BF16;
    near.m = 36;
    far.m = 74;
    turned.trans_b = 1;
    untuned(w, &far, first, sizeof first);
    untuned(w, &turned, last, sizeof last);
    untuned(w, &narrow, half, sizeof half);
    assert_int_equal(mt_gemm_tune_set(w->dev, &shape, &plain), MOTLEY_OK);
    takes(w, &shape, "plain");
    takes(w, &near, "plain");
    takes(w, &far, first);
    takes(w, &turned, last);
    takes(w, &narrow, half);

    mt_gemm_tuning_free(w->dev);   /* as another process: it was not saved */
    takes(w, &far, first);
    assert_int_equal(mt_gemm_tune_set(w->dev, &shape, &plain), MOTLEY_OK);
    assert_int_equal(mt_gemm_tune_save(w->dev, path, sizeof path), MOTLEY_OK);
    assert_true(mt_file_exists(path));
    mt_gemm_tuning_free(w->dev);
    takes(w, &near, "plain");
    if (strcmp(first, "plain") != 0) {
        w->ctx->env.value[MT_ENV_GEMM] = first;
        takes(w, &near, first);
        w->ctx->env.value[MT_ENV_GEMM] = NULL;
    }
    assert_int_equal(mt_gemm_tune_hide(w->dev, 0), MOTLEY_OK);
    takes(w, &far, first);
    assert_int_equal(w->warnings, 0);
}

static void what_cannot_be_built_is_passed_over(void **state)
{
    struct world *w = *state;
    struct mt_gemm_choice odd = {.provider = "plain", .form = "kc=7", .seconds = 1};
    struct mt_gemm_choice gone = {.provider = "gone", .seconds = 1};
    char first[16];

    untuned(w, &shape, first, sizeof first);
    assert_int_equal(mt_gemm_tune_set(w->dev, &shape, &odd), MOTLEY_OK);
    takes(w, &shape, first);
    assert_int_equal(mt_gemm_tune_set(w->dev, &shape, &gone), MOTLEY_OK);
    takes(w, &shape, first);
}

/* Writes `bytes` of text instead of the file, and plans. */
static void is_ignored(struct world *w, const char *path, const char *text, size_t bytes,
                       const char *first)
{
    int before = w->warnings;

    assert_int_equal(mt_file_write(w->ctx, path, text, bytes), MOTLEY_OK);
    mt_gemm_tuning_free(w->dev);
    takes(w, &shape, first);
    takes(w, &shape, first);
    assert_int_equal(w->warnings, before + 1);
    assert_non_null(strstr(w->last, path));
    assert_non_null(strstr(w->last, "motley tune"));
}

static void a_damaged_file_is_ignored(void **state)
{
    struct world *w = *state;
    struct mt_gemm_choice plain = {.provider = "plain", .seconds = 0.5};
    char path[512], first[16], *text = NULL, *at;
    size_t bytes;

    untuned(w, &shape, first, sizeof first);
    assert_int_equal(mt_gemm_tune_set(w->dev, &shape, &plain), MOTLEY_OK);
    assert_int_equal(mt_gemm_tune_save(w->dev, path, sizeof path), MOTLEY_OK);
    assert_int_equal(mt_file_read(w->ctx, path, &text, &bytes), MOTLEY_OK);

    at = strstr(text, "plain");
    at[0] = 'q';
    is_ignored(w, path, text, bytes, first);
    at[0] = 'p';
    is_ignored(w, path, text, bytes / 2, first);
    is_ignored(w, path, "", 0, first);
    text[0] = 'M';
    is_ignored(w, path, text, bytes, first);
    text[0] = 'm';
    assert_int_equal(mt_file_write(w->ctx, path, text, bytes), MOTLEY_OK);
    mt_gemm_tuning_free(w->dev);
    takes(w, &shape, "plain");
    mt_free(w->ctx, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_choice_is_taken_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_built_is_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_ignored, set_up, tear_down),
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
