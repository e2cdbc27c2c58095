/* attr.h -- options of an operation, an optimizer, a schedule or a reader, described as data.
 *
 * One table serves the parser (names, kinds, defaults, ranges), `motley info`, and the manual:
 *
 *     static const struct mt_attr attrs[] = {
 *         {"size", MT_ATTR_INT, .min = 1, .required = 1, .doc = "outputs"},
 *         {"bias", MT_ATTR_BOOL, .def.b = 1, .doc = "add a bias"},
 *         {"form", MT_ATTR_WORD, .words = "exact tanh", .def.w = 0, .doc = "..."},
 *         {0}};
 *
 * The values lie in an array of union mt_attr_val in the order of the table. */
#ifndef MT_BASE_ATTR_H
#define MT_BASE_ATTR_H

#include <stdint.h>

#define MT_MAXATTR 16

enum mt_attr_kind { MT_ATTR_END = 0, MT_ATTR_INT, MT_ATTR_NUM, MT_ATTR_BOOL, MT_ATTR_WORD,
                    MT_ATTR_TEXT };

union mt_attr_val {
    int64_t i;       /* INT */
    double f;        /* NUM */
    int b;           /* BOOL */
    int w;           /* WORD: position in `words` */
    const char *s;   /* TEXT: borrowed, lives as long as the configuration; may be NULL */
};

struct mt_attr {
    const char *name;
    enum mt_attr_kind kind;
    union mt_attr_val def;
    double min, max;      /* INT, NUM: inclusive; min == max: no limits; max < min or infinite: no
                             upper one. So 0 or more is {.min = 0, .max = INFINITY}. */
    const char *words;    /* WORD: the choices, separated by blanks */
    int required;         /* no default */
    const char *doc;
};

int mt_attr_count(const struct mt_attr *attrs);
/* Position of name in the table, -1 if it is not there. */
int mt_attr_find(const struct mt_attr *attrs, const char *name);
/* Defaults of all (required ones: zero). */
void mt_attr_defaults(const struct mt_attr *attrs, union mt_attr_val *val);
/* Read text into *val. The message on failure has no subject: "must be an integer, 1 or more, not
 * 'abc'"; the caller puts one in front with mt_err_prefix. */
int mt_attr_parse(const struct mt_attr *a, const char *text, union mt_attr_val *val);
/* Print a value as it would be written in a configuration. */
void mt_attr_print(const struct mt_attr *a, union mt_attr_val val, char *buf, int room);
/* Print what is allowed: "integer, 1 or more", "one of exact, tanh". */
void mt_attr_allowed(const struct mt_attr *a, char *buf, int room);

/* The word of n that is nearest to text, or NULL if none is near: by edit distance, at most 3 and
 * at most half the length; large and small letters count as equal. */
const char *mt_word_nearest(const char *text, const char *const *words, int n);
/* Position of text in a blank-separated list, -1 if absent; and word i of it, into buf. */
int mt_word_find(const char *words, const char *text);
void mt_word_get(const char *words, int i, char *buf, int room);

#endif
