/* prog.c -- proves of the cache of program binaries: it is used when nothing changed and only
 * then, a damaged file or folder costs nothing but time, four processes that start at once on an
 * empty cache all get right programs and different PoCL folders; and that a program that does not
 * build says where, with what and why. On the first device of each platform. Skipped without a
 * device. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/launch.h"

#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

enum { CHILDREN = 4, PATIENCE_MS = 20000 };

static const char kernels[] =
    "#ifndef STEP\n#define STEP 1\n#endif\n"
    "kernel void add(global uint *y, ulong y_off) { y[y_off + get_global_id(0)] += STEP; }\n";

static const char *self;
static char folder[2048], cache[2100], cl_dir[2100];
static struct mt_ctx *ctx;
static int hits, repairs, unkept;   /* debug messages seen */

static void count(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    (void)level;
    (void)category;
    hits += strstr(text, "binary taken from") != NULL;
    repairs += strstr(text, "damaged or refused") != NULL;
    unkept += strstr(text, "is not kept") != NULL;
}

static void ok(int st)
{
    if (st < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static int put_file(const char *dir, const char *name, const char *text)
{
    char path[4200];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return mt_file_write(ctx, path, text, strlen(text));
}

/* Opens the device anew, as a new process would, and runs the kernel: y grows by step. */
static int run(const struct mt_dev_info *info, const char *defines, uint32_t step)
{
    struct mt_dev *dev = NULL;
    struct mt_kernel *add = NULL;
    struct mt_buf *y = NULL;
    uint32_t v[2] = {0, 0};
    int st;

    MT_TRY_OR(done, mt_dev_open(ctx, info, 1, &dev));
    MT_TRY_OR(done, mt_kernel_get(dev, "step", "add", defines, &add));
    MT_TRY_OR(done, mt_buf_new(dev, 8, "y", &y));
    MT_TRY_OR(done, mt_buf_fill(y, 0, 8, 40));
    MT_TRY_OR(done, mt_launch(dev, add, mt_items(2, 1), MT_ARGS(mt_b(y, 0))));
    MT_TRY_OR(done, mt_buf_read(y, 0, 8, v));
    MT_CHECK_OR(done, v[0] == 40 + step && v[1] == 40 + step, MOTLEY_ENUM, "got %u and %u",
                (unsigned)v[0], (unsigned)v[1]);
done:
    mt_buf_free(y);
    mt_dev_close(dev);
    return st;
}

/* run, and how many cache hits and repairs it took. */
static void expect(const struct mt_dev_info *info, const char *defines, uint32_t step,
                   int want_hits, int want_repairs)
{
    hits = repairs = unkept = 0;
    ok(run(info, defines, step));
    assert_int_equal(hits, want_hits);
    assert_int_equal(repairs, want_repairs);
}

/* Names of the cache files; path of the first one. */
static int files(char *path, size_t room)
{
    char dir[2200], **names = NULL;
    int n = 0;

    snprintf(dir, sizeof dir, "%s/cl", cache);
    if (!mt_dir_exists(dir)) {
        return 0;
    }
    ok(mt_dir_list(ctx, dir, &names, &n));
    for (int i = 0; i < n; i++) {
        assert_null(strstr(names[i], ".tmp"));
    }
    if (n > 0) {
        snprintf(path, room, "%s/%s", dir, names[0]);
    }
    mt_dir_list_free(ctx, names, n);
    return n;
}

static void empty_cache(void)
{
    char dir[2200];

    snprintf(dir, sizeof dir, "%s/cl", cache);
    if (mt_dir_exists(dir)) {
        ok(mt_dir_remove(ctx, dir));
    }
}

/* Calls a test for the first device of each platform. */
static void on_platforms(void (*test)(const struct mt_dev_info *info))
{
    struct mt_dev_info *list = NULL;
    int n;

    ok(mt_dev_list(ctx, &list, &n));
    for (int i = 0; i < n; i++) {
        if (list[i].device == 0) {
            empty_cache();
            test(&list[i]);
        }
    }
    mt_free(ctx, list);
    assert_int_equal(ctx->mem.live, 0);
}

static void used_when_nothing_changed(const struct mt_dev_info *info)
{
    char path[4400];

    expect(info, NULL, 1, 0, 0);
    if (files(path, sizeof path) == 0) {
        print_message("%s gives no binaries\n", info->name);
        assert_int_equal(unkept, 1);
        return;
    }
    expect(info, NULL, 1, 1, 0);
    assert_int_equal(files(path, sizeof path), 1);
    expect(info, "-DSTEP=5", 5, 0, 0);
    expect(info, "-DSTEP=5", 5, 1, 0);
    assert_int_equal(files(path, sizeof path), 2);
    ok(put_file(cl_dir, "motley.clh", "/* another prelude */\n"));
    expect(info, NULL, 1, 0, 0);
    ok(put_file(cl_dir, "motley.clh", "/* nothing */\n"));
    ctx->env.value[MT_ENV_CL_FLAGS] = "-DSTEP=7";
    expect(info, NULL, 7, 0, 0);
    ctx->env.value[MT_ENV_CL_FLAGS] = NULL;
    expect(info, NULL, 1, 1, 0);
    assert_int_equal(files(path, sizeof path), 4);
}

/* A file as prog.c would write it, whose content no driver made. */
static void put_nonsense(const char *path)
{
    char data[12 + MT_HASH_TEXT + 1000];

    memset(data, 'x', sizeof data);
    memcpy(data, "motley-cl-1", 12);
    mt_hash_block(data + 12 + MT_HASH_TEXT, 1000, data + 12);
    ok(mt_file_write(ctx, path, data, sizeof data));
}

/* Every kind of damage: cut off, empty, one bit, nonsense with a right start, and nonsense that
 * only the driver can find out. */
static void damage_costs_time_only(const struct mt_dev_info *info)
{
    char path[4400], *data = NULL;
    size_t bytes;

    expect(info, NULL, 1, 0, 0);
    if (files(path, sizeof path) == 0) {
        return;
    }
    ok(mt_file_read(ctx, path, &data, &bytes));
    ok(mt_file_write(ctx, path, data, bytes / 2));
    expect(info, NULL, 1, 0, 1);
    expect(info, NULL, 1, 1, 0);
    ok(mt_file_write(ctx, path, data, 0));
    expect(info, NULL, 1, 0, 1);
    data[bytes - 20] ^= 16;
    ok(mt_file_write(ctx, path, data, bytes));
    expect(info, NULL, 1, 0, 1);
    memset(data + 12, 'x', bytes - 12);
    ok(mt_file_write(ctx, path, data, bytes));
    expect(info, NULL, 1, 0, 1);
    if (strcmp(info->platform_name, "rusticl") != 0) {   /* Mesa 22.3.6 ends the process then */
        put_nonsense(path);
        expect(info, NULL, 1, 0, 1);
    }
    expect(info, NULL, 1, 1, 0);
    mt_free(ctx, data);
}

static void no_cache_is_fine(const struct mt_dev_info *info)
{
    char path[4400];

    ctx->env.value[MT_ENV_CACHE] = "off";
    expect(info, NULL, 1, 0, 0);
    snprintf(path, sizeof path, "%s/step.cl/below-a-file", cl_dir);
    ctx->env.value[MT_ENV_CACHE] = path;
    expect(info, NULL, 1, 0, 0);
    assert_int_equal(unkept, 1);
    ctx->env.value[MT_ENV_CACHE] = cache;
    assert_int_equal(files(path, sizeof path), 0);
}

static void build_errors_say_all(const struct mt_dev_info *info)
{
    const char *const words[] = {"cl/wrong.cl", info->name, info->driver, "-DSIDE=3",
                                 "CL_BUILD_PROGRAM_FAILURE", "no_such_thing"};
    struct mt_dev *dev = NULL;
    struct mt_kernel *k = NULL;
    char path[4400];

    ok(put_file(cl_dir, "wrong.cl", "kernel void f(global int *x)\n{ *x = no_such_thing; }\n"));
    ok(mt_dev_open(ctx, info, 1, &dev));
    assert_int_equal(mt_kernel_get(dev, "wrong", "f", "-DSIDE=3", &k), MOTLEY_EDEV);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strstr(mt_err_text(), words[i]) == NULL) {
            fail_msg("'%s' is missing in: %s", words[i], mt_err_text());
        }
    }
    assert_null(k);
    mt_dev_close(dev);
    assert_int_equal(files(path, sizeof path), 0);
}

#define ON_PLATFORMS(test)                                                                    \
    static void test##_on_all(void **state)                                                   \
    {                                                                                         \
        (void)state;                                                                          \
        on_platforms(test);                                                                   \
    }
ON_PLATFORMS(used_when_nothing_changed)
ON_PLATFORMS(damage_costs_time_only)
ON_PLATFORMS(no_cache_is_fine)
ON_PLATFORMS(build_errors_say_all)

static void slot_file(int i, char *path, size_t room)
{
    snprintf(path, room, "%s/slot-%d", folder, i);
}

/* The life of a child: prepares, says which PoCL folder it has, waits for the others, runs. */
static int child(int number)
{
    struct mt_dev_info *list = NULL;
    struct timespec nap = {.tv_nsec = 1000000};
    char path[4200];
    int n, missing = CHILDREN;

    MT_TRY(mt_dev_prepare(ctx));
    slot_file(number, path, sizeof path);
    MT_TRY(mt_file_write(ctx, path, getenv("POCL_CACHE_DIR"),
                         strlen(getenv("POCL_CACHE_DIR"))));
    for (int ms = 0; missing > 0; ms++) {
        MT_CHECK(ms < PATIENCE_MS, MOTLEY_EBUG, "%d children are missing", missing);
        missing = 0;
        for (int i = 0; i < CHILDREN; i++) {
            slot_file(i, path, sizeof path);
            missing += !mt_file_exists(path);
        }
        nanosleep(&nap, NULL);
    }
    MT_TRY(mt_dev_list(ctx, &list, &n));
    MT_TRY(run(&list[0], NULL, 1));
    mt_free(ctx, list);
    return MOTLEY_OK;
}

static void four_processes_at_once(void **state)
{
    char path[4400], number[CHILDREN][16], *slot[CHILDREN];
    pid_t pid[CHILDREN];
    size_t bytes;

    (void)state;
    empty_cache();
    unsetenv("POCL_CACHE_DIR");
    for (int i = 0; i < CHILDREN; i++) {
        char *const argv[] = {(char *)self, number[i], folder, NULL};

        snprintf(number[i], sizeof number[i], "%d", i);
        assert_int_equal(posix_spawnp(&pid[i], self, NULL, NULL, argv, environ), 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;

        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        slot_file(i, path, sizeof path);
        ok(mt_file_read(ctx, path, &slot[i], &bytes));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(slot[i], slot[j]);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        mt_free(ctx, slot[i]);
    }
    assert_true(files(path, sizeof path) <= 1);
}

/* Folders and files of the test, below `where`. */
static int set_up(const char *where)
{
    snprintf(folder, sizeof folder, "%s", where);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    snprintf(cl_dir, sizeof cl_dir, "%s/cl", folder);
    MT_TRY(mt_ctx_new(count, NULL, &ctx));
    ctx->env.value[MT_ENV_CL_DIR] = cl_dir;
    ctx->env.value[MT_ENV_CACHE] = cache;
    ctx->env.value[MT_ENV_LOG] = "all=2";
    ctx->env.value[MT_ENV_CL_FLAGS] = ctx->env.value[MT_ENV_DEBUG] = NULL;
    return MOTLEY_OK;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(used_when_nothing_changed_on_all),
        cmocka_unit_test(damage_costs_time_only_on_all),
        cmocka_unit_test(no_cache_is_fine_on_all),
        cmocka_unit_test(build_errors_say_all_on_all),
        cmocka_unit_test(four_processes_at_once),
    };
    const char *tmp = getenv("TMPDIR");
    struct mt_dev_info *list = NULL;
    char where[2000], command[2100];
    int n = 0, failed;

    self = argv[0];
    if (argc == 3) {
        if (set_up(argv[2]) < 0 || child(atoi(argv[1])) < 0) {
            fprintf(stderr, "process %s: %s\n", argv[1], mt_err_text());
            return 1;
        }
        mt_ctx_free(ctx);
        return 0;
    }
    snprintf(where, sizeof where, "%s/motley-prog-%ld", tmp != NULL ? tmp : "/tmp",
             (long)getpid());
    if (set_up(where) < 0 || mt_dir_make(ctx, cl_dir) < 0 || mt_dir_make(ctx, cache) < 0 ||
        put_file(cl_dir, "motley.clh", "/* nothing */\n") < 0 ||
        put_file(cl_dir, "step.cl", kernels) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 99;
    }
    if (mt_dev_prepare(ctx) < 0 || mt_dev_list(ctx, &list, &n) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 1;
    }
    mt_free(ctx, list);
    if (n == 0) {
        printf("SKIP opencl: no device\n");
        return 77;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    mt_ctx_free(ctx);
    snprintf(command, sizeof command, "rm -rf '%s'", where);
    if (failed == 0 && system(command) != 0) {
        printf("%s stays behind\n", where);
    }
    return failed;
}
