/* gelu.c -- proves forward and gradient of both forms of gelu, also far from zero.
 *
 * Bound, in half-ulps of |x|: exact: erf 16 ulp (32), its argument (2, times at most 0.48), 1 +
 * erf (2), all halved, and two products: 20. tanh: 5 ulp (10), argument (6, times at most
 * 0.45), the rest as before: 10. Gradient, in half-ulps of 1: exact: P 17; x p(x) is at most
 * 0.24 with exp (6), three products and its argument (0.46 times 2); sum and product with g:
 * 24. tanh: t from e = exp(-2|u|), half of 6 + 2.6, twice, and of division (5): 12; second term
 * below 7; 2: 21. */
#include "tests/kit.h"

#include <math.h>

static void ref(const struct mt_ref *r)
{
    int by_tanh = mt_attr_word(r->n, 0);

    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        double x = r->in[0][i];

        if (by_tanh) {
            double u = 0.79788456080286536 * (x + 0.044715 * x * x * x);

            r->out[0][i] = 0.5 * x * (1 + tanh(u));
        } else {
            r->out[0][i] = 0.5 * x * (1 + erf(x * 0.70710678118654752));
        }
        r->mag[0][i] = fabs(x);
        if (r->dmag != NULL) {
            r->dmag[i] = 1;
        }
    }
}

static double roundings(const struct mt_node *n, int port)
{
    int by_tanh = mt_attr_word(n, 0);

    if (port == MT_PORT_OUT) {
        return by_tanh ? 10 : 20;
    }
    return by_tanh ? 21 : 24;
}

static const double g_x[] = {-3.0, -0.75, -0.125, 0.5, 1.25, 4.0};
static const double g_dout[] = {1.0, -0.5, 0.25, 0.75, -1.0, 0.5};
static const double g_exact[] = {
    -0.00404969409489031, -0.16997051428265111, -0.056282721896235885, 0.34573123063700656,
    1.117937782916431, 3.9998733150326675};
static const double g_dexact[] = {
    -0.01194564720418392, -0.0003871391303824079, 0.10019551607544835, 0.6506213434921222,
    -1.1226615830694222, 0.5002518248306133};
static const double g_tanh[] = {
    -0.0036373920817729943, -0.17003944483437966, -0.05628280137577661, 0.34571400982514394,
    1.1177142029697147, 3.9999297540518075};
static const double g_dtanh[] = {
    -0.011584166630969648, -0.000530871931292809, 0.10019614845930214, 0.6505274276509818,
    -1.1224926322496487, 0.500167561598561};
static const struct mt_golden golden_exact = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .dout = g_dout, .out = g_exact, .din = {g_dexact}};
static const struct mt_golden golden_tanh = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .dout = g_dout, .out = g_tanh, .din = {g_dtanh}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}, .scale = 4},
    {.name = "large values", .dim = {5, 64}, .scale = 1e4},
    {.name = "tanh odd 7x33", .dim = {7, 33}, .attr = "form=tanh", .scale = 4},
    {.name = "tanh large values", .dim = {5, 64}, .attr = "form=tanh", .scale = 1e4},
    {.name = "golden", .dim = {2, 3}, .golden = &golden_exact},
    {.name = "tanh golden", .dim = {2, 3}, .attr = "form=tanh", .golden = &golden_tanh},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
    {.name = "tanh 128x4096", .dim = {128, 4096}, .attr = "form=tanh", .bench = 1},
};

MT_SUITE(gelu, .ref = ref, .roundings = roundings, MT_CASES(cases));
