/* half.c -- conversions of fp16; see half.h. For set-up, checkpoints and tests: speed does not
 * matter, so both directions are written from the definition of the format. */
#include "base/half.h"

#include <math.h>

float mt_half_from_fp16(uint16_t h)
{
    int exponent = (h >> 10) & 31;
    double fraction = h & 1023, v;

    if (exponent == 31) {
        v = fraction != 0 ? NAN : INFINITY;
    } else if (exponent == 0) {
        v = ldexp(fraction, -24);
    } else {
        v = ldexp(fraction + 1024, exponent - 25);
    }
    return (float)((h & 0x8000) != 0 ? -v : v);
}

uint16_t mt_half_to_fp16(float v)
{
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    double size = fabs((double)v), units;
    int exponent = 0;

    if (isnan(v)) {
        return sign | 0x7e00;
    }
    if (size >= 65520) {   /* halfway from the largest, 65504, to the next power of two */
        return sign | 0x7c00;
    }
    frexp(size, &exponent);
    /* Units in the last place: 2^-24 for numbers below 2^-14, else 2^-10 of the leading bit. An
     * even rounding up to the next power of two carries into the exponent, as it must. */
    exponent = exponent < -13 || size == 0 ? -13 : exponent;
    units = nearbyint(ldexp(size, 11 - exponent));
    return (uint16_t)(sign + (exponent + 13) * 1024 + (int)units);
}
