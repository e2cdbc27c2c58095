/* silu.cl -- sigmoid linear unit; formula in src/ops/silu.c. One work-item per element. */

KERNEL void silu_fwd(OUT(y), IN(x), uint n)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i);

        STORE(y, i, v / (1.0f + exp(-v)));
    }
}

KERNEL void silu_bwd(OUT(dx), IN(g), IN(x), uint n, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i), s = 1.0f / (1.0f + exp(-v));
        float d = LOAD(g, i) * s * (1.0f + v * (1.0f - s));

        STORE_ACC(dx, i, d, acc);
    }
}
