/* safetensors.c -- a file is written as the format's description says, byte by byte, and reads back
 * the same; other kinds of numbers are converted; every malformed header is refused by words. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/file.h"
#include "train/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct mt_ctx *ctx;

static int begin(void **state)
{
    (void)state;
    return mt_ctx_new(NULL, NULL, &ctx);
}

static int end(void **state)
{
    int64_t live = ctx->mem.live;

    (void)state;
    mt_ctx_free(ctx);
    return live == 0 ? 0 : -1;
}

static char *temp_path(char *buf, size_t room)
{
    const char *dir = getenv("TMPDIR");

    snprintf(buf, room, "%s/st-%ld.safetensors", dir != NULL ? dir : "/tmp", (long)getpid());
    return buf;
}

static int get(void *arg, int i, uint64_t first, uint64_t count, float *dst)
{
    (void)arg;
    for (uint64_t k = 0; k < count; k++) {
        dst[k] = (float)(i * 100) + (float)(first + k);
    }
    return MOTLEY_OK;
}

static void test_bytes(void **state)
{
    const struct mt_safetensor t[] = {{.name = "a", .rank = 2, .dim = {1, 2}},
                                      {.name = "b", .rank = 0}};
    const char *header = "{\"__metadata__\":{\"format\":\"pt\"},"
                         "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
                         "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]}}";
    char path[512], digest[MT_HASH_TEXT], *block = NULL;
    size_t bytes = 0, pad = (8 - strlen(header) % 8) % 8;
    uint64_t written = 0, len = 0;
    const float want[3] = {0, 1, 100};

    (void)state;
    temp_path(path, sizeof path);
    assert_int_equal(mt_safetensors_write(ctx, path, t, 2, NULL, get, NULL, &written, digest), 0);
    assert_int_equal(mt_file_read(ctx, path, &block, &bytes), 0);
    assert_int_equal(bytes, written);
    memcpy(&len, block, 8);
    assert_int_equal(len, strlen(header) + pad);
    assert_memory_equal(block + 8, header, strlen(header));
    assert_memory_equal(block + 8 + len, want, sizeof want);
    assert_int_equal(bytes, 8 + len + sizeof want);
    mt_free(ctx, block);
    unlink(path);
}

static void test_round_trip(void **state)
{
    /* The second is longer than one chunk of the writer. */
    const struct mt_safetensor t[] = {{.name = "one.weight", .rank = 1, .dim = {3}},
                                      {.name = "l \"\\ \xc3\xa4", .rank = 2, .dim = {1100, 1000}},
                                      {.name = "none", .rank = 1, .dim = {0}}};
    char path[512], digest[MT_HASH_TEXT], again[MT_HASH_TEXT], *block = NULL;
    struct mt_safetensors *s = NULL;
    size_t bytes = 0;
    uint64_t written = 0;
    float v[4];
    int i;

    (void)state;
    temp_path(path, sizeof path);
    assert_int_equal(mt_safetensors_write(ctx, path, t, 3, "note", get, NULL, &written, digest), 0);
    assert_int_equal(mt_file_read(ctx, path, &block, &bytes), 0);
    mt_hash_block(block, bytes, again);
    assert_string_equal(digest, again);
    assert_int_equal(mt_safetensors_parse(ctx, path, block, bytes, &s), 0);
    assert_int_equal(s->n, 3);
    i = mt_safetensors_find(s, t[1].name);
    assert_true(i >= 0);
    assert_int_equal(s->tensor[i].count, 1100000);
    mt_safetensors_read(s, i, 1099996, 4, v);
    for (int k = 0; k < 4; k++) {
        assert_true(v[k] == 100.0f + 1099996 + (float)k);
    }
    assert_int_equal(mt_safetensors_find(s, "absent"), -1);
    assert_true(mt_safetensors_find(s, "none") >= 0);
    mt_safetensors_free(s);
    mt_free(ctx, block);
    unlink(path);
}

/* A file in memory: header text and data bytes. Returns its length. */
static size_t make(char *buf, const char *header, const void *data, size_t bytes)
{
    uint64_t len = strlen(header);

    memcpy(buf, &len, 8);
    memcpy(buf + 8, header, len);
    memcpy(buf + 8 + len, data, bytes);
    return 8 + len + bytes;
}

static void test_kinds(void **state)
{
    const double f64[2] = {0.1, -3};
    /* 1, -2, smallest subnormal, infinity */
    const uint16_t half[4] = {0x3c00, 0xc000, 0x0001, 0x7c00}, bf[2] = {0x3f80, 0xc049};
    char data[28], buf[512];
    struct mt_safetensors *s = NULL;
    float v[4];
    size_t n;

    (void)state;
    memcpy(data, f64, 16);
    memcpy(data + 16, half, 8);
    memcpy(data + 24, bf, 4);
    n = make(buf, "{\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                  "\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[16,24]},"
                  "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[24,28]}}", data, 28);
    assert_int_equal(mt_safetensors_parse(ctx, "x", buf, n, &s), 0);
    mt_safetensors_read(s, mt_safetensors_find(s, "d"), 0, 2, v);
    assert_true(v[0] == 0.1f && v[1] == -3);
    mt_safetensors_read(s, mt_safetensors_find(s, "h"), 0, 4, v);
    assert_true(v[0] == 1 && v[1] == -2 && v[2] == 0x1p-24f && v[3] > 1e38f);
    mt_safetensors_read(s, mt_safetensors_find(s, "b"), 0, 2, v);
    assert_true(v[0] == 1 && v[1] == -3.140625f);
    mt_safetensors_free(s);
}

static void test_malformed(void **state)
{
    static const struct {
        const char *header;
        size_t bytes;
        const char *words;
    } cases[] = {
        {"", 4, "is no safetensors file (header is no JSON object)"},
        {"[]", 4, "is no safetensors file (header is no JSON object)"},
        {"{\"a\":", 4, "x:1:"},
        {"{\"a\":3}", 4, "header of 'a' needs dtype, shape and two data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "header of 'a' needs"},
        {"{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
         "'a' has numbers of kind I64; F32, F64, F16 and BF16 can be read"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "is no size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
         "'a' has 4 bytes, its shape needs 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8,
         "has 8 bytes of numbers, its header describes 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 2,
         "lies at bytes 0 to 4, the file has 2"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
         "lies at bytes 4 to 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
         "'a' begins at byte 4, expected 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "begins at byte 0, expected 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4294967296],"
         "\"data_offsets\":[0,4]}}", 4, "'a' is larger than the file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "'a' has 7 dimensions, the limit is 6"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{}}", 4, "x:1:"},
    };
    const char zeros[16] = {0};
    char buf[1024];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mt_safetensors *s = NULL;
        size_t n = make(buf, cases[i].header, zeros, cases[i].bytes);

        assert_int_equal(mt_safetensors_parse(ctx, "x", buf, n, &s), MOTLEY_EFORMAT);
        if (strstr(mt_err_text(), cases[i].words) == NULL) {
            fail_msg("case %zu says: %s", i, mt_err_text());
        }
        assert_null(s);
    }
}

/* Cut at every length, and a wrong length of the header: always an error, never a crash. */
static void test_cut(void **state)
{
    char buf[256], *part;
    const float v[2] = {1, 2};
    size_t n = make(buf, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", v, 8);
    struct mt_safetensors *s = NULL;

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        part = malloc(cut > 0 ? cut : 1);   /* exactly so long: readers beyond it are found */
        assert_non_null(part);
        memcpy(part, buf, cut);
        assert_int_equal(mt_safetensors_parse(ctx, "x", part, cut, &s), MOTLEY_EFORMAT);
        free(part);
    }
    for (int bit = 0; bit < 64; bit++) {
        uint64_t len;

        memcpy(&len, buf, 8);
        len ^= UINT64_C(1) << bit;
        memcpy(buf, &len, 8);
        assert_int_equal(mt_safetensors_parse(ctx, "x", buf, n, &s), MOTLEY_EFORMAT);
        len ^= UINT64_C(1) << bit;
        memcpy(buf, &len, 8);
    }
}

/* Memory ends at request k, for every k: an error, nothing leaks, no file stays behind. */
static void test_memory(void **state)
{
    const struct mt_safetensor t[] = {{.name = "a", .rank = 1, .dim = {2}}};
    char path[512], digest[MT_HASH_TEXT], buf[256];
    const float v[2] = {1, 2};
    size_t n = make(buf, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", v, 8);
    struct mt_safetensors *s = NULL;
    uint64_t bytes;
    int code = MOTLEY_EMEM;

    (void)state;
    temp_path(path, sizeof path);
    for (int k = 1; code == MOTLEY_EMEM; k++) {
        ctx->mem.fail_at = mt_mem_requests(ctx) + k;
        code = mt_safetensors_parse(ctx, "x", buf, n, &s);
        assert_true(code == MOTLEY_OK || ctx->mem.live == 0);
    }
    assert_int_equal(code, MOTLEY_OK);
    mt_safetensors_free(s);
    code = MOTLEY_EMEM;
    for (int k = 1; code == MOTLEY_EMEM; k++) {
        ctx->mem.fail_at = mt_mem_requests(ctx) + k;
        code = mt_safetensors_write(ctx, path, t, 1, NULL, get, NULL, &bytes, digest);
        assert_true(ctx->mem.live == 0);
        assert_int_equal(mt_file_exists(path), code == MOTLEY_OK);
    }
    assert_int_equal(code, MOTLEY_OK);
    ctx->mem.fail_at = 0;
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, begin, end),
        cmocka_unit_test_setup_teardown(test_round_trip, begin, end),
        cmocka_unit_test_setup_teardown(test_kinds, begin, end),
        cmocka_unit_test_setup_teardown(test_malformed, begin, end),
        cmocka_unit_test_setup_teardown(test_cut, begin, end),
        cmocka_unit_test_setup_teardown(test_memory, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
