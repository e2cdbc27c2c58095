/* text.c -- a text that grows by doubling. */
#include "base/text.h"

#include "base/ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void mt_text_init(struct mt_text *t, struct mt_ctx *ctx)
{
    memset(t, 0, sizeof *t);
    t->ctx = ctx;
}

/* Room for len more bytes and the zero byte behind them; false after a failure. */
static int ensure(struct mt_text *t, size_t len)
{
    size_t room = t->room < 64 ? 64 : t->room;

    if (t->status < 0) {
        return 0;
    }
    while (room < t->len + len + 1) {
        room *= 2;
    }
    if (room > t->room) {
        t->status = mt_mem_resize(t->ctx, room, 1, (void **)&t->s);
        if (t->status < 0) {
            return 0;
        }
        t->room = room;
    }
    return 1;
}

void mt_text_put(struct mt_text *t, const char *s, size_t len)
{
    if (ensure(t, len)) {
        memcpy(t->s + t->len, s, len);
        t->len += len;
        t->s[t->len] = '\0';
    }
}

void mt_text_add(struct mt_text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        t->status = t->status < 0 ? t->status
                                  : mt_err_raise(MOTLEY_EBUG, __func__, __FILE__, __LINE__,
                                                 "internal error, please report: format '%s'", fmt);
    } else if (ensure(t, (size_t)n)) {
        va_start(ap, fmt);
        vsnprintf(t->s + t->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
        t->len += (size_t)n;
    }
}

int mt_text_take(struct mt_text *t, char **out)
{
    int st;

    mt_text_put(t, "", 0);   /* so that an empty text is a text, too */
    st = t->status;
    if (st < 0) {
        mt_text_drop(t);
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    *out = t->s;
    mt_text_init(t, t->ctx);
    return MOTLEY_OK;
}

void mt_text_drop(struct mt_text *t)
{
    mt_free(t->ctx, t->s);
    mt_text_init(t, t->ctx);
}

/* The table of well-formed sequences is that of the Unicode Standard, chapter 3, table 3-7. */
int mt_text_utf8(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80                   ? 1
            : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
            : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
            : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                          : 0;

    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)
        || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return n;
}
