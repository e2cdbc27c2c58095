/* gauge.c -- what messages of this job cost: latency and rate inside hosts and between them.
 *
 * Each rank sends to the next one of its host and gets from the one before, all at once; then the
 * first ranks of the hosts do so among each other. Short messages give the latency (median), some
 * in flight of the length that sums have the rate (best). Every rank also adds some awkward
 * numbers, whose bits must be the same everywhere before ranks may each add for themselves. */
#include "comm/link.h"

#include "base/ctx.h"
#include "base/hash.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

#define TAG       9300
#define SHORT     4
#define LONG      ((int64_t)MT_FAR_BYTES)
#define TURNS     9            /* of short messages */
#define IN_FLIGHT 8
#define SECONDS   0.1          /* of long ones, if that is more than one turn */
#define MOST      4            /* turns of long ones */
#define NUMBERS   4096         /* that are added */
#define ADDITIONS 9

/* Of one rank; rates 0: it had nobody to send to. */
struct found {
    double near_latency, near_rate, far_latency, far_rate, add_rate;
    char bits[2][MT_HASH_TEXT];
};

struct gauge {
    struct mt_comm *comm;
    char *room;                /* IN_FLIGHT messages to receive and one to send */
    struct found *all;         /* by rank */
};

/* Messages to one rank and from another, all in flight at once. */
static int shift(const struct gauge *g, int to, int from, size_t bytes, int count)
{
    int in[IN_FLIGHT], out[IN_FLIGHT];
    char *send = g->room + IN_FLIGHT * LONG;

    for (int i = 0; i < count; i++) {
        MT_TRY(mt_comm_recv(g->comm, g->room + i * LONG, bytes, from, TAG,
                            &in[i]));
    }
    for (int i = 0; i < count; i++) {
        MT_TRY(mt_comm_send(g->comm, send, bytes, to, TAG, &out[i]));
    }
    for (int i = 0; i < count; i++) {
        MT_TRY(mt_comm_wait(g->comm, in[i], from));
        MT_TRY(mt_comm_wait(g->comm, out[i], to));
    }
    return MOTLEY_OK;
}

static int timed(const struct gauge *g, int to, int from, size_t bytes, int count, double *seconds)
{
    double begun = mt_comm_clock();

    MT_TRY(shift(g, to, from, bytes, count));
    *seconds = mt_comm_clock() - begun;
    return MOTLEY_OK;
}

/* Latency, and the time of one long message once the connection is warm. */
static int first_look(const struct gauge *g, int to, int from, double *latency, double *one)
{
    double took[TURNS];

    MT_TRY(shift(g, to, from, LONG, 2));
    for (int i = 0; i < TURNS; i++) {
        MT_TRY(timed(g, to, from, SHORT, 1, &took[i]));
    }
    *latency = mt_num_median(took, TURNS);
    return timed(g, to, from, LONG, 1, one);
}

/* to < 0: this rank only waits for the others. */
static int measure(const struct gauge *g, int to, int from, double *latency, double *rate)
{
    double one = 0, slowest, took = 0;
    int turns;

    if (to >= 0) {
        MT_TRY(first_look(g, to, from, latency, &one));
        *rate = LONG / fmax(one - *latency, one / 2);
    }
    /* As many turns on all of them: each waits for two others. */
    slowest = one;
    MT_TRY(mt_comm_max(g->comm, &slowest));
    turns = (int)fmin(MOST, SECONDS / (IN_FLIGHT * slowest + 1e-9));
    for (int i = 0; i < turns && to >= 0; i++) {
        MT_TRY(timed(g, to, from, LONG, IN_FLIGHT, &took));
        *rate = fmax(*rate, IN_FLIGHT * LONG / fmax(took - *latency, took / 2));
    }
    return MOTLEY_OK;
}

/* The neighbours of this rank among those that count: ranks of its host, or first ranks of hosts;
 * -1: there are none. */
static void neighbours(const struct mt_comm *c, int far, int *to, int *from)
{
    int rank = c->info.rank, first = -1, last = -1;

    *to = *from = -1;
    for (int r = 0; r < c->info.size; r++) {
        int lead = (int)c->peer[r].card.lead;

        if (far ? lead != r : lead != (int)c->card.lead) {
            continue;
        }
        first = first < 0 ? r : first;
        last = r;
        *from = r < rank ? r : *from;
        *to = r > rank && *to < 0 ? r : *to;
    }
    *from = *from < 0 ? last : *from;
    *to = *to < 0 ? first : *to;
    if ((far && c->card.lead != rank) || *to == rank) {
        *to = *from = -1;
    }
}

/* Halves of last places, all exponents; with `least`, around the smallest normal number, where
 * processors may be slow or give zero. */
static void add_some(const struct gauge *g, int least, struct found *out)
{
    float *x = (float *)(void *)g->room, *y = x + NUMBERS, *sum = y + NUMBERS;
    const void *from[2] = {x, y};
    void *to = sum;

    for (int i = 0; i < NUMBERS; i++) {
        int exponent = least ? -126 - i % 24 : i % 200 - 90;

        x[i] = ldexpf(1 + (float)(i * 37 % 512) / 512, exponent);
        y[i] = ldexpf(i % 2 == 1 ? -1 : 1 + (float)(i * 53 % 64) / 64, exponent - i % 26);
    }
    for (int i = 0; i < ADDITIONS; i++) {
        double begun = mt_comm_clock(), rate;

        mt_add_in_order(MT_FORM_FLOAT, NUMBERS, 2, from, 1, &to);
        rate = NUMBERS * sizeof *x / (mt_comm_clock() - begun + 1e-9);
        out->add_rate = least ? out->add_rate : fmax(out->add_rate, rate);
    }
    mt_hash_block(sum, NUMBERS * sizeof *sum, out->bits[least]);
}

/* The slowest counts. */
static void conclude(struct mt_links *l, const struct found *all, int n)
{
    *l = (struct mt_links){.known = 1, .alike = 1, .near_rate = INFINITY, .far_rate = INFINITY,
                           .add_rate = INFINITY};
    for (int r = 0; r < n; r++) {
        const struct found *f = &all[r];

        l->near_latency = fmax(l->near_latency, f->near_latency);
        l->far_latency = fmax(l->far_latency, f->far_latency);
        l->near_rate = f->near_rate > 0 ? fmin(l->near_rate, f->near_rate) : l->near_rate;
        l->far_rate = f->far_rate > 0 ? fmin(l->far_rate, f->far_rate) : l->far_rate;
        l->add_rate = fmin(l->add_rate, f->add_rate);
        l->alike = l->alike && memcmp(f->bits, all[0].bits, sizeof f->bits) == 0;
    }
}

static int allocate(struct gauge *g)
{
    struct mt_ctx *ctx = g->comm->ctx;

    MT_TRY(MT_NEW_N(ctx, (IN_FLIGHT + 1) * LONG, &g->room));
    MT_TRY(MT_NEW_N(ctx, g->comm->info.size, &g->all));
    return MOTLEY_OK;
}

int mt_comm_gauge(struct mt_comm *c)
{
    struct gauge g = {.comm = c};
    struct found mine = {0};
    int to, from, st = MOTLEY_OK;

    if (c->info.size < 2 || c->links.known) {
        return MOTLEY_OK;
    }
    MT_TRY_OR(done, mt_comm_agree(c, allocate(&g)));
    add_some(&g, 0, &mine);
    add_some(&g, 1, &mine);
    neighbours(c, 0, &to, &from);
    MT_TRY_OR(done, measure(&g, to, from, &mine.near_latency, &mine.near_rate));
    neighbours(c, 1, &to, &from);
    MT_TRY_OR(done, measure(&g, to, from, &mine.far_latency, &mine.far_rate));
    MT_TRY_OR(done, mt_comm_allgather(c, &mine, sizeof mine, g.all));
    conclude(&c->links, g.all, c->info.size);
    mt_log(c->ctx, MT_LOG_DEBUG, "comm", "messages inside a host: %.3g us, %.3g GB/s; between "
           "hosts: %.3g us, %.3g GB/s; adding: %.3g GB/s, %s bits", c->links.near_latency * 1e6,
           c->links.near_rate / 1e9, c->links.far_latency * 1e6, c->links.far_rate / 1e9,
           c->links.add_rate / 1e9, c->links.alike ? "the same" : "different");
done:
    mt_free(c->ctx, g.all);
    mt_free(c->ctx, g.room);
    return st;
}
