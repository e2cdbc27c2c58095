/* gemm.c -- plans of matrix products: which provider, and the epilogue it cannot do itself.
 *
 * What `motley tune` measured for the class of the product is taken (gemm_tune.c); where it has
 * not, the first in the order of the table that suits. `direct` and `tile` offer themselves on CPU
 * devices only, so one order serves all. Nothing is measured here: noise must not decide which
 * bits a run gets. A provider is used for a shape after it passed gemm_check.c there. */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "base/hash.h"
#include "config.h"
#include "device/dev_impl.h"
#include "device/embedded.h"
#include "device/launch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct mt_gemm_provider *const providers[] = {
    &mt_gemm_amx,
    &mt_gemm_pairs,
    &mt_gemm_narrow,
    &mt_gemm_direct,
    &mt_gemm_tile,
#if MOTLEY_HAVE_CLBLAST
    &mt_gemm_clblast,
#endif
    &mt_gemm_plain,
    NULL,
};

static const char *const names[] = {
    "amx",
    "pairs",
    "narrow",
    "direct",
    "tile",
#if MOTLEY_HAVE_CLBLAST
    "clblast",
#endif
    "plain",
    NULL,
};

const char *const *mt_gemm_providers(void)
{
    return names;
}

double mt_gemm_flop(const struct mt_gemm *g)
{
    return 2.0 * (double)g->m * (double)g->n * (double)g->k *
           (double)(g->batch > 0 ? g->batch : 1);
}

uint64_t mt_gemm_plan_scratch(const struct mt_gemm_plan *plan)
{
    return plan->scratch_bytes;
}

const struct mt_gemm *mt_gemm_plan_product(const struct mt_gemm_plan *plan)
{
    return &plan->g;
}

const char *mt_gemm_plan_provider(const struct mt_gemm_plan *plan)
{
    return plan->provider->name;
}

const char *mt_gemm_plan_form(const struct mt_gemm_plan *plan)
{
    return plan->form;
}

void mt_gemm_plan_free(struct mt_gemm_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    if (plan->state != NULL) {
        plan->provider->release(plan->dev, plan->state);
    }
    mt_free(mt_dev_ctx(plan->dev), plan);
}

static int check_sizes(const struct mt_gemm *g)
{
    const int64_t limit = INT32_MAX;   /* kernels count rows and columns in 32 bits */

    MT_CHECK(g->m > 0 && g->n > 0 && g->k > 0 && g->batch >= 0, MOTLEY_EARG,
             "gemm: sizes %" PRId64 " x %" PRId64 " x %" PRId64 ", batch %" PRId64
             ": all must be positive",
             g->m, g->n, g->k, g->batch);
    MT_CHECK(g->m <= limit && g->n <= limit && g->k <= limit && g->batch <= limit, MOTLEY_EARG,
             "gemm: sizes %" PRId64 " x %" PRId64 " x %" PRId64 ", batch %" PRId64
             ": none may exceed %" PRId64,
             g->m, g->n, g->k, g->batch, limit);
    MT_CHECK((g->lda == 0 || g->lda >= (g->trans_a ? g->m : g->k)) &&
                 (g->ldb == 0 || g->ldb >= (g->trans_b ? g->k : g->n)) &&
                 (g->ldc == 0 || g->ldc >= g->n),
             MOTLEY_EARG,
             "gemm: leading dimensions %" PRId64 ", %" PRId64 ", %" PRId64
             " are shorter than a row",
             g->lda, g->ldb, g->ldc);
    MT_CHECK(g->in == g->out || (g->out == MT_F32 && !g->has_bias && g->act == MT_GEMM_NOACT),
             MOTLEY_EARG, "gemm: %s operands and a %s result", mt_dtype_name(g->in),
             mt_dtype_name(g->out));
    MT_CHECK(g->after == 0 || (g->in == g->out && (g->batch <= 1 || !(g->after & MT_GEMM_DROP))),
             MOTLEY_EARG, "gemm: elements are dropped of single products, and a residual is "
             "added to what is stored as the operands");
    MT_CHECK(g->varies == 0 || g->varies == 'm' || g->varies == 'n' || g->varies == 'k',
             MOTLEY_EARG, "gemm: no dimension is called '%c'", g->varies);
    return MOTLEY_OK;
}

static int after_kernel(struct mt_gemm_plan *plan)
{
    char defines[64];

    if (plan->follows == 0) {
        return MOTLEY_OK;
    }
    snprintf(defines, sizeof defines, "-DV=%d %s", mt_dev_vector(plan->dev),
             mt_dtype_defines(plan->g.out));
    return mt_kernel_get(plan->dev, "gemm_after", "gemm_after", defines, &plan->after);
}

/* A residual is added by a provider that can, unless elements are dropped before or there may be no
 * term, so that no provider is asked. */
static unsigned fused_after(const struct mt_gemm *g, const struct mt_gemm_provider *p)
{
    int as_stored = g->in == MT_F32 || (p->fuses & MT_GEMM_HALF);

    return g->after == MT_GEMM_RESIDUAL && (p->fuses & MT_GEMM_FUSE_RESIDUAL) && as_stored &&
                   g->varies != 'k'
               ? MT_GEMM_RESIDUAL
               : 0;
}

int mt_gemm_plan_make(struct mt_dev *dev, const struct mt_gemm *g,
                      const struct mt_gemm_provider *provider, const char *form,
                      struct mt_gemm_plan **out)
{
    struct mt_gemm_plan *plan = NULL;
    int st;

    MT_TRY(MT_NEW(mt_dev_ctx(dev), &plan));
    plan->dev = dev;
    plan->g = *g;
    plan->g.batch = g->batch > 0 ? g->batch : 1;
    plan->g.after = fused_after(g, provider);
    plan->follows = g->after & ~plan->g.after;
    plan->provider = provider;
    snprintf(plan->form, sizeof plan->form, "%s", form);
    MT_TRY_OR(fail, mt_gemm_wide_init(plan));
    MT_TRY_OR(fail, mt_kernel_get(dev, "gemm", "gemm_epilogue",
                                  mt_dtype_defines(plan->asked.out), &plan->epilogue));
    MT_TRY_OR(fail, after_kernel(plan));
    MT_TRY_OR(fail, provider->prepare(dev, &plan->asked, plan->form, &plan->state,
                                      &plan->scratch_bytes));
    mt_gemm_wide_room(plan);
    *out = plan;
    return MOTLEY_OK;
fail:
    mt_gemm_plan_free(plan);
    return st;
}

void mt_gemm_kernel_version(const char *file, char *buf, size_t room)
{
    char digest[2][MT_HASH_TEXT] = {"", ""};

    for (const struct mt_embedded *e = mt_embedded; e->name != NULL; e++) {
        if (strcmp(e->name, file) == 0 || strcmp(e->name, "gemm.clh") == 0) {
            mt_hash_block(e->text, e->bytes, digest[strcmp(e->name, file) == 0]);
        }
    }
    snprintf(buf, room, "%s %s %s", file, digest[1], digest[0]);
}

/* ---- choice ------------------------------------------------------------------------------ */

/* One form of a provider: *plan stays NULL if it is not to be used. */
static int try_provider(struct mt_dev *dev, const struct mt_gemm *g,
                        const struct mt_gemm_provider *p, const char *form,
                        struct mt_gemm_plan **plan)
{
    struct mt_gemm_plan *made = NULL;
    char device[256];
    int good = 0, st;

    if (mt_gemm_dropped(dev, p, form) || !p->can(dev, g)) {
        return MOTLEY_OK;
    }
    st = mt_gemm_plan_make(dev, g, p, form, &made);
    if (st == MOTLEY_EMEM) {
        return st;
    }
    if (st < 0) {
        if (st != MOTLEY_EUNSUP) {   /* its kernels do not build here: no reason to fail */
            mt_log(dev->ctx, MT_LOG_WARN, "dev", "gemm provider %s%s%s is dropped on %s: %s",
                   p->name, *form != '\0' ? " " : "", form,
                   mt_cl_device(dev, device, sizeof device), mt_err_text());
            MT_TRY(mt_gemm_drop(dev, p, form));
        }
        return MOTLEY_OK;
    }
    st = mt_gemm_verify(dev, &made->asked, p, made->form, &good);
    if (st < 0 || !good) {
        mt_gemm_plan_free(made);
        return st;
    }
    *plan = made;
    return MOTLEY_OK;
}

int mt_gemm_plan_among(struct mt_dev *dev, const struct mt_gemm *g,
                       const struct mt_gemm_provider *const *table, struct mt_gemm_plan **plan)
{
    const char *pin = dev->ctx->env.value[MT_ENV_GEMM];
    const struct mt_gemm_choice *tuned;
    struct mt_gemm_plan *made = NULL;
    char device[256];
    int known = 0;

    MT_TRY(check_sizes(g));
    MT_TRY(mt_gemm_tuned(dev, g, &tuned));
    for (int i = 0; tuned != NULL && table[i] != NULL && made == NULL; i++) {
        if (strcmp(tuned->provider, table[i]->name) == 0 &&
            (pin == NULL || strcmp(pin, tuned->provider) == 0)) {
            MT_TRY(try_provider(dev, g, table[i], tuned->form, &made));
        }
    }
    for (int i = 0; table[i] != NULL && made == NULL; i++) {
        const struct mt_gemm_provider *p = table[i];

        if (pin == NULL ? p->suits == NULL || p->suits(dev, g) : strcmp(pin, p->name) == 0) {
            known = 1;
            MT_TRY(try_provider(dev, g, p, "", &made));
        }
    }
    MT_CHECK(known || made != NULL, MOTLEY_ECONFIG,
             "MOTLEY_GEMM=%s: no such provider here; amx, pairs, narrow, direct, tile, "
             "clblast and plain exist, clblast only if motley was built with it",
             pin);
    MT_CHECK(made != NULL || pin == NULL, MOTLEY_EUNSUP,
             "MOTLEY_GEMM=%s: this provider cannot multiply %" PRId64 " x %" PRId64 " x %" PRId64
             " on %s; unset MOTLEY_GEMM",
             pin, g->m, g->n, g->k, mt_cl_device(dev, device, sizeof device));
    MT_CHECK(made != NULL, MOTLEY_ENUM,
             "no gemm provider multiplies %" PRId64 " x %" PRId64 " x %" PRId64
             " correctly on %s; choose another device",
             g->m, g->n, g->k, mt_cl_device(dev, device, sizeof device));
    *plan = made;
    return MOTLEY_OK;
}

int mt_gemm_plan_new(struct mt_dev *dev, const struct mt_gemm *g, struct mt_gemm_plan **plan)
{
    MT_TRY(mt_gemm_plan_among(dev, g, providers, plan));
    return MOTLEY_OK;
}

static const struct mt_gemm_provider *find(const char *name)
{
    for (int i = 0; providers[i] != NULL; i++) {
        if (strcmp(providers[i]->name, name) == 0) {
            return providers[i];
        }
    }
    return NULL;
}

int mt_gemm_plan_with(struct mt_dev *dev, const struct mt_gemm *g, const char *provider,
                      const char *form, int unchecked, struct mt_gemm_plan **plan)
{
    const struct mt_gemm_provider *p = find(provider);
    struct mt_gemm_plan *made = NULL;
    char device[256];

    MT_TRY(check_sizes(g));
    MT_CHECK(p != NULL, MOTLEY_EUNSUP, "gemm provider %s is not built in", provider);
    if (!unchecked) {
        MT_TRY(try_provider(dev, g, p, form, &made));
    } else if (p->can(dev, g)) {
        MT_TRY(mt_gemm_plan_make(dev, g, p, form, &made));
    }
    MT_CHECK(made != NULL, MOTLEY_EUNSUP,
             "gemm provider %s is not for %" PRId64 " x %" PRId64 " x %" PRId64 " on %s",
             provider, g->m, g->n, g->k, mt_cl_device(dev, device, sizeof device));
    *plan = made;
    return MOTLEY_OK;
}

const char *mt_gemm_form(struct mt_dev *dev, const char *provider, int i)
{
    const struct mt_gemm_provider *p = find(provider);

    return i == 0 ? "" : p != NULL && p->forms != NULL ? p->forms(dev, i - 1) : NULL;
}

/* ---- running ----------------------------------------------------------------------------- */

static int64_t or_dense(int64_t given, int64_t dense)
{
    return given > 0 ? given : dense;
}

static int run_after(const struct mt_gemm_plan *plan, const struct mt_gemm_call *call,
                     const struct mt_gemm_after *a)
{
    const struct mt_gemm *g = &plan->g;
    struct mt_tensor c = *call->c, r = a->residual != NULL ? *a->residual : c;
    unsigned what = (a->drops ? MT_GEMM_DROP : 0u) | (plan->follows & MT_GEMM_RESIDUAL);
    /* Blocks of 64 elements of a sample that a row may touch. */
    uint32_t blocks = (uint32_t)(call->n / 64 + (call->n % 64 != 0 ? 2 : 0));
    uint64_t lanes = (uint64_t)(16 / mt_dev_vector(plan->dev));

    if (what == 0) {
        return MOTLEY_OK;
    }
    c.spec.dtype = r.spec.dtype = g->out;
    return mt_launch(plan->dev, plan->after,
                     mt_items((uint64_t)(call->m * g->batch) * blocks * lanes, MT_WG),
                     MT_ARGS(mt_t(&c), mt_t(&r), mt_u32((uint32_t)call->m),
                             mt_u32((uint32_t)call->n), mt_u32((uint32_t)g->batch),
                             mt_u64((uint64_t)call->ldc), mt_u64((uint64_t)call->stride_c),
                             mt_u32(blocks), mt_u32(what), mt_u32(a->key[0]), mt_u32(a->key[1]),
                             mt_u32(a->first), mt_u64(a->step), mt_u32(a->limit),
                             mt_f32(a->scale), mt_u32((uint32_t)(a->rows > 0 ? a->rows : 1))));
}

/* Everything but what follows; residual: NULL where that is not the provider's; *now: the product
 * as it was. */
static int run_product(const struct mt_gemm_plan *plan, int64_t size, const struct mt_tensor *a,
                       const struct mt_tensor *b, float beta, struct mt_tensor *c,
                       const struct mt_tensor *bias, const struct mt_tensor *residual,
                       const struct mt_tensor *scratch, struct mt_gemm_call *now)
{
    const struct mt_gemm *g = &plan->g;
    const struct mt_gemm_provider *p = plan->provider;
    struct mt_gemm_call call = {.m = g->m, .n = g->n, .k = g->k, .beta = beta,
                                .a = a, .b = b, .c = c, .scratch = scratch};
    int fuse_bias = (p->fuses & MT_GEMM_FUSE_BIAS) != 0;
    int fuse_act = (p->fuses & MT_GEMM_FUSE_ACT) != 0;
    int late_act = g->act != MT_GEMM_NOACT && !(fuse_act && (fuse_bias || !g->has_bias));
    int late_bias = g->has_bias && !fuse_bias;
    struct mt_gemm early = *g;

    if (g->varies != 0) {
        int64_t *dim = g->varies == 'm' ? &call.m : g->varies == 'n' ? &call.n : &call.k;

        MT_CHECK(size >= 0 && size <= *dim, MOTLEY_EARG,
                 "gemm: size %c is %" PRId64 ", planned for 0 to %" PRId64, g->varies, size,
                 *dim);
        *dim = size;
    }
    MT_BUG_IF(beta != 0.0f && beta != 1.0f);
    MT_BUG_IF(g->has_bias && bias == NULL);
    MT_BUG_IF(plan->scratch_bytes > 0 && (scratch == NULL || scratch->buf == NULL));
    if (call.m == 0 || call.n == 0) {
        return MOTLEY_OK;
    }
    call.lda = or_dense(g->lda, g->trans_a ? call.m : call.k);
    call.ldb = or_dense(g->ldb, g->trans_b ? call.k : call.n);
    call.ldc = or_dense(g->ldc, call.n);
    call.stride_a = or_dense(g->stride_a, call.lda * (g->trans_a ? call.k : call.m));
    call.stride_b = or_dense(g->stride_b, call.ldb * (g->trans_b ? call.n : call.k));
    call.stride_c = or_dense(g->stride_c, call.ldc * call.m);
    *now = call;
    if (plan->wide.widen != NULL && (call.k > 0 || g->out != MT_F32)) {
        return mt_gemm_wide_run(plan, &call, bias);
    }
    if (call.k > 0) {
        call.bias = g->has_bias && !late_bias ? bias : NULL;
        call.residual = residual;
        early.act = late_act ? MT_GEMM_NOACT : g->act;
        MT_TRY(p->run(plan->dev, &early, plan->state, &call));
        beta = 1.0f;
    } else {
        late_bias = g->has_bias;
        late_act = g->act != MT_GEMM_NOACT;
    }
    if (call.k > 0 && !late_bias && !late_act) {
        return MOTLEY_OK;
    }
    /* Without a bias C stands in for it: an argument has to be something. */
    MT_TRY(mt_launch(plan->dev, plan->epilogue,
                     mt_items((uint64_t)(call.m * call.n * g->batch), MT_WG),
                     MT_ARGS(mt_t(c), mt_t(late_bias ? bias : c), mt_u32((uint32_t)call.m),
                             mt_u32((uint32_t)call.n), mt_u32((uint32_t)g->batch),
                             mt_u64((uint64_t)call.ldc), mt_u64((uint64_t)call.stride_c),
                             mt_u32(beta != 0.0f), mt_u32((uint32_t)late_bias),
                             mt_u32(late_act ? (uint32_t)g->act : 0u), mt_f32(g->slope))));
    return MOTLEY_OK;
}

int mt_gemm_run_after(const struct mt_gemm_plan *plan, int64_t size, const struct mt_tensor *a,
                      const struct mt_tensor *b, float beta, struct mt_tensor *c,
                      const struct mt_tensor *bias, const struct mt_tensor *scratch,
                      const struct mt_gemm_after *after)
{
    unsigned all = plan->g.after | plan->follows;
    struct mt_gemm_call call = {.m = 0};

    MT_BUG_IF((all != 0) != (after != NULL));
    MT_BUG_IF((all & MT_GEMM_RESIDUAL) && after->residual == NULL);
    MT_TRY(run_product(plan, size, a, b, beta, c, bias,
                       plan->g.after != 0 ? after->residual : NULL, scratch, &call));
    return plan->follows != 0 && call.m > 0 ? run_after(plan, &call, after) : MOTLEY_OK;
}

int mt_gemm_run(const struct mt_gemm_plan *plan, int64_t size, const struct mt_tensor *a,
                const struct mt_tensor *b, float beta, struct mt_tensor *c,
                const struct mt_tensor *bias, const struct mt_tensor *scratch)
{
    MT_TRY(mt_gemm_run_after(plan, size, a, b, beta, c, bias, scratch, NULL));
    return MOTLEY_OK;
}
