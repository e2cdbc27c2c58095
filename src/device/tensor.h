/* tensor.h -- shapes, and views of device memory.
 *
 * A spec is a tensor without memory; shape inference works on specs only. A tensor is a value:
 * spec, buffer, offset. It owns nothing and is contiguous and row-major. */
#ifndef MT_DEVICE_TENSOR_H
#define MT_DEVICE_TENSOR_H

#include <stdint.h>

#define MT_MAXRANK 6

struct mt_buf;

/* bf16 and fp16 say how real numbers are stored; arithmetic is that of f32. */
enum mt_dtype { MT_F32 = 0, MT_I32, MT_BF16, MT_FP16 };

/* batched: dim[0] counts samples and may be smaller at run time than planned. */
struct mt_spec {
    enum mt_dtype dtype;
    int rank;
    int batched;
    int64_t dim[MT_MAXRANK];
};

struct mt_tensor {
    struct mt_spec spec;
    struct mt_buf *buf;   /* NULL: absent */
    uint64_t off;         /* elements from the start of buf */
};

/* Part [lo, hi) of the flat space of parameters, in elements. */
struct mt_range {
    uint64_t lo, hi;
};

struct mt_spec mt_spec_new(enum mt_dtype dtype, int batched, int rank, const int64_t *dim);
int64_t mt_spec_count(const struct mt_spec *s);     /* elements */
int64_t mt_spec_inner(const struct mt_spec *s);     /* elements of a sample: product of dim[1..] */
int64_t mt_spec_rows(const struct mt_spec *s);      /* product of all but the last dimension */
int64_t mt_spec_last(const struct mt_spec *s);      /* last dimension; 1 for rank 0 */
uint64_t mt_spec_bytes(const struct mt_spec *s);
int mt_spec_equal(const struct mt_spec *a, const struct mt_spec *b);
/* "f32 (batch 128, 784)" into buf, which is returned. */
const char *mt_spec_print(const struct mt_spec *s, char *buf, int room);
int mt_dtype_bytes(enum mt_dtype dtype);
enum mt_dtype mt_dtype_of(int word);   /* of the words fp32, bf16, fp16 of an option: 0, 1, 2 */
int mt_dtype_is_real(enum mt_dtype dtype);
int mt_dtype_is_half(enum mt_dtype dtype);                /* bf16, fp16 */
const char *mt_dtype_name(enum mt_dtype dtype);
const char *mt_dtype_defines(enum mt_dtype dtype);        /* of kernels for such values: "-DBF16" */

#endif
