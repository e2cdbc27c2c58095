/* attr.c -- attributes: values from text and back, what is allowed, and the nearest word. */
#include "base/attr.h"

#include "base/err.h"
#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_CHOICES 64   /* words of one attribute */
#define MAX_WORD 64      /* letters of a word, with its zero byte */

int mt_attr_count(const struct mt_attr *attrs)
{
    int n = 0;

    while (attrs != NULL && attrs[n].kind != MT_ATTR_END) {
        n++;
    }
    return n;
}

int mt_attr_find(const struct mt_attr *attrs, const char *name)
{
    for (int i = 0; i < mt_attr_count(attrs); i++) {
        if (strcmp(attrs[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

void mt_attr_defaults(const struct mt_attr *attrs, union mt_attr_val *val)
{
    for (int i = 0; i < mt_attr_count(attrs); i++) {
        if (attrs[i].required) {
            memset(&val[i], 0, sizeof val[i]);
        } else {
            val[i] = attrs[i].def;
        }
    }
}

/* ---- words -------------------------------------------------------------------------------- */

/* Start of word i of a blank-separated list, its length in *len; NULL past the end. */
static const char *word_at(const char *words, int i, size_t *len)
{
    for (const char *s = words + strspn(words, " "); *s != '\0'; s += strspn(s, " ")) {
        *len = strcspn(s, " ");
        if (i-- == 0) {
            return s;
        }
        s += *len;
    }
    return NULL;
}

int mt_word_find(const char *words, const char *text)
{
    const char *s;
    size_t len = 0;

    for (int i = 0; (s = word_at(words, i, &len)) != NULL; i++) {
        if (len == strlen(text) && strncmp(s, text, len) == 0) {
            return i;
        }
    }
    return -1;
}

void mt_word_get(const char *words, int i, char *buf, int room)
{
    size_t len = 0;
    const char *s = word_at(words, i, &len);

    snprintf(buf, (size_t)room, "%.*s", (int)len, s != NULL ? s : "");
}

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '-' ? '_' : c;
}

/* Edit distance of two words, an exchange of neighbours counted as one; large when too long.
 * Optimal string alignment: L. Boytsov, Indexing methods for approximate dictionary searching,
 * ACM JEA 16, 2011, section 2. */
static int distance(const char *a, const char *b)
{
    int row[3][MAX_WORD], na = (int)strlen(a), nb = (int)strlen(b);

    if (na >= MAX_WORD || nb >= MAX_WORD) {
        return MAX_WORD;
    }
    for (int j = 0; j <= nb; j++) {
        row[0][j] = j;
    }
    for (int i = 1; i <= na; i++) {
        int *cur = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];

        cur[0] = i;
        for (int j = 1; j <= nb; j++) {
            int same = lower(a[i - 1]) == lower(b[j - 1]);
            int d = up[j - 1] + !same;

            d = up[j] + 1 < d ? up[j] + 1 : d;
            d = cur[j - 1] + 1 < d ? cur[j - 1] + 1 : d;
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2])
                && lower(a[i - 2]) == lower(b[j - 1]) && up2[j - 2] + 1 < d) {
                d = up2[j - 2] + 1;
            }
            cur[j] = d;
        }
    }
    return row[na % 3][nb];
}

const char *mt_word_nearest(const char *text, const char *const *words, int n)
{
    const char *best = NULL;
    int least = 4;

    for (int i = 0; i < n; i++) {
        int d = distance(text, words[i]);
        size_t lt = strlen(text), lw = strlen(words[i]);
        int longer = (int)(lt > lw ? lt : lw);

        if (d < least && 2 * d <= longer) {
            least = d;
            best = words[i];
        }
    }
    return best;
}

/* ---- values ------------------------------------------------------------------------------- */

static int has_min(const struct mt_attr *a)
{
    return a->min != a->max && a->min > -INFINITY;
}

static int has_max(const struct mt_attr *a)
{
    return a->max > a->min && a->max < INFINITY;
}

static void words_listed(const struct mt_attr *a, char *buf, int room)
{
    char word[MAX_WORD];
    size_t used = 0, len = 0;

    buf[0] = '\0';
    for (int i = 0; word_at(a->words, i, &len) != NULL && used < (size_t)room; i++) {
        mt_word_get(a->words, i, word, sizeof word);
        used += (size_t)snprintf(buf + used, (size_t)room - used, "%s%s", i > 0 ? ", " : "",
                                 word);
    }
}

void mt_attr_allowed(const struct mt_attr *a, char *buf, int room)
{
    char lo[MT_NUM_ROOM], hi[MT_NUM_ROOM], list[512], range[96] = "";

    if (a->kind == MT_ATTR_INT || a->kind == MT_ATTR_NUM) {
        mt_num_print(a->min, lo, sizeof lo);
        mt_num_print(a->max, hi, sizeof hi);
        if (has_min(a) && has_max(a)) {
            snprintf(range, sizeof range, ", %s to %s", lo, hi);
        } else if (has_min(a)) {
            snprintf(range, sizeof range, ", %s or more", lo);
        } else if (has_max(a)) {
            snprintf(range, sizeof range, ", %s or less", hi);
        }
        snprintf(buf, (size_t)room, "%s%s", a->kind == MT_ATTR_INT ? "integer" : "number", range);
    } else if (a->kind == MT_ATTR_BOOL) {
        snprintf(buf, (size_t)room, "true or false");
    } else if (a->kind == MT_ATTR_WORD) {
        words_listed(a, list, sizeof list);
        snprintf(buf, (size_t)room, "one of %s", list);
    } else {
        snprintf(buf, (size_t)room, "text");
    }
}

static int refuse(const struct mt_attr *a, const char *text)
{
    char allowed[640];

    mt_attr_allowed(a, allowed, sizeof allowed);
    MT_FAIL(MOTLEY_ECONFIG, "must be %s%s, not '%.60s'",
            a->kind == MT_ATTR_INT ? "an " : a->kind == MT_ATTR_NUM ? "a " : "", allowed, text);
}

static int in_range(const struct mt_attr *a, double v)
{
    return (!has_min(a) || v >= a->min) && (!has_max(a) || v <= a->max);
}

static int parse_word(const struct mt_attr *a, const char *text, union mt_attr_val *val)
{
    char room[MAX_CHOICES][MAX_WORD], list[512];
    const char *words[MAX_CHOICES], *near;
    size_t len = 0;
    int i = mt_word_find(a->words, text), n = 0;

    if (i >= 0) {
        val->w = i;
        return MOTLEY_OK;
    }
    for (; n < MAX_CHOICES && word_at(a->words, n, &len) != NULL; n++) {
        mt_word_get(a->words, n, room[n], MAX_WORD);
        words[n] = room[n];
    }
    near = mt_word_nearest(text, words, n);
    words_listed(a, list, sizeof list);
    MT_CHECK(near == NULL, MOTLEY_ECONFIG, "must be one of %s, not '%.60s'; did you mean '%s'?",
             list, text, near);
    return refuse(a, text);
}

static int parse_bool(const struct mt_attr *a, const char *text, union mt_attr_val *val)
{
    char low[8] = "";
    int i;

    for (size_t k = 0; k + 1 < sizeof low && text[k] != '\0'; k++) {
        low[k] = (char)lower(text[k]);
    }
    i = strlen(text) < sizeof low ? mt_word_find("false true no yes off on", low) : -1;
    if (i < 0) {
        return refuse(a, text);
    }
    val->b = i % 2;
    return MOTLEY_OK;
}

int mt_attr_parse(const struct mt_attr *a, const char *text, union mt_attr_val *val)
{
    int64_t i = 0;
    double f = 0;

    switch (a->kind) {
    case MT_ATTR_INT:
        if (!mt_num_int(text, &i) || !in_range(a, (double)i)) {
            return refuse(a, text);
        }
        val->i = i;
        return MOTLEY_OK;
    case MT_ATTR_NUM:
        if (!mt_num_real(text, &f) || !in_range(a, f)) {
            return refuse(a, text);
        }
        val->f = f;
        return MOTLEY_OK;
    case MT_ATTR_BOOL:
        return parse_bool(a, text, val);
    case MT_ATTR_WORD:
        return parse_word(a, text, val);
    case MT_ATTR_TEXT:
        val->s = text;
        return MOTLEY_OK;
    case MT_ATTR_END:
        break;
    }
    MT_FAIL(MOTLEY_EBUG, "internal error, please report: attribute of kind %d", (int)a->kind);
}

void mt_attr_print(const struct mt_attr *a, union mt_attr_val val, char *buf, int room)
{
    char num[MT_NUM_ROOM];

    if (a->kind == MT_ATTR_INT) {
        snprintf(buf, (size_t)room, "%" PRId64, val.i);
    } else if (a->kind == MT_ATTR_NUM) {
        mt_num_print(val.f, num, sizeof num);
        snprintf(buf, (size_t)room, "%s", num);
    } else if (a->kind == MT_ATTR_BOOL) {
        snprintf(buf, (size_t)room, "%s", val.b ? "true" : "false");
    } else if (a->kind == MT_ATTR_WORD) {
        mt_word_get(a->words, val.w, buf, room);
    } else {
        snprintf(buf, (size_t)room, "%s", val.s != NULL ? val.s : "null");
    }
}
