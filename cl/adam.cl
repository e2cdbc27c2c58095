// adam.cl -- Adam and AdamW; formulas in src/optim/adam.c.
// p, g, m, v (n): parameters, gradient sums, first and second moment; group (n / 64): decays or
// not; scalar: [0] scales gradients. n: a multiple of 64. rate: lr / (1 - beta1^t); root:
// (1 - beta2^t)^(-1/2). Same bits on every device.

#ifndef DECOUPLED
#define DECOUPLED 0   // 1: AdamW: decay shrinks the weight, and is no part of the gradient
#endif

KERNEL void adam_update(OUT_WEIGHT(p), IN_F32(g), OUT_F32(m), OUT_F32(v), IN_U32(group),
                        IN_F32(scalar), uint n, float rate, float decay, float beta1,
                        float rest1, float beta2, float rest2, float root, float eps)
{
    uint i = get_global_id(0) * V;

    if (i < n && UPDATES(scalar)) {
        floatv w = LOADV_F32(p, i), wd = (floatv)(AT(group, i / 64) ? decay : 0.0f);
        floatv d = LOADV_F32(g, i) * AT(scalar, 0);

#if DECOUPLED
        w = fma(-wd, w, w);
#else
        d = fma(wd, w, d);
#endif
        floatv m1 = fma((floatv)(beta1), LOADV_F32(m, i), rest1 * d);
        floatv v1 = fma((floatv)(beta2), LOADV_F32(v, i), rest2 * (d * d));

        STOREV_F32(m, i, same_zero(m1));
        STOREV_F32(v, i, same_zero(v1));
        floatv below = fma(same_sqrt(v1), (floatv)(root), (floatv)(eps));
        STORE_WEIGHT(p, i, same_zero(fma((floatv)(-rate), same_div(m1, below), w)));
    }
}
