/* precision.c -- a network trained with values stored as bf16 and fp16: losses and weights stay
 * near those of fp32, the memory of activations halves, working copies are the weights rounded, a
 * step allocates nothing; with an artificially large loss scale steps are skipped, which changes
 * nothing but the scale, until gradients are numbers again; a cast in the model back to fp32. */
#include "base/half.h"
#include "base/rng.h"
#include "config/config.h"
#include "device/buf.h"
#include "device/cast.h"
#include "graph/exec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devkit.h"

enum { B = 16, IN = 30, OUT = 5, ROOM = 4096 };

#define REST "loss: cross_entropy\noptimizer: {type: sgd, lr: 0.5}\n"
#define TEXT "model: [flatten, linear: 24, tanh, {residual: [linear: 24, gelu]}, linear: 5]\n" REST
#define BACK "model: [flatten, linear: 24, tanh, cast: fp32, linear: 5]\n" REST

struct net {
    struct mt_config *config;
    struct mt_graph *graph;
    struct mt_optim *optim;
    struct mt_store *store;
    struct mt_exec *exec;
    struct mt_buf *xbuf, *ybuf;
    struct mt_batch batch;
};

static void ok(int code)
{
    if (code < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static void net_new(struct net *n, const char *text, enum mt_dtype storage)
{
    struct mt_spec x = mt_spec_new(storage, 1, 2, (int64_t[]){B, IN});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){B});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 1, .clip = storage == MT_FP16};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = 1, .seed = 1};
    struct mt_steps steps;

    memset(n, 0, sizeof *n);
    ok(mt_config_parse(ctx, text, "test", NULL, 0, &n->config));
    ok(mt_graph_build(ctx, n->config->model, n->config->loss, &x, &y, &n->graph));
    assert_int_equal(n->graph->storage, storage);
    ok(mt_optim_new(ctx, n->config->optimizer, &n->optim));
    n->optim->storage = storage;
    ok(mt_optim_bind(n->optim, dev));
    ok(mt_store_new(dev, n->graph, n->optim, 0, &n->store));
    ok(mt_store_init(n->store, n->graph, 1));
    ok(mt_store_set_loss_scale(n->store, 1024, 0));
    opt.optim = n->optim;
    ok(mt_order(n->graph, &order, &steps));
    ok(mt_exec_new(dev, n->graph, n->store, &opt, &steps, &n->exec));
    ok(mt_buf_new(dev, B * IN * 4, "x", &n->xbuf));
    ok(mt_buf_new(dev, B * 4, "y", &n->ybuf));
    x.dtype = MT_F32;
    n->batch = (struct mt_batch){.x = {.spec = x, .buf = n->xbuf},
                                 .y = {.spec = y, .buf = n->ybuf}, .rows = B, .lr = 0.5};
}

static void net_free(struct net *n)
{
    mt_buf_free(n->ybuf);
    mt_buf_free(n->xbuf);
    mt_exec_free(n->exec);
    mt_store_free(n->store);
    mt_optim_free(n->optim);
    mt_graph_free(n->graph);
    mt_config_free(n->config);
}

/* One step; gives the scalars of it. */
static void run(struct net *n, int step, float scalar[MT_SCALARS])
{
    struct mt_rng_key key = mt_rng_key(5, MT_RNG_TEST, (uint64_t)step);
    float x[B * IN];
    int32_t y[B];

    for (uint64_t i = 0; i < B * IN; i++) {
        x[i] = (float)mt_rng_normal(key, i);
    }
    for (uint64_t i = 0; i < B; i++) {
        y[i] = (int32_t)(mt_rng_u32(key, 1000 + i) % OUT);
    }
    ok(mt_buf_write(n->xbuf, 0, sizeof x, x));
    ok(mt_buf_write(n->ybuf, 0, sizeof y, y));
    n->batch.step = step;
    ok(mt_exec_run(n->exec, &n->batch));
    ok(mt_buf_read(n->store->scalar, 0, MT_SCALARS * sizeof *scalar, scalar));
}

/* Weights, and their working copies as floats. */
static uint64_t read_weights(struct net *n, float *w, float *copy)
{
    struct mt_tensor t = {.spec = mt_spec_new(n->store->storage, 0, 1,
                                              &(int64_t){(int64_t)n->store->size}),
                          .buf = n->store->work};

    assert_true(n->store->size <= ROOM);
    ok(mt_buf_read(n->store->param, 0, n->store->size * 4, w));
    ok(mt_cast_read(ctx, &t, copy));
    return n->store->size;
}

static void check_copies(struct net *n, enum mt_dtype storage)
{
    float w[ROOM], copy[ROOM];
    uint64_t size = read_weights(n, w, copy);

    for (uint64_t i = 0; i < size; i++) {
        float want = storage == MT_BF16   ? mt_half_from_bf16(mt_half_to_bf16(w[i]))
                     : storage == MT_FP16 ? mt_half_from_fp16(mt_half_to_fp16(w[i]))
                                          : w[i];

        assert_true(copy[i] == want);
    }
}

/* The loss of step 0 differs by the rounding of samples, weights and six values on the way, by u
 * relative each; logits and loss are of order one, so 10 u is wide. Later steps differ by what the
 * weights differ, too: 10 steps of samples without a rule do not take them far. */
static void losses_stay_near_those_of_fp32(void **state)
{
    static const enum mt_dtype storages[] = {MT_BF16, MT_FP16};

    (void)state;
    for (int t = 0; t < 2; t++) {
        double u = storages[t] == MT_BF16 ? 0x1p-8 : 0x1p-11;
        struct net exact, half;

        net_new(&exact, TEXT, MT_F32);
        net_new(&half, TEXT, storages[t]);
        check_copies(&half, storages[t]);
        for (int step = 0; step < 10; step++) {
            float a[MT_SCALARS], b[MT_SCALARS];

            run(&exact, step, a);
            run(&half, step, b);
            assert_true(b[MT_SCALAR_COUNT] == B);
            assert_true(fabs(b[MT_SCALAR_LOSS] / a[MT_SCALAR_LOSS] - 1) < 10 * u);
            assert_true(b[MT_SCALAR_SKIPPED] == 0);
            if (storages[t] == MT_FP16) {
                assert_true(b[MT_SCALAR_LOSS_SCALE] == 1024);
                assert_true(b[MT_SCALAR_STREAK] == (float)(step + 1));
            }
        }
        check_copies(&half, storages[t]);
        net_free(&half);
        net_free(&exact);
    }
}

/* Values and gradients; scratch apart. */
static uint64_t activation_bytes(const struct net *n)
{
    uint64_t sum = 0;

    for (int i = 0; i < n->exec->plan->n; i++) {
        const struct mt_placed *p = &n->exec->plan->placed[i];

        if (p->arena >= 0 && p->item.kind <= MT_ITEM_GRAD) {
            sum += mt_spec_bytes(&n->graph->value[p->item.id].spec);
        }
    }
    return sum;
}

static void memory_of_activations_halves(void **state)
{
    uint64_t stats = MT_STATS * 4, samples = B * IN * 2;
    struct net exact, half;

    (void)state;
    net_new(&exact, TEXT, MT_F32);
    net_new(&half, TEXT, MT_BF16);
    /* Besides: the samples in bf16, which those of fp32 are themselves. */
    assert_int_equal(2 * (activation_bytes(&half) - samples - stats),
                     activation_bytes(&exact) - stats);
    net_free(&half);
    net_free(&exact);
}

static void a_step_that_overflows_is_skipped(void **state)
{
    float before[ROOM], after[ROOM], copy[ROOM], copy_after[ROOM], scalar[MT_SCALARS];
    double scale = 0x1p40;
    struct net n;
    int skipped = 0, step = 0;

    (void)state;
    net_new(&n, TEXT, MT_FP16);
    ok(mt_store_set_loss_scale(n.store, scale * 1.9, 0));   /* taken down to a power of two */
    for (; step < 60; step++) {
        uint64_t size = read_weights(&n, before, copy);

        run(&n, step, scalar);
        assert_true(isfinite(scalar[MT_SCALAR_LOSS]) && isfinite(scalar[MT_SCALAR_NORM]));
        if (scalar[MT_SCALAR_SCALE] != 0) {
            break;
        }
        scale /= 2;
        skipped++;
        assert_true(scalar[MT_SCALAR_LOSS_SCALE] == (float)scale);
        assert_true(scalar[MT_SCALAR_SKIPPED] == (float)skipped);
        read_weights(&n, after, copy_after);
        assert_memory_equal(before, after, size * 4);
        assert_memory_equal(copy, copy_after, size * 4);
    }
    /* Gradients are of order one: they fit below 65504 at a scale not far below 2^16. */
    assert_true(scale <= 0x1p18 && scale >= 0x1p10 && skipped > 20);
    assert_true(scalar[MT_SCALAR_LOSS_SCALE] == (float)scale && scalar[MT_SCALAR_STREAK] == 1);
    read_weights(&n, after, copy_after);
    assert_memory_not_equal(before, after, 4 * 24 * IN);
    check_copies(&n, MT_FP16);
    net_free(&n);
}

static void a_cast_in_the_model_goes_back(void **state)
{
    float scalar[MT_SCALARS];
    float last = INFINITY;
    struct net n;

    (void)state;
    net_new(&n, BACK, MT_BF16);
    assert_int_equal(n.graph->value[n.graph->output].spec.dtype, MT_F32);
    for (int step = 0; step < 5; step++) {
        run(&n, 0, scalar);   /* the same samples: the loss falls */
        assert_true(scalar[MT_SCALAR_LOSS] < last);
        last = scalar[MT_SCALAR_LOSS];
    }
    check_copies(&n, MT_BF16);
    net_free(&n);
}

static void a_step_allocates_nothing(void **state)
{
    float scalar[MT_SCALARS];
    int64_t requests;
    uint64_t buffers;
    struct net n;

    (void)state;
    net_new(&n, TEXT, MT_FP16);
    run(&n, 0, scalar);
    buffers = mt_dev_allocations(dev);
    requests = mt_mem_requests(ctx);
    for (int step = 1; step < 5; step++) {
        run(&n, step, scalar);
    }
    assert_int_equal(mt_dev_allocations(dev), buffers);
    assert_int_equal(mt_mem_requests(ctx), requests);
    net_free(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_stay_near_those_of_fp32),
        cmocka_unit_test(memory_of_activations_halves),
        cmocka_unit_test(a_step_that_overflows_is_skipped),
        cmocka_unit_test(a_cast_in_the_model_goes_back),
        cmocka_unit_test(a_step_allocates_nothing),
    };
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
