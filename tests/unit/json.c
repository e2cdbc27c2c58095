/* json.c -- what is written is the JSON that was meant and reads back; what is no JSON is refused
 * with its place; nothing leaks when memory ends at any request. */
#include "base/ctx.h"
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct mt_ctx *new_ctx(void)
{
    struct mt_ctx *ctx = NULL;

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    return ctx;
}

static int write_some(struct mt_ctx *ctx, int indent, char **text)
{
    struct mt_json j;

    mt_json_init(&j, ctx, indent);
    mt_json_map(&j, NULL);
    mt_json_int(&j, "step", INT64_MIN);
    mt_json_num(&j, "loss", 0.1);
    mt_json_num(&j, "bad", NAN);
    mt_json_num(&j, "worse", -INFINITY);
    mt_json_text(&j, "say \"x\"", "a\\b\n\t\x01 \xc3\xa4 \xff \xed\xa0\x80");
    mt_json_text(&j, "none", NULL);
    mt_json_list(&j, "list");
    mt_json_bool(&j, NULL, 1);
    mt_json_map(&j, NULL);
    mt_json_end(&j);
    mt_json_list(&j, NULL);
    mt_json_int(&j, NULL, 3);
    mt_json_end(&j);
    mt_json_end(&j);
    mt_json_end(&j);
    return mt_json_take(&j, text);
}

static void compact_text(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    char *text = NULL;

    (void)state;
    assert_int_equal(write_some(ctx, 0, &text), MOTLEY_OK);
    assert_string_equal(text, "{\"step\":-9223372036854775808,\"loss\":0.1,\"bad\":null,"
                              "\"worse\":null,\"say \\\"x\\\"\":\"a\\\\b\\n\\u0009\\u0001 "
                              "\xc3\xa4 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
                              "\"none\":null,\"list\":[true,{},[3]]}");
    mt_free(ctx, text);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void indented_text(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_json j;
    char *text = NULL;

    (void)state;
    mt_json_init(&j, ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_int(&j, "a", 1);
    mt_json_list(&j, "b");
    mt_json_num(&j, NULL, 0.5);
    mt_json_end(&j);
    mt_json_map(&j, "c");
    mt_json_end(&j);
    mt_json_end(&j);
    assert_int_equal(mt_json_take(&j, &text), MOTLEY_OK);
    assert_string_equal(text, "{\n  \"a\": 1,\n  \"b\": [\n    0.5\n  ],\n  \"c\": {}\n}\n");
    mt_free(ctx, text);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void written_reads_back(void **state)
{
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (int indent = 0; indent <= 2; indent += 2) {
        char *text = NULL;
        struct mt_tree *t = NULL;
        int64_t step = 0;
        double loss = 0;

        assert_int_equal(write_some(ctx, indent, &text), MOTLEY_OK);
        assert_int_equal(mt_json_parse(ctx, text, strlen(text), "f.json", &t), MOTLEY_OK);
        assert_int_equal(mt_tree_int(t, "step", &step), MOTLEY_OK);
        assert_true(step == INT64_MIN);
        assert_int_equal(mt_tree_num(t, "loss", &loss), MOTLEY_OK);
        assert_true(loss == 0.1);
        assert_int_equal(mt_tree_get(t, "bad")->kind, MT_TREE_NULL);
        assert_string_equal(mt_tree_get(t, "list")->item[0]->text, "true");
        assert_string_equal(mt_tree_get(t, "list")->item[2]->item[0]->text, "3");
        assert_int_equal(mt_tree_text(t, "list", &(const char *){NULL}), MOTLEY_ECONFIG);
        assert_string_equal(mt_err_text(), "f.json: 'list' must be text");
        mt_tree_free(ctx, t);
        mt_free(ctx, text);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void bad_text_is_refused(void **state)
{
    static const struct {
        const char *text;
        int line;
    } bad[] = {
        {"", 1}, {"{\"a\": 1,\n \"b\": tru}", 2}, {"{\"a\": 1", 1}, {"{\"a\": 1}}", 1},
        {"{\"a\": 1,\n \"a\": 2}", 2}, {"[1e999]", 1}, {"[\"\\u0000\"]", 1}, {"[\"\xff\"]", 1},
        {"[NaN]", 1}, {"[1,\n2,\n]", 3},
    };
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mt_tree *t = NULL;
        char begin[32];

        assert_int_equal(mt_json_parse(ctx, bad[i].text, strlen(bad[i].text), "f.json", &t),
                         MOTLEY_EFORMAT);
        snprintf(begin, sizeof begin, "f.json:%d:", bad[i].line);
        assert_memory_equal(mt_err_text(), begin, strlen(begin));   /* column: the parser's */
        assert_non_null(strstr(mt_err_text(), ": not valid JSON: "));
        assert_null(t);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void wrong_use_is_an_error(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_json j;
    char *text = NULL;

    (void)state;
    mt_json_init(&j, ctx, 0);
    mt_json_map(&j, NULL);
    assert_int_equal(mt_json_take(&j, &text), MOTLEY_EBUG);
    mt_json_init(&j, ctx, 0);
    mt_json_end(&j);
    assert_int_equal(mt_json_take(&j, &text), MOTLEY_EBUG);
    mt_json_init(&j, ctx, 0);
    for (int i = 0; i <= MT_JSON_DEPTH; i++) {
        mt_json_list(&j, NULL);
    }
    assert_int_equal(mt_json_take(&j, &text), MOTLEY_EBUG);
    assert_null(text);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void memory_may_end_anywhere(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    int failures = 0;

    (void)state;
    for (int n = 1;; n++) {
        char *text = NULL;
        struct mt_tree *t = NULL;
        int st;

        ctx->mem.fail_at = ctx->mem.requests + n;
        st = write_some(ctx, 2, &text);
        if (st == MOTLEY_OK) {
            st = mt_json_parse(ctx, text, strlen(text), "f.json", &t);
        }
        mt_tree_free(ctx, t);
        mt_free(ctx, text);
        assert_int_equal(ctx->mem.live, 0);
        if (st == MOTLEY_OK) {
            break;
        }
        assert_int_equal(st, MOTLEY_EMEM);
        failures++;
    }
    assert_true(failures > 10);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compact_text),
        cmocka_unit_test(indented_text),
        cmocka_unit_test(written_reads_back),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(wrong_use_is_an_error),
        cmocka_unit_test(memory_may_end_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
