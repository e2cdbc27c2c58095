/* dev.c -- proves on every device that OpenCL offers here: buffers hold what is written, limits
 * are refused with their numbers, windows show and write back exactly their range in the order of
 * the queue (by mapping and by pinned memory), marks are reached in that order, kernels get the
 * arguments they were given, wrong launches are refused by name, guards notice a write outside.
 * Skipped without a device. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/file.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/launch.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char kernels[] =
    "kernel void add(global float *y, ulong y_off, global const float *x, ulong x_off, uint n,\n"
    "                float a)\n"
    "{ uint i = get_global_id(0); if (i < n) y[y_off + i] = x[x_off + i] + a; }\n"
    "kernel void kinds(global uint *y, ulong y_off, global const float *none, ulong none_off,\n"
    "                  uint u, int i, float f, ulong l, local uint *tmp)\n"
    "{ uint t = get_local_id(0); tmp[t] = t * u; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "  if (t == 0) { uint s = 0; for (uint k = 0; k < get_local_size(0); k++) s += tmp[k];\n"
    "    y[y_off] = s; y[y_off + 1] = as_uint(i); y[y_off + 2] = as_uint(f);\n"
    "    y[y_off + 3] = (uint)(l >> 32); y[y_off + 4] = (uint)l; y[y_off + 5] = none == 0; } }\n"
    "kernel void grid(global uint *y, ulong y_off, uint w)\n"
    "{ uint gx = get_global_id(0), gy = get_global_id(1);\n"
    "  y[y_off + gy * w + gx] = (uint)get_group_id(0) * 1000 + (uint)get_group_id(1); }\n"
    "kernel void slow(global float *y, ulong y_off, uint n)\n"
    "{ float v = y[y_off]; for (uint i = 0; i < n; i++) v = v * 0.5f + 1.0f; y[y_off] = v; }\n"
    "kernel void put(global uint *y, ulong y_off, uint at) { y[y_off + at] = 1; }\n";

static char folder[4096];
static struct mt_ctx *ctx;
static char last_warning[2048];

static void keep(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    (void)category;
    if (level == MT_LOG_WARN) {
        snprintf(last_warning, sizeof last_warning, "%s", text);
    }
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void ok(int st)
{
    if (st < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

/* The call failed with this code and a message that holds these words. */
static void refused(int st, int code, const char *const *words)
{
    assert_int_equal(st, code);
    for (; *words != NULL; words++) {
        if (strstr(mt_err_text(), *words) == NULL) {
            fail_msg("'%s' is missing in: %s", *words, mt_err_text());
        }
    }
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Runs a test on every device; on those that share memory also by the pinned way. */
static void on_all(void (*test)(struct mt_dev *dev))
{
    struct mt_dev_info *list = NULL;
    int n = 0;

    ok(mt_dev_list(ctx, &list, &n));
    for (int i = 0; i < n; i++) {
        for (int pinned = 0; pinned <= list[i].unified; pinned++) {
            struct mt_dev_info info = list[i];
            struct mt_dev *dev = NULL;

            info.unified = info.unified && !pinned;
            ok(mt_dev_open(ctx, &info, 1, &dev));
            test(dev);
            mt_dev_close(dev);
        }
    }
    mt_free(ctx, list);
    assert_int_equal(ctx->mem.live, 0);
}

static void list_is_ordered(void **state)
{
    struct mt_dev_info *list = NULL, *again = NULL;
    int n, m;

    (void)state;
    ok(mt_dev_list(ctx, &list, &n));
    ok(mt_dev_list(ctx, &again, &m));
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++) {
        assert_memory_equal(&list[i], &again[i], sizeof list[i]);
        assert_true(list[i].name[0] != '\0' && list[i].units > 0 && list[i].max_group >= 64);
        assert_true(list[i].max_alloc_bytes > 0 && list[i].memory_bytes > 0);
        if (i > 0) {
            assert_true(list[i - 1].type <= list[i].type);
        }
    }
    mt_free(ctx, list);
    mt_free(ctx, again);
}

static void buffers(struct mt_dev *dev)
{
    struct mt_buf *a = NULL, *b = NULL, *empty = NULL;
    uint32_t x[300], y[300];

    for (unsigned i = 0; i < 300; i++) {
        x[i] = i * 2654435761u;
    }
    ok(mt_buf_new(dev, sizeof x, "a", &a));
    ok(mt_buf_new(dev, sizeof x, "b", &b));
    ok(mt_buf_new(dev, 0, "empty", &empty));
    assert_int_equal(mt_dev_allocations(dev), 3);
    assert_int_equal(mt_dev_allocated_bytes(dev), 2 * sizeof x);
    assert_int_equal(mt_buf_bytes(empty), 0);
    ok(mt_buf_write(a, 0, sizeof x, x));
    ok(mt_buf_fill(b, 0, sizeof x, 0xabcdef01u));
    ok(mt_buf_copy(b, 40, a, 400, 200));
    ok(mt_buf_fill(b, 1196, 4, 7));
    ok(mt_buf_read(b, 0, sizeof y, y));
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(y[i], i >= 10 && i < 60 ? x[i + 90] : i == 299 ? 7 : 0xabcdef01u);
    }
    ok(mt_buf_read(a, 1199, 1, y));
    ok(mt_buf_read(a, sizeof x, 0, y));
    refused(mt_buf_read(a, 1200, 1, y), MOTLEY_EARG, WORDS("1200", "\"a\""));
    refused(mt_buf_write(a, UINT64_MAX, 2, x), MOTLEY_EARG, WORDS("\"a\""));
    refused(mt_buf_fill(a, 2, 4, 0), MOTLEY_EARG, WORDS("multiples of 4"));
    mt_buf_free(empty);
    mt_buf_free(b);
    mt_buf_free(a);
    mt_buf_free(NULL);
    assert_int_equal(mt_dev_allocated_bytes(dev), 0);
}

static void limits(struct mt_dev *dev)
{
    const struct mt_dev_info *info = mt_dev_info(dev);
    struct mt_buf *b = NULL;
    char most[32], asked[32];

    snprintf(most, sizeof most, "%" PRIu64, info->max_alloc_bytes);
    snprintf(asked, sizeof asked, "%" PRIu64, info->max_alloc_bytes + 4);
    refused(mt_buf_new(dev, info->max_alloc_bytes + 4, "arena 0", &b), MOTLEY_EDEV,
            WORDS("arena 0", most, asked, info->name, "smaller batch"));
    assert_null(b);
    assert_int_equal(mt_dev_allocations(dev), 0);
}

static void windows(struct mt_dev *dev)
{
    struct mt_window *w = NULL, *w2 = NULL;
    struct mt_buf *a = NULL;
    uint32_t y[256], *p;
    int ready = 0;

    ok(mt_buf_new(dev, 1024, "a", &a));
    ok(mt_window_new(dev, 512, "w", &w));
    ok(mt_window_new(dev, 512, "w2", &w2));
    for (unsigned round = 0; round < 20; round++) {
        ok(mt_buf_fill(a, 0, 1024, round));
        ok(mt_window_open(w, a, 128, 256, MT_WINDOW_READ | MT_WINDOW_WRITE));
        ok(mt_window_open(w2, a, 640, 64, MT_WINDOW_WRITE));
        ok(mt_buf_fill(a, 0, 128, round + 100));   /* later work, outside of both */
        for (ready = 0; !ready;) {
            ok(mt_window_ready(w, &ready));
        }
        p = mt_window_host(w);
        for (unsigned i = 0; i < 64; i++) {
            assert_int_equal(p[i], round);
            p[i] = 1000 + i;
        }
        ok(mt_window_wait(w2));
        p = mt_window_host(w2);
        for (unsigned i = 0; i < 16; i++) {
            p[i] = 5000 + round + i;
        }
        ok(mt_window_close(w2));
        ok(mt_window_close(w));
        ok(mt_buf_read(a, 0, 1024, y));
        for (unsigned i = 0; i < 256; i++) {
            assert_int_equal(y[i], i < 32                ? round + 100
                                   : i < 96              ? 1000 + i - 32
                                   : i >= 160 && i < 176 ? 5000 + round + i - 160
                                                         : round);
        }
    }
    ok(mt_window_open(w, a, 0, 0, MT_WINDOW_READ));
    ok(mt_window_wait(w));
    ok(mt_window_close(w));
    refused(mt_window_open(w, a, 1000, 100, MT_WINDOW_READ), MOTLEY_EARG, WORDS("w", "1024"));
    ok(mt_window_open(w, a, 0, 64, MT_WINDOW_READ));
    mt_window_free(w);   /* while open */
    mt_window_free(w2);
    mt_window_free(NULL);
    mt_buf_free(a);
}

/* The window shows the range behind a slow kernel that was enqueued before, and a kernel behind
 * close sees what the host wrote. */
static void window_order(struct mt_dev *dev)
{
    struct mt_kernel *slow = NULL, *add = NULL;
    struct mt_window *w = NULL;
    struct mt_buf *a = NULL;
    float y[64];

    ok(mt_kernel_get(dev, "try", "slow", NULL, &slow));
    ok(mt_kernel_get(dev, "try", "add", NULL, &add));
    ok(mt_buf_new(dev, 256, "a", &a));
    ok(mt_window_new(dev, 256, "w", &w));
    for (int round = 0; round < 5; round++) {
        ok(mt_buf_fill(a, 0, 256, 0));
        ok(mt_launch(dev, slow, mt_items(1, 1), MT_ARGS(mt_b(a, 0), mt_u32(20000))));
        ok(mt_window_open(w, a, 0, 256, MT_WINDOW_READ | MT_WINDOW_WRITE));
        ok(mt_window_wait(w));
        assert_true(((float *)mt_window_host(w))[0] == 2.0f);
        for (int i = 0; i < 64; i++) {
            ((float *)mt_window_host(w))[i] = (float)i;
        }
        ok(mt_window_close(w));
        ok(mt_launch(dev, add, mt_items(64, 64),
                     MT_ARGS(mt_b(a, 0), mt_b(a, 0), mt_u32(64), mt_f32(0.5f))));
        ok(mt_buf_read(a, 0, 256, y));
        for (int i = 0; i < 64; i++) {
            assert_true(y[i] == (float)i + 0.5f);
        }
    }
    mt_window_free(w);
    mt_buf_free(a);
}

/* A mark is not reached before what was enqueued in front of it, and wakes whoever dozes. A dozing
 * host that is not woken would take as long as all dozes together. */
static void marks(struct mt_dev *dev)
{
    struct mt_kernel *slow = NULL;
    struct mt_buf *a = NULL;
    int done = 0, open = 0, turns = 0;
    double from;
    float y = 0;

    ok(mt_dev_marked(dev, &done));
    assert_int_equal(done, 1);   /* nothing was marked */
    ok(mt_kernel_get(dev, "try", "slow", NULL, &slow));
    ok(mt_buf_new(dev, 256, "a", &a));
    for (int round = 0; round < 3; round++) {
        ok(mt_buf_fill(a, 0, 256, 0));
        ok(mt_launch(dev, slow, mt_items(1, 1), MT_ARGS(mt_b(a, 0), mt_u32(20000000))));
        ok(mt_dev_mark(dev));
        ok(mt_dev_flush(dev));
        ok(mt_dev_marked(dev, &done));
        open += !done;
        from = seconds();
        for (turns = 0; !done; turns++) {
            mt_dev_doze(dev, 5.0);
            ok(mt_dev_marked(dev, &done));
        }
        assert_true(turns <= 2 && seconds() - from < 5.0);
        ok(mt_buf_read(a, 0, 4, &y));
        assert_true(y == 2.0f);
    }
    assert_true(open > 0);       /* else it says "done" at once */
    ok(mt_dev_mark(dev));        /* left behind when the device is closed */
    mt_buf_free(a);
}

static void launches(struct mt_dev *dev)
{
    struct mt_kernel *add = NULL, *again = NULL, *kinds = NULL, *grid = NULL;
    struct mt_arg room = {.kind = MT_ARG_LOCAL, .v = {.local_bytes = 32}};
    struct mt_buf *a = NULL;
    float x[100], y[100], f = -1.25f;
    uint32_t u[32], bits;

    ok(mt_kernel_get(dev, "try", "add", NULL, &add));
    ok(mt_kernel_get(dev, "try", "add", NULL, &again));
    assert_ptr_equal(add, again);
    ok(mt_kernel_get(dev, "try", "kinds", NULL, &kinds));
    ok(mt_kernel_get(dev, "try", "grid", NULL, &grid));
    ok(mt_buf_new(dev, 1024, "a", &a));
    for (int i = 0; i < 100; i++) {
        x[i] = (float)i;
    }
    ok(mt_buf_write(a, 0, 400, x));
    ok(mt_launch(dev, add, mt_items(90, 64),
                 MT_ARGS(mt_b(a, 128), mt_b(a, 10), mt_u32(90), mt_f32(0.25f))));
    ok(mt_launch(dev, add, mt_items(0, 64),
                 MT_ARGS(mt_b(a, 128), mt_b(a, 10), mt_u32(0), mt_f32(0.25f))));
    assert_int_equal(mt_dev_launches(dev), 1);   /* an empty grid is no launch */
    ok(mt_buf_read(a, 512, 360, y));
    for (int i = 0; i < 90; i++) {
        assert_true(y[i] == (float)(i + 10) + 0.25f);
    }
    memcpy(&bits, &f, 4);
    ok(mt_launch(dev, kinds, mt_groups(1, 8),
                 MT_ARGS(mt_b(a, 3), mt_b(NULL, 9), mt_u32(3), mt_i32(-7), mt_f32(f),
                         mt_u64(0x123456789abcdef0u), room)));
    ok(mt_buf_read(a, 12, 24, u));
    assert_int_equal(u[0], 3 * 28);
    assert_int_equal(u[1], (uint32_t)-7);
    assert_int_equal(u[2], bits);
    assert_int_equal(u[3], 0x12345678u);
    assert_int_equal(u[4], 0x9abcdef0u);
    assert_int_equal(u[5], 1);
    ok(mt_launch(dev, grid, mt_groups2(2, 4, 4, 1), MT_ARGS(mt_b(a, 0), mt_u32(8))));
    ok(mt_buf_read(a, 0, 128, u));
    for (unsigned i = 0; i < 32; i++) {
        assert_int_equal(u[i], i % 8 / 4 * 1000 + i / 8);
    }
    mt_buf_free(a);
}

static void wrong_launches(struct mt_dev *dev)
{
    struct mt_kernel *add = NULL, *none = NULL;
    struct mt_buf *a = NULL;
    struct mt_ndrange odd = {.dims = 1, .global = {100}, .local = {64}};

    ok(mt_kernel_get(dev, "try", "add", NULL, &add));
    ok(mt_buf_new(dev, 1024, "a", &a));
    refused(mt_launch(dev, add, mt_items(1, 64), MT_ARGS(mt_b(a, 0), mt_u32(1))), MOTLEY_EBUG,
            WORDS("kernel add of cl/try.cl", "3 arguments", "has 6"));
    refused(mt_launch(dev, add, mt_items(1, (size_t)1 << 20),
                      MT_ARGS(mt_b(a, 0), mt_b(a, 0), mt_u32(1), mt_f32(0))),
            MOTLEY_EDEV, WORDS("kernel add", "1048576"));
    refused(mt_launch(dev, add, odd, MT_ARGS(mt_b(a, 0), mt_b(a, 0), mt_u32(1), mt_f32(0))),
            MOTLEY_EARG, WORDS("kernel add", "100", "64"));
    refused(mt_launch(dev, add, mt_items(1, 64),
                      MT_ARGS(mt_b(a, 257), mt_b(a, 0), mt_u32(1), mt_f32(0))),
            MOTLEY_EARG, WORDS("kernel add", "257", "\"a\""));
    refused(mt_kernel_get(dev, "try", "absent", NULL, &none), MOTLEY_EDEV,
            WORDS("kernel absent of cl/try.cl", mt_dev_info(dev)->name));
    refused(mt_kernel_get(dev, "absent", "x", NULL, &none), MOTLEY_EFILE, WORDS("absent.cl"));
    assert_null(none);
    assert_int_equal(mt_dev_launches(dev), 0);
    mt_buf_free(a);
}

static void guards(struct mt_dev *dev)
{
    struct mt_kernel *put = NULL;
    struct mt_buf *a = NULL, *b = NULL;
    float x[10];

    ok(mt_kernel_get(dev, "try", "put", NULL, &put));
    ok(mt_buf_new(dev, 40, "victim", &a));
    ok(mt_buf_new(dev, 40, "other", &b));
    ok(mt_buf_read(a, 0, 40, x));
    for (int i = 0; i < 10; i++) {
        assert_true(x[i] != x[i]);   /* NaN until written */
    }
    ok(mt_launch(dev, put, mt_items(1, 1), MT_ARGS(mt_b(a, 0), mt_u32(9))));
    ok(mt_buf_check(a));
    ok(mt_dev_finish(dev));
    ok(mt_launch(dev, put, mt_items(1, 1), MT_ARGS(mt_b(a, 0), mt_u32(10))));
    refused(mt_buf_check(a), MOTLEY_EBUG, WORDS("victim", "behind its end", "byte 40 "));
    refused(mt_dev_finish(dev), MOTLEY_EBUG, WORDS("victim"));
    ok(mt_buf_check(b));
    last_warning[0] = '\0';
    mt_buf_free(b);
    assert_string_equal(last_warning, "");
    mt_buf_free(a);
    assert_non_null(strstr(last_warning, "victim"));
}

#define ON_ALL(test)                                                                          \
    static void test##_on_all(void **state)                                                   \
    {                                                                                         \
        (void)state;                                                                          \
        on_all(test);                                                                         \
    }
ON_ALL(buffers)
ON_ALL(limits)
ON_ALL(windows)
ON_ALL(window_order)
ON_ALL(marks)
ON_ALL(launches)
ON_ALL(wrong_launches)

/* Everything again between guards. */
static void guarded(void **state)
{
    (void)state;
    ctx->env.value[MT_ENV_DEBUG] = "nan,guard";
    on_all(guards);
    on_all(buffers);
    on_all(windows);
    on_all(window_order);
    on_all(launches);
    ctx->env.value[MT_ENV_DEBUG] = NULL;
}

/* Host memory ends at request 1, 2, 3, ...: an error or success each time, and nothing is lost. */
static void host_memory_ends(void **state)
{
    struct mt_dev_info *list = NULL;
    int n, st = -1;

    (void)state;
    ok(mt_dev_list(ctx, &list, &n));
    for (int k = 1; st < 0; k++) {
        struct mt_dev_info *again = NULL;
        struct mt_dev *dev = NULL;
        struct mt_kernel *add = NULL;
        struct mt_buf *a = NULL;
        struct mt_window *w = NULL;

        assert_in_range(k, 1, 500);
        ctx->mem.fail_at = ctx->mem.requests + k;
        st = mt_dev_list(ctx, &again, &n);
        st = st < 0 ? st : mt_dev_open(ctx, &list[0], 1, &dev);
        st = st < 0 ? st : mt_kernel_get(dev, "try", "add", NULL, &add);
        st = st < 0 ? st : mt_buf_new(dev, 64, "a", &a);
        st = st < 0 ? st : mt_window_new(dev, 64, "w", &w);
        ctx->mem.fail_at = 0;
        assert_true(st == MOTLEY_OK || st == MOTLEY_EMEM);
        mt_window_free(w);
        mt_buf_free(a);
        mt_dev_close(dev);
        mt_free(ctx, again);
        assert_int_equal(ctx->mem.live, 1);
    }
    mt_free(ctx, list);
}

static void part_of_a_device_works(void **state)
{
    struct mt_dev_info *list = NULL;
    int n;

    (void)state;
    ok(mt_dev_list(ctx, &list, &n));
    for (int i = 0; i < n; i++) {
        struct mt_dev *dev = NULL;

        ok(mt_dev_open(ctx, &list[i], 2, &dev));
        assert_true(mt_dev_info(dev)->units > 0 && mt_dev_info(dev)->units <= list[i].units);
        assert_int_equal(mt_dev_info(dev)->all_units, list[i].all_units);
        launches(dev);
        mt_dev_close(dev);
    }
    mt_free(ctx, list);
}

static void missing_is_explained(void **state)
{
    struct mt_dev_info info = {.platform = 99, .device = 0, .name = "ghost"};
    struct mt_dev *dev = NULL;
    char text[4096], empty[4200];

    (void)state;
    snprintf(empty, sizeof empty, "%s/empty", folder);
    ok(mt_dir_make(ctx, empty));
    refused(mt_dev_open(ctx, &info, 1, &dev), MOTLEY_EDEV, WORDS("platform 99"));
    setenv("OCL_ICD_VENDORS", empty, 1);
    mt_dev_explain_none(ctx, text, sizeof text);
    unsetenv("OCL_ICD_VENDORS");
    assert_non_null(strstr(text, empty));
    assert_non_null(strstr(text, "no OpenCL implementation is installed"));
    assert_non_null(strstr(text, "pocl-opencl-icd"));
    mt_dev_explain_none(ctx, text, 20);
    assert_int_equal(strlen(text), 19);
}

static int put_file(const char *name, const char *text)
{
    char path[4200];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return mt_file_write(ctx, path, text, strlen(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_is_ordered),
        cmocka_unit_test(buffers_on_all),
        cmocka_unit_test(limits_on_all),
        cmocka_unit_test(windows_on_all),
        cmocka_unit_test(window_order_on_all),
        cmocka_unit_test(marks_on_all),
        cmocka_unit_test(launches_on_all),
        cmocka_unit_test(wrong_launches_on_all),
        cmocka_unit_test(guarded),
        cmocka_unit_test(host_memory_ends),
        cmocka_unit_test(part_of_a_device_works),
        cmocka_unit_test(missing_is_explained),
    };
    const char *tmp = getenv("TMPDIR");
    struct mt_dev_info *list = NULL;
    char command[4200];
    int n = 0, failed;

    snprintf(folder, sizeof folder, "%s/motley-dev-%ld", tmp != NULL ? tmp : "/tmp",
             (long)getpid());
    if (mt_ctx_new(keep, NULL, &ctx) < 0 || mt_dir_make(ctx, folder) < 0) {
        return 99;
    }
    ctx->env.value[MT_ENV_CL_DIR] = folder;
    ctx->env.value[MT_ENV_CACHE] = "off";
    ctx->env.value[MT_ENV_CL_FLAGS] = ctx->env.value[MT_ENV_DEBUG] = NULL;
    if (mt_dev_prepare(ctx) < 0 || mt_dev_list(ctx, &list, &n) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 1;
    }
    mt_free(ctx, list);
    if (n == 0) {
        printf("SKIP opencl: no device\n");
        return 77;
    }
    if (put_file("motley.clh", "/* nothing */\n") < 0 || put_file("try.cl", kernels) < 0) {
        return 99;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    mt_ctx_free(ctx);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (failed == 0 && system(command) != 0) {
        printf("%s stays behind\n", folder);
    }
    return failed;
}
