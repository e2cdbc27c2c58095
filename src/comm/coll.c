/* coll.c -- sum of float arrays over all ranks: not blocking, in rank order, the same bits
 * everywhere.
 *
 * The array is worked through in chunks, two of them in flight (lanes). A chunk of n numbers is
 * cut into one part a rank, part j = [n j / N, n (j+1) / N):
 *
 *     every rank sends its numbers of part j to rank j;
 *     rank j adds what it got and its own, in rank order, and sends the sum to every rank.
 *
 * Each rank sends and receives 2 (N-1)/N of the array: no algorithm needs less (R. Thakur,
 * R. Rabenseifner, W. Gropp, Optimization of collective communication operations in MPICH, 2005).
 * A ring would send as much, but would add in another order for each part; the reductions of an
 * MPI library may add in another order on every call. */
#include "comm/link.h"

#include "base/ctx.h"

#define PART_FLOATS  ((int64_t)16 << 10)    /* a message of 64 KiB, so many ranks use few bytes */
#define CHUNK_MIN    ((int64_t)256 << 10)
#define CHUNK_MAX    ((int64_t)4 << 20)     /* 16 MiB of host memory a lane */
#define LANES        2
#define ADD_FLOATS   1024                   /* added at once: stays in the first cache */

enum { TAG_PART = 0, TAG_SUM = LANES, TAGS = 2 * LANES };

/* Requests with one peer; -1: none or done. */
struct pair {
    int send_part, recv_part, send_sum, recv_sum;
    int asked;              /* recv_sum was started */
};

struct lane {
    float *chunk;           /* where in the caller's array; NULL: idle */
    int64_t n;
    int added;              /* the own part holds the sum and is on its way */
    float *got;             /* parts of the others: (N-1) times the longest part */
    struct pair *pair;      /* by rank */
};

struct mt_reduce {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    int tag, requests;
    int64_t max, chunk;     /* floats */
    int active;
    float *data;
    int64_t n, next;        /* floats; those already given to a lane */
    int turn;               /* lane that gets the next chunk */
    int peer;               /* last one found missing */
    struct lane lane[LANES];
};

static int64_t part_lo(int64_t n, int j, int size)
{
    return n / size * j + n % size * j / size;
}

static int64_t part_len(int64_t n, int j, int size)
{
    return part_lo(n, j + 1, size) - part_lo(n, j, size);
}

int mt_reduce_new(struct mt_ctx *ctx, struct mt_comm *c, int64_t max, int tag,
                  struct mt_reduce **out)
{
    struct mt_reduce *r = NULL;
    int size = c->info.size, st;

    MT_CHECK(max >= 0, MOTLEY_EARG, "sum over ranks: %lld numbers", (long long)max);
    MT_CHECK(tag >= 0 && tag < MT_TAGS_REDUCE, MOTLEY_EARG,
             "sum over ranks: tag %d is not in 0..%d", tag, MT_TAGS_REDUCE - 1);
    MT_TRY(MT_NEW(ctx, &r));
    r->ctx = ctx;
    r->comm = c;
    r->tag = MT_TAG_REDUCE + TAGS * tag;
    r->max = max;
    r->peer = -1;
    r->chunk = PART_FLOATS * size;
    r->chunk = r->chunk < CHUNK_MIN ? CHUNK_MIN : r->chunk > CHUNK_MAX ? CHUNK_MAX : r->chunk;
    r->chunk = r->chunk < max ? r->chunk : max;
    for (int i = 0; i < LANES && size > 1; i++) {
        struct lane *l = &r->lane[i];

        if (i > 0 && max <= r->chunk) {
            break;   /* one chunk holds all: the other lane is never used */
        }
        MT_TRY_OR(fail, MT_NEW_N(ctx, size, &l->pair));
        MT_TRY_OR(fail, MT_NEW_N(ctx, (size - 1) * (r->chunk / size + 1), &l->got));
        MT_TRY_OR(fail, mt_comm_reserve(c, 4 * (size - 1)));
        r->requests += 4 * (size - 1);
    }
    *out = r;
    return MOTLEY_OK;
fail:
    mt_reduce_free(r);
    return st;
}

static void drop(struct mt_reduce *r)
{
    for (int i = 0; i < LANES; i++) {
        struct lane *l = &r->lane[i];

        for (int j = 0; l->chunk != NULL && j < r->comm->info.size; j++) {
            mt_comm_cancel(r->comm, l->pair[j].send_part);
            mt_comm_cancel(r->comm, l->pair[j].recv_part);
            mt_comm_cancel(r->comm, l->pair[j].send_sum);
            mt_comm_cancel(r->comm, l->pair[j].recv_sum);
        }
        l->chunk = NULL;
    }
    r->active = 0;
}

void mt_reduce_free(struct mt_reduce *r)
{
    if (r == NULL) {
        return;
    }
    drop(r);
    for (int i = 0; i < LANES; i++) {
        mt_free(r->ctx, r->lane[i].pair);
        mt_free(r->ctx, r->lane[i].got);
    }
    mt_comm_reserve(r->comm, -r->requests);
    mt_free(r->ctx, r);
}

/* Rank `from`'s numbers of the own part. */
static float *got_of(const struct mt_reduce *r, const struct lane *l, int from)
{
    int rank = r->comm->info.rank, slot = from < rank ? from : from - 1;

    return l->got + (int64_t)slot * part_len(l->n, rank, r->comm->info.size);
}

static int message(const struct mt_reduce *r, const struct lane *l, float *data, int64_t n,
                   int peer, int what, int recv, int *req)
{
    MT_TRY(mt_comm_start(r->comm, data, (size_t)n * sizeof *data, peer,
                         r->tag + what + (int)(l - r->lane), recv, req));
    return MOTLEY_OK;
}

/* Gives the next chunk to a lane: all parts leave at once, beginning with the next rank, so that
 * not all ranks send to the same one. Parts without numbers make no message. */
static int begin(struct mt_reduce *r, struct lane *l)
{
    int size = r->comm->info.size, rank = r->comm->info.rank;

    l->chunk = r->data + r->next;
    l->n = r->n - r->next < r->chunk ? r->n - r->next : r->chunk;
    l->added = 0;
    r->next += l->n;
    for (int j = 0; j < size; j++) {
        l->pair[j] = (struct pair){-1, -1, -1, -1, 0};
    }
    for (int i = 1; i < size; i++) {
        int to = (rank + i) % size, from = (rank - i + size) % size;
        int64_t mine = part_len(l->n, rank, size), theirs = part_len(l->n, to, size);

        if (mine > 0) {
            MT_TRY(message(r, l, got_of(r, l, from), mine, from, TAG_PART, 1,
                           &l->pair[from].recv_part));
        }
        if (theirs > 0) {
            MT_TRY(message(r, l, l->chunk + part_lo(l->n, to, size), theirs, to, TAG_PART, 0,
                           &l->pair[to].send_part));
        }
    }
    return MOTLEY_OK;
}

/* The own part of the chunk becomes the sum. */
static void add_parts(const struct mt_reduce *r, const struct lane *l)
{
    int size = r->comm->info.size, rank = r->comm->info.rank;
    float *own = l->chunk + part_lo(l->n, rank, size), sum[ADD_FLOATS];
    int64_t n = part_len(l->n, rank, size);

    for (int64_t lo = 0; lo < n; lo += ADD_FLOATS) {
        int m = (int)(n - lo < ADD_FLOATS ? n - lo : ADD_FLOATS);

        for (int j = 0; j < size; j++) {
            const float *x = (j == rank ? own : got_of(r, l, j)) + lo;

            for (int e = 0; e < m; e++) {
                sum[e] = j == 0 ? x[e] : sum[e] + x[e];
            }
        }
        for (int e = 0; e < m; e++) {
            own[lo + e] = sum[e];
        }
    }
}

/* *left: counted up if the request goes on. */
static int check(struct mt_reduce *r, int *req, int peer, int *left)
{
    int done = 0, st;

    if (*req < 0) {
        return MOTLEY_OK;
    }
    if ((st = mt_comm_test(r->comm, *req, &done)) < 0) {
        *req = -1;   /* released by test */
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    if (done) {
        *req = -1;
    } else {
        ++*left;
        r->peer = peer;
    }
    return MOTLEY_OK;
}

static int advance(struct mt_reduce *r, struct lane *l)
{
    int size = r->comm->info.size, rank = r->comm->info.rank;
    int64_t mine = part_len(l->n, rank, size);
    int sending = 0, missing = 0;

    for (int j = 0; j < size; j++) {
        struct pair *p = &l->pair[j];
        int64_t theirs = part_len(l->n, j, size);

        if (j == rank) {
            continue;
        }
        MT_TRY(check(r, &p->send_part, j, &sending));
        MT_TRY(check(r, &p->send_sum, j, &sending));
        /* The sum comes where the part lay, so the part must have left first. */
        if (!p->asked && p->send_part < 0) {
            p->asked = 1;
            if (theirs > 0) {
                MT_TRY(message(r, l, l->chunk + part_lo(l->n, j, size), theirs, j, TAG_SUM, 1,
                               &p->recv_sum));
            }
        }
        missing += !p->asked;
        MT_TRY(check(r, &p->recv_sum, j, &missing));
    }
    if (!l->added) {
        int parts = 0;

        for (int j = 0; j < size; j++) {
            MT_TRY(check(r, &l->pair[j].recv_part, j, &parts));
        }
        if (parts == 0) {
            add_parts(r, l);
            l->added = 1;
            for (int i = 1; i < size && mine > 0; i++) {
                int to = (rank + i) % size;

                MT_TRY(message(r, l, l->chunk + part_lo(l->n, rank, size), mine, to, TAG_SUM, 0,
                               &l->pair[to].send_sum));
                sending++;
            }
        }
    }
    if (l->added && sending + missing == 0) {
        l->chunk = NULL;
    }
    return MOTLEY_OK;
}

int mt_reduce_start(struct mt_reduce *r, float *data, int64_t n)
{
    int st;

    MT_CHECK(!r->active, MOTLEY_EARG, "sum over ranks: the one before is not finished");
    MT_CHECK(n >= 0 && n <= r->max, MOTLEY_EARG, "sum over ranks: %lld numbers, at most %lld",
             (long long)n, (long long)r->max);
    r->active = 1;
    r->data = data;
    r->n = n;
    r->next = 0;
    r->turn = 0;
    r->peer = -1;
    if (r->comm->info.size == 1) {
        r->next = n;   /* the sum of one */
    }
    for (int i = 0; i < LANES && r->next < n; i++) {
        MT_TRY_OR(fail, begin(r, &r->lane[i]));
    }
    return MOTLEY_OK;
fail:
    drop(r);
    return st;
}

/* Chunks go to the lanes strictly in turn: the order of messages within a lane must be the same on
 * all ranks. */
int mt_reduce_test(struct mt_reduce *r, int *done)
{
    int busy = 0, st;

    MT_CHECK(r->active, MOTLEY_EARG, "sum over ranks: none was started");
    r->peer = -1;
    for (int i = 0; i < LANES; i++) {
        if (r->lane[i].chunk != NULL) {
            MT_TRY_OR(fail, advance(r, &r->lane[i]));
        }
    }
    while (r->next < r->n && r->lane[r->turn].chunk == NULL) {
        MT_TRY_OR(fail, begin(r, &r->lane[r->turn]));
        r->turn = (r->turn + 1) % LANES;
    }
    for (int i = 0; i < LANES; i++) {
        busy += r->lane[i].chunk != NULL;
    }
    r->active = busy > 0;
    *done = !r->active;
    return MOTLEY_OK;
fail:
    drop(r);
    return st;
}

int mt_reduce_peer(const struct mt_reduce *r)
{
    return r->peer;
}
