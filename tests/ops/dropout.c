/* dropout.c -- proves that the mask of dropout is the one that the generator of base/rng.c
 * gives for (seed, node, step, position in the global batch, element), in forward and backward,
 * for samples whose size is no multiple of 16 or 64, and that evaluation is the identity.
 *
 * Bound, in half-ulps: the factor 1 / (1 - rate) as a float (1) and the product (1). */
#include "tests/kit.h"

#include "base/rng.h"

static void ref(const struct mt_ref *r)
{
    struct mt_rng_key key = mt_rng_key(r->seed, MT_RNG_DROPOUT, r->n->stream);
    int64_t R = r->n->in[0].dim[0], N = mt_spec_count(&r->n->in[0]) / R;
    double rate = mt_attr_num(r->n, 0);

    for (int64_t s = 0; s < R; s++) {
        for (int64_t e = 0; e < N; e++) {
            uint32_t c[4] = {(uint32_t)(e / 64 * 16 + e % 16), (uint32_t)(r->first + s),
                             (uint32_t)r->step, 0};
            double x = r->in[0][s * N + e];
            uint32_t bits[4];

            mt_rng_bits(key, c, bits);
            if (r->mode == MT_TRAIN) {
                x = bits[e % 64 / 16] / 4294967296.0 < rate ? 0 : x / (1 - rate);
            }
            r->out[0][s * N + e] = x;
        }
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    (void)port;
    return 2.1;
}

static const struct mt_case cases[] = {
    {.name = "one", .dim = {1, 1}},
    {.name = "odd 7x33", .dim = {7, 33}, .attr = "rate=0.3"},
    {.name = "image 3x2x5x7", .dim = {3, 2, 5, 7}, .attr = "rate=0.9"},
    {.name = "rate 0", .dim = {5, 6}, .attr = "rate=0"},
    {.name = "many 64x256", .dim = {64, 256}, .attr = "rate=0.25", .slow = 1},
    {.name = "exact", .dim = {6, 20}, .exact = 1},
    {.name = "128x4096", .dim = {128, 4096}, .bench = 1},
};

MT_SUITE(dropout, .ref = ref, .roundings = roundings, MT_CASES(cases));
