/* gemm_verdict.c -- which providers of matrix products are right here: the answers of gemm_check.c,
 * kept with the device and in the cache folder, one small file each, because a check costs as much
 * as several products and the answer does not change between starts.
 *
 * The first wrong number drops a form of a provider for the whole device: who errs once is not
 * asked again. */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"
#include "device/dev_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Everything on which the answer depends, as text. Sizes are exact, not classes: CLBlast changes
 * its path with every multiple of its tiles. */
static void verdict_text(const struct mt_dev *dev, const struct mt_gemm *g,
                         const struct mt_gemm_provider *p, const char *form, char *buf,
                         size_t room)
{
    char version[128] = "";

    p->version(version, sizeof version);
    snprintf(buf, room,
             "motley gemm verdict 4\ndevice %s\ndriver %s\nversion %s\nplatform %s\n"
             "provider %s %s form %s\ntrans %d%d m %" PRId64 " n %" PRId64 " k %" PRId64
             " batch %" PRId64 " ld %" PRId64 " %" PRId64 " %" PRId64 " stride %" PRId64
             " %" PRId64 " %" PRId64 " alpha %a bias %d act %d %a after %u varies %d in %s "
             "out %s\n",
             dev->info.name, dev->info.driver, dev->info.version, dev->info.platform_name,
             p->name, version, form, g->trans_a, g->trans_b, g->m, g->n, g->k, g->batch, g->lda,
             g->ldb, g->ldc, g->stride_a, g->stride_b, g->stride_c, (double)g->alpha,
             g->has_bias, (int)g->act, (double)g->slope, g->after, g->varies,
             mt_dtype_name(g->in), mt_dtype_name(g->out));
}

static struct mt_gemm_memo *memo_find(struct mt_dev *dev, const struct mt_gemm_provider *p,
                                      const char *form, const char *key)
{
    for (struct mt_gemm_memo *m = dev->gemm_memo; m != NULL; m = m->next) {
        if (m->provider == p && strcmp(m->form, form) == 0 &&
            (!m->good || strcmp(m->key, key) == 0)) {
            return m;
        }
    }
    return NULL;
}

static int memo_add(struct mt_dev *dev, const struct mt_gemm_provider *p, const char *form,
                    const char *key, int good)
{
    struct mt_gemm_memo *m;

    MT_TRY(MT_NEW(dev->ctx, &m));
    m->provider = p;
    snprintf(m->key, sizeof m->key, "%s", key);
    snprintf(m->form, sizeof m->form, "%s", form);
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

int mt_gemm_cache_path(struct mt_dev *dev, const char *name, const char *key, char *path,
                       size_t room)
{
    const struct mt_env *env = &dev->ctx->env;
    char folder[3072];

    if (env->value[MT_ENV_CL_DIR] != NULL || env->value[MT_ENV_CL_FLAGS] != NULL ||
        !mt_prog_cache_dir(dev->ctx, folder, sizeof folder)) {
        return 0;
    }
    return snprintf(path, room, "%s/%s-%s", folder, name, key) < (int)room;
}

/* 1: *good and why are as found in the file. A file that cannot be read is no answer. */
static int verdict_load(struct mt_dev *dev, const char *key, const char *text, int *good,
                        char *why, size_t room)
{
    char path[3200], *data = NULL;
    size_t bytes, len = strlen(text);
    int found = 0;

    if (!mt_gemm_cache_path(dev, "gemm", key, path, sizeof path) || !mt_file_exists(path)) {
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

    if (!mt_gemm_cache_path(dev, "gemm", key, path, sizeof path) ||
        mt_mem_printf(dev->ctx, &data, "%s%s%s\n", text, good ? "good" : "wrong: ", why) < 0) {
        return;
    }
    if (mt_file_write(dev->ctx, path, data, strlen(data)) < 0) {
        mt_log(dev->ctx, MT_LOG_DEBUG, "dev", "gemm verdict not kept: %s", mt_err_text());
    }
    mt_free(dev->ctx, data);
}

int mt_gemm_verify(struct mt_dev *dev, const struct mt_gemm *g, const struct mt_gemm_provider *p,
                   const char *form, int *good)
{
    char text[2560], key[MT_HASH_TEXT], device[256], why[512] = "";
    struct mt_gemm_memo *memo;

    verdict_text(dev, g, p, form, text, sizeof text);
    mt_hash_block(text, strlen(text), key);
    memo = memo_find(dev, p, form, key);
    if (memo != NULL) {
        *good = memo->good;
        return MOTLEY_OK;
    }
    if (!verdict_load(dev, key, text, good, why, sizeof why)) {
        MT_TRY(mt_gemm_check(dev, g, p, form, good, why, sizeof why));
        verdict_save(dev, key, text, *good, why);
    }
    MT_TRY(memo_add(dev, p, form, key, *good));
    if (!*good) {
        mt_log(dev->ctx, MT_LOG_WARN, "dev",
               "gemm provider %s%s%s is dropped on %s: wrong result for %s%s product of %" PRId64
               " x %" PRId64 " x %" PRId64 ": %s",
               p->name, *form != '\0' ? " " : "", form, mt_cl_device(dev, device, sizeof device),
               g->trans_a ? "T" : "N", g->trans_b ? "T" : "N", g->m, g->n, g->k, why);
    }
    return MOTLEY_OK;
}

int mt_gemm_dropped(struct mt_dev *dev, const struct mt_gemm_provider *p, const char *form)
{
    const struct mt_gemm_memo *m = memo_find(dev, p, form, "");

    return m != NULL && !m->good;
}

int mt_gemm_drop(struct mt_dev *dev, const struct mt_gemm_provider *p, const char *form)
{
    MT_TRY(memo_add(dev, p, form, "", 0));
    return MOTLEY_OK;
}
