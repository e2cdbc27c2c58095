/* data_csv.c -- proves: tables are read with every separator, header, quoting and line end, into
 * the columns asked for; classes are numbered as documented; standardising uses the training part
 * alone and is applied to what is held out; every fault is refused by line and column; failing
 * allocations leave nothing. With MOTLEY_TEST_DATA=<folder with winequality/> the wine tables are
 * read and compared with their published statistics. */
#define _POSIX_C_SOURCE 200809L
#include "datakit.h"

#include <math.h>

static struct mt_ctx *ctx;

static int setup(void **state)
{
    return kit_setup(state) != 0 || mt_ctx_new(NULL, NULL, &ctx) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    int left = ctx->mem.live != 0;

    mt_ctx_free(ctx);
    return kit_teardown(state) != 0 || left ? -1 : 0;
}

/* Sample i of s is x[0..nx-1], and y: targets, or the label alone. */
static void is_row(const struct mt_set *s, int64_t i, const float *x, const float *y)
{
    float got[16], to[16];

    assert_true(s->sample.x_size <= 16 && s->sample.y_size <= 16);
    assert_int_equal(s->fetch(s, i, got, to), 0);
    for (int64_t j = 0; j < s->sample.x_size; j++) {
        assert_true(got[j] == x[j]);
    }
    if (s->sample.classes > 0) {
        int32_t label;

        memcpy(&label, to, sizeof label);
        assert_int_equal(label, (int)y[0]);
        return;
    }
    for (int64_t j = 0; j < s->sample.y_size; j++) {
        assert_true(to[j] == y[j]);
    }
}

#define ROW(...) ((const float[]){__VA_ARGS__})

/* The same two samples of two inputs and a target, written in many ways. */
static void forms(void **state)
{
    static const struct {
        const char *text, *separator, *header;
    } form[] = {
        {"1,2,3\n4,5,6\n", "auto", "auto"},
        {"1,2,3\n4,5,6", "comma", "no"},
        {"a,b,c\n1,2,3\n4,5,6\n", "auto", "auto"},
        {"7,8,9\n1,2,3\n4,5,6\n", "auto", "yes"},
        {"\"a\";\"b\";\"c\"\r\n1;2;3\r\n4;5;6\r\n", "auto", "auto"},
        {"1;2;3\n4;5;6\n", ";", "auto"},
        {"1\t2\t3\n4\t5\t6\n", "auto", "auto"},
        {"1|2|3\n4|5|6\n", "bar", "auto"},
        {"1:2:3\n4:5:6\n", ":", "auto"},
        {"\xef\xbb\xbf""1,2,3\n4,5,6\n", "auto", "auto"},
        {"\n1,2,3\n\n   \n4,5,6\n\r\n", "auto", "auto"},
        {" 1 ,\t2,  3\n4 , \"5\" ,6 \n", "auto", "auto"},
        {"1e0,+2.0,.3e1\n4.,0.5E+1,600e-2\n", "auto", "auto"},
        {"\"a,\"\"x\"\"\",\"b\nb\",c\n1,2,3\n4,5,6\n", "auto", "auto"},
    };

    (void)state;
    for (size_t k = 0; k < sizeof form / sizeof *form; k++) {
        struct mt_data *d;

        kit_text("a.csv", form[k].text);
        d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "separator",
                                    form[k].separator, "header", form[k].header, "standardise",
                                    "no"));
        assert_int_equal(d->train->n, 2);
        assert_int_equal(d->train->sample.x_size, 2);
        assert_int_equal(d->train->sample.y_size, 1);
        assert_int_equal(d->train->sample.classes, 0);
        is_row(d->train, 0, ROW(1, 2), ROW(3));
        is_row(d->train, 1, ROW(4, 5), ROW(6));
        mt_data_close(d);
    }
}

static void columns(void **state)
{
    static const struct {
        const char *key[3], *value[3];
        int nx, ny;
        float x[3], y[2];
    } pick[] = {
        {{"target", "format", "path"}, {"b", "csv", "@a.csv"}, 3, 1, {1, 3, 4}, {2}},
        {{"target", "format", "path"}, {"1", "csv", "@a.csv"}, 3, 1, {2, 3, 4}, {1}},
        {{"target", "ignore", "path"}, {"c, a", "d,e", "@a.csv"}, 1, 2, {2}, {3, 1}},
        {{"target", "columns", "path"}, {"a", "c,2", "@a.csv"}, 2, 1, {3, 2}, {1}},
        {{"target", "columns", "path"}, {"d,e", "b", "@a.csv"}, 1, 1, {2}, {4}},
    };

    (void)state;
    kit_text("a.csv", "a,b,c,\"d,e\"\n1,2,3,4\n");
    for (size_t k = 0; k < sizeof pick / sizeof *pick; k++) {
        struct mt_data *d = kit_must(
            ctx, KIT_PAIRS("standardise", "no", pick[k].key[0], pick[k].value[0], pick[k].key[1],
                           pick[k].value[1], pick[k].key[2], pick[k].value[2], "format", "csv"));

        assert_int_equal(d->train->sample.x_size, pick[k].nx);
        assert_int_equal(d->train->sample.y_size, pick[k].ny);
        is_row(d->train, 0, pick[k].x, pick[k].y);
        mt_data_close(d);
    }
}

static void classes(void **state)
{
    struct mt_data *d;

    (void)state;
    kit_text("a.csv", "1,pear\n2,apple\n3,\"apple\"\n4,Quince\n");
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "standardise", "no"));
    assert_int_equal(d->train->sample.classes, 3);
    assert_int_equal(d->train->sample.y_size, 0);
    is_row(d->train, 0, ROW(1), ROW(2));
    is_row(d->train, 1, ROW(2), ROW(1));
    is_row(d->train, 2, ROW(3), ROW(1));
    is_row(d->train, 3, ROW(4), ROW(0));   /* capitals come first in ASCII */
    mt_data_close(d);

    kit_text("a.csv", "1,10\n2,9\n3,-1\n4,9\n");
    kit_text("b.csv", "5,010\n6,-1\n");
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "held", "@b.csv", "labels",
                                "yes", "classes", "3", "standardise", "no"));
    assert_int_equal(d->train->sample.classes, 3);
    is_row(d->train, 0, ROW(1), ROW(2));
    is_row(d->train, 1, ROW(2), ROW(1));
    is_row(d->train, 2, ROW(3), ROW(0));
    is_row(d->held, 0, ROW(5), ROW(2));
    is_row(d->held, 1, ROW(6), ROW(0));
    mt_data_close(d);

    kit_text("a.csv", "1,10\n2,b\n3,9\n");
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "labels", "yes",
                                "standardise", "no"));
    is_row(d->train, 0, ROW(1), ROW(0));   /* as words: "10" "9" "b" */
    is_row(d->train, 1, ROW(2), ROW(2));
    is_row(d->train, 2, ROW(3), ROW(1));
    mt_data_close(d);
}

/* Mean and deviation of column j of a set, and of targets for j < 0. */
static void moments(const struct mt_set *s, int j, double *mean, double *dev)
{
    double sum = 0, square = 0;

    for (int64_t i = 0; i < s->n; i++) {
        float x[16], y[16];
        double v;

        assert_int_equal(s->fetch(s, i, x, y), 0);
        v = j < 0 ? (double)y[-j - 1] : (double)x[j];
        sum += v;
        square += v * v;
    }
    *mean = sum / (double)s->n;
    *dev = sqrt(square / (double)s->n - *mean * *mean);
}

/* 40 lines: i^2 + 1e9, a constant, 3 i; and 10 far away. */
static void put_table(const char *name, int from, int n)
{
    char text[8192];
    size_t used = 0;

    for (int i = from; i < from + n; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%d,0.1,%d\n", 1000000000 + i * i,
                                 3 * i);
    }
    kit_text(name, text);
}

static void standardised_split(void **state)
{
    struct mt_data *d, *raw;
    double mean, dev, shift;

    (void)state;
    put_table("a.csv", 0, 40);
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "validation", "0.25"));
    raw = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "validation", "0.25",
                                  "standardise", "no"));
    assert_int_equal(d->train->n, 30);
    assert_int_equal(d->held->n, 10);
    moments(d->train, 0, &mean, &dev);
    assert_true(fabs(mean) < 1e-6 && fabs(dev - 1) < 1e-6);
    moments(d->train, 1, &mean, &dev);
    assert_true(mean == 0 && dev == 0);
    moments(d->held, 0, &mean, &dev);
    assert_true(fabs(mean) > 1e-3);
    moments(d->train, -1, &mean, &dev);   /* targets are not touched */
    moments(raw->train, -1, &shift, &dev);
    assert_true(mean == shift);
    /* Held out and training go through one map: x = raw mul + add, as the set says. The large
     * values lose their differences as floats, the standardised ones do not. */
    for (int64_t i = 0; i < 10; i++) {
        float x[2], r[2], y;
        double k, want;

        assert_int_equal(d->held->fetch(d->held, i, x, &y), 0);
        assert_int_equal(raw->held->fetch(raw->held, i, r, &y), 0);
        k = (double)y / 3;
        want = (1e9 + k * k) * d->train->mul[0] + d->train->add[0];
        assert_true(fabs((double)x[0] - want) < 1e-6);
        assert_true(d->held->mul[0] == d->train->mul[0] && d->held->nscale == 2);
    }
    mt_data_close(d);
    mt_data_close(raw);
}

static void standardised_files(void **state)
{
    struct mt_data *d;
    double mean, dev, want = 0;

    (void)state;
    put_table("a.csv", 0, 40);
    put_table("b.csv", 1000, 5);
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "held", "@b.csv",
                                "standardise", "all"));
    moments(d->train, 0, &mean, &dev);
    assert_true(fabs(mean) < 1e-6 && fabs(dev - 1) < 1e-6);
    moments(d->train, -1, &mean, &dev);
    assert_true(fabs(mean) < 1e-6 && fabs(dev - 1) < 1e-6);
    /* 3 i for i = 0..39: mean 58.5, variance 9 (40^2 - 1) / 12. */
    for (int i = 1000; i < 1005; i++) {
        want += (3.0 * i - 58.5) / sqrt(9 * (40.0 * 40 - 1) / 12) / 5;
    }
    moments(d->held, -1, &mean, &dev);
    assert_true(fabs(mean - want) < 1e-4);
    mt_data_close(d);
}

static void digests(void **state)
{
    static const char *const text[] = {"1,2\n3,4\n", "1,2\n3,5\n", "1,2\n2,4\n", "3,4\n1,2\n"};
    char digest[5][40];

    (void)state;
    for (int k = 0; k < 5; k++) {
        struct mt_data *d;

        kit_text("a.csv", text[k % 4]);
        d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", "@a.csv", "standardise",
                                    k < 4 ? "no" : "inputs"));
        memcpy(digest[k], d->digest, sizeof digest[k]);
        for (int i = 0; i < k; i++) {
            assert_string_not_equal(digest[i], digest[k]);
        }
        mt_data_close(d);
    }
}

/* What a file holds and what is said of it. */
static const struct {
    const char *text, *key, *value;
    int code;
    const char *message;
} refused[] = {
    {"a,b\n1,2\n3,x4\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 'b': 'x4' is not a number"},
    {"1,2\n3,4\n5x,6\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 1: '5x' is not a number"},
    {"a,b\n1,2\n,4\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 'a': the value is missing (''); remove the line or ignore the column"},
    {"a,b\n1,2\n\nNA,4\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:4: column 'a': the value is missing ('NA'); remove the line or ignore the column"},
    {"a,b\n1,2\nnan,4\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 'a': the value is missing ('nan'); remove the line or ignore the column"},
    {"a,b\n1,2\n1e39,4\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 'a': '1e39' is not a number that fits into 32 bits"},
    {"a,b\n1,2\ninf,4\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 'a': 'inf' is not a number"},
    {"a;b\n1,5;2\n", NULL, NULL, MOTLEY_EFORMAT, "@/a.csv:2: column 'a': '1,5' is not a number"},
    {"a,b\n1,2\n3\n", NULL, NULL, MOTLEY_EFORMAT, "@/a.csv:3: 1 cells, the first line has 2"},
    {"a,b\n1,2\n3,4,\n", NULL, NULL, MOTLEY_EFORMAT, "@/a.csv:3: 3 cells, the first line has 2"},
    {"a,b\n1,2\n\"3,4\n5,6\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: a quote is opened in this line and never closed"},
    {"a,\"b\"c\n1,2\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:1: text behind a closing quote; a quote inside quotes is written twice"},
    {"", NULL, NULL, MOTLEY_EFORMAT, "@/a.csv: is empty"},
    {"\n\n", NULL, NULL, MOTLEY_EFORMAT, "@/a.csv: is empty"},
    {"a,b\n", NULL, NULL, MOTLEY_EFORMAT, "@/a.csv: has a header and no samples"},
    {"1\n2\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv: no column is left for x; is the separator right? (1 column found)"},
    {"pH,b\n1,2\n", "target", "ph", MOTLEY_ECONFIG,
     KIT_AT "@/a.csv has no column 'ph'; did you mean 'pH'?"},
    {"alcohol,b\n1,2\n", "target", "colour of it", MOTLEY_ECONFIG,
     KIT_AT "@/a.csv has no column 'colour of it'; it has 2 columns"},
    {"1,2\n", "target", "3", MOTLEY_ECONFIG,
     KIT_AT "@/a.csv has no column '3'; it has 2 columns and no header, name them by number"},
    {"a,b,a\n1,2,3\n", "target", "a", MOTLEY_ECONFIG,
     KIT_AT "@/a.csv has 2 columns named 'a'; name it by its number"},
    {"a,b,c\n1,2,3\n", "columns", "a,b,a", MOTLEY_ECONFIG,
     KIT_AT "column 'a' of @/a.csv is named twice"},
    {"a,b,c\n1,2,3\n", "columns", "c", MOTLEY_ECONFIG,
     KIT_AT "column 'c' of @/a.csv is named twice"},
    {"a,b\n1,x\n2,y\n", "classes", "3", MOTLEY_EFORMAT,
     "@/a.csv: column 'b' has 2 classes, data.classes is 3"},
    {"a,b\n1,x\n2,\n", NULL, NULL, MOTLEY_EFORMAT,
     "@/a.csv:3: column 'b': the class is missing (''); remove the line"},
    {"1,2\n", "separator", "dots", MOTLEY_ECONFIG,
     KIT_AT "separator is 'dots': give one character, or one of auto comma semicolon tab bar"},
};

static void faults(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        kit_text("a.csv", refused[k].text);
        if (refused[k].key != NULL) {
            kit_refused(KIT_PAIRS("format", "csv", "path", "@a.csv", refused[k].key,
                                  refused[k].value), refused[k].code, refused[k].message);
        } else {
            kit_refused(KIT_PAIRS("format", "csv", "path", "@a.csv"), refused[k].code,
                        refused[k].message);
        }
    }
}

static void more_faults(void **state)
{
    const char *const *two = KIT_PAIRS("format", "csv", "path", "@a.csv", "held", "@b.csv");

    (void)state;
    kit_write("a.csv", "1,2\n3\0,4\n", 9);
    kit_refused(KIT_PAIRS("format", "csv", "path", "@a.csv"), MOTLEY_EFORMAT,
                "@/a.csv:2: a zero byte: this is no text, or UTF-16; save it as UTF-8");
    kit_refused(KIT_PAIRS("format", "csv", "path", "@none.csv"), MOTLEY_EFILE,
                "@/none.csv: No such file or directory");
    kit_text("a.csv", "a,b\n1,2\n");
    kit_refused(KIT_PAIRS("format", "csv", "path", "@a.csv", "target", "a,b"), MOTLEY_EFORMAT,
                "@/a.csv: no column is left for x; is the separator right? (2 columns found)");
    kit_text("b.csv", "a,b,c\n1,2,3\n");
    kit_refused(two, MOTLEY_EFORMAT, "@/b.csv has 3 columns, @/a.csv has 2");
    kit_text("b.csv", "a,c\n1,2\n");
    kit_refused(two, MOTLEY_EFORMAT, "@/b.csv: column 2 is named 'c', in @/a.csv it is 'b'");
    kit_text("b.csv", "a,b\n");
    kit_refused(two, MOTLEY_EFORMAT, "@/b.csv: has no samples");
    kit_text("b.csv", "a,b\n1,2\n7,seven\n");
    kit_refused(two, MOTLEY_EFORMAT, "@/b.csv:3: column 'b': 'seven' is not a number");
    kit_text("a.csv", "1,x\n2,y\n");
    kit_text("b.csv", "1,z\n");
    kit_refused(two, MOTLEY_EFORMAT,
                "@/b.csv:1: class 'z' does not occur in the training samples");
    kit_text("a.csv", "1,2,3\n1,2,3\n");
    kit_refused(KIT_PAIRS("format", "csv", "path", "@a.csv", "target", "1,2", "labels", "yes"),
                MOTLEY_ECONFIG, KIT_AT "labels: a class is one column, 'target' has 2");
}

static void starved(void **state)
{
    (void)state;
    kit_text("a.csv", "a,b,c\n1,2,x\n2,3,y\n");
    kit_text("b.csv", "a,b,c\n1,2,y\n");
    kit_starve(KIT_PAIRS("format", "csv", "path", "@a.csv", "held", "@b.csv", "target", "c",
                         "columns", "b, a"));
    kit_text("a.csv", "1,2,3\n2,3,4\n5,6,7\n");
    kit_starve(KIT_PAIRS("format", "csv", "path", "@a.csv", "validation", "1"));
}

/* Counts and means that the data set's paper and its pages at UCI give: 1599 and 4898 wines,
 * mean quality 5.636 and 5.878, mean alcohol 10.42 of the red ones. */
static void wine(void **state)
{
    const char *root = getenv("MOTLEY_TEST_DATA");
    struct mt_data *d;
    char path[1024];
    double mean, dev;

    (void)state;
    snprintf(path, sizeof path, "%s/winequality/winequality-red.csv", root != NULL ? root : "");
    if (root == NULL || !mt_file_exists(path)) {
        print_message("MOTLEY_TEST_DATA names no folder with winequality/: not run\n");
        skip();
    }
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", path, "target", "quality",
                                "standardise", "no"));
    assert_int_equal(d->train->n, 1599);
    assert_int_equal(d->train->sample.x_size, 11);
    assert_int_equal(d->train->sample.y_size, 1);
    moments(d->train, -1, &mean, &dev);
    assert_true(fabs(mean - 5.636) < 5e-4 && fabs(dev - 0.807) < 1e-3);
    moments(d->train, 10, &mean, &dev);
    assert_true(fabs(mean - 10.42) < 5e-3);
    mt_data_close(d);

    snprintf(path, sizeof path, "%s/winequality/winequality-white.csv", root);
    d = kit_must(ctx, KIT_PAIRS("format", "csv", "path", path, "validation", "0.2"));
    assert_int_equal(d->train->n + d->held->n, 4898);
    for (int j = 0; j < 11; j++) {
        moments(d->train, j, &mean, &dev);
        assert_true(fabs(mean) < 1e-5 && fabs(dev - 1) < 1e-5);
    }
    mt_data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),              cmocka_unit_test(columns),
        cmocka_unit_test(classes),            cmocka_unit_test(standardised_split),
        cmocka_unit_test(standardised_files), cmocka_unit_test(digests),
        cmocka_unit_test(faults),             cmocka_unit_test(more_faults),
        cmocka_unit_test(starved),            cmocka_unit_test(wine),
    };

    return cmocka_run_group_tests_name("data_csv", tests, setup, teardown);
}
