/* trace.c -- a timeline holds what was reported, in order, with lanes and labels; the parts of two
 * ranks make one JSON list; what does not fit is counted and said. */
#include "base/ctx.h"
#include "base/json.h"
#include "base/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char heard[512];

static void hear(void *arg, int level, const char *category, const char *text)
{
    (void)arg, (void)level;
    snprintf(heard, sizeof heard, "%s: %s", category, text);
}

static double number(const struct mt_tree *t, const char *key)
{
    double x = 0;

    assert_non_null(mt_tree_get(t, key));
    assert_int_equal(sscanf(mt_tree_get(t, key)->text, "%lf", &x), 1);
    return x;
}

static void events_come_back(void **state)
{
    /* Behind by 500 ns at 0 and by 1500 ns at 14000: by 1000 at 7000. */
    const struct mt_trace_clock clock = {.at = {0, 14000}, .add = {500, 1500}};
    struct mt_ctx *ctx = NULL;
    struct mt_tree *list = NULL, *e;
    char *a = NULL, *b = NULL, *whole = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(hear, NULL, &ctx), MOTLEY_OK);
    mt_trace_add(ctx, MT_LANE_HOST, "before", NULL, 0, 1);   /* off: nothing happens */
    assert_int_equal(mt_trace_new(ctx, 2), MOTLEY_OK);
    mt_trace_label(ctx, "bwd linear2");
    assert_string_equal(mt_trace_label_get(ctx), "bwd linear2");
    mt_trace_add(ctx, MT_LANE_COMPUTE, "gemm", "bwd linear2", 5000, 9500);
    mt_trace_add(ctx, MT_LANE_COMM, "reduce \"0\"", NULL, 7000, 6000);
    mt_trace_add(ctx, MT_LANE_HOST, "too many", NULL, 8000, 9000);
    assert_int_equal(mt_trace_print(ctx, 0, "rank 0", NULL, &a), MOTLEY_OK);
    assert_string_equal(heard, "trace: the timeline holds the first 2 events of rank 0; 1 later "
                               "ones are missing");
    assert_int_equal(mt_trace_print(ctx, 1, "rank 1", &clock, &b), MOTLEY_OK);
    assert_int_equal(mt_mem_printf(ctx, &whole, "[%s,%s]", a, b), MOTLEY_OK);
    assert_int_equal(mt_json_parse(ctx, whole, strlen(whole), "trace", &list), MOTLEY_OK);
    assert_int_equal(list->n, 2 * (1 + MT_LANES + 2));
    e = list->item[1 + MT_LANES];
    assert_string_equal(mt_tree_get(e, "name")->text, "gemm");
    assert_string_equal(mt_tree_get(mt_tree_get(e, "args"), "of")->text, "bwd linear2");
    assert_true(number(e, "ts") == 5 && number(e, "dur") == 4.5 && number(e, "pid") == 0);
    assert_true(number(e, "tid") == MT_LANE_COMPUTE);
    e = list->item[list->n - 1];
    assert_string_equal(mt_tree_get(e, "name")->text, "reduce \"0\"");
    assert_true(number(e, "ts") == 8 && number(e, "dur") == 0 && number(e, "pid") == 1);
    mt_tree_free(ctx, list);
    mt_free(ctx, whole);
    mt_free(ctx, a);
    mt_free(ctx, b);
    mt_trace_free(ctx);
    mt_trace_free(ctx);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(events_come_back)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
