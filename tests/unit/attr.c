/* attr.c -- values are read and refused as the table says, printed so that they read back, and the
 * nearest word is the one a person means; numbers are the same in every locale, and some
 * have a middle. */
#include "base/attr.h"
#include "base/ctx.h"
#include "base/num.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct mt_attr attrs[] = {
    {"size", MT_ATTR_INT, .min = 1, .required = 1, .doc = "outputs"},
    {"lr", MT_ATTR_NUM, .def.f = 1e-3, .min = 0, .max = INFINITY},
    {"bias", MT_ATTR_BOOL, .def.b = 1},
    {"form", MT_ATTR_WORD, .words = "exact tanh", .def.w = 1},
    {"path", MT_ATTR_TEXT, .def.s = NULL},
    {"p", MT_ATTR_NUM, .def.f = 0.5, .min = 0, .max = 1},
    {"any", MT_ATTR_INT, .def.i = -7},
    {0}};

static void table_is_counted_and_searched(void **state)
{
    union mt_attr_val val[MT_MAXATTR];

    (void)state;
    assert_int_equal(mt_attr_count(attrs), 7);
    assert_int_equal(mt_attr_count(NULL), 0);
    assert_int_equal(mt_attr_find(attrs, "bias"), 2);
    assert_int_equal(mt_attr_find(attrs, "bia"), -1);
    mt_attr_defaults(attrs, val);
    assert_int_equal(val[0].i, 0);
    assert_true(val[1].f == 1e-3);
    assert_int_equal(val[2].b, 1);
    assert_int_equal(val[3].w, 1);
    assert_null(val[4].s);
    assert_int_equal(val[6].i, -7);
}

static void good_values_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } ints[] = {{"1", 1}, {"512", 512}, {"1e4", 10000}, {"2.5e3", 2500}, {"0x10", 16},
                {"+3", 3}, {"010", 10}, {"9223372036854775807", INT64_MAX}};
    static const struct {
        const char *text;
        double value;
    } nums[] = {{"1e-3", 0.001}, {"3", 3}, {".5", 0.5}, {"1.", 1}, {"1E+2", 100}, {"0", 0}};
    static const char *const yes[] = {"true", "yes", "on", "True", "ON"},
                      *const no[] = {"false", "no", "off", "False", "NO"};
    union mt_attr_val val;

    (void)state;
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        assert_int_equal(mt_attr_parse(&attrs[0], ints[i].text, &val), MOTLEY_OK);
        assert_true(val.i == ints[i].value);
    }
    for (size_t i = 0; i < sizeof nums / sizeof *nums; i++) {
        assert_int_equal(mt_attr_parse(&attrs[1], nums[i].text, &val), MOTLEY_OK);
        assert_true(val.f == nums[i].value);
    }
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_int_equal(mt_attr_parse(&attrs[2], yes[i], &val), MOTLEY_OK);
        assert_int_equal(val.b, 1);
        assert_int_equal(mt_attr_parse(&attrs[2], no[i], &val), MOTLEY_OK);
        assert_int_equal(val.b, 0);
    }
    assert_int_equal(mt_attr_parse(&attrs[3], "exact", &val), MOTLEY_OK);
    assert_int_equal(val.w, 0);
    assert_int_equal(mt_attr_parse(&attrs[4], "any text: yes", &val), MOTLEY_OK);
    assert_string_equal(val.s, "any text: yes");
    assert_int_equal(mt_attr_parse(&attrs[6], "-9223372036854775808", &val), MOTLEY_OK);
    assert_true(val.i == INT64_MIN);
}

static void bad_values_are_refused_with_these_words(void **state)
{
    static const struct {
        int attr;
        const char *text, *message;
    } bad[] = {
        {0, "0", "must be an integer, 1 or more, not '0'"},
        {0, "1.5", "must be an integer, 1 or more, not '1.5'"},
        {0, "", "must be an integer, 1 or more, not ''"},
        {0, " 5", "must be an integer, 1 or more, not ' 5'"},
        {0, "5 ", "must be an integer, 1 or more, not '5 '"},
        {0, "5x", "must be an integer, 1 or more, not '5x'"},
        {0, "0x", "must be an integer, 1 or more, not '0x'"},
        {0, "1e30", "must be an integer, 1 or more, not '1e30'"},
        {0, "9223372036854775808", "must be an integer, 1 or more, not '9223372036854775808'"},
        {1, "-1e-9", "must be a number, 0 or more, not '-1e-9'"},
        {1, "nan", "must be a number, 0 or more, not 'nan'"},
        {1, "inf", "must be a number, 0 or more, not 'inf'"},
        {1, "1e999", "must be a number, 0 or more, not '1e999'"},
        {1, "1,5", "must be a number, 0 or more, not '1,5'"},
        {1, "e5", "must be a number, 0 or more, not 'e5'"},
        {1, "0x1p3", "must be a number, 0 or more, not '0x1p3'"},
        {5, "1.1", "must be a number, 0 to 1, not '1.1'"},
        {6, "many", "must be an integer, not 'many'"},
        {2, "maybe", "must be true or false, not 'maybe'"},
        {2, "1", "must be true or false, not '1'"},
        {2, "", "must be true or false, not ''"},
        {3, "exat", "must be one of exact, tanh, not 'exat'; did you mean 'exact'?"},
        {3, "linear", "must be one of exact, tanh, not 'linear'"},
        {3, "exact tanh", "must be one of exact, tanh, not 'exact tanh'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        union mt_attr_val val = {.i = 77};

        assert_int_equal(mt_attr_parse(&attrs[bad[i].attr], bad[i].text, &val), MOTLEY_ECONFIG);
        assert_string_equal(mt_err_text(), bad[i].message);
        assert_int_equal(val.i, 77);   /* results are untouched on failure */
    }
}

static void what_is_printed_reads_back(void **state)
{
    static const double some[] = {0, 0.1, 1e-3, 3e-4, 1e-5, 64, 1e6, 123456789, 1e15, 2e15, 1e22,
                                  1.0 / 3, -2.5, 5e-324, 1.7976931348623157e308, 0x1p-1022};
    static const char *const texts[] = {"0", "0.1", "0.001", "0.0003", "1e-5", "64", "1000000",
                                        "123456789", "1e15", "2e15", "1e22",
                                        "0.3333333333333333", "-2.5", "5e-324",
                                        "1.7976931348623157e308", "2.2250738585072014e-308"};
    char buf[64];
    double v = 0;
    union mt_attr_val val;
    uint64_t bits = 12345;

    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        mt_num_print(some[i], buf, sizeof buf);
        assert_string_equal(buf, texts[i]);
        assert_true(mt_num_real(buf, &v) && v == some[i]);
    }
    for (int i = 0; i < 20000; i++) {   /* any finite pattern of bits */
        double f;

        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&f, &bits, sizeof f);
        if (isfinite(f)) {
            mt_num_print(f, buf, MT_NUM_ROOM);
            assert_true(mt_num_real(buf, &v) && v == f);
        }
    }
    val.w = 1;
    mt_attr_print(&attrs[3], val, buf, sizeof buf);
    assert_string_equal(buf, "tanh");
    val.b = 1;
    mt_attr_print(&attrs[2], val, buf, sizeof buf);
    assert_string_equal(buf, "true");
    val.s = NULL;
    mt_attr_print(&attrs[4], val, buf, sizeof buf);
    assert_string_equal(buf, "null");
    val.i = INT64_MIN;
    mt_attr_print(&attrs[6], val, buf, sizeof buf);
    assert_string_equal(buf, "-9223372036854775808");
}

static void numbers_do_not_depend_on_the_locale(void **state)
{
    static const char *const comma[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8", "de_DE"};
    const char *set = NULL;
    char buf[MT_NUM_ROOM];
    double v = 0;

    (void)state;
    for (size_t i = 0; i < sizeof comma / sizeof *comma && set == NULL; i++) {
        set = setlocale(LC_NUMERIC, comma[i]);
    }
    if (set == NULL) {
        print_message("no locale with a decimal comma is installed here\n");
        skip();
    }
    assert_true(mt_num_real("1.5e-3", &v) && v == 1.5e-3);
    assert_false(mt_num_real("1,5", &v));
    mt_num_print(1.5e-7, buf, sizeof buf);
    assert_string_equal(buf, "1.5e-7");
    setlocale(LC_NUMERIC, "C");
}

static void nearest_word_is_what_was_meant(void **state)
{
    static const char *const words[] = {"linear", "relu", "leaky_relu", "dropout", "lr", "beta1",
                                        "weight_decay", "p"};
    static const struct {
        const char *text, *near;
    } pairs[] = {{"liner", "linear"}, {"lienar", "linear"}, {"Linear", "linear"},
                 {"leaky-relu", "leaky_relu"}, {"dropuot", "dropout"}, {"lrr", "lr"},
                 {"weigth_decay", "weight_decay"}, {"weightdecay", "weight_decay"},
                 {"conv2d", NULL}, {"q", NULL}, {"", NULL}, {"beta", "beta1"}};
    char long_word[200];

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *near = mt_word_nearest(pairs[i].text, words, 8);

        if (pairs[i].near == NULL) {
            assert_null(near);
        } else {
            assert_string_equal(near, pairs[i].near);
        }
    }
    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    assert_null(mt_word_nearest(long_word, words, 8));
    assert_null(mt_word_nearest("linear", NULL, 0));
}

static void words_of_a_list(void **state)
{
    char buf[8];

    (void)state;
    assert_int_equal(mt_word_find("exact tanh", "tanh"), 1);
    assert_int_equal(mt_word_find(" exact  tanh ", "tanh"), 1);
    assert_int_equal(mt_word_find("exact tanh", "tan"), -1);
    assert_int_equal(mt_word_find("exact tanh", ""), -1);
    mt_word_get("exact tanh", 1, buf, sizeof buf);
    assert_string_equal(buf, "tanh");
    mt_word_get("exact tanh", 2, buf, sizeof buf);
    assert_string_equal(buf, "");
}

static void what_is_allowed_in_words(void **state)
{
    static const char *const allowed[] = {"integer, 1 or more", "number, 0 or more",
                                          "true or false", "one of exact, tanh", "text",
                                          "number, 0 to 1", "integer"};
    static const struct mt_attr below = {"b", MT_ATTR_NUM, .min = -INFINITY, .max = 3};
    char buf[64];

    (void)state;
    for (int i = 0; i < 7; i++) {
        mt_attr_allowed(&attrs[i], buf, sizeof buf);
        assert_string_equal(buf, allowed[i]);
    }
    mt_attr_allowed(&below, buf, sizeof buf);
    assert_string_equal(buf, "number, 3 or less");
}

static void median(void **state)
{
    double one[] = {3}, even[] = {4, -1, 2, 9}, odd[] = {5, 1, 1e300, -7, 2};

    (void)state;
    assert_true(mt_num_median(one, 1) == 3);
    assert_true(mt_num_median(even, 4) == 4);
    assert_true(mt_num_median(odd, 5) == 2);
    assert_true(odd[0] == -7 && odd[1] == 1 && odd[3] == 5 && odd[4] == 1e300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_counted_and_searched),
        cmocka_unit_test(good_values_are_read),
        cmocka_unit_test(bad_values_are_refused_with_these_words),
        cmocka_unit_test(what_is_printed_reads_back),
        cmocka_unit_test(numbers_do_not_depend_on_the_locale),
        cmocka_unit_test(nearest_word_is_what_was_meant),
        cmocka_unit_test(words_of_a_list),
        cmocka_unit_test(what_is_allowed_in_words),
        cmocka_unit_test(median),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
