/* half.h -- numbers of 16 bits on the host: fp16 (IEEE 754 binary16: 5 bits of exponent, 10 of
 * fraction) and bf16 (the upper half of a float: 8 and 7). Widening is exact; narrowing rounds to
 * nearest even, beyond the largest number to infinity. A NaN stays one. */
#ifndef MT_BASE_HALF_H
#define MT_BASE_HALF_H

#include <stdint.h>
#include <string.h>

float mt_half_from_fp16(uint16_t h);
uint16_t mt_half_to_fp16(float v);

/* Those of bf16 are here so that a loop over them becomes vectors. */
static inline float mt_half_from_bf16(uint16_t h)
{
    uint32_t word = (uint32_t)h << 16;
    float v;

    memcpy(&v, &word, sizeof v);
    return v;
}

static inline uint16_t mt_half_to_bf16(float v)
{
    uint32_t word, nan, near;

    memcpy(&word, &v, sizeof word);
    nan = word >> 16 | 0x40;
    near = (word + 0x7fff + (word >> 16 & 1)) >> 16;
    return (uint16_t)((word & 0x7fffffff) > 0x7f800000 ? nan : near);
}

#endif
