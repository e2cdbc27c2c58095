/* npy.c -- arrays of NumPy, and the data format "npy": x and y as two such files.
 *
 * File: 93 N U M P Y, major, minor, length of header (16 bits, from version 2 on 32), header (a
 * Python dictionary of descr, fortran_order, shape, padded with blanks), then the elements.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 *   x[j] = (raw[j] - mean) / std; the first dimension of x and y counts the samples
 *
 * The elements stay as they are in memory and become floats when fetched. */
#include "data/npy.h"

#include "base/ctx.h"
#include "base/file.h"
#include "data/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *descr;
    int bytes;
} kinds[] = {[MT_NPY_F4] = {"<f4", 4}, [MT_NPY_F8] = {"<f8", 8}, [MT_NPY_U1] = {"|u1", 1},
             [MT_NPY_I4] = {"<i4", 4}, [MT_NPY_I8] = {"<i8", 8}};

/* ---- the array ---------------------------------------------------------------------------- */

/* Behind "'key':" and blanks in the dictionary; NULL if the key is not there. */
static const char *value_of(const char *head, const char *key)
{
    char quoted[32];
    const char *p;

    snprintf(quoted, sizeof quoted, "'%s'", key);
    p = strstr(head, quoted);
    if (p == NULL) {
        return NULL;
    }
    p += strlen(quoted);
    p += strspn(p, " ");
    if (*p != ':') {
        return NULL;
    }
    return p + 1 + strspn(p + 1, " ");
}

static int read_kind(const char *path, const char *head, struct mt_npy *a)
{
    const char *p = value_of(head, "descr");
    char descr[32];
    size_t len;

    MT_CHECK(p != NULL && *p != '[', MOTLEY_EUNSUP,
             "%s: %s; save a plain array of numbers", path,
             p == NULL ? "its header names no 'descr'" : "an array of records is not read");
    MT_CHECK(*p == '\'', MOTLEY_EFORMAT, "%s: damaged header: %.60s", path, head);
    len = strcspn(p + 1, "'");
    snprintf(descr, sizeof descr, "%.*s", (int)(len < 20 ? len : 20), p + 1);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (strcmp(descr, kinds[k].descr) == 0 ||
            (kinds[k].bytes == 1 && strcmp(descr + 1, kinds[k].descr + 1) == 0)) {
            a->kind = (enum mt_npy_kind)k;
            return MOTLEY_OK;
        }
    }
    MT_CHECK(descr[0] != '>', MOTLEY_EUNSUP,
             "%s: big-endian numbers ('%s') are not read; save x.astype('%s')", path, descr,
             descr[1] == 'f' ? "<f4" : "<i4");
    MT_FAIL(MOTLEY_EUNSUP,
            "%s: numbers of type '%s' are not read; f4, f8, u1, i4, i8 are: save "
            "x.astype('float32'), or astype('int32') for labels", path, descr);
}

static int read_shape(const char *path, const char *head, struct mt_npy *a)
{
    const char *p = value_of(head, "shape");

    MT_CHECK(p != NULL && *p == '(', MOTLEY_EFORMAT, "%s: damaged header: %.60s", path, head);
    a->count = 1;
    p++;
    for (;;) {
        char *end;
        long long d;

        p += strspn(p, " ,");
        if (*p == ')') {
            return MOTLEY_OK;
        }
        d = strtoll(p, &end, 10);
        MT_CHECK(end != p && d >= 0, MOTLEY_EFORMAT, "%s: damaged header: %.60s", path, head);
        MT_CHECK(a->rank < MT_NPY_MAXRANK, MOTLEY_EUNSUP, "%s: has more than %d dimensions", path,
                 MT_NPY_MAXRANK);
        MT_CHECK(d == 0 || a->count <= INT64_MAX / 8 / d, MOTLEY_EFORMAT,
                 "%s: damaged header: %.60s", path, head);
        a->dim[a->rank++] = d;
        a->count *= d;
        p = *end == 'L' ? end + 1 : end;   /* written by Python 2 */
    }
}

static int read_order(const char *path, const char *head)
{
    const char *p = value_of(head, "fortran_order");

    MT_CHECK(p != NULL, MOTLEY_EFORMAT, "%s: damaged header: %.60s", path, head);
    MT_CHECK(strncmp(p, "True", 4) != 0, MOTLEY_EUNSUP,
             "%s: is stored in Fortran order; save numpy.ascontiguousarray(x)", path);
    MT_CHECK(strncmp(p, "False", 5) == 0, MOTLEY_EFORMAT, "%s: damaged header: %.60s", path,
             head);
    return MOTLEY_OK;
}

static int check_finite(const char *path, const struct mt_npy *a)
{
    float v[256];

    for (int64_t i = 0; i < a->count && !mt_npy_is_int(a); i += 256) {
        int64_t n = a->count - i < 256 ? a->count - i : 256;

        mt_npy_floats(a, i, n, v);
        for (int64_t k = 0; k < n; k++) {
            MT_CHECK(isfinite(v[k]), MOTLEY_EFORMAT,
                     "%s: element %lld is not a finite 32-bit number", path, (long long)(i + k));
        }
    }
    return MOTLEY_OK;
}

/* Finds the header: gives its text (new) and where the elements begin. */
static int read_head(struct mt_ctx *ctx, const char *path, const unsigned char *b, size_t bytes,
                     char **head, size_t *begin)
{
    size_t len, at;

    MT_CHECK(bytes < 2 || memcmp(b, "PK", 2) != 0, MOTLEY_EUNSUP,
             "%s: is an .npz archive; save one array with numpy.save", path);
    MT_CHECK(bytes >= 10 && memcmp(b, "\x93NUMPY", 6) == 0, MOTLEY_EFORMAT,
             "%s: not an .npy file: it does not begin with 93 'NUMPY'", path);
    MT_CHECK(b[6] >= 1 && b[6] <= 3, MOTLEY_EUNSUP, "%s: .npy version %d; 1 to 3 are read", path,
             b[6]);
    len = (size_t)b[8] | (size_t)b[9] << 8;
    at = 10;
    if (b[6] > 1 && bytes >= 12) {
        len |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
        at = 12;
    }
    MT_CHECK(len <= bytes - at, MOTLEY_EFORMAT, "%s: truncated: ends inside its header", path);
    MT_TRY(MT_NEW_N(ctx, len + 1, head));
    memcpy(*head, b + at, len);
    *begin = at + len;
    while (len > 0 && ((*head)[len - 1] == ' ' || (*head)[len - 1] == '\n')) {
        (*head)[--len] = '\0';
    }
    return MOTLEY_OK;
}

static int read_array(struct mt_ctx *ctx, const char *path, struct mt_npy *a)
{
    char *head = NULL;
    size_t bytes = 0, begin = 0, want;
    int st = MOTLEY_OK;

    MT_TRY(mt_file_read(ctx, path, &a->file, &bytes));
    MT_TRY(read_head(ctx, path, (unsigned char *)a->file, bytes, &head, &begin));
    MT_TRY_OR(done, read_kind(path, head, a));
    MT_TRY_OR(done, read_order(path, head));
    MT_TRY_OR(done, read_shape(path, head, a));
    a->data = (unsigned char *)a->file + begin;
    a->data_bytes = bytes - begin;
    want = (size_t)a->count * (size_t)kinds[a->kind].bytes;
    MT_CHECK_OR(done, a->data_bytes >= want, MOTLEY_EFORMAT,
                "%s: truncated: its header announces %zu bytes of numbers, %zu are there", path,
                want, a->data_bytes);
    MT_CHECK_OR(done, a->data_bytes == want, MOTLEY_EFORMAT,
                "%s: has %zu bytes of numbers, its header announces %zu", path, a->data_bytes,
                want);
    MT_TRY_OR(done, check_finite(path, a));
done:
    mt_free(ctx, head);
    return st;
}

int mt_npy_read(struct mt_ctx *ctx, const char *path, struct mt_npy *out)
{
    struct mt_npy a = {0};
    int st = read_array(ctx, path, &a);

    if (st < 0) {
        mt_npy_free(ctx, &a);
        return st;
    }
    *out = a;
    return MOTLEY_OK;
}

void mt_npy_free(struct mt_ctx *ctx, struct mt_npy *a)
{
    mt_free(ctx, a->file);
    memset(a, 0, sizeof *a);
}

static uint32_t le32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const unsigned char *p)
{
    return le32(p) | (uint64_t)le32(p + 4) << 32;
}

void mt_npy_floats(const struct mt_npy *a, int64_t first, int64_t n, float *out)
{
    const unsigned char *p = a->data + first * kinds[a->kind].bytes;

    switch (a->kind) {
    case MT_NPY_F4:
        for (int64_t i = 0; i < n; i++) {
            uint32_t bits = le32(p + 4 * i);

            memcpy(&out[i], &bits, sizeof bits);
        }
        break;
    case MT_NPY_F8:
        for (int64_t i = 0; i < n; i++) {
            uint64_t bits = le64(p + 8 * i);
            double v;

            memcpy(&v, &bits, sizeof bits);
            out[i] = (float)v;
        }
        break;
    case MT_NPY_U1:
        for (int64_t i = 0; i < n; i++) {
            out[i] = (float)p[i];
        }
        break;
    case MT_NPY_I4:
        for (int64_t i = 0; i < n; i++) {
            out[i] = (float)(int32_t)le32(p + 4 * i);
        }
        break;
    case MT_NPY_I8:
        for (int64_t i = 0; i < n; i++) {
            out[i] = (float)(int64_t)le64(p + 8 * i);
        }
        break;
    }
}

int mt_npy_is_int(const struct mt_npy *a)
{
    return a->kind == MT_NPY_U1 || a->kind == MT_NPY_I4 || a->kind == MT_NPY_I8;
}

int64_t mt_npy_int(const struct mt_npy *a, int64_t i)
{
    const unsigned char *p = a->data + i * kinds[a->kind].bytes;

    return a->kind == MT_NPY_U1   ? p[0]
           : a->kind == MT_NPY_I4 ? (int64_t)(int32_t)le32(p)
                                  : (int64_t)le64(p);
}

/* ---- the data format ---------------------------------------------------------------------- */

enum { X, Y, HELD_X, HELD_Y, LABELS, CLASSES, MEAN, STD };
enum { AUTO, YES, NO };

static const struct mt_attr attrs[] = {
    {"x", MT_ATTR_TEXT, .required = 1, .doc = ".npy file of the inputs, samples first"},
    {"y", MT_ATTR_TEXT, .required = 1, .doc = ".npy file of the labels or targets"},
    {"held_x", MT_ATTR_TEXT, .doc = "inputs of the held-out samples"},
    {"held_y", MT_ATTR_TEXT, .doc = "labels or targets of the held-out samples"},
    {"labels", MT_ATTR_WORD, .words = "auto yes no",
     .doc = "whether y is classes; auto: if it is integers, one a sample"},
    {"classes", MT_ATTR_INT, .def.i = 0, .min = 0, .max = INT32_MAX,
     .doc = "number of classes; 0: the largest training label and one"},
    {"mean", MT_ATTR_NUM, .def.f = 0, .doc = "x = (number in the file - mean) / std"},
    {"std", MT_ATTR_NUM, .def.f = 1, .min = 1e-30, .max = 1e30, .doc = "see mean"},
    {0}};

struct own {
    struct mt_npy x, y;
    struct mt_scale scale;
};

static int fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    const struct own *o = s->own;

    if (x != NULL) {
        mt_npy_floats(&o->x, i * s->sample.x_size, s->sample.x_size, x);
    }
    for (int64_t j = 0; j < s->sample.x_size && x != NULL; j++) {
        x[j] = x[j] * o->scale.mul + o->scale.add;
    }
    if (y == NULL) {
        return MOTLEY_OK;
    }
    if (s->sample.classes > 0) {
        *(int32_t *)y = (int32_t)mt_npy_int(&o->y, i);
    } else {
        mt_npy_floats(&o->y, i * s->sample.y_size, s->sample.y_size, y);
    }
    return MOTLEY_OK;
}

static void set_free(struct mt_set *s)
{
    struct own *o = s->own;

    if (o != NULL) {
        mt_npy_free(s->ctx, &o->x);
        mt_npy_free(s->ctx, &o->y);
    }
    mt_free(s->ctx, o);
}

/* Shapes: x (n, ...), y (n) or (n, ...). */
static int check_shapes(const char *x_path, const char *y_path, const struct own *o,
                        struct mt_set *s)
{
    static const int64_t single = 1;

    MT_CHECK(o->x.rank >= 1 && o->x.count > 0, MOTLEY_EFORMAT, "%s: holds no samples", x_path);
    MT_CHECK(o->y.rank >= 1 && o->y.dim[0] == o->x.dim[0] && o->y.count > 0, MOTLEY_EFORMAT,
             "%s has %lld samples, but %s has %lld", x_path, (long long)o->x.dim[0], y_path,
             o->y.rank >= 1 ? (long long)o->y.dim[0] : 0);
    s->n = o->x.dim[0];
    if (o->x.rank == 1) {
        return mt_sample_shape(&s->sample, 1, &single);
    }
    if (mt_sample_shape(&s->sample, o->x.rank - 1, o->x.dim + 1) < 0) {
        mt_err_prefix("%s: ", x_path);
        return MOTLEY_EUNSUP;
    }
    return MOTLEY_OK;
}

/* *classes 0: found from the labels, and given back. */
static int check_labels(const char *path, const struct own *o, int64_t n, int64_t *classes)
{
    int64_t largest = 0;

    MT_CHECK(mt_npy_is_int(&o->y) && o->y.count == n, MOTLEY_EFORMAT,
             "%s: labels are integers, one a sample; this is %s", path,
             o->y.count == n ? "an array of floats" : "more than one a sample");
    for (int64_t i = 0; i < n; i++) {
        int64_t label = mt_npy_int(&o->y, i);

        MT_CHECK(label >= 0 && label < (*classes > 0 ? *classes : INT32_MAX), MOTLEY_EFORMAT,
                 "%s: label %lld of sample %lld is outside 0..%lld; set data.classes if there are "
                 "more classes", path, (long long)label, (long long)i,
                 (long long)(*classes > 0 ? *classes : INT32_MAX) - 1);
        largest = label > largest ? label : largest;
    }
    *classes = *classes > 0 ? *classes : largest + 1;
    return MOTLEY_OK;
}

static int set_hash(struct mt_set *s, const struct own *o)
{
    struct mt_hash *h = NULL;

    MT_TRY(mt_hash_new(s->ctx, &h));
    mt_hash_add(h, o->x.data, o->x.data_bytes);
    mt_hash_add(h, o->y.data, o->y.data_bytes);
    mt_hash_add(h, &o->scale.mul, sizeof o->scale.mul);
    mt_hash_add(h, &o->scale.add, sizeof o->scale.add);
    mt_hash_text(h, s->hash);
    mt_hash_free(h);
    return MOTLEY_OK;
}

static int set_new(struct mt_ctx *ctx, const char *x_path, const char *y_path,
                   const union mt_attr_val *val, int64_t *classes, struct mt_set **out)
{
    struct mt_set *s = NULL;
    struct own *o = NULL;
    int st = MOTLEY_OK, labels;

    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->fetch = fetch;
    s->free = set_free;
    MT_TRY_OR(fail, MT_NEW(ctx, &o));
    s->own = o;
    MT_TRY_OR(fail, mt_npy_read(ctx, x_path, &o->x));
    MT_TRY_OR(fail, mt_npy_read(ctx, y_path, &o->y));
    MT_TRY_OR(fail, check_shapes(x_path, y_path, o, s));
    labels = val[LABELS].w == YES ||
             (val[LABELS].w == AUTO && mt_npy_is_int(&o->y) && o->y.count == s->n);
    if (labels) {
        MT_TRY_OR(fail, check_labels(y_path, o, s->n, classes));
        s->sample.classes = *classes;
    } else {
        s->sample.y_size = o->y.count / s->n;
    }
    mt_set_scale(s, &o->scale, 1, val[MEAN].f, val[STD].f);
    MT_TRY_OR(fail, set_hash(s, o));
    *out = s;
    return MOTLEY_OK;
fail:
    mt_set_free(s);
    return st;
}

static int open_npy(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                    uint64_t seed, struct mt_set **train, struct mt_set **held)
{
    struct mt_set *a = NULL, *b = NULL;
    int64_t classes = val[CLASSES].i;
    int st = MOTLEY_OK;

    (void)seed;
    if ((val[HELD_X].s == NULL) != (val[HELD_Y].s == NULL)) {
        MT_TREE_FAIL(at, "data format npy: 'held_x' and 'held_y' go together");
    }
    MT_TRY(set_new(ctx, val[X].s, val[Y].s, val, &classes, &a));
    if (val[HELD_X].s != NULL) {
        MT_TRY_OR(fail, set_new(ctx, val[HELD_X].s, val[HELD_Y].s, val, &classes, &b));
        MT_CHECK_OR(fail, memcmp(&a->sample, &b->sample, sizeof a->sample) == 0, MOTLEY_EFORMAT,
                    "%s and %s hold samples of another shape or kind than %s and %s",
                    val[HELD_X].s, val[HELD_Y].s, val[X].s, val[Y].s);
    }
    *train = a;
    *held = b;
    return MOTLEY_OK;
fail:
    mt_set_free(a);
    mt_set_free(b);
    return st;
}

const struct mt_reader mt_reader_npy = {
    .name = "npy",
    .doc = "two arrays of NumPy, x and y",
    .attrs = attrs,
    .open = open_npy};
