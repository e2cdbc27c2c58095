/* cast.c -- conversions of whole tensors between storage types; see cast.h. */
#include "device/cast.h"

#include "base/ctx.h"
#include "base/half.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/launch.h"

#include <stdio.h>

#define MOST (UINT64_C(1) << 30)   /* elements of one launch: kernels count them in 32 bits */

int mt_cast_get(struct mt_dev *dev, enum mt_dtype to, enum mt_dtype from,
                struct mt_kernel **kernel)
{
    int narrow = mt_dtype_is_half(to);
    char defines[32];

    MT_BUG_IF((narrow ? from : to) != MT_F32 || !mt_dtype_is_half(narrow ? to : from));
    snprintf(defines, sizeof defines, "-DV=%d %s", mt_dev_vector(dev),
             mt_dtype_defines(narrow ? to : from));
    return mt_kernel_get(dev, "cast", narrow ? "cast_narrow" : "cast_widen", defines, kernel);
}

int mt_cast_run(struct mt_dev *dev, struct mt_kernel *kernel, const struct mt_tensor *to,
                const struct mt_tensor *from, int acc)
{
    uint64_t left = (uint64_t)mt_spec_count(&to->spec);
    uint64_t vector = (uint64_t)mt_dev_vector(dev);
    struct mt_tensor t = *to, f = *from;

    while (left > 0) {
        uint64_t n = left < MOST ? left : MOST;

        MT_TRY(mt_launch(dev, kernel, mt_items((n + vector - 1) / vector, MT_WG),
                         MT_ARGS(mt_t(&t), mt_t(&f), mt_u32((uint32_t)n), mt_u32(acc != 0))));
        t.off += n;
        f.off += n;
        left -= n;
    }
    return MOTLEY_OK;
}

int mt_cast_read(struct mt_ctx *ctx, const struct mt_tensor *t, float *dst)
{
    uint64_t n = (uint64_t)mt_spec_count(&t->spec);
    uint16_t *half = NULL;
    int st = MOTLEY_OK;

    if (!mt_dtype_is_half(t->spec.dtype)) {
        return mt_buf_read(t->buf, 4 * t->off, 4 * n, dst);
    }
    MT_TRY(MT_NEW_N(ctx, n + 1, &half));
    MT_TRY_OR(done, mt_buf_read(t->buf, 2 * t->off, 2 * n, half));
    for (uint64_t i = 0; i < n; i++) {
        dst[i] = t->spec.dtype == MT_BF16 ? mt_half_from_bf16(half[i])
                                          : mt_half_from_fp16(half[i]);
    }
done:
    mt_free(ctx, half);
    return st;
}
