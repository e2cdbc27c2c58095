/* times.c -- prefix sums of node times, by kind of device, number of samples and width of the
 * part: planning asks for the same few again and again, with every possible pair of ends. */
#include "parallel/sim.h"

#include "base/ctx.h"

#include <math.h>
#include <string.h>

struct entry {
    int kind;
    double rows, width;
    double *sum;               /* MT_WORKS * (n + 1) */
};

struct mt_times {
    struct mt_ctx *ctx;
    const struct mt_load *load;
    const struct mt_cluster *cluster;
    double *parts;             /* part_row, then parts */
    struct mt_memory_sums *memory;
    struct entry **slot;       /* open addressing */
    size_t nslot, used;
};

int mt_times_new(const struct mt_load *l, const struct mt_cluster *c, struct mt_times **out)
{
    struct mt_times *t = NULL;
    size_t wide = (size_t)l->n + 1;
    int st;

    MT_TRY(MT_NEW(l->ctx, &t));
    t->ctx = l->ctx;
    t->load = l;
    t->cluster = c;
    t->nslot = 256;
    MT_TRY_OR(fail, MT_NEW_N(t->ctx, t->nslot, &t->slot));
    MT_TRY_OR(fail, MT_NEW_N(t->ctx, 2 * wide, &t->parts));
    MT_TRY_OR(fail, mt_memory_new(l, &t->memory));
    for (int i = 0; i < l->n; i++) {
        t->parts[i + 1] = t->parts[i] + l->node[i].tensor_row;
        t->parts[wide + (size_t)i + 1] = t->parts[wide + (size_t)i] + (l->node[i].tensor_row > 0);
    }
    *out = t;
    return MOTLEY_OK;
fail:
    mt_times_free(t);
    return st;
}

void mt_times_free(struct mt_times *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; t->slot != NULL && i < t->nslot; i++) {
        if (t->slot[i] != NULL) {
            mt_free(t->ctx, t->slot[i]->sum);
            mt_free(t->ctx, t->slot[i]);
        }
    }
    mt_free(t->ctx, t->slot);
    mt_free(t->ctx, t->parts);
    mt_memory_free(t->memory);
    mt_free(t->ctx, t);
}

const struct mt_load *mt_times_load(const struct mt_times *t)
{
    return t->load;
}

const struct mt_cluster *mt_times_cluster(const struct mt_times *t)
{
    return t->cluster;
}

const struct mt_memory_sums *mt_times_memory(const struct mt_times *t)
{
    return t->memory;
}

/* Where an entry is, or the free place where it belongs. */
static size_t place_of(struct entry *const *slot, size_t n, int kind, double rows, double width)
{
    uint64_t h = (uint64_t)kind * UINT64_C(0x9e3779b97f4a7c15), bits[2];
    size_t at;

    memcpy(&bits[0], &rows, sizeof rows);
    memcpy(&bits[1], &width, sizeof width);
    h = (h ^ bits[0]) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 29 ^ bits[1]) * UINT64_C(0xc4ceb9fe1a85ec53);
    at = (size_t)(h ^ h >> 32) % n;
    while (slot[at] != NULL && (slot[at]->kind != kind || slot[at]->rows != rows ||
                                slot[at]->width != width)) {
        at = (at + 1) % n;
    }
    return at;
}

static int grow(struct mt_times *t)
{
    struct entry **slot = NULL;
    size_t n = 2 * t->nslot;

    MT_TRY(MT_NEW_N(t->ctx, n, &slot));
    for (size_t i = 0; i < t->nslot; i++) {
        struct entry *e = t->slot[i];

        if (e != NULL) {
            slot[place_of(slot, n, e->kind, e->rows, e->width)] = e;
        }
    }
    mt_free(t->ctx, t->slot);
    t->slot = slot;
    t->nslot = n;
    return MOTLEY_OK;
}

static int make(struct mt_times *t, int kind, double rows, double width, struct entry **out)
{
    const struct mt_speed *s = &t->cluster->speed[kind];
    size_t wide = (size_t)t->load->n + 1;
    struct entry *e = NULL;

    MT_TRY(MT_NEW(t->ctx, &e));
    if (MT_NEW_N(t->ctx, MT_WORKS * wide, &e->sum) < 0) {
        mt_free(t->ctx, e);
        return MOTLEY_EMEM;
    }
    e->kind = kind;
    e->rows = rows;
    e->width = width;
    for (int w = 0; w < MT_WORKS; w++) {
        double *sum = e->sum + (size_t)w * wide;

        for (int i = 0; i < t->load->n; i++) {
            sum[i + 1] = sum[i] + mt_speed_part(s, t->load, i, (enum mt_work)w, rows, width);
        }
    }
    *out = e;
    return MOTLEY_OK;
}

int mt_times_get(struct mt_times *t, int kind, double rows, double width, struct mt_span *out)
{
    size_t wide = (size_t)t->load->n + 1, at;

    if (2 * t->used >= t->nslot) {
        MT_TRY(grow(t));
    }
    at = place_of(t->slot, t->nslot, kind, rows, width);
    if (t->slot[at] == NULL) {
        MT_TRY(make(t, kind, rows, width, &t->slot[at]));
        t->used++;
    }
    for (int w = 0; w < MT_WORKS; w++) {
        out->sum[w] = t->slot[at]->sum + (size_t)w * wide;
    }
    out->part_row = t->parts;
    out->parts = t->parts + wide;
    return MOTLEY_OK;
}
