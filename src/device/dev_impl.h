/* dev_impl.h -- the OpenCL side of devices, buffers and kernels; for src/device only. */
#ifndef MT_DEVICE_DEV_IMPL_H
#define MT_DEVICE_DEV_IMPL_H

#include "device/clerr.h"
#include "device/dev.h"

#include <stddef.h>
#include <stdint.h>

struct mt_bell;
struct mt_buf;
struct mt_devtrace;
struct mt_gemm_memo;
struct mt_gemm_tuning;
struct mt_kernel;
struct mt_prog;

enum { MT_QUEUE_COMPUTE = 0, MT_QUEUE_TRANSFER, MT_QUEUE_COUNT };

struct mt_dev {
    struct mt_ctx *ctx;
    struct mt_dev_info info;
    char platform_version[128];
    cl_platform_id platform;
    cl_device_id id;                    /* the device, or our part of it */
    int divided;                        /* id is a sub-device of ours */
    cl_context context;
    cl_command_queue queue[MT_QUEUE_COUNT];   /* in order; the second one for windows */
    size_t base_align;                  /* bytes, for sub-buffers */
    int guard;                          /* MOTLEY_DEBUG=guard */
    struct mt_prog *progs;              /* prog.c: newest first */
    struct mt_kernel *kernels;
    struct mt_buf *bufs;                /* buf.c: live buffers, newest first */
    struct mt_gemm_memo *gemm_memo;     /* gemm_verdict.c: which providers are right */
    struct mt_gemm_tuning *gemm_tuning; /* gemm_tune.c: which are fast; NULL: not read yet */
    char clblast_form[256];             /* gemm_clblast.c: parameters given to CLBlast */
    struct mt_bell *bell;               /* bell.c: rings when a window is shown */
    cl_event mark;                      /* bell.c: of mt_dev_mark; NULL: reached, or never set */
    struct mt_devtrace *devtrace;       /* devtrace.c; NULL: no timeline */
    uint64_t launches, allocations, allocated_bytes;
};

struct mt_buf {
    struct mt_dev *dev;
    struct mt_buf *prev, *next;
    uint64_t bytes;
    char what[64];
    cl_mem mem;                         /* what kernels and copies see */
    cl_mem whole;                       /* guard mode: mem with a guard on both sides; or NULL */
    uint64_t guard_bytes;               /* length of one guard */
};

struct mt_kernel {
    struct mt_kernel *next;
    struct mt_prog *prog;
    const char *file;                   /* of prog */
    char *func;
    cl_kernel kernel;
    cl_uint args;                       /* as the compiler counted them */
    size_t max_group;                   /* of this kernel on this device */
};

/* For whoever speaks OpenCL to the device himself (gemm_clblast.c). Borrowed. */
static inline cl_command_queue mt_dev_queue(struct mt_dev *dev)
{
    return dev->queue[MT_QUEUE_COMPUTE];
}
static inline cl_mem mt_buf_mem(const struct mt_buf *buf)
{
    return buf->mem;
}

/* buf.c: guards of all live buffers. */
int mt_buf_check_all(struct mt_dev *dev);
/* prog.c: releases programs and kernels. */
void mt_prog_free_all(struct mt_dev *dev);
/* prog.c: the cache folder into buf: 1, or 0 where there is none. */
int mt_prog_cache_dir(struct mt_ctx *ctx, char *buf, size_t room);

#endif
