/* gemm_after.cl -- what comes behind the activation of a matrix product: C = drop(C) + R; formula
 * in src/device/gemm.h, random numbers in src/ops/dropout.c. */

enum { DROP = 1, PLUS = 2 };   /* as in src/device/gemm.h */

#if V == 16
#define LANES ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#else
#define LANES 0
#endif

/* C = drop(C) + R. Elements of a sample (`per` rows of C) are drawn in blocks of 64 as
 * src/ops/dropout.c says. A work-item takes V lanes of one block of one row; a row, whose elements
 * are e0..e1 of its sample, touches at most `blocks` of them. */
KERNEL
void gemm_after(OUT(c), IN(r), uint m, uint n, uint batch, ulong ldc, ulong stride_c, uint blocks,
                uint what, uint k0, uint k1, uint first, ulong step, uint limit, float scale,
                uint per)
{
    ulong i = (ulong)get_global_id(0) * V, row = i / 16 / blocks;

    if (row >= (ulong)m * batch) {
        return;
    }
    uint lane = (uint)(i % 16), block = (uint)(i / 16 % blocks), sample = (uint)(row / per);
    ulong e0 = row % per * n, e1 = e0 + n, e = (e0 / 64 + block) * 64 + lane;
    ulong start = row / m * stride_c + row % m * ldc;
    uintv word[4] = {(uint)(e / 64) * 16 + lane + LANES, (uintv)(first + sample),
                     (uintv)((uint)step), (uintv)((uint)(step >> 32))};
    float times = what & DROP ? scale : 1.0f;

    if (what & DROP) {
        mt_philox((uint2)(k0, k1), &word[0], &word[1], &word[2], &word[3]);
    }
    for (uint w = 0; w < 4; w++, e += 16) {
        intv drop = what & DROP ? word[w] < (uintv)(limit) : (intv)(0);

        if (e >= e0 && e + V <= e1) {
            ulong at = start + (e - e0);

            STOREV(c, at, select(LOADV(c, at) * times, (floatv)(0.0f), drop));
            if (what & PLUS) {   /* of what was stored: as a sum by itself reads it */
                STOREV(c, at, LOADV(c, at) + LOADV(r, at));
            }
            continue;
        }
        for (uint l = 0; l < V; l++) {
            if (e + l >= e0 && e + l < e1) {
                ulong at = start + (e + l - e0);

                STORE(c, at, ((const int *)&drop)[l] ? 0.0f : LOAD(c, at) * times);
                if (what & PLUS) {
                    STORE(c, at, LOAD(c, at) + LOAD(r, at));
                }
            }
        }
    }
}
