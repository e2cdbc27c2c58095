/* gemm_edges.c -- the providers with tiles are right at every edge: M, N and K from 1 to 40 each,
 * all transposes, one matrix and three, with and without a residual, sizes smaller than planned;
 * small integers, so that every result is exact, or, in bf16, the exact one rounded (twice with a
 * residual), against a loop in double. What lies behind C stays. `pairs` is tested with its
 * instruction, where the processor has it, and with OpenCL C in its place; `amx` with its own, or
 * where the processor does not have them by amxkit.h, or else likewise. `clblast` is tested
 * with matrices that begin anywhere in their buffers. Most of the time compiles kernels.
 * Time: 600 */
#include "tests/unit/amxkit.h"

#include "base/ctx.h"
#include "base/half.h"
#include "device/buf.h"
#include "device/cast.h"
#include "device/dev.h"
#include "device/gemm_impl.h"

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
    struct mt_buf *buf[5];           /* A, B, C, bias, residual */
    struct mt_buf *half[5];          /* the same in bf16 */
    float a[ROOM], b[ROOM], c[ROOM], r[ROOM], got[ROOM], bias[SIDE];
    int off;                         /* where A, B and C begin */
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

static double rounded(const struct mt_gemm *g, double x)
{
    return g->out == MT_BF16 ? (double)mt_half_from_bf16(mt_half_to_bf16((float)x)) : x;
}

static double element(const struct mt_gemm *g, int e, int64_t i, int64_t j, float beta)
{
    double sum = 0;

    for (int64_t l = 0; l < g->k; l++) {
        int64_t a = g->trans_a ? l * g->m + i : i * g->k + l;
        int64_t b = g->trans_b ? j * g->k + l : l * g->n + j;

        sum += (double)w.a[w.off + e * g->m * g->k + a] * (double)w.b[w.off + e * g->k * g->n + b];
    }
    sum += beta != 0 ? (double)w.c[w.off + (e * g->m + i) * g->n + j] : 0;
    sum += g->has_bias ? (double)w.bias[j] : 0;
    sum = sum < 0 && g->act == MT_GEMM_RELU ? 0 : sum;
    sum = rounded(g, sum);
    return g->after != 0 ? rounded(g, sum + (double)w.r[w.off + (e * g->m + i) * g->n + j]) : sum;
}

/* n numbers into a buffer of that type. */
static int put(struct mt_buf *buf, enum mt_dtype type, const float *x, int n)
{
    static uint16_t half[ROOM];

    if (type == MT_F32) {
        return mt_buf_write(buf, 0, (uint64_t)n * sizeof *x, x);
    }
    for (int i = 0; i < n; i++) {
        half[i] = mt_half_to_bf16(x[i]);
    }
    return mt_buf_write(buf, 0, (uint64_t)n * sizeof *half, half);
}

static void one(const struct mt_gemm_plan *plan, const struct mt_gemm *now, const char *provider,
                struct mt_buf *room)
{
    struct mt_buf **in = now->in == MT_F32 ? w.buf : w.half;
    struct mt_buf **out = now->out == MT_F32 ? w.buf : w.half;
    uint64_t off = (uint64_t)w.off;
    struct mt_tensor a = {.buf = in[0], .off = off}, b = {.buf = in[1], .off = off};
    struct mt_tensor bias = {.buf = in[3]}, scratch = {.buf = room, .off = off};
    struct mt_tensor all = {.spec = mt_spec_new(now->out, 0, 1, &(int64_t){ROOM}), .buf = out[2]};
    struct mt_tensor c = {.spec = all.spec, .buf = out[2], .off = off};
    struct mt_tensor residual = {.spec = all.spec, .buf = out[4], .off = off};
    struct mt_gemm_after after = {.residual = &residual};
    const float *got = w.got + w.off;
    float beta = (float)(now->m % 2);
    int64_t batch = now->batch, end = w.off + batch * now->m * now->n;

    assert_int_equal(put(out[2], now->out, w.c, ROOM), MOTLEY_OK);
    assert_int_equal(mt_gemm_run_after(plan, now->m, &a, &b, beta, &c, &bias, &scratch,
                                       now->after != 0 ? &after : NULL), MOTLEY_OK);
    assert_int_equal(mt_cast_read(w.ctx, &all, w.got), MOTLEY_OK);
    for (int64_t p = 0; p < end - w.off; p++) {
        double want = element(now, (int)(p / (now->m * now->n)), p / now->n % now->m, p % now->n,
                              beta);

        if ((double)got[p] != want) {
            fail_msg("%s %d%d %d x %d x %d: C[%d] is %g, must be %g", provider, now->trans_a,
                     now->trans_b, (int)now->m, (int)now->n, (int)now->k, (int)p, (double)got[p],
                     want);
        }
    }
    assert_memory_equal(w.got, w.c, (size_t)w.off * sizeof(float));
    assert_memory_equal(w.got + end, w.c + end, (size_t)(ROOM - end) * sizeof(float));
}

/* By its name, if form is NULL; or p in that form, whether it would offer itself or not. */
static int sweep(const struct mt_gemm_provider *p, const char *form, enum mt_dtype in)
{
    int done = 0;

    for (int way = 0; way < 4; way++) {
        for (int i = 1; i <= SIDE; i++) {
            int wide = in == MT_F32 || i % 4 > 1;   /* C is f32 */
            int ends = in == MT_F32 || !wide;
            struct mt_gemm g = {.trans_a = way & 1, .trans_b = way >> 1, .m = SIDE,
                                .n = (i * 7 + way * 11) % SIDE + 1, .k = (i * 13) % SIDE + 1,
                                .batch = i % 5 == 0 ? BATCH : 1, .alpha = 1.0f, .has_bias = ends,
                                .act = ends ? MT_GEMM_RELU : MT_GEMM_NOACT, .varies = 'm',
                                .after = ends && i % 3 == 0 ? MT_GEMM_RESIDUAL : 0u,
                                .in = in, .out = wide ? MT_F32 : in};
            struct mt_gemm_plan *plan = NULL;
            int st = form == NULL ? mt_gemm_plan_with(w.dev, &g, p->name, "", 1, &plan)
                                  : mt_gemm_plan_make(w.dev, &g, p, form, &plan);

            if (st == MOTLEY_EUNSUP) {
                continue;
            }
            assert_int_equal(st, MOTLEY_OK);
            assert_int_equal(plan->g.after, g.after);   /* nothing follows */
            for (int m = i % 3 + 1; m <= SIDE; m += 3) {
                struct mt_gemm now = plan->g;

                now.m = m;
                one(plan, &now, p->name, NULL);
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
    done += sweep(&mt_gemm_direct, NULL, MT_F32);
    done += sweep(&mt_gemm_tile, NULL, MT_F32);
    if (done == 0) {
        printf("SKIP tiles: no provider with tiles on this device\n");
        skip();
    }
}

static void every_edge_of_bf16(void **state)
{
    int instructions = 0;

    (void)state;
    (void)sweep(&mt_gemm_pairs, NULL, MT_BF16);
    if (mt_gemm_vector(w.dev) == 0) {
        printf("SKIP tiles: no provider with tiles on this device\n");
        skip();
    }
    assert_true(sweep(&mt_gemm_pairs, "model=1", MT_BF16) > 0);
    if (mt_dev_info(w.dev)->native_kernels && amxkit_open()) {
        instructions = sweep(&mt_gemm_amx, "", MT_BF16) > 0;
    }
    assert_true(instructions || sweep(&mt_gemm_amx, "model=1", MT_BF16) > 0);
    assert_true(sweep(&mt_gemm_narrow, "", MT_BF16) > 0);
}

/* At the beginning, where a sub-buffer may begin, and elsewhere, by one plan; of a size that the
 * library's tiles divide, and of one that they do not. */
static void anywhere_in_a_buffer(void **state)
{
    static const int size[] = {32, 31}, off[] = {0, 256, 5, 512, 256};
    static const char form[] = "MIN=1,KWG=16,KWI=2,MDIMA=1,MDIMC=1,MWG=16,NDIMB=1,NDIMC=1,NWG=8,"
                               "SA=0,SB=0,STRM=0,STRN=0,VWM=4,VWN=4";

    (void)state;
    if (mt_gemm_vector(w.dev) == 0) {
        printf("SKIP clblast: kernels with vectors take this device minutes to build\n");
        skip();
    }
    for (int way = 0; way < 8; way++) {
        int64_t side = size[way >> 2];
        struct mt_gemm g = {.trans_a = way & 1, .trans_b = way >> 1 & 1, .m = side, .n = side,
                            .k = side, .batch = way % 3 == 0 ? BATCH : 1, .alpha = 1.0f};
        struct mt_gemm_plan *plan = NULL;
        struct mt_buf *room = NULL;
        int st = mt_gemm_plan_with(w.dev, &g, "clblast", form, 1, &plan);

        if (st == MOTLEY_EUNSUP) {
            printf("SKIP clblast: not built in\n");
            skip();
        }
        assert_int_equal(st, MOTLEY_OK);
        assert_int_equal(mt_buf_new(w.dev, mt_gemm_plan_scratch(plan) + 4096, "test", &room),
                         MOTLEY_OK);
        for (int i = 0; i < 5; i++) {
            w.off = off[i];
            one(plan, &plan->g, "clblast", room);
        }
        w.off = 0;
        mt_gemm_plan_free(plan);
        mt_buf_free(room);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_edge),
                                       cmocka_unit_test(every_edge_of_bf16),
                                       cmocka_unit_test(anywhere_in_a_buffer)};
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
    fill(w.r, ROOM, 5);
    for (int i = 0; i < 5; i++) {
        const float *from = i == 0 ? w.a : i == 1 ? w.b : i == 2 ? w.c : i == 3 ? w.bias : w.r;
        int room = i == 3 ? SIDE : ROOM;

        if (mt_buf_new(w.dev, (uint64_t)room * 4, "test", &w.buf[i]) < 0 ||
            mt_buf_new(w.dev, (uint64_t)room * 2, "test", &w.half[i]) < 0 ||
            put(w.buf[i], MT_F32, from, room) < 0 || put(w.half[i], MT_BF16, from, room) < 0) {
            goto end;
        }
    }
    code = cmocka_run_group_tests(tests, NULL, NULL);
end:
    for (int i = 0; i < 5; i++) {
        mt_buf_free(w.buf[i]);
        mt_buf_free(w.half[i]);
    }
    mt_dev_close(w.dev);
    mt_free(w.ctx, list);
    mt_ctx_free(w.ctx);
    return code;
}
