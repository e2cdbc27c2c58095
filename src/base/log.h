/* log.h -- messages to whoever embeds the library; the library itself never prints.
 *
 * A message has a level and a category (the folder it comes from: "dev", "comm", "data", ...).
 * MOTLEY_LOG=dev,comm=2 lets debug messages of a category through; warnings always pass. */
#ifndef MT_BASE_LOG_H
#define MT_BASE_LOG_H

#include "base/err.h"

#include <pthread.h>

struct mt_ctx;

enum mt_log_level { MT_LOG_WARN = 0, MT_LOG_INFO = 1, MT_LOG_DEBUG = 2 };

typedef void mt_log_fn(void *arg, int level, const char *category, const char *text);

struct mt_log {
    pthread_mutex_t lock;
    mt_log_fn *fn;
    void *arg;
};

void mt_log(struct mt_ctx *ctx, enum mt_log_level level, const char *category, const char *fmt,
            ...) MT_PRINTF(4, 5);

#endif
