/* add.c -- proves forward and both gradients of add.
 *
 * Bound, in half-ulps: one sum (1). */
#include "tests/kit.h"

static void shape(struct mt_node *n)
{
    n->nin = 2;
    n->in[1] = n->in[0];
}

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        r->out[0][i] = r->in[0][i] + r->in[1][i];
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    (void)port;
    return 1;
}

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}},
    {.name = "image 2x3x5x5", .dim = {2, 3, 5, 5}, .scale = 1e3},
    {.name = "exact", .dim = {4, 16}, .exact = 1},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(add, .shape = shape, .ref = ref, .roundings = roundings, MT_CASES(cases));
