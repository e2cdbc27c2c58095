/* mem.h -- host memory, counted, with a switch that makes request n fail (for tests).
 *
 * Every block is released with mt_free on the context it came from; mt_free accepts NULL.
 * Blocks are zeroed and aligned to MT_MEM_ALIGN bytes. */
#ifndef MT_BASE_MEM_H
#define MT_BASE_MEM_H

#include "base/err.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct mt_ctx;

#define MT_MEM_ALIGN 64   /* a cache line; enough for every vector type of the host */

struct mt_mem {
    pthread_mutex_t lock;
    int64_t live;          /* blocks not yet released */
    int64_t live_bytes;
    int64_t requests;      /* since the context exists */
    int64_t fail_at;       /* request number that fails; 0: none */
};

/* n elements of size bytes, zeroed. */
int mt_mem_get(struct mt_ctx *ctx, size_t n, size_t size, void **out);
/* Grow or shrink; new bytes are zero. *p may be NULL. On failure *p is untouched. */
int mt_mem_resize(struct mt_ctx *ctx, size_t n, size_t size, void **p);
int mt_mem_strdup(struct mt_ctx *ctx, const char *s, char **out);
/* printf into a new string. */
int mt_mem_printf(struct mt_ctx *ctx, char **out, const char *fmt, ...) MT_PRINTF(3, 4);
void mt_free(struct mt_ctx *ctx, void *p);
int64_t mt_mem_requests(struct mt_ctx *ctx);

/* MT_NEW(ctx, &p): one zeroed object of *p's type. MT_NEW_N: an array of n of them. */
#define MT_NEW(ctx, p)      mt_mem_get((ctx), 1, sizeof **(p), (void **)(p))
#define MT_NEW_N(ctx, n, p) mt_mem_get((ctx), (size_t)(n), sizeof **(p), (void **)(p))
#define MT_RESIZE(ctx, n, p) mt_mem_resize((ctx), (size_t)(n), sizeof **(p), (void **)(p))

#endif
