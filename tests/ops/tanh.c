/* tanh.c -- proves forward and gradient of tanh, also where it is saturated.
 *
 * Bound, in half-ulps: 5 ulp (10) of y. Gradient: (1 - y) (1 + y) carries twice that error in
 * units of y^2; two sums, two products: 4 more. A change of y by the part d changes 1 - y^2 by
 * 2 d y^2 and d^2 y^2: kept 2. */
#include "tests/kit.h"

#include <math.h>

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        double y = tanh(r->in[0][i]);

        r->out[0][i] = y;
        if (r->dmag != NULL) {
            r->dmag[i] = y * y;
        }
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    return port == MT_PORT_OUT ? 10 : 24;
}

static const double g_x[] = {-3.0, -0.75, -0.125, 0.5, 1.25, 4.0};
static const double g_dout[] = {1.0, -0.5, 0.25, 0.75, -1.0, 0.5};
static const double g_out[] = {
    -0.9950547536867305, -0.6351489523872873, -0.12435300177159621, 0.46211715726000974,
    0.8482836399575129, 0.999329299739067};
static const double g_dx[] = {
    0.009866037165440166, -0.2982929041406657, 0.24613408273759835, 0.5898357997244456,
    -0.28041486618043265, 0.0006704753415129582};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .dout = g_dout, .out = g_out, .din = {g_dx}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}, .scale = 4},
    {.name = "small values", .dim = {3, 21}, .scale = 1e-3},
    {.name = "saturated", .dim = {5, 64}, .scale = 100},
    {.name = "golden", .dim = {2, 3}, .golden = &golden},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(tanh, .ref = ref, .roundings = roundings, .kept = 2.01, MT_CASES(cases));
