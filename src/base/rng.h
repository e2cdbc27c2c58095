/* rng.h -- random numbers as a pure function of (seed, purpose, stream, step, index).
 *
 * Philox4x32 with 10 rounds: J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel random numbers: as
 * easy as 1, 2, 3, SC 2011. The same function in OpenCL C is mt_philox in cl/motley.clh; a test
 * compares them. Because there is no state, neither the number of ranks nor the order of work
 * can change a weight, a shuffle or a dropout mask. */
#ifndef MT_BASE_RNG_H
#define MT_BASE_RNG_H

#include <stdint.h>

enum mt_rng_purpose { MT_RNG_INIT = 1, MT_RNG_SHUFFLE, MT_RNG_DROPOUT, MT_RNG_DATA, MT_RNG_TEST };

struct mt_rng_key {
    uint32_t k[2];
};

/* Mixes the three into a key. stream: which parameter, node or data set. */
struct mt_rng_key mt_rng_key(uint64_t seed, enum mt_rng_purpose purpose, uint64_t stream);

/* 128 random bits for counter c. */
void mt_rng_bits(struct mt_rng_key key, const uint32_t c[4], uint32_t out[4]);

/* Element `index` of a stream: */
uint32_t mt_rng_u32(struct mt_rng_key key, uint64_t index);
double mt_rng_uniform(struct mt_rng_key key, uint64_t index);   /* (0,1), 53 bits */
double mt_rng_normal(struct mt_rng_key key, uint64_t index);    /* mean 0, variance 1 */

/* Position i of a random permutation of 0..n-1, without a table: a Feistel network on the next
 * even power of two, walked until the result is below n (fewer than four rounds on average). */
uint64_t mt_rng_permute(struct mt_rng_key key, uint64_t i, uint64_t n);

/* 64-bit hash of a string, for streams named by words (FNV-1a). */
uint64_t mt_rng_stream(const char *name);

#endif
