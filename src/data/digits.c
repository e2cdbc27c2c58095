/* digits.c -- generated images of the digits 0 to 9: the built-in data, no file is read.
 *
 * Every image is drawn: strokes of a class (lines and quadratic Bezier curves, one of several
 * ways to write the digit), bent by a smooth random field, rotated, sheared, scaled and moved,
 * drawn with a random pen, with random strokes that mean nothing, contrast and noise on top.
 *
 *   sample i = f(seed, part, i), part: training or held out;  class = i mod 10
 *   x[j] = (byte[j] / 255 - mean) / std      shape (1, size, size)
 *
 * How hard, measured with the defaults (20000 and 4000 samples, Adam, batch 64, 10 epochs, inputs
 * as they come): a linear softmax classifier reaches 87.1 % of the held-out part (87.0 % after 20
 * epochs), a perceptron with one hidden layer of 256 ReLU 97.2 %.
 *
 * Only + - * / and sqrt of counter-based random numbers, rounded to bytes at the end: hosts agree
 * to the bit, and any sample can be drawn at any time. The held-out part does not depend on n. */
#include "data/data.h"

#include "base/ctx.h"
#include "base/rng.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define VERSION "digits 1"   /* in the digest: a change of the drawing is other data */
#define MAXSIZE 64
#define MAXSEG 64
#define PIECES 5             /* straight pieces of one curve */
#define PROBES 32            /* samples that are drawn for the digest */
#define KEEP_BYTES ((int64_t)512 << 20)

enum { N, HELD, SIZE, NOISE, CLUTTER, JITTER, SEED, MEAN, STD };

static const struct mt_attr attrs[] = {
    {"n", MT_ATTR_INT, .def.i = 20000, .min = 1, .max = 1e9, .doc = "training samples"},
    {"held", MT_ATTR_INT, .def.i = 4000, .min = 0, .max = 1e9, .doc = "held-out samples"},
    {"size", MT_ATTR_INT, .def.i = 28, .min = 8, .max = MAXSIZE, .doc = "width and height"},
    {"noise", MT_ATTR_NUM, .def.f = 0.15, .min = 0, .max = 1, .doc = "largest noise of a pixel"},
    {"clutter", MT_ATTR_NUM, .def.f = 0.5, .min = 0, .max = 1,
     .doc = "probability of strokes that belong to no digit"},
    {"jitter", MT_ATTR_NUM, .def.f = 1, .min = 0, .max = 2,
     .doc = "how much shape and position vary"},
    {"seed", MT_ATTR_INT, .def.i = 1, .min = 0, .max = 1e15,
     .doc = "which digits; does not change with the seed of the training"},
    {"mean", MT_ATTR_NUM, .def.f = 0, .doc = "x = (byte / 255 - mean) / std"},
    {"std", MT_ATTR_NUM, .def.f = 1, .min = 1e-6, .max = 1e6, .doc = "see mean"},
    {0}};

/* A stroke: corners of a line, or a chain of quadratic curves (point, control, point, ...).
 * Coordinates: x to the right, y down, a digit fills about -6..6 by -9..9. */
struct stroke {
    int curve, points;
    signed char at[19][2];
};

/* One way to write a digit; strokes NULL-ended by points 0. */
struct glyph {
    struct stroke stroke[3];
};

#define WAYS 3
static const struct glyph glyphs[10][WAYS] = {
    {{{{1, 9, {{0, -9}, {6, -9}, {6, 0}, {6, 9}, {0, 9}, {-6, 9}, {-6, 0}, {-6, -9}, {0, -9}}}}},
     {{{1, 9, {{1, -9}, {5, -8}, {4, 0}, {3, 9}, {-1, 9}, {-5, 8}, {-4, 0}, {-3, -9}, {1, -9}}}}},
     {{{1, 9, {{0, -9}, {6, -9}, {6, 0}, {6, 9}, {0, 9}, {-6, 9}, {-6, 0}, {-6, -9}, {0, -9}}},
       {0, 2, {{4, -7}, {-4, 7}}}}}},
    {{{{0, 2, {{0, -9}, {0, 9}}}}},
     {{{0, 3, {{-4, -5}, {1, -9}, {1, 9}}}}},
     {{{0, 3, {{-4, -5}, {0, -9}, {0, 9}}}, {0, 2, {{-4, 9}, {4, 9}}}}}},
    {{{{1, 7, {{-5, -5}, {-5, -9}, {0, -9}, {6, -9}, {5, -4}, {4, 1}, {-6, 9}}},
       {0, 2, {{-6, 9}, {6, 9}}}}},
     {{{1, 11, {{-5, -6}, {-3, -9}, {0, -9}, {6, -8}, {4, -2}, {2, 3}, {-4, 8}, {-7, 9}, {-4, 5},
                {0, 7}, {6, 8}}}}},
     {{{0, 5, {{-5, -9}, {5, -9}, {5, -2}, {-5, 9}, {6, 9}}}}}},
    {{{{1, 7, {{-5, -7}, {-2, -9}, {0, -9}, {6, -9}, {5, -4}, {4, 0}, {-1, -1}}},
       {1, 7, {{-1, -1}, {6, -1}, {6, 4}, {6, 9}, {0, 9}, {-3, 9}, {-6, 6}}}}},
     {{{0, 3, {{-5, -9}, {5, -9}, {-1, -2}}},
       {1, 7, {{-1, -2}, {6, -2}, {6, 4}, {6, 9}, {0, 9}, {-4, 9}, {-6, 6}}}}},
     {{{1, 5, {{-4, -9}, {9, -9}, {4, -3}, {2, -1}, {-2, 0}}},
       {1, 5, {{-2, 0}, {8, 0}, {4, 6}, {1, 10}, {-5, 8}}}}}},
    {{{{0, 3, {{-3, -9}, {-6, 2}, {6, 2}}}, {0, 2, {{3, -6}, {3, 9}}}}},
     {{{0, 4, {{3, 9}, {3, -9}, {-6, 3}, {6, 3}}}}},
     {{{1, 5, {{-5, -9}, {-6, 1}, {-1, 1}, {3, 1}, {5, -2}}}, {0, 2, {{5, -9}, {4, 9}}}}}},
    {{{{0, 3, {{5, -9}, {-4, -9}, {-5, -1}}},
       {1, 7, {{-5, -1}, {-2, -3}, {0, -3}, {6, -3}, {6, 3}, {6, 9}, {-6, 8}}}}},
     {{{1, 9, {{5, -8}, {-3, -11}, {-5, -5}, {-6, -1}, {0, -1}, {6, 0}, {5, 5}, {3, 9}, {-5, 8}}}}},
     {{{0, 2, {{-4, -9}, {5, -9}}}, {0, 2, {{-4, -9}, {-4, -2}}},
       {1, 7, {{-4, -2}, {6, -4}, {6, 3}, {6, 9}, {0, 9}, {-3, 9}, {-5, 7}}}}}},
    {{{{1, 11, {{4, -9}, {-6, -6}, {-6, 3}, {-6, 9}, {0, 9}, {6, 9}, {6, 4}, {6, -1}, {0, -1},
                {-5, -1}, {-6, 4}}}}},
     {{{1, 9, {{0, -9}, {-6, 0}, {-5, 5}, {-4, 9}, {1, 9}, {6, 8}, {5, 4}, {3, -1}, {-5, 4}}}}},
     {{{1, 11, {{5, -7}, {2, -10}, {-3, -7}, {-6, -4}, {-6, 3}, {-6, 9}, {0, 9}, {5, 9}, {5, 4},
                {3, -2}, {-5, 1}}}}}},
    {{{{0, 3, {{-6, -9}, {6, -9}, {-1, 9}}}}},
     {{{0, 3, {{-6, -9}, {5, -9}, {-2, 9}}}, {0, 2, {{-4, 0}, {5, 0}}}}},
     {{{1, 5, {{-6, -8}, {0, -10}, {6, -9}, {0, -1}, {-1, 9}}}}}},
    {{{{1, 17, {{0, -1}, {-5, -1}, {-5, -5}, {-5, -9}, {0, -9}, {5, -9}, {5, -5}, {5, -1}, {0, -1},
                {-6, -1}, {-6, 4}, {-6, 9}, {0, 9}, {6, 9}, {6, 4}, {6, -1}, {0, -1}}}}},
     {{{1, 13, {{4, -6}, {2, -9}, {-1, -9}, {-7, -7}, {-2, -2}, {8, 4}, {3, 8}, {-2, 11}, {-5, 6},
                {-5, 2}, {1, -1}, {5, -3}, {4, -6}}}}},
     {{{1, 9, {{0, 0}, {-5, -4}, {-4, -7}, {0, -11}, {4, -7}, {5, -4}, {0, 0}, {0, 0}, {0, 0}}},
       {1, 7, {{0, 0}, {-8, 6}, {-4, 8}, {0, 11}, {4, 8}, {8, 6}, {0, 0}}}}}},
    {{{{1, 9, {{6, -4}, {6, 1}, {0, 1}, {-6, 1}, {-6, -4}, {-6, -9}, {0, -9}, {6, -9}, {6, -4}}},
       {1, 3, {{6, -4}, {6, 4}, {3, 9}}}}},
     {{{1, 9, {{5, -5}, {4, 0}, {-1, 0}, {-5, 0}, {-5, -4}, {-5, -9}, {0, -9}, {6, -9}, {5, -4}}},
       {1, 3, {{5, -4}, {6, 10}, {-4, 8}}}}},
     {{{1, 7, {{5, -6}, {-2, -12}, {-5, -5}, {-6, 1}, {0, 0}, {4, -1}, {5, -6}}},
       {0, 2, {{5, -8}, {4, 9}}}}}},
};

struct seg {
    float x0, y0, x1, y1, half, ink;   /* ends and half width in pixels, darkness */
};

/* Random numbers of one sample, one after the other. */
struct draw {
    struct mt_rng_key key;
    uint64_t next;
};

struct own {
    struct mt_rng_key part;
    int size;
    float noise, clutter, jitter;
    struct mt_scale scale;
    unsigned char *kept, *drawn;   /* pixels of all images, and which of them are there; NULL: the
                                      images are not kept */
    pthread_mutex_t lock;          /* of these two */
};

static float between(struct draw *d, float lo, float hi)
{
    return lo + (hi - lo) * (float)mt_rng_uniform(d->key, d->next++);
}

static int below(struct draw *d, int n)
{
    return (int)(mt_rng_u32(d->key, d->next++) % (uint32_t)n);
}

/* From the digit's coordinates to pixels: a quadratic field, then a linear map. */
struct warp {
    float bend[6], map[4], move[2];
};

static struct warp warp_draw(struct draw *d, const struct own *o)
{
    float j = o->jitter, unit = (float)o->size / 28.0f;
    float t = between(d, -0.12f, 0.12f) * j;   /* tan of half the angle: 14 degrees */
    float c = (1 - t * t) / (1 + t * t), s = 2 * t / (1 + t * t);
    float sx = (1 + between(d, -0.2f, 0.14f) * j) * unit;
    float sy = (1 + between(d, -0.2f, 0.07f) * j) * unit;
    float shear = between(d, -0.24f, 0.24f) * j;
    struct warp w;

    w.map[0] = c * sx;
    w.map[1] = (c * shear - s) * sy;
    w.map[2] = s * sx;
    w.map[3] = (s * shear + c) * sy;
    for (int i = 0; i < 6; i++) {
        w.bend[i] = between(d, -0.012f, 0.012f) * j;
    }
    w.move[0] = 14 * unit + between(d, -2.4f, 2.4f) * j * unit;
    w.move[1] = 14 * unit + between(d, -2.4f, 2.4f) * j * unit;
    return w;
}

static void warp_point(const struct warp *w, float x, float y, float *px, float *py)
{
    float u = x + w->bend[0] * x * x + w->bend[1] * x * y + w->bend[2] * y * y;
    float v = y + w->bend[3] * x * x + w->bend[4] * x * y + w->bend[5] * y * y;

    *px = w->map[0] * u + w->map[1] * v + w->move[0];
    *py = w->map[2] * u + w->map[3] * v + w->move[1];
}

/* Adds the pieces of one stroke; p: its points, each shaken a little. */
static int add_stroke(const struct stroke *k, const struct warp *w, float p[19][2], float half,
                      float ink, struct seg *seg, int n)
{
    int step = k->curve ? 2 : 1, pieces = k->curve ? PIECES : 1;

    for (int i = 0; i + step < k->points; i += step) {
        for (int q = 0; q < pieces && n < MAXSEG; q++) {
            struct seg *g = &seg[n++];
            float end[2][2];

            for (int e = 0; e < 2; e++) {
                float t = (float)(q + e) / (float)pieces, r = 1 - t;

                for (int a = 0; a < 2; a++) {
                    end[e][a] = k->curve ? r * r * p[i][a] + 2 * r * t * p[i + 1][a] +
                                               t * t * p[i + 2][a]
                                         : r * p[i][a] + t * p[i + 1][a];
                }
            }
            warp_point(w, end[0][0], end[0][1], &g->x0, &g->y0);
            warp_point(w, end[1][0], end[1][1], &g->x1, &g->y1);
            g->half = half;
            g->ink = ink;
        }
    }
    return n;
}

static int add_digit(struct draw *d, const struct own *o, int digit, struct seg *seg)
{
    const struct glyph *glyph = &glyphs[digit][below(d, WAYS)];
    struct warp w = warp_draw(d, o);
    float half = between(d, 0.5f, 1.5f) * (float)o->size / 28.0f, ink = between(d, 0.55f, 1.0f);
    int n = 0;

    for (int k = 0; k < 3 && glyph->stroke[k].points > 0; k++) {
        const struct stroke *stroke = &glyph->stroke[k];
        float p[19][2];

        for (int i = 0; i < stroke->points; i++) {
            p[i][0] = (float)stroke->at[i][0] + between(d, -0.6f, 0.6f) * o->jitter;
            p[i][1] = (float)stroke->at[i][1] + between(d, -0.6f, 0.6f) * o->jitter;
        }
        n = add_stroke(stroke, &w, p, half, ink, seg, n);
    }
    return n;
}

/* Up to three short lines anywhere, lighter or as dark as the digit. */
static int add_clutter(struct draw *d, const struct own *o, struct seg *seg, int n)
{
    float size = (float)o->size;
    int lines = between(d, 0, 1) < o->clutter ? 1 + below(d, 3) : 0;

    for (int i = 0; i < lines && n < MAXSEG; i++) {
        struct seg *g = &seg[n++];

        g->x0 = between(d, 0, size);
        g->y0 = between(d, 0, size);
        g->x1 = g->x0 + between(d, -0.25f, 0.25f) * size;
        g->y1 = g->y0 + between(d, -0.25f, 0.25f) * size;
        g->half = between(d, 0.4f, 1.0f) * size / 28.0f;
        g->ink = between(d, 0.3f, 0.9f);
    }
    return n;
}

static int clamp(float v, int hi)
{
    return v < 0 ? 0 : v > (float)hi ? hi : (int)v;
}

/* Darkens what lies under the pen: full within half - 1/2 of the line, none beyond half + 1/2. */
static void paint(const struct seg *g, float *image, int size)
{
    float dx = g->x1 - g->x0, dy = g->y1 - g->y0, per = 1 / (dx * dx + dy * dy + 1e-6f);
    float reach = g->half + 0.5f;
    int left = clamp((dx < 0 ? g->x1 : g->x0) - reach - 1, size);
    int right = clamp((dx < 0 ? g->x0 : g->x1) + reach + 1, size);
    int top = clamp((dy < 0 ? g->y1 : g->y0) - reach - 1, size);
    int bottom = clamp((dy < 0 ? g->y0 : g->y1) + reach + 1, size);

    for (int row = top; row < bottom; row++) {
        for (int col = left; col < right; col++) {
            float x = (float)col + 0.5f - g->x0, y = (float)row + 0.5f - g->y0;
            float t = (x * dx + y * dy) * per, far2, cover;

            t = t < 0 ? 0 : t > 1 ? 1 : t;
            x -= t * dx;
            y -= t * dy;
            far2 = x * x + y * y;
            if (far2 >= reach * reach) {
                continue;
            }
            cover = reach - sqrtf(far2);
            cover = (cover > 1 ? 1 : cover) * g->ink;
            if (cover > image[row * size + col]) {
                image[row * size + col] = cover;
            }
        }
    }
}

/* Background, noise and rounding to bytes. Sixteen pixels share the 128 bits of one counter. */
static void finish(struct draw *d, const struct own *o, const float *image, float *x)
{
    float ground = between(d, 0, 0.5f) * o->noise;
    int pixels = o->size * o->size;

    for (int i = 0; i < pixels; i += 16) {
        uint32_t c[4] = {(uint32_t)(i / 16), 0, 1, 0}, r[4];

        mt_rng_bits(d->key, c, r);
        for (int k = 0; k < 16 && i + k < pixels; k++) {
            int byte = (int)(r[k / 4] >> (8 * (k % 4)) & 255);
            float u = (float)(2 * byte - 255) * (1.0f / 256);   /* -1 < u < 1 */
            float v = image[i + k] + ground + o->noise * u;

            x[i + k] = (float)(int)((v < 0 ? 0 : v > 1 ? 1 : v) * 255 + 0.5f);
        }
    }
}

static int32_t digit_of(int64_t i)
{
    return (int32_t)(i % 10);
}

/* Pixels 0..255 of sample i into x. */
static void render(const struct own *o, int64_t i, float *x)
{
    struct draw d = {.key = o->part};
    struct seg seg[MAXSEG];
    float image[MAXSIZE * MAXSIZE];
    int n;

    d.key = mt_rng_key(o->part.k[0] | (uint64_t)o->part.k[1] << 32, MT_RNG_DATA, (uint64_t)i);
    memset(image, 0, (size_t)(o->size * o->size) * sizeof *image);
    n = add_digit(&d, o, digit_of(i), seg);
    n = add_clutter(&d, o, seg, n);
    for (int k = 0; k < n; k++) {
        paint(&seg[k], image, o->size);
    }
    finish(&d, o, image, x);
}

/* An image is drawn when it is first asked for and kept, a byte a pixel: drawing takes longer
 * than training on it. Loaders of different threads may ask at the same time. */
static void keep(struct own *o, int64_t i, float *x)
{
    int pixels = o->size * o->size;
    unsigned char *kept = o->kept + i * pixels;

    pthread_mutex_lock(&o->lock);
    if (!o->drawn[i]) {
        render(o, i, x);
        for (int k = 0; k < pixels; k++) {
            kept[k] = (unsigned char)x[k];
        }
        o->drawn[i] = 1;
    }
    pthread_mutex_unlock(&o->lock);
    for (int k = 0; k < pixels; k++) {
        x[k] = (float)kept[k];
    }
}

static int fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    struct own *o = s->own;

    if (y != NULL) {
        *(int32_t *)y = digit_of(i);
    }
    if (x == NULL) {
        return MOTLEY_OK;
    }
    if (o->kept != NULL) {
        keep(o, i, x);
    } else {
        render(o, i, x);
    }
    for (int64_t j = 0; j < s->sample.x_size; j++) {
        x[j] = x[j] * o->scale.mul + o->scale.add;
    }
    return MOTLEY_OK;
}

static void set_free(struct mt_set *s)
{
    struct own *o = s->own;

    if (o == NULL) {
        return;
    }
    if (o->kept != NULL) {
        pthread_mutex_destroy(&o->lock);
    }
    mt_free(s->ctx, o->drawn);
    mt_free(s->ctx, o->kept);
    mt_free(s->ctx, o);
}

/* Room for all images, unless that is a lot. */
static int keep_images(struct mt_ctx *ctx, struct own *o, int64_t n)
{
    if (n > KEEP_BYTES / (o->size * o->size)) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW_N(ctx, n, &o->drawn));
    MT_TRY(MT_NEW_N(ctx, n * o->size * o->size, &o->kept));
    if (pthread_mutex_init(&o->lock, NULL) != 0) {
        mt_free(ctx, o->kept);
        o->kept = NULL;
        MT_FAIL(MOTLEY_EMEM, "no lock for the images of format digits");
    }
    return MOTLEY_OK;
}

/* The digest is of the parameters, which say everything, and of a few samples, which show that
 * this host draws like the others. */
static int set_hash(struct mt_ctx *ctx, struct mt_set *s)
{
    const struct own *o = s->own;
    const float param[5] = {o->noise, o->clutter, o->jitter, o->scale.mul, o->scale.add};
    float x[MAXSIZE * MAXSIZE];
    struct mt_hash *h = NULL;

    MT_TRY(mt_hash_new(ctx, &h));
    mt_hash_add_text(h, VERSION);
    mt_hash_add(h, param, sizeof param);
    for (int64_t i = 0; i < PROBES && i < s->n; i++) {
        int32_t y = digit_of(i);

        render(o, i, x);
        mt_hash_add(h, x, (size_t)s->sample.x_size * sizeof *x);
        mt_hash_add(h, &y, sizeof y);
    }
    mt_hash_text(h, s->hash);
    mt_hash_free(h);
    return MOTLEY_OK;
}

static int set_new(struct mt_ctx *ctx, const union mt_attr_val *val, int64_t n, const char *part,
                   struct mt_set **out)
{
    struct mt_set *s = NULL;
    struct own *o = NULL;
    int64_t dim[3] = {1, val[SIZE].i, val[SIZE].i};
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->n = n;
    s->fetch = fetch;
    s->free = set_free;
    s->sample.classes = 10;
    MT_TRY_OR(fail, mt_sample_shape(&s->sample, 3, dim));
    MT_TRY_OR(fail, MT_NEW(ctx, &o));
    s->own = o;
    o->part = mt_rng_key((uint64_t)val[SEED].i, MT_RNG_DATA, mt_rng_stream(part));
    o->size = (int)val[SIZE].i;
    o->noise = (float)val[NOISE].f;
    o->clutter = (float)val[CLUTTER].f;
    o->jitter = (float)val[JITTER].f;
    mt_set_scale(s, &o->scale, 255, val[MEAN].f, val[STD].f);
    MT_TRY_OR(fail, keep_images(ctx, o, n));
    MT_TRY_OR(fail, set_hash(ctx, s));
    *out = s;
    return MOTLEY_OK;
fail:
    mt_set_free(s);
    return st;
}

static int open_digits(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                       uint64_t seed, struct mt_set **train, struct mt_set **held)
{
    struct mt_set *a = NULL, *b = NULL;
    int st = MOTLEY_OK;

    (void)at;
    (void)seed;
    MT_TRY(set_new(ctx, val, val[N].i, "digits train", &a));
    if (val[HELD].i > 0) {
        MT_TRY_OR(fail, set_new(ctx, val, val[HELD].i, "digits held", &b));
    }
    *train = a;
    *held = b;
    return MOTLEY_OK;
fail:
    mt_set_free(a);
    return st;
}

const struct mt_reader mt_reader_digits = {
    .name = "digits",
    .doc = "built in: generated images of the digits 0 to 9",
    .attrs = attrs,
    .open = open_digits};
