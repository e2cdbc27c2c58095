/* gemm_half.cl -- the end of a product of numbers in half width whose sums were made in float;
 * see src/device/gemm_half.c. Built for the width of C and bias. */
#include "gemm.clh"

/* C = act(sum + beta C + bias) with beta 0 (C is not read) or 1; sum (batch, m, n) in float, as if
 * zero where there are no terms. One item an element. */
KERNEL void gemm_half_finish(OUT(c), IN_F32(sum), IN(bias), uint m, uint n, uint batch,
                             ulong ldc, ulong stride_c, uint terms, uint keep, uint add_bias,
                             uint act, float slope)
{
    ulong i = get_global_id(0), per = (ulong)m * n;

    if (i >= per * batch) {
        return;
    }
    uint col = (uint)(i % n);
    ulong at = i / per * stride_c + i % per / n * ldc + col;
    float v = terms ? AT(sum, i) : 0.0f;

    v = keep ? v + LOAD(c, at) : v;
    v = add_bias ? v + LOAD(bias, col) : v;
    STORE(c, at, activate_one(v, act, slope));
}
