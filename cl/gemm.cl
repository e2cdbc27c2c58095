/* gemm.cl -- plain matrix product, the fallback on every device, and the epilogue of providers
 * that cannot fuse it; formula in src/device/gemm.h.
 *
 * A work-group of 8 x 8 items computes a tile of 32 x 32 of C, an item 4 x 4 of it, rows and
 * columns 8 apart; A and B go through local memory (4 KiB) in slices of 16 terms, filled with
 * zeros beyond the edges. The sum of an element is one chain of fma in the order of k, whatever
 * the tile: the same bits on every device that has fma. */

#include "gemm.clh"

#define TILE  32u
#define SLICE 16u
#define SIDE  8u
#define EACH  4

kernel __attribute__((reqd_work_group_size(SIDE * SIDE, 1, 1)))
void gemm_plain(OUT_F32(c), IN_F32(a), IN_F32(b), uint m, uint n, uint k, ulong lda, ulong ldb,
                ulong ldc, ulong stride_a, ulong stride_b, ulong stride_c, uint trans_a,
                uint trans_b, float alpha, uint add, uint tiles_m, uint tiles_n)
{
    local float as[SLICE][TILE], bs[SLICE][TILE + 1u];
    uint t = get_local_id(0), tx = t % SIDE, ty = t / SIDE;
    uint tiles = tiles_m * tiles_n, tile = get_group_id(0) % tiles;
    uint batch = get_group_id(0) / tiles;
    uint row0 = tile / tiles_n * TILE, col0 = tile % tiles_n * TILE;
    float acc[EACH][EACH];

    for (int i = 0; i < EACH; i++) {
        for (int j = 0; j < EACH; j++) {
            acc[i][j] = 0.0f;
        }
    }
    a += a_off + batch * stride_a;
    b += b_off + batch * stride_b;
    c += c_off + batch * stride_c;
    for (uint k0 = 0; k0 < k; k0 += SLICE) {
        /* Neighbouring items read neighbouring addresses, whichever way the matrix lies. */
        for (uint i = t; i < TILE * SLICE; i += SIDE * SIDE) {
            uint ka = trans_a ? i / TILE : i % SLICE, r = trans_a ? i % TILE : i / SLICE;
            uint kb = trans_b ? i % SLICE : i / TILE, s = trans_b ? i / SLICE : i % TILE;
            uint row = row0 + r, col = col0 + s, kk = k0 + ka, kl = k0 + kb;

            as[ka][r] = row < m && kk < k ? a[trans_a ? kk * lda + row : row * lda + kk] : 0.0f;
            bs[kb][s] = col < n && kl < k ? b[trans_b ? col * ldb + kl : kl * ldb + col] : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint l = 0; l < min(SLICE, k - k0); l++) {
            for (int i = 0; i < EACH; i++) {
                for (int j = 0; j < EACH; j++) {
                    acc[i][j] = fma(as[l][ty + i * SIDE], bs[l][tx + j * SIDE], acc[i][j]);
                }
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int i = 0; i < EACH; i++) {
        for (int j = 0; j < EACH; j++) {
            uint row = row0 + ty + i * SIDE, col = col0 + tx + j * SIDE;

            if (row < m && col < n) {
                ulong at = row * ldc + col;

                c[at] = add ? c[at] + alpha * acc[i][j] : alpha * acc[i][j];
            }
        }
    }
}

/* C = act(beta C + bias) with beta 0 (C is not read) or 1; one item an element. */
KERNEL
void gemm_epilogue(OUT(c), IN(bias), uint m, uint n, uint batch, ulong ldc, ulong stride_c,
                   uint keep, uint add_bias, uint act, float slope)
{
    ulong i = get_global_id(0), per = (ulong)m * n;

    if (i >= per * batch) {
        return;
    }
    uint col = (uint)(i % n);
    ulong at = i / per * stride_c + i % per / n * ldc + col;
    float v = keep ? LOAD(c, at) : 0.0f;

    v += add_bias ? LOAD(bias, col) : 0.0f;
    STORE(c, at, activate_one(v, act, slope));
}
