/* same.c -- see same.h. */
#include "base/same.h"

#include <math.h>

double mt_same_pow(double x, int64_t n)
{
    double y = 1;

    for (; n > 0; n >>= 1, x *= x) {
        if (n & 1) {
            y *= x;
        }
    }
    return y;
}

/* Taylor series of cos at 0 for |t| <= pi/4: the term of t^18 is below 1e-17. */
static double cos_small(double t)
{
    double t2 = t * t, sum = 1;

    for (int k = 16; k >= 2; k -= 2) {
        sum = 1 - sum * t2 / (k * (k - 1));
    }
    return sum;
}

static double sin_small(double t)
{
    double t2 = t * t, sum = 1;

    for (int k = 17; k >= 3; k -= 2) {
        sum = 1 - sum * t2 / (k * (k - 1));
    }
    return sum * t;
}

double mt_same_cospi(double x)
{
    const double pi = 3.14159265358979323846;

    if (x <= 0.25) {
        return cos_small(pi * x);
    }
    if (x <= 0.75) {
        return sin_small(pi * (0.5 - x));
    }
    return -cos_small(pi * (1 - x));
}

/* x = m 2^e with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s), s = (m-1)/(m+1), |s| < 0.172;
 * twelve terms leave an error below 1e-19. */
double mt_same_log(double x)
{
    int e;
    double m = frexp(x, &e), s, s2, sum = 0;

    if (m < 0.70710678118654752440) {
        m *= 2;
        e--;
    }
    s = (m - 1) / (m + 1);
    s2 = s * s;
    for (int k = 23; k >= 1; k -= 2) {
        sum = sum * s2 + 1.0 / k;
    }
    return 2 * s * sum + e * 0.69314718055994530942;
}
