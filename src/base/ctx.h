/* ctx.h -- what is shared by everything in one trainer: memory count, log, environment.
 *
 * There are no mutable global variables; what must be shared hangs from here. One context is
 * used by one thread at a time, except memory and log, which lock. */
#ifndef MT_BASE_CTX_H
#define MT_BASE_CTX_H

#include "base/env.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

struct mt_trace;

struct mt_ctx {
    struct mt_mem mem;
    struct mt_log log;
    struct mt_env env;
    struct mt_trace *trace;   /* trace.h; NULL: off */
};

/* log may be NULL: warnings and notes are then dropped. Gives *out. */
int mt_ctx_new(mt_log_fn *log, void *log_arg, struct mt_ctx **out);
void mt_ctx_free(struct mt_ctx *ctx);

#endif
