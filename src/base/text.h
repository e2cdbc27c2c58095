/* text.h -- a text that grows.
 *
 * The first failure sticks and later additions do nothing, so a writer of many pieces looks at
 * the status once, in mt_text_take. */
#ifndef MT_BASE_TEXT_H
#define MT_BASE_TEXT_H

#include "base/err.h"

#include <stddef.h>

struct mt_ctx;

struct mt_text {
    struct mt_ctx *ctx;
    char *s;               /* ends in a zero byte; NULL while nothing was added */
    size_t len, room;
    int status;
};

void mt_text_init(struct mt_text *t, struct mt_ctx *ctx);
void mt_text_add(struct mt_text *t, const char *fmt, ...) MT_PRINTF(2, 3);
void mt_text_put(struct mt_text *t, const char *s, size_t len);
/* Gives *out (never NULL; release with mt_free) and leaves t empty, or returns the first failure
 * and releases what there was. */
int mt_text_take(struct mt_text *t, char **out);
void mt_text_drop(struct mt_text *t);

/* Bytes of the UTF-8 sequence at s (ends in a zero byte, which counts as 1), 0 if it is none. */
int mt_text_utf8(const char *s);

#endif
