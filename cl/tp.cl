/* tp.cl -- columns of a matrix into another; see src/parallel/tp_ops.c. One work-item per
 * element; n elements, w in a row. */

KERNEL void tp_copy(OUT(y), IN(x), uint n, uint w, uint ldy, uint ldx, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        uint r = i / w, c = i % w;
        float v = LOAD(x, (ulong)r * ldx + c);

        STORE_ACC(y, (ulong)r * ldy + c, v, acc);
    }
}
