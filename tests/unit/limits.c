/* limits.c -- proves on every device that OpenCL offers here: measured limits are positive and
 * finite, what is kept reads back as the same figures, a damaged file or one of another device is
 * no file, and the bound of a work is the larger of its two. Speeds are not judged. Skipped
 * without a device. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/file.h"
#include "base/json.h"
#include "device/dev.h"
#include "device/limits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct mt_ctx *ctx;

static void ok(int st)
{
    if (st < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static void same(const struct mt_limits *a, const struct mt_limits *b)
{
    for (int i = 0; i < MT_LIMITS; i++) {
        assert_true(a->value[i] == b->value[i]);
    }
    assert_string_equal(a->fma_by, b->fma_by);
    assert_true(a->array_bytes == b->array_bytes && a->transfer_bytes == b->transfer_bytes);
    assert_true(a->mapped == b->mapped && a->seconds == b->seconds);
}

/* The text is JSON with every figure under its key. */
static void check_json(struct mt_dev *dev, const struct mt_limits *l)
{
    struct mt_tree *t = NULL;
    char *text = NULL;
    double v;

    ok(mt_limits_json(dev, l, &text));
    ok(mt_json_parse(ctx, text, strlen(text), "limits", &t));
    for (int i = 0; i < MT_LIMITS; i++) {
        ok(mt_tree_num(t, mt_limit_key((enum mt_limit)i), &v));
        assert_true(v == l->value[i]);
    }
    mt_tree_free(ctx, t);
    mt_free(ctx, text);
}

/* What stands in the file instead of `word`; then nothing is found. */
static void spoil(struct mt_dev *dev, const char *path, const char *text, const char *word,
                  const char *instead)
{
    const char *at = strstr(text, word);
    char *bad = NULL;
    struct mt_limits l;
    int found = 1;

    assert_non_null(at);
    ok(mt_mem_printf(ctx, &bad, "%.*s%s%s", (int)(at - text), text, instead, at + strlen(word)));
    ok(mt_file_write(ctx, path, bad, strlen(bad)));
    ok(mt_limits_load(dev, &l, &found));
    assert_int_equal(found, 0);
    mt_free(ctx, bad);
}

static void check_device(struct mt_dev *dev)
{
    struct mt_limits l, again;
    char *path = NULL, *text = NULL;
    size_t bytes;
    int found = 1;

    ok(mt_limits_load(dev, &again, &found));
    assert_int_equal(found, 0);
    ok(mt_limits_measure(dev, 0.2, &l));
    for (int i = 0; i < MT_LIMITS; i++) {
        if (!(l.value[i] > 0.0 && isfinite(l.value[i]))) {
            fail_msg("%s: %g", mt_limit_text((enum mt_limit)i), l.value[i]);
        }
    }
    assert_true(l.seconds > 0.0 && l.array_bytes > 0.0 && l.transfer_bytes > 0.0);
    assert_true(mt_limits_bound(&l, l.value[MT_LIMIT_FMA], 0.0) == 1.0);
    assert_true(mt_limits_bound(&l, 0.0, l.value[MT_LIMIT_READ]) <= 1.0);
    check_json(dev, &l);

    ok(mt_limits_save(dev, &l, &path));
    assert_non_null(path);
    ok(mt_limits_load(dev, &again, &found));
    assert_int_equal(found, 1);
    same(&l, &again);
    ok(mt_limits_get(dev, &again));   /* takes what is kept: measuring gives other figures */
    same(&l, &again);

    ok(mt_file_read(ctx, path, &text, &bytes));
    spoil(dev, path, text, "motley-limits-1", "motley-limits-0");
    spoil(dev, path, text, "\"key\": \"", "\"key\": \"0");
    spoil(dev, path, text, "\"memory_read\": ", "\"memory_read\": -");
    spoil(dev, path, text, "\"launch\": ", "\"lunch\": ");
    spoil(dev, path, text, "{", "");
    mt_free(ctx, text);
    mt_free(ctx, path);
}

static void every_device(void **state)
{
    struct mt_dev_info *list = NULL;
    int n = 0;

    (void)state;
    ok(mt_dev_list(ctx, &list, &n));
    for (int i = 0; i < n; i++) {
        struct mt_dev *dev = NULL;

        if (list[i].type == MT_DEV_OTHER) {
            continue;
        }
        ok(mt_dev_open(ctx, &list[i], 1, &dev));
        check_device(dev);
        mt_dev_close(dev);
    }
    mt_free(ctx, list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_device)};
    const char *tmp = getenv("TMPDIR");
    struct mt_dev_info *list = NULL;
    char folder[3072];
    int n = 0, code;

    snprintf(folder, sizeof folder, "%s/limits-%ld", tmp != NULL ? tmp : "/tmp", (long)getpid());
    if (setenv("MOTLEY_CACHE", folder, 1) != 0 || unsetenv("MOTLEY_CL_FLAGS") != 0 ||
        unsetenv("MOTLEY_CL_DIR") != 0 || mt_ctx_new(NULL, NULL, &ctx) < 0 ||
        mt_dev_prepare(ctx) < 0) {
        return 99;
    }
    if (mt_dev_list(ctx, &list, &n) < 0 || n == 0) {
        printf("SKIP opencl: no device\n");
        mt_ctx_free(ctx);
        return 77;
    }
    mt_free(ctx, list);
    code = cmocka_run_group_tests(tests, NULL, NULL);
    mt_ctx_free(ctx);
    return code != 0;
}
