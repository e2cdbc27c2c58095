/* datakit.h -- what the tests of data share: a temporary folder, files in it, sources opened from
 * pairs of words (whose samples are read whole and in parts), damaged files with their messages,
 * failing allocations. */
#ifndef MT_TESTS_DATAKIT_H
#define MT_TESTS_DATAKIT_H

#include "base/ctx.h"
#include "base/file.h"
#include "data/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The place of every value in the trees made here; messages begin with it. */
#define KIT_AT "t.yaml:3:5: "

static char kit_dir[256];

static inline int kit_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(kit_dir, sizeof kit_dir, "%s/motley-data-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(kit_dir) != NULL ? 0 : -1;
}

static inline int kit_teardown(void **state)
{
    struct mt_ctx *ctx = NULL;
    int st;

    (void)state;
    if (mt_ctx_new(NULL, NULL, &ctx) < 0) {
        return -1;
    }
    st = mt_dir_remove(ctx, kit_dir);
    mt_ctx_free(ctx);
    return st;
}

/* Path of a file in the folder, "" for the folder; eight results live at once. */
static inline const char *kit_path(const char *name)
{
    static char path[8][600];
    static int next;
    char *p = path[next++ % 8];

    snprintf(p, sizeof path[0], "%s%s%s", kit_dir, *name != '\0' ? "/" : "", name);
    return p;
}

static inline void kit_write(const char *name, const void *data, size_t bytes)
{
    FILE *f = fopen(kit_path(name), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

static inline void kit_text(const char *name, const char *text)
{
    kit_write(name, text, strlen(text));
}

/* A data section from key, value, ..., NULL. A value "@name" is a path in the folder. */
static inline int kit_tree(struct mt_ctx *ctx, const char *const *pairs, struct mt_tree **out)
{
    struct mt_tree *t = NULL, *leaf = NULL;
    int st;

    MT_TRY(mt_tree_new(ctx, MT_TREE_MAP, "t.yaml", 2, 1, NULL, &t));
    for (int i = 0; pairs[i] != NULL; i += 2) {
        const char *word = pairs[i + 1][0] == '@' ? kit_path(pairs[i + 1] + 1) : pairs[i + 1];

        MT_TRY_OR(fail, mt_tree_new(ctx, MT_TREE_SCALAR, "t.yaml", 3, 5, word, &leaf));
        MT_TRY_OR(fail, mt_tree_add(ctx, t, pairs[i], leaf));
    }
    *out = t;
    return MOTLEY_OK;
fail:
    mt_tree_free(ctx, t);
    return st;
}

static inline int kit_open(struct mt_ctx *ctx, const char *const *pairs, uint64_t seed,
                           struct mt_data **out)
{
    struct mt_tree *t = NULL;
    int st;

    MT_TRY(kit_tree(ctx, pairs, &t));
    st = mt_data_open(ctx, t, seed, out);
    mt_tree_free(ctx, t);   /* nothing may be kept of it */
    return st;
}

#define KIT_PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* What is read alone is what is read together, and what is not wanted stays untouched. */
static inline void kit_parts(const struct mt_set *s)
{
    size_t nx = (size_t)s->sample.x_size, ny = s->sample.classes > 0 ? 1 : (size_t)s->sample.y_size;
    float *x = calloc(2 * nx + 2 * ny, sizeof *x), *y = x + 2 * nx;   /* targets: 4 bytes, too */

    assert_non_null(x);
    assert_int_equal(s->fetch(s, s->n - 1, x, y), 0);
    assert_int_equal(s->fetch(s, s->n - 1, x + nx, NULL), 0);
    assert_int_equal(s->fetch(s, s->n - 1, NULL, y + ny), 0);
    assert_int_equal(s->fetch(s, s->n - 1, NULL, NULL), 0);
    assert_memory_equal(x, x + nx, nx * sizeof *x);
    assert_memory_equal(y, y + ny, ny * sizeof *y);
    free(x);
}

/* Opens or fails the test with the message. */
static inline struct mt_data *kit_must(struct mt_ctx *ctx, const char *const *pairs)
{
    struct mt_data *d = NULL;

    if (kit_open(ctx, pairs, 1, &d) < 0) {
        fail_msg("%s", mt_err_text());
    }
    kit_parts(d->train);
    return d;
}

/* Opening fails with this code and exactly this text; "@" in the text stands for the folder. */
static inline void kit_refused(const char *const *pairs, int code, const char *text)
{
    struct mt_ctx *ctx = NULL;
    struct mt_data *d = NULL;
    char want[2048] = "";
    size_t n = 0;
    int got;

    for (; *text != '\0' && n < sizeof want - 300; text++) {
        if (*text == '@') {
            n += (size_t)snprintf(want + n, sizeof want - n, "%s", kit_dir);
        } else {
            want[n++] = *text;
        }
    }
    want[n] = '\0';
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    got = kit_open(ctx, pairs, 1, &d);
    if (got >= 0) {
        fail_msg("accepted; should say: %s", want);
    }
    assert_string_equal(mt_err_text(), want);
    assert_int_equal(got, code);
    assert_null(d);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

/* Opening with each allocation failing in turn: an error, and nothing is left. */
static inline void kit_starve(const char *const *pairs)
{
    for (int64_t at = 1;; at++) {
        struct mt_ctx *ctx = NULL;
        struct mt_data *d = NULL;
        int st;

        assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
        ctx->mem.fail_at = at;
        st = kit_open(ctx, pairs, 1, &d);
        if (st < 0) {
            assert_int_equal(st, MOTLEY_EMEM);
            assert_null(d);
        }
        mt_data_close(d);
        assert_int_equal(ctx->mem.live, 0);
        mt_ctx_free(ctx);
        if (st >= 0) {
            assert_true(at > 3);   /* something was refused on the way */
            return;
        }
        assert_true(at < 10000);
    }
}

#endif
