/* array.c -- samples and outputs in .npy files.
 *
 * Samples from elsewhere go through the scaling that the reader has found for its training data,
 * so a network sees what it was trained on. Dimensions of one are ignored in the comparison of
 * shapes: (28, 28) is an image of shape (1, 28, 28). */
#include "train/session.h"

#include "base/file.h"
#include "data/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Dimensions without those of one; returns how many. */
static int squeeze(int rank, const int64_t *dim, int64_t *out)
{
    int n = 0;

    for (int i = 0; i < rank; i++) {
        if (dim[i] != 1) {
            out[n++] = dim[i];
        }
    }
    return n;
}

static int same_shape(int rank, const int64_t *dim, const struct mt_sample *s)
{
    int64_t a[MT_NPY_MAXRANK], b[MT_DATA_MAXRANK];
    int n = squeeze(rank, dim, a);

    return n == squeeze(s->x_rank, s->x_dim, b) && memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static int count_samples(const char *path, const struct mt_npy *a, const struct mt_sample *s,
                         int64_t *n)
{
    char here[128], there[128];

    if (same_shape(a->rank, a->dim, s)) {
        *n = 1;
        return MOTLEY_OK;
    }
    MT_CHECK(a->rank > 0 && same_shape(a->rank - 1, a->dim + 1, s), MOTLEY_EFORMAT,
             "%s: has shape %s, a sample of this network has %s: give one, or n with n in front",
             path, mt_safetensors_shape(a->rank, a->dim, here, sizeof here),
             mt_safetensors_shape(s->x_rank, s->x_dim, there, sizeof there));
    *n = a->dim[0];
    return MOTLEY_OK;
}

int mt_session_samples(struct mt_session *s, const char *path, float **x, int64_t *n)
{
    const struct mt_set *set = s->data != NULL ? s->data->train : NULL;
    struct mt_npy a = {0};
    float *v = NULL;
    int64_t count = 0;
    int st = MOTLEY_OK;

    MT_TRY(mt_npy_read(s->ctx, path, &a));
    MT_TRY_OR(done, count_samples(path, &a, &s->sample, &count));
    MT_TRY_OR(done, MT_NEW_N(s->ctx, a.count + 1, &v));
    mt_npy_floats(&a, 0, a.count, v);
    for (int64_t i = 0; set != NULL && set->nscale > 0 && i < a.count; i++) {
        int64_t j = i % s->sample.x_size % set->nscale;

        v[i] = (float)((double)v[i] * set->mul[j] + set->add[j]);
    }
    *x = v;
    *n = count;
done:
    mt_npy_free(s->ctx, &a);
    return st;
}

int mt_session_array_save(struct mt_ctx *ctx, const char *path, const float *a, int64_t rows,
                          int64_t cols)
{
    const uint16_t one = 1;
    size_t bytes = (size_t)(rows * cols) * sizeof *a;
    char head[128 + 1], *block = NULL;
    int len, st = MOTLEY_OK;

    MT_CHECK(*(const unsigned char *)&one == 1, MOTLEY_EUNSUP, "%s: .npy on a big-endian host",
             path);
    len = snprintf(head, sizeof head,
                   "\x93NUMPY%c%c%c%c{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRId64
                   ", %" PRId64 "), }", 1, 0, 118, 0, rows, cols);
    MT_BUG_IF(len < 0 || len > 127);
    memset(head + 10 + strlen(head + 10), ' ', sizeof head - 10 - strlen(head + 10));
    head[127] = '\n';
    MT_TRY(mt_mem_get(ctx, 128 + bytes, 1, (void **)&block));
    memcpy(block, head, 128);
    memcpy(block + 128, a, bytes);
    MT_TRY_OR(done, mt_file_write(ctx, path, block, 128 + bytes));
done:
    mt_free(ctx, block);
    return st;
}
