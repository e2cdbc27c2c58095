/* silu.c -- proves forward and gradient of silu, also where exp overflows.
 *
 * Bound, in half-ulps: exp 3 ulp (6), sum (1), division 2.5 ulp (5): 12 of y. Gradient: s
 * carries 12; 1 - s carries 12 s + 1, times s |x|, which is why that is a magnitude of its own;
 * the sum, two products and the difference: 4. Where exp(-x) overflows s is 0 instead of what a
 * float can barely hold: UNDERFLOW. */
#include "tests/kit.h"

#include <math.h>

#define UNDERFLOW 2e-32   /* 12 half-ulps of it are the smallest normal float */

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        double x = r->in[0][i], s = 1 / (1 + exp(-x));

        r->out[0][i] = x * s;
        r->mag[0][i] = fabs(x) * (s + UNDERFLOW);
        if (r->dmag != NULL) {
            r->dmag[i] = s * (1 + fabs(x));
        }
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    return port == MT_PORT_OUT ? 12 : 16;
}

static const double g_x[] = {
    -3.0, -0.75, -0.125, 0.5, 1.25, 4.0};
static const double g_dout[] = {
    1.0, -0.5, 0.25, 0.75, -1.0, 0.5};
static const double g_out[] = {
    -0.14227761953270035, -0.24061597561845527, -0.05859882832828047, 0.3112296656009273,
    0.9716248264683639, 3.928055160151634};
static const double g_dx[] = {
    -0.08810410601516962, -0.07870002775162326, 0.1094155949373854, 0.5549708904769889,
    -0.9936808449153124, 0.5263323074455364};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .dout = g_dout, .out = g_out, .din = {g_dx}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}, .scale = 4},
    {.name = "image 2x3x5x5", .dim = {2, 3, 5, 5}},
    {.name = "large values", .dim = {5, 64}, .scale = 300},
    {.name = "golden", .dim = {2, 3}, .golden = &golden},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(silu, .ref = ref, .roundings = roundings, MT_CASES(cases));
