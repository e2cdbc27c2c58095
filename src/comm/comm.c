/* comm.c -- opening a job, messages of any length, and the small collectives.
 *
 * Collectives are made from messages: gathering by doubling distance (Bruck et al., Efficient
 * algorithms for all-to-all communications, 1997), broadcast along a binomial tree; each takes
 * log2(size) rounds. They could be MPI's own, but MPI's cannot be left when a peer is dead. */
#include "comm/link.h"

#include "base/ctx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------------------------ */

/* Processes that a launcher says it started: 0 no launcher, -1 a launcher that gives no number. */
static int launched(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"};
    static const char *const signs[] = {"PMIX_RANK", "PMI_RANK", "PMI_FD"};
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    int n = 0;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *v = getenv(sizes[i]);

        n = v != NULL && atoi(v) > n ? atoi(v) : n;
    }
    /* srun sets it with and without MPI support; a shell in an allocation may be a step of 1. */
    if (tasks != NULL && atoi(tasks) > 1) {
        n = atoi(tasks) > n ? atoi(tasks) : n;
    }
    for (size_t i = 0; i < sizeof signs / sizeof *signs && n == 0; i++) {
        n = getenv(signs[i]) != NULL ? -1 : 0;
    }
    return n;
}

/* Tell all others who this is; number the hosts. */
static int meet(struct mt_comm *c)
{
    struct mt_card *all = NULL;
    struct mt_peer *peer = NULL;
    int size = c->info.size, nodes = 0, st;

    MT_TRY_OR(fail, MT_NEW_N(c->ctx, size, &all));
    MT_TRY_OR(fail, MT_NEW_N(c->ctx, size, &peer));
    MT_TRY_OR(fail, mt_comm_allgather(c, &c->card, sizeof c->card, all));
    for (int r = 0; r < size; r++) {
        peer[r].card = all[r];
        peer[r].card.host[MT_HOST_ROOM - 1] = '\0';
        if (all[r].lead == c->card.lead && r == all[r].lead) {
            c->info.node = nodes;
        }
        nodes += r == all[r].lead;
    }
    c->peer = peer;
    c->info.host = c->card.host;
    c->info.transport = c->transport;
    mt_watch_peers(c);
    mt_free(c->ctx, all);
    return MOTLEY_OK;
fail:
    mt_free(c->ctx, all);
    mt_free(c->ctx, peer);
    return st;
}

int mt_comm_open(struct mt_ctx *ctx, void *mpi, struct mt_comm **out)
{
    struct mt_comm *c = NULL;
    int started = launched(), st;

    MT_TRY(MT_NEW(ctx, &c));
    c->ctx = ctx;
    c->free_slot = -1;
    mt_watch_card(&c->card);
    if (mpi != NULL || started > 1 || started < 0) {
        MT_TRY_OR(fail, mt_mpi_open(c, mpi));
    } else {
        MT_TRY_OR(fail, mt_self_open(c));
    }
    MT_CHECK_OR(fail, mpi != NULL || started <= 1 || c->info.size > 1, MOTLEY_ECOMM,
                "the launcher started %d processes, but %s sees only this one: start the job with "
                "the mpirun of that MPI library (or srun --mpi=pmix)", started, c->transport);
    c->piece = c->link->max_bytes;
    c->far_piece = MT_FAR_BYTES < c->piece ? MT_FAR_BYTES : c->piece;
    MT_TRY_OR(fail, mt_mem_get(ctx, (size_t)c->info.size, 64, &c->scratch));
    c->scratch_bytes = (size_t)c->info.size * 64;
    MT_TRY_OR(fail, meet(c));
    mt_log(ctx, MT_LOG_DEBUG, "comm", "rank %d of %d on %s, process %d of %d there, %s",
           c->info.rank, c->info.size, c->info.host, c->info.node_rank, c->info.node_size,
           c->transport);
    *out = c;
    return MOTLEY_OK;
fail:
    c->broken = 1;   /* the others may be anywhere: no orderly end */
    mt_comm_close(c);
    return st;
}

void mt_comm_close(struct mt_comm *c)
{
    if (c == NULL) {
        return;
    }
    if (!c->broken && c->info.size > 1 && mt_comm_barrier(c) < 0) {
        c->broken = 1;
    }
    if (c->link != NULL) {
        c->link->close(c);
    }
    mt_free(c->ctx, c->slot);
    mt_free(c->ctx, c->peer);
    mt_free(c->ctx, c->scratch);
    mt_free(c->ctx, c);
}

void mt_comm_leave(struct mt_comm *c, int exit_code)
{
    c->leaving = 1;
    c->exit_code = exit_code;
}

const struct mt_comm_info *mt_comm_info(const struct mt_comm *c)
{
    return &c->info;
}

void mt_comm_abort(struct mt_comm *c, int exit_code)
{
    c->link->end(c, exit_code);
}

#define MAXREQ 64   /* in flight in one round of a collective */

/* ---- messages ----------------------------------------------------------------------------- */

static int grow(struct mt_comm *c, int n)
{
    MT_TRY(c->link->reserve(c, n));
    MT_TRY(MT_RESIZE(c->ctx, n, &c->slot));
    while (c->nslot < n) {
        c->slot[c->nslot].next = c->free_slot;
        c->free_slot = c->nslot++;
    }
    return MOTLEY_OK;
}

int mt_comm_reserve(struct mt_comm *c, int n)
{
    int need = c->reserved + n + MAXREQ;   /* collectives need some at the same time */

    if (need > c->nslot) {
        MT_TRY(grow(c, need));
    }
    c->reserved += n;
    return MOTLEY_OK;
}

/* Both sides cut alike. Before all have met, messages are short. */
static size_t piece_for(const struct mt_comm *c, int peer)
{
    return c->peer == NULL || c->peer[peer].card.lead == c->card.lead ? c->piece : c->far_piece;
}

/* Of the piece that begins at `from`. */
static size_t piece_bytes(const struct mt_slot *s, size_t from)
{
    return s->bytes - from < s->piece ? s->bytes - from : s->piece;
}

static int piece_number(const struct mt_slot *s, size_t from)
{
    return (int)(from / s->piece % MT_PIECES);
}

/* Whether one more piece may go. */
static int has_room(const struct mt_slot *s)
{
    return s->posted < s->bytes && s->posted - s->over < MT_PIECES * s->piece;
}

static int post_piece(struct mt_comm *c, int req)
{
    struct mt_slot *s = &c->slot[req];
    size_t n = piece_bytes(s, s->posted);

    MT_TRY(c->link->post(c, req, piece_number(s, s->posted), s->recv, s->data + s->posted, n,
                         s->peer, s->tag));
    s->posted += n;
    return MOTLEY_OK;
}

static void release(struct mt_comm *c, int req)
{
    c->slot[req].next = c->free_slot;
    c->free_slot = req;
}

int mt_comm_start(struct mt_comm *c, void *data, size_t bytes, int peer, int tag, int recv,
                  int *req)
{
    int i;

    MT_CHECK(peer >= 0 && peer < c->info.size && peer != c->info.rank, MOTLEY_EARG,
             "message %s rank %d: this is rank %d of %d", recv ? "from" : "to", peer,
             c->info.rank, c->info.size);
    if (c->free_slot < 0) {
        MT_TRY(grow(c, c->nslot + 16));
    }
    i = c->free_slot;
    c->free_slot = c->slot[i].next;
    c->slot[i] = (struct mt_slot){.data = data, .bytes = bytes, .piece = piece_for(c, peer),
                                  .peer = peer, .tag = tag, .recv = recv, .next = -2};
    do {
        if (post_piece(c, i) < 0) {
            c->link->cancel(c, i);
            release(c, i);
            return mt_err_trace(MOTLEY_ECOMM, __func__, __FILE__, __LINE__);
        }
    } while (has_room(&c->slot[i]));
    c->cut += c->slot[i].posted < bytes;
    *req = i;
    return MOTLEY_OK;
}

int mt_comm_send(struct mt_comm *c, const void *data, size_t bytes, int peer, int tag, int *req)
{
    MT_CHECK(tag >= 0 && tag < MT_TAGS_USER, MOTLEY_EARG, "tag %d is not in 0..%d", tag,
             MT_TAGS_USER - 1);
    MT_TRY(mt_comm_start(c, (void *)data, bytes, peer, MT_TAG_USER + tag, 0, req));
    return MOTLEY_OK;
}

int mt_comm_recv(struct mt_comm *c, void *data, size_t bytes, int peer, int tag, int *req)
{
    MT_CHECK(tag >= 0 && tag < MT_TAGS_USER, MOTLEY_EARG, "tag %d is not in 0..%d", tag,
             MT_TAGS_USER - 1);
    MT_TRY(mt_comm_start(c, data, bytes, peer, MT_TAG_USER + tag, 1, req));
    return MOTLEY_OK;
}

/* Polls one request; posts its next pieces. Both sides cut alike, and MPI keeps the order of one
 * sender's messages with one tag. */
static int advance(struct mt_comm *c, int req, int *done)
{
    struct mt_slot *s = &c->slot[req];
    int finished = 1;

    for (*done = 0; finished && !*done;) {
        size_t n = piece_bytes(s, s->over);

        MT_TRY(c->link->poll(c, req, piece_number(s, s->over), n, &finished));
        if (finished) {
            c->completed++;
            s->over += n;
            *done = s->over == s->bytes;
            if (has_room(s)) {
                MT_TRY(post_piece(c, req));
                c->cut -= s->posted == s->bytes;
            }
        }
    }
    return MOTLEY_OK;
}

/* Whatever is being waited for, messages in pieces must go on: the peer may need one of them
 * before it does what is waited for. */
int mt_comm_test(struct mt_comm *c, int req, int *done)
{
    int finished = 0, ignore, st;

    MT_CHECK(req >= 0 && req < c->nslot && c->slot[req].next == -2, MOTLEY_EARG,
             "request %d is not in use", req);
    for (int i = 0; i < c->nslot && c->cut > 0; i++) {
        if (i != req && c->slot[i].next == -2 && c->slot[i].posted < c->slot[i].bytes) {
            MT_TRY_OR(fail, advance(c, i, &ignore));
        }
    }
    MT_TRY_OR(fail, advance(c, req, &finished));
    if (finished) {
        release(c, req);
    }
    *done = finished;
    return MOTLEY_OK;
fail:
    mt_comm_cancel(c, req);
    return st;
}

void mt_comm_cancel(struct mt_comm *c, int req)
{
    if (req >= 0 && req < c->nslot && c->slot[req].next == -2) {
        c->link->cancel(c, req);
        c->cut -= c->slot[req].posted < c->slot[req].bytes;
        release(c, req);
    }
}

/* ---- collectives -------------------------------------------------------------------------- */

struct batch {
    int n;
    int req[MAXREQ], peer[MAXREQ];
};

static int add(struct mt_comm *c, struct batch *b, void *data, size_t bytes, int peer, int recv)
{
    MT_TRY(mt_comm_start(c, data, bytes, peer, MT_TAG_COLL, recv, &b->req[b->n]));
    b->peer[b->n++] = peer;
    return MOTLEY_OK;
}

static void give_up(struct mt_comm *c, struct batch *b)
{
    for (int i = 0; i < b->n; i++) {
        mt_comm_cancel(c, b->req[i]);
    }
    b->n = 0;
}

static int wait_all(struct mt_comm *c, struct batch *b)
{
    double since = mt_comm_clock();
    int open = b->n, st;

    for (;;) {
        int peer = -1;

        for (int i = 0; i < b->n; i++) {
            int done = 0;

            if (b->req[i] >= 0) {
                if ((st = mt_comm_test(c, b->req[i], &done)) < 0) {
                    b->req[i] = -1;
                    goto fail;
                }
                if (done) {
                    b->req[i] = -1;
                    open--;
                    since = mt_comm_clock();
                } else if (peer < 0) {
                    peer = b->peer[i];
                }
            }
        }
        if (open == 0) {
            b->n = 0;
            return MOTLEY_OK;
        }
        MT_TRY_OR(fail, mt_comm_idle(c, mt_comm_clock() - since, peer));
    }
fail:
    give_up(c, b);
    return mt_err_trace(st, __func__, __FILE__, __LINE__);
}

int mt_comm_wait(struct mt_comm *c, int req, int peer)
{
    double since = mt_comm_clock();
    int done = 0, st;

    MT_TRY(mt_comm_test(c, req, &done));
    while (!done) {
        if ((st = mt_comm_idle(c, mt_comm_clock() - since, peer)) < 0) {
            mt_comm_cancel(c, req);
            return mt_err_trace(st, __func__, __FILE__, __LINE__);
        }
        MT_TRY(mt_comm_test(c, req, &done));
    }
    return MOTLEY_OK;
}

/* Blocks [first, first + count) modulo size of all: at most two runs. */
static int add_blocks(struct mt_comm *c, struct batch *b, char *all, size_t bytes, int first,
                      int count, int peer, int recv)
{
    int size = c->info.size, head;

    first %= size;
    head = count < size - first ? count : size - first;
    MT_TRY(add(c, b, all + (size_t)first * bytes, (size_t)head * bytes, peer, recv));
    if (count > head) {
        MT_TRY(add(c, b, all, (size_t)(count - head) * bytes, peer, recv));
    }
    return MOTLEY_OK;
}

/* After the round with distance d every rank holds the blocks of itself and the 2d-1 ranks that
 * follow it. */
int mt_comm_allgather(struct mt_comm *c, const void *mine, size_t bytes, void *all)
{
    int size = c->info.size, rank = c->info.rank, st;
    struct batch b = {.n = 0};

    memmove((char *)all + (size_t)rank * bytes, mine, bytes);
    for (int d = 1; d < size; d *= 2) {
        int count = d < size - d ? d : size - d;
        int from = (rank + d) % size, to = (rank - d + size) % size;

        MT_TRY_OR(fail, add_blocks(c, &b, all, bytes, from, count, from, 1));
        MT_TRY_OR(fail, add_blocks(c, &b, all, bytes, rank, count, to, 0));
        MT_TRY_OR(fail, wait_all(c, &b));
    }
    return MOTLEY_OK;
fail:
    give_up(c, &b);
    return st;
}

int mt_comm_bcast(struct mt_comm *c, void *data, size_t bytes, int root)
{
    int size = c->info.size, mine, mask = 1, st;
    struct batch b = {.n = 0};

    MT_CHECK(root >= 0 && root < size, MOTLEY_EARG, "root %d is no rank of %d", root, size);
    mine = (c->info.rank - root + size) % size;
    while (mask < size && (mine & mask) == 0) {
        mask *= 2;
    }
    if (mine != 0) {
        MT_TRY_OR(fail, add(c, &b, data, bytes, (mine - mask + root) % size, 1));
        MT_TRY_OR(fail, wait_all(c, &b));
    }
    for (mask /= 2; mask > 0; mask /= 2) {
        if (mine + mask < size) {
            MT_TRY_OR(fail, add(c, &b, data, bytes, (mine + mask + root) % size, 0));
        }
    }
    MT_TRY_OR(fail, wait_all(c, &b));
    return MOTLEY_OK;
fail:
    give_up(c, &b);
    return st;
}

static int need_scratch(struct mt_comm *c, size_t bytes)
{
    if (bytes > c->scratch_bytes) {
        MT_TRY(mt_mem_resize(c->ctx, bytes, 1, &c->scratch));
        c->scratch_bytes = bytes;
    }
    return MOTLEY_OK;
}

int mt_comm_barrier(struct mt_comm *c)
{
    char mine = 0;

    MT_TRY(need_scratch(c, (size_t)c->info.size));
    MT_TRY(mt_comm_allgather(c, &mine, 1, c->scratch));
    return MOTLEY_OK;
}

int mt_comm_sum(struct mt_comm *c, double *data, int n)
{
    double *all;

    MT_TRY(need_scratch(c, (size_t)c->info.size * (size_t)n * sizeof *all));
    all = c->scratch;
    MT_TRY(mt_comm_allgather(c, data, (size_t)n * sizeof *all, all));
    for (int i = 0; i < n; i++) {
        double s = all[i];

        for (int r = 1; r < c->info.size; r++) {
            s += all[(size_t)r * (size_t)n + (size_t)i];
        }
        data[i] = s;
    }
    return MOTLEY_OK;
}

int mt_comm_max(struct mt_comm *c, double *x)
{
    double *all;

    MT_TRY(need_scratch(c, (size_t)c->info.size * sizeof *all));
    all = c->scratch;
    MT_TRY(mt_comm_allgather(c, x, sizeof *x, all));
    for (int r = 0; r < c->info.size; r++) {
        *x = fmax(*x, all[r]);
    }
    return MOTLEY_OK;
}

struct vote {
    int32_t code;
    uint32_t text;   /* hash of the message */
};

static uint32_t hash_text(const char *s)
{
    uint32_t h = 2166136261u;   /* FNV-1a */

    for (; *s != '\0'; s++) {
        h = (h ^ (unsigned char)*s) * 16777619u;
    }
    return h;
}

/* A stop on request gives way to a failure: the failure is what must be told. */
int mt_comm_agree(struct mt_comm *c, int code)
{
    struct vote mine = {code, code < 0 ? hash_text(mt_err_text()) : 0}, *all;
    int size = c->info.size, failed = 0, same = 1, who = -1;
    char text[2048] = "", name[256], more[64] = "";

    if (size == 1) {
        return code;
    }
    MT_TRY(need_scratch(c, (size_t)size * sizeof *all));
    all = c->scratch;
    MT_TRY(mt_comm_allgather(c, &mine, sizeof mine, all));
    for (int r = 0; r < size; r++) {
        if (all[r].code < 0) {
            failed++;
            if (who < 0 || (all[who].code == MOTLEY_ESTOP && all[r].code != MOTLEY_ESTOP)) {
                who = r;
            }
        }
        same = same && all[r].code == all[0].code && all[r].text == all[0].text;
    }
    if (who < 0) {
        return MOTLEY_OK;
    }
    if (same) {
        return code;   /* all say the same: no rank is to blame */
    }
    code = all[who].code;
    snprintf(text, sizeof text, "%s", mt_err_text());
    MT_TRY(mt_comm_bcast(c, text, sizeof text, who));
    text[sizeof text - 1] = '\0';
    if (failed > 1) {
        snprintf(more, sizeof more, " and %d more", failed - 1);
    }
    mt_comm_who(c, who, name, sizeof name);
    if (who == c->info.rank) {
        mt_err_prefix("%s%s: ", name, more);   /* the trace of the failing rank is kept */
        return mt_err_trace(code, __func__, __FILE__, __LINE__);
    }
    MT_FAIL(code, "%s%s: %s", name, more, text);
}
