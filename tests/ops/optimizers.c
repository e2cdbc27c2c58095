/* optimizers.c -- update kernels, gradient norm and scale.
 *
 * Proves two things of every optimizer, for several steps, group patterns and a range in the
 * middle of the flat space:
 *   numbers    against the formulas of src/optim in double. Bound: every quantity in a formula
 *              passes at most 12 operations of one half-ulp each (the scaled gradient 2, moments
 *              3, same_sqrt and same_div 2 each, the last fma 1, float constants 2), relative to
 *              the sum of magnitudes of its terms; 2^-24 a half-ulp.
 *   same bits  against the same sequence of float operations on the host, where + - * and fmaf
 *              are correctly rounded: equal to the last bit. Any two devices that pass agree.
 * What lies outside of the range must stay. */
#include "base/ctx.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/dev.h"
#include "optim/optim.h"
#include "tests/kit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 64 * 6, LO = 64, HI = 64 * 5, PARTS = 256 };

#define HALF_ULP (1.0 / 16777216)

/* ---- the sequences of cl/motley.clh on the host ---- */

static float of_bits(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    return u;
}

static float host_div(float a, float b)
{
    float mag = fabsf(b), r = of_bits(0x7ef311c7u - bits_of(mag)), q;

    for (int i = 0; i < 3; i++) {
        r = r * fmaf(-mag, r, 2.0f);
    }
    r = copysignf(r, b);
    q = a * r;
    return fmaf(fmaf(-q, b, a), r, q);
}

static float host_sqrt(float x)
{
    float y = of_bits(0x5f3759dfu - (bits_of(x) >> 1)), h = 0.5f * x, s;

    for (int i = 0; i < 3; i++) {
        y = y * fmaf(-h * y, y, 1.5f);
    }
    s = x * y;
    return fmaf(fmaf(-s, s, x), 0.5f * y, s);
}

/* ---- one element of each optimizer: as the kernel, and in double ---- */

struct element {
    float p, g, slot[MT_OPTIM_SLOTS];
};

struct wide {
    double p, slot[MT_OPTIM_SLOTS];
    double size;   /* magnitude that errors of p relate to */
};

struct model {
    const char *name;
    const char *attrs;   /* YAML-free: applied with mt_attr_parse, "key=value ..." */
    void (*bits)(struct element *e, float scale, int decays, const float *num);
    void (*exact)(const struct element *e, double scale, int decays, const struct mt_optim *o,
                  int64_t step, double lr, struct wide *w);
};

static double attr(const struct mt_optim *o, const char *name)
{
    return o->attr[mt_attr_find(o->kind->attrs, name)].f;
}

static void sgd_bits(struct element *e, float scale, int decays, const float *num)
{
    float d = fmaf(decays ? num[1] : 0.0f, e->p, e->g * scale);

    e->p = fmaf(-num[0], d, e->p);
}

static double decayed(const struct element *e, double scale, int decays, const struct mt_optim *o)
{
    return e->g * scale + (decays ? attr(o, "weight_decay") * e->p : 0);
}

static void sgd_exact(const struct element *e, double scale, int decays, const struct mt_optim *o,
                      int64_t step, double lr, struct wide *w)
{
    double d = decayed(e, scale, decays, o);

    (void)step;
    w->p = e->p - lr * d;
    w->size = fabs(e->p) + lr * (fabs(e->g * scale) + fabs(e->p));
}

static void momentum_bits(struct element *e, float scale, int decays, const float *num)
{
    float d = fmaf(decays ? num[1] : 0.0f, e->p, e->g * scale);
    float b = fmaf(num[2], e->slot[0], d);

    e->slot[0] = b;
    e->p = fmaf(-num[0], num[3] != 0.0f ? fmaf(num[2], b, d) : b, e->p);
}

static void momentum_exact(const struct element *e, double scale, int decays,
                           const struct mt_optim *o, int64_t step, double lr, struct wide *w)
{
    double d = decayed(e, scale, decays, o), mu = attr(o, "momentum");
    double b = mu * e->slot[0] + d;
    int nesterov = o->attr[mt_attr_find(o->kind->attrs, "nesterov")].b;

    (void)step;
    w->slot[0] = b;
    w->p = e->p - lr * (nesterov ? d + mu * b : b);
    w->size = fabs(e->p) + 2 * lr * (fabs(e->g * scale) + fabs(e->p) + fabs(e->slot[0]));
}

static void adagrad_bits(struct element *e, float scale, int decays, const float *num)
{
    float d = fmaf(decays ? num[1] : 0.0f, e->p, e->g * scale);
    float v = fmaf(d, d, e->slot[0]);

    e->slot[0] = v;
    e->p = fmaf(-num[0], host_div(d, host_sqrt(v) + num[2]), e->p);
}

static void adagrad_exact(const struct element *e, double scale, int decays,
                          const struct mt_optim *o, int64_t step, double lr, struct wide *w)
{
    double d = decayed(e, scale, decays, o), v = e->slot[0] + d * d;
    double terms = fabs(e->g * scale) + fabs(e->p);

    (void)step;
    w->slot[0] = v;
    w->p = e->p - lr * d / (sqrt(v) + attr(o, "eps"));
    w->size = fabs(e->p) + lr * terms / (sqrt(v) + attr(o, "eps"));
}

static void rmsprop_bits(struct element *e, float scale, int decays, const float *num)
{
    float d = fmaf(decays ? num[1] : 0.0f, e->p, e->g * scale);
    float v = fmaf(num[2], e->slot[0], num[3] * (d * d));

    e->slot[0] = v;
    e->p = fmaf(-num[0], host_div(d, host_sqrt(v) + num[4]), e->p);
}

static void rmsprop_exact(const struct element *e, double scale, int decays,
                          const struct mt_optim *o, int64_t step, double lr, struct wide *w)
{
    double d = decayed(e, scale, decays, o), a = attr(o, "alpha");
    double v = a * e->slot[0] + (1 - a) * d * d, terms = fabs(e->g * scale) + fabs(e->p);

    (void)step;
    w->slot[0] = v;
    w->p = e->p - lr * d / (sqrt(v) + attr(o, "eps"));
    w->size = fabs(e->p) + lr * terms / (sqrt(v) + attr(o, "eps"));
}

static void adam_bits_of(struct element *e, float w, float d, const float *num)
{
    float m = fmaf(num[2], e->slot[0], num[3] * d);
    float v = fmaf(num[4], e->slot[1], num[5] * (d * d));

    e->slot[0] = m;
    e->slot[1] = v;
    e->p = fmaf(-num[0], host_div(m, fmaf(host_sqrt(v), num[6], num[7])), w);
}

static void adam_bits(struct element *e, float scale, int decays, const float *num)
{
    adam_bits_of(e, e->p, fmaf(decays ? num[1] : 0.0f, e->p, e->g * scale), num);
}

static void adamw_bits(struct element *e, float scale, int decays, const float *num)
{
    adam_bits_of(e, fmaf(decays ? -num[1] : -0.0f, e->p, e->p), e->g * scale, num);
}

static void adam_exact_of(const struct element *e, double p, double d, double terms,
                          const struct mt_optim *o, int64_t step, double lr, struct wide *w)
{
    double b1 = attr(o, "beta1"), b2 = attr(o, "beta2"), t = (double)step + 1;
    double m = b1 * e->slot[0] + (1 - b1) * d, v = b2 * e->slot[1] + (1 - b2) * d * d;
    double below = sqrt(v / (1 - pow(b2, t))) + attr(o, "eps"), rate = lr / (1 - pow(b1, t));

    w->slot[0] = m;
    w->slot[1] = v;
    w->p = p - rate * m / below;
    w->size = fabs(e->p) + rate * (fabs(b1 * e->slot[0]) + (1 - b1) * terms) / below;
}

static void adam_exact(const struct element *e, double scale, int decays, const struct mt_optim *o,
                       int64_t step, double lr, struct wide *w)
{
    adam_exact_of(e, e->p, decayed(e, scale, decays, o), fabs(e->g * scale) + fabs(e->p), o, step,
                  lr, w);
}

static void adamw_exact(const struct element *e, double scale, int decays,
                        const struct mt_optim *o, int64_t step, double lr, struct wide *w)
{
    double p = e->p * (1 - (decays ? lr * attr(o, "weight_decay") : 0));

    adam_exact_of(e, p, e->g * scale, fabs(e->g * scale), o, step, lr, w);
}

static const struct model models[] = {
    {"sgd", "weight_decay=0.01", sgd_bits, sgd_exact},
    {"momentum", "weight_decay=0.01", momentum_bits, momentum_exact},
    {"momentum", "weight_decay=0.01 nesterov=true", momentum_bits, momentum_exact},
    {"adagrad", "weight_decay=0.01", adagrad_bits, adagrad_exact},
    {"rmsprop", "weight_decay=0.01", rmsprop_bits, rmsprop_exact},
    {"adam", "weight_decay=0.01", adam_bits, adam_exact},
    {"adamw", "weight_decay=0.1", adamw_bits, adamw_exact},
};

/* ---- running them ---- */

struct bench {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_report *report;
    uint64_t seed;
    struct mt_buf *param, *grad, *slot[MT_OPTIM_SLOTS], *group, *scalar;
    float p[N], g[N], s[MT_OPTIM_SLOTS][N];
    uint32_t decays[N / 64];
    float scale;
};

/* Gradients over many powers of two, some zero, also where weight and state are (as in the gaps of
 * the flat space); squares are non-negative. */
static void draw(struct bench *b, int nslots, const char *const *slots)
{
    struct mt_rng_key key = mt_rng_key(b->seed, MT_RNG_TEST, 77);

    b->scale = (float)(1.0 / 96);
    for (uint64_t i = 0; i < N; i++) {
        double spread = ldexp(1, (int)(mt_rng_u32(key, 4 * N + i) % 24) - 16);

        b->p[i] = i % 34 == 0 ? 0.0f : (float)mt_rng_normal(key, i);
        b->g[i] = i % 17 == 0 ? 0.0f : (float)(96 * spread * mt_rng_normal(key, N + i));
        for (int k = 0; k < nslots; k++) {
            double x = spread * mt_rng_normal(key, (uint64_t)(2 + k) * N + i);

            b->s[k][i] = i % 34 == 0 ? 0.0f : (float)(strstr(slots[k], "sq") ? x * x : x);
        }
    }
    for (int k = 0; k < N / 64; k++) {
        b->decays[k] = (uint32_t)(k % 3 != 1);
    }
}

static int upload(struct bench *b, int nslots)
{
    float scalar[MT_SCALARS] = {b->scale};

    MT_TRY(mt_buf_write(b->param, 0, sizeof b->p, b->p));
    MT_TRY(mt_buf_write(b->grad, 0, sizeof b->g, b->g));
    for (int k = 0; k < nslots; k++) {
        MT_TRY(mt_buf_write(b->slot[k], 0, sizeof b->s[k], b->s[k]));
    }
    MT_TRY(mt_buf_write(b->group, 0, sizeof b->decays, b->decays));
    return mt_buf_write(b->scalar, 0, sizeof scalar, scalar);
}

static void compare(struct mt_result *bits, struct mt_result *numbers, int64_t i, float got,
                    float same, double exact, double size)
{
    mt_result_element(bits, i, got, same, 0);
    if (got == same && bits_of(got) != bits_of(same)) {
        mt_result_fail(bits, "element %d is %g, expected %g", (int)i, (double)got, (double)same);
    }
    mt_result_element(numbers, i, got, exact, 12 * HALF_ULP * size);
}

static int check_step(struct bench *b, const struct model *m, const struct mt_optim *o,
                      int64_t step)
{
    static float p[N], s[MT_OPTIM_SLOTS][N];
    struct mt_result bits, numbers;
    struct mt_optim_args a = {.param = b->param, .grad = b->grad, .group = b->group,
                              .scalar = b->scalar, .range = {LO, HI}, .step = step,
                              .lr = mt_optim_lr(o)};
    float num[MT_OPTIM_NUMBERS];
    char name[64];

    snprintf(name, sizeof name, "%s %s step %d by %d", m->name, m->attrs, (int)step, o->vector);
    bits = mt_result_new("optimizers", name, "same bits");
    numbers = mt_result_new("optimizers", name, "numbers");
    memcpy(a.slot, b->slot, sizeof a.slot);
    MT_TRY(upload(b, o->kind->nslots));
    MT_TRY(mt_optim_update(o, b->dev, &a));
    MT_TRY(mt_buf_read(b->param, 0, sizeof p, p));
    for (int k = 0; k < o->kind->nslots; k++) {
        MT_TRY(mt_buf_read(b->slot[k], 0, sizeof s[k], s[k]));
    }
    o->kind->fill(o, step, a.lr, num);
    for (int64_t i = 0; i < N; i++) {
        int inside = i >= LO && i < HI, decays = (int)b->decays[i / 64];
        struct element e = {.p = b->p[i], .g = b->g[i]};
        struct wide w = {.p = b->p[i]};

        for (int k = 0; k < o->kind->nslots; k++) {
            e.slot[k] = b->s[k][i];
            w.slot[k] = b->s[k][i];
        }
        if (inside) {
            m->exact(&e, b->scale, decays, o, step, a.lr, &w);
            m->bits(&e, b->scale, decays, num);
        }
        compare(&bits, &numbers, i, p[i], e.p, w.p, w.size);
        for (int k = 0; k < o->kind->nslots; k++) {
            double d = fabs((double)b->g[i] * b->scale) + fabs((double)b->p[i]);
            double size = strstr(o->kind->slots[k], "sq") ? fabs((double)b->s[k][i]) + d * d
                                                          : fabs((double)b->s[k][i]) + d;

            compare(&bits, &numbers, i, s[k][i], e.slot[k], w.slot[k], inside ? size : 0);
        }
    }
    MT_TRY(mt_report_add(b->report, &bits));
    return mt_report_add(b->report, &numbers);
}

static int set_attrs(struct mt_optim *o, const char *words)
{
    char copy[128];

    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok(copy, " "); w != NULL; w = strtok(NULL, " ")) {
        char *eq = strchr(w, '=');
        int i;

        *eq = '\0';
        i = mt_attr_find(o->kind->attrs, w);
        MT_TRY(mt_attr_parse(&o->kind->attrs[i], eq + 1, &o->attr[i]));
    }
    return MOTLEY_OK;
}

static int check_optimizer(struct bench *b, const struct model *m)
{
    static const int64_t steps[] = {0, 1, 1000};
    struct mt_tree word = {.kind = MT_TREE_SCALAR, .text = m->name};
    struct mt_optim *o = NULL;
    int st;

    MT_TRY(mt_optim_new(b->ctx, &word, &o));
    MT_TRY_OR(end, set_attrs(o, m->attrs));
    draw(b, o->kind->nslots, o->kind->slots);
    for (size_t i = 0; i < 2 * sizeof steps / sizeof *steps; i++) {
        MT_TRY_OR(end, mt_optim_bind_vector(o, b->dev, i % 2 ? 16 : 1));
        MT_TRY_OR(end, check_step(b, m, o, steps[i / 2]));
    }
end:
    mt_optim_free(o);
    return st;
}

/* The fixed tree of group_sum over WG = 64 values. */
static float tree(float *v)
{
    for (int span = 32; span > 0; span /= 2) {
        for (int t = 0; t < span; t++) {
            v[t] += v[t + span];
        }
    }
    return v[0];
}

static float host_norm(const float *g, int n, float *part)
{
    float item[64];

    for (int k = 0; k < PARTS; k++) {
        for (int t = 0; t < 64; t++) {
            item[t] = 0;
            for (int i = k * 64 + t; i < n; i += PARTS * 64) {
                item[t] = fmaf(g[i], g[i], item[t]);
            }
        }
        part[k] = tree(item);
    }
    for (int t = 0; t < 64; t++) {
        item[t] = 0;
        for (int i = t; i < PARTS; i += 64) {
            item[t] += part[i];
        }
    }
    return tree(item);
}

/* Norm and scale of N gradients with count 96, without and with clipping. */
static int check_scale(struct bench *b, float clip)
{
    struct mt_result bits, numbers;
    struct mt_kernel *norm, *scale;
    float stats[3] = {5.5f, 96.0f, 41.0f}, got[MT_SCALARS], part[PARTS] = {0}, sum = 0;
    float inv = host_div(1, 96), want[5], limit = 1;
    double exact = 0;
    char name[64];

    snprintf(name, sizeof name, "scale, clip %g", (double)clip);
    bits = mt_result_new("optimizers", name, "same bits");
    numbers = mt_result_new("optimizers", name, "numbers");
    draw(b, 0, NULL);
    MT_TRY(upload(b, 0));
    MT_TRY(mt_kernel_get(b->dev, "update", "update_norm", NULL, &norm));
    MT_TRY(mt_kernel_get(b->dev, "update", "update_scale", NULL, &scale));
    MT_TRY(mt_buf_write(b->slot[0], 0, sizeof stats, stats));
    MT_TRY(mt_buf_write(b->slot[1], 0, sizeof part, part));
    if (clip > 0) {
        MT_TRY(mt_launch(b->dev, norm, mt_groups(PARTS, MT_WG),
                         MT_ARGS(mt_b(b->slot[1], 0), mt_b(b->grad, 0), mt_u64(N), mt_u32(0))));
        sum = host_norm(b->g, N, part);
        for (int i = 0; i < N; i++) {
            exact += (double)b->g[i] * b->g[i];
        }
    }
    MT_TRY(mt_launch(b->dev, scale, mt_groups(1, MT_WG),
                     MT_ARGS(mt_b(b->scalar, 0), mt_b(b->slot[0], 0), mt_b(b->slot[1], 0),
                             mt_u32(PARTS), mt_f32(clip))));
    MT_TRY(mt_buf_read(b->scalar, 0, sizeof got, got));
    want[MT_SCALAR_NORM] = host_sqrt(sum) * inv;
    if (clip > 0) {
        limit = fminf(1, host_div(clip, want[MT_SCALAR_NORM] + 1e-6f));
    }
    want[MT_SCALAR_SCALE] = inv * limit;
    memcpy(&want[MT_SCALAR_LOSS], stats, sizeof stats);
    for (int i = 0; i < 5; i++) {
        mt_result_element(&bits, i, got[i], want[i], 0);
    }
    exact = sqrt(exact) / 96;
    mt_result_element(&numbers, MT_SCALAR_NORM, got[MT_SCALAR_NORM], exact,
                      20 * HALF_ULP * exact);
    exact = (clip > 0 ? fmin(1, clip / (exact + 1e-6)) : 1) / 96;
    mt_result_element(&numbers, MT_SCALAR_SCALE, got[MT_SCALAR_SCALE], exact,
                      24 * HALF_ULP * exact);
    MT_TRY(mt_report_add(b->report, &bits));
    return mt_report_add(b->report, &numbers);
}

static int run(struct mt_dev *dev, const struct mt_check_opt *opt, struct mt_report *r)
{
    struct bench *b = NULL;
    struct mt_ctx *ctx = mt_dev_ctx(dev);
    int st;

    MT_TRY(MT_NEW(ctx, &b));
    b->ctx = ctx;
    b->dev = dev;
    b->report = r;
    b->seed = opt->seed;
    MT_TRY_OR(end, mt_buf_new(dev, N * 4, "parameters", &b->param));
    MT_TRY_OR(end, mt_buf_new(dev, N * 4, "gradients", &b->grad));
    for (int k = 0; k < MT_OPTIM_SLOTS; k++) {
        MT_TRY_OR(end, mt_buf_new(dev, N * 4, "state", &b->slot[k]));
    }
    MT_TRY_OR(end, mt_buf_new(dev, N / 64 * 4, "groups", &b->group));
    MT_TRY_OR(end, mt_buf_new(dev, MT_SCALARS * 4, "scalars", &b->scalar));
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        MT_TRY_OR(end, check_optimizer(b, &models[i]));
    }
    MT_TRY_OR(end, check_scale(b, 0));
    MT_TRY_OR(end, check_scale(b, 0.5f));
    MT_TRY_OR(end, check_scale(b, 1e6f));
end:
    mt_buf_free(b->param);
    mt_buf_free(b->grad);
    for (int k = 0; k < MT_OPTIM_SLOTS; k++) {
        mt_buf_free(b->slot[k]);
    }
    mt_buf_free(b->group);
    mt_buf_free(b->scalar);
    mt_free(ctx, b);
    return st;
}

MT_SUITE(optimizers, .run = run);
