/* layout.c -- proves: the min-max cut is the best of all cuts (brute force, with stages of unequal
 * speed and places where no cut may be); grids put ranks where their formula says and balance the
 * cost of layers; layouts read from YAML, printed and read again are the same; what is wrong in one
 * is named with its place; running out of memory anywhere leaves nothing behind. */
#include "base/ctx.h"
#include "base/rng.h"
#include "config/yaml.h"
#include "parallel/cut.h"
#include "parallel/layout.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct mt_ctx *ctx;

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

static struct mt_tree *yaml(const char *text)
{
    struct mt_tree *t = NULL;

    assert_int_equal(mt_yaml_parse(ctx, text, strlen(text), "l.yaml", 1, &t), MOTLEY_OK);
    return t;
}

/* A network of the `model` list. The tree must live as long. */
static struct mt_graph *network(const struct mt_tree *model, const struct mt_tree *loss)
{
    int64_t x[2] = {16, 20}, y[1] = {16};
    struct mt_spec xs = mt_spec_new(MT_F32, 1, 2, x), ys = mt_spec_new(MT_I32, 1, 1, y);
    struct mt_graph *g = NULL;

    assert_int_equal(mt_graph_build(ctx, model, loss, &xs, &ys, &g), MOTLEY_OK);
    return g;
}

/* ---- cuts ------------------------------------------------------------------------------------ */

struct row {
    int n, k;
    double cost[12], speed[6], front[12];
    char may[13];
};

static double row_cost(const void *arg, int stage, int lo, int hi)
{
    const struct row *r = arg;
    double sum = 0;

    for (int i = lo; i < hi; i++) {
        sum += r->cost[i];
    }
    return sum / r->speed[stage];
}

/* Something that does not grow with the stage: what the cut in front costs. */
static double row_extra(const void *arg, int stage, int lo, int hi)
{
    const struct row *r = arg;

    (void)stage, (void)hi;
    return r->front[lo];
}

/* The best cut of nodes [lo, n) on stages from s on, by trying all. */
static double brute(const struct row *r, int s, int lo)
{
    double best = INFINITY;

    if (s == r->k - 1) {
        return fmax(row_cost(r, s, lo, r->n), r->front[lo]);
    }
    for (int hi = lo + 1; hi <= r->n - (r->k - 1 - s); hi++) {
        if (r->may[hi]) {
            best = fmin(best, fmax(fmax(row_cost(r, s, lo, hi), r->front[lo]),
                                   brute(r, s + 1, hi)));
        }
    }
    return best;
}

static void cuts(void **state)
{
    struct mt_rng_key key = mt_rng_key(7, MT_RNG_TEST, 1);
    uint64_t at = 0;

    (void)state;
    for (int round = 0; round < 400; round++) {
        struct row r = {.n = 2 + (int)(mt_rng_u32(key, at++) % 10)};
        double worst = 0, oracle, seen = 0;
        int cut[8];

        r.k = 1 + (int)(mt_rng_u32(key, at++) % (uint32_t)(r.n < 6 ? r.n : 6));
        for (int i = 0; i < r.n; i++) {
            r.cost[i] = (double)(mt_rng_u32(key, at++) % 9);
            r.may[i] = mt_rng_u32(key, at++) % 4 != 0;
            r.front[i] = round % 3 > 0 ? (double)(mt_rng_u32(key, at++) % 12) : 0;
            r.front[i] = r.front[i] == 11 ? INFINITY : r.front[i];
        }
        for (int s = 0; s < r.k; s++) {
            r.speed[s] = round % 2 == 0 ? 1 : 1 + (double)(mt_rng_u32(key, at++) % 3);
        }
        oracle = brute(&r, 0, 0);
        assert_int_equal(mt_cut_minmax(ctx, r.n, r.k, r.may, row_cost, row_extra, &r, cut, &worst),
                         MOTLEY_OK);
        assert_true(isinf(oracle) ? isinf(worst) : fabs(worst - oracle) < 1e-12);
        if (isinf(worst)) {
            continue;
        }
        assert_true(cut[0] == 0 && cut[r.k] == r.n);
        for (int s = 0; s < r.k; s++) {
            assert_true(cut[s] < cut[s + 1] && (s == 0 || r.may[cut[s]]));
            seen = fmax(seen, fmax(row_cost(&r, s, cut[s], cut[s + 1]), r.front[cut[s]]));
        }
        assert_true(fabs(seen - worst) < 1e-12);
    }
}

/* ---- grids ----------------------------------------------------------------------------------- */

static const char model_text[] =
    "- linear: 64\n- relu\n- residual: [{linear: 64}, gelu, {linear: 64}]\n"
    "- linear: {size: 200, name: \"wide:1\"}\n- relu\n- linear: 30\n- relu\n- linear: 10\n";

static void grids(void **state)
{
    struct mt_tree *model = yaml(model_text), *loss = yaml("cross_entropy");
    struct mt_graph *g = network(model, loss);
    int cut[3] = {2, 6, 9};

    (void)state;
    for (int data = 1; data <= 3; data++) {
        for (int stages = 1; stages <= 3; stages++) {
            for (int tensor = 1; tensor <= 2; tensor++) {
                for (int chunks = 1; chunks <= 2; chunks++) {
                    struct mt_mesh grid = {data, stages, tensor, chunks, 4,
                                           MT_SCHEDULE_INTERLEAVED, NULL, NULL, 0};
                    struct mt_layout *l = NULL;

                    assert_int_equal(mt_layout_grid(g, data * stages * tensor, &grid, &l),
                                     MOTLEY_OK);
                    for (int rank = 0; rank < data * stages * tensor; rank++) {
                        struct mt_seat_in seat;

                        mt_layout_where(l, rank, &seat);
                        assert_int_equal(seat.replica, rank / (stages * tensor));
                        assert_int_equal(seat.part, rank % tensor);
                        assert_int_equal(seat.first, rank / tensor % stages);
                        assert_int_equal(seat.nstage, chunks);
                        assert_int_equal(seat.stride, stages);
                    }
                    mt_layout_free(l);
                }
            }
        }
    }
    {
        struct mt_mesh grid = {1, 2, 1, 2, 4, MT_SCHEDULE_INTERLEAVED, cut, NULL, 1};
        double shares[2] = {3, 1};
        struct mt_layout *l = NULL, *copy = NULL;

        assert_int_equal(mt_layout_grid(g, 2, &grid, &l), MOTLEY_OK);
        assert_int_equal(l->replica[0].stage[2].lo, 6);
        assert_int_equal(l->replica[0].stage[2].rank[0], 0);
        assert_int_equal(l->replica[0].stage[3].hi, g->nnode);
        assert_int_equal(l->replica[0].stage[3].recompute, 1);
        mt_layout_free(l);

        grid = (struct mt_mesh){2, 1, 1, 1, 1, MT_SCHEDULE_1F1B, NULL, shares, 0};
        assert_int_equal(mt_layout_grid(g, 2, &grid, &l), MOTLEY_OK);
        assert_int_equal(mt_layout_copy(l, &copy), MOTLEY_OK);
        mt_layout_free(l);
        assert_true(copy->replica[0].share == 3 && copy->replica[1].share == 1);
        assert_int_equal(copy->replica[1].stage[0].rank[0], 1);
        mt_layout_free(copy);

        grid = (struct mt_mesh){2, 2, 1, 1, 1, MT_SCHEDULE_1F1B, NULL, NULL, 0};
        assert_int_equal(mt_layout_grid(g, 3, &grid, &l), MOTLEY_ECONFIG);
        assert_non_null(strstr(mt_err_text(), "takes 4 ranks, the job has 3"));
        grid = (struct mt_mesh){1, 2, 1, 2, 1, MT_SCHEDULE_1F1B, NULL, NULL, 0};
        assert_int_equal(mt_layout_grid(g, 2, &grid, &l), MOTLEY_ECONFIG);
        assert_non_null(strstr(mt_err_text(), "interleaved"));
        grid = (struct mt_mesh){1, 10, 1, 1, 1, MT_SCHEDULE_1F1B, NULL, NULL, 0};
        assert_int_equal(mt_layout_grid(g, 10, &grid, &l), MOTLEY_ECONFIG);
        assert_non_null(strstr(mt_err_text(), "places for one"));
    }
    mt_graph_free(g);
    mt_tree_free(ctx, model);
    mt_tree_free(ctx, loss);
}

/* Even layers are divided evenly: a stack of equal blocks, ends so small that they do not count. */
static void balance(void **state)
{
    struct mt_tree *model = yaml("- linear: 256\n- repeat: 8\n  layers: [relu, {linear: 256}]\n");
    struct mt_graph *g = network(model, NULL);
    struct mt_mesh grid = {1, 4, 1, 1, 1, MT_SCHEDULE_1F1B, NULL, NULL, 0};
    struct mt_layout *l = NULL;

    (void)state;
    assert_int_equal(mt_layout_grid(g, 4, &grid, &l), MOTLEY_OK);
    for (int s = 0; s < 4; s++) {
        int wide = 0;

        for (int i = l->replica[0].stage[s].lo; i < l->replica[0].stage[s].hi; i++) {
            wide += i > 0 && g->node[i].n.nparam > 0;
        }
        assert_int_equal(wide, 2);
        assert_false(s > 0 && g->node[l->replica[0].stage[s].lo].fused);
    }
    mt_layout_free(l);
    mt_graph_free(g);
    mt_tree_free(ctx, model);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void same_layout(const struct mt_layout *a, const struct mt_layout *b)
{
    assert_int_equal(a->schedule, b->schedule);
    assert_int_equal(a->nreplica, b->nreplica);
    for (int r = 0; r < a->nreplica; r++) {
        const struct mt_replica *p = &a->replica[r], *q = &b->replica[r];

        assert_true(p->share == q->share);
        assert_int_equal(p->micros, q->micros);
        assert_int_equal(p->nstage, q->nstage);
        for (int s = 0; s < p->nstage; s++) {
            const struct mt_stage *f = &p->stage[s], *g = &q->stage[s];

            assert_true(f->lo == g->lo && f->hi == g->hi && f->nrank == g->nrank);
            assert_int_equal(f->recompute, g->recompute);
            assert_memory_equal(f->rank, g->rank, (size_t)f->nrank * sizeof *f->rank);
            assert_true((f->width == NULL) == (g->width == NULL));
            if (f->width != NULL) {
                assert_memory_equal(f->width, g->width, (size_t)f->nrank * sizeof *f->width);
            }
        }
    }
}

static const char layout_text[] =
    "- share: 3\n"
    "  micro_batches: 4\n"
    "  stages:\n"
    "    - {ranks: [0], to: relu1}\n"
    "    - {ranks: [1, 2], width: [2, 0.1], to: \"wide:1\"}\n"
    "    - {ranks: 3, recompute: true}\n"
    "- {share: 0.25, stages: [{ranks: [5]}]}\n";

static void text(void **state)
{
    struct mt_tree *model = yaml(model_text), *t = yaml(layout_text), *again;
    struct mt_graph *g = network(model, NULL);
    struct mt_layout *l = NULL, *back = NULL;
    struct mt_seat_in seat;
    char *out = NULL;

    (void)state;
    assert_int_equal(mt_layout_read(g, 6, t, &l), MOTLEY_OK);
    assert_int_equal(l->schedule, MT_SCHEDULE_1F1B);
    assert_int_equal(l->replica[0].stage[1].lo, 2);
    assert_int_equal(l->replica[0].stage[1].hi, 7);
    assert_int_equal(l->replica[0].stage[2].hi, g->nnode);
    mt_layout_where(l, 2, &seat);
    assert_true(seat.replica == 0 && seat.part == 1 && seat.first == 1 && seat.nstage == 1);
    mt_layout_where(l, 4, &seat);
    assert_int_equal(seat.replica, -1);
    assert_int_equal(mt_layout_print(g, l, &out), MOTLEY_OK);
    again = yaml(out);
    assert_int_equal(mt_layout_read(g, 6, again, &back), MOTLEY_OK);
    same_layout(l, back);
    mt_layout_free(back);
    mt_layout_free(l);
    mt_tree_free(ctx, again);
    mt_tree_free(ctx, t);
    mt_free(ctx, out);

    t = yaml("- stages: [{ranks: [1], to: relu1}, {ranks: [0], to: add1},\n"
             "           {ranks: [1], to: relu2}, {ranks: [0]}]\n");
    assert_int_equal(mt_layout_read(g, 2, t, &l), MOTLEY_OK);
    assert_int_equal(l->schedule, MT_SCHEDULE_INTERLEAVED);
    mt_layout_where(l, 0, &seat);
    assert_true(seat.first == 1 && seat.stride == 2 && seat.nstage == 2);
    mt_layout_free(l);
    mt_tree_free(ctx, t);
    mt_graph_free(g);
    mt_tree_free(ctx, model);
}

static const struct {
    const char *text, *says;
} wrong[] = {
    {"3", "l.yaml:1:1: a layout is a list"},
    {"[]", "l.yaml:1:1: a layout is a list"},
    {"{schedule: 1f1b}", "a layout is a list"},
    {"{schedule: 1f1d, replicas: [{stages: [{ranks: 0}]}]}", "l.yaml:1:12: 'schedule'"},
    {"- share: 1", "l.yaml:1:3: a replica needs `stages`"},
    {"- {share: -1, stages: [{ranks: 0}]}", "l.yaml:1:11: 'share' of a replica"},
    {"- {shares: 1, stages: [{ranks: 0}]}", "did you mean 'share'?"},
    {"- {micro_batches: 0, stages: [{ranks: 0}]}", "'micro_batches'"},
    {"- stages: [{to: relu1}]", "l.yaml:1:12: a stage needs `ranks`"},
    {"- stages: [{ranks: [0, 9]}]", "l.yaml:1:20: rank 9 does not exist; the job has ranks 0 to 3"},
    {"- stages: [{ranks: [0.5]}]", "rank 0.5 does not exist"},
    {"- stages: [{ranks: []}]", "the list of ranks is empty"},
    {"- stages: [{ranks: [a]}]", "l.yaml:1:21: ranks must be numbers"},
    {"- stages: [{ranks: [0, 1], width: [1]}]", "1 widths for 2 ranks"},
    {"- stages: [{ranks: [0, 1], width: [1, 0]}]", "above 0"},
    {"- stages: [{ranks: 0}, {ranks: 1}]", "l.yaml:1:12: a stage needs `to`"},
    {"- stages: [{ranks: 0, to: relu7}, {ranks: 1}]",
     "l.yaml:1:27: no layer is named 'relu7'; did you mean 'relu1'?"},
    {"- stages: [{ranks: 0, to: relu2}, {ranks: 1, to: relu1}, {ranks: 2}]",
     "l.yaml:1:50: layer 'relu1' belongs to an earlier stage"},
    {"- stages: [{ranks: 0, to: relu2}]", "layers from linear5 on belong to no stage"},
    {"- stages: [{ranks: 0, to: relu1}, {ranks: 1, to: relu2}, {ranks: [1, 2]}]",
     "another stage or part of this replica"},
    {"- stages: [{ranks: [2, 2]}]", "rank 2 is in another stage or part of this replica"},
    {"- stages: [{ranks: 2}]\n- stages: [{ranks: 2}]",
     "l.yaml:1:1: replica 1, stage 0: rank 2 is in another replica already"},
    {"- stages: [{ranks: 0, to: relu1}, {ranks: 1, to: relu2}, {ranks: 0}]",
     "3 stages on 2 groups of ranks"},
    {"schedule: zero_bubble\nreplicas:\n"
     "  - stages: [{ranks: 0, to: relu1}, {ranks: 0}]", "schedule zero_bubble cannot take"},
    {"- {share: 0, stages: [{ranks: 2}]}", "the shares of the replicas add up to 0"},
};

static void mistakes(void **state)
{
    struct mt_tree *model = yaml(model_text);
    struct mt_graph *g = network(model, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mt_tree *t = yaml(wrong[i].text);
        struct mt_layout *l = NULL;

        assert_int_equal(mt_layout_read(g, 4, t, &l), MOTLEY_ECONFIG);
        if (strstr(mt_err_text(), wrong[i].says) == NULL) {
            print_error("%s\n  says: %s\n  not:  %s\n", wrong[i].text, mt_err_text(),
                        wrong[i].says);
            fail();
        }
        mt_tree_free(ctx, t);
    }
    mt_graph_free(g);
    mt_tree_free(ctx, model);
}

static void memory(void **state)
{
    struct mt_tree *model = yaml(model_text), *t = yaml(layout_text);
    struct mt_graph *g = network(model, NULL);
    int64_t live = ctx->mem.live;
    struct mt_mesh grid = {2, 3, 1, 1, 1, MT_SCHEDULE_1F1B, NULL, NULL, 0};

    (void)state;
    for (int n = 1, done = 0; !done; n++) {
        struct mt_layout *l = NULL, *copy = NULL, *even = NULL;
        char *out = NULL;

        ctx->mem.fail_at = mt_mem_requests(ctx) + n;
        done = mt_layout_read(g, 6, t, &l) == MOTLEY_OK &&
               mt_layout_copy(l, &copy) == MOTLEY_OK &&
               mt_layout_print(g, copy, &out) == MOTLEY_OK &&
               mt_layout_grid(g, 6, &grid, &even) == MOTLEY_OK;
        ctx->mem.fail_at = 0;
        mt_layout_free(l);
        mt_layout_free(copy);
        mt_layout_free(even);
        mt_free(ctx, out);
        assert_int_equal(ctx->mem.live, live);
    }
    mt_graph_free(g);
    mt_tree_free(ctx, model);
    mt_tree_free(ctx, t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts),     cmocka_unit_test(grids), cmocka_unit_test(balance),
        cmocka_unit_test(text),     cmocka_unit_test(mistakes),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
