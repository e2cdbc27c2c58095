/* num.c -- numbers as text. strtod and printf use the decimal point of the process's locale,
 * which belongs to the program around this library; it is put in and taken out again here. */
#include "base/num.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINT_ROOM 8   /* bytes of a decimal point in any locale */

static const char *local_point(void)
{
    const struct lconv *l = localeconv();

    return l->decimal_point[0] != '\0' && strlen(l->decimal_point) < POINT_ROOM
               ? l->decimal_point : ".";
}

int mt_num_int(const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    int hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    char *end;
    long long v;
    double f;

    if (digits[0] < '0' || digits[0] > '9') {
        return 0;   /* strtoll would skip blanks */
    }
    errno = 0;
    v = strtoll(text, &end, hex ? 16 : 10);
    if (*end == '\0' && (!hex || end > digits + 2)) {
        *out = v;
        return errno == 0;
    }
    if (hex || !mt_num_real(text, &f) || f != floor(f) || fabs(f) >= 0x1p53) {
        return 0;
    }
    *out = (int64_t)f;
    return 1;
}

int mt_num_real(const char *text, double *out)
{
    char buf[256];
    const char *point = local_point(), *dot = strchr(text, '.');
    size_t len = strlen(text);
    char *end;
    double v;

    if (len == 0 || len + POINT_ROOM > sizeof buf || strspn(text, "+-.0123456789eE") != len) {
        return 0;   /* also what strtod would take: blanks, hexadecimal, nan, inf */
    }
    if (dot == NULL) {
        memcpy(buf, text, len + 1);
    } else {
        snprintf(buf, sizeof buf, "%.*s%s%s", (int)(dot - text), text, point, dot + 1);
    }
    v = strtod(buf, &end);
    if (*end != '\0' || end == buf || !isfinite(v)) {
        return 0;
    }
    *out = v;
    return 1;
}

/* "1e-03" and "1e+06" to "1e-3" and "1e6", as people write them. */
static void short_exponent(char *s)
{
    char *e = strchr(s, 'e'), *from;

    if (e == NULL) {
        return;
    }
    from = e + 1;
    e += 1;
    if (*from == '-') {
        from++;
        e++;
    } else if (*from == '+') {
        from++;
    }
    while (*from == '0' && from[1] != '\0') {
        from++;
    }
    memmove(e, from, strlen(from) + 1);
}

void mt_num_print(double v, char *buf, int room)
{
    char text[64], *at;
    const char *point = local_point();
    int whole = fabs(v) < 1e15 && v == floor(v);   /* "640", not "6.4e+02" */

    if (isnan(v)) {
        snprintf(buf, (size_t)room, "nan");
        return;
    }
    if (isinf(v)) {
        snprintf(buf, (size_t)room, v < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = whole ? 15 : 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    at = strstr(text, point);
    if (at != NULL) {
        memmove(at + 1, at + strlen(point), strlen(at + strlen(point)) + 1);
        *at = '.';
    }
    short_exponent(text);
    snprintf(buf, (size_t)room, "%s", text);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double mt_num_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, rising);
    return x[n / 2];
}
