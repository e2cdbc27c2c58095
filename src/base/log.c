/* log.c -- messages through the callback of the context. */
#include "base/log.h"

#include "base/ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The level that MOTLEY_LOG gives a category: "dev,comm=2" is dev at 1 and comm at 2; "all" and
 * "all=2" name every category. */
static int level_of(const char *setting, const char *category)
{
    size_t len = strlen(category);
    int level = MT_LOG_WARN;

    for (const char *s = setting; s != NULL && *s != '\0'; s += strcspn(s, ","), s += *s == ',') {
        size_t word = strcspn(s, "=,");
        int here = s[word] == '=' ? atoi(s + word + 1) : MT_LOG_INFO;

        if ((word == len && strncmp(s, category, len) == 0) ||
            (word == 3 && strncmp(s, "all", 3) == 0)) {
            level = here > level ? here : level;
        }
    }
    return level;
}

void mt_log(struct mt_ctx *ctx, enum mt_log_level level, const char *category, const char *fmt,
            ...)
{
    char text[2048];
    va_list ap;

    if (ctx->log.fn == NULL || (int)level > level_of(ctx->env.value[MT_ENV_LOG], category)) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&ctx->log.lock);
    ctx->log.fn(ctx->log.arg, level, category, text);
    pthread_mutex_unlock(&ctx->log.lock);
}
