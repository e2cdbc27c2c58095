/* bucket.c -- cuts gradients into buckets, from segments of equal holders.
 *
 * Backward finishes parameters roughly from the end of the flat space to its start, so buckets are
 * cut from the end of each segment, between parameters where that fits. Statistics come first;
 * where every rank has everything they lie in the first bucket of parameters, unless that is
 * rounded on its way. A bucket is complete
 * after the last step that writes any of its gradients. All ranks of a segment cut it alike: they
 * see the same parameters in it, one behind the other. */
#include "parallel/bucket.h"

#include "base/ctx.h"

/* Position of the last step that writes the gradient of each parameter, and of the statistics
 * (behind them); -1: none. */
static void last_writers(const struct mt_graph *g, const struct mt_steps *steps, int *after)
{
    for (int i = 0; i <= g->nparam; i++) {
        after[i] = -1;
    }
    for (int i = 0; i < steps->n; i++) {
        const struct mt_step *s = &steps->step[i];

        if (s->kind == &mt_step_bwd && (s->want & MT_WANT_PARAM)) {
            const struct mt_gnode *gn = &g->node[s->node];

            for (int p = 0; p < gn->n.nparam; p++) {
                after[gn->param[p]] = i;
            }
        } else if (s->kind == &mt_step_stats) {
            after[g->nparam] = i;
        }
    }
}

/* Where the parameter that holds element hi - 1 begins, within [lo, hi). */
static uint64_t border_below(const struct mt_graph *g, uint64_t lo, uint64_t hi)
{
    uint64_t border = lo;

    for (int i = 0; i < g->nparam; i++) {
        uint64_t at = g->param[i].range.lo;

        border = g->param[i].held && at < hi && at > border ? at : border;
    }
    return border;
}

/* The bucket of segment s that ends at hi: about `most` numbers, at most half more. Whole
 * parameters while they fit; what does not fit is taken in pieces of equal length, together with
 * what lies behind it if that is little (a bias), because a sum of few numbers takes nearly as
 * long as one of many over a network. */
static uint64_t cut_below(const struct mt_graph *g, const struct mt_segment *s, uint64_t hi,
                          uint64_t most)
{
    uint64_t lo = hi;

    while (lo > s->range.lo && hi - lo < most) {
        uint64_t border = border_below(g, s->range.lo, lo), span = hi - border;

        if (span > most + most / 2) {
            uint64_t pieces = (span + most / 2) / most, piece = (span + pieces - 1) / pieces;

            piece = (piece + MT_FLAT_ALIGN - 1) / MT_FLAT_ALIGN * MT_FLAT_ALIGN;
            return hi - lo >= most / 2 ? lo : hi - piece;
        }
        lo = border;
    }
    return lo;
}

static int written_after(const struct mt_graph *g, const struct mt_range *r, const int *after)
{
    int last = -1;

    for (int i = 0; i < g->nparam; i++) {
        const struct mt_range *p = &g->param[i].range;

        if (p->lo < r->hi && p->hi > r->lo && after[i] > last) {
            last = after[i];
        }
    }
    return last;
}

/* Windows are opened in the order of the buckets, so none is before the one in front of it. */
static int append(struct mt_cuts *c, int *room, struct mt_range r, const struct mt_group *group,
                  uint64_t key, int update, int after)
{
    int before = c->n > 0 ? c->cut[c->n - 1].after : -1;

    if (c->n == *room) {
        *room += 32;
        MT_TRY(MT_RESIZE(c->ctx, *room, &c->cut));
    }
    c->cut[c->n++] = (struct mt_cut){.range = r, .group = group, .update = update,
                                     .tag = (int)(key / MT_FLAT_ALIGN % (MT_TAGS_BUCKETS - 1)),
                                     .after = after > before ? after : before};
    return MOTLEY_OK;
}

static int cut_segment(struct mt_cuts *c, const struct mt_graph *g, const struct mt_segment *s,
                       const int *after, uint64_t most, int *room)
{
    uint64_t hi = s->range.hi;

    while (hi > s->range.lo) {
        uint64_t lo = cut_below(g, s, hi, most);
        struct mt_range r = {lo, hi};

        MT_TRY(append(c, room, r, &s->group, s->key + (lo - s->range.lo), s->alike,
                      written_after(g, &r, after)));
        hi = lo;
    }
    return MOTLEY_OK;
}

/* Whether each rank is a replica by itself: all have everything. */
static int are_alike(const struct mt_layout *l, int nrank)
{
    int alike = l == NULL || l->nreplica == nrank;

    for (int r = 0; l != NULL && r < l->nreplica; r++) {
        alike = alike && l->replica[r].nstage == 1 && l->replica[r].stage[0].nrank == 1;
    }
    return alike;
}

/* Statistics alone, or with the last parameters. Their tag is one that no other bucket has. */
static int add_stats(struct mt_cuts *c, const struct mt_graph *g, const int *after, int *room)
{
    struct mt_range r = {g->param_size, g->param_size + MT_STATS};

    MT_TRY(append(c, room, r, &c->stats, 0, 0, after[g->nparam]));
    c->cut[0].tag = MT_TAGS_BUCKETS - 1;
    c->cut[0].exact = 1;
    return MOTLEY_OK;
}

static void join_stats(struct mt_cuts *c)
{
    c->cut[1].range.hi = c->cut[0].range.hi;
    c->cut[1].tag = c->cut[0].tag;
    c->cut[1].exact = 1;
    for (int i = 1; i < c->n; i++) {
        c->cut[i - 1] = c->cut[i];
    }
    c->n--;
}

int mt_cuts_init(const struct mt_graph *whole, const struct mt_graph *g,
                 const struct mt_layout *layout, int rank, int nrank,
                 const struct mt_steps *steps, uint64_t most, int apart, struct mt_cuts *out)
{
    int *after = NULL, room = 0, st = MOTLEY_OK;

    *out = (struct mt_cuts){.ctx = g->ctx, .alike = are_alike(layout, nrank)};
    MT_TRY(mt_segments_new(whole, g, layout, rank, nrank, &out->segment, &out->nsegment));
    MT_TRY(mt_segment_stats(g->ctx, layout, nrank, &out->stats));
    MT_TRY(MT_NEW_N(g->ctx, g->nparam + 1, &after));
    last_writers(g, steps, after);
    MT_TRY_OR(end, add_stats(out, g, after, &room));
    for (int i = out->nsegment - 1; i >= 0; i--) {
        if (out->segment[i].group.n > 1) {
            MT_TRY_OR(end, cut_segment(out, g, &out->segment[i], after, most, &room));
        }
    }
    if (out->alike && out->n > 1 && !apart) {
        join_stats(out);
    }
end:
    mt_free(g->ctx, after);
    return st;
}

void mt_cuts_fini(struct mt_cuts *c)
{
    if (c->ctx != NULL) {
        mt_segments_free(c->ctx, c->segment, c->nsegment);
        mt_segment_free_group(c->ctx, &c->stats);
        mt_free(c->ctx, c->cut);
    }
}
