/* slow.c -- proves what the aids for uneven clusters promise. A slow device: the executor idles
 * (slow - 1) times what its steps took, within an own clock's interval, from the step that was
 * asked for on, and the results are the same bits. Limits of memory: an allocation above
 * device.memory or device.max_alloc is refused, the word is in the message, and taking the limit
 * away brings back what the device has. */
#define _POSIX_C_SOURCE 200809L
#include "config/config.h"
#include "device/buf.h"
#include "graph/exec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "devkit.h"

enum { B = 32, IN = 64, OUT = 8 };

static double idled;   /* what the executor asked for */
static int naps;

static void ok(int code)
{
    if (code < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

/* A clock that stands still: nobody sleeps, so nothing that was owed is paid by accident. */
static int count_idle(struct mt_exec *x, double seconds)
{
    idled += seconds;
    x->owed = 0;
    naps++;
    return MOTLEY_OK;
}

/* Trains `steps` steps; the gradients of the last one into got. Gives the seconds it took. */
static double train(double slow, int64_t from, int steps, float *got)
{
    static const char text[] = "model: [{linear: 64}, relu, {linear: 8}]\nloss: mse\n";
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){B, IN});
    struct mt_spec y = mt_spec_new(MT_F32, 1, 2, (int64_t[]){B, OUT});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 1};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = 1, .slow = slow, .slow_from = from};
    struct mt_tree type = {.kind = MT_TREE_SCALAR, .text = "sgd"};
    struct mt_batch batch = {.rows = B, .lr = 0.01};
    struct mt_config *config = NULL;
    struct mt_graph *g = NULL;
    struct mt_optim *optim = NULL;
    struct mt_store *store = NULL;
    struct mt_exec *exec = NULL;
    struct mt_steps list;
    double took = 0;

    ok(mt_config_parse(ctx, text, "test", NULL, 0, &config));
    ok(mt_graph_build(ctx, config->model, config->loss, &x, &y, &g));
    ok(mt_optim_new(ctx, &type, &optim));
    ok(mt_optim_bind(optim, dev));
    ok(mt_store_new(dev, g, optim, 0, &store));
    ok(mt_store_init(store, g, 1));
    opt.optim = optim;
    ok(mt_order(g, &order, &list));
    ok(mt_exec_new(dev, g, store, &opt, &list, &exec));
    exec->idle = count_idle;
    batch.x.spec = x;
    batch.y.spec = y;
    ok(mt_buf_new(dev, B * IN * 4, "x", &batch.x.buf));
    ok(mt_buf_new(dev, B * OUT * 4, "y", &batch.y.buf));
    ok(mt_buf_fill(batch.x.buf, 0, B * IN * 4, 0x3f000000));
    ok(mt_buf_fill(batch.y.buf, 0, B * OUT * 4, 0));
    ok(mt_dev_finish(dev));
    idled = 0;
    naps = 0;
    for (batch.step = 0; batch.step < steps; batch.step++) {
        struct timespec a, b;

        clock_gettime(CLOCK_MONOTONIC, &a);
        ok(mt_exec_run(exec, &batch));
        ok(mt_dev_finish(dev));
        clock_gettime(CLOCK_MONOTONIC, &b);
        if (batch.step >= from) {
            took += (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
        }
    }
    ok(mt_buf_read(store->grad, 0, store->size * 4, got));
    mt_buf_free(batch.y.buf);
    mt_buf_free(batch.x.buf);
    mt_exec_free(exec);
    mt_store_free(store);
    mt_optim_free(optim);
    mt_graph_free(g);
    mt_config_free(config);
    return took;
}

static void a_slow_device_idles_in_proportion(void **state)
{
    static float plain[8192], slow[8192];
    double took;

    (void)state;
    train(1, 0, 4, plain);
    assert_int_equal(naps, 0);
    took = train(1000, 2, 4, slow);
    assert_int_equal(naps, 2);   /* of the steps 2 and 3: nothing ends the stretch within one */
    assert_memory_equal(plain, slow, sizeof plain);
    /* What was timed lies within our own clock's interval, and two steps of several kernels take
     * longer than 10 microseconds anywhere. */
    assert_true(idled <= 999 * took);
    assert_true(idled >= 999 * 10e-6);
}

static void refused(int code, const char *word)
{
    assert_int_equal(code, MOTLEY_EDEV);
    if (strstr(mt_err_text(), word) == NULL) {
        fail_msg("'%s' is not in: %s", word, mt_err_text());
    }
}

static void limits_hold_and_are_named(void **state)
{
    uint64_t all = mt_dev_info(dev)->memory_bytes, piece = mt_dev_info(dev)->max_alloc_bytes;
    struct mt_buf *a = NULL, *b = NULL;

    (void)state;
    mt_dev_limit(dev, 1 << 20, 0);
    ok(mt_buf_new(dev, 768 << 10, "a", &a));
    refused(mt_buf_new(dev, 512 << 10, "b", &b), "(device.memory)");
    mt_dev_limit(dev, 0, 256 << 10);
    refused(mt_buf_new(dev, 512 << 10, "b", &b), "(device.max_alloc)");
    mt_dev_limit(dev, 0, 0);
    ok(mt_buf_new(dev, 512 << 10, "b", &b));
    assert_true(mt_dev_info(dev)->memory_bytes == all);
    assert_true(mt_dev_info(dev)->max_alloc_bytes == piece);
    mt_dev_limit(dev, 2 * all, 2 * piece);   /* more than there is */
    assert_true(mt_dev_info(dev)->memory_bytes == all);
    refused(mt_buf_new(dev, piece + 4, "c", &b), "(CL_DEVICE_MAX_MEM_ALLOC_SIZE)");
    mt_dev_limit(dev, 0, 0);
    mt_buf_free(b);
    mt_buf_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_slow_device_idles_in_proportion),
                                       cmocka_unit_test(limits_hold_and_are_named)};
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
