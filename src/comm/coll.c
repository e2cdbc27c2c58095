/* coll.c -- sum of float arrays over all ranks: not blocking, in rank order, the same bits
 * everywhere.
 *
 * The array is worked through in chunks, at least four of them in flight (lanes), more where
 * messages take long. A chunk of n numbers is
 * cut into one part a rank, part j = [n j / N, n (j+1) / N):
 *
 *     every rank sends its numbers of part j to rank j;
 *     rank j adds what it got and its own, in rank order, and sends the sum to every rank.
 *
 * Each rank sends and receives 2 (N-1)/N of the array: no algorithm needs less (R. Thakur,
 * R. Rabenseifner, W. Gropp, Optimization of collective communication operations in MPICH, 2005).
 * A ring would send as much, but would add in another order for each part; the reductions of an
 * MPI library may add in another order on every call. Short arrays are sent whole, all to all,
 * where that is shorter (way.c): part j is then the whole chunk for every j, and the second line
 * has nothing to do.
 *
 * A part is one message over a network (link.h).
 *
 * What travels as bf16 is packed when a chunk begins; parts are received, added and sent on packed,
 * and every part of the sum is unpacked where it lands. */
#include "comm/link.h"

#include "base/ctx.h"

#include <string.h>

#define PART_BYTES   ((int64_t)MT_FAR_BYTES)
#define CHUNK_BYTES  ((int64_t)8 << 20)     /* of host memory a lane, at most */
#define LANES        4                      /* at least */
#define MOST_LANES   32

enum { TAG_PART = 0, TAG_SUM, TAGS };

/* Requests with one peer; -1: none or done. */
struct pair {
    int send_part, recv_part, send_sum, recv_sum;
    int asked;              /* recv_sum was started */
};

struct lane {
    float *chunk;           /* where in the caller's array; NULL: idle */
    int64_t n;
    int added;              /* the own part holds the sum and is on its way */
    char *wire;             /* what is sent, and where the sum arrives: the chunk, or `packed` */
    uint16_t *packed;       /* the chunk as bf16; NULL: no sum is */
    char *got;              /* parts of the others: (N-1) times the longest part */
    struct pair *pair;      /* by position in the group */
};

/* N ranks take part, named by their position in the group from here on. */
struct mt_reduce {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    int most, requests;     /* most: ranks of the largest group */
    int64_t max;            /* floats */
    int packs;              /* sums may travel as bf16 */
    int active;
    struct mt_part part;    /* of the sum under way */
    int tag;
    enum mt_way wish, way;
    int *count;             /* by rank of the job: ranks of the group on the host of that one */
    int bf16;
    size_t width;           /* bytes of a number on its way */
    float *data;
    int64_t n, next;        /* floats; those already given to a lane */
    int64_t chunk;
    int turn;               /* lane that gets the next chunk */
    int peer;               /* rank last found missing */
    int lanes;
    struct lane *lane;
    const void **from;      /* by position in the group */
    const struct mt_share *share;
    struct mt_direct *direct;
    int beside;             /* the sum under way is direct */
};

int64_t mt_part_lo(int64_t n, int j, int size)
{
    return n / size * j + n % size * j / size;
}

static int64_t part_len(int64_t n, int j, int size)
{
    return mt_part_lo(n, j + 1, size) - mt_part_lo(n, j, size);
}

/* Bytes of a message in a sum over so many ranks. */
static int64_t piece_of(int size)
{
    return PART_BYTES * size < CHUNK_BYTES ? PART_BYTES : CHUNK_BYTES / size;
}

/* Of numbers that take so many bytes on their way. The same on all ranks of a group. */
static int64_t chunk_of(int size, int64_t n, size_t width, enum mt_way way)
{
    int64_t chunk = piece_of(size) * (way == MT_WAY_WHOLE ? 1 : size) / (int64_t)width;

    return chunk < n ? chunk : n;
}

/* Part j of a chunk: what rank j adds. */
static int64_t lo_of(const struct mt_reduce *r, const struct lane *l, int j)
{
    return r->way == MT_WAY_WHOLE ? 0 : mt_part_lo(l->n, j, r->part.size);
}

static int64_t len_of(const struct mt_reduce *r, const struct lane *l, int j)
{
    return r->way == MT_WAY_WHOLE ? l->n : part_len(l->n, j, r->part.size);
}

int mt_part_rank(const struct mt_part *p, int j)
{
    return p->group.rank != NULL ? p->group.rank[j] : j;
}

int mt_part_adds(const struct mt_part *p, int j)
{
    return p->group.adds == NULL || p->group.adds[j];
}

/* So many chunks that a link is busy until the first of them has arrived at the other end. */
static int lanes_of(const struct mt_links *l, int most)
{
    double far = l->known && l->far_latency > 0 ? l->far_latency * l->far_rate : 0;
    double lanes = LANES + far / (double)(piece_of(most) * (most > 1 ? most - 1 : 1));

    return lanes < MOST_LANES ? (int)lanes : MOST_LANES;
}

int mt_reduce_new(struct mt_ctx *ctx, struct mt_comm *c, int most, int64_t max, int bf16,
                  struct mt_reduce **out)
{
    const int64_t width = sizeof(float), whole = chunk_of(most, max, sizeof(float), MT_WAY_WHOLE),
                  packed = chunk_of(most, max, sizeof(uint16_t), MT_WAY_PARTS);
    struct mt_reduce *r = NULL;
    int st;

    MT_CHECK(max >= 0, MOTLEY_EARG, "sum over ranks: %lld numbers", (long long)max);
    MT_CHECK(most >= 1 && most <= c->info.size, MOTLEY_EARG,
             "sum over %d ranks of a job of %d", most, c->info.size);
    MT_TRY(MT_NEW(ctx, &r));
    r->ctx = ctx;
    r->comm = c;
    r->most = most;
    r->max = max;
    r->packs = bf16;
    r->peer = -1;
    MT_TRY_OR(fail, MT_NEW_N(ctx, most, &r->from));
    MT_TRY_OR(fail, MT_NEW_N(ctx, c->info.size, &r->count));
    MT_TRY_OR(fail, MT_NEW_N(ctx, lanes_of(&c->links, most), &r->lane));
    r->lanes = lanes_of(&c->links, most);
    for (int i = 0; i < r->lanes && most > 1; i++) {
        struct lane *l = &r->lane[i];

        if (i > 0 && max <= i * whole) {
            break;   /* never used: the lanes before hold all */
        }
        MT_TRY_OR(fail, MT_NEW_N(ctx, most, &l->pair));
        /* A whole chunk of each or a part of each, and what parts of uneven length take more; as
         * many packed numbers take no more. */
        MT_TRY_OR(fail, MT_NEW_N(ctx, most * (whole + 1) * width, &l->got));
        MT_TRY_OR(fail, bf16 ? MT_NEW_N(ctx, packed + 1, &l->packed) : MOTLEY_OK);
        MT_TRY_OR(fail, mt_comm_reserve(c, 4 * (most - 1)));
        r->requests += 4 * (most - 1);
    }
    *out = r;
    return MOTLEY_OK;
fail:
    mt_reduce_free(r);
    return st;
}

int mt_reduce_beside(struct mt_reduce *r, const struct mt_share *share)
{
    MT_TRY(mt_direct_new(r->ctx, r->comm, share, r->most, &r->direct));
    r->share = share;
    return MOTLEY_OK;
}

static void drop(struct mt_reduce *r)
{
    if (r->beside) {
        mt_direct_drop(r->direct);
        r->beside = 0;
    }
    for (int i = 0; i < r->lanes; i++) {
        struct lane *l = &r->lane[i];

        for (int j = 0; l->chunk != NULL && j < r->part.size; j++) {
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
    for (int i = 0; i < r->lanes; i++) {
        mt_free(r->ctx, r->lane[i].pair);
        mt_free(r->ctx, r->lane[i].packed);
        mt_free(r->ctx, r->lane[i].got);
    }
    mt_comm_reserve(r->comm, -r->requests);
    mt_direct_free(r->direct);
    mt_free(r->ctx, r->lane);
    mt_free(r->ctx, r->count);
    mt_free(r->ctx, r->from);
    mt_free(r->ctx, r);
}

/* The numbers of position `from` for the own part. */
static void *got_of(const struct mt_reduce *r, const struct lane *l, int from)
{
    int slot = from < r->part.me ? from : from - 1;

    return l->got + (size_t)(slot * len_of(r, l, r->part.me)) * r->width;
}

/* Part j of a chunk, as it travels. */
static void *wire_of(const struct mt_reduce *r, const struct lane *l, int j)
{
    return l->wire + (size_t)lo_of(r, l, j) * r->width;
}

/* A part of the sum is there. */
static void land(const struct mt_reduce *r, const struct lane *l, int j)
{
    if (r->bf16) {
        mt_unpack(len_of(r, l, j), wire_of(r, l, j), l->chunk + lo_of(r, l, j));
    }
}

/* Chunks share two tags: their parts leave in the order of the chunks, on all ranks the same, and
 * so do their sums. */
static int message(const struct mt_reduce *r, void *data, int64_t n, int j, int what, int recv,
                   int *req)
{
    MT_TRY(mt_comm_start(r->comm, data, (size_t)n * r->width, mt_part_rank(&r->part, j),
                         r->tag + what, recv, req));
    return MOTLEY_OK;
}

/* Gives the next chunk to a lane: all parts leave at once, beginning with the next rank, so that
 * not all ranks send to the same one. Parts without numbers make no message. */
static int begin(struct mt_reduce *r, struct lane *l)
{
    int size = r->part.size, me = r->part.me;

    l->chunk = r->data + r->next;
    l->n = r->n - r->next < r->chunk ? r->n - r->next : r->chunk;
    l->added = 0;
    l->wire = r->bf16 ? (char *)l->packed : (char *)l->chunk;
    if (r->bf16 && mt_part_adds(&r->part, me)) {
        mt_pack(l->n, l->chunk, l->packed);
    }
    r->next += l->n;
    for (int j = 0; j < size; j++) {
        l->pair[j] = (struct pair){-1, -1, -1, -1, r->way == MT_WAY_WHOLE};
    }
    for (int i = 1; i < size; i++) {
        int to = (me + i) % size, from = (me - i + size) % size;
        int64_t mine = len_of(r, l, me), theirs = len_of(r, l, to);

        if (mine > 0 && mt_part_adds(&r->part, from)) {
            MT_TRY(message(r, got_of(r, l, from), mine, from, TAG_PART, 1,
                           &l->pair[from].recv_part));
        }
        if (theirs > 0 && mt_part_adds(&r->part, me)) {
            MT_TRY(message(r, wire_of(r, l, to), theirs, to, TAG_PART, 0,
                           &l->pair[to].send_part));
        }
    }
    return MOTLEY_OK;
}

/* The own part of the chunk becomes the sum. */
static void add_parts(const struct mt_reduce *r, const struct lane *l)
{
    const struct mt_part *p = &r->part;
    void *own = wire_of(r, l, p->me);
    int n = 0;

    for (int j = 0; j < p->size; j++) {
        if (mt_part_adds(p, j)) {
            r->from[n++] = j == p->me ? own : got_of(r, l, j);
        }
    }
    mt_add_in_order(r->bf16 ? MT_FORM_PACKED : MT_FORM_FLOAT, len_of(r, l, p->me), n, r->from, 1,
                    &own);
    land(r, l, p->me);
}

/* *left: counted up if the request goes on. */
static int check(struct mt_reduce *r, int *req, int j, int *left)
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
        r->peer = mt_part_rank(&r->part, j);
    }
    return MOTLEY_OK;
}

/* older: the lane with the chunk before, NULL: that one is done. */
static int advance(struct mt_reduce *r, struct lane *l, const struct lane *older)
{
    int size = r->part.size, me = r->part.me;
    int64_t mine = r->way == MT_WAY_WHOLE ? 0 : len_of(r, l, me);   /* of the sum, to be sent */
    int sending = 0, missing = 0;

    for (int j = 0; j < size; j++) {
        struct pair *p = &l->pair[j];
        int64_t theirs = len_of(r, l, j);

        if (j == me) {
            continue;
        }
        MT_TRY(check(r, &p->send_part, j, &sending));
        MT_TRY(check(r, &p->send_sum, j, &sending));
        /* The sum comes where the part lay, so the part must have left first. */
        if (!p->asked && p->send_part < 0 && (older == NULL || older->pair[j].asked)) {
            p->asked = 1;
            if (theirs > 0) {
                MT_TRY(message(r, wire_of(r, l, j), theirs, j, TAG_SUM, 1, &p->recv_sum));
            }
        }
        missing += !p->asked;
        if (p->recv_sum >= 0) {
            MT_TRY(check(r, &p->recv_sum, j, &missing));
            if (p->recv_sum < 0) {
                land(r, l, j);
            }
        }
    }
    /* A whole chunk is added where it is being sent from. */
    if (!l->added && (older == NULL || older->added) &&
        (r->way != MT_WAY_WHOLE || sending == 0)) {
        int parts = 0;

        for (int j = 0; j < size; j++) {
            MT_TRY(check(r, &l->pair[j].recv_part, j, &parts));
        }
        if (parts == 0) {
            add_parts(r, l);
            l->added = 1;
            for (int i = 1; i < size && mine > 0; i++) {
                int to = (me + i) % size;

                MT_TRY(message(r, wire_of(r, l, me), mine, to, TAG_SUM, 0,
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

/* Where this rank is in the group, and that somebody adds. */
static int find_me(struct mt_reduce *r)
{
    int rank = r->comm->info.rank, adding = 0;

    r->part.me = -1;
    for (int j = 0; j < r->part.size; j++) {
        r->part.me = mt_part_rank(&r->part, j) == rank ? j : r->part.me;
        adding += mt_part_adds(&r->part, j);
    }
    MT_CHECK(r->part.me >= 0 && adding > 0, MOTLEY_EARG,
             "sum over %d ranks: rank %d is %s, %d of them add", r->part.size, rank,
             r->part.me < 0 ? "none of them" : "one of them", adding);
    return MOTLEY_OK;
}

/* Where the ranks of the group are. */
static void look_around(struct mt_reduce *r, struct mt_crowd *crowd)
{
    const struct mt_peer *peer = r->comm->peer;

    *crowd = (struct mt_crowd){.size = r->part.size};
    for (int j = 0; j < r->part.size; j++) {
        r->count[peer[mt_part_rank(&r->part, j)].card.lead] = 0;
    }
    for (int j = 0; j < r->part.size; j++) {
        r->count[peer[mt_part_rank(&r->part, j)].card.lead]++;
    }
    for (int j = 0; j < r->part.size; j++) {
        int *n = &r->count[peer[mt_part_rank(&r->part, j)].card.lead];
        double leaving = (double)*n * (r->part.size - *n);

        crowd->hosts += *n > 0;
        crowd->fullest = *n > crowd->fullest ? *n : crowd->fullest;
        crowd->leaving = leaving > crowd->leaving ? leaving : crowd->leaving;
        *n = 0;   /* this host is done */
    }
}

/* The same on all ranks of the group: of figures that all have. */
static enum mt_way choose(struct mt_reduce *r)
{
    struct mt_crowd crowd;

    if (r->wish != MT_WAY_AUTO) {
        return r->wish;
    }
    look_around(r, &crowd);
    return (double)r->n * (double)r->width < mt_way_limit(&r->comm->links, &crowd)
               ? MT_WAY_WHOLE : MT_WAY_PARTS;
}

/* Checks and notes what a sum is. */
static int prepare(struct mt_reduce *r, const struct mt_sum *sum)
{
    MT_CHECK(!r->active, MOTLEY_EARG, "sum over ranks: the one before is not finished");
    MT_CHECK(sum->n >= 0 && sum->n <= r->max, MOTLEY_EARG,
             "sum over ranks: %lld numbers, at most %lld", (long long)sum->n, (long long)r->max);
    MT_CHECK(sum->tag >= 0 && sum->tag < MT_TAGS_REDUCE, MOTLEY_EARG,
             "sum over ranks: tag %d is not in 0..%d", sum->tag, MT_TAGS_REDUCE - 1);
    MT_CHECK(!sum->bf16 || r->packs, MOTLEY_EARG,
             "sum over ranks: as bf16, for which it was not made");
    r->part.group = sum->group != NULL ? *sum->group : (struct mt_group){.n = r->comm->info.size};
    r->part.size = r->part.group.n;
    MT_CHECK(r->part.size >= 1 && r->part.size <= r->most, MOTLEY_EARG,
             "sum over %d ranks, at most %d", r->part.size, r->most);
    MT_TRY(find_me(r));
    r->tag = MT_TAG_REDUCE + TAGS * sum->tag;
    r->bf16 = sum->bf16;
    r->width = sum->bf16 ? sizeof(uint16_t) : sizeof(float);
    r->data = sum->data;
    r->n = sum->n;
    r->next = r->part.size > 1 ? 0 : sum->n;   /* the sum of one */
    r->turn = 0;
    r->peer = -1;
    return MOTLEY_OK;
}

static int send_parts(struct mt_reduce *r)
{
    int st;

    r->way = choose(r);
    r->chunk = chunk_of(r->part.size, r->n, r->width, r->way);
    r->active = 1;
    for (int i = 0; i < r->lanes && r->next < r->n; i++) {
        MT_TRY_OR(fail, begin(r, &r->lane[i]));
    }
    return MOTLEY_OK;
fail:
    drop(r);
    return st;
}

/* All of the group on this host, and this host shares. */
static int is_beside(const struct mt_reduce *r)
{
    int all = r->direct != NULL && r->part.size > 1;

    for (int j = 0; j < r->part.size && all; j++) {
        all = mt_share_of(r->share, mt_part_rank(&r->part, j), 0, 1) != NULL;
    }
    return all;
}

int mt_reduce_start(struct mt_reduce *r, const struct mt_sum *sum)
{
    MT_TRY(prepare(r, sum));
    if (sum->placed && is_beside(r)) {
        MT_TRY(mt_direct_start(r->direct, &r->part, r->tag, sum));
        r->active = r->beside = 1;
        r->way = MT_WAY_BESIDE;
    } else {
        MT_TRY(send_parts(r));
    }
    return MOTLEY_OK;
}

/* Chunks go to the lanes strictly in turn, so the oldest is in the lane that is next. */
int mt_reduce_test(struct mt_reduce *r, int *done)
{
    const struct lane *older = NULL;
    int busy = 0, st;

    MT_CHECK(r->active, MOTLEY_EARG, "sum over ranks: none was started");
    r->peer = -1;
    if (r->beside) {
        MT_TRY_OR(fail, mt_direct_test(r->direct, done, &r->peer));
        r->active = r->beside = !*done;
        return MOTLEY_OK;
    }
    for (int i = 0; i < r->lanes; i++) {
        struct lane *l = &r->lane[(r->turn + i) % r->lanes];

        if (l->chunk != NULL) {
            MT_TRY_OR(fail, advance(r, l, older));
            older = l->chunk != NULL ? l : NULL;
        }
    }
    while (r->next < r->n && r->lane[r->turn].chunk == NULL) {
        MT_TRY_OR(fail, begin(r, &r->lane[r->turn]));
        r->turn = (r->turn + 1) % r->lanes;
    }
    for (int i = 0; i < r->lanes; i++) {
        busy += r->lane[i].chunk != NULL;
    }
    r->active = busy > 0;
    *done = !r->active;
    return MOTLEY_OK;
fail:
    drop(r);
    return st;
}

void mt_reduce_wish(struct mt_reduce *r, enum mt_way way)
{
    r->wish = way;
}

enum mt_way mt_reduce_way(const struct mt_reduce *r)
{
    return r->way;
}

int mt_reduce_peer(const struct mt_reduce *r)
{
    return r->peer;
}
