// rmsprop.cl -- RMSProp; formula in src/optim/rmsprop.c.
// p, g, v (n): parameters, gradient sums, mean square; group (n / 64); scalar: [0] scales
// gradients. n: a multiple of 64. Same bits on every device.

KERNEL void rmsprop_update(OUT_WEIGHT(p), IN_F32(g), OUT_F32(v), IN_U32(group), IN_F32(scalar),
                           uint n, float lr,
                           float decay, float alpha, float rest, float eps)
{
    uint i = get_global_id(0) * V;

    if (i < n && UPDATES(scalar)) {
        floatv w = LOADV_F32(p, i), wd = (floatv)(AT(group, i / 64) ? decay : 0.0f);
        floatv d = fma(wd, w, LOADV_F32(g, i) * AT(scalar, 0));
        floatv s = fma((floatv)(alpha), LOADV_F32(v, i), rest * (d * d));

        STOREV_F32(v, i, same_zero(s));
        STORE_WEIGHT(p, i, same_zero(fma((floatv)(-lr), same_div(d, same_sqrt(s) + eps), w)));
    }
}
