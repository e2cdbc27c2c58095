/* add.c -- the arithmetic of sums over ranks: in rank order, as floats or rounded to bf16.
 *
 *     fp32    s = ((r0 + r1) + r2) + ...
 *     bf16    s = B(((B(r0) + B(r1)) + B(r2)) + ...), B: to the nearest of bf16, even if two are
 *
 * Additions are in float in both. Every rank's numbers are rounded, those of the rank that adds as
 * well, so the sum does not depend on who adds, nor on whether numbers are sent at all. */
#include "comm/link.h"

#include "base/half.h"

#include <string.h>

#define ADD_FLOATS 1024   /* at once: stays in the first cache */
#define VECTOR     16     /* a fixed count becomes vectors at -O2, too */

void mt_pack(int64_t n, const float *restrict from, uint16_t *restrict to)
{
    int64_t e = 0;

    for (; e + VECTOR <= n; e += VECTOR) {
        for (int k = 0; k < VECTOR; k++) {
            to[e + k] = mt_half_to_bf16(from[e + k]);
        }
    }
    for (; e < n; e++) {
        to[e] = mt_half_to_bf16(from[e]);
    }
}

void mt_unpack(int64_t n, const uint16_t *restrict from, float *restrict to)
{
    int64_t e = 0;

    for (; e + VECTOR <= n; e += VECTOR) {
        for (int k = 0; k < VECTOR; k++) {
            to[e + k] = mt_half_from_bf16(from[e + k]);
        }
    }
    for (; e < n; e++) {
        to[e] = mt_half_from_bf16(from[e]);
    }
}

/* Numbers [lo, lo + m) of an array. */
static void take(enum mt_form form, const void *array, int64_t lo, int m, float *x)
{
    uint16_t half[ADD_FLOATS];

    if (form == MT_FORM_PACKED) {
        mt_unpack(m, (const uint16_t *)array + lo, x);
    } else if (form == MT_FORM_ROUNDED) {
        mt_pack(m, (const float *)array + lo, half);
        mt_unpack(m, half, x);
    } else {
        memcpy(x, (const float *)array + lo, (size_t)m * sizeof *x);
    }
}

static void give(enum mt_form form, const float *x, int64_t lo, int m, void *array)
{
    uint16_t half[ADD_FLOATS];

    if (form == MT_FORM_PACKED) {
        mt_pack(m, x, (uint16_t *)array + lo);
    } else if (form == MT_FORM_ROUNDED) {
        mt_pack(m, x, half);
        mt_unpack(m, half, (float *)array + lo);
    } else {
        memcpy((float *)array + lo, x, (size_t)m * sizeof *x);
    }
}

static void add(float *restrict sum, const float *restrict x, int m)
{
    int e = 0;

    for (; e + VECTOR <= m; e += VECTOR) {
        for (int k = 0; k < VECTOR; k++) {
            sum[e + k] += x[e + k];
        }
    }
    for (; e < m; e++) {
        sum[e] += x[e];
    }
}

void mt_add_in_order(enum mt_form form, int64_t n, int nfrom, const void *const *from, int nto,
                     void *const *to)
{
    float sum[ADD_FLOATS], x[ADD_FLOATS];

    for (int64_t lo = 0; lo < n; lo += ADD_FLOATS) {
        int m = (int)(n - lo < ADD_FLOATS ? n - lo : ADD_FLOATS);

        take(form, from[0], lo, m, sum);
        for (int j = 1; j < nfrom; j++) {
            if (form == MT_FORM_FLOAT) {
                add(sum, (const float *)from[j] + lo, m);
            } else {
                take(form, from[j], lo, m, x);
                add(sum, x, m);
            }
        }
        for (int j = 0; j < nto; j++) {
            give(form, sum, lo, m, to[j]);
        }
    }
}
