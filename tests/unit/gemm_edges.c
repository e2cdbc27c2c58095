/* gemm_edges.c -- the providers with tiles are right at every edge: M, N and K from 1 to 40 each,
 * all transposes, one matrix and three, sizes smaller than planned; small integers, so that every
 * result is exact, against a loop in double. What lies behind C stays. */
#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/gemm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 40, BATCH = 3, ROOM = BATCH * SIDE * SIDE + 1 };

struct world {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_buf *buf[4];           /* A, B, C, bias */
    float a[ROOM], b[ROOM], c[ROOM], got[ROOM], bias[SIDE];
};

static struct world w;

/* A fixed sequence of small integers. */
static void fill(float *x, int n, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 29) - 3.0f;
    }
}

static double element(const struct mt_gemm *g, int e, int64_t i, int64_t j, float beta)
{
    double sum = 0;

    for (int64_t l = 0; l < g->k; l++) {
        int64_t a = g->trans_a ? l * g->m + i : i * g->k + l;
        int64_t b = g->trans_b ? j * g->k + l : l * g->n + j;

        sum += (double)w.a[e * g->m * g->k + a] * (double)w.b[e * g->k * g->n + b];
    }
    sum += (beta != 0 ? (double)w.c[(e * g->m + i) * g->n + j] : 0) + (double)w.bias[j];
    return sum < 0 ? 0 : sum;
}

static void one(const struct mt_gemm_plan *plan, const struct mt_gemm *now, const char *provider)
{
    struct mt_tensor a = {.buf = w.buf[0]}, b = {.buf = w.buf[1]}, c = {.buf = w.buf[2]};
    struct mt_tensor bias = {.buf = w.buf[3]};
    float beta = (float)(now->m % 2);
    int64_t batch = now->batch, end = batch * now->m * now->n;

    assert_int_equal(mt_buf_write(w.buf[2], 0, sizeof w.c, w.c), MOTLEY_OK);
    assert_int_equal(mt_gemm_run(plan, now->m, &a, &b, beta, &c, &bias, NULL), MOTLEY_OK);
    assert_int_equal(mt_buf_read(w.buf[2], 0, sizeof w.got, w.got), MOTLEY_OK);
    for (int64_t p = 0; p < end; p++) {
        double want = element(now, (int)(p / (now->m * now->n)), p / now->n % now->m, p % now->n,
                              beta);

        if ((double)w.got[p] != want) {
            fail_msg("%s %d%d %d x %d x %d: C[%d] is %g, must be %g", provider, now->trans_a,
                     now->trans_b, (int)now->m, (int)now->n, (int)now->k, (int)p, (double)w.got[p],
                     want);
        }
    }
    assert_memory_equal(w.got + end, w.c + end, (size_t)(ROOM - end) * sizeof(float));
}

static int sweep(const char *provider)
{
    int done = 0;

    for (int way = 0; way < 4; way++) {
        for (int i = 1; i <= SIDE; i++) {
            struct mt_gemm g = {.trans_a = way & 1, .trans_b = way >> 1, .m = SIDE,
                                .n = (i * 7 + way * 11) % SIDE + 1, .k = (i * 13) % SIDE + 1,
                                .batch = i % 5 == 0 ? BATCH : 1, .alpha = 1.0f, .has_bias = 1,
                                .act = MT_GEMM_RELU, .varies = 'm'};
            struct mt_gemm_plan *plan = NULL;
            int st = mt_gemm_plan_with(w.dev, &g, provider, "", 1, &plan);

            if (st == MOTLEY_EUNSUP) {
                continue;
            }
            assert_int_equal(st, MOTLEY_OK);
            for (int m = i % 3 + 1; m <= SIDE; m += 3) {
                struct mt_gemm now = g;

                now.m = m;
                one(plan, &now, provider);
                done++;
            }
            mt_gemm_plan_free(plan);
        }
    }
    return done;
}

static void every_edge(void **state)
{
    int done = 0;

    (void)state;
    done += sweep("direct");
    done += sweep("tile");
    if (done == 0) {
        printf("SKIP tiles: no provider with tiles on this device\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_edge)};
    struct mt_dev_info *list = NULL;
    int n = 0, code = 77;

    /* The last of the list: a CPU where there is one. */
    if (mt_ctx_new(NULL, NULL, &w.ctx) < 0 || mt_dev_prepare(w.ctx) < 0 ||
        mt_dev_list(w.ctx, &list, &n) < 0 || n == 0 ||
        mt_dev_open(w.ctx, &list[n - 1], 1, &w.dev) < 0) {
        printf("SKIP opencl: %s\n", n == 0 ? "no device" : mt_err_text());
        goto end;
    }
    fill(w.a, ROOM, 1);
    fill(w.b, ROOM, 2);
    fill(w.c, ROOM, 3);
    fill(w.bias, SIDE, 4);
    for (int i = 0; i < 4; i++) {
        if (mt_buf_new(w.dev, sizeof w.a, "test", &w.buf[i]) < 0) {
            goto end;
        }
    }
    if (mt_buf_write(w.buf[0], 0, sizeof w.a, w.a) == MOTLEY_OK &&
        mt_buf_write(w.buf[1], 0, sizeof w.b, w.b) == MOTLEY_OK &&
        mt_buf_write(w.buf[3], 0, sizeof w.bias, w.bias) == MOTLEY_OK) {
        code = cmocka_run_group_tests(tests, NULL, NULL);
    }
end:
    for (int i = 0; i < 4; i++) {
        mt_buf_free(w.buf[i]);
    }
    mt_dev_close(w.dev);
    mt_free(w.ctx, list);
    mt_ctx_free(w.ctx);
    return code;
}
