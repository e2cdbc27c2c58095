/* csv.c -- tables as text: numbers in, and numbers or a class out.
 *
 *   x[j] = (cell[j] - mean_j) / std_j       mean and deviation over the training part alone;
 *                                           standardise: no  leaves the cells as they are
 *
 * The same transform is applied to what is held out. A column without variation is only shifted.
 * Cells stay double until they are fetched, so a column like a time stamp (large values, small
 * differences) keeps its differences. Nothing is guessed about missing values: they are refused
 * by line and column. Classes are numbered in the order of their words, by value if all are
 * integers. */
#include "data/data.h"

#include "base/ctx.h"
#include "base/num.h"
#include "data/cells.h"
#include "data/columns.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PATH, HELD, HEADER, SEPARATOR, TARGET, COLUMNS, IGNORE, LABELS, CLASSES, STANDARDISE };
enum { AUTO, YES, NO };                         /* header, labels */
enum { SCALE_NO, SCALE_INPUTS, SCALE_ALL };     /* standardise */

static const struct mt_attr attrs[] = {
    {"path", MT_ATTR_TEXT, .required = 1, .doc = "file of the training samples, one a line"},
    {"held", MT_ATTR_TEXT, .doc = "file of the held-out samples, with the same columns"},
    {"header", MT_ATTR_WORD, .words = "auto yes no",
     .doc = "whether the first line names the columns; auto: if none of its cells is a number"},
    {"separator", MT_ATTR_TEXT, .def.s = "auto",
     .doc = "one character, or comma, semicolon, tab, bar; auto: the most frequent in line 1"},
    {"target", MT_ATTR_TEXT,
     .doc = "column to predict, by name or number from 1; several with commas; default: the last"},
    {"columns", MT_ATTR_TEXT, .doc = "columns of x, with commas; default: all others"},
    {"ignore", MT_ATTR_TEXT, .doc = "columns left out, with commas"},
    {"labels", MT_ATTR_WORD, .words = "auto yes no",
     .doc = "whether the target is a class; auto: if its first cell is not a number"},
    {"classes", MT_ATTR_INT, .def.i = 0, .min = 0, .max = 1e6,
     .doc = "number of classes there must be; 0: as many as there are"},
    {"standardise", MT_ATTR_WORD, .words = "no inputs all", .def.w = SCALE_INPUTS,
     .doc = "shift and scale columns to mean 0 and deviation 1: none, those of x, those of y too"},
    {0}};

/* All samples: training first, then held out. */
struct table {
    int64_t rows, nx, ny;
    double *x, *y;             /* rows x nx, rows x ny */
    int32_t *label;            /* rows, or NULL */
    double *mul, *add, *ymul, *yadd;
    int scale;
};

/* One set; the training set owns the table. */
struct own {
    struct table *table;
    int64_t first;
    int owns;
};

/* ---- cells -------------------------------------------------------------------------------- */

static int is_missing(const char *text)
{
    static const char *const words[] = {"", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL",
                                        "null", "None", "?", "-"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static int cell_number(const struct mt_columns *c, int64_t row, int col, double *out)
{
    const char *text = c->cells->cell[row * c->cells->cols + col];
    char what[80];

    if (mt_num_real(text, out) && fabs(*out) <= FLT_MAX) {
        return MOTLEY_OK;
    }
    mt_columns_text(c, col, what);
    MT_CHECK(!is_missing(text), MOTLEY_EFORMAT,
             "%s:%lld: %s: the value is missing ('%s'); remove the line or ignore the column",
             c->path, (long long)c->cells->line[row], what, text);
    MT_FAIL(MOTLEY_EFORMAT, "%s:%lld: %s: '%.60s' is not a number%s", c->path,
            (long long)c->cells->line[row], what, text,
            mt_num_real(text, out) ? " that fits into 32 bits" : "");
}

/* Rows of one file into the table from row `to`. */
static int read_numbers(struct table *t, const struct mt_columns *c, int64_t from, int64_t to)
{
    for (int64_t r = from; r < c->cells->rows; r++, to++) {
        for (int j = 0; j < c->nx; j++) {
            MT_TRY(cell_number(c, r, c->x[j], &t->x[to * t->nx + j]));
        }
        for (int j = 0; j < c->ny && t->label == NULL; j++) {
            MT_TRY(cell_number(c, r, c->y[j], &t->y[to * t->ny + j]));
        }
    }
    return MOTLEY_OK;
}

/* ---- classes ------------------------------------------------------------------------------ */

static int by_word(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = 0, y = 0;

    mt_num_int(*(char *const *)a, &x);
    mt_num_int(*(char *const *)b, &y);
    return (x > y) - (x < y);
}

struct classes {
    char **word;         /* borrowed from the cells of the training file */
    int64_t n;
    int (*order)(const void *, const void *);
};

/* The distinct words of the target column, sorted. */
static int find_classes(struct mt_ctx *ctx, const struct mt_columns *c, int64_t from,
                        struct classes *k)
{
    int64_t rows = c->cells->rows - from, value;

    MT_TRY(MT_NEW_N(ctx, rows, &k->word));
    k->order = by_value;
    for (int64_t r = 0; r < rows; r++) {
        char what[80];

        k->word[r] = c->cells->cell[(from + r) * c->cells->cols + c->y[0]];
        MT_CHECK(!is_missing(k->word[r]), MOTLEY_EFORMAT,
                 "%s:%lld: %s: the class is missing ('%s'); remove the line", c->path,
                 (long long)c->cells->line[from + r], mt_columns_text(c, c->y[0], what),
                 k->word[r]);
        if (!mt_num_int(k->word[r], &value)) {
            k->order = by_word;
        }
    }
    qsort(k->word, (size_t)rows, sizeof *k->word, k->order);
    for (int64_t r = 0; r < rows; r++) {
        if (k->n == 0 || k->order(&k->word[k->n - 1], &k->word[r]) != 0) {
            k->word[k->n++] = k->word[r];
        }
    }
    return MOTLEY_OK;
}

static int read_labels(struct table *t, const struct mt_columns *c, const struct classes *k,
                       int64_t from, int64_t to)
{
    for (int64_t r = from; r < c->cells->rows; r++, to++) {
        char *word = c->cells->cell[r * c->cells->cols + c->y[0]], **found;
        int64_t value;

        found = k->order == by_value && !mt_num_int(word, &value)
                    ? NULL
                    : bsearch(&word, k->word, (size_t)k->n, sizeof *k->word, k->order);
        MT_CHECK(found != NULL, MOTLEY_EFORMAT,
                 "%s:%lld: class '%.60s' does not occur in the training samples", c->path,
                 (long long)c->cells->line[r], word);
        t->label[to] = (int32_t)(found - k->word);
    }
    return MOTLEY_OK;
}

/* ---- sets --------------------------------------------------------------------------------- */

static int fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    const struct own *o = s->own;
    const struct table *t = o->table;
    const double *from = t->x + (o->first + i) * t->nx;

    for (int64_t j = 0; j < t->nx && x != NULL; j++) {
        x[j] = (float)(from[j] * t->mul[j] + t->add[j]);
    }
    if (y == NULL) {
        return MOTLEY_OK;
    }
    if (t->label != NULL) {
        *(int32_t *)y = t->label[o->first + i];
        return MOTLEY_OK;
    }
    from = t->y + (o->first + i) * t->ny;
    for (int64_t j = 0; j < t->ny; j++) {
        ((float *)y)[j] = (float)(from[j] * t->ymul[j] + t->yadd[j]);
    }
    return MOTLEY_OK;
}

/* mul and add of each of n columns of v, from the training part of the split. Two passes, in
 * double: a mean first, then squares of differences from it. */
static void standardise(const double *v, int64_t n, const struct mt_split *split, double *mul,
                        double *add)
{
    int64_t rows = split->n - split->held;

    for (int64_t j = 0; j < n; j++) {
        double first = v[mt_split_index(split, 0) * n + j], mean = 0, var = 0;

        for (int64_t i = 0; i < rows; i++) {
            mean += v[mt_split_index(split, i) * n + j] - first;
        }
        mean = first + mean / (double)rows;   /* exact for a column without variation */
        for (int64_t i = 0; i < rows; i++) {
            double d = v[mt_split_index(split, i) * n + j] - mean;

            var += d * d;
        }
        var /= (double)rows;
        mul[j] = var > 0 ? 1 / sqrt(var) : 1;
        add[j] = -mean * mul[j];
    }
}

static int fit(struct mt_set *s, const struct mt_split *split)
{
    struct table *t = ((struct own *)s->own)->table;

    if (t->scale != SCALE_NO) {
        standardise(t->x, t->nx, split, t->mul, t->add);
    }
    if (t->scale == SCALE_ALL && t->label == NULL) {
        standardise(t->y, t->ny, split, t->ymul, t->yadd);
    }
    return MOTLEY_OK;
}

static void table_free(struct mt_ctx *ctx, struct table *t)
{
    if (t == NULL) {
        return;
    }
    mt_free(ctx, t->x);
    mt_free(ctx, t->y);
    mt_free(ctx, t->label);
    mt_free(ctx, t->mul);
    mt_free(ctx, t->ymul);
    mt_free(ctx, t);
}

static void set_free(struct mt_set *s)
{
    struct own *o = s->own;

    if (o != NULL && o->owns) {
        table_free(s->ctx, o->table);
    }
    mt_free(s->ctx, o);
}

static int table_new(struct mt_ctx *ctx, const struct mt_columns *c, int64_t rows, int labels,
                     struct table **out)
{
    struct table *t = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(ctx, &t));
    t->rows = rows;
    t->nx = c->nx;
    t->ny = labels ? 0 : c->ny;
    MT_TRY_OR(fail, MT_NEW_N(ctx, rows * t->nx, &t->x));
    MT_TRY_OR(fail, MT_NEW_N(ctx, 2 * t->nx, &t->mul));
    MT_TRY_OR(fail, MT_NEW_N(ctx, 2 * t->ny, &t->ymul));
    if (labels) {
        MT_TRY_OR(fail, MT_NEW_N(ctx, rows, &t->label));
    } else {
        MT_TRY_OR(fail, MT_NEW_N(ctx, rows * t->ny, &t->y));
    }
    t->add = t->mul + t->nx;
    t->yadd = t->ymul + t->ny;
    for (int64_t j = 0; j < t->nx; j++) {
        t->mul[j] = 1;
    }
    for (int64_t j = 0; j < t->ny; j++) {
        t->ymul[j] = 1;
    }
    *out = t;
    return MOTLEY_OK;
fail:
    table_free(ctx, t);
    return st;
}

/* Rows first .. first+n-1; takes the table if owns. */
static int set_new(struct mt_ctx *ctx, struct table *t, int64_t first, int64_t n, int64_t classes,
                   int owns, struct mt_set **out)
{
    struct mt_set *s = NULL;
    struct own *o = NULL;
    struct mt_hash *h = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->n = n;
    s->fetch = fetch;
    s->free = set_free;
    s->fit = fit;
    s->sample.classes = classes;
    s->sample.y_size = t->ny;
    s->nscale = t->nx;
    s->mul = t->mul;
    s->add = t->add;
    MT_TRY_OR(fail, mt_sample_shape(&s->sample, 1, &t->nx));
    MT_TRY_OR(fail, mt_hash_new(ctx, &h));
    mt_hash_add(h, &t->scale, sizeof t->scale);
    mt_hash_add(h, t->x + first * t->nx, (size_t)(n * t->nx) * sizeof *t->x);
    if (t->label != NULL) {
        mt_hash_add(h, t->label + first, (size_t)n * sizeof *t->label);
    } else {
        mt_hash_add(h, t->y + first * t->ny, (size_t)(n * t->ny) * sizeof *t->y);
    }
    mt_hash_text(h, s->hash);
    mt_hash_free(h);
    MT_TRY_OR(fail, MT_NEW(ctx, &o));
    o->table = t;
    o->first = first;
    o->owns = owns;
    s->own = o;
    *out = s;
    return MOTLEY_OK;
fail:
    mt_set_free(s);
    return st;
}

/* ---- opening ------------------------------------------------------------------------------ */

static int separator_of(const struct mt_tree *at, const char *text, char *out)
{
    static const char words[] = "auto comma semicolon tab bar", chars[] = "\0,;\t|";
    int w = mt_word_find(words, text);

    if (w < 0 && strlen(text) != 1) {
        MT_TREE_FAIL(mt_tree_get(at, "separator"),
                     "separator is '%s': give one character, or one of %s", text, words);
    }
    *out = w >= 0 ? chars[w] : text[0];
    return MOTLEY_OK;
}

static int has_header(const struct mt_cells *c, int mode)
{
    double number;

    for (int i = 0; mode == AUTO && i < c->cols; i++) {
        if (mt_num_real(c->cell[i], &number)) {
            return 0;
        }
    }
    return mode != NO;
}

static int wants_labels(const struct mt_columns *c, int mode, int64_t from, int *out)
{
    const char *first = c->cells->cell[from * c->cells->cols + c->y[0]];
    double number;

    if (mode == YES && c->ny > 1) {
        MT_TREE_FAIL(mt_tree_get(c->at, "target"), "labels: a class is one column, 'target' has "
                     "%d", c->ny);
    }
    *out = mode == YES || (mode == AUTO && c->ny == 1 && !is_missing(first) &&
                           !mt_num_real(first, &number));
    return MOTLEY_OK;
}

/* The held-out file must have the columns of the training file, and the header if that has one. */
static int check_columns(const struct mt_columns *a, const struct mt_columns *b, int64_t from)
{
    MT_CHECK(b->cells->cols == a->cells->cols, MOTLEY_EFORMAT, "%s has %d columns, %s has %d",
             b->path, b->cells->cols, a->path, a->cells->cols);
    for (int i = 0; a->name != NULL && i < a->cells->cols; i++) {
        MT_CHECK(strcmp(b->cells->cell[i], a->name[i]) == 0, MOTLEY_EFORMAT,
                 "%s: column %d is named '%.60s', in %s it is '%.60s'", b->path, i + 1,
                 b->cells->cell[i], a->path, a->name[i]);
    }
    MT_CHECK(b->cells->rows > from, MOTLEY_EFORMAT, "%s: has no samples", b->path);
    return MOTLEY_OK;
}

static int check_classes(struct mt_ctx *ctx, const struct mt_columns *c, const struct classes *k,
                         int64_t wanted)
{
    char what[80];

    MT_CHECK(wanted == 0 || wanted == k->n, MOTLEY_EFORMAT,
             "%s: %s has %lld classes, data.classes is %lld", c->path,
             mt_columns_text(c, c->y[0], what), (long long)k->n, (long long)wanted);
    for (int64_t i = 0; i < k->n; i++) {
        mt_log(ctx, MT_LOG_INFO, "data", "class %lld is '%s'", (long long)i, k->word[i]);
    }
    return MOTLEY_OK;
}

/* Everything that is needed to make the sets, released in one place. */
struct opening {
    struct mt_cells a, b;      /* training, held out */
    struct mt_columns ca, cb;
    struct classes classes;
    struct table *table;
    int64_t from;              /* first row of samples */
    int labels;
};

static int read_files(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                      struct opening *p)
{
    char sep = 0;

    MT_TRY(separator_of(at, val[SEPARATOR].s, &sep));
    p->ca = (struct mt_columns){.path = val[PATH].s, .at = at, .cells = &p->a};
    MT_TRY(mt_cells_read(ctx, p->ca.path, sep, &p->a));
    p->from = has_header(&p->a, val[HEADER].w);
    p->ca.name = p->from ? p->a.cell : NULL;
    MT_CHECK(p->a.rows > p->from, MOTLEY_EFORMAT, "%s: has a header and no samples", p->ca.path);
    MT_TRY(mt_columns_choose(ctx, &p->ca, val[TARGET].s, val[IGNORE].s, val[COLUMNS].s));
    MT_TRY(wants_labels(&p->ca, val[LABELS].w, p->from, &p->labels));
    if (val[HELD].s != NULL) {
        p->cb = p->ca;
        p->cb.path = val[HELD].s;
        p->cb.cells = &p->b;
        MT_TRY(mt_cells_read(ctx, p->cb.path, sep, &p->b));
        MT_TRY(check_columns(&p->ca, &p->cb, p->from));
    }
    return MOTLEY_OK;
}

static int fill_table(struct mt_ctx *ctx, const union mt_attr_val *val, struct opening *p,
                      int64_t n, int64_t held)
{
    MT_TRY(table_new(ctx, &p->ca, n + held, p->labels, &p->table));
    p->table->scale = val[STANDARDISE].w;
    MT_TRY(read_numbers(p->table, &p->ca, p->from, 0));
    if (held > 0) {
        MT_TRY(read_numbers(p->table, &p->cb, p->from, n));
    }
    if (p->labels) {
        MT_TRY(find_classes(ctx, &p->ca, p->from, &p->classes));
        MT_TRY(check_classes(ctx, &p->ca, &p->classes, val[CLASSES].i));
        MT_TRY(read_labels(p->table, &p->ca, &p->classes, p->from, 0));
        if (held > 0) {
            MT_TRY(read_labels(p->table, &p->cb, &p->classes, p->from, n));
        }
    }
    return MOTLEY_OK;
}

static int open_csv(struct mt_ctx *ctx, const struct mt_tree *at, const union mt_attr_val *val,
                    uint64_t seed, struct mt_set **train, struct mt_set **held)
{
    struct opening p = {0};
    struct mt_set *a = NULL, *b = NULL;
    int64_t n, m;
    int st = MOTLEY_OK;

    (void)seed;
    MT_TRY_OR(done, read_files(ctx, at, val, &p));
    n = p.a.rows - p.from;
    m = val[HELD].s != NULL ? p.b.rows - p.from : 0;
    MT_TRY_OR(done, fill_table(ctx, val, &p, n, m));
    if (m > 0) {
        MT_TRY_OR(done, set_new(ctx, p.table, n, m, p.classes.n, 0, &b));
    }
    MT_TRY_OR(done, set_new(ctx, p.table, 0, n, p.classes.n, 1, &a));
    p.table = NULL;
    *train = a;
    *held = b;
    b = NULL;
done:
    mt_set_free(b);
    table_free(ctx, p.table);
    mt_free(ctx, p.classes.word);
    mt_columns_free(ctx, &p.ca);
    mt_cells_free(ctx, &p.a);
    mt_cells_free(ctx, &p.b);
    return st;
}

const struct mt_reader mt_reader_csv = {
    .name = "csv",
    .doc = "tables as text, with separator and header as found or said",
    .attrs = attrs,
    .open = open_csv};
