/* report.c -- records of checks and their three printed forms; see report.h. */
#include "tests/report.h"

#include "base/ctx.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#define MANY 40   /* a suite of more cases is one line, and the failed ones */

struct mt_result mt_result_new(const char *suite, const char *name, const char *what)
{
    struct mt_result x = {.pass = 1, .position = -1};

    snprintf(x.suite, sizeof x.suite, "%s", suite);
    snprintf(x.name, sizeof x.name, "%s", name);
    snprintf(x.what, sizeof x.what, "%s", what);
    return x;
}

/* Error in units of the bound; a zero bound asks for equality. */
static double ratio(double error, double bound)
{
    if (error == 0) {
        return 0;
    }
    return bound > 0 && !isnan(error) ? error / bound : INFINITY;
}

void mt_result_element(struct mt_result *x, int64_t position, double value, double expected,
                       double bound)
{
    double error = fabs(value - expected);

    if ((isnan(value) && isnan(expected)) || value == expected) {
        error = 0;
    } else if (isnan(error)) {
        error = INFINITY;
    }
    x->elements++;
    if (x->position < 0 || ratio(error, bound) > ratio(x->error, x->bound)) {
        x->position = position;
        x->error = error;
        x->bound = bound;
        x->value = value;
        x->expected = expected;
    }
    if (error > 0 && !(error <= bound)) {
        x->pass = 0;
    }
}

void mt_result_fail(struct mt_result *x, const char *fmt, ...)
{
    va_list ap;

    x->pass = 0;
    if (x->note[0] == '\0') {
        va_start(ap, fmt);
        vsnprintf(x->note, sizeof x->note, fmt, ap);
        va_end(ap);
    }
}

void mt_report_init(struct mt_report *r, struct mt_ctx *ctx)
{
    memset(r, 0, sizeof *r);
    r->ctx = ctx;
}

void mt_report_fini(struct mt_report *r)
{
    mt_free(r->ctx, r->item);
    r->item = NULL;
    r->n = r->room = 0;
}

int mt_report_add(struct mt_report *r, const struct mt_result *x)
{
    if (r->n == r->room) {
        int room = r->room == 0 ? 64 : 2 * r->room;

        MT_TRY(MT_RESIZE(r->ctx, room, &r->item));
        r->room = room;
    }
    r->item[r->n++] = *x;
    r->failed += !x->pass;
    return MOTLEY_OK;
}

static int same_case(const struct mt_result *a, const struct mt_result *b)
{
    return strcmp(a->suite, b->suite) == 0 && strcmp(a->name, b->name) == 0;
}

static void print_failed(const struct mt_result *x, FILE *f)
{
    fprintf(f, "    FAILED %s", x->what);
    if (x->position >= 0 && !(x->error <= x->bound)) {
        fprintf(f, ": element %" PRId64 " is %.9g, expected %.9g; error %.3g, bound %.3g",
                x->position, x->value, x->expected, x->error, x->bound);
    }
    fprintf(f, "%s%s\n", x->note[0] != '\0' ? ": " : "", x->note);
}

/* One line about n records from i on. cases: how many they are; 0: one, which is named. */
static void print_line(const struct mt_report *r, int i, int n, int cases, FILE *f)
{
    const struct mt_result *worst = &r->item[i];
    char many[64];
    int failed = 0;

    for (int k = i; k < i + n; k++) {
        const struct mt_result *x = &r->item[k];

        failed += !x->pass;
        if (ratio(x->error, x->bound) > ratio(worst->error, worst->bound)) {
            worst = x;
        }
    }
    snprintf(many, sizeof many, "%d cases", cases);
    fprintf(f, "%-4s  %-14s %-30s %4d checks  error/bound %8.2g", failed ? "FAIL" : "ok",
            r->item[i].suite, cases > 0 ? many : r->item[i].name, n,
            ratio(worst->error, worst->bound));
    if (worst->error > 0) {
        fprintf(f, "  (%s%s%s [%" PRId64 "]: %.2g of %.2g)", cases > 0 ? worst->name : "",
                cases > 0 ? ", " : "", worst->what, worst->position, worst->error,
                worst->bound);
    }
    fprintf(f, "\n");
}

/* Records of the case, or of the suite, that begins at i. */
static int length(const struct mt_report *r, int i, int suite, int *cases)
{
    int n = 0;

    *cases = 0;
    while (i + n < r->n && (suite ? strcmp(r->item[i + n].suite, r->item[i].suite) == 0
                                  : same_case(&r->item[i + n], &r->item[i]))) {
        *cases += n == 0 || !same_case(&r->item[i + n], &r->item[i + n - 1]);
        n++;
    }
    return n;
}

void mt_report_print(const struct mt_report *r, int from, FILE *f)
{
    int cases, suite_end = from, many = 0;

    for (int i = from, n; i < r->n; i += n) {
        int failed = 0, one;

        if (i == suite_end) {
            suite_end += length(r, i, 1, &cases);
            many = cases > MANY;
            if (many) {
                print_line(r, i, suite_end - i, cases, f);
            }
        }
        n = length(r, i, 0, &one);
        for (int k = i; k < i + n; k++) {
            failed |= !r->item[k].pass;
        }
        if (!many || failed) {
            print_line(r, i, n, 0, f);
        }
        for (int k = i; k < i + n && failed; k++) {
            if (!r->item[k].pass) {
                print_failed(&r->item[k], f);
            }
        }
    }
}

void mt_report_summary(const struct mt_report *r, FILE *f)
{
    int suites = 0, cases = 0;

    for (int i = 0; i < r->n; i++) {
        int k = 0;

        while (strcmp(r->item[k].suite, r->item[i].suite) != 0) {
            k++;
        }
        suites += k == i;   /* the first of its suite */
        cases += i == 0 || !same_case(&r->item[i], &r->item[i - 1]);
    }
    if (r->failed > 0) {
        fprintf(f, "%d of %d checks FAILED (%d cases in %d suites)\n", r->failed, r->n, cases,
                suites);
    } else {
        fprintf(f, "%d checks of %d cases in %d suites passed\n", r->n, cases, suites);
    }
}

/* Text for JSON (json = 1) or XML; control characters become blanks. */
static void put_text(FILE *f, const char *s, int json)
{
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;

        if (c < 32) {
            fputc(' ', f);
        } else if (json && (c == '"' || c == '\\')) {
            fprintf(f, "\\%c", c);
        } else if (!json && strchr("<>&\"", c) != NULL) {
            fprintf(f, "&#%d;", c);
        } else {
            fputc(c, f);
        }
    }
}

static void put_field(FILE *f, const char *key, const char *value, int json)
{
    fprintf(f, json ? "\"%s\": \"" : " %s=\"", key);
    put_text(f, value, json);
    fputc('"', f);
}

/* JSON has no NaN and no infinity. */
static void put_number(FILE *f, const char *key, double x)
{
    if (isfinite(x)) {
        fprintf(f, ", \"%s\": %.9g", key, x);
    } else {
        fprintf(f, ", \"%s\": \"%s\"", key, isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
    }
}

static int open_file(const char *path, FILE **f)
{
    *f = fopen(path, "w");
    MT_CHECK(*f != NULL, MOTLEY_EFILE, "%s cannot be written", path);
    return MOTLEY_OK;
}

static int close_file(const char *path, FILE *f)
{
    int bad = ferror(f);

    MT_CHECK((fclose(f) == 0) && !bad, MOTLEY_EFILE, "%s could not be written", path);
    return MOTLEY_OK;
}

static void json_report(const struct mt_report *r, FILE *f)
{
    fprintf(f, "{");
    put_field(f, "device", r->device, 1);
    fprintf(f, ", \"checks\": %d, \"failed\": %d, \"results\": [", r->n, r->failed);
    for (int i = 0; i < r->n; i++) {
        const struct mt_result *x = &r->item[i];

        fprintf(f, "%s\n  {", i == 0 ? "" : ",");
        put_field(f, "suite", x->suite, 1);
        fprintf(f, ", ");
        put_field(f, "case", x->name, 1);
        fprintf(f, ", ");
        put_field(f, "check", x->what, 1);
        fprintf(f, ", \"pass\": %s, \"elements\": %" PRId64, x->pass ? "true" : "false",
                x->elements);
        put_number(f, "error", x->error);
        put_number(f, "bound", x->bound);
        fprintf(f, ", \"position\": %" PRId64, x->position);
        put_number(f, "value", x->value);
        put_number(f, "expected", x->expected);
        fprintf(f, ", ");
        put_field(f, "note", x->note, 1);
        fprintf(f, "}");
    }
    fprintf(f, "\n]}");
}

int mt_report_json(const struct mt_report *r, int n, const char *path)
{
    FILE *f;

    MT_TRY(open_file(path, &f));
    fprintf(f, "{\"devices\": [");
    for (int i = 0; i < n; i++) {
        fprintf(f, "%s\n", i == 0 ? "" : ",");
        json_report(&r[i], f);
    }
    fprintf(f, "\n]}\n");
    return close_file(path, f);
}

static void junit_report(const struct mt_report *r, FILE *f)
{
    fprintf(f, "<testsuite");
    put_field(f, "name", r->device, 0);
    fprintf(f, " tests=\"%d\" failures=\"%d\">\n", r->n, r->failed);
    for (int i = 0; i < r->n; i++) {
        const struct mt_result *x = &r->item[i];

        fprintf(f, "  <testcase");
        put_field(f, "classname", x->suite, 0);
        fprintf(f, " name=\"");
        put_text(f, x->name, 0);
        fprintf(f, ": ");
        put_text(f, x->what, 0);
        fprintf(f, "\"");
        if (x->pass) {
            fprintf(f, "/>\n");
            continue;
        }
        fprintf(f, "><failure");
        put_field(f, "message", x->note, 0);
        fprintf(f, ">element %" PRId64 " is %.9g, expected %.9g; error %.3g, bound %.3g"
                "</failure></testcase>\n",
                x->position, x->value, x->expected, x->error, x->bound);
    }
    fprintf(f, "</testsuite>\n");
}

int mt_report_junit(const struct mt_report *r, int n, const char *path)
{
    FILE *f;

    MT_TRY(open_file(path, &f));
    fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (int i = 0; i < n; i++) {
        junit_report(&r[i], f);
    }
    fprintf(f, "</testsuites>\n");
    return close_file(path, f);
}
