// rmsprop.cl -- RMSProp; formula in src/optim/rmsprop.c.
// p, g, v (n): parameters, gradient sums, mean square; group (n / 64); scalar: [0] scales
// gradients. Same bits on every device.

KERNEL void rmsprop_update(OUT(p), IN(g), OUT(v), IN_U32(group), IN(scalar), uint n, float lr,
                           float decay, float alpha, float rest, float eps)
{
    uint i = get_global_id(0);

    if (i < n) {
        float w = LOAD(p, i), wd = LOAD(group, i / 64) ? decay : 0.0f;
        float d = fma(wd, w, LOAD(g, i) * LOAD(scalar, 0));
        float s = fma(alpha, LOAD(v, i), rest * (d * d));

        STORE(v, i, s);
        STORE(p, i, fma(-lr, same_div(d, same_sqrt(s) + eps), w));
    }
}
