/* bce.c -- proves loss, hits and gradient of bce for one class number a sample, for several
 * targets a sample, far from zero, and that impossible targets give NaN.
 *
 * Bound of the loss, in half-ulps of mean (|t x| + log(1 + exp(-|x|)) + max(x, 0)): exp (6),
 * log1p 2 ulp (4), two sums and a product (3), lanes of E/64 terms and a tree of 6, division
 * (5), over rows R/64 and a tree of 6. Gradient, in half-ulps of (p + t) / E: p 12 (as
 * sigmoid), difference (1), division (5). */
#include "tests/kit.h"

#include <math.h>

static void shape(struct mt_node *n)
{
    n->nin = 2;
    n->in[1] = n->in[0];
    if (n->in[0].rank == 2 && n->in[0].dim[1] == 1) {   /* class numbers */
        n->in[1].rank = 1;
        n->in[1].dtype = MT_I32;
    }
}

static void ref(const struct mt_ref *r)
{
    int64_t R = r->n->in[0].dim[0], E = mt_spec_count(&r->n->in[0]) / R;
    double loss = 0, mag = 0, hits = 0;

    for (int64_t k = 0; k < R; k++) {
        int right = 1;

        for (int64_t i = k * E; i < (k + 1) * E; i++) {
            double x = r->in[0][i], t = r->in[1][i], p = 1 / (1 + exp(-x));
            double both = log1p(exp(-fabs(x)));

            t = t >= 0 && t <= 1 ? t : NAN;
            right = right && !isnan(t) && (x > 0) == (t > 0.5);
            loss += (fmax(x, 0) - t * x + both) / (double)E;
            mag += (fmax(x, 0) + fabs(t * x) + both) / (double)E;
            if (r->dmag != NULL) {
                r->dmag[i] = (p + t) / (double)E;
            }
        }
        hits += right;
    }
    r->out[0][MT_STAT_LOSS] = loss;
    r->out[0][MT_STAT_COUNT] = (double)R;
    r->out[0][MT_STAT_HITS] = hits;
    r->mag[0][MT_STAT_LOSS] = mag;
    r->mag[0][MT_STAT_COUNT] = r->mag[0][MT_STAT_HITS] = 0;
}

static double roundings(const struct mt_node *n, int port)
{
    double R = (double)n->in[0].dim[0], E = (double)mt_spec_count(&n->in[0]) / R;

    return port == MT_PORT_OUT ? 13 + E / 64 + 8 + 5 + R / 64 + 8 : 18;
}

/* Targets: class numbers; or a quarter 0, a quarter 1, the rest between. */
static double draw(const struct mt_node *n, int port, double x, double u)
{
    if (port != 1) {
        return x;
    }
    if (n->in[1].dtype == MT_I32) {
        return u < 0.5 ? 0 : 1;
    }
    return (float)fmin(fmax(2 * u - 0.5, 0), 1);
}

static const double g_x[] = {0.5, -1.25, 2.0, 0.0, 1.5, 0.75, -0.5, 1.25, -2.0, 3.0, 1.0, 0.5};
static const double g_t[] = {0.25, 0.0, 1.0, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.75, 0.5};
static const double g_out[] = {1.3620564102666435, 3, 0};
static const double g_dx[] = {
    0.09311483280046366, 0.05567503470632721, -0.02980073050552942, 0.0,
    -0.04560638095158909, 0.16979467479384824, 0.09438516719953634, -0.05567503470632723,
    0.029800730505529383, -0.011856468294391659, -0.004735355342498776, 0.03061483280046365};
static const double g_bad[] = {-1, 2, 7};
static const double g_nan[] = {NAN, 3, 0};
static const double g_dnan[] = {NAN, NAN, NAN};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x, g_t}, .out = g_out, .din = {g_dx}};
static const struct mt_golden bad = {
    .source = "definition", .in = {g_x, g_bad}, .out = g_nan, .din = {g_dnan}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "class numbers 50x1", .dim = {50, 1}, .scale = 10},
    {.name = "odd 7x33", .dim = {7, 33}, .scale = 4},
    {.name = "far from zero 5x16", .dim = {5, 16}, .scale = 300},
    {.name = "long 2x5000", .dim = {2, 5000}, .slow = 1},
    {.name = "golden", .dim = {3, 4}, .golden = &golden},
    {.name = "impossible targets", .dim = {3, 1}, .golden = &bad},
    {.name = "1024x1024", .dim = {1024, 1024}, .bench = 1},
};

MT_SUITE(bce, .shape = shape, .ref = ref, .roundings = roundings, .draw = draw,
         MT_CASES(cases));
