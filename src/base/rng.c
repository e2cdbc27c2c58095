/* rng.c -- Philox4x32-10 and what is drawn from it; see rng.h.
 *
 * Only integer operations, + - * / and sqrt are used, each correctly rounded by IEEE 754, so two
 * hosts with different C libraries draw the same weights. The build turns contraction off. */
#include "base/rng.h"

#include "base/same.h"

#include <math.h>

static uint64_t mix(uint64_t z)   /* splitmix64: S. Vigna, public domain algorithm */
{
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct mt_rng_key mt_rng_key(uint64_t seed, enum mt_rng_purpose purpose, uint64_t stream)
{
    uint64_t h = mix(mix(mix(seed) ^ (uint64_t)purpose) ^ stream);
    struct mt_rng_key key = {{(uint32_t)h, (uint32_t)(h >> 32)}};

    return key;
}

void mt_rng_bits(struct mt_rng_key key, const uint32_t c[4], uint32_t out[4])
{
    uint32_t x[4] = {c[0], c[1], c[2], c[3]}, k0 = key.k[0], k1 = key.k[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * x[0], p1 = (uint64_t)0xcd9e8d57u * x[2];

        x[0] = (uint32_t)(p1 >> 32) ^ x[1] ^ k0;
        x[1] = (uint32_t)p1;
        x[2] = (uint32_t)(p0 >> 32) ^ x[3] ^ k1;
        x[3] = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    for (int i = 0; i < 4; i++) {
        out[i] = x[i];
    }
}

static void bits_at(struct mt_rng_key key, uint64_t index, uint32_t out[4])
{
    uint32_t c[4] = {(uint32_t)index, (uint32_t)(index >> 32), 0, 0};

    mt_rng_bits(key, c, out);
}

uint32_t mt_rng_u32(struct mt_rng_key key, uint64_t index)
{
    uint32_t r[4];

    bits_at(key, index, r);
    return r[0];
}

double mt_rng_uniform(struct mt_rng_key key, uint64_t index)
{
    uint32_t r[4];
    uint64_t m;

    bits_at(key, index, r);
    m = ((uint64_t)r[0] << 20) ^ (r[1] >> 12);              /* 52 bits */
    return ((double)m + 0.5) * (1.0 / 4503599627370496.0);   /* 2^-52, exact */
}

static double ratio(const double *num, const double *den, double r)
{
    double a = num[7], b = den[7];

    for (int i = 6; i >= 0; i--) {
        a = a * r + num[i];
        b = b * r + den[i];
    }
    return a / b;
}

/* Quantile of the normal distribution, relative error 1e-16: M. Wichura, algorithm AS 241
 * (PPND16), Applied Statistics 37 (1988). */
static double normal_quantile(double p)
{
    static const double a[8] = {3.3871328727963666080e0, 1.3314166789178437745e2,
                                1.9715909503065514427e3, 1.3731693765509461125e4,
                                4.5921953931549871457e4, 6.7265770927008700853e4,
                                3.3430575583588128105e4, 2.5090809287301226727e3};
    static const double b[8] = {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                                5.3941960214247511077e3, 2.1213794301586595867e4,
                                3.9307895800092710610e4, 2.8729085735721942674e4,
                                5.2264952788528545610e3};
    static const double c[8] = {1.42343711074968357734e0, 4.63033784615654529590e0,
                                5.76949722146069140550e0, 3.64784832476320460504e0,
                                1.27045825245236838258e0, 2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                                6.89767334985100004550e-1, 1.48103976427480074590e-1,
                                1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    static const double e[8] = {6.65790464350110377720e0, 5.46378491116411436990e0,
                                1.78482653991729133580e0, 2.96560571828504891230e-1,
                                2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double f[8] = {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                                1.48753612908506148525e-2, 7.86869131145613259100e-4,
                                1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                2.04426310338993978564e-15};
    double q = p - 0.5, r, x;

    if (fabs(q) <= 0.425) {
        return q * ratio(a, b, 0.180625 - q * q);
    }
    r = sqrt(-mt_same_log(q < 0 ? p : 1 - p));
    x = r <= 5 ? ratio(c, d, r - 1.6) : ratio(e, f, r - 5);
    return q < 0 ? -x : x;
}

double mt_rng_normal(struct mt_rng_key key, uint64_t index)
{
    return normal_quantile(mt_rng_uniform(key, index));
}

uint64_t mt_rng_permute(struct mt_rng_key key, uint64_t i, uint64_t n)
{
    unsigned half = 1;
    uint64_t mask;

    while (half < 32 && ((uint64_t)1 << (2 * half)) < n) {
        half++;
    }
    mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;

        for (uint32_t round = 0; round < 6; round++) {
            uint32_t c[4] = {(uint32_t)right, round, 0, 1}, r[4];
            uint64_t next;

            mt_rng_bits(key, c, r);
            next = left ^ (r[0] & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}

uint64_t mt_rng_stream(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *name != '\0'; name++) {
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    }
    return h;
}
