/* sharing.c -- two promises of the executor. Sharing memory changes no bit: random networks of real
 * operations (in-place results, views, values with several readers, add, dropout) give the same
 * gradients and output whether memory is shared as far as the plan can, or every result has memory
 * of its own and all of it is kept until backward. And lack of host memory at any request leaves
 * nothing behind. */
#include "base/rng.h"
#include "config/config.h"
#include "device/buf.h"
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

enum { B = 6, W = 9, CLASSES = W, NODES = 14, OPS = 9, MOST = 4096 };

static const char *const words[OPS] = {"linear", "relu", "tanh", "dropout", "gelu", "flatten",
                                       "add", "sigmoid", "leaky_relu"};
static struct mt_op apart[OPS];   /* the same operations, sharing nothing */

static void ok(int code)
{
    if (code < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static int pick(struct mt_rng_key key, uint64_t *draw, int n)
{
    return (int)(mt_rng_u32(key, (*draw)++) % (uint32_t)n);
}

static void build(int trial, int alone, int rows, struct mt_graph **out)
{
    struct mt_rng_key key = mt_rng_key(3, MT_RNG_TEST, (uint64_t)trial);
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){rows, W});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){rows});
    struct mt_graph *g = NULL;
    union mt_attr_val attr[MT_MAXATTR];
    int value[NODES + 1] = {0}, n = 0, v, in[2];
    uint64_t draw = 0;

    ok(mt_graph_new(ctx, &x, &y, &g));
    value[n++] = g->x;
    for (int i = 0; i < NODES; i++) {
        int o = i == 0 ? 0 : pick(key, &draw, OPS);
        const struct mt_op *op = alone ? &apart[o] : mt_op_find(words[o]);

        in[0] = pick(key, &draw, 3) ? value[n - 1] : value[pick(key, &draw, n)];
        in[1] = value[pick(key, &draw, n)];
        memset(attr, 0, sizeof attr);
        for (int a = 0; op->attrs != NULL && op->attrs[a].name != NULL; a++) {
            attr[a] = op->attrs[a].def;
        }
        if (o == 0) {
            attr[0].i = W;
        }
        ok(mt_graph_add(g, op, NULL, attr, in, o == 6 ? 2 : 1, &value[n]));
        n++;
    }
    in[0] = v = value[n - 1];
    in[1] = g->y;
    memset(attr, 0, sizeof attr);
    ok(mt_graph_add(g, mt_op_find("cross_entropy"), NULL, attr, in, 2, &in[1]));
    ok(mt_graph_finish(g, v, g->nnode - 1));
    *out = g;
}

/* Gradients and statistics of one training call, then the output, into `got`. */
static int run(int trial, int alone, int micros, float *got)
{
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = micros};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = micros, .seed = 1,
                              .hold_output = micros == 1};
    struct mt_rng_key key = mt_rng_key(4, MT_RNG_TEST, (uint64_t)trial);
    struct mt_tree type = {.kind = MT_TREE_SCALAR, .text = "sgd"};
    float x[B * W];
    int32_t y[B];
    struct mt_graph *g = NULL;
    struct mt_optim *optim = NULL;
    struct mt_store *store = NULL;
    struct mt_exec *exec = NULL;
    struct mt_batch batch = {.rows = B, .lr = 0};
    struct mt_steps steps;
    struct mt_tensor out;
    int n;

    build(trial, alone, (B + micros - 1) / micros, &g);
    ok(mt_optim_new(ctx, &type, &optim));
    ok(mt_optim_bind(optim, dev));
    ok(mt_store_new(dev, g, optim, 0, &store));
    ok(mt_store_init(store, g, 1));
    opt.optim = optim;
    ok(mt_order(g, &order, &steps));
    ok(mt_exec_new(dev, g, store, &opt, &steps, &exec));
    for (int i = 0; i < B * W; i++) {
        x[i] = (float)mt_rng_normal(key, (uint64_t)i);
    }
    if (trial % 5 == 4) {
        x[W + 1] = NAN;   /* whoever computes an activation, what is wrong stays visible */
    }
    for (int i = 0; i < B; i++) {
        y[i] = (int32_t)(mt_rng_u32(key, 1000 + (uint64_t)i) % CLASSES);
    }
    batch.x.spec = g->value[g->x].spec;
    batch.y.spec = g->value[g->y].spec;
    ok(mt_buf_new(dev, sizeof x, "x", &batch.x.buf));
    ok(mt_buf_new(dev, sizeof y, "y", &batch.y.buf));
    ok(mt_buf_write(batch.x.buf, 0, sizeof x, x));
    ok(mt_buf_write(batch.y.buf, 0, sizeof y, y));
    ok(mt_exec_run(exec, &batch));
    n = (int)store->size + MT_STATS;
    assert_true(n + B * W <= MOST);
    ok(mt_buf_read(store->grad, 0, (uint64_t)n * 4, got));
    if (micros == 1) {
        out = mt_exec_output(exec);
        ok(mt_buf_read(out.buf, out.off * 4, sizeof x, got + n));
        n += B * W;
    }
    mt_buf_free(batch.y.buf);
    mt_buf_free(batch.x.buf);
    mt_exec_free(exec);
    mt_store_free(store);
    mt_optim_free(optim);
    mt_graph_free(g);
    return n;
}

static int same(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static void sharing_changes_no_bit(void **state)
{
    static float a[MOST], b[MOST];

    (void)state;
    for (int trial = 0; trial < 40; trial++) {
        int micros = 1 + trial % 2, n = run(trial, 0, micros, a);

        assert_int_equal(run(trial, 1, micros, b), n);
        for (int i = 0; i < n; i++) {
            if (!same(a[i], b[i])) {
                fail_msg("network %d: number %d is %g, with memory of its own %g", trial, i,
                         (double)a[i], (double)b[i]);
            }
        }
    }
}

/* Everything that a training needs; whatever fails, what was made is released again. */
static int make_all(const struct mt_tree *model, const struct mt_tree *loss)
{
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){B, W});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){B});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 2, .clip = 1};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = 2, .clip_norm = 1};
    struct mt_tree type = {.kind = MT_TREE_SCALAR, .text = "adam"};
    struct mt_graph *g = NULL, *again = NULL;
    struct mt_optim *optim = NULL;
    struct mt_store *store = NULL;
    struct mt_exec *exec = NULL;
    struct mt_steps steps = {0};
    int st;

    MT_TRY_OR(end, mt_graph_build(ctx, model, loss, &x, &y, &g));
    MT_TRY_OR(end, mt_graph_rebatch(g, 2, &again));
    MT_TRY_OR(end, mt_optim_new(ctx, &type, &optim));
    MT_TRY_OR(end, mt_optim_bind(optim, dev));
    MT_TRY_OR(end, mt_store_new(dev, g, optim, 0, &store));
    MT_TRY_OR(end, mt_store_init(store, g, 1));
    opt.optim = optim;
    MT_TRY_OR(end, mt_order(g, &order, &steps));
    MT_TRY_OR(end, mt_exec_new(dev, g, store, &opt, &steps, &exec));
end:
    mt_exec_free(exec);
    mt_steps_fini(&steps);
    mt_store_free(store);
    mt_optim_free(optim);
    mt_graph_free(again);
    mt_graph_free(g);
    return st;
}

static void no_memory_leaves_nothing(void **state)
{
    static const char text[] = "model:\n"
                               "  - linear: 9\n"
                               "  - residual: [linear: {size: 9, init: orthogonal}, relu]\n"
                               "  - dropout\n"
                               "loss: cross_entropy\n";
    struct mt_config *config = NULL;
    int64_t live;
    int failed = 0, st = -1;

    (void)state;
    ok(mt_config_parse(ctx, text, "test", NULL, 0, &config));
    ok(make_all(config->model, config->loss));   /* programs stay with the device */
    live = ctx->mem.live;
    for (int k = 1; st < 0; k++) {
        ctx->mem.fail_at = ctx->mem.requests + k;
        st = make_all(config->model, config->loss);
        failed += st < 0;
        assert_true(st == MOTLEY_OK || st == MOTLEY_EMEM);
        assert_int_equal(ctx->mem.live, live);
    }
    ctx->mem.fail_at = 0;
    assert_true(failed > 50);
    mt_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sharing_changes_no_bit),
                                       cmocka_unit_test(no_memory_leaves_nothing)};
    int code = devkit_open();

    if (code != 0) {
        return code;
    }
    for (int i = 0; i < OPS; i++) {
        apart[i] = *mt_op_find(words[i]);
        if (!(apart[i].flags & MT_OP_VIEW)) {
            apart[i].flags = 0;
            apart[i].keep = MT_KEEP_IN | MT_KEEP_OUT;
        }
    }
    return devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
