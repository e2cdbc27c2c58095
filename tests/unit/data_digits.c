/* data_digits.c -- proves: the generated digits are the same bits everywhere (digests written
 * down here), on every call, and for any number of samples; classes are balanced; pixels are
 * in range; normalisation is the stated formula; sizes at the ends of the range stay in memory
 * (under the sanitizer). */
#define _POSIX_C_SOURCE 200809L
#include "datakit.h"

#define PIXELS (28 * 28)

static void golden(void **state)
{
    static const struct {
        const char *seed, *digest;
    } known[] = {{"1", "d2f69b60a2b74553ac796f52e0fd0fa8"},
                 {"2", "6aea2260c900298384dbf969af2cbcf1"}};
    struct mt_ctx *ctx = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    for (int k = 0; k < 2; k++) {
        struct mt_data *d = kit_must(ctx, KIT_PAIRS("format", "digits", "seed", known[k].seed));
        struct mt_hash *h = NULL;
        char text[MT_HASH_TEXT];

        assert_int_equal(mt_hash_new(ctx, &h), 0);
        for (int64_t i = 0; i < 100; i++) {
            float x[PIXELS];
            unsigned char byte[PIXELS + 1];
            int32_t y;

            assert_int_equal(d->train->fetch(d->train, i * 199, x, &y), 0);
            for (int j = 0; j < PIXELS; j++) {
                byte[j] = (unsigned char)(x[j] * 255 + 0.5f);
            }
            byte[PIXELS] = (unsigned char)y;
            mt_hash_add(h, byte, sizeof byte);
        }
        mt_hash_text(h, text);
        assert_string_equal(text, known[k].digest);
        mt_hash_free(h);
        mt_data_close(d);
    }
    mt_ctx_free(ctx);
}

static void same_for_any_n(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *few, *many;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    few = kit_must(ctx, KIT_PAIRS("format", "digits", "n", "50", "held", "20"));
    many = kit_must(ctx, KIT_PAIRS("format", "digits", "n", "5000", "held", "200"));
    assert_string_not_equal(few->digest, many->digest);
    for (int64_t i = 0; i < 70; i++) {
        float a[PIXELS], b[PIXELS];
        int32_t ya, yb;
        const struct mt_set *s = i < 50 ? few->train : few->held;
        const struct mt_set *t = i < 50 ? many->train : many->held;
        int64_t k = i < 50 ? i : i - 50;

        assert_int_equal(s->fetch(s, k, a, &ya), 0);
        assert_int_equal(t->fetch(t, k, b, &yb), 0);
        assert_memory_equal(a, b, sizeof a);
        assert_int_equal(ya, yb);
    }
    mt_data_close(few);
    mt_data_close(many);
    mt_ctx_free(ctx);
}

/* Training and held-out samples, and those of another seed, differ from each other. */
static void parts_differ(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d, *other;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "digits"));
    other = kit_must(ctx, KIT_PAIRS("format", "digits", "seed", "2"));
    for (int64_t i = 0; i < 30; i++) {
        float a[PIXELS], b[PIXELS], c[PIXELS];
        int32_t y;

        d->train->fetch(d->train, i, a, &y);
        d->held->fetch(d->held, i, b, &y);
        other->train->fetch(other->train, i, c, &y);
        assert_memory_not_equal(a, b, sizeof a);
        assert_memory_not_equal(a, c, sizeof a);
    }
    mt_data_close(d);
    mt_data_close(other);
    mt_ctx_free(ctx);
}

static void shape_and_range(void **state)
{
    static const char *const size[] = {"8", "20", "28", "64"};
    struct mt_ctx *ctx = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    for (int k = 0; k < 4; k++) {
        struct mt_data *d = kit_must(ctx, KIT_PAIRS("format", "digits", "size", size[k], "jitter",
                                                    "2", "noise", "1", "clutter", "1"));
        int count[10] = {0}, w = atoi(size[k]);
        float *x = calloc((size_t)(w * w), sizeof *x);

        assert_int_equal(d->train->sample.x_rank, 3);
        assert_int_equal(d->train->sample.x_dim[0], 1);
        assert_int_equal(d->train->sample.x_dim[1], w);
        assert_int_equal(d->train->sample.x_dim[2], w);
        assert_int_equal(d->train->sample.x_size, w * w);
        assert_int_equal(d->train->sample.classes, 10);
        for (int64_t i = 0; i < 300; i++) {
            int32_t y = -1;

            assert_int_equal(d->train->fetch(d->train, i, x, &y), 0);
            assert_in_range(y, 0, 9);
            count[y]++;
            for (int j = 0; j < w * w; j++) {
                assert_true(x[j] >= 0 && x[j] <= 1);
            }
        }
        for (int c = 0; c < 10; c++) {
            assert_int_equal(count[c], 30);
        }
        free(x);
        mt_data_close(d);
    }
    mt_ctx_free(ctx);
}

static void normalised(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *raw, *d;
    float a[PIXELS], b[PIXELS];
    int32_t y;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    raw = kit_must(ctx, KIT_PAIRS("format", "digits"));
    d = kit_must(ctx, KIT_PAIRS("format", "digits", "mean", "0.2", "std", "0.5"));
    raw->train->fetch(raw->train, 5, a, &y);
    d->train->fetch(d->train, 5, b, &y);
    assert_int_equal(d->train->nscale, 1);
    for (int j = 0; j < PIXELS; j++) {
        double byte = (double)(int)(a[j] * 255 + 0.5f);
        double want = (byte / 255 - 0.2) / 0.5;
        double said = byte * d->train->mul[0] + d->train->add[0];

        assert_true(b[j] - want < 1e-6 && want - b[j] < 1e-6);
        assert_true(b[j] - said < 1e-6 && said - b[j] < 1e-6);
    }
    mt_data_close(raw);
    mt_data_close(d);
    mt_ctx_free(ctx);
}

/* Without noise and clutter every image has ink, and most of it is background. */
static void looks_like_a_drawing(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "digits", "noise", "0", "clutter", "0"));
    for (int64_t i = 0; i < 1000; i++) {
        float x[PIXELS];
        int32_t y;
        int dark = 0;

        d->train->fetch(d->train, i, x, &y);
        for (int j = 0; j < PIXELS; j++) {
            dark += x[j] > 0.4f;
        }
        assert_in_range(dark, 8, PIXELS / 2);
    }
    mt_data_close(d);
    mt_ctx_free(ctx);
}

static void messages(void **state)
{
    (void)state;
    kit_refused(KIT_PAIRS("format", "digits", "size", "7"), MOTLEY_ECONFIG,
                KIT_AT "'size' of data format digits must be an integer, 8 to 64, not '7'");
    kit_refused(KIT_PAIRS("format", "digits", "nosie", "0"), MOTLEY_ECONFIG,
                "t.yaml: unknown key 'nosie' in data format digits; did you mean 'noise'?");
}

static void starved(void **state)
{
    (void)state;
    kit_starve(KIT_PAIRS("format", "digits", "n", "4", "held", "3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),          cmocka_unit_test(same_for_any_n),
        cmocka_unit_test(parts_differ),    cmocka_unit_test(shape_and_range),
        cmocka_unit_test(normalised),      cmocka_unit_test(looks_like_a_drawing),
        cmocka_unit_test(messages),        cmocka_unit_test(starved),
    };

    return cmocka_run_group_tests_name("data_digits", tests, kit_setup, kit_teardown);
}
