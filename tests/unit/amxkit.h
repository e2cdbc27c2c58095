/* amxkit.h -- the instructions of AMX that cl/gemm_tile.cl uses, for tests on processors without
 * them: such a processor refuses them (SIGILL), and the handler here does what the Software
 * Developer's Manual says they do (volume 2: LDTILECFG, TDPBF16PS, TILELOADD, TILERELEASE,
 * TILESTORED, TILEZERO), on tiles of the thread, from the machine code and the registers as they
 * are. What the manual forbids, and anything else, ends the test. Where the processor has them the
 * handler is never called.
 *
 * amxkit_tdpbf16ps alone is plain C, for everywhere. To be included before any other header. */
#ifndef MT_TESTS_AMXKIT_H
#define MT_TESTS_AMXKIT_H

#define _GNU_SOURCE   /* names of registers */

#include "device/cpu.h"

#if defined(__x86_64__) && defined(__linux__)
#define AMXKIT 1
#include <cpuid.h>
#include <signal.h>
#include <ucontext.h>
#else
#define AMXKIT 0
#endif

#include <math.h>
#include <stdint.h>
#include <string.h>

/* As loaded: rows of 64 bytes, those that are configured, and so many bytes of each. */
struct amxkit_tile {
    unsigned rows, bytes;
    union {
        uint8_t byte[64];
        uint16_t half[32];
        float word[16];
    } row[16];
};

static inline float amxkit_flush(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x;
}

static inline float amxkit_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return amxkit_flush(x);
}

/* c (M, N) += a (M, 2K) b (K, N, 2), M, N, K as the tiles are configured. */
static inline void amxkit_tdpbf16ps(struct amxkit_tile *c, const struct amxkit_tile *a,
                                    const struct amxkit_tile *b)
{
    for (unsigned m = 0; m < c->rows; m++) {
        for (unsigned n = 0; n < c->bytes / 4; n++) {
            float sum[2] = {0.0f, 0.0f};

            for (unsigned k = 0; k < a->bytes / 4; k++) {
                for (unsigned i = 0; i < 2; i++) {
                    sum[i] = amxkit_flush(fmaf(amxkit_widen(a->row[m].half[2 * k + i]),
                                               amxkit_widen(b->row[k].half[2 * n + i]), sum[i]));
                }
            }
            c->row[m].word[n] = amxkit_flush(amxkit_flush(c->row[m].word[n]) +
                                             amxkit_flush(sum[0] + sum[1]));
        }
    }
}

#if AMXKIT
static _Thread_local struct amxkit_tile amxkit_tiles[8];
static volatile sig_atomic_t amxkit_done;   /* instructions that were done here */

/* 0: not one of them, or one that the manual forbids. at: the first byte; *next: behind the last;
 * reg: the 16 general registers in the order of their numbers. */
static inline int amxkit_memory(const uint8_t *at, const greg_t *reg, const uint8_t **next,
                                uint8_t **address, int64_t *stride)
{
    unsigned mod = at[4] >> 6, rm = at[4] & 7, high = at[1] & 0x20 ? 0u : 8u;
    const uint8_t *p = at + 5;
    int64_t base = 0;

    *stride = 0;
    if (rm == 4) {
        unsigned scale = *p >> 6, index = (*p >> 3 & 7u) | (at[1] & 0x40 ? 0u : 8u);

        rm = *p++ & 7u;
        *stride = index == 4 ? 0 : (int64_t)reg[index] << scale;
        if (mod == 0 && rm == 5) {
            return 0;   /* no base: nobody writes that here */
        }
        base = reg[rm | high];
    } else if (mod == 0 && rm == 5) {
        base = (int64_t)(intptr_t)(p + 4);   /* relative to the next instruction */
        mod = 2;
    } else {
        base = reg[rm | high];
    }
    if (mod == 1) {
        base += (int8_t)*p++;
    } else if (mod == 2) {
        int32_t off;

        memcpy(&off, p, sizeof off);
        base += off;
        p += 4;
    }
    *next = p;
    *address = (uint8_t *)(intptr_t)base;
    return 1;
}

static inline int amxkit_configure(const uint8_t *from)
{
    if (from[0] != 1 || from[1] != 0) {
        return 0;
    }
    memset(amxkit_tiles, 0, sizeof amxkit_tiles);
    for (int i = 0; i < 8; i++) {
        amxkit_tiles[i].bytes = from[16 + 2 * i] | (unsigned)from[17 + 2 * i] << 8;
        amxkit_tiles[i].rows = from[48 + i];
        if (amxkit_tiles[i].bytes > 64 || amxkit_tiles[i].rows > 16) {
            return 0;
        }
    }
    return 1;
}

static inline int amxkit_product(struct amxkit_tile *c, const struct amxkit_tile *a,
                                 const struct amxkit_tile *b)
{
    if (c == a || c == b || a == b || c->rows == 0 || a->rows == 0 || b->rows == 0 ||
        c->bytes % 4 != 0 || a->bytes % 4 != 0 || c->bytes != b->bytes || c->rows != a->rows ||
        a->bytes / 4 != b->rows) {
        return 0;
    }
    amxkit_tdpbf16ps(c, a, b);
    return 1;
}

static inline int amxkit_step(const uint8_t *at, const greg_t *reg, const uint8_t **next)
{
    unsigned what = (unsigned)at[3] << 2 | (at[2] & 3u), one = at[4] >> 3 & 7u;
    struct amxkit_tile *t = &amxkit_tiles[one];
    unsigned prefix = at[2] >> 3 & 15u;
    uint8_t *address;
    int64_t stride;

    /* VEX of three bytes, 128 bits, W0, opcodes 0F 38; what: opcode and none 0, F3 2, F2 3. */
    if (at[0] != 0xc4 || (at[1] & 0x9f) != 0x82 || (at[2] & 0x84) != 0) {
        return 0;
    }
    *next = at + 5;
    if (what == (0x5c << 2 | 2)) {
        return at[4] >> 6 == 3 && prefix >= 8 &&
               amxkit_product(t, &amxkit_tiles[at[4] & 7u], &amxkit_tiles[~prefix & 7u]);
    }
    if (prefix != 15) {
        return 0;
    }
    if (at[4] >> 6 == 3) {
        if (what == 0x49 << 2 && at[4] == 0xc0) {
            memset(amxkit_tiles, 0, sizeof amxkit_tiles);
            return 1;
        }
        if (what == (0x49 << 2 | 3) && (at[4] & 7u) == 0 && t->rows > 0) {
            memset(t->row, 0, sizeof t->row);
            return 1;
        }
        return 0;
    }
    if (!amxkit_memory(at, reg, next, &address, &stride)) {
        return 0;
    }
    if (what == 0x49 << 2 && one == 0) {
        return amxkit_configure(address);
    }
    if ((what != (0x4b << 2 | 3) && what != (0x4b << 2 | 2)) || t->rows == 0 ||
        (at[4] & 7u) != 4) {
        return 0;
    }
    for (unsigned i = 0; i < t->rows; i++, address += stride) {
        if (what == (0x4b << 2 | 3)) {
            memcpy(t->row[i].byte, address, t->bytes);
        } else {
            memcpy(address, t->row[i].byte, t->bytes);
        }
    }
    return 1;
}

static inline void amxkit_refused(int number, siginfo_t *info, void *context)
{
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs, reg[16];
    const uint8_t *next = NULL;

    (void)info;
    for (int i = 0; i < 16; i++) {
        reg[i] = gregs[order[i]];
    }
    if (amxkit_step((const uint8_t *)(intptr_t)gregs[REG_RIP], reg, &next)) {
        gregs[REG_RIP] = (greg_t)(intptr_t)next;
        amxkit_done = 1;
    } else {
        signal(number, SIG_DFL);   /* comes again, and ends the process */
    }
}
#endif

/* Whether kernels with these instructions can run in this process from here on: the processor does
 * them, or, if it knows none of them, the handler. */
static inline int amxkit_open(void)
{
    if (mt_cpu_amx()) {
        return 1;
    }
#if AMXKIT
    const unsigned amx_tile = 1u << 24;
    struct sigaction act = {.sa_sigaction = amxkit_refused, .sa_flags = SA_SIGINFO};
    unsigned a, b, c, d;

    sigemptyset(&act.sa_mask);
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && !(d & amx_tile) &&
           sigaction(SIGILL, &act, NULL) == 0;
#else
    return 0;
#endif
}

#endif
