// adagrad.cl -- Adagrad; formula in src/optim/adagrad.c.
// p, g, v (n): parameters, gradient sums, sum of squares; group (n / 64); scalar: [0] scales
// gradients. Same bits on every device.

KERNEL void adagrad_update(OUT(p), IN(g), OUT(v), IN_U32(group), IN(scalar), uint n, float lr,
                           float decay, float eps)
{
    uint i = get_global_id(0);

    if (i < n) {
        float w = LOAD(p, i), wd = LOAD(group, i / 64) ? decay : 0.0f;
        float d = fma(wd, w, LOAD(g, i) * LOAD(scalar, 0));
        float s = fma(d, d, LOAD(v, i));

        STORE(v, i, s);
        STORE(p, i, fma(-lr, same_div(d, same_sqrt(s) + eps), w));
    }
}
