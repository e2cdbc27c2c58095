/* tp.c -- proves which layers of a stage are divided and how (the nodes of every rank's graph, by
 * name), that the slices of every parameter tile it without gap or overlap for even, uneven and
 * empty parts, that a rank's graph holds exactly its slices, and that the flat space of a part is
 * as small as it should be. No device. */
#include "base/ctx.h"
#include "config/config.h"
#include "parallel/par.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RANKS = 8 };

struct fixture {
    struct mt_ctx *ctx;
    struct mt_config *config;
    struct mt_graph *whole;
    int rank[RANKS];
    struct mt_stage stage[3];
    struct mt_replica replica;
    struct mt_layout layout;
};

static void begin(struct fixture *f, const char *text)
{
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){8, 20});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){8});

    memset(f, 0, sizeof *f);
    assert_int_equal(mt_ctx_new(NULL, NULL, &f->ctx), MOTLEY_OK);
    assert_int_equal(mt_config_parse(f->ctx, text, "test", NULL, 0, &f->config), MOTLEY_OK);
    assert_int_equal(mt_graph_build(f->ctx, f->config->model, f->config->loss, &x, &y, &f->whole),
                     MOTLEY_OK);
    for (int r = 0; r < RANKS; r++) {
        f->rank[r] = r;
    }
    f->replica = (struct mt_replica){.share = 1, .micros = 1, .stage = f->stage};
    f->layout = (struct mt_layout){.ctx = f->ctx, .nreplica = 1, .replica = &f->replica};
}

/* The next stage: nodes up to `hi` (-1: all) on the next `nrank` ranks. */
static void stage(struct fixture *f, int hi, int nrank, double *width)
{
    struct mt_stage *st = &f->stage[f->replica.nstage++];

    *st = (struct mt_stage){.lo = st == f->stage ? 0 : st[-1].hi,
                            .hi = hi < 0 ? f->whole->nnode : hi,
                            .nrank = nrank,
                            .rank = f->rank + f->layout.nrank,
                            .width = width};
    f->layout.nrank += nrank;
}

static void end(struct fixture *f)
{
    mt_graph_free(f->whole);
    mt_config_free(f->config);
    mt_ctx_free(f->ctx);
}

/* "linear1 relu1 linear2/sum ..." */
static void expect_nodes(struct fixture *f, int rank, const char *nodes)
{
    struct mt_graph *g = NULL;
    char list[1024] = "";

    assert_int_equal(mt_tp_rewrite(f->whole, &f->layout, rank, &g), MOTLEY_OK);
    for (int i = 0; i < g->nnode; i++) {
        size_t at = strlen(list);
        int origin = g->node[i].origin;
        const char *layer = f->whole->node[origin].n.name;

        snprintf(list + at, sizeof list - at, "%s%s", i ? " " : "", g->node[i].n.name);
        assert_int_equal(strncmp(g->node[i].n.name, layer, strlen(layer)), 0);
        assert_int_equal(g->node[i].held, 1);
    }
    assert_string_equal(list, nodes);
    mt_graph_free(g);
}

/* The slices of every parameter, and what each rank's graph holds. */
static void expect_tiles(struct fixture *f, const struct mt_stage *st)
{
    struct mt_graph *g[RANKS] = {NULL};
    int k[RANKS] = {0};   /* parameters seen of each graph */

    for (int p = 0; p < st->nrank; p++) {
        assert_int_equal(mt_tp_rewrite(f->whole, &f->layout, st->rank[p], &g[p]), MOTLEY_OK);
    }
    for (int i = 0; i < f->whole->nnode; i++) {
        const struct mt_gnode *gn = &f->whole->node[i];

        for (int q = 0; q < gn->n.nparam; q++) {
            const struct mt_gparam *full = &f->whole->param[gn->param[q]];
            int64_t at = 0;

            for (int p = 0; p < st->nrank; p++) {
                const struct mt_gparam *mine = &g[p]->param[k[p]];
                struct mt_slice s;

                if (i < st->lo || i >= st->hi) {
                    k[p]++;   /* of another stage: whole */
                    assert_true(mt_spec_equal(&mine->desc.spec, &full->desc.spec));
                    continue;
                }
                assert_int_equal(mt_tp_slice(f->whole, &f->layout, 0, i, q, p, &s), MOTLEY_OK);
                if (!s.held) {
                    continue;
                }
                assert_int_equal(s.lo, at);
                assert_true(s.hi > s.lo);
                at = s.hi;
                assert_string_equal(mine->name, full->name);
                assert_int_equal(mine->desc.spec.dim[s.axis], s.hi - s.lo);
                assert_int_equal(mt_spec_count(&mine->desc.spec) * full->desc.spec.dim[s.axis],
                                 mt_spec_count(&full->desc.spec) * (s.hi - s.lo));
                assert_int_equal(mine->axis, s.axis);
                assert_int_equal(mine->first, s.lo);
                assert_true(mt_spec_equal(&mine->full, &full->desc.spec));
                assert_int_equal(mine->whole.lo, full->range.lo);
                assert_int_equal(mine->whole.hi, full->range.hi);
                assert_int_equal(mine->desc.init.fan_in, full->desc.init.fan_in);
                k[p]++;
                if (at == full->desc.spec.dim[s.axis]) {
                    at = -at;   /* complete: nobody else may hold any */
                }
            }
            assert_true(at < 0 || i < st->lo || i >= st->hi);
        }
    }
    for (int p = 0; p < st->nrank; p++) {
        assert_int_equal(k[p], g[p]->nparam);
        mt_graph_free(g[p]);
    }
}

#define MODEL(list) "model: " list "\nloss: cross_entropy\n"

static void pair_and_rest(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, MODEL("[{linear: 12}, relu, {linear: 6}, tanh, {linear: 6}, dropout, {linear: 3}]"));
    stage(&f, -1, 2, NULL);
    for (int r = 0; r < 2; r++) {
        expect_nodes(&f, r, "linear1 relu1 linear2 linear2/sum tanh1 linear3/spread linear3 "
                            "linear3/gather dropout1 linear4/spread linear4 "
                            "cross_entropy1/figures cross_entropy1/gather cross_entropy1");
    }
    expect_tiles(&f, &f.stage[0]);
    end(&f);
}

/* The input of a residual block has two readers; the sum of the block is complete. */
static void block(void **state)
{
    struct fixture f;
    double width[3] = {2, 1, 1};

    (void)state;
    begin(&f, MODEL("[{linear: 16}, {residual: [{linear: 40}, gelu, {linear: 16}]}, tanh, "
                    "{linear: 10}]"));
    stage(&f, -1, 3, width);
    expect_nodes(&f, 1, "linear1 linear1/gather linear2/spread linear2 gelu1 linear3 linear3/sum "
                        "add1 tanh1 linear4/spread linear4 cross_entropy1/figures "
                        "cross_entropy1/gather cross_entropy1");
    expect_tiles(&f, &f.stage[0]);
    end(&f);
}

/* With many classes the last layer keeps its columns, and the one before it is put together; with
 * few it is the second of a pair, and the loss has all classes. Losses that cannot be divided. */
static void last_layer(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, MODEL("[{linear: 12}, relu, {linear: 19}]"));
    stage(&f, -1, 2, NULL);
    expect_nodes(&f, 0, "linear1 relu1 relu1/gather linear2/spread linear2 "
                        "cross_entropy1/figures cross_entropy1/gather cross_entropy1");
    expect_tiles(&f, &f.stage[0]);
    end(&f);
    begin(&f, MODEL("[{linear: 12}, relu, {linear: 18}]"));
    stage(&f, -1, 2, NULL);
    expect_nodes(&f, 1, "linear1 relu1 linear2 linear2/sum cross_entropy1");
    end(&f);
    begin(&f, "model: [{linear: 5}, tanh]\nloss: cross_entropy\n");
    stage(&f, -1, 2, NULL);
    expect_nodes(&f, 1, "linear1 tanh1 cross_entropy1/figures cross_entropy1/gather "
                        "cross_entropy1");
    end(&f);
    begin(&f, "model: [{linear: 5}]\nloss: hinge\n");
    stage(&f, -1, 2, NULL);
    expect_nodes(&f, 1, "linear1 linear1/gather hinge1");
    end(&f);
}

/* More parts than columns; parts of width 0. */
static void narrow(void **state)
{
    struct fixture f;
    double width[4] = {0, 3, 0, 1};

    (void)state;
    begin(&f, MODEL("[{linear: 2}, relu, {linear: 5}, tanh, {linear: 3}]"));
    stage(&f, -1, 4, NULL);
    expect_nodes(&f, 0, "linear1 relu1 linear2 linear2/sum tanh1 linear3/spread linear3 "
                        "cross_entropy1/figures cross_entropy1/gather cross_entropy1");
    expect_nodes(&f, 3, "linear1/none linear2/none linear2/sum tanh1 linear3/spread linear3/none "
                        "cross_entropy1/figures cross_entropy1/gather cross_entropy1");
    expect_tiles(&f, &f.stage[0]);
    f.stage[0].width = width;
    expect_tiles(&f, &f.stage[0]);
    end(&f);
}

/* A pair that a cut goes through is none; stages of one rank, and those of others, stay whole. */
static void stages(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, MODEL("[{linear: 12}, relu, {linear: 6}, relu, {linear: 3}]"));
    stage(&f, 2, 2, NULL);
    stage(&f, 4, 1, NULL);
    stage(&f, -1, 2, NULL);
    for (int r = 0; r < 2; r++) {
        expect_nodes(&f, r, "linear1 relu1 relu1/gather linear2 relu2 linear3 cross_entropy1");
    }
    expect_nodes(&f, 2, "linear1 relu1 linear2 relu2 linear3 cross_entropy1");
    expect_nodes(&f, 4, "linear1 relu1 linear2 relu2 linear3/spread linear3 "
                        "cross_entropy1/figures cross_entropy1/gather cross_entropy1");
    expect_nodes(&f, 7, "linear1 relu1 linear2 relu2 linear3 cross_entropy1");   /* left out */
    for (int s = 0; s < 3; s++) {
        expect_tiles(&f, &f.stage[s]);
    }
    end(&f);
}

static void flat_space(void **state)
{
    struct fixture f;
    struct mt_graph *g = NULL, *again = NULL;

    (void)state;
    begin(&f, MODEL("[{linear: 256}, relu, {linear: 128}]"));
    stage(&f, -1, 4, NULL);
    assert_int_equal(mt_tp_rewrite(f.whole, &f.layout, 3, &g), MOTLEY_OK);
    assert_int_equal(g->param_size, 64 * 20 + 64 + 128 * 64);
    assert_int_equal(mt_graph_rebatch(g, 3, &again), MOTLEY_OK);
    assert_int_equal(again->param_size, g->param_size);
    for (int i = 0; i < g->nparam; i++) {
        assert_int_equal(again->param[i].first, g->param[i].first);
        assert_int_equal(again->param[i].axis, g->param[i].axis);
        assert_true(mt_spec_equal(&again->param[i].full, &g->param[i].full));
        assert_int_equal(again->param[i].whole.lo, g->param[i].whole.lo);
    }
    for (int i = 0; i < g->nnode; i++) {
        assert_int_equal(again->node[i].origin, g->node[i].origin);
    }
    mt_graph_free(again);
    mt_graph_free(g);
    end(&f);
}

static void wrong_slices(void **state)
{
    struct fixture f;
    struct mt_slice s;

    (void)state;
    begin(&f, MODEL("[{linear: 3}]"));
    stage(&f, -1, 2, NULL);
    assert_int_equal(mt_tp_slice(f.whole, &f.layout, 1, 0, 0, 0, &s), MOTLEY_EARG);
    assert_int_equal(mt_tp_slice(f.whole, &f.layout, 0, 0, 2, 0, &s), MOTLEY_EARG);
    assert_int_equal(mt_tp_slice(f.whole, &f.layout, 0, 0, 0, 2, &s), MOTLEY_EARG);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_and_rest), cmocka_unit_test(block),
        cmocka_unit_test(narrow),        cmocka_unit_test(stages),
        cmocka_unit_test(last_layer),    cmocka_unit_test(flat_space),
        cmocka_unit_test(wrong_slices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
