/* sigmoid.cl -- logistic function; formula in src/ops/sigmoid.c. One work-item per element. */

KERNEL void sigmoid_fwd(OUT(y), IN(x), uint n)
{
    uint i = get_global_id(0);

    if (i < n) {
        STORE(y, i, 1.0f / (1.0f + exp(-LOAD(x, i))));
    }
}

KERNEL void sigmoid_bwd(OUT(dx), IN(g), IN(y), uint n, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(y, i), d = LOAD(g, i) * v * (1.0f - v);

        STORE_ACC(dx, i, d, acc);
    }
}
