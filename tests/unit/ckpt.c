/* ckpt.c -- a checkpoint reads back as written; damage of any file at any of many places is found
 * and the one before is taken; a process killed while it writes never loses what was there; a full
 * disk is told and leaves the earlier one; old ones are removed, and what a dead process left. */
#define _GNU_SOURCE
#include "base/ctx.h"
#include "base/file.h"
#include "train/ckpt.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BIG 300000   /* numbers of the larger tensor: writing it takes a while */

static struct mt_ctx *ctx;
static char root[512];
static int warnings, mounted;

static void count_warnings(void *arg, int level, const char *category, const char *text)
{
    (void)arg, (void)category, (void)text;
    warnings += level == MT_LOG_WARN;
}

static int begin(void **state)
{
    const char *dir = getenv("TMPDIR");

    (void)state;
    mounted = 0;
    snprintf(root, sizeof root, "%s/ckpt-XXXXXX", dir != NULL ? dir : "/tmp");
    if (mkdtemp(root) == NULL) {
        return -1;
    }
    warnings = 0;
    return mt_ctx_new(count_warnings, NULL, &ctx);
}

static void remove_tree(const char *path)
{
    char **names = NULL, below[1024];
    int n = 0;

    if (mt_dir_list(ctx, path, &names, &n) == MOTLEY_OK) {
        for (int i = 0; i < n; i++) {
            snprintf(below, sizeof below, "%s/%s", path, names[i]);
            if (unlink(below) != 0) {
                remove_tree(below);
            }
        }
        mt_dir_list_free(ctx, names, n);
        rmdir(path);
    }
}

static int end(void **state)
{
    int64_t live;

    (void)state;
    if (mounted) {
        umount(root);
    }
    remove_tree(root);
    live = ctx->mem.live;
    mt_ctx_free(ctx);
    return live == 0 ? 0 : -1;
}

/* Numbers that tell step, tensor and place. */
static int get(void *arg, int i, uint64_t first, uint64_t count, float *dst)
{
    for (uint64_t k = 0; k < count; k++) {
        dst[k] = *(const float *)arg * 1000 + (float)i * 100 + (float)((first + k) % 97);
    }
    return MOTLEY_OK;
}

static const struct mt_safetensor weights[] = {{.name = "w", .rank = 2, .dim = {3, BIG / 3}},
                                               {.name = "b", .rank = 1, .dim = {7}}};
static const struct mt_safetensor slots[] = {{.name = "w.m", .rank = 2, .dim = {3, BIG / 3}}};

static int write_step(const char *folder, int64_t step)
{
    float base = (float)step;
    struct mt_ckpt_part w = {2, weights, get, &base}, o = {1, slots, get, &base};
    struct mt_ckpt_pos pos = {.step = step, .epoch = 2, .position = 64, .samples = 1000,
                              .seed = UINT64_MAX - 1, .data = "0123456789abcdef"};
    char path[1024];

    snprintf(path, sizeof path, "%s/step-%lld", folder, (long long)step);
    return mt_ckpt_write(ctx, path, &pos, &w, &o, "adam");
}

static void check_step(const struct mt_ckpt *c, int64_t step)
{
    struct mt_safetensors *s = NULL;
    float v[2];

    assert_int_equal(c->pos.step, step);
    assert_int_equal(mt_safetensors_parse(ctx, c->path, c->weights, c->weights_bytes, &s), 0);
    mt_safetensors_read(s, mt_safetensors_find(s, "b"), 5, 2, v);
    assert_true(v[0] == (float)step * 1000 + 105 && v[1] == (float)step * 1000 + 106);
    mt_safetensors_free(s);
}

static void test_round_trip(void **state)
{
    struct mt_ckpt *c = NULL;

    (void)state;
    assert_int_equal(write_step(root, 12), 0);
    assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
    check_step(c, 12);
    assert_int_equal(c->pos.epoch, 2);
    assert_int_equal(c->pos.position, 64);
    assert_int_equal(c->pos.samples, 1000);
    assert_true(c->pos.seed == UINT64_MAX - 1);
    assert_string_equal(c->pos.data, "0123456789abcdef");
    assert_string_equal(c->optimizer, "adam");
    assert_true(c->optim != NULL);
    mt_ckpt_free(c);
}

/* Same state, same bytes: nothing of time or machine is in the files. */
static void test_same_bytes(void **state)
{
    static const char *const files[] = {"model.safetensors", "optim.safetensors", "manifest.json"};
    char one[1024], two[1024], *a = NULL, *b = NULL;
    size_t m = 0, n = 0;

    (void)state;
    snprintf(one, sizeof one, "%s/one", root);
    snprintf(two, sizeof two, "%s/two", root);
    assert_int_equal(write_step(one, 3), 0);
    assert_int_equal(write_step(two, 3), 0);
    for (int i = 0; i < 3; i++) {
        char path[1100];

        snprintf(path, sizeof path, "%s/step-3/%s", one, files[i]);
        assert_int_equal(mt_file_read(ctx, path, &a, &m), 0);
        snprintf(path, sizeof path, "%s/step-3/%s", two, files[i]);
        assert_int_equal(mt_file_read(ctx, path, &b, &n), 0);
        assert_int_equal(m, n);
        assert_memory_equal(a, b, n);
        mt_free(ctx, a);
        mt_free(ctx, b);
    }
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    int c;

    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static void expect_older(int64_t step)
{
    struct mt_ckpt *c = NULL;
    int before = warnings;

    assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
    assert_non_null(c);
    check_step(c, step);
    assert_int_equal(warnings, before + 1);
    mt_ckpt_free(c);
}

static void test_damage(void **state)
{
    static const char *const files[] = {"model.safetensors", "optim.safetensors", "manifest.json"};
    char path[1100];
    struct stat info;
    struct mt_ckpt *c = NULL;

    (void)state;
    assert_int_equal(write_step(root, 10), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(write_step(root, 20), 0);
        snprintf(path, sizeof path, "%s/step-20/%s", root, files[i]);
        assert_int_equal(stat(path, &info), 0);
        for (int k = 0; k <= 16; k++) {
            long at = (long)((info.st_size - 1) * k / 16);

            flip(path, at);
            expect_older(10);
            flip(path, at);
        }
        assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
        check_step(c, 20);
        mt_ckpt_free(c);
        assert_int_equal(truncate(path, info.st_size - 1), 0);
        expect_older(10);
        assert_int_equal(truncate(path, 0), 0);
        expect_older(10);
        assert_int_equal(unlink(path), 0);
        expect_older(10);
    }
}

static void test_only_damaged(void **state)
{
    char path[1100];
    struct mt_ckpt *c = NULL;

    (void)state;
    assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
    assert_null(c);
    assert_int_equal(mt_ckpt_find(ctx, root, &c), MOTLEY_EFILE);
    assert_non_null(strstr(mt_err_text(), "holds no checkpoint"));
    assert_int_equal(write_step(root, 1), 0);
    snprintf(path, sizeof path, "%s/step-1/model.safetensors", root);
    flip(path, 5000);
    assert_int_equal(mt_ckpt_newest(ctx, root, &c), MOTLEY_EFORMAT);
    assert_non_null(strstr(mt_err_text(), "no good checkpoint among 1"));
    assert_non_null(strstr(mt_err_text(), "is damaged (wrong checksum)"));
}

static void test_keep(void **state)
{
    char path[1100], aside[1100], **names = NULL;
    int n = 0;

    (void)state;
    for (int64_t s = 8; s <= 12; s++) {
        assert_int_equal(write_step(root, s), 0);
    }
    assert_int_equal(mt_ckpt_prune(ctx, root, 3), 0);
    assert_int_equal(mt_ckpt_drop_after(ctx, root, 11), 0);
    snprintf(path, sizeof path, "%s/step-99.tmp-1", root);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/step-10", root);
    snprintf(aside, sizeof aside, "%s/step-10.old-1", root);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(mt_ckpt_clean(ctx, root), 0);
    assert_int_equal(mt_dir_list(ctx, root, &names, &n), 0);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "step-10");
    assert_string_equal(names[1], "step-11");
    mt_dir_list_free(ctx, names, n);
}

/* A child writes step after step; it is killed at a random moment. What was complete before stays,
 * and what the disk shows afterwards is a good checkpoint. */
static void test_kill(void **state)
{
    unsigned seed = 1;

    (void)state;
    assert_int_equal(write_step(root, 1), 0);
    for (int round = 0; round < 20; round++) {
        struct mt_ckpt *c = NULL;
        int64_t before;
        pid_t child;

        assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
        before = c->pos.step;
        mt_ckpt_free(c);
        c = NULL;
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (int64_t s = before + 1;; s++) {
                if (write_step(root, s) != 0 || mt_ckpt_prune(ctx, root, 2) != 0) {
                    _exit(1);
                }
            }
        }
        nanosleep(&(struct timespec){0, (long)(rand_r(&seed) % 40000) * 1000}, NULL);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
        assert_non_null(c);
        assert_true(c->pos.step >= before);
        check_step(c, c->pos.step);
        mt_ckpt_free(c);
        assert_int_equal(mt_ckpt_clean(ctx, root), 0);
    }
    assert_int_equal(warnings, 0);
}

/* A small file system of its own: the second checkpoint does not fit. */
static void test_full(void **state)
{
    char **names = NULL;
    struct mt_ckpt *c = NULL;
    int n = 0;

    (void)state;
    if (mount("motley", root, "tmpfs", 0, "size=4m") != 0) {
        printf("SKIP tool: cannot mount a small file system: %s\n", strerror(errno));
        skip();
    }
    mounted = 1;
    assert_int_equal(write_step(root, 1), 0);
    assert_int_equal(write_step(root, 2), MOTLEY_EFILE);
    assert_non_null(strstr(mt_err_text(), "No space left on device"));
    assert_non_null(strstr(mt_err_text(), "earlier ones are untouched"));
    assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
    check_step(c, 1);
    mt_ckpt_free(c);
    assert_int_equal(mt_dir_list(ctx, root, &names, &n), 0);
    assert_int_equal(n, 1);
    mt_dir_list_free(ctx, names, n);
    assert_int_equal(mount("tmpfs", root, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_int_equal(write_step(root, 3), MOTLEY_EFILE);
    assert_non_null(strstr(mt_err_text(), "Read-only file system"));
}

static void test_memory(void **state)
{
    int code = MOTLEY_EMEM;

    (void)state;
    for (int k = 1; code == MOTLEY_EMEM; k++) {
        struct mt_ckpt *c = NULL;

        ctx->mem.fail_at = mt_mem_requests(ctx) + k;
        code = write_step(root, 4);
        assert_true(ctx->mem.live == 0);
        if (code == MOTLEY_OK) {
            ctx->mem.fail_at = 0;
            break;
        }
        ctx->mem.fail_at = 0;
        assert_int_equal(mt_ckpt_newest(ctx, root, &c), 0);
        assert_null(c);
    }
    assert_int_equal(code, MOTLEY_OK);
    code = MOTLEY_EMEM;
    for (int k = 1; code == MOTLEY_EMEM; k++) {
        struct mt_ckpt *c = NULL;

        ctx->mem.fail_at = mt_mem_requests(ctx) + k;
        code = mt_ckpt_newest(ctx, root, &c);
        mt_ckpt_free(c);
        assert_true(ctx->mem.live == 0);
    }
    assert_int_equal(code, MOTLEY_OK);
    ctx->mem.fail_at = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, begin, end),
        cmocka_unit_test_setup_teardown(test_same_bytes, begin, end),
        cmocka_unit_test_setup_teardown(test_damage, begin, end),
        cmocka_unit_test_setup_teardown(test_only_damaged, begin, end),
        cmocka_unit_test_setup_teardown(test_keep, begin, end),
        cmocka_unit_test_setup_teardown(test_kill, begin, end),
        cmocka_unit_test_setup_teardown(test_full, begin, end),
        cmocka_unit_test_setup_teardown(test_memory, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
