/* gelu.cl -- Gaussian error linear unit; formulas in src/ops/gelu.c. One work-item per element.
 * OpenCL allows erf 16 ulp, tanh 5 ulp, exp 3 ulp. */

#define SQRT_HALF      0.70710678f
#define INV_SQRT_2PI   0.39894228f
#define K              0.79788456f   /* sqrt(2 / pi) */
#define C              0.044715f

/* form 0: exact, 1: tanh. */
KERNEL void gelu_fwd(OUT(y), IN(x), uint n, uint form)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i);
        float s = form == 0 ? erf(v * SQRT_HALF) : tanh(K * (v + C * v * v * v));

        STORE(y, i, 0.5f * v * (1.0f + s));
    }
}

KERNEL void gelu_bwd(OUT(dx), IN(g), IN(x), uint n, uint form, uint acc)
{
    uint i = get_global_id(0);

    if (i < n) {
        float v = LOAD(x, i), d;

        if (form == 0) {
            d = 0.5f * (1.0f + erf(v * SQRT_HALF)) + v * (INV_SQRT_2PI * exp(-0.5f * v * v));
        } else {
            /* Beyond 20 the second term is 0, but its powers may overflow. By e = exp(-2 |u|),
             * because 1 - tanh(u)^2 loses all digits and its factor grows as v^3. */
            float w = clamp(v, -20.0f, 20.0f), w2 = w * w;
            float e = exp(-2.0f * fabs(K * (w + C * w * w2)));
            float t = copysign((1.0f - e) / (1.0f + e), w);
            float slope = 4.0f * e / ((1.0f + e) * (1.0f + e));   /* 1 - t^2 */

            d = 0.5f * (1.0f + t) + 0.5f * w * slope * K * (1.0f + 3.0f * C * w2);
        }
        d *= LOAD(g, i);
        STORE_ACC(dx, i, d, acc);
    }
}
