/* profile.c -- proves: a profile that is written as JSON is read back with the same numbers to the
 * last bit; profiles of another network, of other devices, of fewer samples or ranks, and broken
 * files are refused with the reason; a measured profile has curves that rise, for every layer that
 * works, and none for those that do not; shares by time are the best there are (all ways to divide
 * a small batch are tried) and stay within what each rank can have. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/rng.h"
#include "config/config.h"
#include "device/dev.h"
#include "optim/optim.h"
#include "parallel/par.h"
#include "parallel/profile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 64, IN = 48, RANKS = 3, HOSTS = 2 };

static struct mt_ctx *ctx;

static const char net[] = "model: [flatten, {linear: 32}, relu, {linear: 32}, {dropout: 0.5}, "
                          "{linear: 4}]\nloss: mse\noptimizer: adam\n";
static const char other[] = "model: [flatten, {linear: 32}, relu, {linear: 33}, {linear: 4}]\n"
                            "loss: mse\noptimizer: adam\n";

static void ok(int code)
{
    if (code < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static void refused(int code, const char *words)
{
    assert_true(code < 0);
    if (strstr(mt_err_text(), words) == NULL) {
        fail_msg("'%s' is not in: %s", words, mt_err_text());
    }
}

static void build(const char *text, struct mt_config **config, struct mt_graph **g,
                  struct mt_optim **optim)
{
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){BATCH, IN});
    struct mt_spec y = mt_spec_new(MT_F32, 1, 2, (int64_t[]){BATCH, 4});

    ok(mt_config_parse(ctx, text, "test", NULL, 0, config));
    ok(mt_graph_build(ctx, (*config)->model, (*config)->loss, &x, &y, g));
    ok(mt_optim_new(ctx, (*config)->optimizer, optim));
}

/* Numbers without a pattern that a mistake could keep. */
static double draw(uint64_t *n)
{
    return mt_rng_normal(mt_rng_key(9, MT_RNG_TEST, 0), (*n)++);
}

static void invent(const struct mt_graph *g, const struct mt_optim *optim, struct mt_profile **out)
{
    uint64_t n = 0;
    struct mt_profile *p = NULL;
    struct mt_cluster *c;

    ok(mt_profile_new(ctx, RANKS, &p));
    c = p->cluster;
    ok(mt_profile_network(g, optim, p->network, sizeof p->network));
    p->most = BATCH;
    p->seconds = fabs(draw(&n));
    c->nhost = HOSTS;
    c->nkind = 2;
    c->local = (struct mt_path){1.25e-6, 3e9 / 7};
    c->remote = (struct mt_path){5e-3, 1.1e8 / 3};
    c->sums = (struct mt_curve){3, {1, 7, 30}, {fabs(draw(&n)), 0, fabs(draw(&n))}};
    c->hand = (struct mt_path){fabs(draw(&n)), 1e9 / 3};
    c->inner = (struct mt_path){fabs(draw(&n)), 2e9 / 3};
    ok(MT_NEW_N(ctx, c->nkind, &c->speed));
    ok(MT_NEW_N(ctx, HOSTS * HOSTS, &c->between));
    for (int i = 0; i < HOSTS * HOSTS; i++) {
        c->between[i] = (struct mt_path){fabs(draw(&n)), 1e8 * fabs(draw(&n))};
    }
    for (int r = 0; r < RANKS; r++) {
        c->host[r] = r == 2;
        c->kind[r] = r == 1;
        snprintf(p->seat[r].host, sizeof p->seat[r].host, "node \"%d\"", r == 2);
        snprintf(p->seat[r].device, sizeof p->seat[r].device, "device %d", r == 1);
    }
    for (int k = 0; k < c->nkind; k++) {
        struct mt_speed *s = &c->speed[k];

        snprintf(s->name, sizeof s->name, "device %d", k);
        s->memory_bytes = 1e9 * fabs(draw(&n));
        s->max_alloc_bytes = 0;
        s->update = 1e-9 * fabs(draw(&n));
        s->step = 1e-5 * fabs(draw(&n));
        s->add = 1e-10 * fabs(draw(&n));
        if (k == 0) {   /* the other's is left out */
            s->read = (struct mt_curve){2, {1, 64}, {1e-5 / 3, 1e-3 / 3}};
        }
        ok(MT_NEW_N(ctx, g->nnode, &s->curve));
        for (int i = 0; i < g->nnode; i++) {
            for (int w = 0; w < MT_WORKS; w++) {
                struct mt_curve *v = &s->curve[i][w];

                v->n = k == 1 && w == 2 ? 2 : 4;   /* one that did not get further */
                for (int j = 0; j < v->n; j++) {
                    v->rows[j] = 1 << 2 * j;
                    v->seconds[j] = (j > 0 ? v->seconds[j - 1] : 0) + 1e-6 * fabs(draw(&n));
                }
            }
        }
    }
    *out = p;
}

/* Number by number: what lies between them is anything. */
static void same_curve(const struct mt_curve *u, const struct mt_curve *v)
{
    assert_int_equal(u->n, v->n);
    for (int j = 0; j < u->n; j++) {
        assert_true(u->rows[j] == v->rows[j] && u->seconds[j] == v->seconds[j]);
    }
}

static void compare(const struct mt_profile *a, const struct mt_profile *b, int nodes)
{
    const struct mt_cluster *c = a->cluster, *d = b->cluster;

    assert_string_equal(a->network, b->network);
    assert_true(a->most == b->most && a->seconds == b->seconds);
    assert_true(c->nrank == d->nrank && c->nkind == d->nkind && c->nhost == d->nhost);
    assert_memory_equal(c->kind, d->kind, (size_t)c->nrank * sizeof *c->kind);
    assert_memory_equal(c->host, d->host, (size_t)c->nrank * sizeof *c->host);
    assert_memory_equal(&c->local, &d->local, sizeof c->local);
    assert_memory_equal(&c->remote, &d->remote, sizeof c->remote);
    assert_memory_equal(&c->hand, &d->hand, sizeof c->hand);
    assert_memory_equal(&c->inner, &d->inner, sizeof c->inner);
    same_curve(&c->sums, &d->sums);
    assert_memory_equal(c->between, d->between, HOSTS * HOSTS * sizeof *c->between);
    for (int r = 0; r < c->nrank; r++) {
        assert_string_equal(a->seat[r].host, b->seat[r].host);
        assert_string_equal(a->seat[r].device, b->seat[r].device);
    }
    for (int k = 0; k < c->nkind; k++) {
        const struct mt_speed *s = &c->speed[k], *t = &d->speed[k];

        assert_string_equal(s->name, t->name);
        assert_true(s->memory_bytes == t->memory_bytes);
        assert_true(s->max_alloc_bytes == t->max_alloc_bytes);
        assert_true(s->update == t->update && s->step == t->step && s->add == t->add);
        same_curve(&s->read, &t->read);
        for (int i = 0; i < nodes * MT_WORKS; i++) {
            same_curve(&s->curve[i / MT_WORKS][i % MT_WORKS],
                       &t->curve[i / MT_WORKS][i % MT_WORKS]);
        }
    }
}

/* The text with `from` replaced by `to`, of the same length. */
static int parse_with(const char *text, const char *from, const char *to, const struct mt_graph *g,
                      const char *network)
{
    char *copy = strdup(text), *at = strstr(copy, from);
    struct mt_profile *p = NULL;
    int st;

    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    st = mt_profile_parse(ctx, copy, strlen(copy), "p.json", g, network, &p);
    mt_profile_free(p);
    free(copy);
    return st;
}

static void json_keeps_every_bit_and_refuses_what_does_not_fit(void **state)
{
    struct mt_config *config = NULL, *config2 = NULL;
    struct mt_graph *g = NULL, *g2 = NULL;
    struct mt_optim *optim = NULL, *optim2 = NULL;
    struct mt_profile *p = NULL, *q = NULL;
    char *text = NULL, network[40];
    int host[RANKS];

    (void)state;
    build(net, &config, &g, &optim);
    invent(g, optim, &p);
    ok(mt_profile_print(p, g, &text));
    ok(mt_profile_parse(ctx, text, strlen(text), "p.json", g, p->network, &q));
    compare(p, q, g->nnode);

    build(other, &config2, &g2, &optim2);
    ok(mt_profile_network(g2, optim2, network, sizeof network));
    assert_string_not_equal(network, p->network);
    refused(parse_with(text, "x", "x", g2, network), "another network");
    refused(parse_with(text, "\"version\": 2", "\"version\": 1", g, p->network), "not 'motley-");
    refused(parse_with(text, "\"relu1\"", "\"relu9\"", g, p->network), "the network has 'relu1'");
    refused(parse_with(text, "\"kind\":1", "\"kind\":2", g, p->network), "must be 0 to 1");
    refused(parse_with(text, "[1,4,16,64]", "[1,4,64,16]", g, p->network), "must rise");
    refused(parse_with(text, "\"ranks\": [", "\"ranks\": {", g, p->network), "p.json:");
    refused(parse_with(text, "\"paths\"", "\"pains\"", g, p->network), "'paths' is missing");

    memcpy(host, p->cluster->host, sizeof host);
    ok(mt_profile_check(q, "p.json", BATCH, p->seat, host, RANKS));
    refused(mt_profile_check(q, "p.json", BATCH, p->seat, host, RANKS - 1), "of 3 ranks");
    refused(mt_profile_check(q, "p.json", BATCH + 1, p->seat, host, RANKS), "up to 64 samples");
    host[1] = 1;
    refused(mt_profile_check(q, "p.json", BATCH, p->seat, host, RANKS), "lie otherwise");
    host[1] = 0;
    snprintf(p->seat[2].device, sizeof p->seat[2].device, "a new one");
    refused(mt_profile_check(q, "p.json", BATCH, p->seat, host, RANKS), "'a new one' now");
    mt_free(ctx, text);
    mt_profile_free(q);
    mt_profile_free(p);
    mt_optim_free(optim2);
    mt_graph_free(g2);
    mt_config_free(config2);
    mt_optim_free(optim);
    mt_graph_free(g);
    mt_config_free(config);
}

/* ---- shares -------------------------------------------------------------------------- */

static double worst(const struct mt_curve *curve, const int64_t *rows)
{
    double t = 0;

    for (int r = 0; r < RANKS; r++) {
        t = rows[r] > 0 ? fmax(t, mt_curve_at(&curve[r], (double)rows[r])) : t;
    }
    return t;
}

static double best_of_all(const struct mt_curve *curve, const int64_t *most, int64_t batch)
{
    double best = INFINITY;

    for (int64_t a = 0; a <= most[0] && a <= batch; a++) {
        for (int64_t b = 0; b <= most[1] && a + b <= batch; b++) {
            int64_t rows[RANKS] = {a, b, batch - a - b};

            if (rows[2] <= most[2]) {
                best = fmin(best, worst(curve, rows));
            }
        }
    }
    return best;
}

static void shares_by_time_are_the_best(void **state)
{
    uint64_t n = 1000;

    (void)state;
    for (int trial = 0; trial < 300; trial++) {
        struct mt_curve curve[RANKS];
        int64_t most[RANKS], rows[RANKS], batch = 1 + trial % 24;
        double got, best;

        for (int r = 0; r < RANKS; r++) {
            double rate = exp(3 * draw(&n));

            most[r] = trial % 3 == 0 ? 24 : (int64_t)fabs(12 * draw(&n));
            curve[r] = (struct mt_curve){.n = 4, .rows = {1, 3, 8, 16}};
            for (int j = 0; j < 4; j++) {
                /* steps of 0 too: a size that costs nothing more */
                curve[r].seconds[j] = (j > 0 ? curve[r].seconds[j - 1] : 0.1) +
                                      rate * fmax(0, draw(&n));
            }
        }
        got = mt_share_by_time(RANKS, curve, most, batch, rows);
        best = best_of_all(curve, most, batch);
        if (!isfinite(best)) {
            assert_true(got < 0);
            continue;
        }
        assert_true(rows[0] + rows[1] + rows[2] == batch);
        assert_true(rows[0] <= most[0] && rows[1] <= most[1] && rows[2] <= most[2]);
        assert_true(got == worst(curve, rows));
        assert_true(got <= best * (1 + 1e-9));
    }
}

/* ---- measuring ----------------------------------------------------------------------- */

static void measured_curves_rise(void **state)
{
    /* flatten linear relu linear dropout linear mse; the layer before relu and dropout does their
     * forward */
    static const int works[][MT_WORKS] = {
        {0, 0, 0}, {1, 0, 1}, {0, 1, 0}, {1, 1, 1}, {0, 1, 0}, {1, 1, 1}, {1, 1, 0}};
    struct mt_profile_opt opt = {.most = BATCH, .seconds = 0.2};
    struct mt_dev_info *list = NULL;
    struct mt_config *config = NULL;
    struct mt_graph *g = NULL;
    struct mt_optim *optim = NULL;
    struct mt_profile *p = NULL;
    struct mt_comm *comm = NULL;
    struct mt_dev *dev = NULL;
    int n = 0;

    (void)state;
    ok(mt_dev_prepare(ctx));
    ok(mt_dev_list(ctx, &list, &n));
    if (n == 0) {
        printf("no OpenCL device: nothing is measured\n");
        skip();
    }
    ok(mt_dev_open(ctx, &list[0], 1, &dev));
    ok(mt_comm_open(ctx, NULL, &comm));
    build(net, &config, &g, &optim);
    ok(mt_optim_bind(optim, dev));
    ok(mt_profile_measure(dev, comm, g, optim, &opt, &p));
    assert_int_equal(p->cluster->nkind, 1);
    assert_int_equal(g->nnode, (int)(sizeof works / sizeof *works));
    assert_true(p->cluster->speed[0].update > 0 && p->cluster->speed[0].add >= 0);
    for (int i = 0; i < g->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            const struct mt_curve *c = &p->cluster->speed[0].curve[i][w];

            assert_true(c->n >= 4 && c->rows[0] == 1 && c->rows[c->n - 1] == BATCH);
            for (int j = 0; j < c->n; j++) {
                if ((c->seconds[j] > 0) != works[i][w] ||
                    (j > 0 && c->seconds[j] < c->seconds[j - 1])) {
                    fail_msg("%s, work %d: %g s for %g samples", g->node[i].n.name, w,
                             c->seconds[j], c->rows[j]);
                }
            }
        }
    }
    assert_true(mt_dev_allocated_bytes(dev) == 0);
    mt_profile_free(p);
    mt_optim_free(optim);
    mt_graph_free(g);
    mt_config_free(config);
    mt_comm_close(comm);
    mt_dev_close(dev);
    mt_free(ctx, list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_keeps_every_bit_and_refuses_what_does_not_fit),
        cmocka_unit_test(shares_by_time_are_the_best), cmocka_unit_test(measured_curves_rise)};
    int failed;

    if (mt_ctx_new(NULL, NULL, &ctx) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 99;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    mt_ctx_free(ctx);
    return failed;
}
