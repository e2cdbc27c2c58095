/* leaky_relu.c -- proves forward and gradient of leaky_relu for its default, zero and large
 * slopes.
 *
 * Bound, in half-ulps: the slope as a float (1), the product (1). */
#include "tests/kit.h"

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        double x = r->in[0][i];

        r->out[0][i] = x > 0 ? x : mt_attr_num(r->n, 0) * x;
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    (void)port;
    return 2.1;
}

static const double kinks[] = {0};

static const double g_x[] = {-3.0, -0.75, -0.125, 0.5, 1.25, 4.0};
static const double g_dout[] = {1.0, -0.5, 0.25, 0.75, -1.0, 0.5};
static const double g_out[] = {-0.375, -0.09375, -0.015625, 0.5, 1.25, 4.0};
static const double g_dx[] = {0.125, -0.0625, 0.03125, 0.75, -1.0, 0.5};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .dout = g_dout, .out = g_out, .din = {g_dx}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}},
    {.name = "slope 0", .dim = {3, 5}, .attr = "slope=0"},
    {.name = "slope 0.3", .dim = {2, 3, 5, 5}, .attr = "slope=0.3", .scale = 100},
    {.name = "exact", .dim = {4, 16}, .attr = "slope=0.25", .exact = 1},
    {.name = "golden", .dim = {2, 3}, .attr = "slope=0.125", .golden = &golden},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(leaky_relu, .ref = ref, .roundings = roundings, .kinks = kinks, .nkinks = 1,
         MT_CASES(cases));
