/* ckpt.c -- writes, finds, checks and removes checkpoint folders; see ckpt.h.
 *
 * The manifest ends with a checksum of itself, so that a flipped digit in it is found like one
 * in the numbers. Order of writing: files, each synced; manifest; folder; rename; parent. */
#define _POSIX_C_SOURCE 200809L
#include "train/ckpt.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT "motley-checkpoint"
#define FORMAT_VERSION 1
#define WEIGHTS "model.safetensors"
#define OPTIM "optim.safetensors"
#define MANIFEST "manifest.json"
#define SEAL ",\n  \"check\": \"%s\"\n}\n"
#define SEAL_BYTES (sizeof SEAL - 3 + MT_HASH_TEXT - 1)

static int join(char path[PATH_MAX], const char *folder, const char *name)
{
    MT_CHECK(snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX, MOTLEY_EFILE,
             "%s/%s: path is too long", folder, name);
    return MOTLEY_OK;
}

/* ---- writing ------------------------------------------------------------------------- */

struct written {
    const char *name;
    uint64_t bytes;
    char digest[MT_HASH_TEXT];
};

static int write_manifest(struct mt_ctx *ctx, const char *folder, const struct mt_ckpt_pos *pos,
                          const char *optimizer, const struct written *file, int n)
{
    char path[PATH_MAX], digest[MT_HASH_TEXT], seed[24], *text = NULL;
    struct mt_json j;
    size_t len;
    int st = MOTLEY_OK;

    MT_TRY(join(path, folder, MANIFEST));
    snprintf(seed, sizeof seed, "%" PRIu64, pos->seed);
    mt_json_init(&j, ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_text(&j, "format", FORMAT);
    mt_json_int(&j, "version", FORMAT_VERSION);
    mt_json_int(&j, "step", pos->step);
    mt_json_int(&j, "epoch", pos->epoch);
    mt_json_int(&j, "position", pos->position);
    mt_json_int(&j, "samples", pos->samples);
    mt_json_text(&j, "seed", seed);      /* as text: JSON readers round integers above 2^53 */
    mt_json_text(&j, "data", pos->data);
    if (pos->loss_scale > 0) {
        mt_json_num(&j, "loss_scale", pos->loss_scale);
        mt_json_num(&j, "streak", pos->streak);
    }
    mt_json_text(&j, "optimizer", optimizer == NULL ? "" : optimizer);
    mt_json_list(&j, "files");
    for (int i = 0; i < n; i++) {
        mt_json_map(&j, NULL);
        mt_json_text(&j, "name", file[i].name);
        mt_json_int(&j, "bytes", (int64_t)file[i].bytes);
        mt_json_text(&j, "xxh128", file[i].digest);
        mt_json_end(&j);
    }
    mt_json_end(&j);
    mt_json_end(&j);
    MT_TRY(mt_json_take(&j, &text));
    len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '}')) {
        len--;
    }
    MT_TRY_OR(done, MT_RESIZE(ctx, len + SEAL_BYTES + 1, &text));
    mt_hash_block(text, len, digest);
    snprintf(text + len, SEAL_BYTES + 1, SEAL, digest);
    MT_TRY_OR(done, mt_file_write(ctx, path, text, len + SEAL_BYTES));
done:
    mt_free(ctx, text);
    return st;
}

static int write_part(struct mt_ctx *ctx, const char *folder, const char *name,
                      const struct mt_ckpt_part *part, struct written *file)
{
    char path[PATH_MAX];

    MT_TRY(join(path, folder, name));
    file->name = name;
    return mt_safetensors_write(ctx, path, part->tensor, part->n, "motley", part->get, part->arg,
                                &file->bytes, file->digest);
}

/* tmp becomes path; what was there goes aside first, so that it can be put back. */
static int put_in_place(struct mt_ctx *ctx, const char *tmp, const char *path)
{
    char old[PATH_MAX], parent[PATH_MAX];
    int had = mt_dir_exists(path), why;
    char *slash;

    MT_CHECK(snprintf(old, sizeof old, "%s.old-%ld", path, (long)getpid()) < PATH_MAX,
             MOTLEY_EFILE, "%s: path is too long", path);
    if (had && rename(path, old) != 0) {
        MT_FAIL(MOTLEY_EFILE, "%s: cannot be replaced: %s", path, strerror(errno));
    }
    if (rename(tmp, path) != 0) {
        why = errno;
        if (had && rename(old, path) != 0) {
            MT_FAIL(MOTLEY_EFILE, "%s: cannot be put in place: %s; it is now %s", path,
                    strerror(why), old);
        }
        MT_FAIL(MOTLEY_EFILE, "%s: cannot be put in place: %s", path, strerror(why));
    }
    snprintf(parent, sizeof parent, "%s", path);
    slash = strrchr(parent, '/');
    if (slash == NULL) {
        snprintf(parent, sizeof parent, ".");
    } else {
        slash[slash == parent] = '\0';
    }
    MT_TRY(mt_dir_sync(ctx, parent));
    if (had) {
        MT_TRY(mt_dir_remove(ctx, old));
    }
    return MOTLEY_OK;
}

int mt_ckpt_write(struct mt_ctx *ctx, const char *path, const struct mt_ckpt_pos *pos,
                  const struct mt_ckpt_part *weights, const struct mt_ckpt_part *optim,
                  const char *optimizer)
{
    struct written file[2];
    char tmp[PATH_MAX];
    int n = 0, st = MOTLEY_OK;

    MT_CHECK(snprintf(tmp, sizeof tmp, "%s.tmp-%ld", path, (long)getpid()) < PATH_MAX - 64,
             MOTLEY_EFILE, "%s: path is too long", path);
    MT_TRY_OR(fail, mt_dir_make(ctx, tmp));
    MT_TRY_OR(fail, write_part(ctx, tmp, WEIGHTS, weights, &file[n++]));
    if (optim != NULL) {
        MT_TRY_OR(fail, write_part(ctx, tmp, OPTIM, optim, &file[n++]));
    }
    MT_TRY_OR(fail, write_manifest(ctx, tmp, pos, optimizer, file, n));
    MT_TRY_OR(fail, mt_dir_sync(ctx, tmp));
    MT_TRY_OR(fail, put_in_place(ctx, tmp, path));
    return MOTLEY_OK;
fail:
    mt_err_prefix("checkpoint not written (earlier ones are untouched): ");
    if (mt_dir_exists(tmp)) {
        const char *const names[] = {WEIGHTS, OPTIM, MANIFEST};

        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            char file_path[PATH_MAX + 32];

            snprintf(file_path, sizeof file_path, "%s/%s", tmp, names[i]);
            unlink(file_path);
        }
        rmdir(tmp);
    }
    return st;
}

/* ---- reading ------------------------------------------------------------------------- */

static int check_seal(const char *path, const char *text, size_t bytes)
{
    char digest[MT_HASH_TEXT], seal[SEAL_BYTES + 1];
    size_t len;

    MT_CHECK(bytes > SEAL_BYTES, MOTLEY_EFORMAT, "%s: is too short (%zu bytes)", path, bytes);
    len = bytes - SEAL_BYTES;
    mt_hash_block(text, len, digest);
    snprintf(seal, sizeof seal, SEAL, digest);
    MT_CHECK(memcmp(text + len, seal, SEAL_BYTES) == 0, MOTLEY_EFORMAT,
             "%s: is damaged (wrong checksum)", path);
    return MOTLEY_OK;
}

static int read_pos(const struct mt_tree *t, const char *path, struct mt_ckpt *c)
{
    const char *format = "", *text = "";
    char *end = NULL;
    int64_t version = 0;

    MT_TRY(mt_tree_text(t, "format", &format));
    MT_TRY(mt_tree_int(t, "version", &version));
    MT_CHECK(strcmp(format, FORMAT) == 0, MOTLEY_EFORMAT, "%s: is no manifest of a checkpoint",
             path);
    MT_CHECK(version == FORMAT_VERSION, MOTLEY_EFORMAT,
             "%s: has format version %" PRId64 "; this program reads version %d", path, version,
             FORMAT_VERSION);
    MT_TRY(mt_tree_int(t, "step", &c->pos.step));
    MT_TRY(mt_tree_int(t, "epoch", &c->pos.epoch));
    MT_TRY(mt_tree_int(t, "position", &c->pos.position));
    MT_TRY(mt_tree_int(t, "samples", &c->pos.samples));
    MT_TRY(mt_tree_text(t, "seed", &text));
    errno = 0;
    c->pos.seed = strtoull(text, &end, 10);
    MT_CHECK(errno == 0 && end != text && *end == '\0', MOTLEY_EFORMAT,
             "%s: seed '%s' is no number", path, text);
    MT_TRY(mt_tree_text(t, "data", &text));
    snprintf(c->pos.data, sizeof c->pos.data, "%s", text);
    if (mt_tree_get(t, "loss_scale") != NULL) {
        MT_TRY(mt_tree_num(t, "loss_scale", &c->pos.loss_scale));
        MT_TRY(mt_tree_num(t, "streak", &c->pos.streak));
    }
    MT_TRY(mt_tree_text(t, "optimizer", &text));
    snprintf(c->optimizer, sizeof c->optimizer, "%s", text);
    return MOTLEY_OK;
}

static int read_part(struct mt_ctx *ctx, const char *folder, const struct mt_tree *f, char **data,
                     size_t *bytes)
{
    const char *name = "", *want = "";
    char path[PATH_MAX], digest[MT_HASH_TEXT], *block = NULL;
    size_t got = 0;
    int64_t size = 0;
    int st = MOTLEY_OK;

    MT_TRY(mt_tree_text(f, "name", &name));
    MT_TRY(mt_tree_int(f, "bytes", &size));
    MT_TRY(mt_tree_text(f, "xxh128", &want));
    MT_TRY(join(path, folder, name));
    MT_TRY(mt_file_read(ctx, path, &block, &got));
    MT_CHECK_OR(fail, (int64_t)got == size, MOTLEY_EFORMAT,
                "%s: has %zu bytes, the manifest says %" PRId64, path, got, size);
    mt_hash_block(block, got, digest);
    MT_CHECK_OR(fail, strcmp(digest, want) == 0, MOTLEY_EFORMAT,
                "%s: is damaged (wrong checksum)", path);
    *data = block;
    *bytes = got;
    return MOTLEY_OK;
fail:
    mt_free(ctx, block);
    return st;
}

static int read_folder(struct mt_ctx *ctx, const char *folder, struct mt_ckpt *c)
{
    char path[PATH_MAX], *text = NULL;
    struct mt_tree *t = NULL;
    const struct mt_tree *files;
    const char *name = "";
    size_t bytes = 0;
    int st = MOTLEY_OK;

    MT_TRY(join(path, folder, MANIFEST));
    MT_CHECK(mt_file_exists(path), MOTLEY_EFORMAT, "%s: is incomplete (no %s)", folder, MANIFEST);
    MT_TRY(mt_file_read(ctx, path, &text, &bytes));
    MT_TRY_OR(done, check_seal(path, text, bytes));
    MT_TRY_OR(done, mt_json_parse(ctx, text, bytes, path, &t));
    MT_TRY_OR(done, read_pos(t, path, c));
    files = mt_tree_get(t, "files");
    for (int i = 0; files != NULL && i < files->n; i++) {
        MT_TRY_OR(done, mt_tree_text(files->item[i], "name", &name));
        if (strcmp(name, WEIGHTS) == 0 && c->weights == NULL) {
            MT_TRY_OR(done, read_part(ctx, folder, files->item[i], &c->weights, &c->weights_bytes));
        } else if (strcmp(name, OPTIM) == 0 && c->optim == NULL) {
            MT_TRY_OR(done, read_part(ctx, folder, files->item[i], &c->optim, &c->optim_bytes));
        }
    }
    MT_CHECK_OR(done, c->weights != NULL, MOTLEY_EFORMAT, "%s: names no %s", path, WEIGHTS);
done:
    mt_tree_free(ctx, t);
    mt_free(ctx, text);
    return st;
}

int mt_ckpt_read(struct mt_ctx *ctx, const char *path, struct mt_ckpt **out)
{
    struct mt_ckpt *c = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(ctx, &c));
    c->ctx = ctx;
    MT_TRY_OR(fail, mt_mem_strdup(ctx, path, &c->path));
    if (mt_file_exists(path)) {
        MT_TRY_OR(fail, mt_file_read(ctx, path, &c->weights, &c->weights_bytes));
    } else {
        MT_CHECK_OR(fail, mt_dir_exists(path), MOTLEY_EFILE, "%s: no such file or folder", path);
        MT_TRY_OR(fail, read_folder(ctx, path, c));
    }
    *out = c;
    return MOTLEY_OK;
fail:
    mt_ckpt_free(c);
    return st;
}

void mt_ckpt_free(struct mt_ckpt *c)
{
    if (c == NULL) {
        return;
    }
    mt_free(c->ctx, c->path);
    mt_free(c->ctx, c->weights);
    mt_free(c->ctx, c->optim);
    mt_free(c->ctx, c);
}

/* ---- folders of checkpoints ---------------------------------------------------------- */

/* The number of "step-<number>", -1 for any other name. */
static int64_t step_of(const char *name)
{
    int64_t step = 0;

    if (strncmp(name, "step-", 5) != 0 || name[5] == '\0') {
        return -1;
    }
    for (const char *p = name + 5; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || step > INT64_MAX / 10 - 1) {
            return -1;
        }
        step = step * 10 + (*p - '0');
    }
    return step;
}

static int falling(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of all checkpoints in folder, newest first; an absent folder has none. Gives *steps. */
static int list_steps(struct mt_ctx *ctx, const char *folder, int64_t **steps, int *n)
{
    char **names = NULL;
    int64_t *list = NULL;
    int count = 0, found = 0, st = MOTLEY_OK;

    if (mt_dir_exists(folder)) {
        MT_TRY(mt_dir_list(ctx, folder, &names, &count));
    }
    MT_TRY_OR(done, MT_NEW_N(ctx, count + 1, &list));
    for (int i = 0; i < count; i++) {
        if (step_of(names[i]) >= 0) {
            list[found++] = step_of(names[i]);
        }
    }
    qsort(list, (size_t)found, sizeof *list, falling);
    *steps = list;
    *n = found;
done:
    mt_dir_list_free(ctx, names, count);
    return st;
}

static int newest_in(struct mt_ctx *ctx, const char *folder, struct mt_ckpt **out)
{
    char path[PATH_MAX];
    struct mt_ckpt *c = NULL;
    int64_t *steps = NULL;
    int n = 0, st = MOTLEY_OK;

    MT_TRY(list_steps(ctx, folder, &steps, &n));
    for (int i = 0; i < n && c == NULL; i++) {
        MT_CHECK_OR(done,
                    snprintf(path, sizeof path, "%s/step-%" PRId64, folder, steps[i]) < PATH_MAX,
                    MOTLEY_EFILE, "%s: path is too long", folder);
        st = mt_ckpt_read(ctx, path, &c);
        if (st == MOTLEY_EMEM) {
            goto done;
        }
        if (st != MOTLEY_OK) {
            mt_log(ctx, MT_LOG_WARN, "train", "checkpoint passed over: %s", mt_err_text());
        }
    }
    if (c == NULL && n > 0) {
        mt_err_prefix("no good checkpoint among %d in %s; the oldest: ", n, folder);
        goto done;
    }
    st = MOTLEY_OK;
    *out = c;
done:
    mt_free(ctx, steps);
    return st;
}

int mt_ckpt_newest(struct mt_ctx *ctx, const char *folder, struct mt_ckpt **out)
{
    char below[PATH_MAX];

    MT_TRY(join(below, folder, "checkpoints"));
    return newest_in(ctx, mt_dir_exists(below) ? below : folder, out);
}

int mt_ckpt_find(struct mt_ctx *ctx, const char *path, struct mt_ckpt **out)
{
    char manifest[PATH_MAX];
    struct mt_ckpt *c = NULL;

    MT_TRY(join(manifest, path, MANIFEST));
    if (mt_file_exists(path) || mt_file_exists(manifest)) {
        return mt_ckpt_read(ctx, path, out);
    }
    MT_CHECK(mt_dir_exists(path), MOTLEY_EFILE, "%s: no such file or folder", path);
    MT_TRY(mt_ckpt_newest(ctx, path, &c));
    MT_CHECK(c != NULL, MOTLEY_EFILE, "%s: holds no checkpoint", path);
    *out = c;
    return MOTLEY_OK;
}

int mt_ckpt_clean(struct mt_ctx *ctx, const char *folder)
{
    char path[PATH_MAX], base[PATH_MAX], **names = NULL;
    int n = 0, st = MOTLEY_OK;

    if (!mt_dir_exists(folder)) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_dir_list(ctx, folder, &names, &n));
    for (int i = 0; i < n; i++) {
        char *old = strstr(names[i], ".old-"), *tmp = strstr(names[i], ".tmp-");

        if (strncmp(names[i], "step-", 5) != 0 || (old == NULL && tmp == NULL)) {
            continue;
        }
        MT_TRY_OR(done, join(path, folder, names[i]));
        if (old != NULL) {
            *old = '\0';
            MT_TRY_OR(done, join(base, folder, names[i]));
            if (!mt_dir_exists(base) && rename(path, base) == 0) {
                continue;
            }
        }
        MT_TRY_OR(done, mt_dir_remove(ctx, path));
    }
done:
    mt_dir_list_free(ctx, names, n);
    return st;
}

/* Removes steps[lo..hi-1]. The manifest goes first: a half-removed one is then incomplete. */
static int remove_some(struct mt_ctx *ctx, const char *folder, const int64_t *steps, int lo, int hi)
{
    char path[PATH_MAX], manifest[PATH_MAX];

    for (int i = lo; i < hi; i++) {
        MT_CHECK(snprintf(path, sizeof path, "%s/step-%" PRId64, folder, steps[i]) < PATH_MAX,
                 MOTLEY_EFILE, "%s: path is too long", folder);
        MT_TRY(join(manifest, path, MANIFEST));
        unlink(manifest);
        MT_TRY(mt_dir_remove(ctx, path));
    }
    return MOTLEY_OK;
}

int mt_ckpt_prune(struct mt_ctx *ctx, const char *folder, int64_t keep)
{
    int64_t *steps = NULL;
    int n = 0, st = MOTLEY_OK;

    if (keep <= 0) {
        return MOTLEY_OK;
    }
    MT_TRY(list_steps(ctx, folder, &steps, &n));
    if (n > keep) {
        MT_TRY_OR(done, remove_some(ctx, folder, steps, (int)keep, n));
    }
done:
    mt_free(ctx, steps);
    return st;
}

int mt_ckpt_drop_after(struct mt_ctx *ctx, const char *folder, int64_t step)
{
    int64_t *steps = NULL;
    int n = 0, hi = 0, st = MOTLEY_OK;

    MT_TRY(list_steps(ctx, folder, &steps, &n));
    while (hi < n && steps[hi] > step) {
        hi++;
    }
    MT_TRY_OR(done, remove_some(ctx, folder, steps, 0, hi));
done:
    mt_free(ctx, steps);
    return st;
}
