/* add.cl -- sum of two tensors; see src/ops/add.c. One work-item per element. */

KERNEL void add_fwd(OUT(y), IN(a), IN(b), uint n)
{
    uint i = get_global_id(0);

    if (i < n) {
        STORE(y, i, LOAD(a, i) + LOAD(b, i));
    }
}

KERNEL void add_bwd(OUT(dx), IN(g), uint n, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(g, i);

        STORE_ACC(dx, i, v, acc);
    }
}
