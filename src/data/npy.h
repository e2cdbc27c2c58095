/* npy.h -- one array in NumPy's .npy format. */
#ifndef MT_DATA_NPY_H
#define MT_DATA_NPY_H

#include <stddef.h>
#include <stdint.h>

#define MT_NPY_MAXRANK 8

struct mt_ctx;

enum mt_npy_kind { MT_NPY_F4, MT_NPY_F8, MT_NPY_U1, MT_NPY_I4, MT_NPY_I8 };

struct mt_npy {
    char *file;                    /* the whole file */
    const unsigned char *data;     /* in it */
    size_t data_bytes;
    enum mt_npy_kind kind;
    int rank;
    int64_t dim[MT_NPY_MAXRANK];
    int64_t count;                 /* product of dim; 1 for rank 0 */
};

/* Versions 1 to 3 of the format; f4, f8, u1, i4, i8, little endian, C order, finite numbers. What
 * else there is is refused by name. Fills *out, released by mt_npy_free. */
int mt_npy_read(struct mt_ctx *ctx, const char *path, struct mt_npy *out);
void mt_npy_free(struct mt_ctx *ctx, struct mt_npy *a);

/* n elements from element `first`, as floats (rounded where they do not fit). */
void mt_npy_floats(const struct mt_npy *a, int64_t first, int64_t n, float *out);
/* One element of an integer array. */
int64_t mt_npy_int(const struct mt_npy *a, int64_t i);
int mt_npy_is_int(const struct mt_npy *a);

#endif
