/* leaky_relu.cl -- leaky rectified linear unit; formula in src/ops/leaky_relu.c. One work-item
 * per element. */

KERNEL void leaky_relu_fwd(OUT(y), IN(x), uint n, float slope)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i);

        STORE(y, i, v > 0.0f ? v : slope * v);
    }
}

KERNEL void leaky_relu_bwd(OUT(dx), IN(g), IN(y), uint n, float slope, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(g, i);

        v = LOAD(y, i) > 0.0f ? v : slope * v;
        STORE_ACC(dx, i, v, acc);
    }
}
