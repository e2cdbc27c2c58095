/* graph.c -- shapes, sharing of memory, accumulation bits and the memory plan, on operations made
 * for the purpose (no device): a chain with views and in-place results, a residual, micro-batches,
 * and random graphs whose plan must keep every pair of living items apart. */
#include "base/ctx.h"
#include "base/rng.h"
#include "graph/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int infer_same(struct mt_node *n)
{
    n->nout = 1;
    n->out[0] = n->in[0];
    return MOTLEY_OK;
}

static int infer_weight(struct mt_node *n)
{
    int64_t dim[1] = {100};

    n->nparam = 1;
    n->param[0] = (struct mt_param){.name = "weight", .spec = mt_spec_new(MT_F32, 0, 1, dim)};
    return infer_same(n);
}

static int infer_loss(struct mt_node *n)
{
    int64_t dim[1] = {MT_STATS};

    n->nout = 1;
    n->out[0] = mt_spec_new(MT_F32, 0, 1, dim);
    return MOTLEY_OK;
}

static int infer_narrow(struct mt_node *n)
{
    MT_CHECK(n->in[0].dim[1] > 4, MOTLEY_ECONFIG, "needs more than 4 columns, got %d",
             (int)n->in[0].dim[1]);
    return infer_same(n);
}

static int none(const struct mt_node *n, const struct mt_io *io)
{
    (void)n, (void)io;
    return MOTLEY_OK;
}

static const char *const no_kernels[] = {NULL};
#define OP(word, fl, kp, inf)                                                                 \
    {.name = word, .flags = fl, .keep = kp, .kernels = no_kernels, .infer = inf, .fwd = none,  \
     .bwd = none}
static const struct mt_op linear = OP("linear", 0, MT_KEEP_IN, infer_weight);
static const struct mt_op act = OP("act", MT_OP_INPLACE, MT_KEEP_OUT, infer_same);
static const struct mt_op fusing = {.name = "fusing", .flags = MT_OP_FUSES, .keep = MT_KEEP_IN,
                                    .kernels = no_kernels, .infer = infer_weight, .fwd = none,
                                    .bwd = none};
static const struct mt_op rectify = {.name = "rectify", .flags = MT_OP_INPLACE,
                                     .keep = MT_KEEP_OUT, .kernels = no_kernels,
                                     .act = MT_GEMM_RELU, .infer = infer_same, .fwd = none,
                                     .bwd = none};
static const struct mt_op drop = OP("drop", MT_OP_INPLACE, 0, infer_same);
static const struct mt_op smooth = OP("smooth", 0, MT_KEEP_IN, infer_same);
static const struct mt_op view = OP("view", MT_OP_VIEW, 0, infer_same);
static const struct mt_op sum = OP("sum", 0, 0, infer_same);
static const struct mt_op loss = OP("loss", MT_OP_LOSS, MT_KEEP_IN, infer_loss);
static const struct mt_op narrow = OP("narrow", 0, 0, infer_narrow);

static int infer_two(struct mt_node *n)
{
    n->nout = 2;
    n->out[0] = n->out[1] = n->in[0];
    return MOTLEY_OK;
}

static int infer_scratch(struct mt_node *n)
{
    n->scratch_bytes = 1 << 20;
    return infer_weight(n);
}

static int infer_unable(struct mt_node *n)
{
    MT_FAIL(MOTLEY_EUNSUP, "%s cannot", n->op->name);
}

static int prepare_unable(struct mt_node *n, struct mt_dev *dev)
{
    (void)dev;
    MT_FAIL(MOTLEY_EMEM, "%s has no room", n->op->name);
}

static const struct mt_op two = OP("two", 0, 0, infer_two);
static const struct mt_op greedy = OP("greedy", 0, MT_KEEP_IN, infer_scratch);
static const struct mt_op unable = OP("unable", 0, 0, infer_unable);
static const struct mt_op roomless = {.name = "roomless", .kernels = no_kernels,
                                      .infer = infer_same, .prepare = prepare_unable,
                                      .fwd = none, .bwd = none};

struct fixture {
    struct mt_ctx *ctx;
    struct mt_graph *g;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){8, 16});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){8});

    if (f == NULL || mt_ctx_new(NULL, NULL, &f->ctx) < 0 ||
        mt_graph_new(f->ctx, &x, &y, &f->g) < 0) {
        return -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int64_t live;

    mt_graph_free(f->g);
    live = f->ctx->mem.live;
    mt_ctx_free(f->ctx);
    free(f);
    return live == 0 ? 0 : -1;
}

static int add(struct mt_graph *g, const struct mt_op *op, int a, int b)
{
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    int in[2] = {a, b}, out = -1;

    assert_int_equal(mt_graph_add(g, op, NULL, attr, in, b >= 0 ? 2 : 1, &out), MOTLEY_OK);
    return out;
}

static void roots(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    int v = add(g, &view, g->x, -1), l = add(g, &linear, v, -1), a = add(g, &act, l, -1),
        d = add(g, &drop, a, -1), s = add(g, &smooth, d, -1), e = add(g, &drop, s, -1),
        w = add(g, &view, e, -1), k = add(g, &drop, w, -1);

    add(g, &loss, k, g->y);
    assert_int_equal(mt_graph_finish(g, k, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(g->value[v].root, g->x);
    assert_int_equal(g->value[a].root, l);      /* in place: linear does not read its result */
    assert_int_equal(g->value[d].root, d);      /* not in place: act reads its result again */
    assert_int_equal(g->value[e].root, s);      /* nobody keeps the result of smooth */
    assert_int_equal(g->value[w].base, e);
    assert_int_equal(g->value[k].root, s);      /* through the view */
    assert_false(g->value[v].needs_grad);
    assert_true(g->value[l].needs_grad);
    assert_string_equal(g->param[0].name, "linear1.weight");
    assert_int_equal(g->param_size, 128);       /* 100 elements in blocks of 64 */
    assert_int_equal(mt_graph_weights(g), 100);
}

/* An activation is done by the product before it only where it would lie on its result. */
static void activations_are_fused_in_place_only(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_order_opt opt = {.mode = MT_TRAIN, .micros = 1};
    struct mt_steps steps;
    int l = add(g, &fusing, g->x, -1), a = add(g, &rectify, l, -1),
        m = add(g, &fusing, a, -1), b = add(g, &rectify, m, -1), s = add(g, &sum, b, m), fwd = 0;

    add(g, &loss, s, g->y);
    assert_int_equal(mt_graph_finish(g, s, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(g->node[0].n.act, MT_GEMM_RELU);
    assert_true(g->node[1].fused);
    assert_int_equal(g->node[2].n.act, MT_GEMM_NOACT);   /* sum reads what is before it, too */
    assert_false(g->node[3].fused);
    assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_OK);
    for (int i = 0; i < steps.n; i++) {
        fwd += steps.step[i].kind == &mt_step_fwd;
        assert_true(steps.step[i].kind != &mt_step_fwd || steps.step[i].node != 1);
    }
    assert_int_equal(fwd, 5);
    mt_steps_fini(&steps);
}

static void first_consumer_writes_others_add(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_order_opt opt = {.mode = MT_TRAIN, .micros = 2, .clip = 1};
    struct mt_steps steps;
    int l = add(g, &linear, g->x, -1), a = add(g, &linear, l, -1), s = add(g, &sum, l, a), n = 0;
    int bwd[16], nbwd = 0;

    add(g, &loss, s, g->y);
    assert_int_equal(mt_graph_finish(g, s, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_OK);
    for (int i = 0; i < steps.n; i++) {
        if (steps.step[i].kind == &mt_step_bwd) {
            bwd[nbwd++] = i;
        }
        n += steps.step[i].kind == &mt_step_fwd;
    }
    assert_int_equal(n, 8);
    assert_int_equal(nbwd, 8);
    for (int m = 0; m < 2; m++) {
        const struct mt_step *of_loss = &steps.step[bwd[4 * m]], *of_sum = of_loss + 1,
                             *second = of_loss + 2, *first = of_loss + 3;

        assert_int_equal(of_loss->want, MT_WANT_DATA);
        assert_int_equal(of_sum->acc_in, 0);             /* writes d(l) and d(a) */
        assert_int_equal(second->acc_in, 1);             /* adds to d(l) */
        assert_int_equal(second->want, MT_WANT_DATA | MT_WANT_PARAM);
        assert_int_equal(first->want, MT_WANT_PARAM);    /* x needs no gradient */
        assert_int_equal(second->acc_param, m);          /* the second micro-batch adds */
        assert_int_equal(first->acc_param, m);
    }
    assert_ptr_equal(steps.step[steps.n - 3].kind, &mt_step_norm);
    assert_ptr_equal(steps.step[steps.n - 2].kind, &mt_step_scale);
    assert_ptr_equal(steps.step[steps.n - 1].kind, &mt_step_update);
    mt_steps_fini(&steps);
}

static void plan_reuses_memory(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_order_opt opt = {.mode = MT_EVAL, .micros = 1};
    struct mt_plan_opt how = {.hold = -1, .micros = 1};
    struct mt_steps steps;
    struct mt_plan *plan = NULL;
    int v = g->x;

    for (int i = 0; i < 10; i++) {
        v = add(g, &smooth, v, -1);
    }
    assert_int_equal(mt_graph_finish(g, v, -1), MOTLEY_OK);
    assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_OK);
    assert_int_equal(mt_plan_new(g, &steps, &how, &plan), MOTLEY_OK);
    assert_int_equal(mt_plan_unshared(plan), 10 * 8 * 16 * 4);
    assert_int_equal(mt_plan_bytes(plan), 2 * 8 * 16 * 4);   /* forward only: two at a time */
    mt_plan_free(plan);
    how.max_alloc = 8 * 16 * 4;
    assert_int_equal(mt_plan_new(g, &steps, &how, &plan), MOTLEY_OK);
    assert_int_equal(plan->narena, 2);
    mt_plan_free(plan);
    how.max_alloc = 100;
    assert_int_equal(mt_plan_new(g, &steps, &how, &plan), MOTLEY_EDEV);
    assert_string_equal(mt_err_text(),
                        "one tensor of the network needs 512 bytes, the device allows 100 in one "
                        "allocation; lower train.batch or raise train.micro_batches");
    mt_steps_fini(&steps);
}

static void living_items_never_overlap(void **state)
{
    struct fixture *f = *state;
    struct mt_rng_key key = mt_rng_key(7, MT_RNG_TEST, 0);
    static const struct mt_op *const ops[] = {&linear, &act, &drop, &smooth, &view, &sum};
    uint64_t draw = 0;

    for (int trial = 0; trial < 60; trial++) {
        struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){8, 16});
        struct mt_order_opt opt = {.mode = MT_TRAIN, .micros = 1 + trial % 3};
        struct mt_plan_opt how = {.hold = -1, .micros = opt.micros,
                                  .max_alloc = trial % 2 ? 2048 : 0};
        struct mt_graph *g = NULL;
        struct mt_steps steps;
        struct mt_plan *plan = NULL;
        int v, prev;

        assert_int_equal(mt_graph_new(f->ctx, &x, &x, &g), MOTLEY_OK);
        v = prev = add(g, &linear, g->x, -1);
        for (int i = 0; i < 12; i++) {
            const struct mt_op *op = ops[mt_rng_u32(key, draw++) % 6];
            int next = add(g, op, v, op == &sum ? prev : -1);

            prev = mt_rng_u32(key, draw++) % 2 ? prev : v;
            v = next;
        }
        add(g, &loss, v, g->y);
        assert_int_equal(mt_graph_finish(g, v, g->nnode - 1), MOTLEY_OK);
        assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_OK);
        assert_int_equal(mt_plan_new(g, &steps, &how, &plan), MOTLEY_OK);
        for (int i = 0; i < plan->n; i++) {
            for (int k = 0; k < i; k++) {
                const struct mt_placed *a = &plan->placed[i], *b = &plan->placed[k];

                if (a->arena >= 0 && a->arena == b->arena && a->first <= b->last &&
                    b->first <= a->last) {
                    assert_true(a->off + a->bytes <= b->off || b->off + b->bytes <= a->off);
                }
            }
        }
        assert_true(mt_plan_bytes(plan) <= mt_plan_unshared(plan));
        mt_plan_free(plan);
        mt_steps_fini(&steps);
        mt_graph_free(g);
    }
}

static void misfits_are_named(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){8, 3});
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    struct mt_graph *h = NULL;
    int out;

    assert_int_equal(mt_graph_new(g->ctx, &x, &x, &h), MOTLEY_OK);
    assert_int_equal(mt_graph_add(h, &narrow, NULL, attr, &h->x, 1, &out), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "layer narrow1: needs more than 4 columns, got 3");
    mt_graph_free(h);
    assert_int_equal(mt_graph_add(g, &linear, "a", attr, &g->x, 1, &out), MOTLEY_OK);
    assert_int_equal(mt_graph_add(g, &linear, "a", attr, &g->x, 1, &out), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "two layers are named 'a'; names must differ");
}

static void rebatch_keeps_parameters(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g, *h = NULL;
    int l = add(g, &linear, g->x, -1);

    add(g, &loss, l, g->y);
    assert_int_equal(mt_graph_finish(g, l, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(mt_graph_rebatch(g, 3, &h), MOTLEY_OK);
    assert_int_equal(h->value[h->output].spec.dim[0], 3);
    assert_int_equal(h->param_size, g->param_size);
    assert_string_equal(h->param[0].name, "linear1.weight");
    mt_graph_free(h);
}

/* A layer that was named by hand as the next one would be: otherwise both have the same parameter
 * names, random numbers and entries in checkpoints. */
static void chosen_names_are_free(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    int out;

    assert_int_equal(mt_graph_add(g, &linear, "linear2", attr, &g->x, 1, &out), MOTLEY_OK);
    out = add(g, &linear, add(g, &linear, out, -1), -1);
    assert_string_equal(g->node[1].n.name, "linear3");
    assert_string_equal(g->node[2].n.name, "linear4");
    for (int i = 0; i < g->nparam; i++) {
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(g->param[i].name, g->param[k].name);
        }
    }
}

static void the_output_is_not_overwritten(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    int l = add(g, &linear, g->x, -1), v = add(g, &view, l, -1), a = add(g, &act, v, -1);

    add(g, &loss, a, g->y);
    assert_int_equal(mt_graph_finish(g, v, g->nnode - 1), MOTLEY_OK);
    assert_int_not_equal(g->value[a].root, g->value[v].root);
}

/* Backward of a node on which the loss does not depend would read gradients that nobody wrote. */
static void side_branches_have_no_backward(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_order_opt opt = {.mode = MT_TRAIN, .micros = 1};
    struct mt_steps steps;
    int l = add(g, &linear, g->x, -1), side = add(g, &linear, l, -1), m = add(g, &smooth, l, -1);

    add(g, &loss, m, g->y);
    assert_int_equal(mt_graph_finish(g, m, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_OK);
    for (int i = 0; i < steps.n; i++) {
        if (steps.step[i].kind == &mt_step_bwd) {
            assert_int_not_equal(steps.step[i].node, g->value[side].node);
            assert_int_equal(steps.step[i].acc_in, 0);
        }
    }
    mt_steps_fini(&steps);
}

static void half_used_outputs_are_refused(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_order_opt opt = {.mode = MT_TRAIN, .micros = 1};
    struct mt_steps steps;
    int t = add(g, &two, add(g, &linear, g->x, -1), -1);

    add(g, &loss, t, g->y);
    assert_int_equal(mt_graph_finish(g, t, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_EUNSUP);
    assert_string_equal(mt_err_text(), "layer two1 has 2 outputs, of which the loss depends on 1: "
                                       "every one must be used");
}

/* Scratch of six layers of 1 MiB, all of it used twice: one is enough. */
static void scratch_is_shared(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g;
    struct mt_order_opt opt = {.mode = MT_TRAIN, .micros = 2};
    struct mt_plan_opt how = {.hold = -1, .micros = 2};
    struct mt_steps steps;
    struct mt_plan *plan = NULL;
    int v = g->x;

    for (int i = 0; i < 6; i++) {
        v = add(g, &greedy, v, -1);
    }
    add(g, &loss, v, g->y);
    assert_int_equal(mt_graph_finish(g, v, g->nnode - 1), MOTLEY_OK);
    assert_int_equal(mt_order(g, &opt, &steps), MOTLEY_OK);
    assert_int_equal(mt_plan_new(g, &steps, &how, &plan), MOTLEY_OK);
    assert_true(mt_plan_bytes(plan) < (1 << 20) + 100 * 1024);
    mt_plan_free(plan);
    mt_steps_fini(&steps);
}

static void codes_of_operations_come_through(void **state)
{
    struct mt_graph *g = ((struct fixture *)*state)->g, *h = NULL;
    struct mt_spec x = g->value[g->x].spec;
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    int out;

    assert_int_equal(mt_graph_new(g->ctx, &x, &x, &h), MOTLEY_OK);
    assert_int_equal(mt_graph_add(h, &unable, NULL, attr, &h->x, 1, &out), MOTLEY_EUNSUP);
    assert_string_equal(mt_err_text(), "layer unable1: unable cannot");
    mt_graph_free(h);
    out = add(g, &roomless, g->x, -1);
    assert_int_equal(mt_graph_finish(g, out, -1), MOTLEY_OK);
    assert_int_equal(mt_graph_bind(g, NULL), MOTLEY_EMEM);
    assert_string_equal(mt_err_text(), "layer roomless1: roomless has no room");
}

/* A chain behind a view of x: its ends read x or y, the middle neither. */
static void only_some_nodes_read_the_samples(void **state)
{
    static const char ends[4] = {1, 0, 0, 0}, middle[4] = {0, 0, 1, 0}, last[4] = {0, 0, 0, 1};
    static const char viewer[4] = {0, 1, 0, 0};
    struct mt_graph *g = ((struct fixture *)*state)->g;
    int a = add(g, &view, g->x, -1), b = add(g, &linear, a, -1), c = add(g, &linear, b, -1);

    add(g, &loss, c, g->y);
    assert_int_equal(mt_graph_finish(g, c, 3), MOTLEY_OK);
    assert_true(mt_graph_reads(g, g->x) && mt_graph_reads(g, g->y));
    mt_graph_hold(g, ends);
    assert_true(mt_graph_reads(g, g->x) && !mt_graph_reads(g, g->y));
    mt_graph_hold(g, viewer);
    assert_true(mt_graph_reads(g, g->x) && !mt_graph_reads(g, g->y));
    mt_graph_hold(g, middle);
    assert_true(!mt_graph_reads(g, g->x) && !mt_graph_reads(g, g->y));
    mt_graph_hold(g, last);
    assert_true(!mt_graph_reads(g, g->x) && mt_graph_reads(g, g->y));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(roots, setup, teardown),
        cmocka_unit_test_setup_teardown(activations_are_fused_in_place_only, setup, teardown),
        cmocka_unit_test_setup_teardown(first_consumer_writes_others_add, setup, teardown),
        cmocka_unit_test_setup_teardown(plan_reuses_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(living_items_never_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(misfits_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(chosen_names_are_free, setup, teardown),
        cmocka_unit_test_setup_teardown(the_output_is_not_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(side_branches_have_no_backward, setup, teardown),
        cmocka_unit_test_setup_teardown(half_used_outputs_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(scratch_is_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(codes_of_operations_come_through, setup, teardown),
        cmocka_unit_test_setup_teardown(rebatch_keeps_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(only_some_nodes_read_the_samples, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
