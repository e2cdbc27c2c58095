/* mse.c -- proves loss and gradient of mse for one number a sample, odd and long samples.
 *
 * Bound of the loss, in half-ulps of itself (all terms are positive): difference, twice, and
 * square (3), lanes of E/64 terms and a tree of 6, division (5), over rows R/64 and a tree of
 * 6. Gradient: difference, factor as a float, product: 3. */
#include "tests/kit.h"

static void shape(struct mt_node *n)
{
    n->nin = 2;
    n->in[1] = n->in[0];
}

static void ref(const struct mt_ref *r)
{
    int64_t R = r->n->in[0].dim[0], N = mt_spec_count(&r->n->in[0]);
    double sum = 0;

    for (int64_t i = 0; i < N; i++) {
        double d = r->in[0][i] - r->in[1][i];

        sum += d * d;
    }
    r->out[0][MT_STAT_LOSS] = sum / ((double)N / (double)R);
    r->out[0][MT_STAT_COUNT] = (double)R;
    r->out[0][MT_STAT_HITS] = 0;
    r->mag[0][MT_STAT_COUNT] = 0;
}

static double roundings(const struct mt_node *n, int port)
{
    double R = (double)n->in[0].dim[0], E = (double)mt_spec_count(&n->in[0]) / R;

    return port == MT_PORT_OUT ? 3 + E / 64 + 8 + 5 + R / 64 + 8 : 3.1;
}

static const double g_x[] = {0.5, -1.25, 2.0, 0.0, 1.5, 0.75, -0.5, 1.25, -2.0, 3.0, 1.0, 0.5};
static const double g_t[] = {0.25, 1.0, -0.5, 0.5, 1.0, 0.5, 0.25, -1.0, 0.0, 2.0, 1.5, 0.5};
static const double g_out[] = {5.703125, 3, 0};
static const double g_dx[] = {0.125, -1.125, 1.25, -0.25, 0.25, 0.125, -0.375, 1.125, -1.0, 0.5,
                              -0.25, 0.0};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x, g_t}, .out = g_out, .din = {g_dx}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "one number 50x1", .dim = {50, 1}, .scale = 10},
    {.name = "odd 7x33", .dim = {7, 33}},
    {.name = "image 2x3x5x5", .dim = {2, 3, 5, 5}, .scale = 100},
    {.name = "long 2x5000", .dim = {2, 5000}, .slow = 1},
    {.name = "many 700x3", .dim = {700, 3}, .slow = 1},
    {.name = "exact 6x8", .dim = {6, 8}, .exact = 1},
    {.name = "golden", .dim = {3, 4}, .golden = &golden},
    {.name = "1024x1024", .dim = {1024, 1024}, .bench = 1},
};

MT_SUITE(mse, .shape = shape, .ref = ref, .roundings = roundings, MT_CASES(cases));
