/* linear.c -- proves forward and the three gradients of linear for one-element, odd, long,
 * sequence shaped and exact cases, with and without bias.
 *
 * Bound, in half-ulps of sum |x w| + |b|: a sum of I terms in any order, each a product, is off
 * by at most I + 1 (N. Higham: Accuracy and Stability of Numerical Algorithms, 3.1); factor
 * alpha, bias and what is there already: 3 more. The same for the gradients over O and R terms.
 * */
#include "tests/kit.h"

#include <math.h>

static void ref(const struct mt_ref *r)
{
    int64_t R = mt_spec_rows(&r->n->in[0]), I = mt_spec_last(&r->n->in[0]);
    int64_t O = mt_attr_int(r->n, 0);

    for (int64_t k = 0; k < R; k++) {
        for (int64_t o = 0; o < O; o++) {
            const double *x = r->in[0] + k * I, *w = r->param[0] + o * I;
            double sum = 0, mag = 0;

            if (r->n->nparam > 1) {
                sum = r->param[1][o];
                mag = fabs(sum);
            }
            for (int64_t i = 0; i < I; i++) {
                sum += x[i] * w[i];
                mag += fabs(x[i] * w[i]);
            }
            r->out[0][k * O + o] = sum;
            r->mag[0][k * O + o] = mag;
        }
    }
}

static double roundings(const struct mt_node *n, int port)
{
    int64_t terms = port == MT_PORT_OUT ? mt_spec_last(&n->in[0])
                    : port == 0         ? mt_spec_last(&n->out[0])
                                        : mt_spec_rows(&n->in[0]);

    return (double)terms + 4;
}

static const double g_x[] = {0.5, -1.25, 2.0, 1.5, 0.75, -0.5};
static const double g_w[] = {0.25, -0.5, 1.0, -1.5, 0.125, 0.75};
static const double g_b[] = {0.5, -0.25};
static const double g_dout[] = {1.0, -0.5, 0.25, 2.0};
static const double g_out[] = {3.25, 0.34375, 0.0, -2.78125};
static const double g_dx[] = {1.0, -0.5625, 0.625, -2.9375, 0.125, 1.75};
static const double g_dw[] = {0.875, -1.0625, 1.875, 2.75, 2.125, -2.0};
static const double g_db[] = {1.25, 1.5};
static const struct mt_golden golden = {
    .source = "PyTorch 2.2.2", .in = {g_x}, .param = {g_w, g_b}, .dout = g_dout, .out = g_out,
    .din = {g_dx}, .dparam = {g_dw, g_db}};

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}, .attr = "size=1"},
    {.name = "odd 7x33 to 9", .dim = {7, 33}, .attr = "size=9"},
    {.name = "one sample 1x40 to 17", .dim = {1, 40}, .attr = "size=17"},
    {.name = "no bias 5x16 to 8", .dim = {5, 16}, .attr = "size=8 bias=false"},
    {.name = "sequence 3x5x12 to 10", .dim = {3, 5, 12}, .attr = "size=10"},
    {.name = "tall 300x6 to 4", .dim = {300, 6}, .attr = "size=4", .slow = 1},
    {.name = "layer 64x200 to 150", .dim = {64, 200}, .attr = "size=150", .slow = 1},
    {.name = "exact 8x24 to 6", .dim = {8, 24}, .attr = "size=6", .exact = 1},
    {.name = "golden", .dim = {2, 3}, .attr = "size=2", .golden = &golden},
    {.name = "128x784 to 512", .dim = {128, 784}, .attr = "size=512", .bench = 1},
    {.name = "128x512 to 512", .dim = {128, 512}, .attr = "size=512", .bench = 1},
    {.name = "128x512 to 10", .dim = {128, 512}, .attr = "size=10", .bench = 1},
};

MT_SUITE(linear, .ref = ref, .roundings = roundings, MT_CASES(cases));
