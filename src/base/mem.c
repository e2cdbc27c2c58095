/* mem.c -- counted host memory. A header of one alignment unit in front of each block keeps its
 * size, so that the count is exact without asking the C library. */
#define _POSIX_C_SOURCE 200809L
#include "base/mem.h"

#include "base/ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct head {
    size_t bytes;
};

static struct head *head_of(void *p)
{
    return (struct head *)((char *)p - MT_MEM_ALIGN);
}

/* Counts one request; false if it is the one that must fail. */
static int admit(struct mt_mem *m, size_t bytes)
{
    int ok;

    pthread_mutex_lock(&m->lock);
    m->requests++;
    ok = m->requests != m->fail_at;
    if (ok) {
        m->live++;
        m->live_bytes += (int64_t)bytes;
    }
    pthread_mutex_unlock(&m->lock);
    return ok;
}

static void forget(struct mt_mem *m, size_t bytes)
{
    pthread_mutex_lock(&m->lock);
    m->live--;
    m->live_bytes -= (int64_t)bytes;
    pthread_mutex_unlock(&m->lock);
}

int mt_mem_get(struct mt_ctx *ctx, size_t n, size_t size, void **out)
{
    void *raw = NULL;
    size_t bytes;

    MT_CHECK(size == 0 || n <= (SIZE_MAX - 2 * MT_MEM_ALIGN) / size, MOTLEY_EMEM,
             "host memory: %zu elements of %zu bytes exceed the address space", n, size);
    bytes = n * size;
    MT_CHECK(admit(&ctx->mem, bytes), MOTLEY_EMEM, "host memory: no %zu bytes left", bytes);
    if (posix_memalign(&raw, MT_MEM_ALIGN, bytes + MT_MEM_ALIGN) != 0) {
        forget(&ctx->mem, bytes);
        MT_FAIL(MOTLEY_EMEM, "host memory: no %zu bytes left", bytes);
    }
    memset(raw, 0, bytes + MT_MEM_ALIGN);
    ((struct head *)raw)->bytes = bytes;
    *out = (char *)raw + MT_MEM_ALIGN;
    return MOTLEY_OK;
}

int mt_mem_resize(struct mt_ctx *ctx, size_t n, size_t size, void **p)
{
    void *grown = NULL;

    MT_TRY(mt_mem_get(ctx, n, size, &grown));
    if (*p != NULL) {
        size_t old = head_of(*p)->bytes, bytes = n * size;

        memcpy(grown, *p, old < bytes ? old : bytes);
        mt_free(ctx, *p);
    }
    *p = grown;
    return MOTLEY_OK;
}

int mt_mem_strdup(struct mt_ctx *ctx, const char *s, char **out)
{
    size_t n = strlen(s) + 1;

    MT_TRY(mt_mem_get(ctx, n, 1, (void **)out));
    memcpy(*out, s, n);
    return MOTLEY_OK;
}

int mt_mem_printf(struct mt_ctx *ctx, char **out, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || mt_mem_get(ctx, (size_t)n + 1, 1, (void **)out) < 0) {
        va_end(again);
        MT_FAIL(MOTLEY_EMEM, "host memory: no room for a string");
    }
    vsnprintf(*out, (size_t)n + 1, fmt, again);
    va_end(again);
    return MOTLEY_OK;
}

void mt_free(struct mt_ctx *ctx, void *p)
{
    if (p == NULL) {
        return;
    }
    forget(&ctx->mem, head_of(p)->bytes);
    free(head_of(p));
}

int64_t mt_mem_requests(struct mt_ctx *ctx)
{
    int64_t n;

    pthread_mutex_lock(&ctx->mem.lock);
    n = ctx->mem.requests;
    pthread_mutex_unlock(&ctx->mem.lock);
    return n;
}
