/* gemm.c -- plans of matrix products: which provider, and the epilogue it cannot do itself.
 *
 * The order of the table is the order of preference; `direct` and `tile` offer themselves on CPU
 * devices only, so one order serves all. A provider is used for a shape after it passed
 * gemm_check.c there; verdicts are kept with the device and in the cache folder, one small file
 * each, because a check costs as much as several products and the answer does not change between
 * starts. The first wrong number drops a provider for the whole device: who errs once is not asked
 * again. */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"
#include "config.h"
#include "device/dev_impl.h"
#include "device/embedded.h"
#include "device/launch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct mt_gemm_provider *const providers[] = {
    &mt_gemm_direct,
    &mt_gemm_tile,
#if MOTLEY_HAVE_CLBLAST
    &mt_gemm_clblast,
#endif
    &mt_gemm_plain,
    NULL,
};

static const char *const names[] = {
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
    MT_CHECK(g->varies == 0 || g->varies == 'm' || g->varies == 'n' || g->varies == 'k',
             MOTLEY_EARG, "gemm: no dimension is called '%c'", g->varies);
    return MOTLEY_OK;
}

int mt_gemm_plan_make(struct mt_dev *dev, const struct mt_gemm *g,
                      const struct mt_gemm_provider *provider, struct mt_gemm_plan **out)
{
    struct mt_gemm_plan *plan = NULL;
    int st;

    MT_TRY(MT_NEW(mt_dev_ctx(dev), &plan));
    plan->dev = dev;
    plan->g = *g;
    plan->g.batch = g->batch > 0 ? g->batch : 1;
    plan->provider = provider;
    MT_TRY_OR(fail, mt_kernel_get(dev, "gemm", "gemm_epilogue", NULL, &plan->epilogue));
    MT_TRY_OR(fail, provider->prepare(dev, &plan->g, &plan->state, &plan->scratch_bytes));
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

/* ---- verdicts ---------------------------------------------------------------------------- */

/* Everything on which the answer depends, as text. Sizes are exact, not classes: CLBlast changes
 * its path with every multiple of its tiles. */
static void verdict_text(const struct mt_dev *dev, const struct mt_gemm *g,
                         const struct mt_gemm_provider *p, char *buf, size_t room)
{
    char version[128] = "";

    p->version(version, sizeof version);
    snprintf(buf, room,
             "motley gemm verdict 1\ndevice %s\ndriver %s\nversion %s\nplatform %s\n"
             "provider %s %s\ntrans %d%d m %" PRId64 " n %" PRId64 " k %" PRId64
             " batch %" PRId64 " ld %" PRId64 " %" PRId64 " %" PRId64 " stride %" PRId64
             " %" PRId64 " %" PRId64 " alpha %a bias %d act %d %a varies %d\n",
             dev->info.name, dev->info.driver, dev->info.version, dev->info.platform_name,
             p->name, version, g->trans_a, g->trans_b, g->m, g->n, g->k, g->batch, g->lda,
             g->ldb, g->ldc, g->stride_a, g->stride_b, g->stride_c, (double)g->alpha,
             g->has_bias, (int)g->act, (double)g->slope, g->varies);
}

static struct mt_gemm_memo *memo_find(struct mt_dev *dev, const struct mt_gemm_provider *p,
                                      const char *key)
{
    for (struct mt_gemm_memo *m = dev->gemm_memo; m != NULL; m = m->next) {
        if (m->provider == p && (!m->good || strcmp(m->key, key) == 0)) {
            return m;
        }
    }
    return NULL;
}

static int memo_add(struct mt_dev *dev, const struct mt_gemm_provider *p, const char *key,
                    int good)
{
    struct mt_gemm_memo *m;

    MT_TRY(MT_NEW(dev->ctx, &m));
    m->provider = p;
    snprintf(m->key, sizeof m->key, "%s", key);
    m->good = good;
    m->next = dev->gemm_memo;
    dev->gemm_memo = m;
    return MOTLEY_OK;
}

void mt_gemm_memo_free(struct mt_dev *dev)
{
    while (dev->gemm_memo != NULL) {
        struct mt_gemm_memo *m = dev->gemm_memo;

        dev->gemm_memo = m->next;
        mt_free(dev->ctx, m);
    }
}

/* Path of the file of a verdict; 0 where nothing is kept (no folder, or kernels being edited). */
static int verdict_path(struct mt_dev *dev, const char *key, char *path, size_t room)
{
    const struct mt_env *env = &dev->ctx->env;
    char folder[3072];

    if (env->value[MT_ENV_CL_DIR] != NULL || env->value[MT_ENV_CL_FLAGS] != NULL ||
        !mt_prog_cache_dir(dev->ctx, folder, sizeof folder)) {
        return 0;
    }
    return snprintf(path, room, "%s/gemm-%s", folder, key) < (int)room;
}

/* 1: *good and why are as found in the file. A file that cannot be read is no answer. */
static int verdict_load(struct mt_dev *dev, const char *key, const char *text, int *good,
                        char *why, size_t room)
{
    char path[3200], *data = NULL;
    size_t bytes, len = strlen(text);
    int found = 0;

    if (!verdict_path(dev, key, path, sizeof path) || !mt_file_exists(path)) {
        return 0;
    }
    if (mt_file_read(dev->ctx, path, &data, &bytes) < 0) {
        return 0;
    }
    if (bytes > len && memcmp(data, text, len) == 0) {
        if (strcmp(data + len, "good\n") == 0) {
            *good = 1;
            found = 1;
        } else if (strncmp(data + len, "wrong: ", 7) == 0) {
            *good = 0;
            snprintf(why, room, "%.*s", (int)strcspn(data + len + 7, "\n"), data + len + 7);
            found = 1;
        }
    }
    mt_free(dev->ctx, data);
    return found;
}

/* Not being able to write costs a check at the next start, nothing else. */
static void verdict_save(struct mt_dev *dev, const char *key, const char *text, int good,
                         const char *why)
{
    char path[3200], *data = NULL;

    if (!verdict_path(dev, key, path, sizeof path) ||
        mt_mem_printf(dev->ctx, &data, "%s%s%s\n", text, good ? "good" : "wrong: ", why) < 0) {
        return;
    }
    if (mt_file_write(dev->ctx, path, data, strlen(data)) < 0) {
        mt_log(dev->ctx, MT_LOG_DEBUG, "dev", "gemm verdict not kept: %s", mt_err_text());
    }
    mt_free(dev->ctx, data);
}

static int verify(struct mt_dev *dev, const struct mt_gemm *g, const struct mt_gemm_provider *p,
                  int *good)
{
    char text[2048], key[MT_HASH_TEXT], device[256], why[512] = "";
    struct mt_gemm_memo *memo;

    verdict_text(dev, g, p, text, sizeof text);
    mt_hash_block(text, strlen(text), key);
    memo = memo_find(dev, p, key);
    if (memo != NULL) {
        *good = memo->good;
        return MOTLEY_OK;
    }
    if (!verdict_load(dev, key, text, good, why, sizeof why)) {
        MT_TRY(mt_gemm_check(dev, g, p, good, why, sizeof why));
        verdict_save(dev, key, text, *good, why);
    }
    MT_TRY(memo_add(dev, p, key, *good));
    if (!*good) {
        mt_log(dev->ctx, MT_LOG_WARN, "dev",
               "gemm provider %s is dropped on %s: wrong result for %s%s product of %" PRId64
               " x %" PRId64 " x %" PRId64 ": %s",
               p->name, mt_cl_device(dev, device, sizeof device), g->trans_a ? "T" : "N",
               g->trans_b ? "T" : "N", g->m, g->n, g->k, why);
    }
    return MOTLEY_OK;
}

/* ---- choice ------------------------------------------------------------------------------ */

static int dropped(struct mt_dev *dev, const struct mt_gemm_provider *p)
{
    const struct mt_gemm_memo *m = memo_find(dev, p, "");

    return m != NULL && !m->good;
}

/* One provider: *plan stays NULL if it is not to be used. */
static int try_provider(struct mt_dev *dev, const struct mt_gemm *g,
                        const struct mt_gemm_provider *p, struct mt_gemm_plan **plan)
{
    struct mt_gemm_plan *made = NULL;
    char device[256];
    int good = 0, st;

    if (dropped(dev, p) || !p->can(dev, g)) {
        return MOTLEY_OK;
    }
    st = mt_gemm_plan_make(dev, g, p, &made);
    if (st == MOTLEY_EMEM) {
        return st;
    }
    if (st < 0) {
        if (st != MOTLEY_EUNSUP) {   /* its kernels do not build here: no reason to fail */
            mt_log(dev->ctx, MT_LOG_WARN, "dev", "gemm provider %s is dropped on %s: %s",
                   p->name, mt_cl_device(dev, device, sizeof device), mt_err_text());
            MT_TRY(memo_add(dev, p, "", 0));
        }
        return MOTLEY_OK;
    }
    st = verify(dev, &made->g, p, &good);
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
    struct mt_gemm_plan *made = NULL;
    char device[256];
    int known = 0;

    MT_TRY(check_sizes(g));
    for (int i = 0; table[i] != NULL && made == NULL; i++) {
        const struct mt_gemm_provider *p = table[i];

        if (pin == NULL ? p->suits == NULL || p->suits(dev, g) : strcmp(pin, p->name) == 0) {
            known = 1;
            MT_TRY(try_provider(dev, g, p, &made));
        }
    }
    MT_CHECK(known, MOTLEY_ECONFIG,
             "MOTLEY_GEMM=%s: no such provider here; tile, clblast and plain exist, clblast "
             "only if motley was built with it",
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

int mt_gemm_plan_with(struct mt_dev *dev, const struct mt_gemm *g, const char *provider,
                      int unchecked, struct mt_gemm_plan **plan)
{
    const struct mt_gemm_provider *p = NULL;
    struct mt_gemm_plan *made = NULL;
    char device[256];

    MT_TRY(check_sizes(g));
    for (int i = 0; providers[i] != NULL; i++) {
        if (strcmp(providers[i]->name, provider) == 0) {
            p = providers[i];
        }
    }
    MT_CHECK(p != NULL, MOTLEY_EUNSUP, "gemm provider %s is not built in", provider);
    if (!unchecked) {
        MT_TRY(try_provider(dev, g, p, &made));
    } else if (p->can(dev, g)) {
        MT_TRY(mt_gemm_plan_make(dev, g, p, &made));
    }
    MT_CHECK(made != NULL, MOTLEY_EUNSUP,
             "gemm provider %s is not for %" PRId64 " x %" PRId64 " x %" PRId64 " on %s",
             provider, g->m, g->n, g->k, mt_cl_device(dev, device, sizeof device));
    *plan = made;
    return MOTLEY_OK;
}

/* ---- running ----------------------------------------------------------------------------- */

static int64_t or_dense(int64_t given, int64_t dense)
{
    return given > 0 ? given : dense;
}

int mt_gemm_run(const struct mt_gemm_plan *plan, int64_t size, const struct mt_tensor *a,
                const struct mt_tensor *b, float beta, struct mt_tensor *c,
                const struct mt_tensor *bias, const struct mt_tensor *scratch)
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
    if (call.k > 0) {
        call.bias = g->has_bias && !late_bias ? bias : NULL;
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
