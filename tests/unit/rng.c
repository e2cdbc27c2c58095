/* rng.c -- the generator is Philox4x32-10 (published vectors); what is drawn from it has the
 * moments of its distribution; permutations are permutations; same.h agrees with the C library. */
#include "base/rng.h"
#include "base/same.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void known_answers(void **state)
{
    /* Random123 1.09, tests/kat_vectors, philox4x32 10 */
    static const struct {
        uint32_t c[4], k[2], want[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};

    (void)state;
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        struct mt_rng_key key = {{kat[i].k[0], kat[i].k[1]}};
        uint32_t got[4];

        mt_rng_bits(key, kat[i].c, got);
        assert_memory_equal(got, kat[i].want, sizeof got);
    }
}

static void moments(void **state)
{
    enum { N = 200000 };
    struct mt_rng_key key = mt_rng_key(1, MT_RNG_TEST, mt_rng_stream("a"));
    double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n4 = 0;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        double u = mt_rng_uniform(key, i), n = mt_rng_normal(key, i);

        assert_true(u > 0 && u < 1);
        u1 += u;
        u2 += u * u;
        n1 += n;
        n2 += n * n;
        n4 += n * n * n * n;
    }
    /* five standard errors of each mean */
    assert_true(fabs(u1 / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(u2 / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
    assert_true(fabs(n1 / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(n2 / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(n4 / N - 3) < 5 * sqrt(96.0 / N));
}

static void purposes_and_streams_differ(void **state)
{
    struct mt_rng_key a = mt_rng_key(1, MT_RNG_INIT, 5), b = mt_rng_key(1, MT_RNG_DROPOUT, 5),
                      c = mt_rng_key(1, MT_RNG_INIT, 6), d = mt_rng_key(2, MT_RNG_INIT, 5);

    (void)state;
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_memory_not_equal(&a, &c, sizeof a);
    assert_memory_not_equal(&a, &d, sizeof a);
}

static void permutations(void **state)
{
    static const uint64_t sizes[] = {1, 2, 3, 10, 255, 256, 257, 60000};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t n = sizes[s], fixed = 0;
        char *seen = calloc(n, 1);
        struct mt_rng_key key = mt_rng_key(3, MT_RNG_SHUFFLE, s);

        assert_non_null(seen);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t p = mt_rng_permute(key, i, n);

            assert_true(p < n);
            assert_false(seen[p]);
            seen[p] = 1;
            fixed += p == i;
        }
        assert_true(n < 200 || fixed < 12);   /* a random permutation has one on average */
        free(seen);
    }
}

static void same_functions_are_right(void **state)
{
    (void)state;
    for (int i = 0; i <= 1000; i++) {
        double x = i / 1000.0, want = cos(3.14159265358979323846 * x);

        assert_true(fabs(mt_same_cospi(x) - want) < 4e-16);
        if (i > 0) {
            assert_true(fabs(mt_same_log(x) - log(x)) <= 4e-16 * (1 + fabs(log(x))));
        }
        assert_true(fabs(mt_same_pow(0.999, i) / pow(0.999, i) - 1) < 1e-13);
    }
    assert_true(mt_same_pow(2, 10) == 1024 && mt_same_pow(0.5, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(moments),
        cmocka_unit_test(purposes_and_streams_differ),
        cmocka_unit_test(permutations),
        cmocka_unit_test(same_functions_are_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
