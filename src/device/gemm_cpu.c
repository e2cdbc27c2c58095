/* gemm_cpu.c -- what the providers for CPU devices (tile, direct) share: the width of a register,
 * and how a call becomes the arguments of a kernel.
 *
 * PoCL 3.1 spends about 0.05 us on every argument of a launch (floor of a launch with one: 1.2 us,
 * with 23: 2.6 us; docs/performance.md), so all numbers go in one struct. */
#include "device/gemm_impl.h"

#include "device/dev_impl.h"
#include "device/launch.h"

int mt_gemm_vector(const struct mt_dev *dev)
{
    cl_uint width = 0;

    if (clGetDeviceInfo(dev->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width,
                        NULL) != CL_SUCCESS) {
        return 0;
    }
    return width >= 16 ? 16 : width >= 8 ? 8 : width >= 4 ? 4 : 0;
}

int mt_gemm_rows(int width)
{
    return width == 16 ? 12 : 6;
}

int mt_gemm_act_define(enum mt_gemm_act act)
{
    return act == MT_GEMM_SIGMOID || act == MT_GEMM_TANH ? (int)act : 0;
}

struct mt_gemm_at mt_gemm_at(const struct mt_gemm *g, const struct mt_gemm_call *call, int flip)
{
    static const uint32_t late[] = {[MT_GEMM_NOACT] = 0, [MT_GEMM_RELU] = 4,
                                    [MT_GEMM_LEAKY_RELU] = 8, [MT_GEMM_SIGMOID] = 16,
                                    [MT_GEMM_TANH] = 16};   /* as in the kernels */

    return (struct mt_gemm_at){
        .c = call->c->off, .r = flip ? call->b->off : call->a->off,
        .s = flip ? call->a->off : call->b->off, .bias = call->bias != NULL ? call->bias->off : 0,
        .residual = call->residual != NULL ? call->residual->off : 0,
        .ldc = (uint64_t)call->ldc, .ldr = (uint64_t)(flip ? call->ldb : call->lda),
        .lds = (uint64_t)(flip ? call->lda : call->ldb), .stride_c = (uint64_t)call->stride_c,
        .stride_r = (uint64_t)(flip ? call->stride_b : call->stride_a),
        .stride_s = (uint64_t)(flip ? call->stride_a : call->stride_b),
        .p = (uint32_t)(flip ? call->n : call->m), .q = (uint32_t)(flip ? call->m : call->n),
        .k = (uint32_t)call->k, .add = call->beta != 0.0f,
        .last = (call->bias != NULL ? 2u : 0u) | late[g->act] | (call->residual != NULL ? 32u : 0u),
        .alpha = g->alpha, .slope = g->slope};
}

int mt_gemm_launch(struct mt_dev *dev, struct mt_kernel *kernel, uint64_t groups,
                   const struct mt_gemm_call *call, int flip, const struct mt_gemm_at *at)
{
    struct mt_buf *c = call->c->buf, *bias = call->bias != NULL ? call->bias->buf : NULL;
    struct mt_buf *r = flip ? call->b->buf : call->a->buf, *s = flip ? call->a->buf : call->b->buf;

    if (call->residual != NULL) {
        return mt_launch(dev, kernel, mt_groups(groups, 1),
                         MT_ARGS(mt_buffer(c), mt_buffer(r), mt_buffer(s), mt_buffer(bias),
                                 mt_struct(at, sizeof *at), mt_buffer(call->residual->buf)));
    }
    return mt_launch(dev, kernel, mt_groups(groups, 1),
                     MT_ARGS(mt_buffer(c), mt_buffer(r), mt_buffer(s), mt_buffer(bias),
                             mt_struct(at, sizeof *at)));
}
