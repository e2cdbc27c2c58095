/* exec.c -- small networks (linear, tanh or relu, linear, cross entropy) trained through graph,
 * plan and executor against the same training written out in double; one call or several
 * micro-batches, full and partial batches, a rank without samples, evaluation beside training;
 * and a step that allocates nothing, counted. */
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

enum { B = 12, IN = 5, HIDE = 7, OUT = 3 };

/* relu is done by the product before it, tanh is a step of its own. */
static const char *const texts[2] = {
    "model: [flatten, linear: 7, tanh, linear: 3]\n"
    "loss: cross_entropy\n"
    "optimizer: {type: sgd, lr: 0.5}\n",
    "model: [flatten, linear: 7, relu, linear: 3]\n"
    "loss: cross_entropy\n"
    "optimizer: {type: sgd, lr: 0.5}\n"};

static int relu;   /* which of the two */

/* ---- the oracle: the same network in double ---- */

struct oracle {
    double w1[HIDE][IN], b1[HIDE], w2[OUT][HIDE], b2[OUT];
};

/* One step of gradient descent on the mean loss of n samples; returns the sum of the losses. */
static double oracle_step(struct oracle *o, const float *x, const int32_t *y, int n, double lr)
{
    struct oracle g;
    double loss = 0;

    memset(&g, 0, sizeof g);
    for (int s = 0; s < n; s++) {
        double h[HIDE], z[OUT], dh[HIDE] = {0}, sum = 0;

        for (int i = 0; i < HIDE; i++) {
            h[i] = o->b1[i];
            for (int k = 0; k < IN; k++) {
                h[i] += o->w1[i][k] * x[s * IN + k];
            }
            h[i] = relu ? fmax(h[i], 0) : tanh(h[i]);
        }
        for (int i = 0; i < OUT; i++) {
            z[i] = o->b2[i];
            for (int k = 0; k < HIDE; k++) {
                z[i] += o->w2[i][k] * h[k];
            }
            sum += exp(z[i]);
        }
        loss += log(sum) - z[y[s]];
        for (int i = 0; i < OUT; i++) {
            double d = exp(z[i]) / sum - (i == y[s]);

            g.b2[i] += d;
            for (int k = 0; k < HIDE; k++) {
                g.w2[i][k] += d * h[k];
                dh[k] += d * o->w2[i][k];
            }
        }
        for (int i = 0; i < HIDE; i++) {
            double d = dh[i] * (relu ? h[i] > 0 : 1 - h[i] * h[i]);

            g.b1[i] += d;
            for (int k = 0; k < IN; k++) {
                g.w1[i][k] += d * x[s * IN + k];
            }
        }
    }
    for (size_t i = 0; i < sizeof g / sizeof(double); i++) {
        ((double *)o)[i] -= lr / n * ((double *)&g)[i];
    }
    return loss;
}

/* ---- the same through the library ---- */

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

/* Every backward with data and parameter gradients as two steps, as zero-bubble orders have it. */
static void split(struct mt_steps *steps)
{
    struct mt_steps out = {.ctx = ctx};

    for (int i = 0; i < steps->n; i++) {
        struct mt_step s = steps->step[i], data = s;

        if (s.want == (MT_WANT_DATA | MT_WANT_PARAM)) {
            data.want = MT_WANT_DATA;
            data.acc_param = 0;
            ok(mt_steps_add(&out, &data));
            s.want = MT_WANT_PARAM;
            s.acc_in = 0;
        }
        ok(mt_steps_add(&out, &s));
    }
    mt_steps_fini(steps);
    *steps = out;
}

static void net_new_split(struct net *n, int micros, int apart)
{
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){(B + micros - 1) / micros, IN});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){(B + micros - 1) / micros});
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = micros};
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = micros, .seed = 1};
    struct mt_steps steps;

    memset(n, 0, sizeof *n);
    ok(mt_config_parse(ctx, texts[relu], "test", NULL, 0, &n->config));
    ok(mt_graph_build(ctx, n->config->model, n->config->loss, &x, &y, &n->graph));
    ok(mt_optim_new(ctx, n->config->optimizer, &n->optim));
    ok(mt_optim_bind(n->optim, dev));
    ok(mt_store_new(dev, n->graph, n->optim, 0, &n->store));
    ok(mt_store_init(n->store, n->graph, 1));
    opt.optim = n->optim;
    ok(mt_order(n->graph, &order, &steps));
    if (apart) {
        split(&steps);
    }
    ok(mt_exec_new(dev, n->graph, n->store, &opt, &steps, &n->train));

    ok(mt_graph_rebatch(n->graph, B, &n->eval_graph));
    order = (struct mt_order_opt){.mode = MT_EVAL, .micros = 1};
    opt = (struct mt_exec_opt){.mode = MT_EVAL, .micros = 1, .share = n->train,
                               .hold_output = 1};
    ok(mt_order(n->eval_graph, &order, &steps));
    ok(mt_exec_new(dev, n->eval_graph, n->store, &opt, &steps, &n->eval));

    ok(mt_buf_new(dev, B * IN * 4, "x", &n->xbuf));
    ok(mt_buf_new(dev, B * 4, "y", &n->ybuf));
    n->batch.x = (struct mt_tensor){.spec = x, .buf = n->xbuf};
    n->batch.y = (struct mt_tensor){.spec = y, .buf = n->ybuf};
}

static void net_new(struct net *n, int micros)
{
    net_new_split(n, micros, 0);
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

static void samples(int step, float *x, int32_t *y)
{
    struct mt_rng_key key = mt_rng_key(5, MT_RNG_TEST, (uint64_t)step);

    for (uint64_t i = 0; i < B * IN; i++) {
        x[i] = (float)mt_rng_normal(key, i);
    }
    for (uint64_t i = 0; i < B; i++) {
        y[i] = (int32_t)(mt_rng_u32(key, 1000 + i) % OUT);
    }
}

static void run(struct net *n, int rows, int step)
{
    float x[B * IN];
    int32_t y[B];

    samples(step, x, y);
    ok(mt_buf_write(n->xbuf, 0, sizeof x, x));
    ok(mt_buf_write(n->ybuf, 0, sizeof y, y));
    n->batch.rows = rows;
    n->batch.step = step;
    n->batch.lr = 0.5;
    ok(mt_exec_run(n->train, &n->batch));
}

/* Weights in the order of the oracle's struct. */
static void read_weights(struct net *n, float *w)
{
    for (int i = 0; i < n->graph->nparam; i++) {
        struct mt_range r = n->graph->param[i].range;

        ok(mt_buf_read(n->store->param, r.lo * 4, (r.hi - r.lo) * 4, w));
        w += r.hi - r.lo;
    }
}

/* Every weight within 1e-5: 6 steps of rate 0.5, sums of at most 12 terms, all of order one,
 * leave fewer than 100 half-ulps. */
static void compare(struct net *n, const struct oracle *o)
{
    float w[sizeof *o / sizeof(double)];

    read_weights(n, w);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
        assert_true(fabs(w[i] - ((const double *)o)[i]) < 1e-5);
    }
}

static void start_oracle(struct net *n, struct oracle *o)
{
    float w[sizeof *o / sizeof(double)];

    read_weights(n, w);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++) {
        ((double *)o)[i] = w[i];
    }
}

static void training_is_that_of_the_formulas(void **state)
{
    (void)state;
    for (int trial = 0; trial < 6; trial++) {
        struct oracle o;
        struct net n;

        relu = trial % 2;
        net_new(&n, 1 + trial / 2 * 2);
        start_oracle(&n, &o);
        for (int step = 0; step < 6; step++) {
            int rows = step == 3 ? 7 : step == 4 ? 1 : B;   /* partial batches */
            float x[B * IN], scalar[MT_SCALARS];
            int32_t y[B];
            double loss;

            samples(step, x, y);
            loss = oracle_step(&o, x, y, rows, 0.5);
            run(&n, rows, step);
            ok(mt_buf_read(n.store->scalar, 0, sizeof scalar, scalar));
            assert_true(fabs(scalar[MT_SCALAR_LOSS] - loss) < 1e-5 * B);
            assert_true(scalar[MT_SCALAR_COUNT] == (float)rows);
            compare(&n, &o);
        }
        net_free(&n);
    }
}

static void no_samples_change_nothing(void **state)
{
    struct oracle o;
    struct net n;
    float stats[MT_STATS];

    (void)state;
    net_new(&n, 2);
    run(&n, B, 0);
    start_oracle(&n, &o);
    run(&n, 0, 1);   /* gradients of step 0 must not be used again */
    compare(&n, &o);
    ok(mt_buf_read(n.store->grad, n.store->size * 4, sizeof stats, stats));
    assert_true(stats[0] == 0 && stats[1] == 0 && stats[2] == 0);
    net_free(&n);
}

/* 3 rows in 5 micro-batches: the third is empty and must not wipe out what the second gave. */
static void data_and_parameter_gradients_apart(void **state)
{
    (void)state;
    for (int rows = 3; rows <= B; rows += 9) {
        struct oracle o;
        struct net n;
        float x[B * IN];
        int32_t y[B];

        net_new_split(&n, 5, 1);
        start_oracle(&n, &o);
        samples(0, x, y);
        oracle_step(&o, x, y, rows, 0.5);
        run(&n, rows, 0);
        compare(&n, &o);
        net_free(&n);
    }
}

/* What would write behind the planned memory, or give rows of one micro-batch as all of them. */
static void misuse_is_refused(void **state)
{
    struct mt_exec_opt opt = {.mode = MT_EVAL, .micros = 2, .hold_output = 1};
    struct mt_order_opt order = {.mode = MT_EVAL, .micros = 2};
    struct mt_steps steps;
    struct mt_exec *x = NULL;
    struct net n;

    (void)state;
    net_new(&n, 3);
    n.batch.rows = B + 1;
    assert_int_equal(mt_exec_run(n.train, &n.batch), MOTLEY_EBUG);
    n.batch.rows = -1;
    assert_int_equal(mt_exec_run(n.train, &n.batch), MOTLEY_EBUG);
    ok(mt_order(n.graph, &order, &steps));
    assert_int_equal(mt_exec_new(dev, n.graph, n.store, &opt, &steps, &x), MOTLEY_EBUG);
    mt_steps_fini(&steps);
    net_free(&n);
}

static int infer_statistics(struct mt_node *n)
{
    int64_t dim[1] = {4};

    n->nout = 1;
    n->out[0] = mt_spec_new(MT_F32, 0, 1, dim);
    return MOTLEY_OK;
}

static int fwd_statistics(const struct mt_node *n, const struct mt_io *io)
{
    (void)n;
    return mt_buf_fill(io->out[0].buf, io->out[0].off * 4, 16, 0x40e00000u);   /* 7 */
}

/* Values that are no samples must not keep what was in their memory when there are no samples. */
static void statistics_of_no_samples_are_zero(void **state)
{
    static const char *const no_kernels[] = {NULL};
    static const struct mt_op statistics = {.name = "statistics", .kernels = no_kernels,
                                            .infer = infer_statistics, .fwd = fwd_statistics};
    struct mt_order_opt order = {.mode = MT_EVAL, .micros = 1};
    struct mt_exec_opt opt = {.mode = MT_EVAL, .micros = 1, .hold_output = 1};
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    struct mt_graph *g = NULL;
    struct mt_steps steps;
    struct mt_exec *x = NULL;
    struct net n;
    int out;

    (void)state;
    net_new(&n, 1);
    ok(mt_graph_new(ctx, &n.batch.x.spec, &n.batch.y.spec, &g));
    ok(mt_graph_add(g, &statistics, NULL, attr, &g->x, 1, &out));
    ok(mt_graph_finish(g, out, -1));
    ok(mt_order(g, &order, &steps));
    ok(mt_exec_new(dev, g, n.store, &opt, &steps, &x));
    for (int rows = B; rows >= 0; rows -= B) {
        float got[4];

        n.batch.rows = rows;
        ok(mt_exec_run(x, &n.batch));
        ok(mt_buf_read(mt_exec_output(x).buf, mt_exec_output(x).off * 4, sizeof got, got));
        assert_true(got[0] == (rows > 0 ? 7 : 0) && got[3] == got[0]);
    }
    mt_exec_free(x);
    mt_graph_free(g);
    net_free(&n);
}

static void evaluation_sums_up(void **state)
{
    struct oracle o;
    struct net n;
    float x[B * IN], stats[MT_STATS], out[B * OUT];
    int32_t y[B];
    double loss;
    int hits = 0;

    (void)state;
    net_new(&n, 1);
    run(&n, B, 0);
    start_oracle(&n, &o);
    samples(0, x, y);
    loss = oracle_step(&o, x, y, B, 0);
    n.batch.rows = B;
    ok(mt_exec_clear(n.eval));
    ok(mt_exec_run(n.eval, &n.batch));
    ok(mt_exec_run(n.eval, &n.batch));
    ok(mt_buf_read(n.eval->stats.buf, n.eval->stats.off * 4, sizeof stats, stats));
    assert_true(fabs(stats[MT_STAT_LOSS] - 2 * loss) < 2e-5 * B);
    assert_true(stats[MT_STAT_COUNT] == 2 * B);
    ok(mt_buf_read(mt_exec_output(n.eval).buf, mt_exec_output(n.eval).off * 4, sizeof out, out));
    for (int s = 0; s < B; s++) {
        int best = 0;

        for (int i = 1; i < OUT; i++) {
            best = out[s * OUT + i] > out[s * OUT + best] ? i : best;
        }
        hits += best == y[s];
    }
    assert_true(stats[MT_STAT_HITS] == 2 * hits);
    net_free(&n);
}

static void a_step_allocates_nothing(void **state)
{
    struct net n;
    uint64_t buffers;
    int64_t requests;

    (void)state;
    net_new(&n, 3);
    run(&n, B, 0);
    buffers = mt_dev_allocations(dev);
    requests = mt_mem_requests(ctx);
    for (int step = 1; step < 10; step++) {
        run(&n, step % 2 ? B : 5, step);
    }
    ok(mt_dev_finish(dev));
    assert_int_equal(mt_dev_allocations(dev), buffers);
    assert_int_equal(mt_mem_requests(ctx), requests);
    net_free(&n);
}

static void same_bits_twice(void **state)
{
    float a[sizeof(struct oracle) / sizeof(double)], b[sizeof a / sizeof *a];

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct net n;

        net_new(&n, 2);
        for (int step = 0; step < 5; step++) {
            run(&n, B, step);
        }
        read_weights(&n, k ? b : a);
        net_free(&n);
    }
    assert_memory_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_is_that_of_the_formulas),
        cmocka_unit_test(no_samples_change_nothing),
        cmocka_unit_test(data_and_parameter_gradients_apart),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(statistics_of_no_samples_are_zero),
        cmocka_unit_test(evaluation_sums_up),
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(same_bits_twice),
    };
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
