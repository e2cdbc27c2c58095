/* cast.cl -- numbers of one width stored in another; see src/ops/cast.c. V elements a work-item;
 * what is left of n, which may be no multiple of V, one by one. Built for the narrow type. */

KERNEL void cast_narrow(OUT(y), IN_F32(x), uint n, uint acc)
{
    ulong i = (ulong)get_global_id(0) * V;

    if (i + V <= n) {
        floatv v = LOADV_F32(x, i);

        STOREV(y, i, acc ? LOADV(y, i) + v : v);
    } else {
        for (; i < n; i++) {
            STORE_ACC(y, i, AT(x, i), acc);
        }
    }
}

KERNEL void cast_widen(OUT_F32(y), IN(x), uint n, uint acc)
{
    ulong i = (ulong)get_global_id(0) * V;

    if (i + V <= n) {
        floatv v = LOADV(x, i);

        STOREV_F32(y, i, acc ? LOADV_F32(y, i) + v : v);
    } else {
        for (; i < n; i++) {
            STORE_ACC_F32(y, i, LOAD(x, i), acc);
        }
    }
}
