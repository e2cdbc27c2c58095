/* safetensors.h -- the file format of weights: named tensors that every Python tool opens.
 *
 *     8 bytes   length H of the header, little-endian
 *     H bytes   JSON: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..}
 *     rest      the numbers, little-endian, row-major, without holes
 *
 * Written here as F32; F64, F16 and BF16 are read too, so weights of other tools can be a start.
 * Format: https://github.com/huggingface/safetensors, README, section Format. */
#ifndef MT_TRAIN_SAFETENSORS_H
#define MT_TRAIN_SAFETENSORS_H

#include "base/hash.h"
#include "device/tensor.h"

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;

struct mt_safetensor {
    const char *name;
    int rank;
    int64_t dim[MT_MAXRANK];
    uint64_t count;          /* product of dim */
    int kind;                /* reading: position in the table of dtypes */
    uint64_t off;            /* reading: bytes from the start of the numbers */
};

/* Hands out numbers first .. first+count-1 of tensor i. */
typedef int mt_safetensors_get_fn(void *arg, int i, uint64_t first, uint64_t count, float *dst);

/* Writes path and syncs it (not its folder); a failure leaves no file. Only name, rank and dim of
 * the tensors are read. note: one line of text for the metadata, NULL: none. *bytes and digest
 * describe the whole file. */
int mt_safetensors_write(struct mt_ctx *ctx, const char *path, const struct mt_safetensor *tensor,
                         int n, const char *note, mt_safetensors_get_fn *get, void *arg,
                         uint64_t *bytes, char digest[MT_HASH_TEXT]);

/* A file in memory. */
struct mt_safetensors {
    struct mt_ctx *ctx;
    int n;
    struct mt_safetensor *tensor;
    struct mt_tree *header;      /* owns the names */
    const char *data;            /* of the caller's block */
};

/* block: the whole file, borrowed as long as the result lives; path: for messages. Everything is
 * checked: MOTLEY_EFORMAT says what is wrong. Gives *out. */
int mt_safetensors_parse(struct mt_ctx *ctx, const char *path, const char *block, size_t bytes,
                         struct mt_safetensors **out);
void mt_safetensors_free(struct mt_safetensors *s);

/* Position of a tensor, -1 if absent. */
int mt_safetensors_find(const struct mt_safetensors *s, const char *name);
/* As float; numbers of other kinds are converted (F64 rounded to nearest). */
void mt_safetensors_read(const struct mt_safetensors *s, int i, uint64_t first, uint64_t count,
                         float *dst);
/* "(10, 512)" into buf, which is returned. */
const char *mt_safetensors_shape(int rank, const int64_t *dim, char *buf, size_t room);

#endif
