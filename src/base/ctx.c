/* ctx.c -- makes and releases the context. */
#include "base/ctx.h"

#include <stdlib.h>

int mt_ctx_new(mt_log_fn *log, void *log_arg, struct mt_ctx **out)
{
    struct mt_ctx *ctx = calloc(1, sizeof *ctx);   /* the one block that nothing can count */

    MT_CHECK(ctx != NULL, MOTLEY_EMEM, "host memory: no room for a context");
    pthread_mutex_init(&ctx->mem.lock, NULL);
    pthread_mutex_init(&ctx->log.lock, NULL);
    ctx->log.fn = log;
    ctx->log.arg = log_arg;
    mt_env_read(&ctx->env);
    *out = ctx;
    return MOTLEY_OK;
}

void mt_ctx_free(struct mt_ctx *ctx)
{
    if (ctx == NULL) {
        return;
    }
    pthread_mutex_destroy(&ctx->mem.lock);
    pthread_mutex_destroy(&ctx->log.lock);
    free(ctx);
}
