/* data_idx.c -- proves: IDX files are read under all their names, plain and gzip, with every
 * byte and label in its place; every kind of damage is refused with its own message; failing
 * allocations leave nothing. With MOTLEY_TEST_DATA=<folder with mnist/> the original files are
 * read and their published sums of pixels and labels are found. */
#define _POSIX_C_SOURCE 200809L
#include "datakit.h"

#include <zlib.h>

#define N 5
#define SIDE 4
#define PIXELS (SIDE * SIDE)

static const unsigned char labels[N] = {3, 0, 9, 1, 3};

/* An IDX file of items of the given dimensions; value j is j*7+salt, or the labels. Gives bytes. */
static size_t idx(unsigned char *out, int rank, const int *dim, int salt)
{
    size_t n = 0, values = 1;

    out[n++] = 0;
    out[n++] = 0;
    out[n++] = 8;
    out[n++] = (unsigned char)rank;
    for (int d = 0; d < rank; d++) {
        values *= (size_t)dim[d];
        out[n++] = 0;
        out[n++] = 0;
        out[n++] = (unsigned char)(dim[d] >> 8);
        out[n++] = (unsigned char)dim[d];
    }
    for (size_t j = 0; j < values; j++) {
        out[n++] = rank == 1 ? labels[j % N] : (unsigned char)(j * 7 + (size_t)salt);
    }
    return n;
}

static void put_gz(const char *name, const void *data, size_t bytes)
{
    gzFile g = gzopen(kit_path(name), "wb");

    assert_non_null(g);
    assert_int_equal(gzwrite(g, data, (unsigned)bytes), bytes);
    assert_int_equal(gzclose(g), Z_OK);
}

static void put(const char *name, const void *data, size_t bytes)
{
    size_t len = strlen(name);

    if (len > 3 && strcmp(name + len - 3, ".gz") == 0) {
        put_gz(name, data, bytes);
    } else {
        kit_write(name, data, bytes);
    }
}

static void put_images(const char *name, int n, int salt)
{
    unsigned char b[4096];

    put(name, b, idx(b, 3, (const int[]){n, SIDE, SIDE}, salt));
}

static void put_labels(const char *name, int n)
{
    unsigned char b[4096];

    put(name, b, idx(b, 1, (const int[]){n}, 0));
}

static void clear(void)
{
    struct mt_ctx *ctx = NULL;

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    assert_int_equal(mt_dir_remove(ctx, kit_dir), 0);
    assert_int_equal(mt_dir_make(ctx, kit_dir), 0);
    mt_ctx_free(ctx);
}

static void check_set(const struct mt_set *s, int64_t n, int salt)
{
    assert_int_equal(s->n, n);
    assert_int_equal(s->sample.x_rank, 3);
    assert_int_equal(s->sample.x_dim[0], 1);
    assert_int_equal(s->sample.x_dim[1], SIDE);
    assert_int_equal(s->sample.x_dim[2], SIDE);
    assert_int_equal(s->sample.classes, 10);
    for (int64_t i = n - 1; i >= 0; i--) {
        float x[PIXELS];
        int32_t y = -1;

        assert_int_equal(s->fetch(s, i, x, &y), 0);
        assert_int_equal(y, labels[i % N]);
        for (int j = 0; j < PIXELS; j++) {
            double want = (unsigned char)((i * PIXELS + j) * 7 + salt) / 255.0;

            assert_true(x[j] - want < 1e-7 && want - x[j] < 1e-7);
        }
    }
}

static void names(void **state)
{
    static const char *const form[] = {"%s-%s", "%s-%s.gz", "%s.%s", "%s.%s.gz"};
    char digest[4][40];
    struct mt_ctx *ctx = NULL;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    for (int f = 0; f < 4; f++) {
        char name[4][64];
        struct mt_data *d;

        clear();
        snprintf(name[0], 64, form[f], "train-images", "idx3-ubyte");
        snprintf(name[1], 64, form[f], "train-labels", "idx1-ubyte");
        snprintf(name[2], 64, form[f], "t10k-images", "idx3-ubyte");
        snprintf(name[3], 64, form[f], "t10k-labels", "idx1-ubyte");
        put_images(name[0], N, 0);
        put_labels(name[1], N);
        put_images(name[2], 3, 100);
        put_labels(name[3], 3);
        d = kit_must(ctx, KIT_PAIRS("format", "idx", "path", "@"));
        check_set(d->train, N, 0);
        check_set(d->held, 3, 100);
        memcpy(digest[f], d->digest, sizeof digest[f]);
        assert_string_equal(digest[f], digest[0]);   /* of the content, not of the file */
        mt_data_close(d);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void explicit_paths(void **state)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;

    (void)state;
    clear();
    put_images("a", N, 0);
    put_labels("b", N);
    put_images("c.gz", 2, 9);
    put_labels("d.gz", 2);
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "idx", "images", "@a", "labels", "@b"));
    check_set(d->train, N, 0);
    assert_null(d->held);
    mt_data_close(d);
    d = kit_must(ctx, KIT_PAIRS("format", "idx", "images", "@a", "labels", "@b", "held_images",
                                "@c.gz", "held_labels", "@d.gz"));
    check_set(d->train, N, 0);
    check_set(d->held, 2, 9);
    mt_data_close(d);
    d = kit_must(ctx, KIT_PAIRS("format", "idx", "images", "@a", "labels", "@b", "validation",
                                "2"));
    assert_int_equal(d->train->n, 3);
    assert_int_equal(d->held->n, 2);
    mt_data_close(d);
    mt_ctx_free(ctx);
}

static void ranks_and_classes(void **state)
{
    unsigned char b[4096];
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;
    float x[12];
    int32_t y;

    (void)state;
    clear();
    put_labels("b", 2);
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    put("flat", b, idx(b, 2, (const int[]){2, 12}, 0));
    d = kit_must(ctx, KIT_PAIRS("format", "idx", "images", "@flat", "labels", "@b", "classes",
                                "0"));
    assert_int_equal(d->train->sample.x_rank, 1);
    assert_int_equal(d->train->sample.x_dim[0], 12);
    assert_int_equal(d->train->sample.classes, 4);   /* labels 3 and 0 */
    mt_data_close(d);
    put("colour", b, idx(b, 4, (const int[]){2, 3, 2, 2}, 0));
    d = kit_must(ctx, KIT_PAIRS("format", "idx", "images", "@colour", "labels", "@b", "mean",
                                "0.5", "std", "0.25"));
    assert_int_equal(d->train->sample.x_rank, 3);
    assert_int_equal(d->train->sample.x_dim[0], 3);
    assert_int_equal(d->train->fetch(d->train, 1, x, &y), 0);
    for (int j = 0; j < 12; j++) {
        double want = ((12 + j) * 7 / 255.0 - 0.5) / 0.25;
        double said = (12 + j) * 7 * d->train->mul[0] + d->train->add[0];

        assert_true(x[j] - want < 2e-6 && want - x[j] < 2e-6);
        assert_true(x[j] - said < 2e-6 && said - x[j] < 2e-6);
    }
    mt_data_close(d);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

/* Content reaches the digest: one changed pixel, one changed label, another mean. */
static void digests(void **state)
{
    unsigned char b[4096];
    struct mt_ctx *ctx = NULL;
    char digest[4][40];
    size_t n;

    (void)state;
    clear();
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    for (int k = 0; k < 4; k++) {
        struct mt_data *d;

        n = idx(b, 3, (const int[]){N, SIDE, SIDE}, 0);
        b[n - 1] ^= (unsigned char)(k == 1);
        kit_write("a", b, n);
        n = idx(b, 1, (const int[]){N}, 0);
        b[n - 1] ^= (unsigned char)(k == 2);
        kit_write("b", b, n);
        d = kit_must(ctx, KIT_PAIRS("format", "idx", "images", "@a", "labels", "@b", "mean",
                                    k == 3 ? "0.1" : "0"));
        memcpy(digest[k], d->digest, sizeof digest[k]);
        for (int i = 0; i < k; i++) {
            assert_string_not_equal(digest[k], digest[i]);
        }
        mt_data_close(d);
    }
    mt_ctx_free(ctx);
}

enum change { NOTHING, CUT, APPEND, SET, EMPTY, GZ_CUT, GZ_FLIP };

/* Damage of the images ('i') or labels ('l') of a sound pair of 5, and what is said. */
static const struct {
    const char *what;
    char file;
    enum change change;
    int at, value;         /* CUT: bytes kept; SET: byte at = value; GZ_*: from the end */
    int code;
    const char *text;
} damaged[] = {
    {"truncated images", 'i', CUT, 90, 0, MOTLEY_EFORMAT,
     "@/i: truncated: its header announces 5 items of 16 bytes, the file holds 74 bytes of them"},
    {"truncated to little", 'i', CUT, 20, 0, MOTLEY_EFORMAT,
     "@/i: truncated: its header announces 5 items of 16 bytes, the file has 20 bytes"},
    {"ends in header", 'i', CUT, 15, 0, MOTLEY_EFORMAT, "@/i: ends inside its header"},
    {"two bytes", 'i', CUT, 2, 0, MOTLEY_EFORMAT, "@/i: not an IDX file: it has 2 bytes"},
    {"empty", 'l', EMPTY, 0, 0, MOTLEY_EFORMAT, "@/l: not an IDX file: it has 0 bytes"},
    {"truncated labels", 'l', CUT, 11, 0, MOTLEY_EFORMAT,
     "@/l: truncated: its header announces 5 items of 1 bytes, the file holds 3 bytes of them"},
    {"too long", 'i', APPEND, 0, 0, MOTLEY_EFORMAT,
     "@/i: has more bytes than the 5 items of 16 bytes that its header announces (97 bytes on "
     "disk)"},
    {"wrong magic", 'i', SET, 0, 0x89, MOTLEY_EFORMAT,
     "@/i: not an IDX file: it begins with 89000803, images begin with 00000803"},
    {"wrong magic of labels", 'l', SET, 1, 1, MOTLEY_EFORMAT,
     "@/l: not an IDX file: it begins with 00010801, labels begin with 00000801"},
    {"floats", 'i', SET, 2, 0x0d, MOTLEY_EUNSUP,
     "@/i: IDX values of type 0x0d; only unsigned bytes (0x08) are read"},
    {"labels as images", 'i', SET, 3, 1, MOTLEY_EFORMAT,
     "@/i: holds 1 dimensions, images have 2 to 4; are images and labels exchanged?"},
    {"rank 9", 'i', SET, 3, 9, MOTLEY_EFORMAT, "@/i: holds 9 dimensions, images have 2 to 4"},
    {"images as labels", 'l', SET, 3, 3, MOTLEY_EFORMAT,
     "@/l: holds 3 dimensions, labels have 1; are images and labels exchanged?"},
    {"no items", 'i', SET, 7, 0, MOTLEY_EFORMAT, "@/i: dimension 1 is 0, nothing is in it"},
    {"absurd count", 'i', SET, 4, 0xff, MOTLEY_EFORMAT,
     "@/i: truncated: its header announces 4278190085 items of 16 bytes, the file has 96 bytes"},
    {"absurd item", 'i', SET, 8, 0xff, MOTLEY_EFORMAT,
     "@/i: truncated: one item has more bytes than the file"},
    {"fewer labels", 'l', SET, 7, 4, MOTLEY_EFORMAT,
     "@/l: has more bytes than the 4 items of 1 bytes that its header announces (13 bytes on "
     "disk)"},
    {"label out of range", 'l', SET, 10, 10, MOTLEY_EFORMAT,
     "@/l: label 10 of item 2 is outside 0..9; set data.classes if there are more classes"},
    {"gzip cut off", 'i', GZ_CUT, 20, 0, MOTLEY_EFORMAT,
     "@/i: the gzip data is cut off; fetch or copy the file again"},
    {"gzip without its end", 'i', GZ_CUT, 3, 0, MOTLEY_EFORMAT,
     "@/i: the gzip data is cut off; fetch or copy the file again"},
    {"gzip head only", 'l', GZ_CUT, 22, 0, MOTLEY_EFORMAT,
     "@/l: the gzip data is cut off; fetch or copy the file again"},
    {"gzip checksum", 'i', GZ_FLIP, 6, 0, MOTLEY_EFORMAT,
     "@/i: damaged gzip data (incorrect data check)"},
};

static void damage(char file, enum change change, int at, int value)
{
    unsigned char b[4096];
    char name[2] = {file, '\0'}, *gz = NULL;
    struct mt_ctx *ctx = NULL;
    size_t n = file == 'i' ? idx(b, 3, (const int[]){N, SIDE, SIDE}, 0)
                           : idx(b, 1, (const int[]){N}, 0);

    switch (change) {
    case CUT:
        n = (size_t)at;
        break;
    case EMPTY:
        n = 0;
        break;
    case APPEND:
        b[n++] = 0;
        break;
    case SET:
        b[at] = (unsigned char)value;
        break;
    default:
        break;
    }
    if (change != GZ_CUT && change != GZ_FLIP) {
        kit_write(name, b, n);
        return;
    }
    put_gz(name, b, n);
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    assert_int_equal(mt_file_read(ctx, kit_path(name), &gz, &n), 0);
    if (change == GZ_CUT) {
        n -= (size_t)at;
    } else {
        gz[n - (size_t)at] ^= 1;
    }
    kit_write(name, gz, n);
    mt_free(ctx, gz);
    mt_ctx_free(ctx);
}

static void damage_is_named(void **state)
{
    (void)state;
    clear();
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        print_message("  %s\n", damaged[k].what);
        put_images("i", N, 0);
        put_labels("l", N);
        damage(damaged[k].file, damaged[k].change, damaged[k].at, damaged[k].value);
        kit_refused(KIT_PAIRS("format", "idx", "images", "@i", "labels", "@l"), damaged[k].code,
                    damaged[k].text);
    }
}

static void files_are_named(void **state)
{
    unsigned char b[4096];

    (void)state;
    clear();
    kit_refused(KIT_PAIRS("format", "idx", "path", "@none"), MOTLEY_EFILE,
                "@/none: there is no such folder");
    kit_refused(KIT_PAIRS("format", "idx", "path", "@"), MOTLEY_EFILE,
                "@: has no train-images-idx3-ubyte or train-images.idx3-ubyte, with or without "
                ".gz; examples/get-mnist.sh fetches the files of MNIST");
    kit_refused(KIT_PAIRS("format", "idx", "images", "@i", "labels", "@l"), MOTLEY_EFILE,
                "@/i: No such file or directory");
    kit_refused(KIT_PAIRS("format", "idx", "images", "@", "labels", "@l"), MOTLEY_EFILE,
                "@: is not a plain file");
    kit_refused(KIT_PAIRS("format", "idx"), MOTLEY_ECONFIG,
                "t.yaml:2:1: data format idx needs 'path' (a folder), or 'images' and 'labels'");
    kit_refused(KIT_PAIRS("format", "idx", "images", "@i"), MOTLEY_ECONFIG,
                "t.yaml:2:1: data format idx: 'images' and 'labels' go together");
    put_images("train-images-idx3-ubyte", N, 0);
    kit_refused(KIT_PAIRS("format", "idx", "path", "@"), MOTLEY_EFILE,
                "@: has train-images-idx3-ubyte, but no train-labels-idx1-ubyte (nor the same "
                "with .gz)");
    put_labels("train-labels-idx1-ubyte", N - 1);
    kit_refused(KIT_PAIRS("format", "idx", "path", "@"), MOTLEY_EFORMAT,
                "@/train-images-idx3-ubyte has 5 images, but @/train-labels-idx1-ubyte has 4 "
                "labels");
    put_labels("train-labels-idx1-ubyte", N);
    put("t10k-images-idx3-ubyte", b, idx(b, 3, (const int[]){N, 2, 8}, 0));
    put_labels("t10k-labels-idx1-ubyte", N);
    kit_refused(KIT_PAIRS("format", "idx", "path", "@"), MOTLEY_EFORMAT,
                "@/t10k-images-idx3-ubyte: an image is 1x2x8, in @/train-images-idx3-ubyte it is "
                "1x4x4");
}

static void starved(void **state)
{
    (void)state;
    clear();
    put_images("train-images-idx3-ubyte", N, 0);
    put_labels("train-labels-idx1-ubyte.gz", N);
    put_images("t10k-images-idx3-ubyte", N, 0);
    put_labels("t10k-labels-idx1-ubyte", N);
    kit_starve(KIT_PAIRS("format", "idx", "path", "@"));
}

/* Mean 33.318421 and deviation 78.567490 of the training pixels (0.1307, 0.3081 of 255) are
 * published everywhere MNIST is used; the counts of the labels are in its description. */
static void original(void **state)
{
    static const int count[10] = {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949};
    const char *root = getenv("MOTLEY_TEST_DATA");
    struct mt_ctx *ctx = NULL;
    struct mt_data *d;
    double sum = 0, square = 0;
    int seen[10] = {0};
    char path[1024];

    (void)state;
    snprintf(path, sizeof path, "%s/mnist", root != NULL ? root : "");
    if (root == NULL || !mt_dir_exists(path)) {
        print_message("MOTLEY_TEST_DATA names no folder with mnist/: not run\n");
        skip();
    }
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    d = kit_must(ctx, KIT_PAIRS("format", "idx", "path", path));
    assert_int_equal(d->train->n, 60000);
    assert_int_equal(d->held->n, 10000);
    assert_int_equal(d->train->sample.x_size, 784);
    for (int64_t i = 0; i < 60000; i++) {
        float x[784];
        int32_t y;

        d->train->fetch(d->train, i, x, &y);
        seen[y]++;
        for (int j = 0; j < 784; j++) {
            sum += (double)x[j];
            square += (double)x[j] * (double)x[j];
        }
    }
    assert_memory_equal(seen, count, sizeof count);
    sum /= 60000 * 784.0;
    square = square / (60000 * 784.0) - sum * sum;
    assert_true(sum > 0.13065 && sum < 0.13067);
    assert_true(square > 0.3080 * 0.3080 && square < 0.3082 * 0.3082);
    mt_data_close(d);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),           cmocka_unit_test(explicit_paths),
        cmocka_unit_test(digests),         cmocka_unit_test(ranks_and_classes),
        cmocka_unit_test(damage_is_named), cmocka_unit_test(files_are_named),
        cmocka_unit_test(starved),         cmocka_unit_test(original),
    };

    return cmocka_run_group_tests_name("data_idx", tests, kit_setup, kit_teardown);
}
