// adam.cl -- Adam and AdamW; formulas in src/optim/adam.c.
// p, g, m, v (n): parameters, gradient sums, first and second moment; group (n / 64): decays or
// not; scalar: [0] scales gradients. rate: lr / (1 - beta1^t); root: (1 - beta2^t)^(-1/2).
// Same bits on every device.

#ifndef DECOUPLED
#define DECOUPLED 0   // 1: AdamW: decay shrinks the weight, and is no part of the gradient
#endif

KERNEL void adam_update(OUT(p), IN(g), OUT(m), OUT(v), IN_U32(group), IN(scalar), uint n,
                        float rate, float decay, float beta1, float rest1, float beta2,
                        float rest2, float root, float eps)
{
    uint i = get_global_id(0);

    if (i < n) {
        float w = LOAD(p, i), wd = LOAD(group, i / 64) ? decay : 0.0f;
        float d = LOAD(g, i) * LOAD(scalar, 0);

#if DECOUPLED
        w = fma(-wd, w, w);
#else
        d = fma(wd, w, d);
#endif
        float m1 = fma(beta1, LOAD(m, i), rest1 * d);
        float v1 = fma(beta2, LOAD(v, i), rest2 * (d * d));

        STORE(m, i, m1);
        STORE(v, i, v1);
        STORE(p, i, fma(-rate, same_div(m1, fma(same_sqrt(v1), root, eps)), w));
    }
}
