/* segment.c -- pieces of the flat space and who holds them.
 *
 * For each parameter of this rank every replica is asked which of its ranks hold which part. Where
 * replicas divide a parameter differently along its first dimension it is cut at all their
 * borders: such pieces lie one behind the other in everybody's memory. Along another dimension
 * parts interleave, so replicas must divide alike there. */
#include "parallel/segment.h"

#include "base/ctx.h"
#include "parallel/par.h"

#include <stdlib.h>
#include <string.h>

/* A parameter of this rank in the network. */
struct where {
    int node, param;          /* of the whole graph: node, and which of its parameters */
    int number;               /* in the whole graph's list */
    struct mt_slice mine;
};

struct maker {
    struct mt_ctx *ctx;
    const struct mt_graph *whole, *g;
    const struct mt_layout *l;
    int rank, nrank, room;
    struct mt_segment *list;
    int n;
    int last;                 /* number of the parameter added last */
};

static const struct mt_stage *stage_of(const struct mt_layout *l, int replica, int node)
{
    const struct mt_replica *r = &l->replica[replica];
    int s = 0;

    while (s + 1 < r->nstage && r->stage[s].hi <= node) {
        s++;
    }
    return &r->stage[s];
}

static int is_same(const struct mt_slice *a, const struct mt_slice *b)
{
    return a->lo == b->lo && a->hi == b->hi && (a->axis == b->axis || a->lo == a->hi);
}

static int is_apart(const struct mt_slice *a, const struct mt_slice *b)
{
    return a->axis == b->axis && (a->hi <= b->lo || a->lo >= b->hi);
}

static int64_t length(const struct mt_spec *full, int axis)
{
    return full->rank > 0 ? full->dim[axis] : 1;
}

/* Whole, as any axis sees it. */
static int is_whole(const struct mt_spec *full, const struct mt_slice *s)
{
    return s->lo == 0 && s->hi == length(full, s->axis);
}

static void sort_group(int *rank, char *adds, int n)
{
    for (int i = 1; i < n; i++) {
        for (int j = i; j > 0 && rank[j - 1] > rank[j]; j--) {
            int r = rank[j];
            char a = adds[j];

            rank[j] = rank[j - 1];
            adds[j] = adds[j - 1];
            rank[j - 1] = r;
            adds[j - 1] = a;
        }
    }
}

/* Whether a part covers piece [lo, hi) of w's division: everything if it is whole. */
static int covers(const struct mt_spec *full, const struct where *w, const struct mt_slice *s,
                  int64_t lo, int64_t hi)
{
    if (!s->held) {
        return 0;
    }
    return is_whole(full, s) || (s->axis == w->mine.axis && s->lo <= lo && s->hi >= hi);
}

/* Adds piece [lo, hi) along w's axis; *borders gets the nearest border of anybody's part inside
 * (lo, hi), if there is one. */
static int find_members(const struct maker *m, const struct where *w, int64_t lo, int64_t *hi,
                        struct mt_group *group, int *alike)
{
    const struct mt_spec *full = &m->whole->param[w->number].full;
    int *rank = NULL, n = 0;
    char *adds = NULL;

    MT_TRY(MT_NEW_N(m->ctx, m->nrank, &rank));
    group->rank = rank;
    MT_TRY(MT_NEW_N(m->ctx, m->nrank, &adds));
    group->adds = adds;
    *alike = 1;
    for (int r = 0; r < m->l->nreplica; r++) {
        const struct mt_stage *st = stage_of(m->l, r, w->node);

        for (int p = 0; p < st->nrank; p++) {
            struct mt_slice s;

            MT_TRY(mt_tp_slice(m->whole, m->l, r, w->node, w->param, p, &s));
            if (!s.held || is_apart(&s, &w->mine) || is_same(&s, &w->mine) ||
                (is_whole(full, &s) && is_whole(full, &w->mine))) {
                continue;
            }
            MT_CHECK((s.axis == 0 || is_whole(full, &s)) &&
                         (w->mine.axis == 0 || is_whole(full, &w->mine)),
                     MOTLEY_ECONFIG,
                     "replica %d divides '%s' by its inputs, another replica has it otherwise: "
                     "give the stages with this layer as many ranks and the same widths in every "
                     "replica", r, m->whole->param[w->number].name);
            *alike = 0;
            *hi = s.lo > lo && s.lo < *hi ? s.lo : *hi;
            *hi = s.hi > lo && s.hi < *hi ? s.hi : *hi;
        }
    }
    for (int r = 0; r < m->l->nreplica; r++) {
        const struct mt_stage *st = stage_of(m->l, r, w->node);
        int found = 0;

        for (int p = 0; p < st->nrank; p++) {
            struct mt_slice s;

            MT_TRY(mt_tp_slice(m->whole, m->l, r, w->node, w->param, p, &s));
            if (covers(full, w, &s, lo, *hi)) {
                rank[n] = st->rank[p];
                adds[n++] = (char)(found++ == 0);
            }
        }
    }
    sort_group(rank, adds, n);
    group->n = n;
    return MOTLEY_OK;
}

static int same_group(const struct mt_group *a, const struct mt_group *b)
{
    return a->n == b->n && memcmp(a->rank, b->rank, (size_t)a->n * sizeof *a->rank) == 0 &&
           memcmp(a->adds, b->adds, (size_t)a->n) == 0;
}

static int stands_for(const struct mt_group *g, int rank)
{
    for (int i = 0; i < g->n; i++) {
        if (g->adds[i]) {
            return g->rank[i] == rank;
        }
    }
    return 0;
}

/* Takes seg: as a segment of its own, or as a part of the one before. */
static int append(struct maker *m, struct mt_segment *seg, int number)
{
    struct mt_segment *before = m->n > 0 ? &m->list[m->n - 1] : NULL;

    if (before != NULL && before->alike && seg->alike && number == m->last + 1 &&
        same_group(&before->group, &seg->group)) {
        before->range.hi = seg->range.hi;
        mt_segment_free_group(m->ctx, &seg->group);
    } else {
        if (m->n == m->room) {
            MT_TRY(MT_RESIZE(m->ctx, m->room + 32, &m->list));
            m->room += 32;
        }
        m->list[m->n++] = *seg;
    }
    m->last = number;
    return MOTLEY_OK;
}

static uint64_t aligned(uint64_t n)
{
    return (n + MT_FLAT_ALIGN - 1) / MT_FLAT_ALIGN * MT_FLAT_ALIGN;
}

static int add_param(struct maker *m, const struct mt_gparam *p, const struct where *w)
{
    uint64_t lo = (uint64_t)w->mine.lo, whole = m->whole->param[w->number].whole.lo;
    uint64_t inner = w->mine.axis == 0 && w->mine.hi > w->mine.lo
                         ? (p->range.hi - p->range.lo) / (uint64_t)(w->mine.hi - w->mine.lo) : 1;

    for (int64_t at = w->mine.lo; at < w->mine.hi;) {
        struct mt_segment seg = {.group = {0}};
        int64_t to = w->mine.hi;
        int st;

        st = find_members(m, w, at, &to, &seg.group, &seg.alike);
        if (st == MOTLEY_OK) {
            if (seg.alike) {
                seg.range = (struct mt_range){p->range.lo, aligned(p->range.hi)};
            } else {
                seg.range = (struct mt_range){p->range.lo + ((uint64_t)at - lo) * inner,
                                              p->range.lo + ((uint64_t)to - lo) * inner};
            }
            seg.key = whole + (uint64_t)at * inner;
            seg.mine = stands_for(&seg.group, m->rank);
            st = append(m, &seg, w->number);
        }
        if (st < 0) {
            mt_segment_free_group(m->ctx, &seg.group);
            return mt_err_trace(st, __func__, __FILE__, __LINE__);
        }
        at = to;
    }
    return MOTLEY_OK;
}

static int add_all(struct maker *m)
{
    struct mt_seat_in seat;

    mt_layout_where(m->l, m->rank, &seat);
    for (int i = 0; i < m->g->nnode; i++) {
        const struct mt_gnode *gn = &m->g->node[i];

        for (int k = 0; gn->held && k < gn->n.nparam; k++) {
            const struct mt_gparam *p = &m->g->param[gn->param[k]];
            struct where w = {.node = gn->origin, .param = k};

            w.number = m->whole->node[w.node].param[k];
            MT_TRY(mt_tp_slice(m->whole, m->l, seat.replica, w.node, k, seat.part, &w.mine));
            MT_BUG_IF(!w.mine.held && p->range.hi > p->range.lo);
            MT_TRY(add_param(m, p, &w));
        }
    }
    return MOTLEY_OK;
}

int mt_segments_new(const struct mt_graph *whole, const struct mt_graph *g,
                    const struct mt_layout *layout, int rank, int nrank,
                    struct mt_segment **list, int *n)
{
    struct maker m = {.ctx = g->ctx, .whole = whole, .g = g, .l = layout, .rank = rank,
                      .nrank = nrank, .last = -2};
    int st;

    if (layout == NULL) {
        MT_TRY(MT_NEW(g->ctx, &m.list));
        m.list[0] = (struct mt_segment){.range = {0, g->param_size}, .group = {.n = nrank},
                                        .alike = 1, .mine = rank == 0};
        *list = m.list;
        *n = 1;
        return MOTLEY_OK;
    }
    MT_TRY_OR(fail, add_all(&m));
    *list = m.list;
    *n = m.n;
    return MOTLEY_OK;
fail:
    mt_segments_free(m.ctx, m.list, m.n);
    return st;
}

void mt_segments_free(struct mt_ctx *ctx, struct mt_segment *list, int n)
{
    for (int i = 0; i < n; i++) {
        mt_segment_free_group(ctx, &list[i].group);
    }
    mt_free(ctx, list);
}

int mt_segment_stats(struct mt_ctx *ctx, const struct mt_layout *layout, int nrank,
                     struct mt_group *group)
{
    char *adds = NULL;

    *group = (struct mt_group){.n = nrank};
    if (layout == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW_N(ctx, nrank, &adds));
    for (int r = 0; r < layout->nreplica; r++) {
        const struct mt_replica *rep = &layout->replica[r];

        adds[rep->stage[rep->nstage - 1].rank[0]] = 1;
    }
    group->adds = adds;
    return MOTLEY_OK;
}

void mt_segment_free_group(struct mt_ctx *ctx, struct mt_group *group)
{
    mt_free(ctx, (int *)group->rank);
    mt_free(ctx, (char *)group->adds);
    *group = (struct mt_group){0};
}
