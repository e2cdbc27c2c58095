/* gather.c -- questions of rank 0 and answers of the holders.
 *
 * A part is [lo, hi) of one dimension of the whole parameter. Element e of the whole has the
 * coordinates (o, a, i) = (e / (n I), e / I % n, e % I), n the length of that dimension, I the
 * product of those behind it; it is in the part if lo <= a < hi. The part keeps the order of the
 * whole, so what of it lies in a stretch of the whole is a stretch of the part. */
#include "train/gather.h"

#include "device/buf.h"

#include <string.h>

enum { TAG_ASK = 9990, TAG_STATUS, TAG_NUMBERS };   /* nothing else is under way meanwhile */

struct part {
    uint64_t n, inner, lo, width;
};

struct question {
    int32_t space, number;    /* space -1: no more */
    uint64_t first, count;
};

struct mt_gather {
    struct mt_session *s;
    float *chunk;             /* an answer */
};

/* ---- parts ----------------------------------------------------------------------------- */

static struct part part_new(const struct mt_spec *full, int axis, int64_t lo, int64_t hi)
{
    struct part p = {.n = 1, .inner = 1, .lo = (uint64_t)lo, .width = (uint64_t)(hi - lo)};

    if (full->rank > 0) {
        p.n = (uint64_t)full->dim[axis];
    }
    for (int i = axis + 1; i < full->rank; i++) {
        p.inner *= (uint64_t)full->dim[i];
    }
    return p;
}

static struct part part_of(const struct mt_gparam *p)
{
    int64_t width = p->desc.spec.rank > 0 ? p->desc.spec.dim[p->axis] : 1;

    return part_new(&p->full, p->axis, p->first, p->first + width);
}

/* How many of the part's elements are before element e of the whole. */
static uint64_t before(const struct part *p, uint64_t e)
{
    uint64_t o = e / (p->n * p->inner), a = e / p->inner % p->n, i = e % p->inner;
    uint64_t rows = a < p->lo ? 0 : a - p->lo < p->width ? a - p->lo : p->width;
    uint64_t rest = a >= p->lo && a - p->lo < p->width ? i : 0;

    return (o * p->width + rows) * p->inner + rest;
}

/* Where element l of the part is in the whole; the stretch from there goes to the end of the
 * part's run: *run elements. */
static uint64_t place(const struct part *p, uint64_t l, uint64_t *run)
{
    uint64_t each = p->width * p->inner, o = l / each, rest = l % each;

    *run = each - rest;
    return (o * p->n + p->lo) * p->inner + rest;
}

static void copy(const struct part *p, uint64_t first, uint64_t count, float *whole,
                 float *part, int into_whole)
{
    uint64_t lo = before(p, first), hi = before(p, first + count);

    for (uint64_t l = lo; l < hi;) {
        uint64_t run, at = place(p, l, &run), n = run < hi - l ? run : hi - l;
        float *w = whole + (at - first), *q = part + (l - lo);

        memcpy(into_whole ? w : q, into_whole ? q : w, n * sizeof *w);
        l += n;
    }
}

void mt_gather_local(const struct mt_gparam *p, uint64_t first, uint64_t count, uint64_t *lo,
                     uint64_t *hi)
{
    struct part part = part_of(p);

    *lo = before(&part, first);
    *hi = before(&part, first + count);
}

void mt_gather_take(const struct mt_gparam *p, uint64_t first, uint64_t count, const float *whole,
                    float *part)
{
    struct part shape = part_of(p);

    copy(&shape, first, count, (float *)whole, part, 0);
}

/* ---- here ------------------------------------------------------------------------------ */

static const struct mt_graph *graph_of(const struct mt_session *s)
{
    return s->train.graph != NULL  ? s->train.graph
           : s->eval.graph != NULL ? s->eval.graph
                                   : s->predict.graph;
}

struct mt_buf *mt_gather_buf(const struct mt_session *s, int space)
{
    return space == MT_SPACE_PARAM   ? s->store->param
           : space == MT_SPACE_STATE ? s->store->state
                                     : s->store->slot[space - MT_SPACE_SLOT];
}

const struct mt_gparam *mt_gather_own(const struct mt_session *s, int space, int number)
{
    const struct mt_gparam *list =
        space == MT_SPACE_STATE ? s->whole->state : s->whole->param;
    const struct mt_graph *g = graph_of(s);
    int n = space == MT_SPACE_STATE ? g->nstate : g->nparam;

    for (int i = 0; i < n; i++) {
        const struct mt_gparam *p = space == MT_SPACE_STATE ? &g->state[i] : &g->param[i];

        if (strcmp(p->name, list[number].name) == 0) {
            return p;
        }
    }
    return NULL;
}

static int read_own(const struct mt_session *s, const struct question *q, float *dst)
{
    const struct mt_gparam *p = mt_gather_own(s, q->space, q->number);
    uint64_t lo, hi;

    MT_BUG_IF(p == NULL || !p->held);
    mt_gather_local(p, q->first, q->count, &lo, &hi);
    return mt_buf_read(mt_gather_buf(s, q->space), 4 * (p->range.lo + lo), 4 * (hi - lo), dst);
}

int mt_gather_new(struct mt_session *s, struct mt_gather **out)
{
    struct mt_gather *g = NULL;
    int st;

    MT_TRY(MT_NEW(s->ctx, &g));
    g->s = s;
    MT_TRY_OR(fail, MT_NEW_N(s->ctx, MT_GATHER_MOST, &g->chunk));
    *out = g;
    return MOTLEY_OK;
fail:
    mt_gather_free(g);
    return st;
}

void mt_gather_free(struct mt_gather *g)
{
    if (g != NULL) {
        mt_free(g->s->ctx, g->chunk);
        mt_free(g->s->ctx, g);
    }
}

/* ---- messages ---------------------------------------------------------------------------- */

static int send(struct mt_session *s, const void *data, size_t bytes, int peer, int tag)
{
    int req;

    MT_TRY(mt_comm_send(s->job->comm, data, bytes, peer, tag, &req));
    return mt_comm_wait(s->job->comm, req, peer);
}

static int receive(struct mt_session *s, void *data, size_t bytes, int peer, int tag)
{
    int req;

    MT_TRY(mt_comm_recv(s->job->comm, data, bytes, peer, tag, &req));
    return mt_comm_wait(s->job->comm, req, peer);
}

/* The numbers that part p of the holders has, into g->chunk. */
static int ask(struct mt_gather *g, const struct question *q, int rank, uint64_t n)
{
    int32_t status = 0;
    char who[256];

    if (rank == g->s->job->info->rank) {
        return read_own(g->s, q, g->chunk);
    }
    MT_TRY(send(g->s, q, sizeof *q, rank, TAG_ASK));
    MT_TRY(receive(g->s, &status, sizeof status, rank, TAG_STATUS));
    MT_CHECK(status == 0, MOTLEY_EDEV, "%s could not read its part of the network",
             mt_comm_who(g->s->job->comm, rank, who, sizeof who));
    return receive(g->s, g->chunk, 4 * n, rank, TAG_NUMBERS);
}

/* The node of the whole graph with this parameter (state), and which of its it is. */
static void find_node(const struct mt_graph *whole, int space, int number, int *node, int *index)
{
    for (int i = 0; i < whole->nnode; i++) {
        const struct mt_gnode *gn = &whole->node[i];
        int n = space == MT_SPACE_STATE ? gn->n.nstate : gn->n.nparam;

        for (int k = 0; k < n; k++) {
            if ((space == MT_SPACE_STATE ? gn->state[k] : gn->param[k]) == number) {
                *node = i;
                *index = k;
                return;
            }
        }
    }
}

static const struct mt_stage *stage_of(const struct mt_layout *l, int node)
{
    const struct mt_replica *r = &l->replica[0];
    int k = 0;

    while (r->stage[k].hi <= node) {
        k++;
    }
    return &r->stage[k];
}

int mt_gather_read(struct mt_gather *g, int space, int number, uint64_t first, uint64_t count,
                   float *dst)
{
    struct mt_session *s = g->s;
    const struct mt_gparam *full =
        space == MT_SPACE_STATE ? &s->whole->state[number] : &s->whole->param[number];
    struct question q = {space, number, first, count};
    const struct mt_stage *st;
    int node = 0, index = 0;

    MT_BUG_IF(count > MT_GATHER_MOST);
    find_node(s->whole, space, number, &node, &index);
    st = stage_of(s->layout, node);
    for (int p = 0; p < st->nrank; p++) {
        int64_t length = full->full.rank > 0 ? full->full.dim[0] : 1;
        struct mt_slice slice = {.held = p == 0, .hi = length};
        struct part part;

        if (st->nrank > 1 && space != MT_SPACE_STATE) {
            MT_TRY(mt_tp_slice(s->whole, s->layout, 0, node, index, p, &slice));
        }
        part = part_new(&full->full, slice.axis, slice.lo, slice.hi);
        if (slice.held) {
            uint64_t n = before(&part, first + count) - before(&part, first);

            if (n > 0) {
                MT_TRY(ask(g, &q, st->rank[p], n));
                copy(&part, first, count, dst, g->chunk, 1);
            }
            if (part.width == part.n) {
                break;   /* the others have the same */
            }
        }
    }
    return MOTLEY_OK;
}

int mt_gather_end(struct mt_gather *g)
{
    struct question q = {.space = -1};

    for (int r = 1; r < g->s->job->info->size; r++) {
        MT_TRY(send(g->s, &q, sizeof q, r, TAG_ASK));
    }
    return MOTLEY_OK;
}

int mt_gather_serve(struct mt_gather *g)
{
    int failed = MOTLEY_OK;

    for (;;) {
        struct question q;
        const struct mt_gparam *p;
        uint64_t lo, hi;
        int32_t status;

        MT_TRY(receive(g->s, &q, sizeof q, 0, TAG_ASK));
        if (q.space < 0) {
            return failed;
        }
        status = (int32_t)read_own(g->s, &q, g->chunk);
        MT_TRY(send(g->s, &status, sizeof status, 0, TAG_STATUS));
        if (status < 0) {
            failed = status;
            continue;
        }
        p = mt_gather_own(g->s, q.space, q.number);
        mt_gather_local(p, q.first, q.count, &lo, &hi);
        MT_TRY(send(g->s, g->chunk, 4 * (hi - lo), 0, TAG_NUMBERS));
    }
}
