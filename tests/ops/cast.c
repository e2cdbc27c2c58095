/* cast.c -- proves that numbers keep their value when they are stored wider, and become the nearest
 * that there is, of two the even one, when they are stored narrower, in both directions, for
 * lengths that are no multiple of 16, also far from one.
 *
 * Bound: no arithmetic; one rounding to the narrower of the two, or none. One half-ulp covers the
 * sum over a dense direction. */
#include "tests/kit.h"

/* Input of a cast to fp32: bf16. */
static void shape(struct mt_node *n)
{
    if (mt_attr_word(n, 0) == 0) {
        n->in[0].dtype = MT_BF16;
    }
}

static void ref(const struct mt_ref *r)
{
    for (int64_t i = 0; i < mt_spec_count(&r->n->in[0]); i++) {
        r->out[0][i] = r->in[0][i];
    }
}

static double roundings(const struct mt_node *n, int port)
{
    (void)n;
    return port == MT_PORT_OUT ? 0 : 1;
}

static const struct mt_case cases[] = {
    {.name = "one to bf16", .dim = {1, 1}, .attr = "to=bf16"},
    {.name = "odd 7x33 to bf16", .dim = {7, 33}, .attr = "to=bf16"},
    {.name = "odd 7x33 to fp16", .dim = {7, 33}, .attr = "to=fp16"},
    {.name = "small 5x31 to fp16", .dim = {5, 31}, .attr = "to=fp16", .scale = 1e-4},
    {.name = "tiny 5x31 to fp16", .dim = {5, 31}, .attr = "to=fp16", .scale = 1e-7},
    {.name = "large 5x31 to fp16", .dim = {5, 31}, .attr = "to=fp16", .scale = 6e4},
    {.name = "large 5x31 to bf16", .dim = {5, 31}, .attr = "to=bf16", .scale = 1e9},
    {.name = "odd 7x33 from bf16", .dim = {7, 33}, .attr = "to=fp32"},
    {.name = "exact to bf16", .dim = {4, 16}, .attr = "to=bf16", .exact = 1},
    {.name = "exact to fp16", .dim = {4, 16}, .attr = "to=fp16", .exact = 1},
    {.name = "exact from bf16", .dim = {4, 16}, .attr = "to=fp32", .exact = 1},
    {.name = "128x4096", .dim = {128, 4096}, .attr = "to=bf16", .bench = 1},
    {.name = "128x4096 fp16", .dim = {128, 4096}, .attr = "to=fp16", .bench = 1},
};

MT_SUITE(cast, .shape = shape, .ref = ref, .roundings = roundings, .own_types = 1,
         MT_CASES(cases));
