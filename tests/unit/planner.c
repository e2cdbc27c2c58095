/* planner.c -- proves that the planner finds what brute force finds on small cases: shares as good
 * as the best of all whole numbers, cuts as good as the best of all; ranks in proportion to their
 * rates; stages where links are slow and layers large, data parallel where they are fast; more
 * stages where memory asks for it; a rank left out, with its reason, where it slows the job; never
 * slower than the best even grid on random clusters; the same plan twice; nothing left behind when
 * memory runs out; and that described clusters are read, with their mistakes named. */
#include "base/ctx.h"
#include "base/rng.h"
#include "config/yaml.h"
#include "parallel/cluster.h"
#include "parallel/planner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { RANKS = 8 };

static struct mt_ctx *ctx;
static struct mt_tree *model, *loss;
static struct mt_graph *whole;
static struct mt_load *load;
static struct mt_speed speed[RANKS];
static int kind[RANKS], host[RANKS];
static struct mt_cluster cluster;

static struct mt_tree *yaml(const char *text)
{
    struct mt_tree *t = NULL;

    assert_int_equal(mt_yaml_parse(ctx, text, strlen(text), "c.yaml", 1, &t), MOTLEY_OK);
    return t;
}

static int setup(void **state)
{
    int64_t x[2] = {1, 64}, y[1] = {1};
    struct mt_spec xs = mt_spec_new(MT_F32, 1, 2, x), ys = mt_spec_new(MT_I32, 1, 1, y);

    (void)state;
    if (mt_ctx_new(NULL, NULL, &ctx) < 0) {
        return -1;
    }
    model = yaml("- linear: 256\n- repeat: 5\n  layers: [relu, {linear: 256}]\n"
                 "- relu\n- linear: 10");
    loss = yaml("cross_entropy");
    assert_int_equal(mt_graph_build(ctx, model, loss, &xs, &ys, &whole), MOTLEY_OK);
    assert_int_equal(mt_load_new(whole, NULL, 0, &load), MOTLEY_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mt_load_free(load);
    mt_graph_free(whole);
    mt_tree_free(ctx, model);
    mt_tree_free(ctx, loss);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
    return 0;
}

/* n ranks of a kind each, on a host each, 1e9 operations a second, links that take no time. */
static void fresh(int n)
{
    memset(speed, 0, sizeof speed);
    for (int r = 0; r < RANKS; r++) {
        kind[r] = host[r] = r;
        speed[r].flops = 1e9;
        snprintf(speed[r].name, sizeof speed[r].name, "device%d", r);
    }
    cluster = (struct mt_cluster){.ctx = ctx, .nrank = n, .nkind = RANKS, .nhost = RANKS,
                                  .kind = kind, .host = host, .speed = speed,
                                  .local = {0, INFINITY}, .remote = {0, INFINITY}};
}

static struct mt_planned *plan(const struct mt_plan_wish *wish)
{
    struct mt_planned *p = NULL;

    if (mt_planner_choose(whole, load, &cluster, wish, &p) < 0) {
        fail_msg("%s", mt_err_text());
    }
    assert_int_equal(mt_layout_check(whole, p->layout), MOTLEY_OK);
    return p;
}

static double seconds_of(const struct mt_layout *l, int64_t batch)
{
    struct mt_planned *p = NULL;
    double t;

    assert_int_equal(mt_planner_given(load, &cluster, l, batch, &p), MOTLEY_OK);
    t = p->forecast->step;
    mt_planned_free(p);
    return t;
}

/* ---- against brute force --------------------------------------------------------------------- */

static void every_share(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(23);

    (void)state;
    wish.data = 3;
    wish.stages = wish.tensor = 1;
    for (int round = 0; round < 6; round++) {
        struct mt_rng_key key = mt_rng_key(3, MT_RNG_TEST, (uint64_t)round);
        struct mt_mesh mesh = {3, 1, 1, 1, 1, MT_SCHEDULE_1F1B, NULL, NULL, 0};
        struct mt_planned *p;
        double best = INFINITY;

        fresh(3);
        for (int r = 0; r < 3; r++) {
            speed[r].flops = 1e9 * (1 + 4 * mt_rng_uniform(key, (uint64_t)r));
            speed[r].launch = 1e-4 * mt_rng_uniform(key, (uint64_t)r + 10);
        }
        for (int a = 0; a <= 23; a++) {
            for (int b = 0; a + b <= 23; b++) {
                double shares[3] = {a, b, 23 - a - b};
                struct mt_layout *l = NULL;

                mesh.shares = shares;
                assert_int_equal(mt_layout_grid(whole, 3, &mesh, &l), MOTLEY_OK);
                best = fmin(best, seconds_of(l, 23));
                mt_layout_free(l);
            }
        }
        p = plan(&wish);
        assert_true(p->forecast->step <= best * (1 + 1e-9));
        mt_planned_free(p);
    }
}

static void every_cut(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(32);
    int n = whole->nnode;

    (void)state;
    wish.data = wish.tensor = 1;
    wish.stages = 3;
    wish.schedule = MT_SCHEDULE_1F1B;
    wish.micros = 8;
    for (int round = 0; round < 4; round++) {
        struct mt_planned *p;
        double best = INFINITY;

        fresh(3);
        speed[round % 3].flops = 2.5e9;
        speed[(round + 1) % 3].flops = round == 3 ? 4e9 : 1e9;
        for (int a = 1; a < n - 1; a++) {
            for (int b = a + 1; b < n; b++) {
                int cut[2] = {a, b};
                struct mt_mesh mesh = {1, 3, 1, 1, 8, MT_SCHEDULE_1F1B, cut, NULL, 0};
                struct mt_layout *l = NULL;

                if (whole->node[a].fused || whole->node[b].fused) {
                    continue;
                }
                assert_int_equal(mt_layout_grid(whole, 3, &mesh, &l), MOTLEY_OK);
                best = fmin(best, seconds_of(l, 32));
                mt_layout_free(l);
            }
        }
        p = plan(&wish);
        /* the slowest stage is what is made fast; how the others lie changes the rest a little */
        assert_true(p->forecast->step <= best * 1.02);
        mt_planned_free(p);
    }
}

/* ---- what should come out -------------------------------------------------------------------- */

static void rates(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(600);
    struct mt_planned *p;
    double flop = 0;

    (void)state;
    fresh(3);
    speed[2].flops = 4e9;
    for (int i = 0; i < load->n; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            flop += load->node[i].flop_row[w];
        }
    }
    p = plan(&wish);
    assert_true(p->forecast->step < 600 * flop / 6e9 * 1.005);
    assert_true(p->forecast->step > 600 * flop / 6e9 * 0.995);
    assert_true(p->even > 1.9 * p->forecast->step);
    mt_planned_free(p);
}

static void links(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(64);
    struct mt_planned *p;

    (void)state;
    fresh(2);
    cluster.remote = (struct mt_path){1e-4, 1e7};   /* gradients: 140 ms; boundary: 7 ms */
    p = plan(&wish);
    assert_int_equal(p->layout->nreplica, 1);
    assert_int_equal(mt_layout_stride(&p->layout->replica[0]), 2);
    mt_planned_free(p);
    cluster.remote = (struct mt_path){1e-6, 1e11};
    p = plan(&wish);
    assert_int_equal(p->layout->nreplica, 2);
    mt_planned_free(p);
}

static void memory(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(64);
    struct mt_planned *p = NULL;

    (void)state;
    fresh(2);
    cluster.remote = (struct mt_path){1e-5, 1e9};
    wish.tensor = 1;
    p = plan(&wish);   /* two alone */
    assert_int_equal(p->layout->nreplica, 2);
    mt_planned_free(p);
    for (int r = 0; r < 2; r++) {
        speed[r].memory_bytes = 2.2e6;   /* parameters and gradients are 2.8e6 bytes */
    }
    p = plan(&wish);
    assert_int_equal(p->layout->nreplica, 1);
    assert_int_equal(mt_layout_stride(&p->layout->replica[0]), 2);
    for (int r = 0; r < 2; r++) {
        assert_true(p->forecast->rank[r].memory <= 2.2e6);
        speed[r].memory_bytes = 1e6;
    }
    mt_planned_free(p);
    assert_int_equal(mt_planner_choose(whole, load, &cluster, &wish, &p), MOTLEY_ECONFIG);
    assert_non_null(strstr(mt_err_text(), "memory"));
}

static void left_out(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(64);
    struct mt_planned *p;
    struct mt_seat_in seat;
    int told = 0;

    (void)state;
    fresh(3);
    speed[2].flops = 2e7;
    cluster.remote = (struct mt_path){1e-3, 1e9};
    p = plan(&wish);
    mt_layout_where(p->layout, 2, &seat);
    assert_int_equal(seat.replica, -1);
    for (int i = 0; i < p->nreason; i++) {
        told += strstr(p->reason[i], "left out: 1 of device2 (rank 2)") != NULL;
    }
    assert_int_equal(told, 1);
    mt_planned_free(p);
    wish.data = 4;
    assert_int_equal(mt_planner_choose(whole, load, &cluster, &wish, &p), MOTLEY_ECONFIG);
    assert_non_null(strstr(mt_err_text(), "take at least 4 ranks; there are 3"));
}

/* Random devices and links; every second one with too little memory for the whole. */
static void random_clusters(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        struct mt_rng_key key = mt_rng_key(5, MT_RNG_TEST, (uint64_t)round);
        struct mt_plan_wish wish = MT_PLAN_WISH(48);
        struct mt_planned *p, *again;
        char *a = NULL, *b = NULL;

        fresh(2 + round % 4);
        for (int r = 0; r < RANKS; r++) {
            speed[r].flops = 1e9 * pow(10, mt_rng_uniform(key, (uint64_t)r));
            speed[r].bandwidth = 1e9 * pow(10, mt_rng_uniform(key, (uint64_t)r + 10));
            speed[r].launch = 1e-5;
            speed[r].memory_bytes = round % 2 == 1 ? 3e6 : 0;
            kind[r] = r / 2;
            host[r] = r / 2;
        }
        cluster.local = (struct mt_path){1e-6, 1e10};
        cluster.remote = (struct mt_path){1e-4, pow(10, 7 + 2 * mt_rng_uniform(key, 30))};
        p = plan(&wish);
        again = plan(&wish);
        assert_true(p->forecast->step <= p->even);
        assert_int_equal(mt_layout_print(whole, p->layout, &a), MOTLEY_OK);
        assert_int_equal(mt_layout_print(whole, again->layout, &b), MOTLEY_OK);
        assert_string_equal(a, b);
        mt_free(ctx, a);
        mt_free(ctx, b);
        mt_planned_free(p);
        mt_planned_free(again);
    }
}

static void out_of_memory(void **state)
{
    struct mt_plan_wish wish = MT_PLAN_WISH(8);
    int64_t live = ctx->mem.live;

    (void)state;
    fresh(2);
    for (int n = 1, done = 0; !done; n += n < 60 ? 1 : n / 5) {
        struct mt_planned *p = NULL;
        int st;

        ctx->mem.fail_at = mt_mem_requests(ctx) + n;
        st = mt_planner_choose(whole, load, &cluster, &wish, &p);
        ctx->mem.fail_at = 0;
        assert_true(st == MOTLEY_OK || st == MOTLEY_EMEM);
        done = st == MOTLEY_OK;
        mt_planned_free(p);
        assert_int_equal(ctx->mem.live, live);
    }
}

/* ---- described clusters ---------------------------------------------------------------------- */

static const char described[] =
    "kinds:\n"
    "  fast: {flops: 1e12, bandwidth: 1e11, memory: 1e9, max_alloc: 2e8, launch: 1e-5}\n"
    "  slow: {flops: 1e10, bandwidth: 2e10, update: 1e-9, step: 1e-3}\n"
    "hosts:\n"
    "  - {name: a, count: 2, devices: {fast: 2, slow: 1}}\n"
    "  - {name: b, devices: {slow: 1}}\n"
    "links:\n"
    "  local: {latency: 1e-6, bandwidth: 1e10}\n"
    "  remote: {latency: 1e-5, bandwidth: 1e9}\n"
    "  between: [{hosts: [a, a], latency: 2e-6, bandwidth: 5e9}]\n";

static void reading(void **state)
{
    static const int kinds[] = {0, 0, 1, 0, 0, 1, 1}, hosts[] = {0, 0, 0, 1, 1, 1, 2};
    struct mt_tree *t = yaml(described);
    struct mt_cluster *c = NULL;

    (void)state;
    assert_int_equal(mt_cluster_read(ctx, t, load, &c), MOTLEY_OK);
    assert_true(c->nrank == 7 && c->nkind == 2 && c->nhost == 3);
    assert_memory_equal(c->kind, kinds, sizeof kinds);
    assert_memory_equal(c->host, hosts, sizeof hosts);
    assert_true(c->speed[0].memory_bytes == 1e9 && c->speed[0].max_alloc_bytes == 2e8);
    assert_true(fabs(c->speed[0].update - 12 / 1e11) < 1e-20);
    assert_true(c->speed[1].update == 1e-9 && c->speed[1].step == 1e-3);
    assert_true(mt_cluster_path(c, 0, 2).bandwidth == 1e10);
    assert_true(mt_cluster_path(c, 0, 3).bandwidth == 5e9);
    assert_true(mt_cluster_path(c, 6, 3).bandwidth == 1e9);
    mt_cluster_free(c);
    mt_tree_free(ctx, t);
}

static const struct {
    const char *text, *says;
} wrong[] = {
    {"[]", "c.yaml:1:1: a cluster is a map"},
    {"kind: {}", "c.yaml:1:1: unknown key 'kind' in a cluster; did you mean 'kinds'?"},
    {"hosts: []", "a cluster needs `kinds`"},
    {"kinds: {a: {flops: 1e9}}", "kind a needs 'bandwidth'"},
    {"kinds: {a: {flops: 0, bandwidth: 1e9}}", "c.yaml:1:20: 'flops' of kind a"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}", "a cluster needs `hosts`"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{count: 2}]",
     "c.yaml:2:9: a host needs `devices`"},
    {"kinds: {fast: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{devices: {fsat: 2}}]",
     "no kind is named 'fsat'; did you mean 'fast'?"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{devices: {a: 0}}]",
     "0 devices of kind a"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{count: 65536, devices: {a: 2}}]",
     "more than 65536 devices"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{devices: {a: 2}}]",
     "a cluster needs `links`"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{count: 2, devices: {a: 2}}]\n"
     "links: {local: {latency: 0, bandwidth: 1e9}}", "a cluster needs `links`"},
    {"kinds: {a: {flops: 1e9, bandwidth: 1e9}}\nhosts: [{devices: {a: 2}}]\n"
     "links: {local: {latency: 0, bandwidth: 1e9}, between: [{hosts: [x, x], latency: 0, "
     "bandwidth: 1}]}", "no entry of hosts has the name 'x'"},
};

static void mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mt_tree *t = yaml(wrong[i].text);
        struct mt_cluster *c = NULL;

        assert_int_equal(mt_cluster_read(ctx, t, load, &c), MOTLEY_ECONFIG);
        if (strstr(mt_err_text(), wrong[i].says) == NULL) {
            fail_msg("%s\n  says: %s\n  not:  %s", wrong[i].text, mt_err_text(), wrong[i].says);
        }
        mt_tree_free(ctx, t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_share), cmocka_unit_test(every_cut),
        cmocka_unit_test(rates),       cmocka_unit_test(links),
        cmocka_unit_test(memory),      cmocka_unit_test(left_out),
        cmocka_unit_test(random_clusters), cmocka_unit_test(out_of_memory),
        cmocka_unit_test(reading),     cmocka_unit_test(mistakes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
