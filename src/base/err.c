/* err.c -- the error record of a thread: one text, and the way it took up. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct record {
    char text[2048];
    char trace[2048];
};

static _Thread_local struct record rec;

int mt_err_raise(int code, const char *func, const char *file, int line, const char *fmt, ...)
{
    char text[sizeof rec.text];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);   /* fmt's arguments may point into the old record */
    va_end(ap);
    memcpy(rec.text, text, sizeof text);
    rec.trace[0] = '\0';
    return mt_err_trace(code, func, file, line);
}

int mt_err_trace(int code, const char *func, const char *file, int line)
{
    size_t used = strlen(rec.trace);
    const char *base = strstr(file, "src/");

    snprintf(rec.trace + used, sizeof rec.trace - used, "  in %s (%s:%d)\n", func,
             base ? base : file, line);
    return code;
}

void mt_err_prefix(const char *fmt, ...)
{
    char text[sizeof rec.text];
    size_t used;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s", rec.text);
    memcpy(rec.text, text, sizeof text);
}

const char *mt_err_text(void)
{
    return rec.text;
}

const char *mt_err_trace_text(void)
{
    return rec.trace;
}

const char *mt_err_code_name(int code)
{
    switch (code) {
#define MT_CASE(name, value, text)                                                            \
    case value:                                                                               \
        return text;
        MOTLEY_STATUS_MAP(MT_CASE)
#undef MT_CASE
    default:
        return "unknown error";
    }
}

void mt_err_clear(void)
{
    rec.text[0] = '\0';
    rec.trace[0] = '\0';
}
