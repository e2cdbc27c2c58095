/* par.c -- the passes of one executor, in their order; see par.h. */
#include "parallel/par.h"

#include "base/ctx.h"

/* Nodes of the stages of a seat; of nothing for a rank that is left out. */
static int hold_stages(struct mt_graph *g, const struct mt_layout *l,
                       const struct mt_seat_in *seat)
{
    char *hold = NULL;
    int *segment = NULL, any = 0, st = MOTLEY_OK;

    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nnode + 1, &hold));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nnode + 1, &segment));
    for (int i = 0; i < g->nnode; i++) {
        segment[i] = -1;
    }
    for (int k = 0; seat->replica >= 0 && k < seat->nstage; k++) {
        const struct mt_stage *stage =
            &l->replica[seat->replica].stage[seat->first + k * seat->stride];

        for (int i = 0; i < g->nnode; i++) {
            if (g->node[i].origin >= stage->lo && g->node[i].origin < stage->hi) {
                hold[i] = 1;
                segment[i] = stage->recompute ? k : -1;
            }
        }
        any |= stage->recompute;
    }
    mt_graph_hold(g, hold);
    if (any) {
        mt_graph_segments(g, segment);
    }
end:
    mt_free(g->ctx, hold);
    mt_free(g->ctx, segment);
    return st;
}

/* Whether a rank has everything to itself. */
static int is_alone(const struct mt_layout *l, const struct mt_seat_in *seat)
{
    const struct mt_replica *r = seat->replica >= 0 ? &l->replica[seat->replica] : NULL;

    return r != NULL && r->nstage == 1 && r->stage[0].nrank == 1 && !r->stage[0].recompute;
}

int mt_par_graph(struct mt_graph *whole, const struct mt_layout *layout, int rank,
                 struct mt_graph **out)
{
    struct mt_graph *g = whole;
    struct mt_seat_in seat;
    int st;

    if (layout != NULL) {
        mt_layout_where(layout, rank, &seat);
        if (!is_alone(layout, &seat)) {
            st = seat.replica >= 0 ? mt_tp_rewrite(whole, layout, rank, &g) : MOTLEY_OK;
            if (g != whole || st < 0) {
                mt_graph_free(whole);
                MT_TRY(st);
            }
            st = hold_stages(g, layout, &seat);
            if (st < 0) {
                mt_graph_free(g);
                return mt_err_trace(st, __func__, __FILE__, __LINE__);
            }
        }
    }
    *out = g;
    return MOTLEY_OK;
}

int mt_par_order(const struct mt_graph *g, const struct mt_layout *layout, int rank,
                 const struct mt_order_opt *opt, struct mt_steps *out)
{
    struct mt_seat_in seat;

    if (layout != NULL) {
        mt_layout_where(layout, rank, &seat);
        if (!is_alone(layout, &seat)) {
            return mt_pipe_order(g, layout, rank, opt, out);
        }
    }
    return mt_order(g, opt, out);
}

/* Whether some rank of the replica of this one is another. */
static int shares_replica(const struct mt_layout *l, int rank)
{
    struct mt_seat_in seat;

    mt_layout_where(l, rank, &seat);
    return seat.replica >= 0 && !is_alone(l, &seat);
}

static int is_left_out(const struct mt_layout *l, int rank)
{
    struct mt_seat_in seat;

    mt_layout_where(l, rank, &seat);
    return seat.replica < 0;
}

int mt_par_new(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *g,
               const struct mt_par_opt *opt, struct mt_steps *steps, struct mt_par **out)
{
    struct mt_dp_opt dp = {.bucket_bytes = opt->bucket_bytes, .bf16 = opt->bf16,
                           .clip = opt->clip,
                           .layout = opt->layout, .whole = opt->whole, .share = opt->share};
    struct mt_par *p = NULL;
    int st;

    MT_TRY(MT_NEW(g->ctx, &p));
    p->ctx = g->ctx;
    MT_TRY_OR(fail, mt_wire_new(g->ctx, comm, dev, &p->wire));
    if (opt->layout != NULL && is_left_out(opt->layout, mt_comm_info(comm)->rank)) {
        mt_wire_spare(p->wire);
        dp.apart = !opt->clip;
    }
    if (opt->layout != NULL && shares_replica(opt->layout, mt_comm_info(comm)->rank)) {
        MT_TRY_OR(fail, mt_tp_new(dev, comm, p->wire, g, opt->layout, steps, &p->tp));
        MT_TRY_OR(fail, mt_pipe_new(dev, comm, p->wire, g, steps, &p->pipe));
    }
    if (opt->sums && mt_comm_info(comm)->size > 1) {
        MT_TRY_OR(fail, mt_dp_new(dev, comm, p->wire, g, &dp, steps, &p->dp));
    }
    *out = p;
    return MOTLEY_OK;
fail:
    mt_par_free(p);
    return st;
}

void mt_par_free(struct mt_par *p)
{
    if (p == NULL) {
        return;
    }
    mt_dp_free(p->dp);
    mt_pipe_free(p->pipe);
    mt_tp_free(p->tp);
    mt_wire_free(p->wire);
    mt_free(p->ctx, p);
}

int mt_par_idle(struct mt_exec *x, double seconds)
{
    const struct mt_par *p = x->pass;

    return mt_wire_idle(p->wire, seconds);
}
