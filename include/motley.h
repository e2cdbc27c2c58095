/* motley.h -- train a network described in text, in this process, on one OpenCL device; several
 * processes started by mpirun train together.
 *
 * Errors: functions returning int give MOTLEY_OK or a negative code; motley_error() describes the
 *   last failure of the calling thread. Results come through the last pointers, untouched on
 *   failure. The library never prints, exits or aborts.
 * Ownership: motley_x_new, _load and _parse give; motley_x_free releases and accepts NULL. Strings
 *   and arrays passed in are borrowed for the call. Lifetimes nest: context > config > run.
 * Threads: one context, one thread at a time.
 * Collective: functions marked so must be called by all processes of the context, in the same
 *   order. A single process is a collective of one.
 * Options: every option struct begins with its size, set by MOTLEY_OPT; zero or NULL elsewhere
 *   means the default. */
#ifndef MOTLEY_H
#define MOTLEY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOTLEY_API  __attribute__((visibility("default")))
#define MOTLEY_CALL __attribute__((visibility("default"), warn_unused_result)) int
#else
#define MOTLEY_API
#define MOTLEY_CALL int
#endif

#define MOTLEY_API_VERSION 0x000100u   /* major, minor, patch: a byte each */

/* name, value, text. ESTOP: asked to stop (signal); what was trained is saved. */
#define MOTLEY_STATUS_MAP(X)                                                                  \
    X(OK, 0, "no error")                                                                      \
    X(EARG, -1, "invalid argument")                                                           \
    X(ECONFIG, -2, "wrong configuration")                                                     \
    X(EMEM, -3, "out of host memory")                                                         \
    X(EFILE, -4, "file cannot be used")                                                       \
    X(EFORMAT, -5, "file has wrong content")                                                  \
    X(EDEV, -6, "device failed")                                                              \
    X(ECOMM, -7, "communication failed")                                                      \
    X(EUNSUP, -8, "not supported here")                                                       \
    X(ENUM, -9, "wrong numbers")                                                              \
    X(ESTOP, -10, "stopped on request")                                                       \
    X(EBUG, -11, "internal error")

enum motley_status {
#define MOTLEY_STATUS_ENUM(name, value, text) MOTLEY_##name = value,
    MOTLEY_STATUS_MAP(MOTLEY_STATUS_ENUM)
#undef MOTLEY_STATUS_ENUM
    MOTLEY_STATUS_END = 1
};

#ifdef __cplusplus
}
#endif
#endif
