/* kit.c -- the checks that are made from the description of an operation; see kit.h. */
#include "tests/refer.h"

#include "base/ctx.h"
#include "base/rng.h"
#include "device/dev.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define HALF_ULP 5.9604644775390625e-08   /* 2^-24: half an ulp of float, relative */
#define SMALL    96      /* a port with up to so many elements is tried in all directions */

const struct mt_suite *mt_suite_find(const char *name)
{
    for (const struct mt_suite *const *s = mt_suites; *s != NULL; s++) {
        if (strcmp((*s)->name, name) == 0) {
            return *s;
        }
    }
    return NULL;
}

/* ---- checks ------------------------------------------------------------------------------ */

static double roundings(const struct mt_rig *b, int port)
{
    return b->c->exact || b->suite->roundings == NULL ? 0 : b->suite->roundings(&b->now, port);
}

/* What a result that is right within `bound` may differ by after it was rounded to the width of
 * its tensor. */
static double stored_bound(const struct mt_spec *spec, double size, double bound)
{
    return bound + mt_slot_half_ulp(spec) * (size + bound) + mt_slot_tiny(spec);
}

static struct mt_result begin(const struct mt_rig *b, const char *what)
{
    enum mt_dtype storage = mt_node_storage(&b->n);
    char name[64], full[64];

    snprintf(full, sizeof full, "%s%s", what, b->rows < b->planned ? ", partial" : "");
    snprintf(name, sizeof name, "%s%s%s", b->c->name, storage != MT_F32 ? " " : "",
             storage != MT_F32 ? mt_dtype_name(storage) : "");
    return mt_result_new(b->suite->name, name, full);
}

/* The activation that the node does for the one behind it; its backward stays with that one. All
 * have slopes of at most 1, so the bound of what comes in is that of what goes out, but for the
 * roundings of the activation itself, in half-ulps of the result: as in the suites of leaky_relu,
 * sigmoid and tanh. */
static double activate(const struct mt_rig *b, struct mt_ref *r)
{
    for (int64_t k = 0; b->n.act != MT_GEMM_NOACT && k < b->out[0].count; k++) {
        double *y = &r->out[0][k], x = *y;

        *y = b->n.act == MT_GEMM_RELU         ? fmax(x, 0)
             : b->n.act == MT_GEMM_LEAKY_RELU ? (x > 0 ? x : (double)b->n.slope * x)
             : b->n.act == MT_GEMM_SIGMOID    ? 1 / (1 + exp(-x))
                                              : tanh(x);
    }
    return b->n.act == MT_GEMM_SIGMOID      ? 12
           : b->n.act == MT_GEMM_TANH       ? 10
           : b->n.act == MT_GEMM_LEAKY_RELU ? 1
                                            : 0;
}

static int check_forward(struct mt_rig *b, enum mt_mode mode, const char *what)
{
    struct mt_result x = begin(b, what);
    int mark = b->nblock;
    struct mt_ref r;
    double own;

    MT_TRY(mt_refer_new(b, mode, &r));
    mt_refer_run(b, &r);
    own = activate(b, &r) * HALF_ULP;
    MT_TRY(mt_rig_fwd(b, mode));
    for (int o = 0; o < b->n.nout; o++) {
        double bound = roundings(b, MT_PORT_OUT) * HALF_ULP;

        for (int64_t k = 0; k < b->out[o].count; k++) {
            const struct mt_spec *spec = &b->out[o].spec;
            double want = r.out[o][k], off = bound * r.mag[o][k] + FLT_MIN;
            int exact = b->c->exact && own == 0;

            off += own * fabs(want);
            if (exact) {
                want = mt_slot_number(spec, mt_slot_word(spec, want));
            }
            mt_result_element(&x, k, mt_slot_value(&b->out[o], k), want,
                              exact ? 0 : stored_bound(spec, fabs(want), off));
        }
        mt_slot_guards(&b->out[o], "output", o, &x);
    }
    for (int i = 0; i < b->n.nsaved; i++) {
        MT_TRY(mt_slot_read(&b->saved[i]));
        mt_slot_guards(&b->saved[i], "saved value", i, &x);
    }
    mt_rig_drop(b, mark);
    return mt_report_add(b->report, &x);
}

/* How many unit and dense directions a port gets: all unit directions of a small one; otherwise
 * as many as a fixed amount of arithmetic of the reference allows. */
static void plan_directions(const struct mt_rig *b, int64_t count, int64_t *units,
                            int64_t *dense)
{
    struct mt_cost cost = {0};
    double work, budget = b->opt->small ? 2e7 : 2e8;
    int64_t n;

    b->n.op->cost(&b->n, &cost);
    work = 4 * (cost.fwd_flop + 4 * (double)mt_spec_count(&b->now.out[0]) + 1000);
    n = (int64_t)(budget / work);
    *units = count <= SMALL && n >= count ? count : n > 24 ? 24 : n > 1 ? n : 1;
    *dense = *units == count ? 1 : n > 26 ? 2 : 1;
}

/* What the reference says about the gradient of input 0, times the largest cotangent. */
static int gradient_magnitude(struct mt_rig *b, const struct mt_ref *r, int port, int64_t count,
                              double **dmag)
{
    struct mt_ref with = *r;
    double largest = b->dout[0].used ? 0 : b->loss_scale;

    MT_TRY(mt_rig_doubles(b, count, dmag));
    if (port != 0) {
        return MOTLEY_OK;
    }
    with.dmag = *dmag;
    b->suite->ref(&with);
    for (int64_t i = 0; b->dout[0].used && i < b->dout[0].count; i++) {
        largest = fmax(largest, fabs(b->dout[0].x[i]));
    }
    for (int64_t i = 0; i < count; i++) {
        (*dmag)[i] *= largest;
    }
    return MOTLEY_OK;
}

static int check_port(struct mt_rig *b, const struct mt_ref *r, double *keep[4], int port,
                      struct mt_slot *x, const struct mt_slot *d, const char *what)
{
    struct mt_result res = begin(b, what);
    struct mt_rng_key key = mt_rng_key(b->opt->seed, MT_RNG_TEST, 2000 + (uint64_t)port);
    int64_t units, dense;
    double *base, *dmag;

    MT_TRY(mt_rig_doubles(b, x->count, &base));
    MT_TRY(gradient_magnitude(b, r, port, x->count, &dmag));
    memcpy(base, x->x, (size_t)x->count * sizeof *base);
    plan_directions(b, x->count, &units, &dense);
    for (int64_t t = 0; t < units + dense; t++) {
        int64_t unit = t >= units ? -1 - (t - units)
                       : units == x->count ? t
                       : (int64_t)(mt_rng_u32(key, (uint64_t)t) % (uint64_t)x->count);
        double magnitude, off, got = 0, length = 1, extra = 0, weight = 0;
        struct mt_slope s;

        if (unit < 0 && b->c->exact) {
            continue;   /* a dense direction is not exact */
        }
        s = mt_refer_slope(b, r, keep, port, x->x, base, x->count, unit);
        if (unit >= 0) {
            got = mt_slot_value(d, unit);
            extra = dmag[unit];
        } else {
            length = 0;
            for (int64_t i = 0; i < x->count; i++) {
                double v = mt_refer_direction(b, port, unit, i);

                got += mt_slot_value(d, i) * v;
                weight += fabs(mt_slot_value(d, i) * v);
                length += fabs(v);
                extra += fabs(v) * dmag[i];
            }
        }
        magnitude = fmax(s.magnitude, weight);   /* terms of either sum may cancel */
        if (b->c->exact) {
            s.sum = mt_slot_number(&d->spec, mt_slot_word(&d->spec, s.sum));
        }
        off = roundings(b, port) * HALF_ULP * (magnitude + extra) + FLT_MIN * length + s.noise;
        if (b->n.keep & MT_KEEP_OUT) {
            off += b->suite->kept * (mt_slot_half_ulp(&b->out[0].spec) * (magnitude + extra) +
                                     mt_slot_tiny(&b->out[0].spec) * length);
        }
        off = stored_bound(&d->spec, magnitude, off) + mt_slot_tiny(&d->spec) * length;
        mt_result_element(&res, unit >= 0 ? unit : x->count - 1 - unit, got, s.sum,
                          b->c->exact ? 0 : off);
    }
    for (int64_t i = 0; i < d->count; i++) {   /* every element was written */
        if (d->bits[MT_RIG_GUARD + i] == d->fill) {
            mt_result_fail(&res, "element %" PRId64 " was not written", i);
            break;
        }
    }
    mt_slot_guards(d, what, port, &res);
    return mt_report_add(b->report, &res);
}

static int check_gradients(struct mt_rig *b)
{
    int mark = b->nblock;
    int64_t outputs = 0;
    double *keep[4];
    struct mt_ref r;
    char what[64];

    if (b->n.op->bwd == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_rig_bwd(b));
    MT_TRY(mt_refer_new(b, MT_TRAIN, &r));
    for (int o = 0; o < b->n.nout; o++) {
        outputs += b->out[o].count;
    }
    for (int p = 0; p < 4; p++) {
        MT_TRY(mt_rig_doubles(b, outputs, &keep[p]));
    }
    for (int i = 0; i < b->n.nin; i++) {
        if (b->din[i].used) {
            snprintf(what, sizeof what, "gradient in%d", i);
            MT_TRY(check_port(b, &r, keep, i, &b->in[i], &b->din[i], what));
        }
    }
    for (int i = 0; i < b->n.nparam; i++) {
        snprintf(what, sizeof what, "gradient %s", b->n.param[i].name);
        MT_TRY(check_port(b, &r, keep, MT_PORT_PARAM(i), &b->param[i], &b->dparam[i], what));
    }
    mt_rig_drop(b, mark);
    return MOTLEY_OK;
}

/* Inputs of a call must be as they were written, guards and all. */
static int check_inputs(struct mt_rig *b)
{
    struct mt_result x = begin(b, "inputs untouched");
    struct mt_slot *group[3] = {b->in, b->param, b->dout};
    static const char *const name[3] = {"input", "parameter", "gradient of output"};

    for (int g = 0; g < 3; g++) {
        for (int i = 0; i < MT_MAXIN && i < MT_MAXPARAM; i++) {
            struct mt_slot *s = &group[g][i];

            if (!s->used) {
                continue;
            }
            MT_TRY(mt_slot_read(s));
            mt_slot_guards(s, name[g], i, &x);
            for (int64_t k = 0; k < s->count; k++) {
                if (s->bits[MT_RIG_GUARD + k] != mt_slot_word(&s->spec, s->x[k])) {
                    mt_result_fail(&x, "%s %d: element %" PRId64 " was changed", name[g], i, k);
                    break;
                }
            }
        }
    }
    return mt_report_add(b->report, &x);
}

/* What a slot held when it was last read, to compare a later call with. */
static int keep_bits(struct mt_rig *b, const struct mt_slot *s, uint32_t **p)
{
    *p = NULL;
    if (s->used) {
        MT_TRY(mt_rig_get(b, s->count, sizeof **p, (void **)p));
        memcpy(*p, s->bits + MT_RIG_GUARD, (size_t)s->count * sizeof **p);
    }
    return MOTLEY_OK;
}

static void same_bits(const struct mt_slot *s, const uint32_t *before, const char *what, int i,
                      struct mt_result *x)
{
    for (int64_t k = 0; s->used && k < s->count; k++) {
        if (s->bits[MT_RIG_GUARD + k] != before[k]) {
            mt_result_fail(x, "%s %d: element %" PRId64 " is %.9g, was %.9g", what, i, k,
                           mt_slot_number(&s->spec, s->bits[MT_RIG_GUARD + k]),
                           mt_slot_number(&s->spec, before[k]));
            return;
        }
    }
}

struct kept {
    uint32_t *out[MT_MAXIN], *din[MT_MAXIN], *dparam[MT_MAXPARAM];
};

static void same_gradients(const struct mt_rig *b, const struct kept *k, struct mt_result *x)
{
    for (int i = 0; i < MT_MAXIN; i++) {
        same_bits(&b->din[i], k->din[i], "gradient of input", i, x);
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        same_bits(&b->dparam[i], k->dparam[i], "gradient of parameter", i, x);
    }
}

/* A second run; then data and parameter gradients in two calls. */
static int check_repeat(struct mt_rig *b, const struct kept *k)
{
    struct mt_result again = begin(b, "same bits"), parts = begin(b, "in two parts");

    MT_TRY(mt_rig_fwd(b, MT_TRAIN));
    for (int i = 0; i < MT_MAXIN; i++) {
        same_bits(&b->out[i], k->out[i], "output", i, &again);
    }
    if (b->n.op->bwd == NULL) {
        return mt_report_add(b->report, &again);
    }
    MT_TRY(mt_rig_bwd(b));
    same_gradients(b, k, &again);
    MT_TRY(mt_report_add(b->report, &again));

    MT_TRY(mt_rig_blank_gradients(b));
    mt_rig_io(b, MT_TRAIN, 1);
    b->io.want = MT_WANT_DATA;
    memset(b->io.dparam, 0, sizeof b->io.dparam);
    MT_TRY(b->n.op->bwd(&b->n, &b->io));
    mt_rig_io(b, MT_TRAIN, 1);
    b->io.want = MT_WANT_PARAM;
    memset(b->io.din, 0, sizeof b->io.din);
    MT_TRY(b->n.op->bwd(&b->n, &b->io));
    MT_TRY(mt_rig_read(b->din, MT_MAXIN));
    MT_TRY(mt_rig_read(b->dparam, MT_MAXPARAM));
    same_gradients(b, k, &parts);
    return mt_report_add(b->report, &parts);
}

static void accumulated(const struct mt_rig *b, const struct mt_slot *s, const uint32_t *before,
                        int port, struct mt_result *x)
{
    double largest = 0;

    for (int64_t k = 0; s->used && k < s->count; k++) {
        largest = fmax(largest, fabs(mt_slot_number(&s->spec, before[k])));
    }
    for (int64_t k = 0; s->used && k < s->count; k++) {
        double once = mt_slot_number(&s->spec, before[k]);

        /* The second is added before it is rounded, the sum is rounded again. */
        mt_result_element(x, k, mt_slot_value(s, k), 2 * once,
                          2 * (roundings(b, port) + 1) * HALF_ULP * largest +
                              2 * stored_bound(&s->spec, 2 * fabs(once), 0));
    }
}

/* Backward on top of its own result: twice the gradient. The order of the sum may differ. */
static int check_accumulate(struct mt_rig *b, const struct kept *k)
{
    struct mt_result x = begin(b, "accumulate");

    if (b->n.op->bwd == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_rig_bwd(b));
    mt_rig_io(b, MT_TRAIN, 1);
    b->io.acc_in = b->io.acc_param = ~0u;
    MT_TRY(b->n.op->bwd(&b->n, &b->io));
    MT_TRY(mt_rig_read(b->din, MT_MAXIN));
    MT_TRY(mt_rig_read(b->dparam, MT_MAXPARAM));
    for (int i = 0; i < MT_MAXIN; i++) {
        accumulated(b, &b->din[i], k->din[i], i, &x);
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        accumulated(b, &b->dparam[i], k->dparam[i], MT_PORT_PARAM(i), &x);
    }
    return mt_report_add(b->report, &x);
}

/* Result on the input, gradient of the input on that of the result. */
static int check_inplace(struct mt_rig *b, const struct kept *k)
{
    struct mt_result x = begin(b, "in place");

    MT_TRY(mt_rig_blank_outputs(b));
    mt_rig_io(b, MT_TRAIN, 0);
    b->io.out[0] = b->io.in[0];
    MT_TRY(b->n.op->fwd(&b->n, &b->io));
    MT_TRY(mt_slot_read(&b->in[0]));
    same_bits(&b->in[0], k->out[0], "output", 0, &x);
    mt_slot_guards(&b->in[0], "output", 0, &x);
    MT_TRY(mt_rig_blank_gradients(b));
    mt_rig_io(b, MT_TRAIN, 1);
    if (b->n.keep & MT_KEEP_OUT) {
        b->io.out[0] = b->in[0].t;
    }
    b->io.din[0] = b->io.dout[0];
    MT_TRY(b->n.op->bwd(&b->n, &b->io));
    MT_TRY(mt_slot_read(&b->dout[0]));
    same_bits(&b->dout[0], k->din[0], "gradient of input", 0, &x);
    mt_slot_guards(&b->dout[0], "gradient of input", 0, &x);
    return mt_report_add(b->report, &x);
}

/* Reference and its differences against numbers from elsewhere. */
static int check_golden(struct mt_rig *b)
{
    const struct mt_golden *g = b->c->golden;
    struct mt_result x = begin(b, "reference");
    int mark = b->nblock;
    struct mt_ref r;
    double *keep[4];

    MT_TRY(mt_refer_new(b, MT_TRAIN, &r));
    mt_refer_run(b, &r);
    for (int64_t k = 0; g->out != NULL && k < b->out[0].count; k++) {
        mt_result_element(&x, k, r.out[0][k], g->out[k], 1e-12 * (1 + fabs(g->out[k])));
    }
    for (int p = 0; p < 4; p++) {
        MT_TRY(mt_rig_doubles(b, b->out[0].count, &keep[p]));
    }
    for (int i = 0; i < b->n.nin + b->n.nparam; i++) {
        int port = i < b->n.nin ? i : MT_PORT_PARAM(i - b->n.nin);
        const double *want = i < b->n.nin ? g->din[i] : g->dparam[i - b->n.nin];
        struct mt_slot *s = i < b->n.nin ? &b->in[i] : &b->param[i - b->n.nin];
        double *base;

        MT_TRY(mt_rig_doubles(b, s->count, &base));
        memcpy(base, s->x, (size_t)s->count * sizeof *base);
        for (int64_t k = 0; want != NULL && k < s->count; k++) {
            mt_result_element(
                &x, k, mt_refer_slope(b, &r, keep, port, s->x, base, s->count, k).sum, want[k],
                1e-8 * (1 + fabs(want[k])));
        }
    }
    if (!x.pass) {
        mt_result_fail(&x, "reference against %s", g->source);
    }
    mt_rig_drop(b, mark);
    return mt_report_add(b->report, &x);
}

static int check_all(struct mt_rig *b)
{
    struct kept k = {{0}, {0}, {0}};
    int inplace = (b->n.op->flags & MT_OP_INPLACE) != 0;

    MT_TRY(mt_rig_draw(b));
    if (b->n.op->flags & MT_OP_VIEW) {   /* no kernel: its shapes are what there is to check */
        struct mt_result x = begin(b, "elements");

        mt_result_element(&x, 0, (double)mt_spec_count(&b->n.out[0]),
                          (double)mt_spec_count(&b->n.in[0]), 0);
        return mt_report_add(b->report, &x);
    }
    MT_TRY(check_forward(b, MT_TRAIN, "forward"));
    MT_TRY(check_gradients(b));
    MT_TRY(check_inputs(b));
    for (int i = 0; i < MT_MAXIN; i++) {
        MT_TRY(keep_bits(b, &b->out[i], &k.out[i]));
        MT_TRY(keep_bits(b, &b->din[i], &k.din[i]));
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        MT_TRY(keep_bits(b, &b->dparam[i], &k.dparam[i]));
    }
    MT_TRY(check_repeat(b, &k));
    MT_TRY(check_accumulate(b, &k));
    if (b->c->golden != NULL && mt_node_storage(&b->n) == MT_F32) {   /* as they were given */
        MT_TRY(check_golden(b));
    }
    if (inplace) {
        MT_TRY(check_inplace(b, &k));
        MT_TRY(mt_rig_draw(b));
    }
    MT_TRY(check_forward(b, MT_EVAL, "evaluation"));
    if (b->n.in[0].batched && b->planned > 1 && b->c->golden == NULL) {
        mt_rig_rows(b, (b->planned + 1) / 2);
        MT_TRY(mt_rig_draw(b));
        MT_TRY(check_forward(b, MT_TRAIN, "forward"));
        MT_TRY(check_gradients(b));
        MT_TRY(check_inputs(b));
    }
    return MOTLEY_OK;
}

int mt_kit_check(const struct mt_suite *s, struct mt_dev *dev, const struct mt_node *like,
                 const struct mt_case *c, const struct mt_check_opt *opt, struct mt_report *r)
{
    struct mt_ctx *ctx = mt_dev_ctx(dev);
    struct mt_rig *b = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &b));
    b->suite = s;
    b->c = c;
    b->opt = opt;
    b->report = r;
    b->ctx = ctx;
    b->dev = dev;
    st = mt_rig_new(b, like);
    if (st == MOTLEY_OK) {
        st = check_all(b);
    }
    mt_rig_fini(b);
    mt_free(ctx, b);
    if (st < 0) {   /* the operation or the device failed: that is a result, too */
        struct mt_result x = mt_result_new(s->name, c->name, "runs");

        mt_result_fail(&x, "%s", mt_err_text());
        return mt_report_add(r, &x);
    }
    return MOTLEY_OK;
}

static int run_cases(const struct mt_suite *s, struct mt_dev *dev, enum mt_dtype storage,
                     const struct mt_check_opt *opt, struct mt_report *r)
{
    for (int i = 0; i < s->ncases; i++) {
        const struct mt_case *c = &s->cases[i];
        char text[MT_KIT_TEXT];
        struct mt_node n;

        if (c->bench || (c->slow && opt->small)) {
            continue;
        }
        if (mt_kit_node(s, c, storage, text, &n) < 0) {
            struct mt_result x = mt_result_new(s->name, c->name, "shapes");

            mt_result_fail(&x, "%s", mt_err_text());
            MT_TRY(mt_report_add(r, &x));
            continue;
        }
        MT_TRY(mt_kit_check(s, dev, &n, c, opt, r));
        if (n.op->flags & MT_OP_FUSES) {   /* again with the activation of a node behind it */
            n.act = (enum mt_gemm_act)(MT_GEMM_RELU + i % MT_GEMM_TANH);
            n.slope = 0.25f;
            MT_TRY(mt_kit_check(s, dev, &n, c, opt, r));
        }
    }
    return MOTLEY_OK;
}

int mt_suite_run(const struct mt_suite *s, struct mt_dev *dev, const struct mt_check_opt *opt,
                 struct mt_report *r)
{
    static const enum mt_dtype storages[] = {MT_F32, MT_BF16, MT_FP16};

    if (s->run != NULL) {
        return s->run(dev, opt, r);
    }
    for (size_t i = 0; i < (s->own_types ? 1 : sizeof storages / sizeof *storages); i++) {
        MT_TRY(run_cases(s, dev, storages[i], opt, r));
    }
    return MOTLEY_OK;
}
