/* hash.c -- digests by libxxhash; the only file that includes it. */
#include "base/hash.h"

#include "base/ctx.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

struct mt_hash {
    struct mt_ctx *ctx;
    XXH3_state_t *state;
};

static void print(XXH128_hash_t h, char out[MT_HASH_TEXT])
{
    snprintf(out, MT_HASH_TEXT, "%016" PRIx64 "%016" PRIx64, (uint64_t)h.high64,
             (uint64_t)h.low64);
}

int mt_hash_new(struct mt_ctx *ctx, struct mt_hash **out)
{
    struct mt_hash *h = NULL;

    MT_TRY(MT_NEW(ctx, &h));
    h->ctx = ctx;
    h->state = XXH3_createState();
    if (h->state == NULL) {
        mt_hash_free(h);
        MT_FAIL(MOTLEY_EMEM, "host memory: no room for a digest");
    }
    XXH3_128bits_reset(h->state);
    *out = h;
    return MOTLEY_OK;
}

void mt_hash_add(struct mt_hash *h, const void *data, size_t bytes)
{
    XXH3_128bits_update(h->state, data, bytes);
}

void mt_hash_add_text(struct mt_hash *h, const char *s)
{
    mt_hash_add(h, s, strlen(s) + 1);
}

void mt_hash_text(const struct mt_hash *h, char out[MT_HASH_TEXT])
{
    print(XXH3_128bits_digest(h->state), out);
}

void mt_hash_free(struct mt_hash *h)
{
    if (h == NULL) {
        return;
    }
    XXH3_freeState(h->state);
    mt_free(h->ctx, h);
}

void mt_hash_block(const void *data, size_t bytes, char out[MT_HASH_TEXT])
{
    print(XXH3_128bits(data, bytes), out);
}
