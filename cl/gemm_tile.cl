/* gemm_tile.cl -- matrix product for CPU devices: one work-item per group, register tiles of
 * vectors, operands packed into local memory; formula in src/device/gemm.h, choice of the sizes
 * in src/device/gemm_tile.c. The structure is that of K. Goto, R. van de Geijn: Anatomy of
 * high-performance matrix multiplication, ACM TOMS 34(3), 2008.
 *
 *     X (P, Q) = R (P, K) S (K, Q)
 *
 * R gives the rows, single numbers that are spread over a vector; S gives the columns, whole
 * vectors. X is C with R = op(A), S = op(B); or, with FLIP, X is C transposed with R = op(B)^T,
 * S = op(A)^T, which is better where C has few rows and B lies the long way.
 *
 * A group computes rows p0..p1 of X for columns q0..q1. For every block of K it packs its part of
 * S into panels of NR columns (local memory: a CPU keeps it in the cache of the core), then goes
 * down its rows, a tile of up to MR at a time, and along the panels. Because a group packs for
 * itself, one launch does it all and no group waits for another.
 *
 * An element is a chain of fma within a block of K, blocks are added in order: the same bits
 * whatever P, Q and the division into groups. */

#include "gemm.clh"

/* The defaults compile quickly and fit anywhere; the host gives what a device can use. */
#ifndef MR
#define MR 2             /* rows of a tile: 2; 6, 12 with 16, 32 vector registers; AMX: 32 */
#endif
#ifndef KC
#define KC 64            /* longest block of K in words: multiple of VW */
#endif
#ifndef PANELS
#define PANELS 2         /* panels that a group packs at most, KC NR words of local memory each */
#endif
#ifndef TILES
#define TILES 1          /* tiles of rows packed at once; more only pay for short pieces (RT) */
#endif
#ifndef AHEAD
#define AHEAD 0          /* rows of a matrix to ask for in advance, 0..16; 0: never ask */
#endif
#ifndef RT
#define RT 0             /* R lies with p contiguous instead of k */
#endif
#ifndef ST
#define ST 0             /* S lies with k contiguous instead of q */
#endif
#ifndef FLIP
#define FLIP 0           /* X is C transposed */
#endif

#define NR  (2 * VW)
/* Words from a packed row to the next; not a power of two for the long ones of half widths, which
 * would meet in a few sets of the first-level cache. */
#define ROW (UNIT > 0 || NARROW ? KC + 16 : KC)

/* A hint to load a line soon: a built-in of clang, which compiles for all CPU devices so far. */
#if AHEAD > 0
#define FETCH(p) __builtin_prefetch((const void *)(size_t)(p))
#else
#define FETCH(p)
#endif

#if UNIT == AMX
/* ---- the tile by Intel's matrix unit (AMX-TILE, AMX-BF16): inline assembly, or, with MODEL,
 * OpenCL C that gives the same bits
 *
 * A tile register has 16 rows of 64 bytes. Rows of R as they are packed, [row][word of two terms],
 * are its first operand, and panels of S, [word][column], its second: 16 words x 16 columns. A tile
 * of X is 2 x 2 registers, so that each register that is loaded serves two products (Intel 64 and
 * IA-32 Architectures Optimization Reference Manual, chapter on AMX):
 *
 *     tmm0 tmm1   sums of rows 0..15       tmm4  R, rows 0..15     tmm6  S, columns 0..15
 *     tmm2 tmm3   sums of rows 16..31      tmm5  R, rows 16..31    tmm7  S, columns 16..31
 *
 * The registers are configured once for a group, always as a whole: K is filled up with zeros; rows
 * and columns that are not there are computed from what lies there, and nobody reads them. No
 * compiler takes these registers for anything of its own, so none is declared as changed. */

#define BAND   16        /* rows of a register */
#define AT_ONCE 16       /* words of K in a product of registers */

#define ADDRESS(p) "r"((size_t)(p))

#if MODEL
#define unit_on()
#define unit_off()
#else
/* Palette 1; eight registers of 64 bytes a row and 16 rows. */
#define unit_on()                                                                             \
    const uint shape[16] = {1, 0, 0, 0, 0x400040, 0x400040, 0x400040, 0x400040,               \
                            0, 0, 0, 0, 0x10101010, 0x10101010, 0, 0};                        \
    __asm__ volatile("ldtilecfg %0" : : "m"(shape))
/* Registers in use would be saved and restored whenever the system changes threads. */
#define unit_off() __asm__ volatile("tilerelease")
#define ZERO(sum) __asm__ volatile("tilezero %%tmm" #sum ::)
#define LOAD_TILE(to, p, bytes)                                                               \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #to                                         \
                     : : ADDRESS(p), "r"((ulong)(bytes)) : "memory")
#define STORE_TILE(from, p)                                                                   \
    __asm__ volatile("tilestored %%tmm" #from ", (%0,%1,1)"                                   \
                     : : ADDRESS(p), "r"(2 * sizeof(vec)) : "memory")
#define MULTIPLY(sum, r, s)                                                                   \
    __asm__ volatile("tdpbf16ps %%tmm" #s ", %%tmm" #r ", %%tmm" #sum ::)
#endif

#if MODEL
/* What is too small counts as zero, before and after. */
INLINE vec flush(vec v)
{
    return select(v, copysign((vec)0.0f, v), fabs(v) < 0x1p-126f);
}

/* sum (a row of a register) += 16 words r times 16 x 16 words s, as the Software Developer's Manual
 * says of TDPBF16PS: even terms and odd terms are chains of fma of their own, from zero. */
INLINE vec multiply(vec sum, const local word *r, const local words *s)
{
    vec even = 0.0f, odd = 0.0f;

    for (uint l = 0; l < AT_ONCE; l++) {
        words v = r[l];

        even = flush(fma(flush(as_float16(v << 16)), flush(as_float16(s[2 * l] << 16)), even));
        odd = flush(fma(flush(as_float16(v & 0xffff0000u)),
                        flush(as_float16(s[2 * l] & 0xffff0000u)), odd));
    }
    return flush(sum + flush(even + odd));
}
#endif

/* x (rows, 2 vectors) = packed rows r times packed panel s, k words; wide: both vectors count. */
INLINE void tile(local vec *x, const local word *r, const local words *s, uint rows,
                 uint k, uint wide)
{
#if MODEL
    for (uint i = 0; i < rows; i++) {
        for (uint v = 0; v <= wide; v++) {
            vec sum = 0.0f;

            for (uint l = 0; l < k; l += AT_ONCE) {
                sum = multiply(sum, r + i * ROW + l, s + 2 * l + v);
            }
            x[2 * i + v] = sum;
        }
    }
#else
    uint tall = rows > BAND;

    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    for (uint l = 0; l < k; l += AT_ONCE, r += AT_ONCE, s += 2 * AT_ONCE) {
        LOAD_TILE(4, r, ROW * sizeof(word));
        LOAD_TILE(6, s, 2 * sizeof(words));
        MULTIPLY(0, 4, 6);
        if (wide) {
            LOAD_TILE(7, s + 1, 2 * sizeof(words));
            MULTIPLY(1, 4, 7);
        }
        if (tall) {
            LOAD_TILE(5, r + BAND * ROW, ROW * sizeof(word));
            MULTIPLY(2, 5, 6);
            if (wide) {
                MULTIPLY(3, 5, 7);
            }
        }
    }
    STORE_TILE(0, x);
    if (wide) {
        STORE_TILE(1, x + 1);
    }
    if (tall) {
        STORE_TILE(2, x + 2 * BAND);
        if (wide) {
            STORE_TILE(3, x + 2 * BAND + 1);
        }
    }
#endif
}

/* ---- zeros behind the last word, up to a multiple of AT_ONCE: in both operands, since zero times
 * what lies there may be no number --------------------------------------------------------- */

INLINE void pad_columns(local words *to, uint nq, uint k)
{
    for (uint l = k; l % AT_ONCE != 0; l++) {
        for (uint v = 0; v * VW < nq; v++) {
            to[v / 2 * (KC * 2) + v % 2 + 2 * l] = 0;
        }
    }
}

INLINE void pad_rows(local word *to, uint tiles, uint k)
{
    for (uint i = 0; i < tiles * MR && k % AT_ONCE != 0; i++) {
        for (uint l = k; l % AT_ONCE != 0; l++) {
            to[i * ROW + l] = 0;
        }
    }
}
#else
#define BAND 1           /* rows are divided anywhere */
#define unit_on()
#define unit_off()
#define pad_rows(to, tiles, k)
#define pad_columns(to, nq, k)

/* ---- the tile: H rows of one or two vectors, everything in registers --------------------- */

#if RT
#define R_AT(i) r[(i)]               /* packed [k][MR] */
#define R_NEXT  MR
#else
#define R_AT(i) r[(i) * ROW]         /* packed [MR][ROW] */
#define R_NEXT  1
#endif

#define DECL2(i) vec x##i = 0.0f, y##i = 0.0f;
#define STEP2(i) MAC2(x##i, y##i, R_AT(i), s0, s1)
#define KEEP2(i) x[2 * (i)] = x##i; x[2 * (i) + 1] = y##i;
#define DECL1(i) vec x##i = 0.0f;
#define STEP1(i) MAC1(x##i, R_AT(i), s0)
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
            for (uint l = 0; l < k; l++, r += R_NEXT, s += 2) {                               \
                words s0 = s[0], s1 = s[1];                                                   \
                ROWS##H(STEP2)                                                                \
            }                                                                                 \
            ROWS##H(KEEP2)                                                                    \
        } else {                                                                              \
            ROWS##H(DECL1)                                                                    \
            for (uint l = 0; l < k; l++, r += R_NEXT, s += 2) {                               \
                words s0 = s[0];                                                              \
                ROWS##H(STEP1)                                                                \
            }                                                                                 \
            ROWS##H(KEEP1)                                                                    \
        }                                                                                     \
        break;

/* x (rows, 2 vectors) = packed rows r times packed panel s, k words; wide: both vectors count. */
INLINE void tile(local vec *x, const local word *r, const local words *s, uint rows,
                 uint k, uint wide)
{
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
}
#endif

/* ---- packing ----------------------------------------------------------------------------- */

#if ST
/* Columns q.. of S, k terms, nq columns, into panels; zeros in what is left of the last vector.
 * s points at S[0][q]; column j lies at s + j ld, k contiguous. */
INLINE void pack_columns(local words *to, global const operand *s, ulong ld, uint k, uint nq)
{
    for (uint v = 0; v * VW < nq; v++, s += VW * ld) {
        local words *t = to + v / 2 * (KC * 2) + v % 2;
        uint have = min(nq - v * VW, (uint)VW), l = 0;

        if (have == VW) {
            for (; l + VW <= k / TERMS; l += VW) {
                vec a[VW];

                #pragma unroll
                for (uint j = 0; j < VW; j++) {
                    a[j] = OPERANDS(s + j * ld + TERMS * l);
                }
                transpose(a);
                #pragma unroll
                for (uint j = 0; j < VW; j++) {
                    t[2 * (l + j)] = AS_WORDS(a[j]);
                }
            }
        }
        for (; TERMS * l < k; l++) {
            local word *f = (local word *)(t + 2 * l);

            for (uint j = 0; j < VW; j++) {
                f[j] = j < have ? word_at(s + j * ld + TERMS * l, TERMS * l + 1 < k) : 0;
            }
        }
    }
}
#else
/* The same where q is contiguous: along the rows of S, which cross all panels. */
INLINE void pack_columns(local words *to, global const operand *s, ulong ld, uint k, uint nq)
{
    for (uint l = 0; l < k; l += TERMS, s += TERMS * ld, to += 2) {
        ulong next = l + 1 < k ? ld : 0;
        uint j = 0;

        for (; j + NR <= nq; j += NR) {
            FETCH(s + j + AHEAD * ld);
            FETCH(s + j + (TERMS > 1 ? ld : VW) + AHEAD * ld);
            to[j * KC / VW] = words_at(s + j, next);
            to[j * KC / VW + 1] = words_at(s + j + VW, next);
        }
        if (j + VW <= nq) {
            to[j * KC / VW] = words_at(s + j, next);
        }
        if (nq % VW > 0) {
            uint last = nq / VW * VW, v = last / NR * (KC * 2) + last % NR / VW;
            local word *f = (local word *)(to + v);

            for (uint i = 0; i < VW; i++) {
                f[i] = last + i < nq ? word_at(s + last + i, next) : 0;
            }
        }
    }
}
#endif

/* Tiles of rows into `to`, one behind another: tile u has rows at[u]..at[u + 1] of R, r points at
 * R[0][0] of the block of K. A tile lies as [row][ROW], or, where p is contiguous and the unit
 * takes any word, as [k][MR]. */
INLINE void pack_rows(local word *to, global const operand *r, ulong ld, uint k,
                      const uint *at, uint tiles)
{
#if RT && UNIT == AMX
    /* Transposed, 16 words of 16 rows at a time. */
    for (uint u = 0; u < tiles; u++, to += MR * ROW) {
        for (uint i = at[u]; i < at[u + 1]; i += VW) {
            global const operand *from = r + i;
            local word *t = to + (i - at[u]) * ROW;
            uint have = min(at[u + 1] - i, (uint)VW), l = 0;

            for (; have == VW && l + VW <= k / TERMS; l += VW, from += VW * TERMS * ld) {
                vec a[VW];

                #pragma unroll
                for (uint j = 0; j < VW; j++) {
                    FETCH(from + (TERMS * j + AHEAD) * ld);
                    FETCH(from + (TERMS * j + 1 + AHEAD) * ld);
                    a[j] = as_float16(words_at(from + TERMS * j * ld, ld));
                }
                transpose(a);
                #pragma unroll
                for (uint j = 0; j < VW; j++) {
                    LSTORE(a[j], t + j * ROW + l);
                }
            }
            for (; TERMS * l < k; l++, from += TERMS * ld) {
                for (uint j = 0; j < have; j++) {
                    t[j * ROW + l] = word_at(from + j, TERMS * l + 1 < k ? ld : 0);
                }
            }
        }
    }
#elif RT
    uint l = 0;

    /* Whole vectors while neither R nor the tile is left: what is too much is overwritten by the
     * next word. All tiles of a word at once: their numbers are neighbours. */
    for (; TERMS * (l + (VW + MR - 1) / MR + 1) <= k && (k - TERMS * (l + 1)) * ld >= VW;
         l++, r += TERMS * ld) {
        for (uint u = 0; u < tiles; u++) {
            FETCH(r + at[u] + AHEAD * ld);
            *(local loose_words *)(to + u * (MR * ROW) + l * MR) = words_at(r + at[u], ld);
#if MR > VW
            for (uint i = VW; i < at[u + 1] - at[u]; i++) {
                to[u * (MR * ROW) + l * MR + i] = word_at(r + at[u] + i, ld);
            }
#endif
        }
    }
    for (; TERMS * l < k; l++, r += TERMS * ld) {
        for (uint u = 0; u < tiles; u++) {
            for (uint i = 0; i < at[u + 1] - at[u]; i++) {
                to[u * (MR * ROW) + l * MR + i] =
                    word_at(r + at[u] + i, TERMS * l + 1 < k ? ld : 0);
            }
        }
    }
#else
    for (uint u = 0; u < tiles; u++, to += MR * ROW) {
        local word *t = to;

        for (uint i = at[u]; i < at[u + 1]; i++, t += ROW) {
            global const operand *row = r + i * ld;
            uint l = 0;

            for (; l + VW <= k / TERMS; l += VW) {
                LSTORE(OPERANDS(row + TERMS * l), t + l);
            }
            for (; TERMS * l < k; l++) {
                t[l] = word_at(row + TERMS * l, TERMS * l + 1 < k);
            }
        }
    }
#endif
}

#if !RT
/* A share of the lines of the next tile, panel j of n: the loads then overlap with the products
 * instead of being waited for in pack_rows. */
INLINE void fetch_rows(global const operand *r, ulong ld, uint k, uint j, uint n)
{
    const uint line = 64 / sizeof *r;
    uint first = (uint)((ulong)k * j / n) / line * line, last = (uint)((ulong)k * (j + 1) / n);

    for (uint i = 0; i < MR; i++, r += ld) {
        for (uint l = first; l < last; l += line) {
            FETCH(r + l);
        }
    }
}
#endif

/* ---- epilogue ---------------------------------------------------------------------------- */

/* x (rows, NR), of which nq columns count, into C; c and residual point at the first element. */
INLINE void store(global result *c, global const result *bias, global const result *residual,
                  local const vec *x, uint rows, uint nq, const struct gemm_at *at, uint what)
{
#if FLIP
    for (uint j = 0; j < nq; j += VW, c += VW * at->ldc, residual += VW * at->ldc) {
        uint n = min(nq - j, (uint)VW);

        for (uint i = 0; i < rows; i++) {
            vec v = x[2 * i + j / VW] * at->alpha;

            if (what & ADD) {
                for (uint l = 0; l < n; l++) {
                    ((float *)&v)[l] += FROM(c[l * at->ldc + i]);
                }
            }
            v = activate(what & BIAS ? v + FROM(bias[i]) : v, what, at->slope);
            for (uint l = 0; l < n; l++) {
                c[l * at->ldc + i] = TO(((const float *)&v)[l]);
#if PLUS
                if (what & RESIDUAL) {
                    c[l * at->ldc + i] = TO(FROM(c[l * at->ldc + i]) +
                                            FROM(residual[l * at->ldc + i]));
                }
#endif
            }
        }
    }
#else
    if (nq == NR && (what & ~ADD) == 0) {   /* what a long K does most of the time */
        if (what & ADD) {
            for (uint i = 0; i < rows; i++, c += at->ldc, x += 2) {
                save(x[0] * at->alpha + load(c), c);
                save(x[1] * at->alpha + load(c + VW), c + VW);
            }
        } else {
            for (uint i = 0; i < rows; i++, c += at->ldc, x += 2) {
                save(x[0] * at->alpha, c);
                save(x[1] * at->alpha, c + VW);
            }
        }
        return;
    }
    for (uint i = 0; i < rows; i++, c += at->ldc, residual += at->ldc, x += 2) {
        for (uint j = 0; j < nq; j += VW) {
            put(c + j, bias + j, residual + j, x[j / VW], 0, min(nq - j, (uint)VW), at->alpha,
                at->slope, what);
        }
    }
#endif
}

/* ---- the group --------------------------------------------------------------------------- */

kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void gemm_tile(global result *c, global const operand *r, global const operand *s,
               global const result *bias, struct gemm_at at RESIDUAL_ARG)
{
    local words panels[PANELS * KC * 2];
    local vec x[MR * 2];
    local word rows[TILES * MR * ROW];
    uint first[TILES + 1];
    uint g = get_group_id(0), gq = g % at.nq, gp = g / at.nq % at.np, batch = g / at.nq / at.np;
    uint cols = (at.q + NR - 1) / NR, k = at.k;
    uint col0 = (uint)((ulong)cols * gq / at.nq), col1 = (uint)((ulong)cols * (gq + 1) / at.nq);
    uint q0 = col0 * NR, q1 = min(at.q, col1 * NR);
    uint bands = (at.p + BAND - 1) / BAND, p0 = (uint)((ulong)bands * gp / at.np) * BAND;
    uint p1 = min(at.p, (uint)((ulong)bands * (gp + 1) / at.np) * BAND);
    uint tiles = (p1 - p0 + MR - 1) / MR;
    ulong ldr = at.ldr, lds = at.lds, ldc = at.ldc;

    c += at.c + batch * at.stride_c;
    r += at.r + batch * at.stride_r;
    s += at.s + batch * at.stride_s;
    bias += at.bias;
    global const result *residual = RESIDUAL_OF(c, at, batch);
    bands = (p1 - p0 + BAND - 1) / BAND;
    unit_on();
    for (uint k0 = 0; k0 < k; k0 += at.block) {
        uint kn = min(at.block, k - k0), words_of_k = (kn + TERMS - 1) / TERMS;
        uint what = (at.add || k0 > 0 ? ADD : 0) | (k0 + kn == k ? at.last : 0);

        pack_columns(panels, s + (ST ? q0 * lds + k0 : k0 * lds + q0), lds, kn, q1 - q0);
        pad_columns(panels, q1 - q0, words_of_k);
        for (uint t = 0; t < tiles; t++) {
            uint u = t % TILES;

            if (u == 0) {
                uint n = min(tiles - t, (uint)TILES);

                /* Nearly the same height for all: none is left with one row and half the speed. */
                for (uint i = 0; i <= n; i++) {
                    first[i] = min(p1, p0 + (uint)((ulong)bands * (t + i) / tiles) * BAND);
                }
                pack_rows(rows, r + (RT ? k0 * ldr : k0), ldr, kn, first, n);
                pad_rows(rows, n, words_of_k);
            }
            for (uint q = q0, j = 0; q < q1; q += NR, j++) {
                uint n = min(q1 - q, (uint)NR), a = first[u];
                ulong to = FLIP ? q * ldc + a : a * ldc + q;

#if !RT
                if (t + 1 < tiles) {
                    fetch_rows(r + first[1] * ldr + k0, ldr, kn, j, (q1 - q0 + NR - 1) / NR);
                }
#endif
                tile(x, rows + u * (MR * ROW), panels + j * (KC * 2), first[u + 1] - a,
                     words_of_k, n > VW);
                store(c + to, bias + (FLIP ? a : q), residual + to, x, first[u + 1] - a, n, &at,
                      what);
            }
        }
    }
    unit_off();
}
