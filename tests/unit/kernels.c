/* kernels.c -- proves that every kernel file builds alone with its defaults, on the first device of
 * each platform, and with small and large groups on the first device of all. The optional paths of
 * an operation are built by its suite. Skipped without a device. Time: 300 */
#include "base/ctx.h"
#include "device/dev.h"
#include "device/launch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct mt_ctx *ctx;
static struct mt_dev_info *list;
static int count;

static void build_all(const struct mt_dev_info *info, const char *defines)
{
    struct mt_dev *dev = NULL;

    if (mt_dev_open(ctx, info, 1, &dev) < 0) {
        fail_msg("%s", mt_err_text());
    }
    assert_non_null(mt_kernel_file(0));
    for (int i = 0; mt_kernel_file(i) != NULL; i++) {
        if (mt_kernel_build(dev, mt_kernel_file(i), defines) < 0) {
            fail_msg("%s", mt_err_text());
        }
    }
    mt_dev_close(dev);
}

static void with_defaults(void **state)
{
    (void)state;
    for (int i = 0; i < count; i++) {
        if (list[i].device == 0) {
            build_all(&list[i], NULL);
        }
    }
}

static void with_small_groups(void **state)
{
    (void)state;
    build_all(&list[0], "-DWG=16");
}

static void with_large_groups(void **state)
{
    (void)state;
    build_all(&list[0], "-DWG=256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_defaults),
        cmocka_unit_test(with_small_groups),
        cmocka_unit_test(with_large_groups),
    };
    int failed;

    if (mt_ctx_new(NULL, NULL, &ctx) < 0) {
        return 99;
    }
    if (mt_dev_prepare(ctx) < 0 || mt_dev_list(ctx, &list, &count) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 1;
    }
    if (count == 0) {
        printf("SKIP opencl: no device\n");
        return 77;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    mt_free(ctx, list);
    mt_ctx_free(ctx);
    return failed;
}
