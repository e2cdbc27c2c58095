/* cast.h -- real numbers stored in one width written in another: cl/cast.cl. */
#ifndef MT_DEVICE_CAST_H
#define MT_DEVICE_CAST_H

#include "device/tensor.h"

struct mt_ctx;
struct mt_dev;
struct mt_kernel;

/* One of the two is f32, the other bf16 or fp16. Set-up only. The kernel is the device's. */
int mt_cast_get(struct mt_dev *dev, enum mt_dtype to, enum mt_dtype from,
                struct mt_kernel **kernel);
/* Enqueues: as many elements as spec of `to` has, written, or with acc added to what is there. */
int mt_cast_run(struct mt_dev *dev, struct mt_kernel *kernel, const struct mt_tensor *to,
                const struct mt_tensor *from, int acc);

/* All elements of a tensor of real numbers as floats on the host. Waits. */
int mt_cast_read(struct mt_ctx *ctx, const struct mt_tensor *t, float *dst);

#endif
