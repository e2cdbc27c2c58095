/* cells.c -- delimited text in the sense of RFC 4180, read in place: a cell is a pointer into the
 * text of the file, its end overwritten by a zero byte. Two passes: the first counts rows and
 * cells and finds all faults, the second cuts. */
#include "data/cells.h"

#include "base/ctx.h"
#include "base/file.h"

#include <limits.h>
#include <string.h>

struct scan {
    const char *path;
    char *at, *end;     /* at end lies the zero byte that mt_file_read adds */
    char separator;
    int64_t line;
};

static int is_blank(const struct scan *s, char c)
{
    return (c == ' ' || c == '\t') && c != s->separator;
}

static int is_stop(const struct scan *s, const char *p)
{
    return p == s->end || *p == s->separator || *p == '\n' || (*p == '\r' && p[1] == '\n');
}

/* The rest of a quoted cell, s->at behind its first quote. cut: the cell is moved together. */
static int quoted(struct scan *s, int cut, char **to)
{
    int64_t first = s->line;
    char *w = s->at;

    *to = w;
    for (;; s->at++) {
        MT_CHECK(s->at < s->end, MOTLEY_EFORMAT,
                 "%s:%lld: a quote is opened in this line and never closed", s->path,
                 (long long)first);
        s->line += *s->at == '\n';
        if (*s->at == '"') {
            if (s->at[1] != '"') {
                break;
            }
            s->at++;
        }
        if (cut) {
            *w++ = *s->at;
        }
    }
    s->at++;
    while (s->at < s->end && is_blank(s, *s->at)) {
        s->at++;
    }
    MT_CHECK(is_stop(s, s->at), MOTLEY_EFORMAT,
             "%s:%lld: text behind a closing quote; a quote inside quotes is written twice",
             s->path, (long long)s->line);
    if (cut) {
        *w = '\0';   /* at most where the closing quote was */
    }
    return MOTLEY_OK;
}

/* One cell; s->at is then at its stop. Its end is not marked yet if it was not quoted: *end. */
static int cell(struct scan *s, int cut, char **begin, char **end)
{
    while (s->at < s->end && is_blank(s, *s->at)) {
        s->at++;
    }
    *end = NULL;
    if (*s->at == '"') {
        s->at++;
        return quoted(s, cut, begin);
    }
    *begin = s->at;
    while (!is_stop(s, s->at)) {
        s->at++;
    }
    *end = s->at;
    while (*end > *begin && is_blank(s, (*end)[-1])) {
        --*end;
    }
    return MOTLEY_OK;
}

/* One row. out: its cells, or NULL to count only. *cells 0: an empty line. */
static int row(struct scan *s, char **out, int64_t *cells)
{
    int64_t n = 0;
    int more = 1;

    while (more) {
        char *begin, *end, *stop, sep;

        MT_TRY(cell(s, out != NULL, &begin, &end));
        stop = s->at;
        sep = *stop;
        more = stop < s->end && sep == s->separator;
        if (n == 0 && !more && begin == end) {
            n = -1;   /* nothing in this line */
        }
        if (stop < s->end) {
            s->at += sep == '\r' ? 2 : 1;
            s->line += sep != s->separator;
        }
        if (out != NULL && n >= 0) {
            out[n] = begin;
            if (end != NULL) {
                *end = '\0';
            }
        }
        n++;
    }
    *cells = n;
    return MOTLEY_OK;
}

static char frequent(const struct scan *s)
{
    static const char candidates[] = ";\t,|";
    int count[sizeof candidates] = {0}, best = 2, inside = 0;

    for (const char *p = s->at; p < s->end && (inside || *p != '\n'); p++) {
        const char *found = strchr(candidates, *p);

        inside ^= *p == '"';
        if (!inside && found != NULL && *p != '\0') {
            count[found - candidates]++;
        }
    }
    for (int i = 0; candidates[i] != '\0'; i++) {
        best = count[i] > count[best] ? i : best;
    }
    return candidates[best];
}

/* Rows and columns, with all checks. */
static int measure(struct scan s, struct mt_cells *c)
{
    while (s.at < s.end) {
        int64_t n, line = s.line;

        MT_TRY(row(&s, NULL, &n));
        if (n == 0) {
            continue;
        }
        MT_CHECK(n <= INT_MAX, MOTLEY_EFORMAT, "%s:%lld: too many cells", s.path,
                 (long long)line);
        if (c->rows == 0) {
            c->cols = (int)n;
        }
        MT_CHECK(n == c->cols, MOTLEY_EFORMAT, "%s:%lld: %lld cells, the first line has %d",
                 s.path, (long long)line, (long long)n, c->cols);
        c->rows++;
    }
    MT_CHECK(c->rows > 0, MOTLEY_EFORMAT, "%s: is empty", s.path);
    return MOTLEY_OK;
}

static int check_text(const char *path, const char *text, size_t bytes)
{
    const char *zero = memchr(text, '\0', bytes);
    int64_t line = 1;

    if (zero == NULL) {
        return MOTLEY_OK;
    }
    for (const char *p = text; p < zero; p++) {
        line += *p == '\n';
    }
    MT_FAIL(MOTLEY_EFORMAT, "%s:%lld: a zero byte: this is no text, or UTF-16; save it as UTF-8",
            path, (long long)line);
}

static int read_all(struct mt_ctx *ctx, const char *path, char separator, struct mt_cells *c)
{
    struct scan s = {.path = path, .separator = separator, .line = 1};
    size_t bytes = 0;

    MT_TRY(mt_file_read(ctx, path, &c->text, &bytes));
    MT_TRY(check_text(path, c->text, bytes));
    s.at = c->text;
    s.end = c->text + bytes;
    if (bytes >= 3 && memcmp(s.at, "\xef\xbb\xbf", 3) == 0) {
        s.at += 3;
    }
    if (s.separator == 0) {
        s.separator = frequent(&s);
    }
    MT_TRY(measure(s, c));
    MT_TRY(MT_NEW_N(ctx, c->rows * c->cols, &c->cell));
    MT_TRY(MT_NEW_N(ctx, c->rows, &c->line));
    for (int64_t r = 0; r < c->rows;) {
        int64_t n;

        c->line[r] = s.line;
        MT_TRY(row(&s, c->cell + r * c->cols, &n));
        r += n > 0;
    }
    return MOTLEY_OK;
}

int mt_cells_read(struct mt_ctx *ctx, const char *path, char separator, struct mt_cells *out)
{
    struct mt_cells c = {0};
    int st = read_all(ctx, path, separator, &c);

    if (st < 0) {
        mt_cells_free(ctx, &c);
        return st;
    }
    *out = c;
    return MOTLEY_OK;
}

void mt_cells_free(struct mt_ctx *ctx, struct mt_cells *c)
{
    mt_free(ctx, c->text);
    mt_free(ctx, c->cell);
    mt_free(ctx, c->line);
    memset(c, 0, sizeof *c);
}
