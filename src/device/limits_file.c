/* limits_file.c -- measured limits as JSON, kept per device and driver.
 *
 * A file that is damaged, of another format or of another device is no file: measuring again costs
 * seconds. */
#include "device/limits.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "device/dev_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT "motley-limits-1"

/* Everything that the figures depend on; a part of a device is another device. */
static int device_key(struct mt_dev *dev, char key[MT_HASH_TEXT])
{
    struct mt_hash *h = NULL;
    char units[16];

    MT_TRY(mt_hash_new(dev->ctx, &h));
    snprintf(units, sizeof units, "%u", (unsigned)dev->info.units);
    mt_hash_add_text(h, FORMAT);
    mt_hash_add_text(h, dev->info.platform_name);
    mt_hash_add_text(h, dev->platform_version);
    mt_hash_add_text(h, dev->info.name);
    mt_hash_add_text(h, dev->info.version);
    mt_hash_add_text(h, dev->info.driver);
    mt_hash_add_text(h, units);
    mt_hash_text(h, key);
    mt_hash_free(h);
    return MOTLEY_OK;
}

/* Into path; 0: nothing is kept. */
static int kept_at(struct mt_dev *dev, const char *key, char *path, size_t room)
{
    const struct mt_env *env = &dev->ctx->env;
    char folder[3072];

    if (env->value[MT_ENV_CL_DIR] != NULL || env->value[MT_ENV_CL_FLAGS] != NULL ||
        !mt_prog_cache_dir(dev->ctx, folder, sizeof folder)) {
        return 0;
    }
    return snprintf(path, room, "%s/limits-%s.json", folder, key) < (int)room;
}

int mt_limits_json(struct mt_dev *dev, const struct mt_limits *l, char **out)
{
    struct mt_json j;
    char key[MT_HASH_TEXT];

    MT_TRY(device_key(dev, key));
    mt_json_init(&j, dev->ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_text(&j, "format", FORMAT);
    mt_json_text(&j, "key", key);
    mt_json_text(&j, "device", dev->info.name);
    mt_json_text(&j, "platform", dev->info.platform_name);
    mt_json_text(&j, "driver", dev->info.driver);
    mt_json_int(&j, "units", dev->info.units);
    for (int i = 0; i < MT_LIMITS; i++) {
        mt_json_num(&j, mt_limit_key((enum mt_limit)i), l->value[i]);
    }
    mt_json_text(&j, "fma_by", l->fma_by);
    mt_json_num(&j, "array_bytes", l->array_bytes);
    mt_json_num(&j, "transfer_bytes", l->transfer_bytes);
    mt_json_bool(&j, "mapped", l->mapped);
    mt_json_num(&j, "seconds", l->seconds);
    mt_json_end(&j);
    return mt_json_take(&j, out);
}

static int positive(const struct mt_tree *t, const char *key, double *out)
{
    MT_TRY(mt_tree_num(t, key, out));
    MT_CHECK(*out > 0.0 && isfinite(*out), MOTLEY_EFORMAT, "%s is %g, must be positive", key,
             *out);
    return MOTLEY_OK;
}

static int parse(const struct mt_tree *t, const char *key, struct mt_limits *l)
{
    const char *text;

    MT_TRY(mt_tree_text(t, "format", &text));
    MT_CHECK(strcmp(text, FORMAT) == 0, MOTLEY_EFORMAT, "format is '%s'", text);
    MT_TRY(mt_tree_text(t, "key", &text));
    MT_CHECK(strcmp(text, key) == 0, MOTLEY_EFORMAT, "is of another device");
    for (int i = 0; i < MT_LIMITS; i++) {
        MT_TRY(positive(t, mt_limit_key((enum mt_limit)i), &l->value[i]));
    }
    MT_TRY(mt_tree_text(t, "fma_by", &text));
    snprintf(l->fma_by, sizeof l->fma_by, "%s", text);
    MT_TRY(positive(t, "array_bytes", &l->array_bytes));
    MT_TRY(positive(t, "transfer_bytes", &l->transfer_bytes));
    MT_TRY(positive(t, "seconds", &l->seconds));
    MT_TRY(mt_tree_text(t, "mapped", &text));
    l->mapped = strcmp(text, "true") == 0;
    return MOTLEY_OK;
}

int mt_limits_load(struct mt_dev *dev, struct mt_limits *out, int *found)
{
    struct mt_ctx *ctx = dev->ctx;
    struct mt_tree *tree = NULL;
    struct mt_limits l = {.mapped = 0};
    char key[MT_HASH_TEXT], path[3200], *data = NULL;
    size_t bytes;
    int st;

    *found = 0;
    MT_TRY(device_key(dev, key));
    if (!kept_at(dev, key, path, sizeof path) || !mt_file_exists(path)) {
        return MOTLEY_OK;
    }
    MT_TRY_OR(end, mt_file_read(ctx, path, &data, &bytes));
    MT_TRY_OR(end, mt_json_parse(ctx, data, bytes, path, &tree));
    MT_TRY_OR(end, parse(tree, key, &l));
    *out = l;
    *found = 1;
end:
    if (st < 0 && st != MOTLEY_EMEM) {
        mt_log(ctx, MT_LOG_DEBUG, "dev", "%s is not used: %s", path, mt_err_text());
        st = MOTLEY_OK;
    }
    mt_tree_free(ctx, tree);
    mt_free(ctx, data);
    return st;
}

int mt_limits_save(struct mt_dev *dev, const struct mt_limits *l, char **path)
{
    char key[MT_HASH_TEXT], file[3200], folder[3072], *text = NULL;
    int st;

    *path = NULL;
    MT_TRY(device_key(dev, key));
    if (!kept_at(dev, key, file, sizeof file)) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_limits_json(dev, l, &text));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(file, '/') - file), file);
    MT_TRY_OR(end, mt_dir_make(dev->ctx, folder));
    MT_TRY_OR(end, mt_file_write(dev->ctx, file, text, strlen(text)));
    MT_TRY_OR(end, mt_mem_strdup(dev->ctx, file, path));
end:
    mt_free(dev->ctx, text);
    return st;
}

int mt_limits_get(struct mt_dev *dev, struct mt_limits *out)
{
    const double seconds = 2.0;
    char *path = NULL;
    int found = 0;

    MT_TRY(mt_limits_load(dev, out, &found));
    if (!found) {
        MT_TRY(mt_limits_measure(dev, seconds, out));
        if (mt_limits_save(dev, out, &path) < 0) {   /* then they are measured again */
            mt_log(dev->ctx, MT_LOG_DEBUG, "dev", "limits are not kept: %s", mt_err_text());
        }
        mt_free(dev->ctx, path);
    }
    return MOTLEY_OK;
}

double mt_limits_bound(const struct mt_limits *l, double flop, double bytes)
{
    double memory = fmax(l->value[MT_LIMIT_READ],
                         fmax(l->value[MT_LIMIT_COPY], l->value[MT_LIMIT_TRIAD]));

    return fmax(flop / l->value[MT_LIMIT_FMA], bytes / memory);
}
