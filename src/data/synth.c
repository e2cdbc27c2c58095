/* synth.c -- generated problems with a known answer, for tests: `linear` and `exact`.
 *
 *   linear: y = x W + b + noise z       x, W, b, z normal; the least-squares solution is W, b up
 *                                       to the noise
 *   exact:  the same of small integers and without noise; or, with classes, a label in
 *           0 .. classes-1 that is a function of x
 *
 *   x (inputs), W (inputs, outputs), b, y (outputs)
 *
 * With integers every sum of a training step is exact in any order for the first steps, so that
 * two ways to divide the work must agree to the last bit. Every number is a function of (seed,
 * part, sample, element); only W and b are kept. */
#include "data/data.h"

#include "base/ctx.h"
#include "base/rng.h"

#include <string.h>

#define MOST_WEIGHTS 10000000

/* Random streams of one problem. */
enum { STREAM_W, STREAM_B, STREAM_X, STREAM_Z, STREAMS };

struct own {
    int exact;
    int64_t range;               /* exact: |x| and |W| up to it */
    int64_t inputs, outputs, classes;
    float noise;
    struct mt_rng_key x, z;      /* of this part */
    float *w, *b;
};

static const struct mt_attr linear_attrs[] = {
    {"n", MT_ATTR_INT, .def.i = 10000, .min = 1, .max = 1e9, .doc = "training samples"},
    {"held", MT_ATTR_INT, .def.i = 1000, .min = 0, .max = 1e9, .doc = "held-out samples"},
    {"inputs", MT_ATTR_INT, .def.i = 10, .min = 1, .max = 1e6, .doc = "length of x"},
    {"outputs", MT_ATTR_INT, .def.i = 1, .min = 1, .max = 1e6, .doc = "length of y"},
    {"seed", MT_ATTR_INT, .def.i = 1, .min = 0, .max = 1e15,
     .doc = "which problem; does not change with the seed of the training"},
    {"noise", MT_ATTR_NUM, .def.f = 0.1, .min = 0, .max = 1e6, .doc = "deviation of the noise"},
    {0}};

static const struct mt_attr exact_attrs[] = {
    {"n", MT_ATTR_INT, .def.i = 96, .min = 1, .max = 1e9, .doc = "training samples"},
    {"held", MT_ATTR_INT, .def.i = 24, .min = 0, .max = 1e9, .doc = "held-out samples"},
    {"inputs", MT_ATTR_INT, .def.i = 8, .min = 1, .max = 1e6, .doc = "length of x"},
    {"outputs", MT_ATTR_INT, .def.i = 4, .min = 1, .max = 1e6, .doc = "length of y"},
    {"seed", MT_ATTR_INT, .def.i = 1, .min = 0, .max = 1e15,
     .doc = "which problem; does not change with the seed of the training"},
    {"range", MT_ATTR_INT, .def.i = 2, .min = 1, .max = 64, .doc = "x and W in -range .. range"},
    {"classes", MT_ATTR_INT, .def.i = 0, .min = 0, .max = 1e6,
     .doc = "0: y is numbers; else y is a label below it"},
    {0}};

enum { N, HELD, INPUTS, OUTPUTS, SEED, NOISE, RANGE = NOISE, CLASSES };

/* Number `index` of a stream: normal, or an integer in -range .. range. */
static float number(const struct own *o, struct mt_rng_key key, int64_t index)
{
    if (o->exact) {
        uint32_t span = (uint32_t)(2 * o->range + 1);

        return (float)((int64_t)(mt_rng_u32(key, (uint64_t)index) % span) - o->range);
    }
    return (float)mt_rng_normal(key, (uint64_t)index);
}

/* Number j of x of sample i, as it was written if it was. */
static double input(const struct own *o, int64_t i, int64_t j, const float *x)
{
    return (double)(x != NULL ? x[j] : number(o, o->x, i * o->inputs + j));
}

static int fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    const struct own *o = s->own;

    for (int64_t j = 0; j < o->inputs && x != NULL; j++) {
        x[j] = number(o, o->x, i * o->inputs + j);
    }
    if (y == NULL) {
        return MOTLEY_OK;
    }
    if (o->classes > 0) {
        int64_t sum = 0;

        for (int64_t j = 0; j < o->inputs; j++) {
            sum += (j + 1) * ((int64_t)input(o, i, j, x) + o->range);
        }
        *(int32_t *)y = (int32_t)(sum % o->classes);
        return MOTLEY_OK;
    }
    for (int64_t k = 0; k < o->outputs; k++) {
        double sum = o->b[k];

        for (int64_t j = 0; j < o->inputs; j++) {
            sum += input(o, i, j, x) * o->w[j * o->outputs + k];
        }
        if (o->noise > 0) {
            sum += (double)o->noise * mt_rng_normal(o->z, (uint64_t)(i * o->outputs + k));
        }
        ((float *)y)[k] = (float)sum;
    }
    return MOTLEY_OK;
}

static void set_free(struct mt_set *s)
{
    struct own *o = s->own;

    if (o != NULL) {
        mt_free(s->ctx, o->w);
        mt_free(s->ctx, o->b);
    }
    mt_free(s->ctx, o);
}

/* The parameters and the weights, which show that this host draws like the others; x follows
 * from the same functions. */
static int set_hash(struct mt_set *s, const struct own *o)
{
    int64_t kind[4] = {o->exact, o->range, o->classes, o->z.k[0]};
    struct mt_hash *h = NULL;

    MT_TRY(mt_hash_new(s->ctx, &h));
    mt_hash_add_text(h, "synth 1");
    mt_hash_add(h, kind, sizeof kind);
    mt_hash_add(h, &o->noise, sizeof o->noise);
    mt_hash_add(h, o->w, (size_t)(o->inputs * o->outputs) * sizeof *o->w);
    mt_hash_add(h, o->b, (size_t)o->outputs * sizeof *o->b);
    mt_hash_text(h, s->hash);
    mt_hash_free(h);
    return MOTLEY_OK;
}

static struct mt_rng_key stream(const union mt_attr_val *val, int part, int which)
{
    uint64_t name = mt_rng_stream("synth") + (uint64_t)(part * STREAMS + which);

    return mt_rng_key((uint64_t)val[SEED].i, MT_RNG_DATA, name);
}

/* part 0: training, 1: held out; both have the weights of the first. */
static int set_new(struct mt_ctx *ctx, const union mt_attr_val *val, int exact, int part,
                   struct mt_set **out)
{
    struct mt_set *s = NULL;
    struct own *o = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->n = part == 0 ? val[N].i : val[HELD].i;
    s->fetch = fetch;
    s->free = set_free;
    MT_TRY_OR(fail, MT_NEW(ctx, &o));
    s->own = o;
    o->exact = exact;
    o->range = exact ? val[RANGE].i : 0;
    o->inputs = val[INPUTS].i;
    o->outputs = val[OUTPUTS].i;
    o->classes = exact ? val[CLASSES].i : 0;
    o->noise = exact ? 0 : (float)val[NOISE].f;
    o->x = stream(val, part, STREAM_X);
    o->z = stream(val, part, STREAM_Z);
    s->sample.classes = o->classes;
    s->sample.y_size = o->classes > 0 ? 0 : o->outputs;
    MT_TRY_OR(fail, mt_sample_shape(&s->sample, 1, &o->inputs));
    MT_CHECK_OR(fail, o->inputs <= MOST_WEIGHTS / o->outputs, MOTLEY_ECONFIG,
                "data: %lld inputs x %lld outputs, at most %d weights are made",
                (long long)o->inputs, (long long)o->outputs, MOST_WEIGHTS);
    MT_TRY_OR(fail, MT_NEW_N(ctx, o->inputs * o->outputs, &o->w));
    MT_TRY_OR(fail, MT_NEW_N(ctx, o->outputs, &o->b));
    for (int64_t j = 0; j < o->inputs * o->outputs; j++) {
        o->w[j] = number(o, stream(val, 0, STREAM_W), j);
    }
    for (int64_t k = 0; k < o->outputs; k++) {
        o->b[k] = number(o, stream(val, 0, STREAM_B), k);
    }
    MT_TRY_OR(fail, set_hash(s, o));
    *out = s;
    return MOTLEY_OK;
fail:
    mt_set_free(s);
    return st;
}

static int open_both(struct mt_ctx *ctx, const union mt_attr_val *val, int exact,
                     struct mt_set **train, struct mt_set **held)
{
    struct mt_set *a = NULL, *b = NULL;
    int st = MOTLEY_OK;

    MT_TRY(set_new(ctx, val, exact, 0, &a));
    if (val[HELD].i > 0) {
        MT_TRY_OR(fail, set_new(ctx, val, exact, 1, &b));
    }
    *train = a;
    *held = b;
    return MOTLEY_OK;
fail:
    mt_set_free(a);
    return st;
}

static int open_linear(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                       uint64_t seed, struct mt_set **train, struct mt_set **held)
{
    (void)at;
    (void)seed;
    return open_both(ctx, val, 0, train, held);
}

static int open_exact(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                      uint64_t seed, struct mt_set **train, struct mt_set **held)
{
    (void)at;
    (void)seed;
    return open_both(ctx, val, 1, train, held);
}

const struct mt_reader mt_reader_linear = {
    .name = "linear",
    .doc = "built in: a generated linear regression problem",
    .attrs = linear_attrs,
    .open = open_linear};

const struct mt_reader mt_reader_exact = {
    .name = "exact",
    .doc = "built in: small integers, for tests of bit equality",
    .attrs = exact_attrs,
    .open = open_exact};
