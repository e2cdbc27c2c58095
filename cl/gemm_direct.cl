/* gemm_direct.cl -- small matrix products on CPU devices, multiplied straight from the matrices:
 * nothing is packed, so each number is read as often as tiles need it; formula in
 * src/device/gemm.h, when it pays in src/device/gemm_direct.c.
 *
 *     X (P, Q) = R (P, K) S (K, Q),  X = C, R = op(A), S = op(B)
 *
 * Two forms. Columns: S lies with q contiguous; vectors along q, an element is one chain of fma
 * in the order of k. Dots: R and S lie with k contiguous; vectors along k, an element is the sum
 * of VW chains, added as a tree. The bits of an element depend on neither P, Q nor the division
 * into groups. */
#include "gemm.clh"

#ifndef MR
#define MR 2             /* rows of a tile: 2; 6 if there are 16 vector registers, 12 if 32 */
#endif
#ifndef RT
#define RT 0             /* R lies with p contiguous instead of k */
#endif
#ifndef DOTS
#define DOTS 0           /* the second form */
#endif

#if !DOTS

/* ---- columns ----------------------------------------------------------------------------- */

#define NR (2 * VW)
#define R_AT(i) r[RT ? (i) : (i) * ldr]
#define R_NEXT  (RT ? ldr : 1)

#define DECL2(i) vec x##i = 0.0f, y##i = 0.0f;
#define STEP2(i) { vec a = R_AT(i); x##i = fma(a, s0, x##i); y##i = fma(a, s1, y##i); }
#define KEEP2(i) x[2 * (i)] = x##i; x[2 * (i) + 1] = y##i;
#define GIVE2(i)                                                                              \
    GSTORE(x##i * at->alpha, c + (i) * ldc);                                                  \
    GSTORE(y##i * at->alpha, c + (i) * ldc + VW);
#define DECL1(i) vec x##i = 0.0f;
#define STEP1(i) { vec a = R_AT(i); x##i = fma(a, s0, x##i); }
#define KEEP1(i) x[2 * (i)] = x##i;

#define ROWS1(X)  X(0)
#define ROWS2(X)  ROWS1(X) X(1)
#define ROWS3(X)  ROWS2(X) X(2)
#define ROWS4(X)  ROWS3(X) X(3)
#define ROWS5(X)  ROWS4(X) X(4)
#define ROWS6(X)  ROWS5(X) X(5)
#define ROWS7(X)  ROWS6(X) X(6)
#define ROWS8(X)  ROWS7(X) X(7)
#define ROWS9(X)  ROWS8(X) X(8)
#define ROWS10(X) ROWS9(X) X(9)
#define ROWS11(X) ROWS10(X) X(10)
#define ROWS12(X) ROWS11(X) X(11)

#define TILE_CASE(H)                                                                          \
    case H:                                                                                   \
        if (wide) {                                                                           \
            ROWS##H(DECL2)                                                                    \
            for (uint l = 0; l < k; l++, r += R_NEXT, s += lds) {                             \
                vec s0 = GLOAD(s), s1 = GLOAD(s + right);                                     \
                ROWS##H(STEP2)                                                                \
            }                                                                                 \
            if (what == 0) {                                                                  \
                ROWS##H(GIVE2)                                                                \
                return 1;                                                                     \
            }                                                                                 \
            ROWS##H(KEEP2)                                                                    \
        } else {                                                                              \
            ROWS##H(DECL1)                                                                    \
            for (uint l = 0; l < k; l++, r += R_NEXT, s += lds) {                             \
                vec s0 = GLOAD(s);                                                            \
                ROWS##H(STEP1)                                                                \
            }                                                                                 \
            ROWS##H(KEEP1)                                                                    \
        }                                                                                     \
        break;

/* x (rows, 2 vectors): the vectors of columns at s and, if wide, at s + right. Returns 1 if it has
 * stored them instead, which it does where nothing but alpha is due. */
INLINE uint tile(vec *x, global float *c, global const float *r, global const float *s,
                 const struct gemm_at *at, uint right, uint rows, uint wide, uint what)
{
    ulong ldr = at->ldr, lds = at->lds, ldc = at->ldc;
    uint k = at->k;

    switch (rows) {
    TILE_CASE(1)
    TILE_CASE(2)
#if MR > 2
    TILE_CASE(3)
    TILE_CASE(4)
    TILE_CASE(5)
    TILE_CASE(6)
#endif
#if MR > 6
    TILE_CASE(7)
    TILE_CASE(8)
    TILE_CASE(9)
    TILE_CASE(10)
    TILE_CASE(11)
    TILE_CASE(12)
#endif
    }
    return 0;
}

/* Less than one vector of columns: rare, and nothing to win. */
INLINE void narrow(global float *c, global const float *r, global const float *s,
                   global const float *bias, global const float *residual,
                   const struct gemm_at *at, uint p0, uint p1, uint what)
{
    for (uint p = p0; p < p1; p++) {
        vec x = 0.0f;

        for (uint l = 0; l < at->k; l++) {
            float a = r[RT ? l * at->ldr + p : p * at->ldr + l];

            for (uint j = 0; j < at->q; j++) {
                ((float *)&x)[j] = fma(a, s[l * at->lds + j], ((float *)&x)[j]);
            }
        }
        put(c + p * at->ldc, bias, residual + p * at->ldc, x, 0, at->q, at->alpha, at->slope,
            what);
    }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void gemm_direct(global float *c, global const float *r, global const float *s,
                 global const float *bias, struct gemm_at at RESIDUAL_ARG)
{
    vec x[MR * 2];
    uint g = get_group_id(0), gq = g % at.nq, gp = g / at.nq % at.np, batch = g / at.nq / at.np;
    uint panels = (at.q + NR - 1) / NR, what = at.add | at.last;
    uint q0 = (uint)((ulong)panels * gq / at.nq) * NR;
    uint q1 = min(at.q, (uint)((ulong)panels * (gq + 1) / at.nq) * NR);
    uint p0 = (uint)((ulong)at.p * gp / at.np), p1 = (uint)((ulong)at.p * (gp + 1) / at.np);
    uint tiles = (p1 - p0 + MR - 1) / MR;

    c += at.c + batch * at.stride_c;
    r += at.r + batch * at.stride_r;
    s += at.s + batch * at.stride_s;
    bias += at.bias;
    global const result *residual = RESIDUAL_OF(c, at, batch);
    if (at.q < VW) {
        narrow(c, r, s, bias, residual, &at, p0, p1, what);
        return;
    }
    for (uint q = q0; q < q1; q += NR) {
        /* A vector that would stand out on the right begins further left; what it shares with
         * its neighbour is computed twice and stored once. */
        uint n = min(q1 - q, (uint)NR), wide = n > VW, most = at.q - VW;
        uint left = min(q, most), right = wide ? min(q + VW, most) : left;

        for (uint t = 0; t < tiles; t++) {
            /* Nearly the same height for all: none is left with one row and half the speed. */
            uint a = p0 + (uint)((ulong)(p1 - p0) * t / tiles);
            uint rows = p0 + (uint)((ulong)(p1 - p0) * (t + 1) / tiles) - a;
            global float *to = c + a * at.ldc;
            global const float *also = residual + a * at.ldc;

            if (tile(x, to + left, r + (RT ? a : a * at.ldr), s + left, &at, right - left, rows,
                     wide, right - left == VW ? what : ~0u)) {
                continue;
            }
            for (uint i = 0; i < rows; i++, to += at.ldc, also += at.ldc) {
                put(to + left, bias + left, also + left, x[2 * i], q - left,
                    min(n + q - left, (uint)VW), at.alpha, at.slope, what);
                if (wide) {
                    put(to + right, bias + right, also + right, x[2 * i + 1], q + VW - right, VW,
                        at.alpha, at.slope, what);
                }
            }
        }
    }
}

#else

/* ---- dots -------------------------------------------------------------------------------- */

#define DP   (VW >= 8 ? 4 : 2)   /* rows and columns of a tile: */
#define DQ   (VW / DP)           /* as many sums as a vector has numbers */
#define NEAR 6144                /* numbers that stay in the first-level cache beside others */

/* Number l.. of a row of k terms, zeros where it has no more. */
INLINE vec load_part(global const float *row, uint l, uint k)
{
    vec v = 0.0f;

    if (k >= VW) {   /* the last VW terms, without those that were counted */
        return select(v, GLOAD(row + k - VW), COUNTED >= (ivec)(int)(VW - (k - l)));
    }
    for (uint i = 0; i < k; i++) {
        ((float *)&v)[i] = row[i];
    }
    return v;
}

/* Rows r.. and columns s.. of the tile, of which `rows` and `cols` exist; the others are the last
 * one again and not stored. */
INLINE void tile(global float *c, global const float *r, global const float *s,
                 global const float *bias, global const float *residual,
                 const struct gemm_at *at, uint rows, uint cols, uint what)
{
    global const float *row[DP], *col[DQ];
    vec x[VW];                             /* sum of row i and column j: i DQ + j */
    uint l = 0;

    #pragma unroll
    for (uint i = 0; i < DP; i++) {
        row[i] = r + min(i, rows - 1) * at->ldr;
    }
    #pragma unroll
    for (uint j = 0; j < DQ; j++) {
        col[j] = s + min(j, cols - 1) * at->lds;
    }
    #pragma unroll
    for (uint i = 0; i < VW; i++) {
        x[i] = 0.0f;
    }
    for (; l + VW <= at->k; l += VW) {
        vec a[DP];

        #pragma unroll
        for (uint i = 0; i < DP; i++) {
            a[i] = GLOAD(row[i] + l);
        }
        #pragma unroll
        for (uint j = 0; j < DQ; j++) {
            vec b = GLOAD(col[j] + l);

            #pragma unroll
            for (uint i = 0; i < DP; i++) {
                x[i * DQ + j] = fma(a[i], b, x[i * DQ + j]);
            }
        }
    }
    if (l < at->k) {
        #pragma unroll
        for (uint i = 0; i < DP; i++) {
            vec a = load_part(row[i], l, at->k);

            #pragma unroll
            for (uint j = 0; j < DQ; j++) {
                x[i * DQ + j] = fma(a, load_part(col[j], l, at->k), x[i * DQ + j]);
            }
        }
    }
    /* Sums of all vectors at once: interleaving the halves of vectors m and m + n and adding them
     * halves the number of vectors and keeps them in order. */
    #pragma unroll
    for (uint n = VW / 2; n > 0; n /= 2) {
        #pragma unroll
        for (uint m = 0; m < n; m++) {
            x[m] = LOW(x[m], x[m + n]) + HIGH(x[m], x[m + n]);
        }
    }
    x[0] *= at->alpha;
    if (what & (ADD | BIAS)) {
        for (uint i = 0; i < rows; i++) {
            for (uint j = 0; j < cols; j++) {
                float v = ((float *)x)[i * DQ + j];

                v = what & ADD ? v + c[i * at->ldc + j] : v;
                ((float *)x)[i * DQ + j] = what & BIAS ? v + bias[j] : v;
            }
        }
    }
    x[0] = activate(x[0], what, at->slope);
    for (uint i = 0; i < rows; i++) {
        for (uint j = 0; j < cols; j++) {
            float v = ((float *)x)[i * DQ + j];

#if PLUS
            v += what & RESIDUAL ? residual[i * at->ldc + j] : 0.0f;
#endif
            c[i * at->ldc + j] = v;
        }
    }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void gemm_direct(global float *c, global const float *r, global const float *s,
                 global const float *bias, struct gemm_at at RESIDUAL_ARG)
{
    uint g = get_group_id(0), gq = g % at.nq, gp = g / at.nq % at.np, batch = g / at.nq / at.np;
    uint what = at.add | at.last;
    uint q0 = (uint)((ulong)at.q * gq / at.nq), q1 = (uint)((ulong)at.q * (gq + 1) / at.nq);
    uint p0 = (uint)((ulong)at.p * gp / at.np), p1 = (uint)((ulong)at.p * (gp + 1) / at.np);

    c += at.c + batch * at.stride_c;
    r += at.r + batch * at.stride_r;
    s += at.s + batch * at.stride_s;
    bias += at.bias;
    global const result *residual = RESIDUAL_OF(c, at, batch);
    /* All columns stay in the first-level cache while the rows go by, or those of a tile do. */
    uint step = (q1 - q0) * at.k <= NEAR ? max(q1 - q0, 1u) : DQ;

    for (uint first = q0; first < q1; first += step) {
        for (uint p = p0; p < p1; p += DP) {
            for (uint q = first; q < min(q1, first + step); q += DQ) {
                tile(c + p * at.ldc + q, r + p * at.ldr, s + q * at.lds, bias + q,
                     residual + p * at.ldc + q, &at, min(p1 - p, (uint)DP), min(q1 - q, (uint)DQ),
                     what);
            }
        }
    }
}

#endif
