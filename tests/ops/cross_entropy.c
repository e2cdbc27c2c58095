/* cross_entropy.c -- proves loss, hits and gradient of cross_entropy for few, odd, many and two
 * classes, for sequences, with label smoothing, for large values, and that labels which are no
 * class give NaN and read nothing outside.
 *
 * Bound of the loss, in half-ulps of log s + |x_t - m| + e mean |x - m| + 1 per row: exp 3 ulp
 * (6) and its argument (1), its sum (up to 64 terms one after the other, beyond in lanes of
 * C/64 terms and a tree of 6), log 3 ulp (6), mean, factors and sums (8); over rows: blocks of
 * 64 rows a lane, a tree of 6. Gradient, in half-ulps of p + q: exp and argument, the error of
 * s, division (5), two differences and their constants (6); the argument's rounding, times |x -
 * m|, is below 8 for every p that matters. */
#include "tests/kit.h"

#include <math.h>

static void shape(struct mt_node *n)
{
    n->nin = 2;
    n->in[1] = n->in[0];
    n->in[1].dtype = MT_I32;
    n->in[1].rank--;
}

/* Loss of one row; mag: what is rounded. */
static double row_loss(const double *x, int64_t C, int64_t label, double e, double *dmag,
                       double *mag, double *hit)
{
    double m = -INFINITY, s = 0, mean = 0, spread = 0, at;
    int64_t best = 0;

    for (int64_t c = 0; c < C; c++) {
        best = x[c] > x[best] ? c : best;
        m = fmax(m, x[c]);
    }
    for (int64_t c = 0; c < C; c++) {
        s += exp(x[c] - m);
        mean += (x[c] - m) / (double)C;
        spread += fabs(x[c] - m) / (double)C;
    }
    for (int64_t c = 0; dmag != NULL && c < C; c++) {
        dmag[c] = exp(x[c] - m) / s + e / (double)C + (c == label ? 1 - e : 0);
    }
    at = label >= 0 && label < C ? x[label] : NAN;
    *hit += best == label;
    *mag += log(s) + fabs(at - m) + e * spread + 1;
    return log(s) - (1 - e) * (at - m) - e * mean;
}

static void ref(const struct mt_ref *r)
{
    int64_t R = mt_spec_rows(&r->n->in[0]), C = mt_spec_last(&r->n->in[0]);
    double loss = 0, mag = 0, hits = 0;

    for (int64_t k = 0; k < R; k++) {
        loss += row_loss(r->in[0] + k * C, C, (int64_t)r->in[1][k], mt_attr_num(r->n, 0),
                         r->dmag != NULL ? r->dmag + k * C : NULL, &mag, &hits);
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
    double sum = 7 + (C <= 64 ? C : C / 64 + 7);

    return port == MT_PORT_OUT ? sum + 14 + R / 64 + 8 : 8 + sum + 11;
}

static double draw(const struct mt_node *n, int port, double x, double u)
{
    return port == 1 ? floor(u * (double)mt_spec_last(&n->in[0])) : x;
}

static const double g_x[] = {0.5, -1.25, 2.0, 0.0, 1.5, 0.75, -0.5, 1.25, -2.0, 3.0, 1.0, 0.5};
static const double g_t[] = {2, 3, 0};
static const double g_out[] = {6.656581015189777, 3, 1};
static const double g_dx[] = {
    0.15969355003210825, 0.02775057793268041, -0.28430316221761565, 0.09685903425282705,
    0.41902321498330364, 0.19793255158012027, 0.056708625482481456, -0.6736643920459054,
    -0.9944958528724164, 0.8168878633700658, 0.11055375036173923, 0.06705423914061148};
static const double g_smooth[] = {6.601893515189776, 3, 1};
static const double g_dsmooth[] = {
    0.12844355003210825, -0.0034994220673195894, -0.19055316221761565, 0.06560903425282705,
    0.38777321498330364, 0.16668255158012027, 0.025458625482481456, -0.5799143920459054,
    -0.9007458528724164, 0.7856378633700658, 0.07930375036173923, 0.03580423914061148};
static const double g_bad[] = {-1, 4, 2147483647};
static const double g_nan[] = {NAN, 3, 0};
static const double g_dnan[] = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x, g_t}, .out = g_out, .din = {g_dx}};
static const struct mt_golden golden_smooth = {
    .source = "PyTorch 2.2.2", .in = {g_x, g_t}, .out = g_smooth, .din = {g_dsmooth}};
static const struct mt_golden bad = {
    .source = "definition", .in = {g_x, g_bad}, .out = g_nan, .din = {g_dnan}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "ten classes 7x10", .dim = {7, 10}, .scale = 3},
    {.name = "64 classes 3x64", .dim = {3, 64}, .scale = 3},
    {.name = "odd 33x65", .dim = {33, 65}, .scale = 2},
    {.name = "two classes 100x2", .dim = {100, 2}, .scale = 5},
    {.name = "sequence 2x9x12", .dim = {2, 9, 12}, .attr = "label_smoothing=0.1"},
    {.name = "all smoothing 5x7", .dim = {5, 7}, .attr = "label_smoothing=1"},
    {.name = "large values 6x40", .dim = {6, 40}, .scale = 1e4},
    {.name = "many classes 3x5000", .dim = {3, 5000}, .scale = 4, .slow = 1},
    {.name = "golden", .dim = {3, 4}, .golden = &golden},
    {.name = "golden smoothed", .dim = {3, 4}, .attr = "label_smoothing=0.125",
     .golden = &golden_smooth},
    {.name = "labels that are no class", .dim = {3, 4}, .golden = &bad},
    {.name = "128x10", .dim = {128, 10}, .bench = 1},
    {.name = "1024x1000", .dim = {1024, 1000}, .bench = 1},
};

MT_SUITE(cross_entropy, .shape = shape, .ref = ref, .roundings = roundings, .draw = draw,
         MT_CASES(cases));
