/* devkit.h -- what unit tests on one device share: a context and the first device, opened before
 * the tests and closed behind them, when no block of host memory may be left.
 *
 *     int code = devkit_open();
 *
 *     return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL)); */
#ifndef MT_TESTS_DEVKIT_H
#define MT_TESTS_DEVKIT_H

#include "base/ctx.h"
#include "device/dev.h"

#include <stdint.h>
#include <stdio.h>

static struct mt_ctx *ctx;
static struct mt_dev *dev;

/* 0, or the exit code of the test. */
static inline int devkit_open(void)
{
    struct mt_dev_info *list = NULL;
    int n = 0, st;

    if (mt_ctx_new(NULL, NULL, &ctx) < 0 || mt_dev_prepare(ctx) < 0 ||
        mt_dev_list(ctx, &list, &n) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 99;
    }
    if (n == 0) {
        printf("SKIP opencl: no device\n");
        return 77;
    }
    st = mt_dev_open(ctx, &list[0], 1, &dev);
    mt_free(ctx, list);
    if (st < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 99;
    }
    return 0;
}

/* failed: what the tests gave. The exit code of the test. */
static inline int devkit_close(int failed)
{
    int64_t live;

    mt_dev_close(dev);
    live = ctx->mem.live;
    mt_ctx_free(ctx);
    if (live != 0) {
        printf("%lld blocks of host memory were not released\n", (long long)live);
    }
    return failed != 0 || live != 0;
}

#endif
