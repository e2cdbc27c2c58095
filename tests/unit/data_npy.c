/* data_npy.c -- proves: arrays of all kinds that are read, of all three versions, give the numbers
 * that were put in; pairs become samples with labels or targets; every other or damaged file is
 * refused with its own message; failing allocations leave nothing. The files are made here byte
 * by byte after the description of the format; one was written by NumPy itself. */
#define _POSIX_C_SOURCE 200809L
#include "data/npy.h"
#include "datakit.h"

/* An .npy file: version, dictionary padded to 64 bytes as NumPy does, data. Gives its size. */
static size_t npy(unsigned char *b, int version, const char *dict, const void *data, size_t bytes)
{
    size_t len = strlen(dict), at = version == 1 ? 10 : 12;
    size_t room = (at + len + 1 + 63) / 64 * 64 - at;

    memcpy(b, "\x93NUMPY", 6);
    b[6] = (unsigned char)version;
    b[7] = 0;
    b[8] = (unsigned char)room;
    b[9] = (unsigned char)(room >> 8);
    b[10] = b[11] = 0;
    memset(b + at, ' ', room);
    memcpy(b + at, dict, len);
    b[at + room - 1] = '\n';
    memcpy(b + at + room, data, bytes);
    return at + room + bytes;
}

static void put(const char *name, int version, const char *dict, const void *data, size_t bytes)
{
    unsigned char b[4096];

    assert_true(bytes < 2048);
    kit_write(name, b, npy(b, version, dict, data, bytes));
}

#define DICT(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }"

/* The numbers 1 -2 3 in every kind, little endian, written out. */
static const unsigned char f4[] = {0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0x40, 0x40};
static const unsigned char f8[] = {0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0,
                                   0, 0, 0, 0, 0, 0, 8, 0x40};
static const unsigned char i4[] = {1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0};
static const unsigned char i8[] = {1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0};
static const unsigned char u1[] = {1, 254, 3};

static void kinds(void **state)
{
    static const struct {
        const char *dict;
        const void *data;
        size_t bytes;
        float second;
    } file[] = {{DICT("<f4", "(3,)"), f4, sizeof f4, -2},
                {DICT("<f8", "(3, 1)"), f8, sizeof f8, -2},
                {DICT("<i4", "(1, 3)"), i4, sizeof i4, -2},
                {DICT("<i8", "(3L,)"), i8, sizeof i8, -2},
                {DICT("|u1", "(3,)"), u1, sizeof u1, 254}};
    struct mt_ctx *ctx = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    for (int k = 0; k < 5; k++) {
        for (int version = 1; version <= 3; version++) {
            struct mt_npy a;
            float v[3] = {0};

            put("a.npy", version, file[k].dict, file[k].data, file[k].bytes);
            assert_int_equal(mt_npy_read(ctx, kit_path("a.npy"), &a), 0);
            assert_int_equal(a.count, 3);
            assert_int_equal(a.rank, k == 1 || k == 2 ? 2 : 1);
            assert_int_equal(a.dim[0], k == 2 ? 1 : 3);
            mt_npy_floats(&a, 0, 3, v);
            assert_true(v[0] == 1 && v[1] == file[k].second && v[2] == 3);
            mt_npy_floats(&a, 1, 1, v);
            assert_true(v[0] == file[k].second);
            assert_int_equal(mt_npy_is_int(&a), k >= 2);
            if (k >= 2) {
                assert_int_equal(mt_npy_int(&a, 1), (int64_t)file[k].second);
            }
            mt_npy_free(ctx, &a);
        }
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

/* numpy.save of numpy.arange(6, dtype='<f4').reshape(2, 3) by NumPy 2.4.6. */
static void by_numpy(void **state)
{
    static const char head[] =
        "\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
        "                                                          \n";
    static const unsigned char data[24] = {0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40,
                                           0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 0, 0xa0, 0x40};
    struct mt_ctx *ctx = NULL;
    struct mt_npy a;
    unsigned char b[152];
    float v[6];

    (void)state;
    assert_int_equal(sizeof head - 1, 128);
    memcpy(b, head, 128);
    memcpy(b + 128, data, 24);
    kit_write("a.npy", b, sizeof b);
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    assert_int_equal(mt_npy_read(ctx, kit_path("a.npy"), &a), 0);
    assert_int_equal(a.rank, 2);
    mt_npy_floats(&a, 0, 6, v);
    for (int i = 0; i < 6; i++) {
        assert_true(v[i] == (float)i);
    }
    mt_npy_free(ctx, &a);
    mt_ctx_free(ctx);
}

static void scalar_and_empty(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_npy a;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    put("a.npy", 1, DICT("<f4", "()"), f4, 4);
    assert_int_equal(mt_npy_read(ctx, kit_path("a.npy"), &a), 0);
    assert_int_equal(a.rank, 0);
    assert_int_equal(a.count, 1);
    mt_npy_free(ctx, &a);
    put("a.npy", 1, DICT("<f4", "(0, 4)"), f4, 0);
    assert_int_equal(mt_npy_read(ctx, kit_path("a.npy"), &a), 0);
    assert_int_equal(a.count, 0);
    mt_npy_free(ctx, &a);
    mt_ctx_free(ctx);
}

static void pairs(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;
    unsigned char image[4 * 6];
    float x[6], y[2];
    int32_t label;

    (void)state;
    for (int i = 0; i < 24; i++) {
        image[i] = (unsigned char)(10 * i);
    }
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    put("x.npy", 1, DICT("|u1", "(3, 1, 2, 3)"), image, 18);
    put("y.npy", 1, DICT("<i8", "(3, 1)"), "\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 24);
    put("hx.npy", 2, DICT("|u1", "(1, 1, 2, 3)"), image + 18, 6);
    put("hy.npy", 3, DICT("<i4", "(1,)"), "\1\0\0\0", 4);
    d = kit_must(ctx, KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "held_x",
                                "@hx.npy", "held_y", "@hy.npy", "mean", "100", "std", "50"));
    assert_int_equal(d->train->n, 3);
    assert_int_equal(d->held->n, 1);
    assert_int_equal(d->train->sample.classes, 3);
    assert_int_equal(d->train->sample.x_rank, 3);
    assert_int_equal(d->train->sample.x_dim[2], 3);
    assert_int_equal(d->train->fetch(d->train, 2, x, &label), 0);
    assert_int_equal(label, 1);
    assert_int_equal(d->held->fetch(d->held, 0, x, &label), 0);
    assert_int_equal(label, 1);
    for (int j = 0; j < 6; j++) {
        float want = ((float)image[18 + j] - 100) / 50;

        assert_true(x[j] - want < 1e-6f && want - x[j] < 1e-6f);
    }
    mt_data_close(d);

    /* The same integers as targets; x of rank 1 is one number a sample. */
    put("x.npy", 1, DICT("<f8", "(3,)"), f8, sizeof f8);
    put("y.npy", 1, DICT("<i4", "(3, 1)"), i4, sizeof i4);
    d = kit_must(ctx, KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "labels", "no"));
    assert_int_equal(d->train->sample.classes, 0);
    assert_int_equal(d->train->sample.y_size, 1);
    assert_int_equal(d->train->sample.x_size, 1);
    assert_int_equal(d->train->fetch(d->train, 1, x, y), 0);
    assert_true(x[0] == -2 && y[0] == -2);
    mt_data_close(d);

    put("x.npy", 1, DICT("<f4", "(1, 3)"), f4, sizeof f4);
    put("y.npy", 1, DICT("<f4", "(1, 2)"), f4, 8);
    d = kit_must(ctx, KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy"));
    assert_int_equal(d->train->sample.y_size, 2);
    assert_int_equal(d->train->fetch(d->train, 0, x, y), 0);
    assert_true(x[2] == 3 && y[0] == 1 && y[1] == -2);
    mt_data_close(d);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

/* x.npy is what the line says; y.npy holds three labels 0 1 2. */
static const struct {
    const char *dict;
    int version;
    const void *data;
    size_t bytes;
    int code;
    const char *text;
} refused[] = {
    {DICT(">f4", "(3,)"), 1, f4, 12, MOTLEY_EUNSUP,
     "@/x.npy: big-endian numbers ('>f4') are not read; save x.astype('<f4')"},
    {DICT("<f2", "(3,)"), 1, f4, 6, MOTLEY_EUNSUP,
     "@/x.npy: numbers of type '<f2' are not read; f4, f8, u1, i4, i8 are: save "
     "x.astype('float32'), or astype('int32') for labels"},
    {DICT("|b1", "(3,)"), 1, f4, 3, MOTLEY_EUNSUP,
     "@/x.npy: numbers of type '|b1' are not read; f4, f8, u1, i4, i8 are: save "
     "x.astype('float32'), or astype('int32') for labels"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", 1, f4, 12,
     MOTLEY_EUNSUP, "@/x.npy: an array of records is not read; save a plain array of numbers"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 1), }", 1, f4, 12, MOTLEY_EUNSUP,
     "@/x.npy: is stored in Fortran order; save numpy.ascontiguousarray(x)"},
    {DICT("<f4", "(3,)"), 4, f4, 12, MOTLEY_EUNSUP, "@/x.npy: .npy version 4; 1 to 3 are read"},
    {DICT("<f4", "(4,)"), 1, f4, 12, MOTLEY_EFORMAT,
     "@/x.npy: truncated: its header announces 16 bytes of numbers, 12 are there"},
    {DICT("<f4", "(2,)"), 1, f4, 12, MOTLEY_EFORMAT,
     "@/x.npy: has 12 bytes of numbers, its header announces 8"},
    {DICT("<f4", "(4294967296, 4294967296)"), 1, f4, 12, MOTLEY_EFORMAT,
     "@/x.npy: damaged header: {'descr': '<f4', 'fortran_order': False, 'shape': (429496729"},
    {DICT("<f4", "(-3,)"), 1, f4, 12, MOTLEY_EFORMAT,
     "@/x.npy: damaged header: {'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }"},
    {DICT("<f4", "(1,1,1,1,1,1,1,1,3)"), 1, f4, 12, MOTLEY_EUNSUP,
     "@/x.npy: has more than 8 dimensions"},
    {DICT("<f4", "(3,1,1,1,1,1,1)"), 1, f4, 12, MOTLEY_EUNSUP,
     "@/x.npy: a sample has 6 dimensions; 1 to 5 are possible"},
    {"{'descr': '<f4', 'shape': (3,), }", 1, f4, 12, MOTLEY_EFORMAT,
     "@/x.npy: damaged header: {'descr': '<f4', 'shape': (3,), }"},
    {DICT("<f4", "(0,)"), 1, f4, 0, MOTLEY_EFORMAT, "@/x.npy: holds no samples"},
    {DICT("<f4", "()"), 1, f4, 4, MOTLEY_EFORMAT, "@/x.npy: holds no samples"},
    {DICT("<f4", "(2,)"), 1, f4, 8, MOTLEY_EFORMAT,
     "@/x.npy has 2 samples, but @/y.npy has 3"},
    {DICT("<f4", "(3,)"), 1, "\0\0\0\0\0\0\xc0\x7f\0\0\0\0", 12, MOTLEY_EFORMAT,
     "@/x.npy: element 1 is not a finite 32-bit number"},
};

static void refused_arrays(void **state)
{
    (void)state;
    put("y.npy", 1, DICT("|u1", "(3,)"), "\0\1\2", 3);
    for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
        put("x.npy", refused[k].version, refused[k].dict, refused[k].data, refused[k].bytes);
        kit_refused(KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy"), refused[k].code,
                    refused[k].text);
    }
}

static void refused_files(void **state)
{
    const char *const *pair = KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy");
    unsigned char b[256];

    (void)state;
    put("y.npy", 1, DICT("|u1", "(3,)"), "\0\1\2", 3);
    kit_write("x.npy", "PK\3\4aaaaaaaaaaaa", 16);
    kit_refused(pair, MOTLEY_EUNSUP,
                "@/x.npy: is an .npz archive; save one array with numpy.save");
    kit_write("x.npy", "1,2,3\n4,5,6\n", 12);
    kit_refused(pair, MOTLEY_EFORMAT,
                "@/x.npy: not an .npy file: it does not begin with 93 'NUMPY'");
    kit_write("x.npy", "", 0);
    kit_refused(pair, MOTLEY_EFORMAT,
                "@/x.npy: not an .npy file: it does not begin with 93 'NUMPY'");
    npy(b, 1, DICT("<f4", "(3,)"), f4, 12);
    kit_write("x.npy", b, 40);
    kit_refused(pair, MOTLEY_EFORMAT, "@/x.npy: truncated: ends inside its header");
    npy(b, 2, DICT("<f4", "(3,)"), f4, 12);
    kit_write("x.npy", b, 10);
    kit_refused(pair, MOTLEY_EFORMAT, "@/x.npy: truncated: ends inside its header");
    kit_refused(KIT_PAIRS("format", "npy", "x", "@gone.npy", "y", "@y.npy"), MOTLEY_EFILE,
                "@/gone.npy: No such file or directory");
    kit_refused(KIT_PAIRS("format", "npy", "x", "@x.npy"), MOTLEY_ECONFIG,
                "t.yaml:2:1: data format npy needs 'y' (text): .npy file of the labels or targets");
}

static void refused_labels(void **state)
{
    const char *const *pair = KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "classes",
                                        "3");

    (void)state;
    put("x.npy", 1, DICT("<f4", "(3,)"), f4, 12);
    put("y.npy", 1, DICT("|u1", "(3,)"), "\0\3\2", 3);
    kit_refused(pair, MOTLEY_EFORMAT, "@/y.npy: label 3 of sample 1 is outside 0..2; set "
                                      "data.classes if there are more classes");
    put("y.npy", 1, DICT("<i4", "(3,)"), i4, 12);
    kit_refused(pair, MOTLEY_EFORMAT, "@/y.npy: label -2 of sample 1 is outside 0..2; set "
                                      "data.classes if there are more classes");
    put("y.npy", 1, DICT("<f4", "(3,)"), f4, 12);
    kit_refused(KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "labels", "yes"),
                MOTLEY_EFORMAT,
                "@/y.npy: labels are integers, one a sample; this is an array of floats");
    put("y.npy", 1, DICT("|u1", "(3, 2)"), "\0\0\0\0\0\0", 6);
    kit_refused(KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "labels", "yes"),
                MOTLEY_EFORMAT,
                "@/y.npy: labels are integers, one a sample; this is more than one a sample");
    put("y.npy", 1, DICT("|u1", "(3,)"), "\0\1\2", 3);
    put("hx.npy", 1, DICT("<f4", "(1, 3)"), f4, 12);
    put("hy.npy", 1, DICT("|u1", "(1,)"), "\0", 1);
    kit_refused(KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "held_x", "@hx.npy"),
                MOTLEY_ECONFIG, "t.yaml:2:1: data format npy: 'held_x' and 'held_y' go together");
    kit_refused(KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "held_x", "@hx.npy",
                          "held_y", "@hy.npy"), MOTLEY_EFORMAT,
                "@/hx.npy and @/hy.npy hold samples of another shape or kind than @/x.npy and "
                "@/y.npy");
}

static void starved(void **state)
{
    (void)state;
    put("x.npy", 1, DICT("<f4", "(3,)"), f4, 12);
    put("y.npy", 1, DICT("|u1", "(3,)"), "\0\1\2", 3);
    kit_starve(KIT_PAIRS("format", "npy", "x", "@x.npy", "y", "@y.npy", "held_x", "@x.npy",
                         "held_y", "@y.npy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),          cmocka_unit_test(by_numpy),
        cmocka_unit_test(pairs),          cmocka_unit_test(scalar_and_empty),
        cmocka_unit_test(refused_arrays), cmocka_unit_test(refused_files),
        cmocka_unit_test(refused_labels), cmocka_unit_test(starved),
    };

    return cmocka_run_group_tests_name("data_npy", tests, kit_setup, kit_teardown);
}
