/* tensor.c -- arithmetic on shapes. */
#include "device/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct mt_spec mt_spec_new(enum mt_dtype dtype, int batched, int rank, const int64_t *dim)
{
    struct mt_spec s = {.dtype = dtype, .rank = rank, .batched = batched};

    memcpy(s.dim, dim, (size_t)rank * sizeof *dim);
    return s;
}

static int64_t product(const struct mt_spec *s, int from, int to)
{
    int64_t n = 1;

    for (int i = from; i < to; i++) {
        n *= s->dim[i];
    }
    return n;
}

int64_t mt_spec_count(const struct mt_spec *s)
{
    return product(s, 0, s->rank);
}

int64_t mt_spec_inner(const struct mt_spec *s)
{
    return product(s, s->batched ? 1 : 0, s->rank);
}

int64_t mt_spec_rows(const struct mt_spec *s)
{
    return product(s, 0, s->rank - 1);
}

int64_t mt_spec_last(const struct mt_spec *s)
{
    return s->rank > 0 ? s->dim[s->rank - 1] : 1;
}

uint64_t mt_spec_bytes(const struct mt_spec *s)
{
    return (uint64_t)mt_spec_count(s) * (uint64_t)mt_dtype_bytes(s->dtype);
}

int mt_spec_equal(const struct mt_spec *a, const struct mt_spec *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0;
}

const char *mt_spec_print(const struct mt_spec *s, char *buf, int room)
{
    int used = snprintf(buf, (size_t)room, "%s (", mt_dtype_name(s->dtype));

    for (int i = 0; i < s->rank && used < room; i++) {
        used += snprintf(buf + used, (size_t)(room - used), "%s%s%" PRId64, i ? ", " : "",
                         i == 0 && s->batched ? "batch " : "", s->dim[i]);
    }
    if (used < room) {
        snprintf(buf + used, (size_t)(room - used), ")");
    }
    return buf;
}

static const struct {
    const char *name, *defines;
    int bytes, real;
} dtypes[] = {[MT_F32] = {"f32", "", 4, 1},
              [MT_I32] = {"i32", "", 4, 0},
              [MT_BF16] = {"bf16", "-DBF16", 2, 1},
              [MT_FP16] = {"fp16", "-DFP16", 2, 1}};

int mt_dtype_bytes(enum mt_dtype dtype)
{
    return dtypes[dtype].bytes;
}

enum mt_dtype mt_dtype_of(int word)
{
    static const enum mt_dtype of[] = {MT_F32, MT_BF16, MT_FP16};

    return of[word];
}

int mt_dtype_is_real(enum mt_dtype dtype)
{
    return dtypes[dtype].real;
}

int mt_dtype_is_half(enum mt_dtype dtype)
{
    return dtypes[dtype].bytes == 2;
}

const char *mt_dtype_name(enum mt_dtype dtype)
{
    return dtypes[dtype].name;
}

const char *mt_dtype_defines(enum mt_dtype dtype)
{
    return dtypes[dtype].defines;
}
