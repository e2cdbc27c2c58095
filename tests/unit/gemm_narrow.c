/* gemm_narrow.c -- `narrow` converts as IEEE 754 says: every number of fp16 and bf16, times a few
 * others, gives the product in f32 exactly, and rounded to the nearest (base/half.h) where the
 * result is in half width; infinities and what is no number stay. Both ways through the kernel,
 * whole vectors and single numbers. Sums are tested by the suite of gemm. */
#include "base/half.h"
#include "device/buf.h"
#include "device/gemm_impl.h"
#include "tests/unit/devkit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ALL = 65536, N = 32 };

static uint16_t a[ALL], b[N], half[ALL * N];
static float wide[ALL * N];
static struct mt_buf *buf[4];

static float from(enum mt_dtype type, uint16_t h)
{
    return type == MT_BF16 ? mt_half_from_bf16(h) : mt_half_from_fp16(h);
}

static uint16_t to(enum mt_dtype type, float x)
{
    return type == MT_BF16 ? mt_half_to_bf16(x) : mt_half_to_fp16(x);
}

/* Sums begin with +0: no product is -0 behind one. */
static int same(float got, float want)
{
    return isnan(want) ? isnan(got) : got == want;
}

static void conversions(enum mt_dtype type, int turned)
{
    static const float factor[] = {1.0f, 0.5f, 3.0f, 0x1p-10f, 0x1p-14f, 1.0009765625f, -1.5f,
                                   1.25f};
    struct mt_tensor x = {.buf = buf[0]}, y = {.buf = buf[1]};
    struct mt_tensor z = {.buf = buf[2]}, zh = {.buf = buf[3]};

    for (int i = 0; i < ALL; i++) {
        a[i] = (uint16_t)i;
    }
    for (int j = 0; j < N; j++) {
        b[j] = to(type, factor[j % 8] * (float)(1 << j / 8));
    }
    assert_int_equal(mt_buf_write(buf[0], 0, sizeof a, a), MOTLEY_OK);
    assert_int_equal(mt_buf_write(buf[1], 0, sizeof b, b), MOTLEY_OK);
    for (int narrow = 0; narrow < 2; narrow++) {
        struct mt_gemm g = {.trans_a = turned, .m = ALL, .n = N, .k = 1, .alpha = 1.0f, .in = type,
                            .out = narrow ? type : MT_F32};
        struct mt_gemm_plan *plan = NULL;

        assert_int_equal(mt_gemm_plan_make(dev, &g, &mt_gemm_narrow,
                                           turned ? "flip=1,panels=4" : "flip=0,panels=4", &plan),
                         MOTLEY_OK);
        assert_int_equal(mt_gemm_run(plan, 0, &x, &y, 0.0f, narrow ? &zh : &z, NULL, NULL),
                         MOTLEY_OK);
        mt_gemm_plan_free(plan);
    }
    assert_int_equal(mt_buf_read(buf[2], 0, sizeof wide, wide), MOTLEY_OK);
    assert_int_equal(mt_buf_read(buf[3], 0, sizeof half, half), MOTLEY_OK);
    for (int i = 0; i < ALL * N; i++) {
        float want = from(type, a[i / N]) * from(type, b[i % N]);

        if (!same(wide[i], want) || !same(from(type, half[i]), from(type, to(type, want)))) {
            fail_msg("%s %d: %a times %a is %a and %a, must be %a", mt_dtype_name(type), turned,
                     (double)from(type, a[i / N]), (double)from(type, b[i % N]), (double)wide[i],
                     (double)from(type, half[i]), (double)want);
        }
    }
}

static void every_number(void **state)
{
    (void)state;
    if (mt_dev_info(dev)->type != MT_DEV_CPU || mt_gemm_vector(dev) == 0) {
        printf("SKIP tiles: no provider with tiles on this device\n");
        skip();
    }
    for (int i = 0; i < 4; i++) {
        static const uint64_t bytes[] = {sizeof a, sizeof b, sizeof wide, sizeof half};

        assert_int_equal(mt_buf_new(dev, bytes[i], "test", &buf[i]), MOTLEY_OK);
    }
    for (int way = 0; way < 4; way++) {
        conversions(way & 1 ? MT_FP16 : MT_BF16, way >> 1);
    }
    for (int i = 0; i < 4; i++) {
        mt_buf_free(buf[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_number)};
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
