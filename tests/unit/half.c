/* half.c -- the conversions of base/half.h: every one of the 65536 patterns of fp16 and bf16 keeps
 * its value through float and back; of all floats between two neighbours the nearer one comes out,
 * in the middle the even one; what is too large becomes infinite; no NaN is lost. */
#include "base/half.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct type {
    float (*from)(uint16_t h);
    uint16_t (*to)(float v);
    uint16_t infinity;
};

static const struct type types[2] = {
    {mt_half_from_fp16, mt_half_to_fp16, 0x7c00},
    {mt_half_from_bf16, mt_half_to_bf16, 0x7f80},
};

static void patterns_keep_their_value(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        for (uint32_t h = 0; h < 65536; h++) {
            float v = types[t].from((uint16_t)h);

            if ((h & 0x7fff) > types[t].infinity) {
                assert_true(isnan(v));
                assert_true((types[t].to(v) & 0x7fff) > types[t].infinity);
            } else {
                assert_true((signbit(v) != 0) == (h >= 0x8000));
                assert_int_equal(types[t].to(v), h);
            }
        }
    }
}

static void values_are_those_of_the_formats(void **state)
{
    (void)state;
    assert_true(mt_half_from_fp16(0x3c00) == 1.0f && mt_half_from_fp16(0xc000) == -2.0f);
    assert_true(mt_half_from_fp16(0x7bff) == 65504.0f && mt_half_from_fp16(0x0001) == 0x1p-24f);
    assert_true(mt_half_from_fp16(0x0400) == 0x1p-14f && isinf(mt_half_from_fp16(0xfc00)));
    assert_true(mt_half_from_bf16(0x3f80) == 1.0f && mt_half_from_bf16(0xc000) == -2.0f);
    assert_true(mt_half_from_bf16(0x3f81) == 1.0f + 0x1p-7f && isinf(mt_half_from_bf16(0x7f80)));
}

/* Between two neighbours (both exact in float, and their middle, too). */
static void the_nearest_comes_out(void **state)
{
    (void)state;
    for (int t = 0; t < 2; t++) {
        for (uint32_t h = 0; h + 1u < types[t].infinity; h++) {
            float low = types[t].from((uint16_t)h), high = types[t].from((uint16_t)(h + 1));
            float middle = (float)(((double)low + (double)high) / 2);

            assert_int_equal(types[t].to(middle), h + (h & 1));
            assert_int_equal(types[t].to(-middle), 0x8000 + h + (h & 1));
            assert_int_equal(types[t].to(nextafterf(middle, 0)), h);
            assert_int_equal(types[t].to(nextafterf(middle, INFINITY)), h + 1);
        }
    }
}

static void too_large_is_infinite(void **state)
{
    (void)state;
    assert_int_equal(mt_half_to_fp16(65519.996f), 0x7bff);
    assert_int_equal(mt_half_to_fp16(65520.0f), 0x7c00);
    assert_int_equal(mt_half_to_fp16(-1e30f), 0xfc00);
    assert_int_equal(mt_half_to_bf16(0x1.fep+127f), 0x7f7f);
    assert_int_equal(mt_half_to_bf16(0x1.ffp+127f), 0x7f80);
    assert_int_equal(mt_half_to_bf16(-INFINITY), 0xff80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_keep_their_value),
        cmocka_unit_test(values_are_those_of_the_formats),
        cmocka_unit_test(the_nearest_comes_out),
        cmocka_unit_test(too_large_is_infinite),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
