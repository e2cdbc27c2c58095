/* tanh.cl -- hyperbolic tangent; formula in src/ops/tanh.c. One work-item per element. */

KERNEL void tanh_fwd(OUT(y), IN(x), uint n)
{
    uint i = get_global_id(0);

    if (i < n) {
        STORE(y, i, tanh(LOAD(x, i)));
    }
}

KERNEL void tanh_bwd(OUT(dx), IN(g), IN(y), uint n, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(y, i), d = LOAD(g, i) * ((1.0f - v) * (1.0f + v));

        STORE_ACC(dx, i, d, acc);
    }
}
