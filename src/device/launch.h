/* launch.h -- kernels by name, and launching them with typed arguments.
 *
 *     return mt_launch(dev, n->kernel[FWD], mt_items(count, 64),
 *                      MT_ARGS(mt_t(&io->out[0]), mt_t(&io->in[0]), mt_u32(count)));
 *
 * A tensor argument becomes two kernel arguments, pointer and offset in elements; the macros IN
 * and OUT of cl/motley.clh declare both. The number of arguments is checked against the kernel. */
#ifndef MT_DEVICE_LAUNCH_H
#define MT_DEVICE_LAUNCH_H

#include "device/tensor.h"

#include <stddef.h>
#include <stdint.h>

struct mt_dev;
struct mt_kernel;

/* Kernel `func` of cl/<file>.cl built with `defines` ("-DWG=64 -DACT=1", NULL: none). Built once
 * per device and kept with it; binaries are kept in the cache folder (prog.c). The result is
 * borrowed and lives as long as the device. Set-up only, never in a step. */
int mt_kernel_get(struct mt_dev *dev, const char *file, const char *func, const char *defines,
                  struct mt_kernel **kernel);

/* Builds a file without taking a kernel out of it: for tests. */
int mt_kernel_build(struct mt_dev *dev, const char *file, const char *defines);

/* Name of embedded kernel file number i ("relu"), NULL behind the last one. */
const char *mt_kernel_file(int i);

struct mt_arg {
    enum mt_arg_kind { MT_ARG_TENSOR, MT_ARG_U32, MT_ARG_I32, MT_ARG_F32, MT_ARG_U64,
                       MT_ARG_LOCAL, MT_ARG_BUFFER, MT_ARG_STRUCT } kind;
    union {
        struct {
            struct mt_buf *buf;
            uint64_t off;
            int unit;                /* bytes of an element */
        } t;
        uint32_t u32;
        int32_t i32;
        float f32;
        uint64_t u64;
        size_t local_bytes;
        struct {
            const void *at;
            size_t bytes;
        } block;
    } v;
};

static inline struct mt_arg mt_t(const struct mt_tensor *t)
{
    struct mt_arg a = {.kind = MT_ARG_TENSOR,
                       .v = {.t = {t->buf, t->off, mt_dtype_bytes(t->spec.dtype)}}};
    return a;
}
static inline struct mt_arg mt_b(struct mt_buf *buf, uint64_t off_elements)
{
    struct mt_arg a = {.kind = MT_ARG_TENSOR, .v = {.t = {buf, off_elements, 4}}};
    return a;
}
static inline struct mt_arg mt_u32(uint32_t x)
{
    struct mt_arg a = {.kind = MT_ARG_U32, .v = {.u32 = x}};
    return a;
}
static inline struct mt_arg mt_i32(int32_t x)
{
    struct mt_arg a = {.kind = MT_ARG_I32, .v = {.i32 = x}};
    return a;
}
static inline struct mt_arg mt_f32(float x)
{
    struct mt_arg a = {.kind = MT_ARG_F32, .v = {.f32 = x}};
    return a;
}
static inline struct mt_arg mt_u64(uint64_t x)
{
    struct mt_arg a = {.kind = MT_ARG_U64, .v = {.u64 = x}};
    return a;
}

/* A buffer alone: the kernel gets to know in another way where the tensor begins. */
static inline struct mt_arg mt_buffer(struct mt_buf *buf)
{
    struct mt_arg a = {.kind = MT_ARG_BUFFER, .v = {.t = {.buf = buf}}};
    return a;
}
/* A struct by value, laid out alike on both sides; it must live until the launch returns. */
static inline struct mt_arg mt_struct(const void *at, size_t bytes)
{
    struct mt_arg a = {.kind = MT_ARG_STRUCT, .v = {.block = {at, bytes}}};
    return a;
}

struct mt_ndrange {
    int dims;
    size_t global[3], local[3];
};

/* At least n work-items, in groups of wg: the kernel guards its bounds. */
static inline struct mt_ndrange mt_items(uint64_t n, size_t wg)
{
    struct mt_ndrange g = {.dims = 1, .global = {(size_t)((n + wg - 1) / wg * wg)}, .local = {wg}};
    return g;
}
/* n work-groups of wg items. */
static inline struct mt_ndrange mt_groups(uint64_t n, size_t wg)
{
    struct mt_ndrange g = {.dims = 1, .global = {(size_t)n * wg}, .local = {wg}};
    return g;
}
/* nx by ny work-groups of wx by wy items. */
static inline struct mt_ndrange mt_groups2(uint64_t nx, uint64_t ny, size_t wx, size_t wy)
{
    struct mt_ndrange g = {
        .dims = 2, .global = {(size_t)nx * wx, (size_t)ny * wy}, .local = {wx, wy}};
    return g;
}

#define MT_ARGS(...)                                                                          \
    (const struct mt_arg[]){__VA_ARGS__},                                                     \
        (int)(sizeof((const struct mt_arg[]){__VA_ARGS__}) / sizeof(struct mt_arg))

/* Enqueues in the compute queue; does not wait, allocates nothing. An empty grid is no launch. */
int mt_launch(struct mt_dev *dev, struct mt_kernel *kernel, struct mt_ndrange grid,
              const struct mt_arg *args, int n);

/* The group size that elementwise and row kernels use: WG of cl/motley.clh; every device can. */
#define MT_WG 64

#endif
