/* data.c -- opening a source of data by its format, the validation split, digest, order.
 *
 * Order and split are permutations computed at the moment of use (mt_rng_permute), never tables:
 * every rank can name the sample at any place of any epoch without having seen the others. */
#include "data/data.h"

#include "base/ctx.h"
#include "base/rng.h"

#include <stdio.h>
#include <string.h>

enum { FORMAT, VALIDATION, SHUFFLE, COMMON };

const struct mt_attr mt_data_common[] = {
    {"format", MT_ATTR_TEXT, .required = 1, .doc = "reader, by name"},
    {"validation", MT_ATTR_NUM, .min = 0, .max = 1e15,
     .doc = "part (below 1) or number of training samples that are held out, if the format "
            "gives no held-out set"},
    {"shuffle", MT_ATTR_BOOL, .def.b = 1, .doc = "a new order each epoch"},
    {0}};

int mt_sample_shape(struct mt_sample *sample, int rank, const int64_t *dim)
{
    int64_t size = 1;

    MT_CHECK(rank >= 1 && rank <= MT_DATA_MAXRANK, MOTLEY_EUNSUP,
             "a sample has %d dimensions; 1 to %d are possible", rank, MT_DATA_MAXRANK);
    for (int d = 0; d < rank; d++) {
        MT_CHECK(dim[d] > 0 && size <= INT32_MAX / dim[d], MOTLEY_EUNSUP,
                 "a sample has more than %d elements, or none", INT32_MAX);
        size *= dim[d];
    }
    sample->x_rank = rank;
    for (int d = 0; d < MT_DATA_MAXRANK; d++) {
        sample->x_dim[d] = d < rank ? dim[d] : 0;
    }
    sample->x_size = size;
    return MOTLEY_OK;
}

int64_t mt_data_order(uint64_t seed, int64_t epoch, int64_t position, int64_t n, int shuffle)
{
    if (!shuffle) {
        return position;
    }
    return (int64_t)mt_rng_permute(mt_rng_key(seed, MT_RNG_SHUFFLE, (uint64_t)epoch),
                                   (uint64_t)position, (uint64_t)n);
}

int64_t mt_split_index(const struct mt_split *split, int64_t i)
{
    if (split->held == 0) {
        return i;
    }
    return (int64_t)mt_rng_permute(
        mt_rng_key(split->seed, MT_RNG_DATA, mt_rng_stream("validation")), (uint64_t)i,
        (uint64_t)split->n);
}

void mt_set_scale(struct mt_set *s, struct mt_scale *scale, double unit, double mean, double std)
{
    scale->mul = (float)(1 / (unit * std));
    scale->add = (float)(-mean / std);
    scale->set_mul = scale->mul;
    scale->set_add = scale->add;
    s->nscale = 1;
    s->mul = &scale->set_mul;
    s->add = &scale->set_add;
}

void mt_set_free(struct mt_set *s)
{
    if (s == NULL) {
        return;
    }
    if (s->free != NULL) {
        s->free(s);
    }
    mt_free(s->ctx, s);
}

/* Part of a set: n places of a split, from `first`. The training part owns the whole. */
struct part {
    struct mt_set *whole;
    struct mt_split split;
    int64_t first;
    int owns;
};

static int part_fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    const struct part *p = s->own;

    return p->whole->fetch(p->whole, mt_split_index(&p->split, p->first + i), x, y);
}

static void part_free(struct mt_set *s)
{
    struct part *p = s->own;

    if (p != NULL && p->owns) {
        mt_set_free(p->whole);
    }
    mt_free(s->ctx, p);
}

static int part_new(struct mt_set *whole, const struct mt_split *split, int64_t first, int64_t n,
                    struct mt_set **out)
{
    struct mt_set *s = NULL;
    struct part *p = NULL;

    MT_TRY(MT_NEW(whole->ctx, &s));
    *s = *whole;
    s->own = NULL;
    s->free = part_free;
    s->fetch = part_fetch;
    s->fit = NULL;
    s->n = n;
    if (MT_NEW(whole->ctx, &p) < 0) {
        mt_set_free(s);
        return MOTLEY_EMEM;
    }
    p->whole = whole;
    p->split = *split;
    p->first = first;
    s->own = p;
    *out = s;
    return MOTLEY_OK;
}

/* How many of n samples `validation` holds out. */
static int held_count(const struct mt_tree *t, double validation, int64_t n, int64_t *held)
{
    const struct mt_tree *at = mt_tree_get(t, "validation");

    if (validation < 1) {
        *held = (int64_t)(validation * (double)n + 0.5);
    } else {
        *held = (int64_t)validation;
        if ((double)*held != validation) {
            MT_TREE_FAIL(at, "validation is %g: give a part below 1 or a whole number of samples",
                         validation);
        }
    }
    if (validation > 0 && (*held < 1 || *held >= n)) {
        MT_TREE_FAIL(at, "validation %g of %lld samples leaves %s", validation, (long long)n,
                     *held < 1 ? "nothing to hold out" : "nothing to train on");
    }
    return MOTLEY_OK;
}

static int split_off(struct mt_data *d, const struct mt_split *split)
{
    struct mt_set *train = NULL, *held = NULL;

    MT_TRY(part_new(d->train, split, 0, split->n - split->held, &train));
    if (part_new(d->train, split, split->n - split->held, split->held, &held) < 0) {
        mt_set_free(train);
        return MOTLEY_EMEM;
    }
    ((struct part *)train->own)->owns = 1;
    d->train = train;
    d->held = held;
    return MOTLEY_OK;
}

static void digest_set(struct mt_hash *h, const struct mt_set *s)
{
    int64_t size[4 + MT_DATA_MAXRANK] = {s->n, s->sample.classes, s->sample.y_size,
                                         s->sample.x_rank};

    for (int d = 0; d < s->sample.x_rank; d++) {
        size[4 + d] = s->sample.x_dim[d];
    }
    mt_hash_add(h, size, sizeof size);
    mt_hash_add_text(h, s->hash);
}

static int digest(struct mt_data *d, const struct mt_split *split)
{
    struct mt_hash *h = NULL;

    MT_TRY(mt_hash_new(d->ctx, &h));
    mt_hash_add_text(h, d->reader->name);
    digest_set(h, d->train);
    if (d->held != NULL) {
        digest_set(h, d->held);
    }
    if (split->held > 0) {
        mt_hash_add(h, &split->seed, sizeof split->seed);
    }
    mt_hash_text(h, d->digest);
    mt_hash_free(h);
    return MOTLEY_OK;
}

static int find_reader(const struct mt_tree *t, const struct mt_reader **out)
{
    const struct mt_tree *word = t;
    const char *names[64], *near;
    char known[512] = "";
    int n = 0;

    MT_CHECK(t != NULL, MOTLEY_ECONFIG, "section 'data' is missing");
    if (t->kind == MT_TREE_MAP) {
        word = mt_tree_get(t, "format");
    }
    if (word == NULL || word->kind != MT_TREE_SCALAR) {
        MT_TREE_FAIL(word == NULL ? t : word, "data needs 'format', the name of a reader");
    }
    for (; mt_readers[n] != NULL && n < 64; n++) {
        size_t used = strlen(known);

        if (strcmp(word->text, mt_readers[n]->name) == 0) {
            *out = mt_readers[n];
            return MOTLEY_OK;
        }
        names[n] = mt_readers[n]->name;
        snprintf(known + used, sizeof known - used, "%s%s", n > 0 ? ", " : "", names[n]);
    }
    near = mt_word_nearest(word->text, names, n);
    if (near != NULL) {
        MT_TREE_FAIL(word, "unknown data format '%s'; did you mean '%s'?", word->text, near);
    }
    MT_TREE_FAIL(word, "unknown data format '%s'; known: %s", word->text, known);
}

static int open_sets(struct mt_data *d, const struct mt_tree *t, uint64_t seed)
{
    struct mt_attr attrs[COMMON + MT_MAXATTR + 1];
    union mt_attr_val val[COMMON + MT_MAXATTR];
    struct mt_split split = {.seed = seed};
    char what[64];
    int own = mt_attr_count(d->reader->attrs);

    MT_BUG_IF(own > MT_MAXATTR);
    memcpy(attrs, mt_data_common, COMMON * sizeof *attrs);
    memcpy(attrs + COMMON, d->reader->attrs, (size_t)(own + 1) * sizeof *attrs);
    snprintf(what, sizeof what, "data format %s", d->reader->name);
    MT_TRY(mt_tree_attrs(t, attrs, what, NULL, val, NULL));
    d->shuffle = val[SHUFFLE].b;
    MT_TRY(d->reader->open(d->ctx, t, val + COMMON, seed, &d->train, &d->held));

    split.n = d->train->n;
    if (d->held == NULL) {
        MT_TRY(held_count(t, val[VALIDATION].f, split.n, &split.held));
    } else if (val[VALIDATION].f > 0) {
        MT_TREE_FAIL(mt_tree_get(t, "validation"),
                     "validation: this source has a held-out set of its own (%lld samples); "
                     "remove the key", (long long)d->held->n);
    }
    if (d->train->fit != NULL) {
        MT_TRY(d->train->fit(d->train, &split));
    }
    if (split.held > 0) {
        MT_TRY(split_off(d, &split));
    }
    MT_TRY(digest(d, &split));
    mt_log(d->ctx, MT_LOG_INFO, "data", "%s: %lld samples to train on, %lld held out",
           d->reader->name, (long long)d->train->n,
           (long long)(d->held != NULL ? d->held->n : 0));
    return MOTLEY_OK;
}

int mt_data_open(struct mt_ctx *ctx, const struct mt_tree *t, uint64_t seed,
                 struct mt_data **out)
{
    struct mt_data *d = NULL;
    const struct mt_reader *reader = NULL;
    int st = MOTLEY_OK;

    MT_TRY(find_reader(t, &reader));
    MT_TRY(MT_NEW(ctx, &d));
    d->ctx = ctx;
    d->reader = reader;
    MT_TRY_OR(fail, open_sets(d, t, seed));
    *out = d;
    return MOTLEY_OK;
fail:
    mt_data_close(d);
    return st;
}

void mt_data_close(struct mt_data *d)
{
    if (d == NULL) {
        return;
    }
    mt_set_free(d->held);
    mt_set_free(d->train);
    mt_free(d->ctx, d);
}
