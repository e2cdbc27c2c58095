/* tp_rewrite.c -- the graph of one rank: its parts of divided layers, and nodes between them.
 *
 *     linear -> relu -> linear            spread -> linear' -> relu' -> linear' -> sum
 *     linear -> relu -> dropout           spread -> linear' -> relu' -> gather -> dropout
 *     linear -> cross_entropy             spread -> linear' -> figures -> gather
 *                                                          \-> judge <----'
 *
 * A primed node is a part. Values outside a stretch are complete, and the same on all ranks of the
 * stage. `spread` is left out where nothing before it is trained. A part without columns (fewer
 * columns than ranks) has `zero` in place of its layers, so that it takes part in the sums. Nodes
 * of stages that are not the rank's stay as they are: it will not hold them. */
#include "parallel/tp.h"

#include "base/ctx.h"

#include <string.h>

struct rewrite {
    const struct mt_graph *whole;
    const struct mt_replica *replica;
    int rank, part;                /* part: of the stage at hand */
    struct mt_graph *g;
    int *value;                    /* of the new graph, for each of the old one: complete */
    int *divided;                  /* the own part of it; -1: it is not divided */
    int *origin;                   /* of the nodes of the new graph */
    const struct mt_stage *stage;  /* of the node at hand; NULL: it is not divided */
    struct mt_tp_node *list;       /* of the stage */
};

/* Appends a node of layer `origin`; suffix NULL: it is the layer, under its name. */
static int add(struct rewrite *w, const struct mt_op *op, int origin, const char *suffix,
               const union mt_attr_val *attr, const int *in, int nin, int *out0)
{
    const char *layer = w->whole->node[origin].n.name;
    char *name = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_RESIZE(w->g->ctx, w->g->nnode + 1, &w->origin));
    w->origin[w->g->nnode] = origin;
    if (suffix != NULL) {
        MT_TRY(mt_mem_printf(w->g->ctx, &name, "%s/%s", layer, suffix));
    }
    MT_TRY_OR(end, mt_graph_add(w->g, op, suffix != NULL ? name : layer, attr, in, nin, out0));
end:
    mt_free(w->g->ctx, name);
    return st;
}

/* In place of a layer of which this part has no columns. The layer is trained, so gradients are
 * sums over the parts on this one, too. */
static int add_zero(struct rewrite *w, int i, int64_t size, unsigned by, int in, int *out)
{
    union mt_attr_val attr[MT_MAXATTR] = {[MT_TP_ZERO_SIZE] = {.i = size},
                                          [MT_TP_ZERO_BY] = {.i = by}};

    MT_TRY(add(w, &mt_tp_zero, i, "none", attr, &in, 1, out));
    w->g->value[*out].needs_grad = 1;
    return MOTLEY_OK;
}

/* each: see tp.h; its parts are side by side. */
static int add_gather(struct rewrite *w, int i, int64_t total, int64_t each, int in, int *out)
{
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    int64_t lo = w->part * each, hi = lo + each;

    if (each == 0) {
        mt_tp_columns(w->stage, total, w->part, &lo, &hi);
    }
    attr[MT_TP_GATHER_LO].i = lo;
    attr[MT_TP_GATHER_WIDTH].i = hi - lo;
    attr[MT_TP_GATHER_TOTAL].i = total;
    attr[MT_TP_GATHER_EACH].i = each;
    return add(w, &mt_tp_gather, i, "gather", attr, &in, 1, out);
}

/* Where a value of the whole graph is found by a node outside of every stretch. */
static void inputs_of(const struct rewrite *w, int i, int *in)
{
    const struct mt_gnode *gn = &w->whole->node[i];

    for (int k = 0; k < gn->n.nin; k++) {
        in[k] = w->value[gn->in[k]];
    }
}

static int copy_node(struct rewrite *w, int i)
{
    const struct mt_gnode *gn = &w->whole->node[i];
    int in[MT_MAXIN], first;

    inputs_of(w, i, in);
    MT_TRY(add(w, gn->n.op, i, NULL, gn->n.attr, in, gn->n.nin, &first));
    for (int o = 0; o < gn->n.nout; o++) {
        w->value[gn->out[o]] = w->g->node[w->g->nnode - 1].out[o];
    }
    return MOTLEY_OK;
}

/* Columns of the output of layer i. */
static int begin_stretch(struct rewrite *w, int i)
{
    const struct mt_gnode *gn = &w->whole->node[i];
    const union mt_attr_val none[MT_MAXATTR] = {{0}};
    int in = w->value[gn->in[0]], *out = &w->divided[gn->out[0]];
    struct mt_division at;
    struct mt_shard shard;

    if (w->g->value[in].needs_grad) {
        MT_TRY(add(w, &mt_tp_spread, i, "spread", none, &in, 1, &in));
    }
    if (!mt_tp_shard(w->whole, w->stage, i, MT_TP_COLUMNS, w->part, &at, &shard)) {
        return add_zero(w, i, 1, at.by, in, out);
    }
    return add(w, gn->n.op, i, NULL, shard.attr, &in, 1, out);
}

/* A part without columns is already zero. */
static int each_alone(struct rewrite *w, int i)
{
    const struct mt_gnode *gn = &w->whole->node[i];
    int in = w->divided[gn->in[0]], *out = &w->divided[gn->out[0]];

    if (w->g->node[w->g->value[in].node].n.op == &mt_tp_zero) {
        *out = in;
        return MOTLEY_OK;
    }
    return add(w, gn->n.op, i, NULL, gn->n.attr, &in, 1, out);
}

static int end_in_sum(struct rewrite *w, int i)
{
    const struct mt_gnode *gn = &w->whole->node[i];
    const union mt_attr_val as[MT_MAXATTR] = {[MT_TP_SUM_DTYPE] = {.i = gn->n.out[0].dtype}};
    int in = w->divided[gn->in[0]], sum;
    struct mt_division at;
    struct mt_shard shard;

    if (mt_tp_shard(w->whole, w->stage, i, MT_TP_ROWS, w->part, &at, &shard)) {
        MT_TRY(add(w, gn->n.op, i, NULL, shard.attr, &in, 1, &sum));
    } else {
        MT_TRY(add_zero(w, i, mt_spec_last(&gn->n.out[0]), at.by, in, &sum));
    }
    return add(w, &mt_tp_sum, i, "sum", as, &sum, 1, &w->value[gn->out[0]]);
}

/* The loss of a prediction of which each part has its columns. */
static int judge(struct rewrite *w, int i)
{
    const struct mt_gnode *gn = &w->whole->node[i];
    const struct mt_op_parts *parts = gn->n.op->parts;
    int in[3] = {w->divided[gn->in[0]], w->value[gn->in[1]], -1}, figures;
    struct mt_division at;
    struct mt_shard shard;
    int64_t each;

    mt_tp_shard(w->whole, w->stage, i, MT_TP_LOSS, w->part, &at, &shard);
    MT_TRY(add(w, parts->figures, i, "figures", shard.attr, in, 2, &figures));
    each = mt_spec_last(&w->g->value[figures].spec);
    MT_TRY(add_gather(w, i, each * w->stage->nrank, each, figures, &in[2]));
    return add(w, parts->judge, i, NULL, shard.attr, in, 3, &w->value[gn->out[0]]);
}

static int add_node(struct rewrite *w, int i)
{
    const struct mt_gnode *gn = &w->whole->node[i];
    struct mt_tp_node how = {0};
    int out;

    if (w->stage != NULL) {
        how = w->list[i - w->stage->lo];
    }
    switch (how.how) {
    case MT_TP_COMPLETE:
        MT_TRY(copy_node(w, i));
        break;
    case MT_TP_COLUMNS:
        MT_TRY(begin_stretch(w, i));
        break;
    case MT_TP_EACH:
        MT_TRY(each_alone(w, i));
        break;
    case MT_TP_ROWS:
        MT_TRY(end_in_sum(w, i));
        break;
    case MT_TP_LOSS:
        MT_TRY(judge(w, i));
        break;
    }
    if (how.gather) {
        out = gn->out[0];
        MT_TRY(add_gather(w, i, mt_spec_last(&gn->n.out[0]), 0, w->divided[out],
                          &w->value[out]));
    }
    return MOTLEY_OK;
}

/* Goes to the stage of node i, if it is divided and this rank has a part of it. */
static int enter_stage(struct rewrite *w, int i)
{
    const struct mt_stage *st = w->replica != NULL ? mt_tp_stage(w->replica, i) : NULL;
    int part = st != NULL && st->nrank > 1 ? mt_tp_part(st, w->rank) : -1;

    if (part < 0) {
        w->stage = NULL;
    } else if (st != w->stage) {
        w->stage = st;
        w->part = part;
        MT_TRY(MT_RESIZE(w->whole->ctx, st->hi - st->lo, &w->list));
        mt_tp_divide(w->whole, st, w->list);
    }
    return MOTLEY_OK;
}

/* ---- parameters --------------------------------------------------------------------------- */

static void place(struct mt_gparam *p, const struct mt_gparam *whole, int axis, int64_t first)
{
    p->desc.init = whole->desc.init;   /* of a part it would be another */
    p->full = whole->full;
    p->whole = whole->whole;
    p->axis = axis;
    p->first = first;
}

/* Parameter k of a node is parameter `from` of its layer: of a part, the k-th that is held. */
static void place_params(struct rewrite *w, int node)
{
    const struct mt_gnode *gn = &w->g->node[node];
    const struct mt_gnode *whole = &w->whole->node[gn->origin];
    enum mt_tp_how how = w->stage != NULL ? w->list[gn->origin - w->stage->lo].how
                                          : MT_TP_COMPLETE;
    struct mt_division at;
    struct mt_shard shard;
    int from = 0;

    if (how != MT_TP_COMPLETE && gn->n.nparam > 0) {
        mt_tp_shard(w->whole, w->stage, gn->origin, how, w->part, &at, &shard);
    }
    for (int k = 0; k < gn->n.nparam; k++, from++) {
        struct mt_gparam *p = &w->g->param[gn->param[k]];

        while (how != MT_TP_COMPLETE && !shard.param[from].held) {
            from++;
        }
        place(p, &w->whole->param[whole->param[from]],
              how != MT_TP_COMPLETE ? shard.param[from].axis : 0,
              how != MT_TP_COMPLETE ? shard.param[from].lo : 0);
    }
    for (int k = 0; k < gn->n.nstate; k++) {
        place(&w->g->state[gn->state[k]], &w->whole->state[whole->state[k]], 0, 0);
    }
}

static int finish(struct rewrite *w)
{
    const struct mt_graph *whole = w->whole;
    int output = w->value[whole->output] >= 0 ? w->value[whole->output]
                                              : w->divided[whole->output];
    int loss = whole->loss >= 0 ? w->g->value[w->value[whole->node[whole->loss].out[0]]].node
                                : -1;
    char *hold = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_graph_finish(w->g, output, loss));
    MT_TRY(MT_NEW_N(whole->ctx, w->g->nnode + 1, &hold));
    w->stage = NULL;
    for (int i = 0; i < w->g->nnode; i++) {
        int origin = w->origin[i];

        w->g->node[i].origin = origin;
        hold[i] = (char)whole->node[origin].held;
        MT_TRY_OR(end, enter_stage(w, origin));
        place_params(w, i);
    }
    mt_graph_hold(w->g, hold);
end:
    mt_free(whole->ctx, hold);
    return st;
}

int mt_tp_rewrite(const struct mt_graph *whole, const struct mt_layout *l, int rank,
                  struct mt_graph **out)
{
    struct rewrite w = {.whole = whole, .rank = rank};
    struct mt_seat_in seat;
    int st;

    mt_layout_where(l, rank, &seat);
    w.replica = seat.replica >= 0 ? &l->replica[seat.replica] : NULL;
    MT_TRY_OR(end, MT_NEW_N(whole->ctx, whole->nvalue, &w.value));
    MT_TRY_OR(end, MT_NEW_N(whole->ctx, whole->nvalue, &w.divided));
    for (int v = 0; v < whole->nvalue; v++) {
        w.value[v] = w.divided[v] = -1;
    }
    MT_TRY_OR(end, mt_graph_new(whole->ctx, &whole->value[whole->x].spec,
                                &whole->value[whole->y].spec, &w.g));
    w.value[whole->x] = w.g->x;
    w.value[whole->y] = w.g->y;
    for (int i = 0; i < whole->nnode; i++) {
        MT_TRY_OR(end, enter_stage(&w, i));
        MT_TRY_OR(end, add_node(&w, i));
    }
    MT_TRY_OR(end, finish(&w));
    *out = w.g;
    w.g = NULL;
    st = MOTLEY_OK;
end:
    mt_graph_free(w.g);
    mt_free(whole->ctx, w.list);
    mt_free(whole->ctx, w.origin);
    mt_free(whole->ctx, w.divided);
    mt_free(whole->ctx, w.value);
    return st;
}
