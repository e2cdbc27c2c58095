/* rng.cl -- the random bits of motley.clh, written out: for the test that compares them with
 * src/base/rng.c. */

/* Work-item i writes the 4 words of counter (i, c1, c2, c3). */
KERNEL void rng_fill(OUT_U32(bits), uint n, uint k0, uint k1, uint c1, uint c2, uint c3)
{
    uint i = get_global_id(0);

    if (i < n) {
        uintv x = i, y = c1, z = c2, w = c3;

        mt_philox((uint2)(k0, k1), &x, &y, &z, &w);
        AT(bits, 4 * (ulong)i) = x;
        AT(bits, 4 * (ulong)i + 1) = y;
        AT(bits, 4 * (ulong)i + 2) = z;
        AT(bits, 4 * (ulong)i + 3) = w;
    }
}
