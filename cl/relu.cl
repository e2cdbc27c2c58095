/* relu.cl -- rectified linear unit; formula in src/ops/relu.c. One work-item per element. */

KERNEL void relu_fwd(OUT(y), IN(x), uint n)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i);

        STORE(y, i, v <= 0.0f ? 0.0f : v);
    }
}

KERNEL void relu_bwd(OUT(dx), IN(g), IN(y), uint n, float gain, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(y, i) <= 0.0f ? 0.0f : LOAD(g, i) * gain;

        STORE_ACC(dx, i, v, acc);
    }
}
