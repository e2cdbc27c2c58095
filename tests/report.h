/* report.h -- results of numerical checks: one record a check, with the worst element;
 * collected, then printed as a table, as JSON or as JUnit. Knows nothing of operations, so that
 * products, optimizers and random numbers report in the same way. */
#ifndef MT_TESTS_REPORT_H
#define MT_TESTS_REPORT_H

#include <stdint.h>
#include <stdio.h>

struct mt_ctx;

struct mt_result {
    char suite[32];         /* "linear" */
    char name[64];          /* case: "odd 7x33" */
    char what[32];          /* "forward", "gradient weight", "same bits" */
    int pass;
    int64_t elements;       /* compared */
    double error, bound;    /* of the worst element: largest error / bound */
    int64_t position;       /* of the worst element; -1: none; a check may count on behind
                               the elements, for what is not about one of them */
    double value, expected; /* there */
    char note[256];         /* more about a failure, or "" */
};

struct mt_report {
    struct mt_ctx *ctx;
    char device[192];       /* on which */
    int n, room, failed;
    struct mt_result *item;
};

/* An empty result that passes. */
struct mt_result mt_result_new(const char *suite, const char *name, const char *what);
/* One more element: passes if |value - expected| <= bound, or if both are NaN. */
void mt_result_element(struct mt_result *x, int64_t position, double value, double expected,
                       double bound);
/* The check failed for another reason than an element; printf. Keeps the first reason. */
void mt_result_fail(struct mt_result *x, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

void mt_report_init(struct mt_report *r, struct mt_ctx *ctx);
void mt_report_fini(struct mt_report *r);
int mt_report_add(struct mt_report *r, const struct mt_result *x);

/* A line per case (per suite where there are many) from record `from` on (the worst check of
 * each), all failed checks in detail. */
void mt_report_print(const struct mt_report *r, int from, FILE *f);
/* Last line: "312 checks of 40 cases in 12 suites passed". */
void mt_report_summary(const struct mt_report *r, FILE *f);
/* n reports, one a device, into a file. */
int mt_report_json(const struct mt_report *r, int n, const char *path);
int mt_report_junit(const struct mt_report *r, int n, const char *path);

#endif
