/* sched.c -- learning-rate schedules; t is the part of the steps after warm-up that is done.
 *
 *   warm-up      base (s + 1) / warmup                             s < warmup
 *   constant     base
 *   step         base gamma^floor(s / every)
 *   exponential  base gamma^s                                      s in epochs or steps
 *   linear       base (1 + (end - 1) t)
 *   cosine       base (end + (1 - end) (1 + cos(pi t)) / 2)        I. Loshchilov, F. Hutter, 2017
 *   one_cycle    up from base/start to base by a cosine until t = peak, then down to base/end
 *                                                                  L. Smith, N. Topin, 2018 */
#include "optim/sched.h"

#include "base/ctx.h"
#include "base/same.h"

#include <stdio.h>
#include <string.h>

struct mt_sched {
    struct mt_ctx *ctx;
    const struct mt_sched_kind *kind;
    union mt_attr_val attr[MT_MAXATTR];
    struct mt_sched_run run;
};

#define WARMUP                                                                                \
    {"warmup", MT_ATTR_INT, .def.i = 0, .min = 0, .max = 1e12,                                \
     .doc = "steps over which the rate rises from near zero"}
#define UNIT                                                                                  \
    {"unit", MT_ATTR_WORD, .words = "epoch step", .def.w = 0,                                 \
     .doc = "what is counted"}
#define GAMMA(value)                                                                          \
    {"gamma", MT_ATTR_NUM, .def.f = value, .min = 1e-9, .max = 1, .doc = "factor"}
#define END(value)                                                                            \
    {"end", MT_ATTR_NUM, .def.f = value, .min = 0, .max = 1,                                  \
     .doc = "the last rate as a part of the base rate"}

static const struct mt_attr constant_attrs[] = {WARMUP, {.name = 0}};
static const struct mt_attr step_attrs[] = {
    WARMUP, GAMMA(0.1),
    {"every", MT_ATTR_INT, .def.i = 1, .min = 1, .max = 1e12, .doc = "units between two drops"},
    UNIT, {.name = 0}};
static const struct mt_attr exponential_attrs[] = {WARMUP, GAMMA(0.95), UNIT, {.name = 0}};
static const struct mt_attr end_attrs[] = {WARMUP, END(0), {.name = 0}};
static const struct mt_attr one_cycle_attrs[] = {
    WARMUP,
    {"peak", MT_ATTR_NUM, .def.f = 0.3, .min = 0.01, .max = 0.99,
     .doc = "part of the run after which the rate is highest"},
    {"start", MT_ATTR_NUM, .def.f = 25, .min = 1, .max = 1e9, .doc = "base / start at first"},
    {"finish", MT_ATTR_NUM, .def.f = 1e4, .min = 1, .max = 1e12, .doc = "base / finish at last"},
    {.name = 0}};

static double constant(const union mt_attr_val *a, const struct mt_sched_run *r, int64_t s)
{
    (void)a, (void)r, (void)s;
    return 1;
}

/* Steps in one unit of the attribute at position i. */
static int64_t unit(const union mt_attr_val *a, int i, const struct mt_sched_run *r)
{
    return a[i].w == 0 ? r->steps_per_epoch : 1;
}

static double step(const union mt_attr_val *a, const struct mt_sched_run *r, int64_t s)
{
    return mt_same_pow(a[1].f, s / unit(a, 3, r) / a[2].i);
}

static double exponential(const union mt_attr_val *a, const struct mt_sched_run *r, int64_t s)
{
    return mt_same_pow(a[1].f, s / unit(a, 2, r));
}

static double done(const struct mt_sched_run *r, int64_t s)
{
    int64_t last = r->total - r->warmup - 1;
    double t = last > 0 ? (double)s / (double)last : 1;

    return t < 1 ? t : 1;
}

static double linear(const union mt_attr_val *a, const struct mt_sched_run *r, int64_t s)
{
    return 1 + (a[1].f - 1) * done(r, s);
}

/* From `from` at t = 0 to `to` at t = 1 along half a cosine. */
static double swing(double from, double to, double t)
{
    return to + (from - to) * (1 + mt_same_cospi(t)) / 2;
}

static double cosine(const union mt_attr_val *a, const struct mt_sched_run *r, int64_t s)
{
    return swing(1, a[1].f, done(r, s));
}

static double one_cycle(const union mt_attr_val *a, const struct mt_sched_run *r, int64_t s)
{
    double t = done(r, s), peak = a[1].f;

    return t < peak ? swing(1 / a[2].f, 1, t / peak)
                    : swing(1, 1 / a[3].f, (t - peak) / (1 - peak));
}

static const struct mt_sched_kind kinds[] = {
    {"constant", "the base rate", constant_attrs, 0, constant},
    {"step", "drops by a factor every so often", step_attrs, 0, step},
    {"exponential", "drops by a factor every epoch or step", exponential_attrs, 0, exponential},
    {"linear", "along a line to the last rate", end_attrs, 1, linear},
    {"cosine", "along half a cosine to the last rate", end_attrs, 1, cosine},
    {"one_cycle", "up, then down to almost nothing", one_cycle_attrs, 1, one_cycle}};

const struct mt_sched_kind *const mt_scheds[] = {&kinds[0], &kinds[1], &kinds[2], &kinds[3],
                                                 &kinds[4], &kinds[5], NULL};

static const struct mt_sched_kind *find(const char *name)
{
    for (int i = 0; mt_scheds[i] != NULL; i++) {
        if (strcmp(mt_scheds[i]->name, name) == 0) {
            return mt_scheds[i];
        }
    }
    return NULL;
}

static int unknown(const struct mt_tree *t, const char *word)
{
    char list[256] = "";

    for (int i = 0; mt_scheds[i] != NULL; i++) {
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 mt_scheds[i]->name);
    }
    MT_TREE_FAIL(t, "unknown schedule '%s'; there are %s", word, list);
}

static int check(const struct mt_sched *s, const struct mt_tree *t)
{
    if (s->kind->needs_total && s->run.total <= 0) {
        MT_TREE_FAIL(t, "schedule %s must know how long training lasts; set train.epochs or "
                        "train.steps", s->kind->name);
    }
    if (s->run.total > 0 && s->run.warmup > s->run.total) {
        MT_TREE_FAIL(t, "warm-up of %lld steps is longer than the training of %lld steps",
                     (long long)s->run.warmup, (long long)s->run.total);
    }
    return MOTLEY_OK;
}

int mt_sched_new(struct mt_ctx *ctx, const struct mt_tree *t, double base, int64_t total,
                 int64_t steps_per_epoch, struct mt_sched **out)
{
    static const char *const skip[] = {"type", NULL};
    const struct mt_tree none = {.kind = MT_TREE_NULL};
    const struct mt_tree *options = t != NULL && t->kind != MT_TREE_SCALAR ? t : &none;
    const struct mt_tree *type = options == t ? mt_tree_get(t, "type") : t;
    const char *word = type != NULL && type->kind == MT_TREE_SCALAR ? type->text : "constant";
    struct mt_sched *s = NULL;
    char what[64];
    int st;

    if (find(word) == NULL) {
        return unknown(type, word);
    }
    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->kind = find(word);
    snprintf(what, sizeof what, "schedule %s", word);
    MT_TRY_OR(fail, mt_tree_attrs(options, s->kind->attrs, what, skip, s->attr, NULL));
    s->run = (struct mt_sched_run){.base = base, .total = total, .warmup = s->attr[0].i,
                                   .steps_per_epoch = steps_per_epoch > 0 ? steps_per_epoch : 1};
    MT_TRY_OR(fail, check(s, t != NULL ? t : &none));
    *out = s;
    return MOTLEY_OK;
fail:
    mt_sched_free(s);
    return st;
}

void mt_sched_free(struct mt_sched *s)
{
    if (s != NULL) {
        mt_free(s->ctx, s);
    }
}

double mt_sched_lr(const struct mt_sched *s, int64_t at)
{
    if (at < s->run.warmup) {
        return s->run.base * (double)(at + 1) / (double)s->run.warmup;
    }
    return s->run.base * s->kind->factor(s->attr, &s->run, at - s->run.warmup);
}
