/* hinge.c -- proves loss, hits and gradient of hinge for several classes, for the binary form,
 * for sequences and exact cases, and that labels which are no class give NaN.
 *
 * Bound of the loss, in half-ulps of sum (1 + |x|): one difference, lanes of C/64 terms and a
 * tree of 6, over rows R/64 and a tree of 6. The gradient is 1, 0 or -1: no rounding; one
 * half-ulp covers the sum over a dense direction. */
#include "tests/kit.h"

#include <math.h>

static void shape(struct mt_node *n)
{
    n->nin = 2;
    n->in[1] = n->in[0];
    n->in[1].dtype = MT_I32;
    n->in[1].rank--;
}

static void ref(const struct mt_ref *r)
{
    int64_t R = mt_spec_rows(&r->n->in[0]), C = mt_spec_last(&r->n->in[0]);
    double loss = 0, mag = 0, hits = 0;

    for (int64_t k = 0; k < R; k++) {
        const double *x = r->in[0] + k * C;
        int64_t t = (int64_t)r->in[1][k], best = 0;

        for (int64_t c = 0; c < C; c++) {
            double y = t < 0 || t >= (C > 1 ? C : 2) ? NAN : t == (C > 1 ? c : 1) ? 1 : -1;
            double gap = 1 - y * x[c];

            best = x[c] > x[best] ? c : best;
            loss += gap < 0 ? 0 : gap;
            mag += 1 + fabs(x[c]);
        }
        hits += C > 1 ? best == t : (x[0] > 0) == t;
    }
    r->out[0][MT_STAT_LOSS] = loss;
    r->out[0][MT_STAT_COUNT] = (double)R;
    r->out[0][MT_STAT_HITS] = hits;
    r->mag[0][MT_STAT_LOSS] = mag;
    r->mag[0][MT_STAT_COUNT] = r->mag[0][MT_STAT_HITS] = 0;
}

static double roundings(const struct mt_node *n, int port)
{
    double R = (double)mt_spec_rows(&n->in[0]), C = (double)mt_spec_last(&n->in[0]);

    return port == MT_PORT_OUT ? 1 + C / 64 + 7 + R / 64 + 8 : 1;
}

static double draw(const struct mt_node *n, int port, double x, double u)
{
    int64_t C = mt_spec_last(&n->in[0]);

    return port == 1 ? floor(u * (double)(C > 1 ? C : 2)) : x;
}

static const double kinks[] = {-1, 1};

/* By hand: y = (-, -, +), (-, -, +): gaps 1.5, 0, 0; 2.5, 1.75, 1.5. */
static const double g_x[] = {0.5, -1.25, 2.0, 1.5, 0.75, -0.5};
static const double g_t[] = {2, 2};
static const double g_out[] = {7.25, 2, 1};
static const double g_dx[] = {1, 0, 0, 1, 1, -1};
static const double g_bad[] = {-1, 3};
static const double g_nan[] = {NAN, 2, 0};
static const double g_dnan[] = {NAN, NAN, NAN, NAN, NAN, NAN};
static const struct mt_golden golden = {
    .source = "closed form", .in = {g_x, g_t}, .out = g_out, .din = {g_dx}};
static const struct mt_golden bad = {
    .source = "definition", .in = {g_x, g_bad}, .out = g_nan, .din = {g_dnan}};

static const struct mt_case cases[] = {
    {.name = "binary 50x1", .dim = {50, 1}, .scale = 3},
    {.name = "odd 7x33", .dim = {7, 33}, .scale = 3},
    {.name = "sequence 2x9x12", .dim = {2, 9, 12}, .scale = 3},
    {.name = "many classes 3x1000", .dim = {3, 1000}, .scale = 3, .slow = 1},
    {.name = "exact 6x8", .dim = {6, 8}, .exact = 1},
    {.name = "exact binary 9x1", .dim = {9, 1}, .exact = 1},
    {.name = "golden", .dim = {2, 3}, .golden = &golden},
    {.name = "labels that are no class", .dim = {2, 3}, .golden = &bad},
    {.name = "128x10", .dim = {128, 10}, .bench = 1},
    {.name = "1024x1000", .dim = {1024, 1000}, .bench = 1},
};

MT_SUITE(hinge, .shape = shape, .ref = ref, .roundings = roundings, .draw = draw,
         .kinks = kinks, .nkinks = 2, MT_CASES(cases));
