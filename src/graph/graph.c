/* graph.c -- nodes and values: appending, sharing of memory, layout of the flat spaces. */
#include "graph/graph.h"

#include "base/ctx.h"
#include "base/rng.h"
#include "ops/dropout.h"

#include <stdio.h>
#include <string.h>

static int add_value(struct mt_graph *g, const struct mt_spec *spec, int node, int port, int *out)
{
    struct mt_value *v;

    MT_TRY(MT_RESIZE(g->ctx, g->nvalue + 1, &g->value));
    v = &g->value[g->nvalue];
    v->spec = *spec;
    v->node = node;
    v->port = port;
    v->base = v->root = v->grad = g->nvalue;
    v->grad_dtype = spec->dtype;
    *out = g->nvalue++;
    return MOTLEY_OK;
}

int mt_graph_new(struct mt_ctx *ctx, const struct mt_spec *x, const struct mt_spec *y,
                 struct mt_graph **out)
{
    struct mt_graph *g = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &g));
    g->ctx = ctx;
    g->loss = g->output = -1;
    MT_TRY_OR(fail, add_value(g, x, -1, 0, &g->x));
    MT_TRY_OR(fail, add_value(g, y, -1, 1, &g->y));
    *out = g;
    return MOTLEY_OK;
fail:
    mt_graph_free(g);
    return st;
}

void mt_graph_free(struct mt_graph *g)
{
    if (g == NULL) {
        return;
    }
    for (int i = 0; i < g->nnode; i++) {
        mt_node_unbind(&g->node[i].n);
        mt_free(g->ctx, (char *)g->node[i].n.name);
    }
    for (int i = 0; i < g->nparam; i++) {
        mt_free(g->ctx, g->param[i].name);
    }
    for (int i = 0; i < g->nstate; i++) {
        mt_free(g->ctx, g->state[i].name);
    }
    mt_free(g->ctx, g->node);
    mt_free(g->ctx, g->value);
    mt_free(g->ctx, g->param);
    mt_free(g->ctx, g->state);
    mt_free(g->ctx, g);
}

static int is_taken(const struct mt_graph *g, const char *name)
{
    for (int i = 0; i < g->nnode; i++) {
        if (strcmp(g->node[i].n.name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The given name if no node has it, or the operation's name with the next number that is free:
 * a layer may have been named "linear2" by hand. */
static int pick_name(struct mt_graph *g, const struct mt_op *op, const char *name, char **out)
{
    int number = 1;

    if (name != NULL) {
        MT_CHECK(!is_taken(g, name), MOTLEY_ECONFIG,
                 "two layers are named '%s'; names must differ", name);
        return mt_mem_strdup(g->ctx, name, out);
    }
    for (int i = 0; i < g->nnode; i++) {
        number += g->node[i].n.op == op;
    }
    MT_TRY(mt_mem_printf(g->ctx, out, "%s%d", op->name, number));
    while (is_taken(g, *out)) {
        mt_free(g->ctx, *out);
        MT_TRY(mt_mem_printf(g->ctx, out, "%s%d", op->name, ++number));
    }
    return MOTLEY_OK;
}

static int add_params(struct mt_graph *g, const struct mt_node *n, const struct mt_param *desc,
                      int count, struct mt_gparam **list, int *total, int *index)
{
    for (int i = 0; i < count; i++) {
        struct mt_gparam *p;

        MT_TRY(MT_RESIZE(g->ctx, *total + 1, list));
        p = &(*list)[*total];
        MT_TRY(mt_mem_printf(g->ctx, &p->name, "%s.%s", n->name, desc[i].name));
        p->desc = desc[i];
        p->full = desc[i].spec;
        index[i] = (*total)++;
    }
    return MOTLEY_OK;
}

int mt_graph_add(struct mt_graph *g, const struct mt_op *op, const char *name,
                 const union mt_attr_val *attr, const int *in, int nin, int *out0)
{
    struct mt_gnode *gn;
    struct mt_node *n;
    char *own = NULL;
    int grad = 0, st;

    MT_BUG_IF(nin > MT_MAXIN);
    MT_TRY(pick_name(g, op, name, &own));
    if (MT_RESIZE(g->ctx, g->nnode + 1, &g->node) < 0) {
        mt_free(g->ctx, own);
        return MOTLEY_EMEM;
    }
    gn = &g->node[g->nnode++];
    gn->segment = gn->residual = -1;
    n = &gn->n;
    n->op = op;
    n->name = own;
    n->stream = mt_rng_stream(own);
    n->nin = nin;
    memcpy(n->attr, attr, sizeof n->attr);
    for (int i = 0; i < nin; i++) {
        gn->in[i] = in[i];
        n->in[i] = g->value[in[i]].spec;
        grad |= g->value[in[i]].needs_grad;
    }
    st = mt_node_infer(n);
    if (st < 0) {
        mt_err_prefix("layer %s: ", n->name);
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    for (int i = 0; i < nin; i++) {
        g->value[in[i]].grad_dtype = n->din[i];
    }
    MT_TRY(add_params(g, n, n->param, n->nparam, &g->param, &g->nparam, gn->param));
    MT_TRY(add_params(g, n, n->state, n->nstate, &g->state, &g->nstate, gn->state));
    for (int i = 0; i < n->nout; i++) {
        enum mt_dtype type = n->out[i].dtype;

        MT_CHECK(!mt_dtype_is_half(type) || g->storage == MT_F32 || g->storage == type,
                 MOTLEY_ECONFIG, "layer %s: stores %s, but others store %s; a network may mix f32 "
                 "with one of them", n->name, mt_dtype_name(type), mt_dtype_name(g->storage));
        g->storage = mt_dtype_is_half(type) ? type : g->storage;
        MT_TRY(add_value(g, &n->out[i], g->nnode - 1, i, &gn->out[i]));
        g->value[gn->out[i]].needs_grad =
            (grad || n->nparam > 0) && !(op->flags & MT_OP_STOPS);
    }
    if (op->flags & MT_OP_VIEW) {
        MT_BUG_IF(n->in[0].dim[0] != n->out[0].dim[0] ||
                  mt_spec_count(&n->in[0]) != mt_spec_count(&n->out[0]));
        g->value[gn->out[0]].base = g->value[in[0]].base;
    }
    *out0 = gn->out[0];
    return MOTLEY_OK;
}

/* Whether some operation that writes memory `root` reads its result again in backward, which `by`
 * would disturb: dropping elements does not disturb those that look at signs only. */
static int result_is_kept(const struct mt_graph *g, int root, const struct mt_op *by)
{
    for (int i = 0; i < g->nnode; i++) {
        const struct mt_gnode *gn = &g->node[i];
        int keeps = (gn->n.keep & MT_KEEP_OUT) &&
                    !((gn->n.op->flags & MT_OP_SIGN) && (by->flags & MT_OP_DROPS));

        for (int o = 0; o < gn->n.nout; o++) {
            if (g->value[gn->out[o]].root == root && keeps) {
                return 1;
            }
        }
    }
    return 0;
}

/* Whether input k of a node may be overwritten: some node of this graph wrote it, nobody else
 * reads it, and nobody's backward reads what was there. With parameters the gradient must last for
 * a second call of backward, so nothing is in place; nor on an alias, whose input has readers; nor
 * on what came into a segment, unless it came overwritten (fused). */
static int can_overwrite(const struct mt_graph *g, const struct mt_gnode *gn, int k)
{
    const struct mt_value *in = &g->value[gn->in[k]];
    int writer = g->value[in->base].node, root = g->value[in->root].node;

    if (gn->segment >= 0 && !gn->fused && root >= 0 && g->node[root].segment != gn->segment) {
        return 0;
    }
    return (gn->n.op->flags & MT_OP_INPLACE) && gn->n.nparam == 0 &&
           g->value[in->root].node >= 0 && g->value[in->base].consumers == 1 &&
           !(g->node[writer].n.op->flags & MT_OP_ALIAS) && !result_is_kept(g, in->root, gn->n.op);
}

/* Gives every value its root, and its gradient one: what shares memory is stored alike. The caller
 * reads the output. */
static void share_memory(struct mt_graph *g)
{
    g->value[g->value[g->output].base].consumers++;
    for (int i = 0; i < g->nnode; i++) {
        const struct mt_gnode *gn = &g->node[i];

        for (int k = 0; k < gn->n.nin && !(gn->n.op->flags & MT_OP_VIEW); k++) {
            g->value[g->value[gn->in[k]].base].consumers++;
        }
    }
    for (int v = 0; v < g->nvalue; v++) {
        g->value[v].root = g->value[v].node < 0 ? v : -1;
    }
    for (int i = 0; i < g->nnode; i++) {
        const struct mt_gnode *gn = &g->node[i];
        int k = (gn->n.op->flags & MT_OP_ADDS) && !can_overwrite(g, gn, 0) ? 1 : 0;
        const struct mt_value *in = &g->value[gn->in[k]];
        struct mt_value *out = &g->value[gn->out[0]];

        for (int o = 0; o < gn->n.nout; o++) {
            struct mt_value *v = &g->value[gn->out[o]];
            int view = v->base != gn->out[o];

            v->root = view ? g->value[v->base].root : gn->out[o];
            v->grad = view ? g->value[v->base].grad : gn->out[o];
        }
        if (can_overwrite(g, gn, k)) {
            out->root = out->spec.dtype == in->spec.dtype ? in->root : out->root;
            out->grad = in->grad;
        } else if (gn->n.op->flags & MT_OP_ALIAS) {
            int alone = g->value[in->base].consumers == 1;

            out->root = in->root;
            out->grad = alone && out->grad_dtype == in->grad_dtype ? in->grad : out->grad;
        }
    }
}

/* The node whose forward does what is done to input k of a node, which lies in place on it: the one
 * that wrote it, or the one that does that one's forward, too. NULL: none can. */
static struct mt_gnode *producer(struct mt_graph *g, const struct mt_gnode *gn, int k)
{
    const struct mt_value *in = &g->value[gn->in[k]];

    if (in->node < 0 || g->value[gn->out[0]].root != in->root) {
        return NULL;
    }
    /* An operation that was fused lies on the result of the one that does it: its root. */
    in = g->node[in->node].fused ? &g->value[in->root] : in;
    return in->node >= 0 && (g->node[in->node].n.op->flags & MT_OP_FUSES) ? &g->node[in->node]
                                                                          : NULL;
}

/* Dropout on the result of an operation that looks at signs only: its backward is a factor of that
 * one's. The same factor as in forward. */
static void pass_backward(struct mt_graph *g, struct mt_gnode *drop)
{
    const struct mt_value *in = &g->value[drop->in[0]];
    struct mt_gnode *before = &g->node[in->node];

    if ((before->n.op->flags & MT_OP_SIGN) && g->value[drop->out[0]].grad == in->grad) {
        before->n.gain = mt_dropout_scale(&drop->n);
        drop->passes = 1;
    }
}

/* Activation, dropout and sum, in this order, in place on the result of a node that can do them
 * need no forward of their own. Backward is as before: that of an activation reads the result
 * only, of dropout the same random numbers, of a sum nothing. An alias has no forward anyway. */
static void fuse(struct mt_graph *g)
{
    for (int i = 0; i < g->nnode; i++) {
        struct mt_gnode *gn = &g->node[i];
        unsigned flags = gn->n.op->flags;
        struct mt_gnode *p = producer(g, gn, 0);

        if (gn->n.op->act != MT_GEMM_NOACT && p != NULL && p->n.act == MT_GEMM_NOACT &&
            p->n.drops == NULL && !p->n.adds) {
            p->n.act = gn->n.op->act;
            p->n.slope = gn->n.slope;
            gn->fused = 1;
        } else if ((flags & MT_OP_DROPS) && p != NULL && p->n.drops == NULL && !p->n.adds) {
            p->n.drops = &gn->n;
            gn->fused = 1;
            pass_backward(g, gn);
        } else if (flags & MT_OP_ADDS) {
            int k = p != NULL ? 0 : 1, other = gn->in[1 - k];

            p = k == 0 ? p : producer(g, gn, 1);
            /* What is added has to be there before the product. */
            if (p != NULL && !p->n.adds && g->value[g->value[other].base].node < p - g->node) {
                p->n.adds = 1;
                p->residual = other;
                gn->fused = 1;
            }
        }
        gn->fused |= (flags & MT_OP_ALIAS) != 0;
    }
}

static uint64_t lay_out(struct mt_gparam *p, int n)
{
    uint64_t at = 0;

    for (int i = 0; i < n; i++) {
        uint64_t count = p[i].held ? (uint64_t)mt_spec_count(&p[i].desc.spec) : 0;

        p[i].range.lo = at;
        p[i].range.hi = at + count;
        at += (count + MT_FLAT_ALIGN - 1) / MT_FLAT_ALIGN * MT_FLAT_ALIGN;
    }
    return at;
}

static void hold_all(struct mt_gparam *p, int n)
{
    for (int i = 0; i < n; i++) {
        p[i].held = 1;
    }
}

static void note_whole(struct mt_gparam *p, int n)
{
    for (int i = 0; i < n; i++) {
        p[i].whole = p[i].range;
    }
}

int mt_graph_finish(struct mt_graph *g, int output, int loss_node)
{
    g->output = output;
    g->loss = loss_node;
    share_memory(g);
    fuse(g);
    for (int i = 0; i < g->nnode; i++) {
        g->node[i].held = 1;
        g->node[i].origin = i;
    }
    hold_all(g->param, g->nparam);
    hold_all(g->state, g->nstate);
    g->param_size = lay_out(g->param, g->nparam);
    g->state_size = lay_out(g->state, g->nstate);
    note_whole(g->param, g->nparam);
    note_whole(g->state, g->nstate);
    return MOTLEY_OK;
}

void mt_graph_segments(struct mt_graph *g, const int *segment)
{
    for (int i = 0; i < g->nnode; i++) {
        g->node[i].segment = segment[i];
    }
    for (int v = 0; v < g->nvalue; v++) {
        g->value[v].consumers = 0;
    }
    share_memory(g);
}

void mt_graph_hold(struct mt_graph *g, const char *hold)
{
    for (int i = 0; i < g->nnode; i++) {
        struct mt_gnode *gn = &g->node[i];

        gn->held = hold[i] != 0;
        for (int k = 0; k < gn->n.nparam; k++) {
            g->param[gn->param[k]].held = gn->held;
        }
        for (int k = 0; k < gn->n.nstate; k++) {
            g->state[gn->state[k]].held = gn->held;
        }
    }
    g->param_size = lay_out(g->param, g->nparam);
    g->state_size = lay_out(g->state, g->nstate);
}

int mt_graph_bind(struct mt_graph *g, struct mt_dev *dev)
{
    for (int i = 0; i < g->nnode; i++) {
        int st = g->node[i].held ? mt_node_bind(&g->node[i].n, dev) : MOTLEY_OK;

        if (st < 0) {
            mt_err_prefix("layer %s: ", g->node[i].n.name);
            return mt_err_trace(st, __func__, __FILE__, __LINE__);
        }
    }
    g->bound = 1;
    return MOTLEY_OK;
}

static struct mt_spec with_batch(struct mt_spec s, int64_t batch)
{
    if (s.batched) {
        s.dim[0] = batch;
    }
    return s;
}

/* Where parameters lie in the whole network and how they begin does not depend on the batch. */
static void keep_place(struct mt_gparam *to, const struct mt_gparam *from, int n)
{
    for (int i = 0; i < n; i++) {
        to[i].desc.init = from[i].desc.init;
        to[i].whole = from[i].whole;
        to[i].full = from[i].full;
        to[i].axis = from[i].axis;
        to[i].first = from[i].first;
    }
}

int mt_graph_rebatch(const struct mt_graph *g, int64_t batch, struct mt_graph **out)
{
    struct mt_spec x = with_batch(g->value[g->x].spec, batch);
    struct mt_spec y = with_batch(g->value[g->y].spec, batch);
    struct mt_graph *copy = NULL;
    char *hold = NULL;
    int st, first;

    MT_TRY(MT_NEW_N(g->ctx, g->nnode + 1, &hold));
    MT_TRY_OR(fail, mt_graph_new(g->ctx, &x, &y, &copy));
    for (int i = 0; i < g->nnode; i++) {
        const struct mt_gnode *gn = &g->node[i];

        MT_TRY_OR(fail, mt_graph_add(copy, gn->n.op, gn->n.name, gn->n.attr, gn->in, gn->n.nin,
                                     &first));
        hold[i] = (char)gn->held;
    }
    MT_TRY_OR(fail, mt_graph_finish(copy, g->output, g->loss));
    for (int i = 0; i < g->nnode; i++) {
        copy->node[i].origin = g->node[i].origin;
    }
    keep_place(copy->param, g->param, g->nparam);
    keep_place(copy->state, g->state, g->nstate);
    mt_graph_hold(copy, hold);
    mt_free(g->ctx, hold);
    *out = copy;
    return MOTLEY_OK;
fail:
    mt_free(g->ctx, hold);
    mt_graph_free(copy);
    return st;
}

int mt_graph_reads(const struct mt_graph *g, int value)
{
    for (int i = 0; i < g->nnode; i++) {
        const struct mt_gnode *n = &g->node[i];

        for (int k = 0; k < n->n.nin && n->held; k++) {
            if (g->value[n->in[k]].root == value) {
                return 1;
            }
        }
    }
    return 0;
}

int64_t mt_graph_weights(const struct mt_graph *g)
{
    int64_t n = 0;

    for (int i = 0; i < g->nparam; i++) {
        n += mt_spec_count(&g->param[i].desc.spec);
    }
    return n;
}
