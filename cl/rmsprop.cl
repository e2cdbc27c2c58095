// rmsprop.cl -- RMSProp; formula in src/optim/rmsprop.c.
// p, g, v (n): parameters, gradient sums, mean square; group (n / 64); scalar: [0] scales
// gradients. n: a multiple of 64. Same bits on every device.

KERNEL void rmsprop_update(OUT(p), IN(g), OUT(v), IN_U32(group), IN(scalar), uint n, float lr,
                           float decay, float alpha, float rest, float eps)
{
    uint i = get_global_id(0) * V;

    if (i < n) {
        floatv w = LOADV(p, i), wd = (floatv)(LOAD(group, i / 64) ? decay : 0.0f);
        floatv d = fma(wd, w, LOADV(g, i) * LOAD(scalar, 0));
        floatv s = fma((floatv)(alpha), LOADV(v, i), rest * (d * d));

        STOREV(v, i, same_zero(s));
        STOREV(p, i, same_zero(fma((floatv)(-lr), same_div(d, same_sqrt(s) + eps), w)));
    }
}
