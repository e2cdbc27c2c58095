// sgd.cl -- gradient descent, without and with momentum; formulas in src/optim/sgd.c.
// p, g, m (n): parameters, gradient sums, momentum; group (n / 64): decays or not; scalar: [0]
// scales gradients. Same bits on every device: + - * and fma only.

KERNEL void sgd_update(OUT(p), IN(g), IN_U32(group), IN(scalar), uint n, float lr, float decay)
{
    uint i = get_global_id(0);

    if (i < n) {
        float w = LOAD(p, i), wd = LOAD(group, i / 64) ? decay : 0.0f;
        float d = fma(wd, w, LOAD(g, i) * LOAD(scalar, 0));

        STORE(p, i, fma(-lr, d, w));
    }
}

KERNEL void sgd_update_momentum(OUT(p), IN(g), OUT(m), IN_U32(group), IN(scalar), uint n, float lr,
                                float decay, float momentum, float nesterov)
{
    uint i = get_global_id(0);

    if (i < n) {
        float w = LOAD(p, i), wd = LOAD(group, i / 64) ? decay : 0.0f;
        float d = fma(wd, w, LOAD(g, i) * LOAD(scalar, 0));
        float b = fma(momentum, LOAD(m, i), d);

        STORE(m, i, b);
        STORE(p, i, fma(-lr, nesterov != 0.0f ? fma(momentum, b, d) : b, w));
    }
}
