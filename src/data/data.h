/* data.h -- data sets, readers, the order of samples, and reading ahead.
 *
 * A reader is one file that ends in one descriptor and is named in src.mk (mt_readers is
 * generated from it). It gives a training set and a held-out set. A set hands out single samples
 * by index, normalised and ready, from any thread. */
#ifndef MT_DATA_DATA_H
#define MT_DATA_DATA_H

#include "base/hash.h"
#include "base/tree.h"

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;
struct mt_set;
struct mt_data;

#define MT_DATA_MAXRANK 5

/* Shape of one sample: x always f32; y is one class number (i32) or `y_size` f32 targets. */
struct mt_sample {
    int x_rank;
    int64_t x_dim[MT_DATA_MAXRANK];
    int64_t x_size;             /* product of x_dim */
    int64_t classes;            /* > 0: y is one i32 in 0..classes-1 */
    int64_t y_size;             /* classes == 0: y is y_size f32 */
};

/* Rank and dimensions of x with their product; fails if they exceed what can be. */
int mt_sample_shape(struct mt_sample *sample, int rank, const int64_t *dim);

/* A set of n samples in a random order of which the last `held` are held out; held 0: all, in
 * their own order. The order is a function of seed alone, so nothing is stored. */
struct mt_split {
    uint64_t seed;
    int64_t n, held;
};

/* Sample at place i: i < n - held is the training part. */
int64_t mt_split_index(const struct mt_split *split, int64_t i);

/* One scale for all numbers of x, for readers that have no other: in `own`, since a set points
 * to it. */
struct mt_scale {
    float mul, add;               /* for fetch */
    double set_mul, set_add;      /* the same, for struct mt_set */
};

/* What a reader makes: n samples behind a function that writes sample i into x and y, NULL: not
 * wanted. fetch is called from several threads; it fails only on I/O. */
struct mt_set {
    struct mt_ctx *ctx;
    int64_t n;
    struct mt_sample sample;
    int (*fetch)(const struct mt_set *s, int64_t i, float *x, void *y);
    void (*free)(struct mt_set *s);   /* releases what own holds, not s; may be NULL */
    void *own;                        /* the reader's */
    char hash[MT_HASH_TEXT];          /* of everything that fetch can give, made by the reader */

    /* May be NULL. Called once before the first fetch: statistics (standardising) may be taken
     * from the training part of the split only. */
    int (*fit)(struct mt_set *s, const struct mt_split *split);

    /* How raw numbers become x: x[j] = raw[j] * mul[j % nscale] + add[j % nscale]. For inputs
     * that come from elsewhere (predict). nscale 0: they are taken as they are. */
    int64_t nscale;
    const double *mul, *add;
};

struct mt_reader {
    const char *name, *doc;
    const struct mt_attr *attrs;
    /* Gives *train and *held; *held may be NULL: it is then split off by `validation`. *held may
     * borrow from *train, it is released first. Texts in val live as long as `at`; what open
     * keeps of them it copies. seed: of the training, for what shall change with it. */
    int (*open)(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                uint64_t seed, struct mt_set **train, struct mt_set **held);
};

extern const struct mt_reader *const mt_readers[];   /* ends in NULL */
extern const struct mt_attr mt_data_common[];        /* keys of all formats: format, ... */

/* One open source of data. */
struct mt_data {
    struct mt_ctx *ctx;
    const struct mt_reader *reader;
    struct mt_set *train, *held;     /* held may be NULL: nothing was held out */
    int shuffle;                     /* the key `shuffle`, for mt_load */
    char digest[40];                 /* of sizes, shapes and contents: ranks compare it */
};

/* t: the `data` section: the common keys and the reader's own. `validation` is the part of the
 * training set that is held out when the format gives no held-out set. Gives *out. */
int mt_data_open(struct mt_ctx *ctx, const struct mt_tree *t, uint64_t seed,
                 struct mt_data **out);
void mt_data_close(struct mt_data *d);
/* x = (raw / unit - mean) / std, for fetch by *scale and for others by mul and add of s. */
void mt_set_scale(struct mt_set *s, struct mt_scale *scale, double unit, double mean, double std);
void mt_set_free(struct mt_set *s);   /* what own holds, and s; accepts NULL */

/* Index of the sample at `position` of epoch `epoch`: a pure function, the same for any number of
 * ranks; every sample once an epoch. shuffle 0: position itself. */
int64_t mt_data_order(uint64_t seed, int64_t epoch, int64_t position, int64_t n, int shuffle);

/* Reading ahead: one thread fills blocks of memory that the caller provides, in the order in
 * which they were asked for. */
struct mt_loader;

struct mt_fetch {
    const struct mt_set *set;
    uint64_t seed;
    int64_t epoch, first, count;   /* positions first .. first+count-1 of that epoch */
    int shuffle;
    float *x;                      /* count x sample.x_size; NULL: not wanted */
    void *y;                       /* count x 1 i32, or count x y_size f32; NULL: not wanted */
};

int mt_loader_new(struct mt_ctx *ctx, int depth, struct mt_loader **out);   /* requests ahead */
void mt_loader_free(struct mt_loader *l);   /* pending requests are dropped */
/* Returns at once; *ticket names the request. At most `depth` may be open. */
int mt_loader_ask(struct mt_loader *l, const struct mt_fetch *load, uint64_t *ticket);
/* Waits until that request is filled; returns its error, if any. Each ticket once, in order. */
int mt_loader_wait(struct mt_loader *l, uint64_t ticket);

#endif
