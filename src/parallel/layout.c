/* layout.c -- layouts as data: regular grids, checks, where a rank is.
 *
 * The cut of a grid is balanced by what operations say of their cost: the larger of arithmetic and
 * memory traffic, a byte counted as ten operations, a common ratio of devices. A plan by measured
 * speeds is the planner's. */
#include "parallel/layout.h"

#include "base/ctx.h"
#include "parallel/cut.h"
#include "parallel/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define FLOP_PER_BYTE 10.0

/* ---- memory ---------------------------------------------------------------------------------- */

static void free_replica(struct mt_ctx *ctx, struct mt_replica *r)
{
    for (int s = 0; s < r->nstage; s++) {
        mt_free(ctx, r->stage[s].rank);
        mt_free(ctx, r->stage[s].width);
    }
    mt_free(ctx, r->stage);
}

void mt_layout_drop(struct mt_layout *l, int replica)
{
    free_replica(l->ctx, &l->replica[replica]);
    l->nreplica--;
    memmove(&l->replica[replica], &l->replica[replica + 1],
            (size_t)(l->nreplica - replica) * sizeof *l->replica);
}

void mt_layout_free(struct mt_layout *l)
{
    if (l == NULL) {
        return;
    }
    for (int r = 0; r < l->nreplica; r++) {
        free_replica(l->ctx, &l->replica[r]);
    }
    mt_free(l->ctx, l->replica);
    mt_free(l->ctx, l);
}

static int copy_stage(struct mt_ctx *ctx, const struct mt_stage *from, struct mt_stage *to)
{
    size_t n = (size_t)from->nrank;

    to->lo = from->lo;
    to->hi = from->hi;
    to->recompute = from->recompute;
    MT_TRY(MT_NEW_N(ctx, n, &to->rank));
    to->nrank = from->nrank;
    memcpy(to->rank, from->rank, n * sizeof *to->rank);
    if (from->width != NULL) {
        MT_TRY(MT_NEW_N(ctx, n, &to->width));
        memcpy(to->width, from->width, n * sizeof *to->width);
    }
    return MOTLEY_OK;
}

int mt_layout_copy(const struct mt_layout *l, struct mt_layout **out)
{
    struct mt_layout *c = NULL;
    int st;

    MT_TRY(MT_NEW(l->ctx, &c));
    c->ctx = l->ctx;
    c->nrank = l->nrank;
    c->schedule = l->schedule;
    MT_TRY_OR(fail, MT_NEW_N(l->ctx, l->nreplica, &c->replica));
    c->nreplica = l->nreplica;
    for (int r = 0; r < l->nreplica; r++) {
        const struct mt_replica *from = &l->replica[r];
        struct mt_replica *to = &c->replica[r];

        to->share = from->share;
        to->micros = from->micros;
        MT_TRY_OR(fail, MT_NEW_N(l->ctx, from->nstage, &to->stage));
        to->nstage = from->nstage;
        for (int s = 0; s < from->nstage; s++) {
            MT_TRY_OR(fail, copy_stage(l->ctx, &from->stage[s], &to->stage[s]));
        }
    }
    *out = c;
    return MOTLEY_OK;
fail:
    mt_layout_free(c);
    return st;
}

/* ---- regular grids --------------------------------------------------------------------------- */

static double node_cost(const struct mt_node *n)
{
    struct mt_cost c = {0};

    if (n->op->cost != NULL) {
        n->op->cost(n, &c);
    }
    return fmax(c.fwd_flop, FLOP_PER_BYTE * c.fwd_bytes) +
           fmax(c.data_flop, FLOP_PER_BYTE * c.data_bytes) +
           fmax(c.param_flop, FLOP_PER_BYTE * c.param_bytes);
}

/* arg: sums of cost, one more than nodes. */
static double sum_cost(const void *arg, int stage, int lo, int hi)
{
    const double *sum = arg;

    (void)stage;
    return sum[hi] - sum[lo];
}

int mt_layout_may_cut(const struct mt_graph *whole, char **may)
{
    char *m = NULL;

    MT_TRY(MT_NEW_N(whole->ctx, whole->nnode + 1, &m));
    for (int i = 0; i < whole->nnode; i++) {
        m[i] = !whole->node[i].fused && !(whole->node[i].n.op->flags & MT_OP_VIEW);
    }
    *may = m;
    return MOTLEY_OK;
}

static int balanced_cut(const struct mt_graph *whole, int k, int *cut)
{
    double *sum = NULL, worst = INFINITY;
    char *may = NULL;
    int st, n = whole->nnode, places = 0;

    MT_TRY_OR(end, mt_layout_may_cut(whole, &may));
    MT_TRY_OR(end, MT_NEW_N(whole->ctx, n + 1, &sum));
    for (int i = 0; i < n; i++) {
        sum[i + 1] = sum[i] + node_cost(&whole->node[i].n);
        places += i > 0 && may[i];
    }
    MT_CHECK_OR(end, places >= k - 1, MOTLEY_ECONFIG,
                "%d stages need %d cuts, but this network of %d layers has only %d places for one; "
                "use at most %d stages", k, k - 1, n, places, places + 1);
    MT_TRY_OR(end, mt_cut_minmax(whole->ctx, n, k, may, sum_cost, NULL, sum, cut, &worst));
end:
    mt_free(whole->ctx, may);
    mt_free(whole->ctx, sum);
    return st;
}

/* Stage boundaries: stages + 1 nodes. */
static int grid_cut(const struct mt_graph *whole, const struct mt_mesh *grid, int k, int *cut)
{
    if (grid->cut == NULL) {
        return balanced_cut(whole, k, cut);
    }
    cut[0] = 0;
    cut[k] = whole->nnode;
    memcpy(cut + 1, grid->cut, (size_t)(k - 1) * sizeof *cut);
    return MOTLEY_OK;
}

static int grid_check(const struct mt_graph *whole, int nrank, const struct mt_mesh *g)
{
    MT_CHECK(g->data >= 1 && g->stages >= 1 && g->tensor >= 1 && g->chunks >= 1 && g->micros >= 1,
             MOTLEY_ECONFIG, "grid of %d x %d x %d, %d chunks, %d micro-batches: each must be at "
             "least 1", g->data, g->stages, g->tensor, g->chunks, g->micros);
    MT_CHECK((int64_t)g->data * g->stages * g->tensor == nrank, MOTLEY_ECONFIG,
             "a grid of %d (data) x %d (stages) x %d (tensor) takes %" PRId64 " ranks, the job "
             "has %d", g->data, g->stages, g->tensor, (int64_t)g->data * g->stages * g->tensor,
             nrank);
    MT_CHECK((int64_t)g->stages * g->chunks <= whole->nnode, MOTLEY_ECONFIG,
             "%d stages of %d chunks for a network of %d layers: a stage needs at least one layer",
             g->stages, g->chunks, whole->nnode);
    return MOTLEY_OK;
}

static int fill_replica(const struct mt_mesh *g, int number, const int *cut, struct mt_ctx *ctx,
                        struct mt_replica *out)
{
    int k = g->stages * g->chunks;

    out->share = g->shares != NULL ? g->shares[number] : 1;
    out->micros = g->micros;
    MT_TRY(MT_NEW_N(ctx, k, &out->stage));
    out->nstage = k;
    for (int s = 0; s < k; s++) {
        struct mt_stage *stage = &out->stage[s];

        stage->lo = cut[s];
        stage->hi = cut[s + 1];
        stage->recompute = g->recompute;
        MT_TRY(MT_NEW_N(ctx, g->tensor, &stage->rank));
        stage->nrank = g->tensor;
        for (int p = 0; p < g->tensor; p++) {
            stage->rank[p] = (number * g->stages + s % g->stages) * g->tensor + p;
        }
    }
    return MOTLEY_OK;
}

int mt_layout_grid(const struct mt_graph *whole, int nrank, const struct mt_mesh *grid,
                   struct mt_layout **out)
{
    struct mt_ctx *ctx = whole->ctx;
    struct mt_layout *l = NULL;
    int *cut = NULL, st;

    MT_TRY(grid_check(whole, nrank, grid));
    MT_TRY(MT_NEW(ctx, &l));
    l->ctx = ctx;
    l->nrank = nrank;
    l->schedule = grid->schedule;
    MT_TRY_OR(fail, MT_NEW_N(ctx, grid->stages * grid->chunks + 1, &cut));
    MT_TRY_OR(fail, grid_cut(whole, grid, grid->stages * grid->chunks, cut));
    MT_TRY_OR(fail, MT_NEW_N(ctx, grid->data, &l->replica));
    l->nreplica = grid->data;
    for (int r = 0; r < grid->data; r++) {
        MT_TRY_OR(fail, fill_replica(grid, r, cut, ctx, &l->replica[r]));
    }
    MT_TRY_OR(fail, mt_layout_check(whole, l));
    mt_free(ctx, cut);
    *out = l;
    return MOTLEY_OK;
fail:
    mt_free(ctx, cut);
    mt_layout_free(l);
    return st;
}

/* ---- checks ---------------------------------------------------------------------------------- */

int mt_layout_stride(const struct mt_replica *r)
{
    int s = 1;

    while (s < r->nstage && r->stage[s].rank[0] != r->stage[0].rank[0]) {
        s++;
    }
    return s;
}

static int check_nodes(const struct mt_graph *whole, const struct mt_replica *r, int number)
{
    int at = 0;

    MT_CHECK(r->nstage >= 1, MOTLEY_ECONFIG, "replica %d has no stages", number);
    for (int s = 0; s < r->nstage; s++) {
        const struct mt_stage *g = &r->stage[s];

        MT_CHECK(g->lo == at && g->hi > g->lo && g->hi <= whole->nnode, MOTLEY_ECONFIG,
                 "replica %d, stage %d has layers [%d, %d): a stage begins where the one before "
                 "ends, at %d, has at least one layer, and ends before %d", number, s, g->lo,
                 g->hi, at, whole->nnode + 1);
        at = g->hi;
    }
    MT_CHECK(at == whole->nnode, MOTLEY_ECONFIG,
             "replica %d: layers from %s on belong to no stage", number,
             whole->node[at].n.name);
    return MOTLEY_OK;
}

/* owner[rank]: 1 + replica of whoever was seen there. */
static int check_ranks(const struct mt_layout *l, int number, int *owner)
{
    const struct mt_replica *r = &l->replica[number];
    int stride = mt_layout_stride(r);

    for (int s = 0; s < r->nstage; s++) {
        const struct mt_stage *g = &r->stage[s];
        double sum = 0;

        MT_CHECK(g->nrank >= 1, MOTLEY_ECONFIG, "replica %d, stage %d has no ranks", number, s);
        for (int p = 0; p < g->nrank; p++) {
            int rank = g->rank[p];

            MT_CHECK(rank >= 0 && rank < l->nrank, MOTLEY_ECONFIG,
                     "replica %d, stage %d: rank %d does not exist; the job has ranks 0 to %d",
                     number, s, rank, l->nrank - 1);
            if (s < stride) {
                MT_CHECK(owner[rank] == 0, MOTLEY_ECONFIG,
                         "replica %d, stage %d: rank %d is in %s already", number, s, rank,
                         owner[rank] == 1 + number ? "another stage or part of this replica"
                                                   : "another replica");
                owner[rank] = 1 + number;
            }
            if (g->width != NULL) {
                MT_CHECK(isfinite(g->width[p]) && g->width[p] > 0, MOTLEY_ECONFIG,
                         "replica %d, stage %d: the width of a part must be above 0, not %g",
                         number, s, g->width[p]);
                sum += g->width[p];
            }
        }
        MT_CHECK(isfinite(sum), MOTLEY_ECONFIG, "replica %d, stage %d: the widths are too large",
                 number, s);
        MT_CHECK(s < stride || (g->nrank == r->stage[s - stride].nrank &&
                                memcmp(g->rank, r->stage[s - stride].rank,
                                       (size_t)g->nrank * sizeof *g->rank) == 0),
                 MOTLEY_ECONFIG, "replica %d: rank %d comes again in stage %d, so every stage from "
                 "there on must have the ranks of the one %d before; stage %d has not", number,
                 r->stage[0].rank[0], stride, stride, s);
    }
    return MOTLEY_OK;
}

static int check_schedule(const struct mt_layout *l, int number)
{
    const struct mt_replica *r = &l->replica[number];
    int stride = mt_layout_stride(r);

    MT_CHECK(r->nstage == stride || l->schedule == MT_SCHEDULE_INTERLEAVED ||
             l->schedule == MT_SCHEDULE_GPIPE, MOTLEY_ECONFIG,
             "replica %d has several stages on a rank, which schedule %s cannot take; use "
             "interleaved", number, mt_schedule_word(l->schedule));
    MT_CHECK(r->nstage % stride == 0, MOTLEY_ECONFIG,
             "replica %d: %d stages on %d groups of ranks; each group must hold as many stages as "
             "the others", number, r->nstage, stride);
    return MOTLEY_OK;
}

int mt_layout_check(const struct mt_graph *whole, const struct mt_layout *l)
{
    int *owner = NULL, st = MOTLEY_OK;
    double sum = 0;

    MT_CHECK(l->nrank >= 1 && l->nreplica >= 1, MOTLEY_ECONFIG, "the layout has no replica");
    MT_TRY(MT_NEW_N(l->ctx, l->nrank, &owner));
    for (int r = 0; r < l->nreplica; r++) {
        const struct mt_replica *p = &l->replica[r];

        MT_CHECK_OR(end, isfinite(p->share) && p->share >= 0, MOTLEY_ECONFIG,
                    "replica %d: its share must be 0 or more, not %g", r, p->share);
        MT_CHECK_OR(end, p->micros >= 1, MOTLEY_ECONFIG,
                    "replica %d: %d micro-batches; at least 1 is needed", r, p->micros);
        MT_TRY_OR(end, check_nodes(whole, p, r));
        MT_TRY_OR(end, check_ranks(l, r, owner));
        MT_TRY_OR(end, check_schedule(l, r));
        sum += p->share;
    }
    MT_CHECK_OR(end, sum > 0 && isfinite(sum), MOTLEY_ECONFIG,
                "the shares of the replicas add up to %g; at least one must be above 0", sum);
end:
    mt_free(l->ctx, owner);
    return st;
}

/* ---- where a rank is ------------------------------------------------------------------------- */

void mt_layout_where(const struct mt_layout *l, int rank, struct mt_seat_in *seat)
{
    *seat = (struct mt_seat_in){.replica = -1, .part = -1, .stride = 1};
    for (int r = 0; r < l->nreplica; r++) {
        const struct mt_replica *p = &l->replica[r];

        for (int s = 0; s < p->nstage; s++) {
            for (int k = 0; k < p->stage[s].nrank; k++) {
                if (p->stage[s].rank[k] != rank) {
                    continue;
                }
                if (seat->replica < 0) {
                    *seat = (struct mt_seat_in){r, k, 0, s, mt_layout_stride(p)};
                }
                seat->nstage++;
            }
        }
        if (seat->replica >= 0) {
            return;
        }
    }
}
