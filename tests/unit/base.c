/* base.c -- errors keep their words and their way; memory is counted and can be told to fail;
 * files are replaced whole; settings are read word by word. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int inner(int x)
{
    MT_CHECK(x > 0, MOTLEY_EARG, "x is %d, must be positive", x);
    return MOTLEY_OK;
}

static int outer(int x)
{
    MT_TRY(inner(x));
    return MOTLEY_OK;
}

static void errors_carry_text_and_trace(void **state)
{
    (void)state;
    assert_int_equal(outer(1), MOTLEY_OK);
    assert_int_equal(outer(-3), MOTLEY_EARG);
    assert_string_equal(mt_err_text(), "x is -3, must be positive");
    assert_non_null(strstr(mt_err_trace_text(), "in inner ("));
    assert_non_null(strstr(mt_err_trace_text(), "in outer ("));
    mt_err_prefix("call %d: ", 7);
    assert_string_equal(mt_err_text(), "call 7: x is -3, must be positive");
    assert_string_equal(mt_err_code_name(MOTLEY_EARG), "invalid argument");
    mt_err_raise(MOTLEY_EFILE, "f", "src/f.c", 1, "again: %s", mt_err_text());
    assert_string_equal(mt_err_text(), "again: call 7: x is -3, must be positive");
}

static void memory_is_counted_and_fails_on_request(void **state)
{
    struct mt_ctx *ctx = NULL;
    double *p = NULL;
    char *s = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    assert_int_equal(MT_NEW_N(ctx, 100, &p), MOTLEY_OK);
    assert_int_equal((uintptr_t)p % MT_MEM_ALIGN, 0);
    for (int i = 0; i < 100; i++) {
        assert_true(p[i] == 0);
    }
    p[99] = 5;
    assert_int_equal(MT_RESIZE(ctx, 200, &p), MOTLEY_OK);
    assert_true(p[99] == 5 && p[199] == 0);
    assert_int_equal(ctx->mem.live, 1);
    assert_int_equal(ctx->mem.live_bytes, 200 * (int64_t)sizeof *p);
    assert_int_equal(mt_mem_printf(ctx, &s, "%s-%d", "a", 12), MOTLEY_OK);
    assert_string_equal(s, "a-12");
    ctx->mem.fail_at = mt_mem_requests(ctx) + 1;
    assert_int_equal(MT_RESIZE(ctx, 300, &p), MOTLEY_EMEM);
    assert_true(p[99] == 5);
    assert_int_equal(mt_mem_get(ctx, SIZE_MAX / 2, 4, (void **)&s), MOTLEY_EMEM);
    mt_free(ctx, p);
    mt_free(ctx, s);
    mt_free(ctx, NULL);
    assert_int_equal(ctx->mem.live, 0);
    assert_int_equal(ctx->mem.live_bytes, 0);
    mt_ctx_free(ctx);
}

struct heard {
    int n;
    char last[128];
};

static void hear(void *arg, int level, const char *category, const char *text)
{
    struct heard *h = arg;

    (void)level;
    h->n++;
    snprintf(h->last, sizeof h->last, "%s: %s", category, text);
}

static void log_lets_through_what_is_asked_for(void **state)
{
    struct heard h = {0};
    struct mt_ctx *ctx = NULL;

    (void)state;
    setenv("MOTLEY_LOG", "dev,comm=2", 1);
    assert_int_equal(mt_ctx_new(hear, &h, &ctx), MOTLEY_OK);
    mt_log(ctx, MT_LOG_WARN, "data", "w%d", 1);
    assert_string_equal(h.last, "data: w1");
    mt_log(ctx, MT_LOG_INFO, "data", "no");
    mt_log(ctx, MT_LOG_DEBUG, "dev", "no");
    assert_int_equal(h.n, 1);
    mt_log(ctx, MT_LOG_INFO, "dev", "yes");
    mt_log(ctx, MT_LOG_DEBUG, "comm", "yes");
    assert_int_equal(h.n, 3);
    mt_ctx_free(ctx);
    setenv("MOTLEY_LOG", "all=2", 1);
    assert_int_equal(mt_ctx_new(hear, &h, &ctx), MOTLEY_OK);
    mt_log(ctx, MT_LOG_DEBUG, "data", "yes");
    assert_int_equal(h.n, 4);
    mt_ctx_free(ctx);
    unsetenv("MOTLEY_LOG");
}

static void environment_words(void **state)
{
    struct mt_env env;

    (void)state;
    setenv("MOTLEY_DEBUG", "guard,nan", 1);
    mt_env_read(&env);
    assert_true(mt_env_has(&env, MT_ENV_DEBUG, "guard"));
    assert_true(mt_env_has(&env, MT_ENV_DEBUG, "nan"));
    assert_false(mt_env_has(&env, MT_ENV_DEBUG, "na"));
    assert_false(mt_env_has(&env, MT_ENV_CACHE, "off"));
    unsetenv("MOTLEY_DEBUG");
}

static void files_are_written_whole(void **state)
{
    struct mt_ctx *ctx = NULL;
    char dir[] = "/tmp/motley-base-XXXXXX", path[64], deep[64], **names = NULL, *data = NULL;
    size_t bytes;
    int n;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    snprintf(path, sizeof path, "%s/file", dir);
    assert_int_equal(mt_file_write(ctx, path, "one", 3), MOTLEY_OK);
    assert_int_equal(mt_file_write(ctx, path, "second", 6), MOTLEY_OK);
    assert_int_equal(mt_file_read(ctx, path, &data, &bytes), MOTLEY_OK);
    assert_int_equal(bytes, 6);
    assert_string_equal(data, "second");
    mt_free(ctx, data);
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    assert_int_equal(mt_dir_make(ctx, deep), MOTLEY_OK);
    assert_int_equal(mt_dir_make(ctx, deep), MOTLEY_OK);
    assert_true(mt_dir_exists(deep));
    assert_int_equal(mt_dir_list(ctx, dir, &names, &n), MOTLEY_OK);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "file");
    mt_dir_list_free(ctx, names, n);
    snprintf(deep, sizeof deep, "%s/file/x", dir);
    assert_int_equal(mt_file_write(ctx, deep, "x", 1), MOTLEY_EFILE);
    assert_non_null(strstr(mt_err_text(), "cannot be written: Not a directory"));
    snprintf(deep, sizeof deep, "%s/none", dir);
    assert_int_equal(mt_file_read(ctx, deep, &data, &bytes), MOTLEY_EFILE);
    assert_non_null(strstr(mt_err_text(), "No such file or directory"));
    assert_int_equal(unlink(path), 0);
    snprintf(deep, sizeof deep, "%s/a/b/c", dir);
    assert_int_equal(mt_dir_remove(ctx, deep), MOTLEY_OK);
    snprintf(deep, sizeof deep, "%s/a/b", dir);
    assert_int_equal(mt_dir_remove(ctx, deep), MOTLEY_OK);
    snprintf(deep, sizeof deep, "%s/a", dir);
    assert_int_equal(mt_dir_remove(ctx, deep), MOTLEY_OK);
    assert_int_equal(mt_dir_remove(ctx, dir), MOTLEY_OK);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void digests(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_hash *h = NULL;
    char a[MT_HASH_TEXT], b[MT_HASH_TEXT];

    (void)state;
    mt_hash_block("", 0, a);   /* XXH3 128 of nothing, seed 0: from the xxHash test vectors */
    assert_string_equal(a, "99aa06d3014798d86001c324468d497f");
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    assert_int_equal(mt_hash_new(ctx, &h), MOTLEY_OK);
    mt_hash_add(h, "ab", 2);
    mt_hash_add(h, "c", 1);
    mt_hash_text(h, a);
    mt_hash_block("abc", 3, b);
    assert_string_equal(a, b);
    mt_hash_free(h);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_carry_text_and_trace),
        cmocka_unit_test(memory_is_counted_and_fails_on_request),
        cmocka_unit_test(log_lets_through_what_is_asked_for),
        cmocka_unit_test(environment_words),
        cmocka_unit_test(files_are_written_whole),
        cmocka_unit_test(digests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
