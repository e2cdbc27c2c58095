/* dropout.cl -- random mask from counters; formula and counters in src/ops/dropout.c. */

/* One work-item per 4 elements of a sample: R samples of N elements. */
KERNEL void dropout_apply(OUT(y), IN(x), uint R, uint N, uint k0, uint k1, uint first,
                          ulong step, uint limit, float scale, uint acc)
{
    uint blocks = N / 4 + (N % 4 != 0);
    ulong i = get_global_id(0);

    if (i < (ulong)R * blocks) {
        uint r = (uint)(i / blocks), b = (uint)(i % blocks);
        uint4 bits = mt_philox((uint2)(k0, k1),
                               (uint4)(b, first + r, (uint)step, (uint)(step >> 32)));
        uint word[4] = {bits.x, bits.y, bits.z, bits.w};

        for (uint k = 0; k < 4 && b * 4 + k < N; k++) {
            ulong e = (ulong)r * N + b * 4 + k;
            float v = word[k] < limit ? 0.0f : LOAD(x, e) * scale;

            STORE_ACC(y, e, v, acc);
        }
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
