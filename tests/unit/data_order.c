/* data_order.c -- proves: the order of an epoch is a permutation that depends on seed and
 * epoch alone and looks random; the validation split is disjoint, complete, as large as asked
 * for, and the same each time; common keys of the data section are checked with place and
 * remedy. */
#define _POSIX_C_SOURCE 200809L
#include "datakit.h"

static const int64_t sizes[] = {1, 2, 3, 5, 16, 17, 1000, 4097};

static void each_once(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        for (int64_t epoch = 0; epoch < 4; epoch++) {
            int64_t n = sizes[k];
            char *seen = calloc((size_t)n, 1);

            assert_non_null(seen);
            for (int64_t p = 0; p < n; p++) {
                int64_t i = mt_data_order(7, epoch, p, n, 1);

                assert_in_range(i, 0, n - 1);
                assert_int_equal(seen[i], 0);
                seen[i] = 1;
            }
            free(seen);
        }
    }
}

static void unshuffled(void **state)
{
    (void)state;
    for (int64_t p = 0; p < 100; p++) {
        assert_int_equal(mt_data_order(7, 3, p, 100, 0), p);
    }
}

/* How many of 1000 places hold the same sample in two orders; by chance 1 on average. */
static int agreement(uint64_t seed_a, int64_t epoch_a, uint64_t seed_b, int64_t epoch_b)
{
    int same = 0;

    for (int64_t p = 0; p < 1000; p++) {
        same += mt_data_order(seed_a, epoch_a, p, 1000, 1) ==
                mt_data_order(seed_b, epoch_b, p, 1000, 1);
    }
    return same;
}

static void depends_on_seed_and_epoch(void **state)
{
    (void)state;
    assert_int_equal(agreement(7, 3, 7, 3), 1000);
    assert_in_range(agreement(7, 3, 7, 4), 0, 8);
    assert_in_range(agreement(7, 3, 8, 3), 0, 8);
    assert_in_range(agreement(7, 3, 3, 7), 0, 8);
}

/* Sample 0 of 64 over 6400 epochs: each place 100 times on average. Chi-square of 63 degrees of
 * freedom is below 120 with probability 1 - 2e-5; the seed is fixed, so the outcome is too. */
static void evenly_spread(void **state)
{
    double chi = 0;
    int hits[64] = {0};

    (void)state;
    for (int64_t epoch = 0; epoch < 6400; epoch++) {
        hits[mt_data_order(11, epoch, 0, 64, 1)]++;
    }
    for (int i = 0; i < 64; i++) {
        chi += (hits[i] - 100.0) * (hits[i] - 100.0) / 100.0;
    }
    assert_true(chi < 120);
    assert_true(chi > 25);
}

/* Samples are told apart by the hash of their pixels. */
static void hash_of(const struct mt_set *s, int64_t i, char text[MT_HASH_TEXT])
{
    float x[64];
    int32_t y = -1;

    assert_int_equal(s->sample.x_size, 64);
    assert_int_equal(s->fetch(s, i, x, &y), 0);
    assert_in_range(y, 0, 9);
    mt_hash_block(x, sizeof x, text);
}

static void split_with(const char *validation, int64_t want)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *whole, *d, *again;
    int seen[200] = {0};

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    whole = kit_must(ctx, KIT_PAIRS("format", "digits", "n", "200", "held", "0", "size", "8"));
    d = kit_must(ctx, KIT_PAIRS("format", "digits", "n", "200", "held", "0", "size", "8",
                                "validation", validation));
    again = kit_must(ctx, KIT_PAIRS("format", "digits", "n", "200", "held", "0", "size", "8",
                                    "validation", validation));
    assert_null(whole->held);
    assert_int_equal(d->held->n, want);
    assert_int_equal(d->train->n, 200 - want);
    assert_string_equal(d->digest, again->digest);
    assert_string_not_equal(d->digest, whole->digest);
    for (int64_t i = 0; i < 200; i++) {
        int64_t of_train = i < d->train->n;
        const struct mt_set *part = of_train ? d->train : d->held;
        const struct mt_set *part2 = of_train ? again->train : again->held;
        char a[MT_HASH_TEXT], b[MT_HASH_TEXT];
        int found = 0;

        hash_of(part, of_train ? i : i - d->train->n, a);
        hash_of(part2, of_train ? i : i - d->train->n, b);
        assert_string_equal(a, b);
        for (int64_t k = 0; k < 200; k++) {
            hash_of(whole->train, k, b);
            if (strcmp(a, b) == 0) {
                assert_int_equal(seen[k], 0);
                seen[k] = 1;
                found++;
            }
        }
        assert_int_equal(found, 1);
    }
    mt_data_close(whole);
    mt_data_close(d);
    mt_data_close(again);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void split(void **state)
{
    (void)state;
    split_with("0.25", 50);
    split_with("17", 17);
    split_with("0.0249", 5);
    split_with("199", 199);
}

static void split_follows_seed(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *a = NULL, *b = NULL;
    const char *const *pairs = KIT_PAIRS("format", "digits", "n", "200", "held", "0", "size", "8",
                                         "validation", "0.5");

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    assert_int_equal(kit_open(ctx, pairs, 1, &a), 0);
    assert_int_equal(kit_open(ctx, pairs, 2, &b), 0);
    assert_string_not_equal(a->digest, b->digest);
    mt_data_close(a);
    mt_data_close(b);
    mt_ctx_free(ctx);
}

static void shuffle_key(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "digits"));
    assert_int_equal(d->shuffle, 1);
    mt_data_close(d);
    d = kit_must(ctx, KIT_PAIRS("format", "digits", "shuffle", "false"));
    assert_int_equal(d->shuffle, 0);
    mt_data_close(d);
    mt_ctx_free(ctx);
}

static void messages(void **state)
{
    (void)state;
    kit_refused(KIT_PAIRS("path", "x"), MOTLEY_ECONFIG,
                "t.yaml:2:1: data needs 'format', the name of a reader");
    kit_refused(KIT_PAIRS("format", "digit"), MOTLEY_ECONFIG,
                KIT_AT "unknown data format 'digit'; did you mean 'digits'?");
    kit_refused(KIT_PAIRS("format", "digits", "validation", "0.1"), MOTLEY_ECONFIG,
                KIT_AT "validation: this source has a held-out set of its own (4000 samples); "
                       "remove the key");
    kit_refused(KIT_PAIRS("format", "digits", "n", "10", "held", "0", "validation", "10"),
                MOTLEY_ECONFIG, KIT_AT "validation 10 of 10 samples leaves nothing to train on");
    kit_refused(KIT_PAIRS("format", "digits", "n", "10", "held", "0", "validation", "0.01"),
                MOTLEY_ECONFIG,
                KIT_AT "validation 0.01 of 10 samples leaves nothing to hold out");
    kit_refused(KIT_PAIRS("format", "digits", "n", "10", "held", "0", "validation", "2.5"),
                MOTLEY_ECONFIG,
                KIT_AT "validation is 2.5: give a part below 1 or a whole number of samples");
}

static void no_section(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    assert_int_equal(mt_data_open(ctx, NULL, 1, &d), MOTLEY_ECONFIG);
    assert_string_equal(mt_err_text(), "section 'data' is missing");
    mt_data_close(NULL);
    mt_set_free(NULL);
    mt_ctx_free(ctx);
}

/* docs/data.md names every reader in its list of formats and every key between quotes. */
static void documented(void **state)
{
    const char *top = getenv("top_srcdir");
    struct mt_ctx *ctx = NULL;
    char path[1024], word[128], *doc = NULL;
    size_t bytes;

    (void)state;
    if (top == NULL) {
        print_message("top_srcdir is not set: not run\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/docs/data.md", top);
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    assert_int_equal(mt_file_read(ctx, path, &doc, &bytes), 0);
    for (int r = 0; mt_readers[r] != NULL; r++) {
        const struct mt_attr *a = mt_readers[r]->attrs;
        const char *list = strstr(doc, "| `format` | ");
        const char *found;

        assert_non_null(list);
        found = strstr(list, mt_readers[r]->name);
        assert_true(found != NULL && found < strchr(list, '\n'));
        assert_non_null(mt_readers[r]->doc);
        assert_true(mt_attr_count(a) < MT_MAXATTR);
        for (int k = 0; k < mt_attr_count(a); k++) {
            snprintf(word, sizeof word, "`%s`", a[k].name);
            if (strstr(doc, word) == NULL) {
                fail_msg("%s: %s of %s is missing", path, word, mt_readers[r]->name);
            }
            assert_non_null(a[k].doc);
        }
    }
    for (int k = 0; k < mt_attr_count(mt_data_common); k++) {
        snprintf(word, sizeof word, "| `%s` |", mt_data_common[k].name);
        assert_non_null(strstr(doc, word));
    }
    mt_free(ctx, doc);
    mt_ctx_free(ctx);
}

static void starved(void **state)
{
    (void)state;
    kit_starve(KIT_PAIRS("format", "digits", "n", "40", "held", "0", "size", "8", "validation",
                         "0.5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once),          cmocka_unit_test(unshuffled),
        cmocka_unit_test(evenly_spread),      cmocka_unit_test(depends_on_seed_and_epoch),
        cmocka_unit_test(split),              cmocka_unit_test(split_follows_seed),
        cmocka_unit_test(shuffle_key),        cmocka_unit_test(messages),
        cmocka_unit_test(no_section),         cmocka_unit_test(documented),
        cmocka_unit_test(starved),
    };

    return cmocka_run_group_tests_name("data_order", tests, kit_setup, kit_teardown);
}
