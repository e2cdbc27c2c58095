/* direct.c -- sum of float arrays over ranks of one host, which see each other's memory (share.c).
 *
 * The same parts and the same order as in coll.c, so the same bits: rank j adds part j. But it
 * reads it where the others have it and writes the sum there, too: the numbers pass through a
 * core once, where messages copy them four times more. All that is sent is when:
 *
 *     every rank tells every other where its array lies, once it may be touched;
 *     rank j, told by all, adds part j and tells every rank that it is there.
 *
 * Nobody touches part j of any array between these two but rank j. These messages are a transport's
 * like any other, so waiting, watching and time limits are too; they order memory as well, and the
 * fences say so to the compiler. */
#include "comm/link.h"

#include "base/ctx.h"

#include <stdatomic.h>
#include <string.h>

struct pair {
    int send_there, recv_there, send_done, recv_done;   /* requests; -1: none or over */
    uint64_t there;                                     /* where that rank's array lies */
};

struct mt_direct {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    const struct mt_share *share;
    int most;
    struct mt_part part;      /* of the sum under way */
    float *data, *home;       /* the caller's array, and the same in shared memory */
    int64_t n;
    uint64_t off;
    int tag, added;
    enum mt_form form;
    struct pair *pair;        /* by position in the group, as those below */
    const void **from;
    void **to;
};

int mt_direct_new(struct mt_ctx *ctx, struct mt_comm *c, const struct mt_share *share, int most,
                  struct mt_direct **out)
{
    struct mt_direct *d = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &d));
    d->ctx = ctx;
    d->comm = c;
    d->share = share;
    MT_TRY_OR(fail, MT_NEW_N(ctx, most, &d->pair));
    MT_TRY_OR(fail, MT_NEW_N(ctx, most, &d->from));
    MT_TRY_OR(fail, MT_NEW_N(ctx, most, &d->to));
    MT_TRY_OR(fail, mt_comm_reserve(c, 4 * (most - 1)));
    d->most = most;
    *out = d;
    return MOTLEY_OK;
fail:
    mt_direct_free(d);
    return st;
}

void mt_direct_free(struct mt_direct *d)
{
    if (d == NULL) {
        return;
    }
    if (d->most > 0) {
        mt_comm_reserve(d->comm, -4 * (d->most - 1));
    }
    mt_free(d->ctx, d->to);
    mt_free(d->ctx, d->from);
    mt_free(d->ctx, d->pair);
    mt_free(d->ctx, d);
}

void mt_direct_drop(struct mt_direct *d)
{
    for (int j = 0; j < d->part.size; j++) {
        mt_comm_cancel(d->comm, d->pair[j].send_there);
        mt_comm_cancel(d->comm, d->pair[j].recv_there);
        mt_comm_cancel(d->comm, d->pair[j].send_done);
        mt_comm_cancel(d->comm, d->pair[j].recv_done);
    }
    d->part.size = 0;
}

static int message(struct mt_direct *d, void *data, size_t bytes, int j, int done, int recv,
                   int *req)
{
    MT_TRY(mt_comm_start(d->comm, data, bytes, mt_part_rank(&d->part, j), d->tag + done, recv,
                         req));
    return MOTLEY_OK;
}

int mt_direct_start(struct mt_direct *d, const struct mt_part *part, int tag,
                    const struct mt_sum *sum)
{
    uint64_t bytes = (uint64_t)sum->n * sizeof *sum->data;
    int size = part->size, st;

    d->part = (struct mt_part){0};
    d->home = mt_share_of(d->share, d->comm->info.rank, sum->off, bytes);
    MT_BUG_IF(d->home == NULL || size > d->most);
    d->data = sum->data;
    d->n = sum->n;
    d->off = sum->off;
    d->form = sum->bf16 ? MT_FORM_ROUNDED : MT_FORM_FLOAT;
    d->tag = tag;
    d->added = 0;
    for (int j = 0; j < size; j++) {
        d->pair[j] = (struct pair){-1, -1, -1, -1, 0};
    }
    if (d->data != d->home) {
        memcpy(d->home, d->data, bytes);
    }
    d->part = *part;
    atomic_thread_fence(memory_order_release);
    for (int i = 1; i < size; i++) {
        int to = (part->me + i) % size, from = (part->me - i + size) % size;

        MT_TRY_OR(fail, message(d, &d->pair[from].there, sizeof d->pair[from].there, from, 0, 1,
                                &d->pair[from].recv_there));
        MT_TRY_OR(fail, message(d, NULL, 0, from, 1, 1, &d->pair[from].recv_done));
        MT_TRY_OR(fail, message(d, &d->off, sizeof d->off, to, 0, 0, &d->pair[to].send_there));
    }
    return MOTLEY_OK;
fail:
    mt_direct_drop(d);
    return st;
}

static int add_part(struct mt_direct *d)
{
    const struct mt_part *p = &d->part;
    uint64_t bytes = (uint64_t)d->n * sizeof(float);
    int64_t lo = mt_part_lo(d->n, p->me, p->size), hi = mt_part_lo(d->n, p->me + 1, p->size);
    int adding = 0;

    atomic_thread_fence(memory_order_acquire);
    for (int j = 0; j < p->size; j++) {
        int rank = mt_part_rank(p, j);
        float *at = j == p->me ? d->home : mt_share_of(d->share, rank, d->pair[j].there, bytes);

        MT_CHECK(at != NULL, MOTLEY_ECOMM, "sum over ranks: rank %d has no such array: the ranks "
                 "do not run the same steps", rank);
        d->to[j] = at + lo;
        if (mt_part_adds(p, j)) {
            d->from[adding++] = at + lo;
        }
    }
    mt_add_in_order(d->form, hi - lo, adding, d->from, p->size, d->to);
    atomic_thread_fence(memory_order_release);
    d->added = 1;
    for (int i = 1; i < p->size; i++) {
        int to = (p->me + i) % p->size;

        MT_TRY(message(d, NULL, 0, to, 1, 0, &d->pair[to].send_done));
    }
    return MOTLEY_OK;
}

/* *left: counted up if the request goes on; *peer: the rank it is for. */
static int check(struct mt_direct *d, int *req, int j, int *left, int *peer)
{
    int done = 0, st;

    if (*req < 0) {
        return MOTLEY_OK;
    }
    if ((st = mt_comm_test(d->comm, *req, &done)) < 0) {
        *req = -1;   /* released by test */
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    if (done) {
        *req = -1;
    } else {
        ++*left;
        *peer = mt_part_rank(&d->part, j);
    }
    return MOTLEY_OK;
}

int mt_direct_test(struct mt_direct *d, int *done, int *peer)
{
    int there = 0, left = 0;

    for (int j = 0; j < d->part.size && !d->added; j++) {
        MT_TRY(check(d, &d->pair[j].recv_there, j, &there, peer));
    }
    if (!d->added && there == 0) {
        MT_TRY(add_part(d));
    }
    for (int j = 0; j < d->part.size; j++) {
        MT_TRY(check(d, &d->pair[j].send_there, j, &left, peer));
        MT_TRY(check(d, &d->pair[j].send_done, j, &left, peer));
        MT_TRY(check(d, &d->pair[j].recv_done, j, &left, peer));
    }
    *done = d->added && left == 0;
    if (*done) {
        atomic_thread_fence(memory_order_acquire);
        if (d->data != d->home) {
            memcpy(d->data, d->home, (size_t)d->n * sizeof *d->data);
        }
        d->part.size = 0;
    }
    return MOTLEY_OK;
}
