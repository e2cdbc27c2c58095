/* relu.c -- proves forward and gradient of relu for one-element, odd and many-dimensional
 * shapes.
 *
 * Bound: no arithmetic, so no rounding: equality; the gradient is the incoming one or zero. One
 * half-ulp covers the sum over a dense direction. */
#include "tests/kit.h"

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        r->out[0][i] = r->in[0][i] > 0 ? r->in[0][i] : 0;
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    return port == MT_PORT_OUT ? 0 : 1;
}

static const double kinks[] = {0};

/* max(x, 0) by hand. */
static const double gx[] = {-2, -0.5, 0.25, 3}, gy[] = {0, 0, 0.25, 3}, gg[] = {1, 2, 3, 4},
                    gdx[] = {0, 0, 3, 4};
static const struct mt_golden golden = {
    .source = "closed form", .in = {gx}, .dout = gg, .out = gy, .din = {gdx}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}},
    {.name = "image 2x3x5x5", .dim = {2, 3, 5, 5}},
    {.name = "large values", .dim = {5, 64}, .scale = 1e4},
    {.name = "exact", .dim = {4, 16}, .exact = 1},
    {.name = "golden", .dim = {2, 2}, .golden = &golden},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(relu, .ref = ref, .roundings = roundings, .kinks = kinks, .nkinks = 1,
         MT_CASES(cases));
