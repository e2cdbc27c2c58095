/* sim.c -- proves that the simulator agrees with closed forms where there are some: even pipelines
 * take (m + p - 1) / (p m) of one rank's time with GPipe and 1F1B, a bubble of (p - 1) /
 * (m + p - 1), zero-bubble (3 m + p - 1) / (3 p m), interleaving a v-th of the bubble; uneven
 * shares reach the sum of the rates, even ones N times the lowest; a sum of gradients takes
 * 2 (N - 1) / N of the bytes and hides behind backward; messages slower than stages set the pace;
 * what was rehearsed comes on top of what is computed; memory counts what is alive. And that the
 * work of a network is that of its formulas. */
#include "base/ctx.h"
#include "config/yaml.h"
#include "parallel/sim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NODES = 16, RANKS = 8 };

static struct mt_ctx *ctx;

/* A network of even nodes: forward, data and parameter gradients one operation a sample each. A
 * cluster of ranks with one operation a second, each a kind of its own. */
static struct mt_load_node node[NODES];
static struct mt_load even;
static struct mt_speed speed[RANKS];
static int kind[RANKS], host[RANKS];
static struct mt_cluster cluster;

static int setup(void **state)
{
    (void)state;
    return mt_ctx_new(NULL, NULL, &ctx);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    memset(node, 0, sizeof node);
    memset(speed, 0, sizeof speed);
    for (int i = 0; i < NODES; i++) {
        node[i].name = "node";
        for (int w = 0; w < MT_WORKS; w++) {
            node[i].flop_row[w] = 1;
        }
    }
    for (int r = 0; r < RANKS; r++) {
        kind[r] = r;
        host[r] = 0;
        speed[r].flops = 1;
    }
    even = (struct mt_load){.ctx = ctx, .n = NODES, .node = node, .grad_bytes = 4};
    cluster = (struct mt_cluster){.ctx = ctx, .nrank = RANKS, .nkind = RANKS, .nhost = 1,
                                  .kind = kind, .host = host, .speed = speed,
                                  .local = {0, INFINITY}, .remote = {0, INFINITY}};
    return 0;
}

/* A layout made by hand: `data` replicas of `stages` * chunks stages, cut evenly. */
static struct mt_layout *layout(int data, int stages, int chunks, int micros,
                                enum mt_schedule schedule, const double *shares)
{
    struct mt_layout *l = NULL;

    assert_int_equal(MT_NEW(ctx, &l), MOTLEY_OK);
    *l = (struct mt_layout){.ctx = ctx, .nrank = RANKS, .schedule = schedule, .nreplica = data};
    assert_int_equal(MT_NEW_N(ctx, data, &l->replica), MOTLEY_OK);
    for (int r = 0; r < data; r++) {
        struct mt_replica *p = &l->replica[r];

        *p = (struct mt_replica){.share = shares != NULL ? shares[r] : 1, .micros = micros,
                                 .nstage = stages * chunks};
        assert_int_equal(MT_NEW_N(ctx, p->nstage, &p->stage), MOTLEY_OK);
        for (int s = 0; s < p->nstage; s++) {
            p->stage[s] = (struct mt_stage){.lo = NODES * s / p->nstage,
                                            .hi = NODES * (s + 1) / p->nstage, .nrank = 1};
            assert_int_equal(MT_NEW_N(ctx, 1, &p->stage[s].rank), MOTLEY_OK);
            p->stage[s].rank[0] = r * stages + s % stages;
        }
    }
    return l;
}

static struct mt_forecast *run(struct mt_layout *l, int64_t batch)
{
    struct mt_times *t = NULL;
    struct mt_forecast *f = NULL;

    assert_int_equal(mt_times_new(&even, &cluster, &t), MOTLEY_OK);
    assert_int_equal(mt_sim_run(t, l, batch, &f), MOTLEY_OK);
    mt_times_free(t);
    mt_layout_free(l);
    return f;
}

static void near(double a, double b)
{
    if (fabs(a - b) > 1e-9 * fabs(b)) {
        fail_msg("%.12g is not %.12g", a, b);
    }
}

static void pipelines(void **state)
{
    (void)state;
    for (int p = 1; p <= 8; p *= 2) {
        for (int m = 1; m <= 16; m++) {
            double one = 3.0 * NODES * m * 4, bubble = (p - 1.0) / (m + p - 1);
            struct mt_forecast *f = run(layout(1, p, 1, m, MT_SCHEDULE_1F1B, NULL), m * 4);

            near(f->step, one * (m + p - 1) / (p * m));
            near(f->bubble + 1, bubble + 1);
            near(f->rate, m * 4 / f->step);
            near(f->rank[0].busy, one / p);
            mt_forecast_free(f);
            f = run(layout(1, p, 1, m, MT_SCHEDULE_GPIPE, NULL), m * 4);
            near(f->step, one * (m + p - 1) / (p * m));
            mt_forecast_free(f);
            if (m >= p) {
                f = run(layout(1, p, 1, m, MT_SCHEDULE_ZERO_BUBBLE, NULL), m * 4);
                near(f->step, one * (3 * m + p - 1) / (3 * p * m));
                mt_forecast_free(f);
            }
            if (m % p == 0) {
                int v = 16 / p < 4 ? 16 / p : 4;

                f = run(layout(1, p, v, m, MT_SCHEDULE_INTERLEAVED, NULL), m * 4);
                near(f->step, one * (m * v + p - 1) / (p * m * v));
                mt_forecast_free(f);
            }
        }
    }
}

static void shares(void **state)
{
    double rates[3] = {1, 1, 4};
    struct mt_forecast *f;

    (void)state;
    speed[2].flops = 4;
    f = run(layout(3, 1, 1, 1, MT_SCHEDULE_1F1B, rates), 600);
    near(f->rate, 6 / (3.0 * NODES));
    assert_int_equal(f->replica[2].rows, 400);
    mt_forecast_free(f);
    f = run(layout(3, 1, 1, 1, MT_SCHEDULE_1F1B, NULL), 600);
    near(f->rate, 3 / (3.0 * NODES));
    mt_forecast_free(f);
}

/* 4 * 2^20 parameters in every node: pieces of whole nodes. */
static void reduction(void **state)
{
    double bytes = 4.0 * (1 << 20) * 4, seconds;
    struct mt_forecast *f;

    (void)state;
    cluster.local = (struct mt_path){0.5, bytes};   /* one second for a node */
    for (int i = 0; i < NODES; i++) {
        node[i].params = 4 << 20;
    }
    /* 16 nodes in 8 pieces of two: each 2 (N - 1) / N * 2 s + 2 * 0.5 s. */
    seconds = 2 * 3 / 4.0 * 2 + 1;
    f = run(layout(4, 1, 1, 1, MT_SCHEDULE_1F1B, NULL), 4);
    near(f->step, NODES + 2 * 2 + 8 * seconds);   /* first piece after two nodes' backward */
    near(f->exposed, f->step - 3 * NODES);
    mt_forecast_free(f);
    /* Ten times the samples: the last piece alone is seen. */
    f = run(layout(4, 1, 1, 1, MT_SCHEDULE_1F1B, NULL), 40);
    near(f->step, 30 * NODES + seconds);
    mt_forecast_free(f);
    /* Two replicas of two stages, a host each: a layer among the two ranks that hold it, in pieces
     * of one node; the last piece's update is left. */
    cluster.remote = cluster.local;
    cluster.local = (struct mt_path){0, INFINITY};
    cluster.nhost = 2;
    for (int r = 0; r < RANKS; r++) {
        host[r] = r / 2 % 2;
        speed[r].update = 1e-8;
        speed[r].step = 0.25;
    }
    f = run(layout(2, 2, 1, 10, MT_SCHEDULE_1F1B, NULL), 200);
    near(f->step, 3 * NODES * 100 * 11 / 20.0 + 2 * 1 / 2.0 * 1 + 1 + 0.25 + (4 << 20) * 1e-8);
    mt_forecast_free(f);
    /* As bf16 half the bytes travel between the hosts, */
    even.grad_bytes = 2;
    f = run(layout(2, 2, 1, 10, MT_SCHEDULE_1F1B, NULL), 200);
    near(f->step, 3 * NODES * 100 * 11 / 20.0 + 2 * 1 / 2.0 * 0.5 + 1 + 0.25 + (4 << 20) * 1e-8);
    mt_forecast_free(f);
    /* and as many as before within one. */
    cluster.local = (struct mt_path){0.5, bytes};
    memset(host, 0, sizeof host);
    f = run(layout(4, 1, 1, 1, MT_SCHEDULE_1F1B, NULL), 4);
    near(f->step, NODES + 2 * 2 + 8 * seconds + 0.25 + 2 * (4 << 20) * 1e-8);
    mt_forecast_free(f);
}

/* What was measured of whole steps comes on top: sums of all parameters over all eight ranks take
 * 14 s with 10 samples a rank, 28 s with 20. */
static void rehearsed_sums(void **state)
{
    struct mt_forecast *f;

    (void)state;
    cluster.local = (struct mt_path){1, 1};   /* must not count any more */
    cluster.sums = (struct mt_curve){2, {10, 20}, {14, 28}};
    for (int i = 0; i < NODES; i++) {
        node[i].params = 5;
    }
    f = run(layout(8, 1, 1, 1, MT_SCHEDULE_1F1B, NULL), 8 * 15);
    near(f->step, 3 * NODES * 15 + 21);
    near(f->exposed, 21);
    mt_forecast_free(f);
    f = run(layout(8, 1, 1, 1, MT_SCHEDULE_1F1B, NULL), 8 * 100);
    near(f->step, 3 * NODES * 100 + 28);   /* no line goes on */
    mt_forecast_free(f);
    cluster.local = (struct mt_path){0, INFINITY};
    /* Two replicas of four stages: a quarter of the parameters, 1 / 2 of it sent, not 7 / 8. */
    f = run(layout(2, 4, 1, 4, MT_SCHEDULE_GPIPE, NULL), 2 * 16);
    near(f->step, 3 * NODES * 16 * 7 / 16.0 + 14 * 1.6 / 4 * (1 / 2.0) / (7 / 8.0));
    mt_forecast_free(f);
    /* Nobody to share with. */
    f = run(layout(1, 4, 1, 4, MT_SCHEDULE_GPIPE, NULL), 16);
    near(f->step, 3 * NODES * 16 * 7 / 16.0);
    mt_forecast_free(f);
}

/* A message takes one second and another for 8 bytes from each of its ranks; a micro-batch of four
 * samples crosses the cut as 16 bytes, so 3 s. */
static void rehearsed_messages(void **state)
{
    double half = 4 * NODES / 2.0, hand = 3;   /* seconds of forward of a micro-batch in a stage */
    struct mt_forecast *f;

    (void)state;
    cluster.hand = (struct mt_path){1, 8};
    node[NODES / 2].cut_row = 4;
    f = run(layout(1, 2, 1, 1, MT_SCHEDULE_GPIPE, NULL), 4);
    near(f->step, 2 * half + 4 * half + 4 * hand);
    near(f->rank[0].busy, 3 * half);
    mt_forecast_free(f);
    /* GPipe, m micro-batches: each rank handles one message with each item. */
    for (int m = 1; m <= 8; m++) {
        f = run(layout(1, 2, 1, m, MT_SCHEDULE_GPIPE, NULL), 4 * m);
        near(f->step, (m + 1) * (half + hand) + (m + 1) * (2 * half + hand));
        mt_forecast_free(f);
    }
    /* Nothing crosses ranks in one stage. */
    f = run(layout(1, 1, 1, 1, MT_SCHEDULE_GPIPE, NULL), 4);
    near(f->step, 6 * half);
    mt_forecast_free(f);
}

/* Reading comes before the first stage begins; adding gradients is work of all micro-batches but
 * the first. */
static void reading_and_adding(void **state)
{
    struct mt_forecast *f;

    (void)state;
    for (int i = 0; i < NODES; i++) {
        node[i].params = 10;
    }
    for (int r = 0; r < RANKS; r++) {
        speed[r].read = (struct mt_curve){2, {0, 12}, {1, 7}};
        speed[r].add = 0.5;
    }
    f = run(layout(1, 1, 1, 3, MT_SCHEDULE_1F1B, NULL), 12);
    near(f->step, 7 + 3 * NODES * 12 + 2 * 0.5 * 10 * NODES);
    near(f->bubble + 1, 1);
    mt_forecast_free(f);
    f = run(layout(1, 2, 1, 1, MT_SCHEDULE_1F1B, NULL), 12);
    near(f->step, 7 + 3 * NODES * 12);
    mt_forecast_free(f);
}

static void messages(void **state)
{
    struct mt_forecast *f;

    (void)state;
    for (int i = 1; i < NODES; i++) {
        node[i].cut_row = 100;
    }
    /* One sample a micro-batch: forward of a stage 8 s, backward 16 s, a message 100 s + 1 s. */
    cluster.local = (struct mt_path){1, 1};
    f = run(layout(1, 2, 1, 4, MT_SCHEDULE_GPIPE, NULL), 4);
    near(f->step, 8 + 4 * 100 + 1 + 8 + 16 + 4 * 100 + 1 + 16);
    mt_forecast_free(f);
}

static void memory(void **state)
{
    struct mt_forecast *f;

    (void)state;
    even.slots = 2;
    even.x_row = 7;
    even.y_row = 3;
    for (int i = 0; i < NODES; i++) {
        node[i].params = 1000;
        node[i].kept_row = 10;
        node[i].cut_row = i > 0 ? 100 : 0;
        node[i].bytes_row[MT_WORK_FWD] = 1000 + i;
    }
    f = run(layout(1, 4, 1, 8, MT_SCHEDULE_1F1B, NULL), 16);
    for (int r = 0; r < 4; r++) {
        near(f->rank[r].params, 4 * 4000 * 4.0);
        near(f->rank[r].kept, 2 * (4 - r) * (40 + (r > 0 ? 100 : 0)));
        near(f->rank[r].buffers, 2 * (2 * ((r > 0 ? 100 : 0) + (r < 3 ? 100 : 0)) + 1000 +
                                      4 * r + 3) + 16 * (r == 0 ? 7 : r == 3 ? 3 : 0));
    }
    assert_int_equal(f->misfit, -1);
    mt_forecast_free(f);
    speed[2].memory_bytes = 60000;
    speed[1].max_alloc_bytes = 15999;
    f = run(layout(1, 4, 1, 8, MT_SCHEDULE_1F1B, NULL), 16);
    assert_int_equal(f->misfit, 2);
    mt_forecast_free(f);
    speed[2].memory_bytes = 0;
    f = run(layout(1, 4, 1, 8, MT_SCHEDULE_1F1B, NULL), 16);
    assert_int_equal(f->misfit, 1);
    near(f->lack, 1);
    mt_forecast_free(f);
    f = run(layout(1, 4, 1, 8, MT_SCHEDULE_GPIPE, NULL), 16);
    near(f->rank[1].kept, 2 * 8 * 140);
    mt_forecast_free(f);
}

/* A stage on two ranks that divide it: half the work, sums between. */
static void tensor(void **state)
{
    struct mt_layout *l = layout(1, 1, 1, 1, MT_SCHEDULE_1F1B, NULL);
    struct mt_stage *g = &l->replica[0].stage[0];
    struct mt_forecast *f;

    (void)state;
    for (int i = 0; i < NODES; i++) {
        node[i].divides = i < NODES / 2;
        node[i].tensor_row = i < 4 ? 50 : 0;
    }
    cluster.local = (struct mt_path){0.25, 200};
    assert_int_equal(MT_RESIZE(ctx, 2, &g->rank), MOTLEY_OK);
    g->rank[1] = 1;
    g->nrank = 2;
    f = run(l, 10);
    near(f->step, 10 * 3 * (NODES / 2 + NODES / 4.0) +
                      2 * (4 * 2 * 0.25 + 2 * 1 / 2.0 * 4 * 50 * 10 / 200.0));
    near(f->rank[1].busy, 10 * 3 * (NODES / 2 + NODES / 4.0));
    mt_forecast_free(f);
}

/* ---- the work of a network ------------------------------------------------------------------- */

static void work(void **state)
{
    static const char model[] = "- linear: 64\n- relu\n"
                                "- residual: [{linear: 32}, gelu, {linear: 64}]\n- linear: 10\n";
    int64_t x[2] = {5, 20}, y[1] = {5};
    struct mt_spec xs = mt_spec_new(MT_F32, 1, 2, x), ys = mt_spec_new(MT_I32, 1, 1, y);
    struct mt_tree *m = NULL, *loss = NULL;
    struct mt_graph *g = NULL;
    struct mt_load *l = NULL;
    /* linear1 relu1 linear2 gelu1 linear3 add1 linear4 cross_entropy1; x of the residual crosses
     * every cut up to add1, numbers of 4 bytes */
    double cut[8] = {0, 64, 64, 64 + 32, 64 + 32, 64 + 64, 64, 10}, kept = 0;

    (void)state;
    assert_int_equal(mt_yaml_parse(ctx, model, strlen(model), "m", 1, &m), MOTLEY_OK);
    assert_int_equal(mt_yaml_parse(ctx, "cross_entropy", 13, "m", 1, &loss), MOTLEY_OK);
    assert_int_equal(mt_graph_build(ctx, m, loss, &xs, &ys, &g), MOTLEY_OK);
    assert_int_equal(mt_load_new(g, NULL, 0, &l), MOTLEY_OK);
    assert_int_equal(l->n, 8);
    near(l->x_row, 80);
    near(l->y_row, 4);
    for (int i = 0; i < 8; i++) {
        near(l->node[i].cut_row + 1, 4 * cut[i] + 1);
        kept += l->node[i].kept_row;
    }
    /* relu1's result (which linear2 reads, too), linear2's, gelu's, add's, linear4's, 2 saved */
    near(kept, 4 * (64 + 32 + 32 + 64 + 10 + 2));
    near(l->node[2].params, 64 * 32 + 32);
    near(l->node[2].flop_row[MT_WORK_FWD], 2 * 64 * 32 + 32);
    near(l->node[2].bytes[MT_WORK_FWD], 4 * (64 * 32 + 32));
    near(l->node[2].bytes_row[MT_WORK_FWD], 4 * (64 + 32));
    near(l->node[2].flop_row[MT_WORK_DATA], 2 * 64 * 32);
    near(l->node[0].flop_row[MT_WORK_DATA] + 1, 1);   /* nobody wants the gradient of samples */
    near(l->node[1].flop_row[MT_WORK_FWD] + 1, 1);    /* done by linear1 */
    assert_true(l->node[2].divides && l->node[3].divides && l->node[4].divides);
    assert_false(l->node[5].divides);
    /* linear1 alone: its result is put together; linear2 to 4 is a pair */
    near(l->node[0].tensor_row + l->node[1].tensor_row, 4 * 64 / 2 / 2.0);
    near(l->node[2].tensor_row + l->node[4].tensor_row, 4 * (64 + 64) / 2.0);
    /* its result is put together, unless the loss judges parts of it */
    near(l->node[6].tensor_row, 4 * 64 / 2.0 + (l->node[7].divides ? 0 : 4 * 10 / 2 / 2.0));
    mt_load_free(l);
    mt_graph_free(g);
    mt_tree_free(ctx, m);
    mt_tree_free(ctx, loss);
}

/* In half width: values have half the bytes, sums over parts as many as before. */
static void half_width(void **state)
{
    const char *model = "- linear: 64\n- relu\n- linear: 32\n- tanh\n- linear: 48\n- dropout\n";
    struct mt_load *l[2] = {NULL};
    struct mt_graph *g[2] = {NULL};
    struct mt_spec ys = mt_spec_new(MT_F32, 1, 2, (int64_t[]){5, 48});
    struct mt_tree *m = NULL, *loss = NULL;

    (void)state;
    assert_int_equal(mt_yaml_parse(ctx, model, strlen(model), "m", 1, &m), MOTLEY_OK);
    assert_int_equal(mt_yaml_parse(ctx, "mse", 3, "m", 1, &loss), MOTLEY_OK);
    for (int k = 0; k < 2; k++) {
        struct mt_spec xs = mt_spec_new(k ? MT_BF16 : MT_F32, 1, 2, (int64_t[]){5, 20});

        assert_int_equal(mt_graph_build(ctx, m, loss, &xs, &ys, &g[k]), MOTLEY_OK);
        assert_int_equal(mt_load_new(g[k], NULL, 0, &l[k]), MOTLEY_OK);
    }
    assert_int_equal(l[1]->n, l[0]->n + 1);   /* the cast of samples */
    near(l[0]->copy_bytes + 1, 1);
    near(l[1]->copy_bytes, 2);
    for (int i = 0; i < l[0]->n; i++) {
        const struct mt_load_node *a = &l[0]->node[i], *b = &l[1]->node[i + 1];

        assert_int_equal(a->divides, b->divides);
        for (int w = 0; w < MT_WORKS; w++) {
            near(a->flop_row[w] + 1, b->flop_row[w] + 1);
            near(a->bytes_row[w] + 1, 2 * b->bytes_row[w] + 1);
            near(a->bytes[w] + 1, (w == MT_WORK_PARAM ? 1 : 2) * b->bytes[w] + 1);
        }
        if (i > 0) {
            near(a->cut_row + 1, 2 * b->cut_row + 1);
        }
    }
    /* linear1 to linear2 is a pair, summed; linear3 is put together behind it, for dropout */
    near(l[1]->node[3].tensor_row, 4 * 32 / 2.0);
    near(l[1]->node[5].tensor_row, (4 * 32 + 2 * 48 / 2) / 2.0);
    near(l[0]->node[4].tensor_row, (4 * 32 + 4 * 48 / 2) / 2.0);
    for (int k = 0; k < 2; k++) {
        mt_load_free(l[k]);
        mt_graph_free(g[k]);
    }
    mt_tree_free(ctx, m);
    mt_tree_free(ctx, loss);
}

static void curves(void **state)
{
    struct mt_curve c = {3, {8, 16, 64}, {1, 1.5, 3}}, one = {1, {8}, {2}};
    struct mt_speed s = {.flops = 10, .bandwidth = 5, .launch = 0.5};
    struct mt_load_node n = {.flop = {10}, .flop_row = {20}, .bytes = {100}, .bytes_row = {1}};
    struct mt_load l = {.n = 1, .node = &n};

    (void)state;
    near(mt_curve_at(&c, 8), 1);
    near(mt_curve_at(&c, 12), 1.25);
    near(mt_curve_at(&c, 4), 0.75);
    near(mt_curve_at(&c, 40), 2.25);
    near(mt_curve_at(&c, 128), 5);
    near(mt_curve_at(&c, 0) + 1, 1);
    near(mt_curve_at(&one, 16), 4);
    near(mt_speed_time(&s, &l, 0, MT_WORK_FWD, 1), 0.5 + 101 / 5.0);
    near(mt_speed_time(&s, &l, 0, MT_WORK_FWD, 100), 0.5 + 2010 / 10.0);
    near(mt_speed_time(&s, &l, 0, MT_WORK_DATA, 100) + 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pipelines, fresh), cmocka_unit_test_setup(shares, fresh),
        cmocka_unit_test_setup(reduction, fresh), cmocka_unit_test_setup(messages, fresh),
        cmocka_unit_test_setup(rehearsed_sums, fresh),
        cmocka_unit_test_setup(rehearsed_messages, fresh),
        cmocka_unit_test_setup(reading_and_adding, fresh),
        cmocka_unit_test_setup(memory, fresh),    cmocka_unit_test_setup(tensor, fresh),
        cmocka_unit_test(work),                   cmocka_unit_test(half_width),
        cmocka_unit_test(curves),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
