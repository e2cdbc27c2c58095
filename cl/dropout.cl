/* dropout.cl -- random mask from counters; formula and counters in src/ops/dropout.c. */

#if V == 16
#define LANES ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#else
#define LANES 0
#endif

/* V elements from e, or those of them that are below `end`; drop: which go. */
static inline void apply(OUT(y), IN(x), ulong e, ulong end, intv drop, float scale, uint acc)
{
#if V == 16
    if (e + V > end) {
        for (uint k = 0; e + k < end; k++) {
            float v = ((int *)&drop)[k] ? 0.0f : LOAD(x, e + k) * scale;

            STORE_ACC(y, e + k, v, acc);
        }
        return;
    }
#endif
    if (e < end) {
        floatv v = select(LOADV(x, e) * scale, (floatv)(0.0f), drop);

        STOREV(y, e, acc ? LOADV(y, e) + v : v);
    }
}

/* R samples of N elements in blocks of 64; a block has 16 lanes, a work-item takes V of them, and
 * of each lane 4 elements, 16 apart. */
KERNEL void dropout_apply(OUT(y), IN(x), uint R, uint N, uint k0, uint k1, uint first,
                          ulong step, uint limit, float scale, uint acc)
{
    uint blocks = N / 64 + (N % 64 != 0);
    ulong i = (ulong)get_global_id(0) * V;

    if (i < (ulong)R * blocks * 16) {
        uint lane = (uint)(i % 16), r = (uint)(i / 16 / blocks), b = (uint)(i / 16 % blocks);
        ulong start = (ulong)r * N, end = start + N, e = start + (ulong)b * 64 + lane;
        uintv c0 = b * 16 + lane + LANES, c1 = (uintv)(first + r), c2 = (uintv)((uint)step);
        uintv c3 = (uintv)((uint)(step >> 32));

        mt_philox((uint2)(k0, k1), &c0, &c1, &c2, &c3);
        apply(y, y_off, x, x_off, e, end, c0 < (uintv)(limit), scale, acc);
        apply(y, y_off, x, x_off, e + 16, end, c1 < (uintv)(limit), scale, acc);
        apply(y, y_off, x, x_off, e + 32, end, c2 < (uintv)(limit), scale, acc);
        apply(y, y_off, x, x_off, e + 48, end, c3 < (uintv)(limit), scale, acc);
    }
}

KERNEL void dropout_copy(OUT(y), IN(x), uint n, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i);

        STORE_ACC(y, i, v, acc);
    }
}
