/* err.h -- how functions fail.
 *
 * A function that can fail returns int: MOTLEY_OK (0) or one of the negative codes of motley.h.
 * Results come through the last pointers, which are untouched on failure. The text of the last
 * failure is kept per thread, with one line for every function it passed through on its way up.
 *
 *     MT_TRY(f(x));                    return upward if f failed
 *     MT_TRY_OR(fail, f(x));           jump to cleanup; the code is in a local `int st`
 *     MT_CHECK(n > 0, MOTLEY_EARG, "batch is %d, must be positive", n);
 *     MT_FAIL(MOTLEY_EFILE, "%s: %s", path, strerror(errno));
 *
 * A message names the thing, the value, the limit and, if it is the user's doing, the remedy. */
#ifndef MT_BASE_ERR_H
#define MT_BASE_ERR_H

#include "motley.h"

#if defined(__GNUC__)
#define MT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define MT_PRINTF(f, a)
#endif

/* Start a new error record (text without newline) and return code. */
int mt_err_raise(int code, const char *func, const char *file, int line, const char *fmt, ...)
    MT_PRINTF(5, 6);

/* Add one line of trace to the record; returns code. */
int mt_err_trace(int code, const char *func, const char *file, int line);

/* Put words in front of the text of the record: "checkpoint runs/a/step-10: " + text. */
void mt_err_prefix(const char *fmt, ...) MT_PRINTF(1, 2);

const char *mt_err_text(void);        /* the message alone; "" when nothing failed yet */
const char *mt_err_trace_text(void);  /* one "  in function (file:line)" a line */
const char *mt_err_code_name(int code);
void mt_err_clear(void);

#define MT_FAIL(code, ...) return mt_err_raise((code), __func__, __FILE__, __LINE__, __VA_ARGS__)

#define MT_CHECK(cond, code, ...)                                                             \
    do {                                                                                      \
        if (!(cond)) {                                                                        \
            MT_FAIL(code, __VA_ARGS__);                                                       \
        }                                                                                     \
    } while (0)

#define MT_TRY(call)                                                                          \
    do {                                                                                      \
        int mt_st_ = (call);                                                                  \
        if (mt_st_ < 0) {                                                                     \
            return mt_err_trace(mt_st_, __func__, __FILE__, __LINE__);                        \
        }                                                                                     \
    } while (0)

/* The next three need a local `int st` and a label. */
#define MT_TRY_OR(label, call)                                                                \
    do {                                                                                      \
        st = (call);                                                                          \
        if (st < 0) {                                                                         \
            mt_err_trace(st, __func__, __FILE__, __LINE__);                                   \
            goto label;                                                                       \
        }                                                                                     \
    } while (0)

#define MT_FAIL_OR(label, code, ...)                                                          \
    do {                                                                                      \
        st = mt_err_raise((code), __func__, __FILE__, __LINE__, __VA_ARGS__);                 \
        goto label;                                                                           \
    } while (0)

#define MT_CHECK_OR(label, cond, code, ...)                                                   \
    do {                                                                                      \
        if (!(cond)) {                                                                        \
            MT_FAIL_OR(label, code, __VA_ARGS__);                                             \
        }                                                                                     \
    } while (0)

/* For what no input can cause. */
#define MT_BUG_IF(cond)                                                                       \
    do {                                                                                      \
        if (cond) {                                                                           \
            MT_FAIL(MOTLEY_EBUG, "internal error, please report: %s", #cond);                 \
        }                                                                                     \
    } while (0)

#endif
