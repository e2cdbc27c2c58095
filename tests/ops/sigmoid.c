/* sigmoid.c -- proves forward and gradient of sigmoid, also where exp overflows.
 *
 * Bound, in half-ulps: exp 3 ulp (6), sum (1), division 2.5 ulp (5): 12 relative to y.
 * Gradient: y and 1 - y carry that error, 1 - y in units of y rather than of itself; two
 * products and the difference: 12 + 3. A change of y by the part d changes y (1 - y) by at most
 * d y = d (y (1 - y) + y^2): kept 1. */
#include "tests/kit.h"

#include <math.h>

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        double y = 1 / (1 + exp(-r->in[0][i]));

        r->out[0][i] = y;
        if (r->dmag != NULL) {
            r->dmag[i] = y * y;
        }
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    return port == MT_PORT_OUT ? 12 : 15;
}

static const double g_x[] = {-3.0, -0.75, -0.125, 0.5, 1.25, 4.0};
static const double g_dout[] = {1.0, -0.5, 0.25, 0.75, -1.0, 0.5};
static const double g_out[] = {
    0.04742587317756678, 0.320821300824607, 0.46879062662624377, 0.6224593312018546,
    0.7772998611746911, 0.9820137900379085};
static const double g_dx[] = {
    0.04517665973091214, -0.10894749688090702, 0.06225649375340436, 0.17625278415119586,
    -0.17310478699249707, 0.008831353106645554};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .dout = g_dout, .out = g_out, .din = {g_dx}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}, .scale = 8},
    {.name = "saturated", .dim = {5, 64}, .scale = 200},
    {.name = "golden", .dim = {2, 3}, .golden = &golden},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(sigmoid, .ref = ref, .roundings = roundings, .kept = 1.01, MT_CASES(cases));
