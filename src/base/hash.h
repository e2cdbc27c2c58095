/* hash.h -- 128-bit digests (XXH3 of libxxhash) as 32 hexadecimal digits.
 *
 * For cache keys, checksums of checkpoints and the agreement of ranks: it finds accidents, it is
 * no protection against forgery. */
#ifndef MT_BASE_HASH_H
#define MT_BASE_HASH_H

#include <stddef.h>

#define MT_HASH_TEXT 33   /* 32 digits and the end */

struct mt_ctx;
struct mt_hash;

int mt_hash_new(struct mt_ctx *ctx, struct mt_hash **out);
void mt_hash_add(struct mt_hash *h, const void *data, size_t bytes);
void mt_hash_add_text(struct mt_hash *h, const char *s);   /* with its end, so ab+c != a+bc */
void mt_hash_text(const struct mt_hash *h, char out[MT_HASH_TEXT]);
void mt_hash_free(struct mt_hash *h);

/* All at once. */
void mt_hash_block(const void *data, size_t bytes, char out[MT_HASH_TEXT]);

#endif
