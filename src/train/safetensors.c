/* safetensors.c -- writes and reads the safetensors format; see safetensors.h. */
#define _POSIX_C_SOURCE 200809L
#include "train/safetensors.h"

#include "base/ctx.h"
#include "base/half.h"
#include "base/json.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (1u << 20)                  /* numbers moved at a time: 4 MiB of host memory */
#define MAX_HEADER (100u * 1000 * 1000)   /* the limit of the format's own library */

enum kind { F32, F64, F16, BF16, KINDS };

static const struct {
    const char *name;
    unsigned bytes;
} kinds[KINDS] = {{"F32", 4}, {"F64", 8}, {"F16", 2}, {"BF16", 2}};

static int little_endian(void)
{
    const uint16_t one = 1;

    return *(const unsigned char *)&one == 1;
}

const char *mt_safetensors_shape(int rank, const int64_t *dim, char *buf, size_t room)
{
    size_t used = (size_t)snprintf(buf, room, "(");

    for (int i = 0; i < rank && used < room; i++) {
        used += (size_t)snprintf(buf + used, room - used, "%s%" PRId64, i > 0 ? ", " : "", dim[i]);
    }
    if (used < room) {
        snprintf(buf + used, room - used, ")");
    }
    return buf;
}

/* ---- writing ------------------------------------------------------------------------- */

struct out {
    int fd;
    const char *path;
    struct mt_hash *hash;
    uint64_t bytes;
};

static int put(struct out *o, const void *data, size_t bytes)
{
    const char *p = data;
    size_t left = bytes;

    while (left > 0) {
        ssize_t n = write(o->fd, p, left);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        MT_CHECK(n >= 0, MOTLEY_EFILE, "%s: cannot be written: %s", o->path, strerror(errno));
        p += n;
        left -= (size_t)n;
    }
    mt_hash_add(o->hash, data, bytes);
    o->bytes += bytes;
    return MOTLEY_OK;
}

static uint64_t count_of(const struct mt_safetensor *t)
{
    uint64_t n = 1;

    for (int i = 0; i < t->rank; i++) {
        n *= (uint64_t)t->dim[i];
    }
    return n;
}

static int put_header(struct mt_ctx *ctx, struct out *o, const struct mt_safetensor *tensor,
                      int n, const char *note)
{
    uint64_t off = 0, len;
    struct mt_json j;
    char *text = NULL;
    size_t used, pad;
    int st = MOTLEY_OK;

    mt_json_init(&j, ctx, 0);
    mt_json_map(&j, NULL);
    mt_json_map(&j, "__metadata__");
    mt_json_text(&j, "format", "pt");   /* some readers insist on this word */
    if (note != NULL) {
        mt_json_text(&j, "note", note);
    }
    mt_json_end(&j);
    for (int i = 0; i < n; i++) {
        uint64_t bytes = 4 * count_of(&tensor[i]);

        mt_json_map(&j, tensor[i].name);
        mt_json_text(&j, "dtype", kinds[F32].name);
        mt_json_list(&j, "shape");
        for (int d = 0; d < tensor[i].rank; d++) {
            mt_json_int(&j, NULL, tensor[i].dim[d]);
        }
        mt_json_end(&j);
        mt_json_list(&j, "data_offsets");
        mt_json_int(&j, NULL, (int64_t)off);
        mt_json_int(&j, NULL, (int64_t)(off + bytes));
        mt_json_end(&j);
        mt_json_end(&j);
        off += bytes;
    }
    mt_json_end(&j);
    MT_TRY(mt_json_take(&j, &text));
    used = strlen(text);
    pad = (8 - used % 8) % 8;           /* so that the numbers start aligned */
    len = used + pad;
    MT_TRY_OR(done, put(o, &len, sizeof len));
    MT_TRY_OR(done, put(o, text, used));
    MT_TRY_OR(done, put(o, "        ", pad));
done:
    mt_free(ctx, text);
    return st;
}

int mt_safetensors_write(struct mt_ctx *ctx, const char *path, const struct mt_safetensor *tensor,
                         int n, const char *note, mt_safetensors_get_fn *get, void *arg,
                         uint64_t *bytes, char digest[MT_HASH_TEXT])
{
    struct out o = {.fd = -1, .path = path};
    float *chunk = NULL;
    int st = MOTLEY_OK;

    MT_CHECK(little_endian(), MOTLEY_EUNSUP, "%s: safetensors on a big-endian host", path);
    MT_TRY_OR(done, mt_hash_new(ctx, &o.hash));
    MT_TRY_OR(done, MT_NEW_N(ctx, CHUNK, &chunk));
    o.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    MT_CHECK_OR(done, o.fd >= 0, MOTLEY_EFILE, "%s: cannot be written: %s", path, strerror(errno));
    MT_TRY_OR(done, put_header(ctx, &o, tensor, n, note));
    for (int i = 0; i < n; i++) {
        uint64_t count = count_of(&tensor[i]);

        for (uint64_t first = 0; first < count; first += CHUNK) {
            uint64_t part = count - first < CHUNK ? count - first : CHUNK;

            MT_TRY_OR(done, get(arg, i, first, part, chunk));
            MT_TRY_OR(done, put(&o, chunk, part * sizeof *chunk));
        }
    }
    MT_CHECK_OR(done, fsync(o.fd) == 0, MOTLEY_EFILE, "%s: cannot be written: %s", path,
                strerror(errno));
    *bytes = o.bytes;
    mt_hash_text(o.hash, digest);
done:
    if (o.fd >= 0 && close(o.fd) != 0 && st == MOTLEY_OK) {
        st = mt_err_raise(MOTLEY_EFILE, __func__, __FILE__, __LINE__, "%s: cannot be written: %s",
                          path, strerror(errno));
    }
    if (o.fd >= 0 && st != MOTLEY_OK) {
        unlink(path);
    }
    mt_free(ctx, chunk);
    mt_hash_free(o.hash);
    return st;
}

/* ---- reading ------------------------------------------------------------------------- */

/* A whole number of the header; MOTLEY_EFORMAT if it is none. */
static int whole(const char *path, const char *name, const struct mt_tree *t, uint64_t *out)
{
    int64_t v = -1;

    MT_CHECK(t != NULL && t->kind == MT_TREE_SCALAR && mt_num_int(t->text, &v) && v >= 0,
             MOTLEY_EFORMAT, "%s: header of '%s' holds something that is no size", path, name);
    *out = (uint64_t)v;
    return MOTLEY_OK;
}

static int read_entry(const char *path, const char *name, const struct mt_tree *e, uint64_t room,
                      struct mt_safetensor *t)
{
    const struct mt_tree *dtype = mt_tree_get(e, "dtype"), *shape = mt_tree_get(e, "shape"),
                         *range = mt_tree_get(e, "data_offsets");
    uint64_t begin, end, size;

    MT_CHECK(dtype != NULL && dtype->kind == MT_TREE_SCALAR && shape != NULL &&
                 shape->kind == MT_TREE_LIST && range != NULL && range->kind == MT_TREE_LIST &&
                 range->n == 2,
             MOTLEY_EFORMAT, "%s: header of '%s' needs dtype, shape and two data_offsets", path,
             name);
    for (t->kind = 0; t->kind < KINDS && strcmp(kinds[t->kind].name, dtype->text) != 0; t->kind++) {
    }
    MT_CHECK(t->kind < KINDS, MOTLEY_EFORMAT,
             "%s: '%s' has numbers of kind %s; F32, F64, F16 and BF16 can be read", path, name,
             dtype->text);
    MT_CHECK(shape->n <= MT_MAXRANK, MOTLEY_EFORMAT, "%s: '%s' has %d dimensions, the limit is %d",
             path, name, shape->n, MT_MAXRANK);
    t->name = name;
    t->rank = shape->n;
    t->count = 1;
    for (int i = 0; i < shape->n; i++) {
        MT_TRY(whole(path, name, shape->item[i], &size));
        MT_CHECK(size == 0 || t->count <= room / size, MOTLEY_EFORMAT,
                 "%s: '%s' is larger than the file", path, name);
        t->dim[i] = (int64_t)size;
        t->count *= size;
    }
    MT_TRY(whole(path, name, range->item[0], &begin));
    MT_TRY(whole(path, name, range->item[1], &end));
    MT_CHECK(begin <= end && end <= room, MOTLEY_EFORMAT,
             "%s: '%s' lies at bytes %" PRIu64 " to %" PRIu64 ", the file has %" PRIu64, path, name,
             begin, end, room);
    MT_CHECK(end - begin == t->count * kinds[t->kind].bytes, MOTLEY_EFORMAT,
             "%s: '%s' has %" PRIu64 " bytes, its shape needs %" PRIu64, path, name, end - begin,
             t->count * kinds[t->kind].bytes);
    t->off = begin;
    return MOTLEY_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct mt_safetensor *x = a, *y = b;

    if (x->off != y->off) {
        return x->off < y->off ? -1 : 1;
    }
    return x->count < y->count ? -1 : x->count > y->count;   /* empty ones first */
}

/* The tensors must cover the numbers exactly: the format allows neither holes nor overlaps. */
static int check_cover(const char *path, struct mt_safetensors *s, uint64_t room)
{
    uint64_t at = 0;

    if (s->n > 0) {
        qsort(s->tensor, (size_t)s->n, sizeof *s->tensor, by_offset);
    }
    for (int i = 0; i < s->n; i++) {
        MT_CHECK(s->tensor[i].off == at, MOTLEY_EFORMAT,
                 "%s: '%s' begins at byte %" PRIu64 ", expected %" PRIu64, path, s->tensor[i].name,
                 s->tensor[i].off, at);
        at += s->tensor[i].count * kinds[s->tensor[i].kind].bytes;
    }
    MT_CHECK(at == room, MOTLEY_EFORMAT,
             "%s: has %" PRIu64 " bytes of numbers, its header describes %" PRIu64, path, room, at);
    return MOTLEY_OK;
}

int mt_safetensors_parse(struct mt_ctx *ctx, const char *path, const char *block, size_t bytes,
                         struct mt_safetensors **out)
{
    struct mt_safetensors *s = NULL;
    uint64_t len = 0, room;
    int st = MOTLEY_OK;

    MT_CHECK(little_endian(), MOTLEY_EUNSUP, "%s: safetensors on a big-endian host", path);
    MT_CHECK(bytes >= 8, MOTLEY_EFORMAT, "%s: has %zu bytes, too short for safetensors", path,
             bytes);
    memcpy(&len, block, sizeof len);
    MT_CHECK(len <= MAX_HEADER, MOTLEY_EFORMAT,
             "%s: is no safetensors file (header of %" PRIu64 " bytes)", path, len);
    MT_CHECK(len <= bytes - 8, MOTLEY_EFORMAT,
             "%s: ends within its header (%zu bytes, the header needs %" PRIu64 ")", path, bytes,
             len + 8);
    MT_CHECK(len >= 2 && block[8] == '{', MOTLEY_EFORMAT,
             "%s: is no safetensors file (header is no JSON object)", path);
    room = bytes - 8 - len;
    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->data = block + 8 + len;
    MT_TRY_OR(fail, mt_json_parse(ctx, block + 8, (size_t)len, path, &s->header));
    MT_CHECK_OR(fail, s->header->kind == MT_TREE_MAP, MOTLEY_EFORMAT,
                "%s: is no safetensors file (header is no JSON object)", path);
    MT_TRY_OR(fail, MT_NEW_N(ctx, s->header->n + 1, &s->tensor));
    for (int i = 0; i < s->header->n; i++) {
        if (strcmp(s->header->key[i], "__metadata__") == 0) {
            continue;
        }
        MT_TRY_OR(fail, read_entry(path, s->header->key[i], s->header->item[i], room,
                                   &s->tensor[s->n]));
        s->n++;
    }
    MT_TRY_OR(fail, check_cover(path, s, room));
    *out = s;
    return MOTLEY_OK;
fail:
    mt_safetensors_free(s);
    return st;
}

void mt_safetensors_free(struct mt_safetensors *s)
{
    if (s == NULL) {
        return;
    }
    mt_tree_free(s->ctx, s->header);
    mt_free(s->ctx, s->tensor);
    mt_free(s->ctx, s);
}

int mt_safetensors_find(const struct mt_safetensors *s, const char *name)
{
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->tensor[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

void mt_safetensors_read(const struct mt_safetensors *s, int i, uint64_t first, uint64_t count,
                         float *dst)
{
    const struct mt_safetensor *t = &s->tensor[i];
    const char *p = s->data + t->off + first * kinds[t->kind].bytes;

    if (t->kind == F32) {
        memcpy(dst, p, count * sizeof *dst);
        return;
    }
    for (uint64_t k = 0; k < count; k++, p += kinds[t->kind].bytes) {
        double wide;
        uint16_t half;

        if (t->kind == F64) {
            memcpy(&wide, p, sizeof wide);
            dst[k] = (float)wide;
        } else {
            memcpy(&half, p, sizeof half);
            dst[k] = t->kind == BF16 ? mt_half_from_bf16(half) : mt_half_from_fp16(half);
        }
    }
}
