/* collect.c -- parts of some ranks to all of them: not blocking, numbers are only moved.
 *
 * Every rank sends its part to each other one, beginning with the next rank, so that not all send
 * to the same: (N-1)/N of the whole for each, as little as there is. Parts without numbers make
 * no message. */
#include "comm/link.h"

#include "base/ctx.h"

struct mt_collect {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    int most, active;
    int peer;                 /* rank last found missing */
    int nreq;
    struct {
        int req, rank;        /* req -1: done */
    } *pending;               /* a send and a receive for each other rank */
};

int mt_collect_new(struct mt_ctx *ctx, struct mt_comm *c, int most, struct mt_collect **out)
{
    struct mt_collect *g = NULL;
    int st;

    MT_CHECK(most >= 1 && most <= c->info.size, MOTLEY_EARG,
             "gathering from %d ranks of a job of %d", most, c->info.size);
    MT_TRY(MT_NEW(ctx, &g));
    g->ctx = ctx;
    g->comm = c;
    g->peer = -1;
    MT_TRY_OR(fail, MT_NEW_N(ctx, 2 * most, &g->pending));
    MT_TRY_OR(fail, mt_comm_reserve(c, 2 * (most - 1)));
    g->most = most;
    *out = g;
    return MOTLEY_OK;
fail:
    mt_collect_free(g);
    return st;
}

static void drop(struct mt_collect *g)
{
    for (int i = 0; i < g->nreq; i++) {
        mt_comm_cancel(g->comm, g->pending[i].req);
    }
    g->nreq = 0;
    g->active = 0;
}

void mt_collect_free(struct mt_collect *g)
{
    if (g == NULL) {
        return;
    }
    drop(g);
    if (g->most > 0) {
        mt_comm_reserve(g->comm, -2 * (g->most - 1));
    }
    mt_free(g->ctx, g->pending);
    mt_free(g->ctx, g);
}

static int message(struct mt_collect *g, const void *data, uint64_t bytes, int peer, int tag,
                   int recv)
{
    int req;

    if (bytes > 0) {
        MT_TRY(mt_comm_start(g->comm, (void *)data, (size_t)bytes, peer, MT_TAG_COLLECT + tag,
                             recv, &req));
        g->pending[g->nreq].req = req;
        g->pending[g->nreq++].rank = peer;
    }
    return MOTLEY_OK;
}

int mt_collect_start(struct mt_collect *g, const struct mt_group *group, int tag, const void *mine,
                     void *theirs, const uint64_t *bytes)
{
    char *to = theirs;
    int size = group->n, me = -1, st;

    MT_CHECK(!g->active, MOTLEY_EARG, "gathering: the one before is not finished");
    MT_CHECK(size >= 1 && size <= g->most, MOTLEY_EARG, "gathering from %d ranks, at most %d",
             size, g->most);
    MT_CHECK(tag >= 0 && tag < MT_TAGS_COLLECT, MOTLEY_EARG, "gathering: tag %d is not in 0..%d",
             tag, MT_TAGS_COLLECT - 1);
    for (int j = 0; j < size; j++) {
        me = group->rank[j] == g->comm->info.rank ? j : me;
    }
    MT_CHECK(me >= 0, MOTLEY_EARG, "gathering from %d ranks: rank %d is none of them", size,
             g->comm->info.rank);
    g->active = 1;
    g->nreq = 0;
    for (int j = 0; j < size; j++) {
        if (j != me) {
            MT_TRY_OR(fail, message(g, to, bytes[j], group->rank[j], tag, 1));
            to += bytes[j];
        }
    }
    for (int i = 1; i < size; i++) {
        MT_TRY_OR(fail, message(g, mine, bytes[me], group->rank[(me + i) % size], tag, 0));
    }
    return MOTLEY_OK;
fail:
    drop(g);
    return st;
}

int mt_collect_test(struct mt_collect *g, int *done)
{
    int left = 0, finished, st;

    MT_CHECK(g->active, MOTLEY_EARG, "gathering: none was started");
    g->peer = -1;
    for (int i = 0; i < g->nreq; i++) {
        if (g->pending[i].req < 0) {
            continue;
        }
        finished = 0;
        st = mt_comm_test(g->comm, g->pending[i].req, &finished);
        if (st < 0) {
            g->pending[i].req = -1;   /* released by test */
            drop(g);
            return mt_err_trace(st, __func__, __FILE__, __LINE__);
        }
        if (finished) {
            g->pending[i].req = -1;
        } else {
            g->peer = g->pending[i].rank;
            left++;
        }
    }
    g->active = left > 0;
    *done = !g->active;
    return MOTLEY_OK;
}

int mt_collect_peer(const struct mt_collect *g)
{
    return g->peer;
}
