/* precision.c -- what bf16 and fp16 add to updates.
 *
 * Proves, to the last bit:
 *   copies     every optimizer, one and 16 elements a work-item, writes the same weights and state
 *              as with fp32, and working copies that are those weights rounded to nearest even;
 *              nothing outside of the range
 *   skipped    fp16: with scale 0, after an overflow, weights, copies and state stay, although
 *              gradients are infinite or no numbers
 *   scale      fp16: norm and scale of gradients times S are those of the gradients; the scale of
 *              the loss halves after a gradient that is no number, not below 2^-24; doubles after
 *              2000 steps without, not above 2^24; is left alone otherwise */
#include "base/ctx.h"
#include "base/half.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/dev.h"
#include "optim/optim.h"
#include "tests/kit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N = 64 * 6, LO = 64, HI = 64 * 5, PARTS = 256, STATS = 3 };

#define UNTOUCHED 0x5a5a

struct bench {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_report *report;
    uint64_t seed;
    struct mt_buf *param, *work, *grad, *slot[MT_OPTIM_SLOTS], *group, *scalar, *partial, *stats;
};

/* What an update starts from, and leaves. */
struct state {
    float p[N], g[N], s[MT_OPTIM_SLOTS][N];
    uint16_t work[N];
};

static void draw(const struct bench *b, struct state *x)
{
    struct mt_rng_key key = mt_rng_key(b->seed, MT_RNG_TEST, 78);

    for (uint64_t i = 0; i < N; i++) {
        x->p[i] = (float)mt_rng_normal(key, i);
        x->g[i] = (float)mt_rng_normal(key, N + i);
        for (uint64_t k = 0; k < MT_OPTIM_SLOTS; k++) {
            x->s[k][i] = fabsf((float)mt_rng_normal(key, (2 + k) * N + i));
        }
        x->work[i] = UNTOUCHED;
    }
}

static int update(struct bench *b, const struct mt_optim *o, float scale, struct state *x)
{
    uint32_t group[N / 64] = {0, 1, 1, 0, 1, 0};
    float scalar[MT_SCALARS] = {scale};
    struct mt_optim_args a = {.param = b->param, .work = b->work, .grad = b->grad,
                              .group = b->group, .scalar = b->scalar, .range = {LO, HI},
                              .step = 3, .lr = mt_optim_lr(o)};

    MT_TRY(mt_buf_write(b->param, 0, sizeof x->p, x->p));
    MT_TRY(mt_buf_write(b->work, 0, sizeof x->work, x->work));
    MT_TRY(mt_buf_write(b->grad, 0, sizeof x->g, x->g));
    MT_TRY(mt_buf_write(b->group, 0, sizeof group, group));
    MT_TRY(mt_buf_write(b->scalar, 0, sizeof scalar, scalar));
    for (int k = 0; k < MT_OPTIM_SLOTS; k++) {
        MT_TRY(mt_buf_write(b->slot[k], 0, sizeof x->s[k], x->s[k]));
        a.slot[k] = b->slot[k];
    }
    MT_TRY(mt_optim_update(o, b->dev, &a));
    MT_TRY(mt_buf_read(b->param, 0, sizeof x->p, x->p));
    MT_TRY(mt_buf_read(b->work, 0, sizeof x->work, x->work));
    for (int k = 0; k < MT_OPTIM_SLOTS; k++) {
        MT_TRY(mt_buf_read(b->slot[k], 0, sizeof x->s[k], x->s[k]));
    }
    return MOTLEY_OK;
}

static void compare(struct mt_result *r, const struct state *got, const struct state *want)
{
    for (int i = 0; i < N; i++) {
        mt_result_element(r, i, (double)got->p[i], (double)want->p[i], 0);
        mt_result_element(r, i, got->work[i], want->work[i], 0);
        for (int k = 0; k < MT_OPTIM_SLOTS; k++) {
            mt_result_element(r, i, (double)got->s[k][i], (double)want->s[k][i], 0);
        }
    }
}

/* One optimizer with one type of copies. */
static int check_update(struct bench *b, struct mt_optim *o, enum mt_dtype storage, int vector)
{
    static struct state first, want, got;
    struct mt_result r;
    char name[64];

    snprintf(name, sizeof name, "%s %s by %d", o->kind->name, mt_dtype_name(storage), vector);
    r = mt_result_new("precision", name, "copies");
    draw(b, &first);
    want = got = first;
    o->storage = MT_F32;
    MT_TRY(mt_optim_bind_vector(o, b->dev, vector));
    MT_TRY(update(b, o, 0.01f, &want));
    for (int i = LO; i < HI; i++) {
        want.work[i] = storage == MT_BF16 ? mt_half_to_bf16(want.p[i]) : mt_half_to_fp16(want.p[i]);
    }
    o->storage = storage;
    MT_TRY(mt_optim_bind_vector(o, b->dev, vector));
    MT_TRY(update(b, o, 0.01f, &got));
    compare(&r, &got, &want);
    MT_TRY(mt_report_add(b->report, &r));
    if (storage != MT_FP16) {
        return MOTLEY_OK;
    }
    r = mt_result_new("precision", name, "skipped");
    for (int i = 0; i < N; i++) {
        first.g[i] = i % 3 == 0 ? INFINITY : i % 3 == 1 ? NAN : first.g[i];
    }
    want = got = first;
    MT_TRY(update(b, o, 0.0f, &got));
    compare(&r, &got, &want);
    return mt_report_add(b->report, &r);
}

static int check_optimizer(struct bench *b, const char *word)
{
    struct mt_tree tree = {.kind = MT_TREE_SCALAR, .text = word};
    struct mt_optim *o = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_optim_new(b->ctx, &tree, &o));
    for (int i = 0; i < 4; i++) {
        MT_TRY_OR(end, check_update(b, o, i / 2 ? MT_FP16 : MT_BF16, i % 2 ? 16 : 1));
    }
end:
    mt_optim_free(o);
    return st;
}

/* ---- the scale of the loss ---- */

/* Norm and scale steps on gradients g, from the loss scale and streak in `scalar`, into it. */
static int run_scale(struct bench *b, enum mt_dtype storage, const float *g, float clip,
                     float scalar[MT_SCALARS])
{
    struct mt_kernel *norm, *scale;
    float stats[STATS] = {5.5f, 96.0f, 41.0f};

    MT_TRY(mt_kernel_get(b->dev, "update", "update_norm", mt_dtype_defines(storage), &norm));
    MT_TRY(mt_kernel_get(b->dev, "update", "update_scale", mt_dtype_defines(storage), &scale));
    MT_TRY(mt_buf_write(b->grad, 0, N * sizeof *g, g));
    MT_TRY(mt_buf_write(b->scalar, 0, MT_SCALARS * sizeof *scalar, scalar));
    MT_TRY(mt_buf_write(b->stats, 0, sizeof stats, stats));
    MT_TRY(mt_launch(b->dev, norm, mt_groups(PARTS, MT_WG),
                     MT_ARGS(mt_b(b->partial, 0), mt_b(b->grad, 0), mt_u64(N), mt_u32(0))));
    MT_TRY(mt_launch(b->dev, scale, mt_groups(1, MT_WG),
                     MT_ARGS(mt_b(b->scalar, 0), mt_b(b->stats, 0), mt_b(b->partial, 0),
                             mt_u32(PARTS), mt_f32(clip))));
    return mt_buf_read(b->scalar, 0, MT_SCALARS * sizeof *scalar, scalar);
}

static const struct turn {
    const char *name;
    double scale, streak, bad;    /* before; what one gradient is, 0: a number */
    double next, next_streak;
} turns[] = {
    {"good", 65536, 7, 0, 65536, 8},
    {"infinity", 65536, 7, INFINITY, 32768, 0},
    {"no number", 65536, 1999, NAN, 32768, 0},
    {"long good", 65536, 1999, 0, 131072, 0},
    {"at the top", 16777216, 1999, 0, 16777216, 0},
    {"above the top", 0x1p50, 3, 0, 0x1p50, 4},
    {"at the bottom", 0x1p-24, 3, INFINITY, 0x1p-24, 0},
    {"small", 0x1p-20, 1999, 0, 0x1p-19, 0},
};

static int check_turn(struct bench *b, const struct turn *t, float clip)
{
    static struct state x;
    struct mt_result r;
    float want[MT_SCALARS] = {0}, got[MT_SCALARS] = {0};
    char name[64];

    snprintf(name, sizeof name, "loss scale, %s, clip %g", t->name, (double)clip);
    r = mt_result_new("precision", name, "scale");
    draw(b, &x);
    MT_TRY(run_scale(b, MT_F32, x.g, clip, want));
    got[MT_SCALAR_LOSS_SCALE] = (float)t->scale;
    got[MT_SCALAR_STREAK] = (float)t->streak;
    got[MT_SCALAR_SKIPPED] = 5;
    for (int i = 0; i < N; i++) {
        x.g[i] *= (float)t->scale;
    }
    if (t->bad != 0) {
        x.g[100] = (float)t->bad;
        want[MT_SCALAR_SCALE] = want[MT_SCALAR_NORM] = 0;
    } else {
        want[MT_SCALAR_SCALE] /= (float)t->scale;
    }
    want[MT_SCALAR_LOSS_SCALE] = (float)t->next;
    want[MT_SCALAR_STREAK] = (float)t->next_streak;
    want[MT_SCALAR_SKIPPED] = t->bad != 0 ? 6 : 5;
    MT_TRY(run_scale(b, MT_FP16, x.g, clip, got));
    for (int i = 0; i < MT_SCALARS; i++) {
        mt_result_element(&r, i, (double)got[i], (double)want[i], 0);
    }
    return mt_report_add(b->report, &r);
}

static int run_all(struct bench *b)
{
    MT_TRY(mt_buf_new(b->dev, N * 4, "parameters", &b->param));
    MT_TRY(mt_buf_new(b->dev, N * 2, "working copies", &b->work));
    MT_TRY(mt_buf_new(b->dev, N * 4, "gradients", &b->grad));
    for (int k = 0; k < MT_OPTIM_SLOTS; k++) {
        MT_TRY(mt_buf_new(b->dev, N * 4, "state", &b->slot[k]));
    }
    MT_TRY(mt_buf_new(b->dev, N / 64 * 4, "groups", &b->group));
    MT_TRY(mt_buf_new(b->dev, MT_SCALARS * 4, "scalars", &b->scalar));
    MT_TRY(mt_buf_new(b->dev, PARTS * 4, "partial sums", &b->partial));
    MT_TRY(mt_buf_new(b->dev, STATS * 4, "statistics", &b->stats));
    for (int i = 0; mt_optims[i] != NULL; i++) {
        MT_TRY(check_optimizer(b, mt_optims[i]->name));
    }
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        MT_TRY(check_turn(b, &turns[i], 0));
        MT_TRY(check_turn(b, &turns[i], 0.5f));
    }
    return MOTLEY_OK;
}

static int run(struct mt_dev *dev, const struct mt_check_opt *opt, struct mt_report *r)
{
    struct bench b = {.ctx = mt_dev_ctx(dev), .dev = dev, .report = r, .seed = opt->seed};
    int st = run_all(&b);

    mt_buf_free(b.stats);
    mt_buf_free(b.partial);
    mt_buf_free(b.scalar);
    mt_buf_free(b.group);
    for (int k = MT_OPTIM_SLOTS - 1; k >= 0; k--) {
        mt_buf_free(b.slot[k]);
    }
    mt_buf_free(b.grad);
    mt_buf_free(b.work);
    mt_buf_free(b.param);
    return st;
}

MT_SUITE(precision, .run = run);
