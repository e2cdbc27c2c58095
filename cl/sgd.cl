// sgd.cl -- gradient descent, without and with momentum; formulas in src/optim/sgd.c.
// p, g, m (n): parameters, gradient sums, momentum; group (n / 64): decays or not; scalar: [0]
// scales gradients. n: a multiple of 64. Same bits on every device: + - * and fma only.

KERNEL void sgd_update(OUT_WEIGHT(p), IN_F32(g), IN_U32(group), IN_F32(scalar), uint n, float lr,
                       float decay)
{
    uint i = get_global_id(0) * V;

    if (i < n && UPDATES(scalar)) {
        floatv w = LOADV_F32(p, i), wd = (floatv)(AT(group, i / 64) ? decay : 0.0f);
        floatv d = fma(wd, w, LOADV_F32(g, i) * AT(scalar, 0));

        STORE_WEIGHT(p, i, same_zero(fma((floatv)(-lr), d, w)));
    }
}

KERNEL void sgd_update_momentum(OUT_WEIGHT(p), IN_F32(g), OUT_F32(m), IN_U32(group),
                                IN_F32(scalar), uint n, float lr, float decay, float momentum,
                                float nesterov)
{
    uint i = get_global_id(0) * V;

    if (i < n && UPDATES(scalar)) {
        floatv w = LOADV_F32(p, i), wd = (floatv)(AT(group, i / 64) ? decay : 0.0f);
        floatv mu = (floatv)(momentum);
        floatv d = fma(wd, w, LOADV_F32(g, i) * AT(scalar, 0));
        floatv b = fma(mu, LOADV_F32(m, i), d);

        STOREV_F32(m, i, same_zero(b));
        if (nesterov != 0.0f) {
            b = fma(mu, b, d);
        }
        STORE_WEIGHT(p, i, same_zero(fma((floatv)(-lr), b, w)));
    }
}
