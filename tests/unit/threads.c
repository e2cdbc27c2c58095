/* threads.c -- contexts of several threads do not disturb each other: each thread has a context, a
 * device and products of its own, and all make their first one at the same moment; small integers,
 * so that every result is exact, against a loop in double. With the provider that motley takes, and
 * with CLBlast, whose own state belongs to the process. The first test is also the first time that
 * OpenCL is asked for devices, by all threads at once. */
#define _POSIX_C_SOURCE 200809L   /* barriers */
#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/gemm_impl.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 4, SIDE = 48, ROOM = SIDE * SIDE, TIMES = 20 };

struct worker {
    pthread_t thread;
    pthread_barrier_t *start;
    const char *provider, *form;     /* provider NULL: motley's choice */
    int index, none;                 /* none: no device, or the provider is not there */
    int st;
    int64_t wrong;                   /* elements */
    char why[256];
};

static float number(const struct worker *w, int matrix, int i)
{
    return (float)((i * 7 + matrix * 3 + w->index * 5) % 11 - 5);
}

/* C = A B^T. */
static int64_t count_wrong(const struct worker *w, const float *c)
{
    int64_t wrong = 0;

    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            double sum = 0;

            for (int l = 0; l < SIDE; l++) {
                sum += (double)number(w, 0, i * SIDE + l) * (double)number(w, 1, j * SIDE + l);
            }
            wrong += (double)c[i * SIDE + j] != sum;
        }
    }
    return wrong;
}

static int multiply(struct worker *w, struct mt_dev *dev)
{
    struct mt_gemm g = {.trans_b = 1, .m = SIDE, .n = SIDE, .k = SIDE, .batch = 1, .alpha = 1.0f};
    struct mt_tensor t[4] = {{.buf = NULL}};
    struct mt_gemm_plan *plan = NULL;
    float x[ROOM];
    int st = w->provider != NULL ? mt_gemm_plan_with(dev, &g, w->provider, w->form, 1, &plan)
                                 : mt_gemm_plan_new(dev, &g, &plan);

    w->none = st == MOTLEY_EUNSUP;
    MT_TRY(st);
    for (int i = 0; i < 4; i++) {
        uint64_t bytes = i < 3 ? sizeof x : mt_gemm_plan_scratch(plan) + 4096;

        MT_TRY_OR(done, mt_buf_new(dev, bytes, "test", &t[i].buf));
        for (int j = 0; j < ROOM; j++) {
            x[j] = number(w, i, j);
        }
        MT_TRY_OR(done, i < 2 ? mt_buf_write(t[i].buf, 0, sizeof x, x) : MOTLEY_OK);
    }
    for (int i = 0; i < TIMES; i++) {
        MT_TRY_OR(done, mt_gemm_run(plan, SIDE, &t[0], &t[1], 0.0f, &t[2], NULL, &t[3]));
        MT_TRY_OR(done, mt_buf_read(t[2].buf, 0, sizeof x, x));
        w->wrong += count_wrong(w, x);
    }
done:
    for (int i = 0; i < 4; i++) {
        mt_buf_free(t[i].buf);
    }
    mt_gemm_plan_free(plan);
    return st;
}

static int work_on(struct worker *w, struct mt_ctx *ctx)
{
    struct mt_dev_info *list = NULL;
    struct mt_dev *dev = NULL;
    int n = 0, st;

    MT_TRY_OR(done, mt_dev_prepare(ctx));
    MT_TRY_OR(done, mt_dev_list(ctx, &list, &n));
    w->none = n == 0;
    MT_TRY_OR(done, n > 0 ? mt_dev_open(ctx, &list[n - 1], 1, &dev) : MOTLEY_OK);
done:
    pthread_barrier_wait(w->start);
    st = st == MOTLEY_OK && dev != NULL ? multiply(w, dev) : st;
    mt_dev_close(dev);
    mt_free(ctx, list);
    return st;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct mt_ctx *ctx = NULL;

    w->st = mt_ctx_new(NULL, NULL, &ctx);
    if (w->st == MOTLEY_OK) {
        w->st = work_on(w, ctx);
    } else {
        pthread_barrier_wait(w->start);
    }
    snprintf(w->why, sizeof w->why, "%s", w->st < 0 ? mt_err_text() : "");
    mt_ctx_free(ctx);
    return NULL;
}

static void all_at_once(const char *provider, const char *form)
{
    struct worker all[THREADS] = {{0}};
    pthread_barrier_t start;
    int none = 0;

    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) {
        all[i].index = i;
        all[i].provider = provider;
        all[i].form = form;
        all[i].start = &start;
        assert_int_equal(pthread_create(&all[i].thread, NULL, work, &all[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(all[i].thread, NULL), 0);
        none += all[i].none;
    }
    assert_int_equal(pthread_barrier_destroy(&start), 0);
    if (none == THREADS) {
        printf("SKIP %s: no device, or not built in\n", provider != NULL ? provider : "opencl");
        skip();
    }
    for (int i = 0; i < THREADS; i++) {
        if (all[i].st < 0 || all[i].wrong > 0) {
            fail_msg("thread %d: %d elements of %d are wrong: %s", i, (int)all[i].wrong,
                     TIMES * ROOM, all[i].why);
        }
    }
}

static void motley_chooses(void **state)
{
    (void)state;
    all_at_once(NULL, "");
}

static void clblast(void **state)
{
    (void)state;
    all_at_once("clblast", "MIN=1,KWG=16,KWI=2,MDIMA=1,MDIMC=1,MWG=16,NDIMB=1,NDIMC=1,NWG=8,"
                           "SA=0,SB=0,STRM=0,STRN=0,VWM=4,VWN=4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(clblast),
                                       cmocka_unit_test(motley_chooses)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
