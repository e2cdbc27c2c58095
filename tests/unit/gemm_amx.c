/* gemm_amx.c -- products by tdpbf16ps (provider `amx`): the instruction as the manual has it keeps
 * its bound, against sums in double; OpenCL C in its place, and the kernel's own machine code, give
 * the bits that the instruction in plain C gives on operands as they lie, whatever is packed how;
 * both pass the check of every provider in all its variety. On a processor with these instructions
 * it is they that run; elsewhere on Linux and x86-64 amxkit.h does what they do. The library
 * says that they are there only where the processor says so. Most of the time compiles kernels.
 * Time: 600 */
#include "tests/unit/amxkit.h"

#include "base/half.h"
#include "device/buf.h"
#include "device/gemm_impl.h"
#include "tests/unit/devkit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t seed = 1;

static uint32_t draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

/* A bf16 of either sign; its exponent lies within `spread` of that of `around`. */
static uint16_t number(int around, int spread)
{
    uint32_t sign = draw() & 1u, mantissa = draw() & 0x7fu;
    uint32_t exponent = (uint32_t)(127 + around - spread) + draw() % (2u * (uint32_t)spread + 1u);

    return (uint16_t)(sign << 15 | exponent << 7 | mantissa);
}

/* A chain of products of registers is a sum of `terms` products, of which every one passes at most
 * 16 roundings of its chain, one where even and odd meet, and one for each product of registers:
 * gamma of 17 + terms / 32, times the sum of the sizes. */
static void bound(void **state)
{
    enum { LONGEST = 8 };
    static struct amxkit_tile a[LONGEST], b[LONGEST], c;

    (void)state;
    for (int round = 0; round < 20; round++) {
        int n = round % LONGEST + 1;
        double nu = (17.0 + n) * 0x1p-24, gamma = nu / (1.0 - nu);

        memset(&c, 0, sizeof c);
        c.rows = 16;
        c.bytes = 64;
        for (int t = 0; t < n; t++) {
            a[t].rows = b[t].rows = 16;
            a[t].bytes = b[t].bytes = 64;
            for (int i = 0; i < 16 * 32; i++) {
                a[t].row[i / 32].half[i % 32] = number(0, round);
                b[t].row[i / 32].half[i % 32] = number(0, round);
            }
            amxkit_tdpbf16ps(&c, &a[t], &b[t]);
        }
        for (int i = 0; i < 256; i++) {
            double sum = 0.0, size = 0.0;

            for (int l = 0; l < 32 * n; l++) {
                double x = mt_half_from_bf16(a[l / 32].row[i / 16].half[l % 32]);
                double y = mt_half_from_bf16(b[l / 32].row[l % 32 / 2].half[i % 16 * 2 + l % 2]);

                sum += x * y;
                size += fabs(x * y);
            }
            assert_true(fabs((double)c.row[i / 16].word[i % 16] - sum) <= gamma * size);
        }
    }
}

/* ---- on the device ----------------------------------------------------------------------- */

static const char *const ways[] = {"model=1", ""};

/* Whether that form can run here; says why not. */
static int can(const char *form)
{
    if (mt_dev_info(dev)->type != MT_DEV_CPU || mt_gemm_vector(dev) == 0) {
        printf("SKIP tiles: no provider with tiles on this device\n");
        return 0;
    }
    if (*form == '\0' && !(mt_dev_info(dev)->native_kernels && amxkit_open())) {
        printf("SKIP amx: this device does not run the instructions of this processor\n");
        return 0;
    }
    return 1;
}

enum { M = 50, N = 45, K = 150 };

/* Row i, column j of op(X), rows x cols, as it lies. */
static int64_t place(int trans, int i, int j, int rows, int cols)
{
    return trans ? (int64_t)j * rows + i : (int64_t)i * cols + j;
}

static void by_hand(const uint16_t *a, const uint16_t *b, int trans_a, int trans_b, float *c)
{
    for (int i0 = 0; i0 < M; i0 += 16) {
        for (int j0 = 0; j0 < N; j0 += 16) {
            struct amxkit_tile r = {.rows = 16, .bytes = 64}, s = r, x = r;

            for (int l0 = 0; l0 < K; l0 += 32) {
                memset(r.row, 0, sizeof r.row);
                memset(s.row, 0, sizeof s.row);
                for (int l = l0; l < l0 + 32 && l < K; l++) {
                    for (int i = i0; i < i0 + 16 && i < M; i++) {
                        r.row[i - i0].half[l - l0] = a[place(trans_a, i, l, M, K)];
                    }
                    for (int j = j0; j < j0 + 16 && j < N; j++) {
                        s.row[(l - l0) / 2].half[(j - j0) * 2 + l % 2] =
                            b[place(trans_b, l, j, K, N)];
                    }
                }
                amxkit_tdpbf16ps(&x, &r, &s);
            }
            for (int i = i0; i < i0 + 16 && i < M; i++) {
                for (int j = j0; j < j0 + 16 && j < N; j++) {
                    c[i * N + j] = x.row[i - i0].word[j - j0];
                }
            }
        }
    }
}

/* n numbers so far apart that the order of a sum shows: a third around 1, a third whose products
 * are too small for the instruction, a third that are so themselves. */
static void far_apart(uint16_t *x, int n)
{
    for (int i = 0; i < n; i++) {
        x[i] = i < n / 3 ? number(0, 12) : i < n / 3 * 2 ? number(-64, 4)
                                                          : (uint16_t)(draw() % 0x80u);
    }
}

static void same_bits(void **state)
{
    static uint16_t a[M * K], b[K * N];
    static float want[M * N], got[M * N];
    struct mt_buf *buf[3] = {NULL};
    int differ = 0, run = 0;

    (void)state;
    far_apart(a, M * K);
    far_apart(b, K * N);
    assert_int_equal(mt_buf_new(dev, sizeof a, "test", &buf[0]), MOTLEY_OK);
    assert_int_equal(mt_buf_new(dev, sizeof b, "test", &buf[1]), MOTLEY_OK);
    assert_int_equal(mt_buf_new(dev, sizeof got, "test", &buf[2]), MOTLEY_OK);
    assert_int_equal(mt_buf_write(buf[0], 0, sizeof a, a), MOTLEY_OK);
    assert_int_equal(mt_buf_write(buf[1], 0, sizeof b, b), MOTLEY_OK);
    for (int way = 0; way < 16; way++) {
        struct mt_gemm g = {.trans_a = way & 1, .trans_b = way >> 1 & 1, .m = M, .n = N, .k = K,
                            .alpha = 1.0f, .in = MT_BF16};
        struct mt_tensor x = {.buf = buf[0]}, y = {.buf = buf[1]};
        struct mt_tensor z = {.spec = mt_spec_new(MT_F32, 0, 1, &(int64_t){M * N}), .buf = buf[2]};
        const char *form = ways[way >> 3];
        struct mt_gemm_plan *plan = NULL;
        char full[64];
        int st;

        if (!can(form)) {
            continue;
        }
        for (int flip = 0; flip < 2; flip++) {
            snprintf(full, sizeof full, "%s%sflip=%d,panels=12", form, *form != '\0' ? "," : "",
                     flip);
            st = mt_gemm_plan_make(dev, &g, &mt_gemm_amx, full, &plan);
            if (st == MOTLEY_EUNSUP && *form == '\0') {
                printf("SKIP amx: this compiler does not know the instructions\n");
                continue;
            }
            assert_int_equal(st, MOTLEY_OK);
            assert_int_equal(mt_gemm_run(plan, 0, &x, &y, 0.0f, &z, NULL, NULL), MOTLEY_OK);
            assert_int_equal(mt_buf_read(buf[2], 0, sizeof got, got), MOTLEY_OK);
            mt_gemm_plan_free(plan);
            by_hand(a, b, g.trans_a, g.trans_b, want);
            assert_memory_equal(got, want, sizeof want);
            for (int i = 0; i < M * N; i++) {   /* bits of another sum would show */
                double sum = 0.0;

                for (int l = 0; l < K; l++) {
                    sum += (double)mt_half_from_bf16(a[place(g.trans_a, i / N, l, M, K)]) *
                           (double)mt_half_from_bf16(b[place(g.trans_b, l, i % N, K, N)]);
                }
                differ += (float)sum != want[i];
            }
            run++;
        }
    }
    for (int i = 0; i < 3; i++) {
        mt_buf_free(buf[i]);
    }
    if (run == 0) {
        skip();
    }
    assert_true(differ > 0);
#if AMXKIT
    printf("amx: %s\n", amxkit_done ? "done by amxkit.h" : mt_cpu_amx() ? "done by the processor"
                                                                        : "not run");
#endif
}

/* The check of every provider, against double: random numbers and integers. */
static void every_kind(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 1},     {1, 33, 7},    {33, 1, 64},  {16, 10, 40},
                                       {37, 29, 43},  {32, 32, 32},  {24, 65, 257}, {65, 17, 300},
                                       {48, 96, 530}, {100, 130, 90}, {17, 31, 1100}};
    static const enum mt_gemm_act acts[] = {MT_GEMM_NOACT, MT_GEMM_RELU, MT_GEMM_LEAKY_RELU,
                                            MT_GEMM_SIGMOID, MT_GEMM_TANH};
    int run = 0, count = 0;

    (void)state;
    for (int w = 0; w < 2 && can(ways[w]); w++) {
        for (int i = 0; i < 11; i++) {
            for (int trans = 0; trans < 4; trans++, count++) {
                int ends = count % 2, wide = !ends || count % 3 == 0;
                struct mt_gemm g = {.trans_a = trans & 1, .trans_b = trans >> 1, .m = sizes[i][0],
                                    .n = sizes[i][1], .k = sizes[i][2],
                                    .batch = count % 5 == 0 ? 2 : 1, .in = MT_BF16,
                                    .out = ends ? MT_BF16 : MT_F32, .has_bias = ends,
                                    .act = ends ? acts[count / 2 % 5] : MT_GEMM_NOACT,
                                    .slope = 0.25f, .alpha = wide ? 1.0f : -0.5f,
                                    .after = ends && count % 7 == 0 ? MT_GEMM_RESIDUAL : 0u,
                                    .ldc = count % 4 == 0 ? sizes[i][1] + 3 : 0,
                                    .varies = count % 3 == 0 ? 'm' : 0};
                char form[64], why[512] = "";
                int good = 0, st;

                snprintf(form, sizeof form, "%s%sflip=%d,panels=12", ways[w],
                         w == 0 ? "," : "", count % 2);
                st = mt_gemm_check(dev, &g, &mt_gemm_amx, form, &good, why, sizeof why);
                if (st == MOTLEY_EUNSUP && w == 1) {
                    printf("SKIP amx: this compiler does not know the instructions\n");
                    continue;
                }
                assert_int_equal(st, MOTLEY_OK);
                if (!good) {
                    fail_msg("amx %s, %d%d: %s", form, g.trans_a, g.trans_b, why);
                }
                run++;
            }
        }
    }
    if (run == 0) {
        skip();
    }
}

/* What an earlier product left behind the last term is not added, though it is no number. */
static void nothing_left_over(void **state)
{
    enum { SIDE = 64, LESS = SIDE - 8, SHORT = 37 };
    static uint16_t ones[SIDE * SIDE], nans[SIDE * SIDE];
    static float got[8 * SIDE * SIDE];
    /* The same matrices in every product of the batch, but for a shift among equal numbers. */
    struct mt_gemm g = {.m = LESS, .n = LESS, .k = LESS, .batch = 8, .alpha = 1.0f, .in = MT_BF16,
                        .varies = 'k', .lda = SIDE, .ldb = SIDE, .stride_a = 1, .stride_b = 1};
    struct mt_buf *buf[3] = {NULL};
    int run = 0;

    (void)state;
    for (int i = 0; i < SIDE * SIDE; i++) {
        ones[i] = mt_half_to_bf16(1.0f);
        nans[i] = mt_half_to_bf16(NAN);
    }
    assert_int_equal(mt_buf_new(dev, sizeof nans, "test", &buf[0]), MOTLEY_OK);
    assert_int_equal(mt_buf_new(dev, sizeof ones, "test", &buf[1]), MOTLEY_OK);
    assert_int_equal(mt_buf_new(dev, sizeof got, "test", &buf[2]), MOTLEY_OK);
    assert_int_equal(mt_buf_write(buf[0], 0, sizeof nans, nans), MOTLEY_OK);
    assert_int_equal(mt_buf_write(buf[1], 0, sizeof ones, ones), MOTLEY_OK);
    for (int w = 0; w < 2 && can(ways[w]); w++) {
        for (int side = 0; side < 2; side++) {
            struct mt_tensor bad = {.buf = buf[0]}, good = {.buf = buf[1]};
            struct mt_tensor z = {.spec = mt_spec_new(MT_F32, 0, 1, &(int64_t){8 * SIDE * SIDE}),
                                  .buf = buf[2]};
            struct mt_gemm_plan *plan = NULL;
            int st;

            st = mt_gemm_plan_make(dev, &g, &mt_gemm_amx, ways[w], &plan);
            if (st == MOTLEY_EUNSUP && w == 1) {
                printf("SKIP amx: this compiler does not know the instructions\n");
                continue;
            }
            assert_int_equal(st, MOTLEY_OK);
            assert_int_equal(mt_gemm_run(plan, LESS, side == 0 ? &bad : &good,
                                         side == 0 ? &good : &bad, 0.0f, &z, NULL, NULL),
                             MOTLEY_OK);
            assert_int_equal(mt_gemm_run(plan, SHORT, &good, &good, 0.0f, &z, NULL, NULL),
                             MOTLEY_OK);
            assert_int_equal(mt_buf_read(buf[2], 0, sizeof got, got), MOTLEY_OK);
            mt_gemm_plan_free(plan);
            for (int i = 0; i < 8 * LESS * LESS; i++) {
                assert_true(got[i] == (float)SHORT);
            }
            run++;
        }
    }
    for (int i = 0; i < 3; i++) {
        mt_buf_free(buf[i]);
    }
    if (run == 0) {
        skip();
    }
}

/* It asks the operating system each time: the answer stays. */
static void only_where_they_are(void **state)
{
    static char text[1 << 16];
    FILE *f = fopen("/proc/cpuinfo", "r");
    int there = 0;

    (void)state;
    if (f != NULL) {
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        (void)fclose(f);
        there = strstr(text, " amx_tile") != NULL && strstr(text, " amx_bf16") != NULL;
    }
    assert_int_equal(mt_cpu_amx(), mt_cpu_amx());
    assert_true(there || !mt_cpu_amx());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bound),
                                       cmocka_unit_test(only_where_they_are),
                                       cmocka_unit_test(same_bits),
                                       cmocka_unit_test(nothing_left_over),
                                       cmocka_unit_test(every_kind)};
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
