/* idx.c -- images and labels in the IDX format of MNIST, plain or gzip-compressed.
 *
 *   0 0 <type> <rank>, rank big-endian 32-bit sizes, then the values; the first size counts the
 *   items. Read here: type 08 (unsigned bytes); labels have rank 1 (magic 2049), images rank 2
 *   to 4 (MNIST: 3, magic 2051). Y. LeCun, C. Cortes, C. Burges, http://yann.lecun.com/exdb/mnist
 *
 *   x[j] = (byte[j] / 255 - mean) / std       shape (C, H, W); C = 1 where the file has no C
 *
 * Bytes stay bytes in memory, a quarter of the floats; they become floats when fetched, one
 * multiplication and one addition each. */
#define _POSIX_C_SOURCE 200809L
#include "data/data.h"

#include "base/ctx.h"
#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define TYPE_U8 0x08
#define MAXRANK 4
#define LANES 16
#define GZIP_MOST 1032   /* deflate cannot shrink by more than this (zlib's technical notes) */

enum { PATH, IMAGES, LABELS, HELD_IMAGES, HELD_LABELS, CLASSES, MEAN, STD };

static const struct mt_attr attrs[] = {
    {"path", MT_ATTR_TEXT, .doc = "folder with the four files under the names of MNIST"},
    {"images", MT_ATTR_TEXT, .doc = "file of the training images, instead of path"},
    {"labels", MT_ATTR_TEXT, .doc = "file of the training labels"},
    {"held_images", MT_ATTR_TEXT, .doc = "file of the held-out images"},
    {"held_labels", MT_ATTR_TEXT, .doc = "file of the held-out labels"},
    {"classes", MT_ATTR_INT, .def.i = 10, .min = 0, .max = 256,
     .doc = "number of classes; 0: the largest training label and one"},
    {"mean", MT_ATTR_NUM, .def.f = 0, .doc = "x = (byte / 255 - mean) / std"},
    {"std", MT_ATTR_NUM, .def.f = 1, .min = 1e-6, .max = 1e6, .doc = "see mean"},
    {0}};

/* One file: count items of `each` bytes. */
struct idx {
    char path[4096];
    int rank;
    int64_t dim[MAXRANK];
    int64_t count, each;
    uint8_t *byte;
};

struct own {
    uint8_t *pixel, *label;
    struct mt_scale scale;
};

/* Reads exactly n bytes; *got is how many came before a file's early end. */
static int read_some(gzFile g, const char *path, void *dst, int64_t n, int64_t *got)
{
    *got = 0;
    while (*got < n) {
        int64_t rest = n - *got;
        int part = gzread(g, (char *)dst + *got, rest > 1 << 30 ? 1u << 30 : (unsigned)rest);

        if (part < 0) {
            int code;
            const char *why = gzerror(g, &code);

            MT_CHECK(code == Z_ERRNO, MOTLEY_EFORMAT, "%s: damaged gzip data (%s)", path,
                     why + (strncmp(why, path, strlen(path)) == 0 ? strlen(path) + 2 : 0));
            MT_FAIL(MOTLEY_EFILE, "%s: %s", path, strerror(errno));
        }
        if (part == 0) {
            break;
        }
        *got += part;
    }
    return MOTLEY_OK;
}

/* A gzip stream that ends before its own end mark: zlib says so with Z_BUF_ERROR. */
static int check_not_cut(gzFile g, const char *path)
{
    int code;

    gzerror(g, &code);
    MT_CHECK(code != Z_BUF_ERROR, MOTLEY_EFORMAT,
             "%s: the gzip data is cut off; fetch or copy the file again", path);
    return MOTLEY_OK;
}

static int64_t be32(const uint8_t *b)
{
    return (int64_t)((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
}

static int check_magic(const char *path, const uint8_t *m, int labels)
{
    MT_CHECK(m[0] == 0 && m[1] == 0, MOTLEY_EFORMAT,
             "%s: not an IDX file: it begins with %02x%02x%02x%02x, %s begin with %s", path, m[0],
             m[1], m[2], m[3], labels ? "labels" : "images", labels ? "00000801" : "00000803");
    MT_CHECK(m[2] == TYPE_U8, MOTLEY_EUNSUP,
             "%s: IDX values of type 0x%02x; only unsigned bytes (0x08) are read", path, m[2]);
    if (labels) {
        MT_CHECK(m[3] == 1, MOTLEY_EFORMAT,
                 "%s: holds %d dimensions, labels have 1; are images and labels exchanged?", path,
                 m[3]);
    } else {
        MT_CHECK(m[3] >= 2 && m[3] <= MAXRANK, MOTLEY_EFORMAT,
                 "%s: holds %d dimensions, images have 2 to %d%s", path, m[3], MAXRANK,
                 m[3] == 1 ? "; are images and labels exchanged?" : "");
    }
    return MOTLEY_OK;
}

static int read_head(gzFile g, struct idx *f, int labels, int64_t file_bytes)
{
    uint8_t head[4 + 4 * MAXRANK];
    int64_t got, most = file_bytes;

    MT_TRY(read_some(g, f->path, head, 4, &got));
    MT_TRY(check_not_cut(g, f->path));
    MT_CHECK(got == 4, MOTLEY_EFORMAT, "%s: not an IDX file: it has %lld bytes", f->path,
             (long long)file_bytes);
    MT_TRY(check_magic(f->path, head, labels));
    f->rank = head[3];
    MT_TRY(read_some(g, f->path, head, 4 * f->rank, &got));
    MT_TRY(check_not_cut(g, f->path));
    MT_CHECK(got == 4 * f->rank, MOTLEY_EFORMAT, "%s: ends inside its header", f->path);
    if (!gzdirect(g)) {
        most = file_bytes * GZIP_MOST;
    }
    f->each = 1;
    for (int d = 0; d < f->rank; d++) {
        f->dim[d] = be32(head + 4 * d);
        MT_CHECK(f->dim[d] > 0, MOTLEY_EFORMAT, "%s: dimension %d is 0, nothing is in it",
                 f->path, d + 1);
        if (d > 0) {
            MT_CHECK(f->each <= most / f->dim[d], MOTLEY_EFORMAT,
                     "%s: truncated: one item has more bytes than the file", f->path);
            f->each *= f->dim[d];
        }
    }
    f->count = f->dim[0];
    MT_CHECK(f->count <= most / f->each, MOTLEY_EFORMAT,
             "%s: truncated: its header announces %lld items of %lld bytes, the file has %lld "
             "bytes", f->path, (long long)f->count, (long long)f->each, (long long)file_bytes);
    return MOTLEY_OK;
}

static int read_body(struct mt_ctx *ctx, gzFile g, struct idx *f, int64_t file_bytes)
{
    int64_t got, want = f->count * f->each;
    char more;

    MT_TRY(MT_NEW_N(ctx, want, &f->byte));
    MT_TRY(read_some(g, f->path, f->byte, want, &got));
    if (got < want) {
        MT_TRY(check_not_cut(g, f->path));
        MT_FAIL(MOTLEY_EFORMAT,
                "%s: truncated: its header announces %lld items of %lld bytes, %s holds %lld "
                "bytes of them", f->path, (long long)f->count, (long long)f->each,
                gzdirect(g) ? "the file" : "the gzip data", (long long)got);
    }
    MT_TRY(read_some(g, f->path, &more, 1, &got));
    MT_TRY(check_not_cut(g, f->path));
    MT_CHECK(got == 0, MOTLEY_EFORMAT,
             "%s: has more bytes than the %lld items of %lld bytes that its header announces "
             "(%lld bytes on disk)", f->path, (long long)f->count, (long long)f->each,
             (long long)file_bytes);
    return MOTLEY_OK;
}

/* f->path is set. */
static int read_idx(struct mt_ctx *ctx, struct idx *f, int labels)
{
    struct stat info;
    gzFile g;
    int st = MOTLEY_OK;

    MT_CHECK(stat(f->path, &info) == 0, MOTLEY_EFILE, "%s: %s", f->path, strerror(errno));
    MT_CHECK(S_ISREG(info.st_mode), MOTLEY_EFILE, "%s: is not a plain file", f->path);
    errno = 0;
    g = gzopen(f->path, "rb");
    MT_CHECK(g != NULL, MOTLEY_EFILE, "%s: %s", f->path,
             errno != 0 ? strerror(errno) : "no memory to read it");
    gzbuffer(g, 1u << 17);
    MT_TRY_OR(done, read_head(g, f, labels, info.st_size));
    MT_TRY_OR(done, read_body(ctx, g, f, info.st_size));
done:
    gzclose_r(g);
    return st;
}

/* The name of MNIST or a variant of it in a folder; false if there is none. */
static int find_in(const char *folder, const char *part, const char *what, char *path, size_t room)
{
    static const char *const forms[] = {"%s/%s-%s", "%s/%s-%s.gz", "%s/%s.%s", "%s/%s.%s.gz"};

    for (int i = 0; i < 4; i++) {
        int len = snprintf(path, room, forms[i], folder, part, what);

        if (len > 0 && (size_t)len < room && mt_file_exists(path)) {
            return 1;
        }
    }
    return 0;
}

static int find_pair(const char *folder, const char *part, struct idx *images,
                     struct idx *labels, int *found)
{
    char name[32];
    int have_images, have_labels;

    snprintf(name, sizeof name, "%s-images", part);
    have_images = find_in(folder, name, "idx3-ubyte", images->path, sizeof images->path);
    snprintf(name, sizeof name, "%s-labels", part);
    have_labels = find_in(folder, name, "idx1-ubyte", labels->path, sizeof labels->path);
    MT_CHECK(have_images == have_labels, MOTLEY_EFILE,
             "%s: has %s-%s, but no %s-%s (nor the same with .gz)", folder, part,
             have_images ? "images-idx3-ubyte" : "labels-idx1-ubyte", part,
             have_images ? "labels-idx1-ubyte" : "images-idx3-ubyte");
    *found = have_images;
    return MOTLEY_OK;
}

static int set_paths(const struct mt_tree *at, struct idx *images, struct idx *labels,
                     const char *images_path, const char *labels_path, const char *prefix)
{
    if (images_path == NULL || labels_path == NULL) {
        MT_TREE_FAIL(at, "data format idx: '%simages' and '%slabels' go together", prefix,
                     prefix);
    }
    MT_CHECK(strlen(images_path) < sizeof images->path && strlen(labels_path) <
                 sizeof labels->path, MOTLEY_EFILE, "%.40s...: path is too long", images_path);
    strcpy(images->path, images_path);
    strcpy(labels->path, labels_path);
    return MOTLEY_OK;
}

/* Paths of the four files; *have_held: the last two exist. */
static int locate(const struct mt_tree *at, const union mt_attr_val *val, struct idx f[4],
                  int *have_held)
{
    const char *folder = val[PATH].s;
    int found = 0;

    *have_held = 0;
    if (folder != NULL) {
        MT_CHECK(mt_dir_exists(folder), MOTLEY_EFILE, "%s: there is no such folder", folder);
        MT_TRY(find_pair(folder, "train", &f[0], &f[1], &found));
        MT_TRY(find_pair(folder, "t10k", &f[2], &f[3], have_held));
        MT_CHECK(found || val[IMAGES].s != NULL, MOTLEY_EFILE,
                 "%s: has no train-images-idx3-ubyte or train-images.idx3-ubyte, with or without "
                 ".gz; examples/get-mnist.sh fetches the files of MNIST", folder);
    }
    if (val[IMAGES].s != NULL || val[LABELS].s != NULL) {
        MT_TRY(set_paths(at, &f[0], &f[1], val[IMAGES].s, val[LABELS].s, ""));
        found = 1;
    }
    if (val[HELD_IMAGES].s != NULL || val[HELD_LABELS].s != NULL) {
        MT_TRY(set_paths(at, &f[2], &f[3], val[HELD_IMAGES].s, val[HELD_LABELS].s, "held_"));
        *have_held = 1;
    }
    if (!found) {
        MT_TREE_FAIL(at, "data format idx needs 'path' (a folder), or 'images' and 'labels'");
    }
    return MOTLEY_OK;
}

static int fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    const struct own *o = s->own;
    const uint8_t *restrict p = o->pixel + i * s->sample.x_size;
    const float mul = o->scale.mul, add = o->scale.add;
    float *restrict to = x;
    int64_t size = x != NULL ? s->sample.x_size : 0, j = 0;

    for (; j + LANES <= size; j += LANES) {   /* a fixed count becomes vectors at -O2, too */
        for (int k = 0; k < LANES; k++) {
            to[j + k] = (float)p[j + k] * mul + add;
        }
    }
    for (; j < size; j++) {
        to[j] = (float)p[j] * mul + add;
    }
    if (y != NULL) {
        *(int32_t *)y = o->label[i];
    }
    return MOTLEY_OK;
}

static void set_free(struct mt_set *s)
{
    struct own *o = s->own;

    if (o != NULL) {
        mt_free(s->ctx, o->pixel);
        mt_free(s->ctx, o->label);
    }
    mt_free(s->ctx, o);
}

static int check_labels(const struct idx *labels, int64_t classes)
{
    for (int64_t i = 0; i < labels->count; i++) {
        MT_CHECK(labels->byte[i] < classes, MOTLEY_EFORMAT,
                 "%s: label %d of item %lld is outside 0..%lld; set data.classes if there are "
                 "more classes", labels->path, labels->byte[i], (long long)i,
                 (long long)classes - 1);
    }
    return MOTLEY_OK;
}

static int set_hash(struct mt_ctx *ctx, struct mt_set *s, const struct own *o)
{
    struct mt_hash *h = NULL;

    MT_TRY(mt_hash_new(ctx, &h));
    mt_hash_add(h, o->pixel, (size_t)(s->n * s->sample.x_size));
    mt_hash_add(h, o->label, (size_t)s->n);
    mt_hash_add(h, &o->scale.mul, sizeof o->scale.mul);
    mt_hash_add(h, &o->scale.add, sizeof o->scale.add);
    mt_hash_text(h, s->hash);
    mt_hash_free(h);
    return MOTLEY_OK;
}

/* Takes the bytes of both. *classes 0: found from the labels, and given back. */
static int set_new(struct mt_ctx *ctx, struct idx *images, struct idx *labels,
                   const union mt_attr_val *val, int64_t *classes, struct mt_set **out)
{
    struct mt_set *s = NULL;
    struct own *o = NULL;
    int64_t dim[MAXRANK] = {1, 1, 1, 1}, largest = 0;
    int st = MOTLEY_OK;

    MT_TRY(read_idx(ctx, images, 0));
    MT_TRY(read_idx(ctx, labels, 1));
    MT_CHECK(images->count == labels->count, MOTLEY_EFORMAT, "%s has %lld images, but %s has %lld "
             "labels", images->path, (long long)images->count, labels->path,
             (long long)labels->count);
    for (int64_t i = 0; i < labels->count; i++) {
        largest = labels->byte[i] > largest ? labels->byte[i] : largest;
    }
    *classes = *classes == 0 ? largest + 1 : *classes;
    MT_TRY(check_labels(labels, *classes));

    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->free = set_free;
    s->fetch = fetch;
    s->n = images->count;
    MT_TRY_OR(fail, MT_NEW(ctx, &o));
    s->own = o;
    s->sample.classes = *classes;
    if (images->rank == 3) {
        memcpy(dim + 1, images->dim + 1, 2 * sizeof *dim);
        MT_TRY_OR(fail, mt_sample_shape(&s->sample, 3, dim));
    } else {
        MT_TRY_OR(fail, mt_sample_shape(&s->sample, images->rank - 1, images->dim + 1));
    }
    mt_set_scale(s, &o->scale, 255, val[MEAN].f, val[STD].f);
    o->pixel = images->byte;
    o->label = labels->byte;
    images->byte = labels->byte = NULL;
    MT_TRY_OR(fail, set_hash(ctx, s, o));
    *out = s;
    return MOTLEY_OK;
fail:
    mt_set_free(s);
    return st;
}

/* "1x28x28" */
static const char *shape_text(const struct mt_sample *s, char *buf, size_t room)
{
    size_t used = 0;

    for (int d = 0; d < s->x_rank && used < room; d++) {
        used += (size_t)snprintf(buf + used, room - used, "%s%lld", d > 0 ? "x" : "",
                                 (long long)s->x_dim[d]);
    }
    return buf;
}

static int check_same(const struct mt_set *a, const char *path_a, const struct mt_set *b,
                      const char *path_b)
{
    char one[80], other[80];

    MT_CHECK(strcmp(shape_text(&a->sample, one, sizeof one),
                    shape_text(&b->sample, other, sizeof other)) == 0, MOTLEY_EFORMAT,
             "%s: an image is %s, in %s it is %s", path_b, other, path_a, one);
    return MOTLEY_OK;
}

static int open_idx(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                    uint64_t seed, struct mt_set **train, struct mt_set **held)
{
    struct idx *f = NULL;   /* train images, labels, held-out images, labels */
    struct mt_set *a = NULL, *b = NULL;
    int64_t classes = val[CLASSES].i;
    int have_held = 0, st = MOTLEY_OK;

    (void)seed;
    MT_TRY(MT_NEW_N(ctx, 4, &f));
    MT_TRY_OR(done, locate(at, val, f, &have_held));
    MT_TRY_OR(done, set_new(ctx, &f[0], &f[1], val, &classes, &a));
    if (have_held) {
        MT_TRY_OR(done, set_new(ctx, &f[2], &f[3], val, &classes, &b));
        MT_TRY_OR(done, check_same(a, f[0].path, b, f[2].path));
    }
    *train = a;
    *held = b;
    a = b = NULL;
done:
    mt_set_free(a);
    mt_set_free(b);
    for (int i = 0; i < 4; i++) {
        mt_free(ctx, f[i].byte);
    }
    mt_free(ctx, f);
    return st;
}

const struct mt_reader mt_reader_idx = {
    .name = "idx",
    .doc = "images and labels as in MNIST: IDX files, plain or gzip",
    .attrs = attrs,
    .open = open_idx};
