/* paths.c -- latency and bandwidth between ranks.
 *
 *   latency    half the time of 8 bytes there and back, median
 *   bandwidth  bytes / (time of sending and receiving as many at once - latency), median; so many
 *              bytes that the time is much longer than the latency. One of the two begins a latency
 *              before the other and sees as much more as the other sees less: the mean
 *
 * Pairs are met as in a tournament: in round r of n - 1 (n even) players i and j with
 * i + j = r modulo n - 1 meet, and the one left over meets player n - 1. So pairs that share no
 * rank are measured at the same time, as they will be used, and 32 hosts take 31 rounds. */
#include "parallel/paths.h"

#include "base/ctx.h"
#include "base/num.h"

#include <math.h>
#include <string.h>

#define TAG        9200
#define ALL_PAIRS  8           /* ranks; with more, hosts meet instead */
#define SMALL      8
#define LARGE      (1 << 20)
#define MANY       16          /* the most of them in a turn */
#define LONG       8           /* latencies: as long as a turn should last */
#define SPACE      (MANY * LARGE)   /* more than the caches of a core */
#define TURNS      31          /* the most of each kind */
#define LEAST      3
#define SECONDS    0.02        /* of each kind, if LEAST allows */
#define ALONE_BANDWIDTH 1e10   /* of a rank that has nobody to talk to: of no consequence */
#define ALONE_LATENCY   1e-6

struct room {
    char flag[SMALL], *in, *out;
    size_t bytes, at;           /* of in and out; the next piece */
    int count;                  /* of messages in a turn */
};

static int pass(struct mt_comm *comm, char *data, size_t bytes, int peer, int recv)
{
    int req;

    if (recv) {
        MT_TRY(mt_comm_recv(comm, data, bytes, peer, TAG, &req));
    } else {
        MT_TRY(mt_comm_send(comm, data, bytes, peer, TAG, &req));
    }
    return mt_comm_wait(comm, req, peer);
}

/* One way and back. */
static int there_and_back(struct mt_comm *comm, struct room *r, int peer, int first)
{
    MT_TRY(pass(comm, r->flag, SMALL, peer, !first));
    return pass(comm, r->flag, SMALL, peer, first);
}

/* Both ways at once, as in sums; through memory that is not in a cache. */
static int exchange(struct mt_comm *comm, struct room *r, int peer, int first)
{
    int in[MANY], out[MANY];

    (void)first;
    for (int i = 0; i < r->count; i++) {
        r->at = (r->at + LARGE) % (r->bytes - LARGE + 1);
        MT_TRY(mt_comm_recv(comm, r->in + r->at, LARGE, peer, TAG, &in[i]));
        MT_TRY(mt_comm_send(comm, r->out + r->at, LARGE, peer, TAG, &out[i]));
    }
    for (int i = 0; i < r->count; i++) {
        MT_TRY(mt_comm_wait(comm, in[i], peer));
        MT_TRY(mt_comm_wait(comm, out[i], peer));
    }
    return MOTLEY_OK;
}

/* Seconds of one turn, the median; at most `most` turns, 0: *median stays. The lower rank says
 * before each turn whether it is one, and of how many messages. */
static int turns(struct mt_comm *comm, struct room *r, int peer, int most,
                 int (*turn)(struct mt_comm *, struct room *, int, int), double *median)
{
    int first = mt_comm_info(comm)->rank < peer, n = 0;
    double took[TURNS], begun = mt_comm_clock();

    for (;;) {
        double from;

        r->flag[0] = n < most && (n < LEAST || mt_comm_clock() - begun < SECONDS)
                         ? (char)r->count : 0;
        MT_TRY(pass(comm, r->flag, SMALL, peer, !first));
        if (!r->flag[0]) {
            break;
        }
        r->count = r->flag[0];
        from = mt_comm_clock();
        MT_TRY(turn(comm, r, peer, first));
        took[n++] = mt_comm_clock() - from;
    }
    *median = n > 0 ? mt_num_median(took, n) : *median;
    return MOTLEY_OK;
}

/* Of what two ranks found of one path, the same on both: what the lower one did, which began before
 * the other, or the mean. */
static int settle(struct mt_comm *comm, int peer, int mean, double *found)
{
    int first = mt_comm_info(comm)->rank < peer;
    double mine = *found, theirs = 0;

    MT_TRY(pass(comm, (char *)(first ? &mine : &theirs), sizeof mine, peer, !first));
    MT_TRY(pass(comm, (char *)(first ? &theirs : &mine), sizeof mine, peer, first));
    *found = mean ? (mine + theirs) / 2 : first ? mine : theirs;
    return MOTLEY_OK;
}

/* Messages of LARGE bytes, one of which took `one` with a latency of `late`, until a turn is long.
 * Both ranks must come to the same number. */
static int enough(double one, double late)
{
    double n = LONG * late / one;

    return n < 1 ? 1 : n < MANY ? (int)ceil(n) : MANY;
}

static int meet(struct mt_comm *comm, struct room *r, int peer, struct mt_path *out)
{
    double small = 0, large = 0, late, one;

    r->count = 1;
    MT_TRY(turns(comm, r, peer, TURNS, there_and_back, &small));
    MT_TRY(settle(comm, peer, 0, &small));
    MT_TRY(turns(comm, r, peer, TURNS, exchange, &large));
    late = small / 2;
    one = large;
    MT_TRY(settle(comm, peer, 0, &one));
    r->count = enough(one, late);
    MT_TRY(turns(comm, r, peer, r->count > 1 ? TURNS : 0, exchange, &large));
    MT_TRY(settle(comm, peer, 1, &large));
    large -= late;
    out->latency = late;
    out->bandwidth = (double)LARGE * r->count / (large > late ? large : late);
    return MOTLEY_OK;
}

/* Whom player `me` of n (even) meets in a round. */
static int opponent(int me, int n, int round)
{
    int turns = n - 1, other = ((round - me) % turns + turns) % turns;

    if (me == turns) {
        /* the one with 2 i = round modulo n - 1 */
        return round % 2 == 0 ? round / 2 : (round + turns) / 2;
    }
    return other == me ? turns : other;
}

/* All players meet; rank_of[player]; me -1: this rank plays not. row[player]: what was measured. */
static int tournament(struct mt_comm *comm, struct room *room, int n, const int *rank_of, int me,
                      struct mt_path *row)
{
    int even = n + n % 2;

    for (int round = 0; round < even - 1; round++) {
        int other = me < 0 ? n : opponent(me, even, round);

        MT_TRY(mt_comm_barrier(comm));
        if (other < n) {
            MT_TRY(meet(comm, room, rank_of[other], &row[other]));
        }
    }
    return MOTLEY_OK;
}

/* ---- from pairs to hosts ------------------------------------------------------------- */

/* Mean of the paths of all pairs given: latencies as they are, bandwidths by their times. */
struct mean {
    int n;
    double latency, slowness;
};

static void add(struct mean *m, const struct mt_path *p)
{
    if (p->bandwidth > 0) {
        m->n++;
        m->latency += p->latency;
        m->slowness += 1 / p->bandwidth;
    }
}

static struct mt_path mean_of(const struct mean *m, struct mt_path otherwise)
{
    return m->n > 0 ? (struct mt_path){m->latency / m->n, m->n / m->slowness} : otherwise;
}

/* player p plays for rank rank_of[p]; all: n rows of n. */
static int conclude(struct mt_ctx *ctx, struct mt_cluster *c, int n, const int *rank_of,
                    const struct mt_path *all, struct mt_path inside)
{
    const struct mt_path alone = {ALONE_LATENCY, ALONE_BANDWIDTH};
    struct mean *pair = NULL, local = {0}, remote = {0};
    int h = c->nhost;

    add(&local, &inside);
    MT_TRY(MT_NEW_N(ctx, h * h, &pair));
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            int a = c->host[rank_of[i]], b = c->host[rank_of[j]];

            add(&pair[a * h + b], &all[i * n + j]);
            add(a == b ? &local : &remote, &all[i * n + j]);
        }
    }
    c->local = mean_of(&local, alone);
    c->remote = mean_of(&remote, c->local);
    for (int i = 0; i < h * h && c->between != NULL; i++) {
        c->between[i] = mean_of(&pair[i], i / h == i % h ? c->local : c->remote);
    }
    mt_free(ctx, pair);
    return MOTLEY_OK;
}

/* Who plays: all ranks, or the first of each host. Returns how many. */
static int players(const struct mt_cluster *c, int *rank_of, int rank, int *me)
{
    int n = 0;

    *me = -1;
    for (int r = 0; r < c->nrank; r++) {
        int first = 1;

        for (int q = 0; q < r && c->nrank > ALL_PAIRS; q++) {
            first = first && c->host[q] != c->host[r];
        }
        if (first) {
            *me = r == rank ? n : *me;
            rank_of[n++] = r;
        }
    }
    return n;
}

/* Of large jobs: the first two ranks of each host. */
static int inside_hosts(struct mt_comm *comm, const struct mt_cluster *c, struct room *room,
                        struct mt_path *mine)
{
    const struct mt_comm_info *info = mt_comm_info(comm);
    int peer = -1, seen = 0;

    for (int r = 0; r < c->nrank && info->node_rank < 2 && info->node_size > 1; r++) {
        if (c->host[r] == info->node && seen++ == 1 - info->node_rank) {
            peer = r;
        }
    }
    MT_TRY(mt_comm_barrier(comm));
    return peer < 0 ? MOTLEY_OK : meet(comm, room, peer, mine);
}

/* Rows of the players, and the mean inside hosts. */
static int gather(struct mt_ctx *ctx, struct mt_comm *comm, int n, const int *rank_of,
                  const struct mt_path *row, struct mt_path mine, struct mt_path *all,
                  struct mt_path *inside)
{
    int size = mt_comm_info(comm)->size, st = MOTLEY_OK;
    struct mt_path *rows = NULL, *own = NULL;
    struct mean mean = {0};

    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, size * (n + 1), &rows)));
    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, n + 1, &own)));
    memcpy(own, row, (size_t)n * sizeof *row);
    own[n] = mine;
    MT_TRY_OR(done, mt_comm_allgather(comm, own, (size_t)(n + 1) * sizeof *own, rows));
    for (int i = 0; i < n; i++) {
        memcpy(&all[i * n], &rows[rank_of[i] * (n + 1)], (size_t)n * sizeof *all);
    }
    for (int r = 0; r < size; r++) {
        add(&mean, &rows[r * (n + 1) + n]);
    }
    *inside = mean_of(&mean, *inside);
done:
    mt_free(ctx, own);
    mt_free(ctx, rows);
    return st;
}

static int number_hosts(struct mt_comm *comm, struct mt_cluster *c)
{
    int mine = mt_comm_info(comm)->node;

    MT_TRY(mt_comm_allgather(comm, &mine, sizeof mine, c->host));
    c->nhost = 0;
    for (int r = 0; r < c->nrank; r++) {
        c->nhost = c->host[r] >= c->nhost ? c->host[r] + 1 : c->nhost;
    }
    return MOTLEY_OK;
}

int mt_paths_measure(struct mt_ctx *ctx, struct mt_comm *comm, struct mt_cluster *c)
{
    struct mt_path *row = NULL, *all = NULL, mine = {0, 0}, inside = {0, 0};
    int *rank_of = NULL, me, n, st = MOTLEY_OK;
    struct room room = {.bytes = SPACE};

    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, c->nrank, &rank_of)));
    if (c->nrank > 1) {
        MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, SPACE, &room.in)));
        MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, SPACE, &room.out)));
        memset(room.out, 1, SPACE);   /* untouched pages are one page of zeros */
        memset(room.in, 1, SPACE);
    }
    MT_TRY_OR(done, number_hosts(comm, c));
    n = players(c, rank_of, mt_comm_info(comm)->rank, &me);
    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, n, &row)));
    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, n * n, &all)));
    if (c->nhost > 1) {
        MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(ctx, c->nhost * c->nhost, &c->between)));
    }
    MT_TRY_OR(done, tournament(comm, &room, n, rank_of, me, row));
    if (c->nrank > ALL_PAIRS) {
        MT_TRY_OR(done, inside_hosts(comm, c, &room, &mine));
    }
    MT_TRY_OR(done, gather(ctx, comm, n, rank_of, row, mine, all, &inside));
    MT_TRY_OR(done, mt_comm_agree(comm, conclude(ctx, c, n, rank_of, all, inside)));
done:
    mt_free(ctx, all);
    mt_free(ctx, row);
    mt_free(ctx, room.out);
    mt_free(ctx, room.in);
    mt_free(ctx, rank_of);
    return st;
}
