/* limits.cl -- kernels that do one thing as fast as a device can; src/device/limits.c measures
 * with them. Their results are finite numbers that nobody needs, but that a compiler must
 * believe in. */

#ifndef W
#define W 1              /* numbers in a vector: 1, 4, 8, 16 */
#endif
#ifndef CHAINS
#define CHAINS 8         /* independent sums of a work-item: 4, 8, 12 */
#endif

#ifndef LONG
#define LONG 0           /* a long body of the arithmetic loop: not for slow compilers */
#endif

#if W == 16
typedef float16 vec;
#define TOTAL(x) ((x).s0 + (x).sf)
#elif W == 8
typedef float8 vec;
#define TOTAL(x) ((x).s0 + (x).s7)
#elif W == 4
typedef float4 vec;
#define TOTAL(x) ((x).s0 + (x).s3)
#else
typedef float vec;
#define TOTAL(x) (x)
#endif

#define CHAINS4(X)  X(0) X(1) X(2) X(3)
#define CHAINS8(X)  CHAINS4(X) X(4) X(5) X(6) X(7)
#define CHAINS12(X) CHAINS8(X) X(8) X(9) X(10) X(11)
#if CHAINS == 12
#define EACH(X) CHAINS12(X)
#elif CHAINS == 8
#define EACH(X) CHAINS8(X)
#else
#define EACH(X) CHAINS4(X)
#endif

#define BEGIN(i) vec x##i = (vec)((float)(i) + start);
#ifdef MAD               /* where fma is a function call: whatever the device has instead */
#define STEP(i)  x##i = mad(x##i, a, b);
#else
#define STEP(i)  x##i = fma(x##i, a, b);
#endif
#define END(i)   sum += x##i;
#define STEPS4   EACH(STEP) EACH(STEP) EACH(STEP) EACH(STEP)

/* y (work-items): 4 n CHAINS W multiplications and as many additions each, 16 n with LONG;
 * x = a x + b with |a| < 1 goes to b / (1 - a). */
KERNEL void limits_fma(OUT(y), uint n, float a0, float b0)
{
    float start = (float)get_local_id(0) * 0.001f;
    vec a = (vec)a0, b = (vec)b0, sum = (vec)0.0f;

    EACH(BEGIN)
    for (uint i = 0; i < n; i++) {
        STEPS4
#if LONG
        STEPS4
        STEPS4
        STEPS4
#endif
    }
    EACH(END)
    STORE(y, get_global_id(0), TOTAL(sum));
}

/* The memory kernels: a group goes along its own `span` vectors, neighbouring work-items read
 * neighbours; span is a multiple of 4 WG. */
#define FIRST ((ulong)get_group_id(0) * span + get_local_id(0))
#define VECS(t) ((global vec *)(t + t##_off))
#define VECS_IN(t) ((global const vec *)(t + t##_off))

/* y (work-items) = sums of what is in x. */
KERNEL void limits_read(OUT(y), IN(x), uint span)
{
    global const vec *from = VECS_IN(x) + FIRST;
    vec s0 = (vec)0.0f, s1 = s0, s2 = s0, s3 = s0;

    for (uint i = 0; i < span; i += 4 * WG) {
        s0 += from[i];
        s1 += from[i + WG];
        s2 += from[i + 2 * WG];
        s3 += from[i + 3 * WG];
    }
    s0 = (s0 + s1) + (s2 + s3);
    STORE(y, get_global_id(0), TOTAL(s0));
}

/* y = x. Loads come first: the compiler may not move them over a store. */
KERNEL void limits_copy(OUT(y), IN(x), uint span)
{
    global const vec *from = VECS_IN(x) + FIRST;
    global vec *to = VECS(y) + FIRST;

    for (uint i = 0; i < span; i += 4 * WG) {
        vec v0 = from[i], v1 = from[i + WG], v2 = from[i + 2 * WG], v3 = from[i + 3 * WG];

        to[i] = v0;
        to[i + WG] = v1;
        to[i + 2 * WG] = v2;
        to[i + 3 * WG] = v3;
    }
}

/* y = x + a z */
KERNEL void limits_triad(OUT(y), IN(x), IN(z), float a0, uint span)
{
    global const vec *p = VECS_IN(x) + FIRST, *q = VECS_IN(z) + FIRST;
    global vec *to = VECS(y) + FIRST;
    vec a = (vec)a0;

    for (uint i = 0; i < span; i += 4 * WG) {
        vec v0 = fma(a, q[i], p[i]), v1 = fma(a, q[i + WG], p[i + WG]);
        vec v2 = fma(a, q[i + 2 * WG], p[i + 2 * WG]);
        vec v3 = fma(a, q[i + 3 * WG], p[i + 3 * WG]);

        to[i] = v0;
        to[i + WG] = v1;
        to[i + 2 * WG] = v2;
        to[i + 3 * WG] = v3;
    }
}

KERNEL void limits_empty(uint nothing)
{
}
