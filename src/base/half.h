/* half.h -- numbers of 16 bits on the host: fp16 (IEEE 754 binary16: 5 bits of exponent, 10 of
 * fraction) and bf16 (the upper half of a float: 8 and 7). Widening is exact; narrowing rounds to
 * nearest even, beyond the largest number to infinity. A NaN stays one. */
#ifndef MT_BASE_HALF_H
#define MT_BASE_HALF_H

#include <stdint.h>

float mt_half_from_fp16(uint16_t h);
float mt_half_from_bf16(uint16_t h);
uint16_t mt_half_to_fp16(float v);
uint16_t mt_half_to_bf16(float v);

#endif
