/* fuse.c -- what products do for the layers behind them: a network in which activation, dropout and
 * residual sum are done by the products before them gives the same weights, to the last bit, and
 * the same output as the same network with a step for each, which have their own suites; with
 * whole and partial batches, one call or micro-batches, in f32 and bf16. */
#include "base/rng.h"
#include "config/config.h"
#include "device/buf.h"
#include "graph/exec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devkit.h"

enum { B = 10, T = 3, IN = 9, OUT = 4, MOST = 65536 };

/* Rows of 37, 70 and 128: elements of a sample are drawn in blocks of 64. */
static const char text[] =
    "model: [linear: 37, relu, {dropout: 0.3},\n"
    "        {residual: [{linear: 70}, gelu, {linear: 37}, {dropout: 0.2}]},\n"
    "        {residual: [{linear: 37}]}, linear: 128, {dropout: 0.5}, tanh, {dropout: 0.1},\n"
    "        flatten, linear: 4]\n"
    "loss: cross_entropy\n"
    "optimizer: {type: momentum, lr: 0.1}\n";

struct net {
    struct mt_config *config;
    struct mt_graph *graph, *eval_graph;
    struct mt_optim *optim;
    struct mt_store *store;
    struct mt_exec *train, *eval;
    struct mt_buf *xbuf, *ybuf;
    struct mt_batch batch;
};

static void ok(int code)
{
    if (code < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

/* Back to a step for each node. Returns how many had none. */
static int undo(struct mt_graph *g)
{
    int n = 0;

    for (int i = 0; i < g->nnode; i++) {
        n += g->node[i].fused;
        g->node[i].fused = g->node[i].passes = 0;
        g->node[i].n.gain = 0;
        g->node[i].residual = -1;
        g->node[i].n.act = MT_GEMM_NOACT;
        g->node[i].n.drops = NULL;
        g->node[i].n.adds = 0;
    }
    return n;
}

static void net_new(struct net *n, enum mt_dtype type, int micros, int fused)
{
    struct mt_spec x = mt_spec_new(type, 1, 3, (int64_t[]){(B + micros - 1) / micros, T, IN});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){(B + micros - 1) / micros});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = micros};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = micros, .seed = 3};
    struct mt_steps steps;

    memset(n, 0, sizeof *n);
    ok(mt_config_parse(ctx, text, "test", NULL, 0, &n->config));
    ok(mt_graph_build(ctx, n->config->model, n->config->loss, &x, &y, &n->graph));
    /* relu, dropout; dropout, sum; sum; dropout; not tanh, which keeps its result. */
    assert_true(fused || undo(n->graph) == 6);
    ok(mt_optim_new(ctx, n->config->optimizer, &n->optim));
    n->optim->storage = n->graph->storage;
    ok(mt_optim_bind(n->optim, dev));
    ok(mt_store_new(dev, n->graph, n->optim, 0, &n->store));
    ok(mt_store_init(n->store, n->graph, 1));
    opt.optim = n->optim;
    ok(mt_order(n->graph, &order, &steps));
    ok(mt_exec_new(dev, n->graph, n->store, &opt, &steps, &n->train));

    ok(mt_graph_rebatch(n->graph, B, &n->eval_graph));
    assert_true(fused || undo(n->eval_graph) == 6);
    order = (struct mt_order_opt){.mode = MT_EVAL, .micros = 1};
    opt = (struct mt_exec_opt){.mode = MT_EVAL, .micros = 1, .share = n->train,
                               .hold_output = 1};
    ok(mt_order(n->eval_graph, &order, &steps));
    ok(mt_exec_new(dev, n->eval_graph, n->store, &opt, &steps, &n->eval));
    ok(mt_buf_new(dev, B * T * IN * 4, "x", &n->xbuf));
    ok(mt_buf_new(dev, B * 4, "y", &n->ybuf));
    x.dtype = MT_F32;
    n->batch.x = (struct mt_tensor){.spec = x, .buf = n->xbuf};
    n->batch.y = (struct mt_tensor){.spec = y, .buf = n->ybuf};
}

static void net_free(struct net *n)
{
    mt_buf_free(n->ybuf);
    mt_buf_free(n->xbuf);
    mt_exec_free(n->eval);
    mt_exec_free(n->train);
    mt_store_free(n->store);
    mt_optim_free(n->optim);
    mt_graph_free(n->eval_graph);
    mt_graph_free(n->graph);
    mt_config_free(n->config);
}

/* Five steps, then the output of an evaluation; all weights and the output as bits. */
static void results(enum mt_dtype type, int micros, int fused, uint32_t *bits, uint64_t *count)
{
    struct net n;
    struct mt_tensor out;

    net_new(&n, type, micros, fused);
    for (int step = 0; step < 6; step++) {
        struct mt_rng_key key = mt_rng_key(5, MT_RNG_TEST, (uint64_t)step);
        float x[B * T * IN];
        int32_t y[B];

        for (uint64_t i = 0; i < B * T * IN; i++) {
            x[i] = (float)mt_rng_normal(key, i);
        }
        for (uint64_t i = 0; i < B; i++) {
            y[i] = (int32_t)(mt_rng_u32(key, 1000 + i) % OUT);
        }
        ok(mt_buf_write(n.xbuf, 0, sizeof x, x));
        ok(mt_buf_write(n.ybuf, 0, sizeof y, y));
        n.batch.rows = step == 2 ? 7 : step == 3 ? 1 : B;
        n.batch.first = 3 * step;
        n.batch.step = step;
        n.batch.lr = 0.1;
        ok(mt_exec_run(step < 5 ? n.train : n.eval, &n.batch));
    }
    out = mt_exec_output(n.eval);
    *count = n.graph->param_size;
    assert_true(*count + B * OUT <= MOST);
    ok(mt_buf_read(n.store->param, 0, *count * 4, bits));
    ok(mt_buf_read(out.buf, out.off * (uint64_t)mt_dtype_bytes(out.spec.dtype),
                   (uint64_t)(B * OUT * mt_dtype_bytes(out.spec.dtype)), bits + *count));
    *count += (uint64_t)(B * OUT * mt_dtype_bytes(out.spec.dtype)) / 4;
    net_free(&n);
}

static void same_bits(void **state)
{
    static uint32_t one[MOST], each[MOST];

    (void)state;
    for (int trial = 0; trial < 4; trial++) {
        enum mt_dtype type = trial % 2 ? MT_BF16 : MT_F32;
        uint64_t n, m;

        results(type, 1 + trial / 2 * 3, 1, one, &n);
        results(type, 1 + trial / 2 * 3, 0, each, &m);
        assert_int_equal(n, m);
        for (uint64_t i = 0; i < n; i++) {
            assert_int_equal(one[i], each[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits)};
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
