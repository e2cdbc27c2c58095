/* load.c -- the work of a network node by node, and how long a device takes for it.
 *
 * Operations say their cost for the planned number of samples only. Every cost is a constant (the
 * weights are read once a call) and a part of each sample, so costs at two sizes give both. */
#include "parallel/load.h"

#include "base/ctx.h"
#include "optim/optim.h"
#include "parallel/tp.h"

#include <math.h>
#include <string.h>

enum { SMALL = 16, LARGE = 32 };   /* samples of the two sizes */

/* ---- work ------------------------------------------------------------------------------------ */

/* Whether anything upstream of a node, the node itself left out, has parameters. */
static int has_data_gradient(const struct mt_graph *g, const struct mt_gnode *gn)
{
    for (int k = 0; k < gn->n.nin; k++) {
        if (g->value[gn->in[k]].needs_grad) {
            return 1;
        }
    }
    return 0;
}

static void node_work(const struct mt_graph *g, int i, double flop[MT_WORKS],
                      double bytes[MT_WORKS])
{
    const struct mt_gnode *gn = &g->node[i];
    struct mt_cost c = {0};

    if (gn->n.op->cost != NULL && !(gn->n.op->flags & MT_OP_VIEW)) {
        gn->n.op->cost(&gn->n, &c);
    }
    if (gn->fused) {
        c.fwd_flop = c.fwd_bytes = 0;
    }
    if (!has_data_gradient(g, gn) || gn->passes) {
        c.data_flop = c.data_bytes = 0;
    }
    flop[MT_WORK_FWD] = c.fwd_flop;
    flop[MT_WORK_DATA] = c.data_flop;
    flop[MT_WORK_PARAM] = c.param_flop;
    bytes[MT_WORK_FWD] = c.fwd_bytes;
    bytes[MT_WORK_DATA] = c.data_bytes;
    bytes[MT_WORK_PARAM] = c.param_bytes;
}

/* Operations count 4 bytes a number. In half width that is twice what values have, and weights, but
 * not their gradients: those are the constant part of MT_WORK_PARAM. */
static void narrow(const struct mt_node *n, struct mt_load_node *l)
{
    for (int w = 0; w < MT_WORKS && mt_dtype_is_half(n->in[0].dtype); w++) {
        l->bytes_row[w] /= 2;
        l->bytes[w] /= w == MT_WORK_PARAM ? 1 : 2;
    }
}

/* Constant and part of a sample of a cost that is `a` for SMALL samples and `b` for LARGE. */
static void split(double a, double b, double *constant, double *row)
{
    *row = (b - a) / (LARGE - SMALL);
    *constant = fmax(0, a - *row * SMALL);
}

static int add_work(const struct mt_graph *whole, struct mt_load *l)
{
    struct mt_graph *small = NULL, *large = NULL;
    int st;

    MT_TRY_OR(end, mt_graph_rebatch(whole, SMALL, &small));
    MT_TRY_OR(end, mt_graph_rebatch(whole, LARGE, &large));
    for (int i = 0; i < l->n; i++) {
        struct mt_load_node *n = &l->node[i];
        double flop[2][MT_WORKS], bytes[2][MT_WORKS];

        node_work(small, i, flop[0], bytes[0]);
        node_work(large, i, flop[1], bytes[1]);
        for (int w = 0; w < MT_WORKS; w++) {
            split(flop[0][w], flop[1][w], &n->flop[w], &n->flop_row[w]);
            split(bytes[0][w], bytes[1][w], &n->bytes[w], &n->bytes_row[w]);
        }
        narrow(&whole->node[i].n, n);
    }
end:
    mt_graph_free(small);
    mt_graph_free(large);
    return st;
}

/* ---- memory, cuts ---------------------------------------------------------------------------- */

/* Bytes a sample; what is not one for each sample does not count. */
static double row_bytes(const struct mt_spec *s)
{
    return s->batched && s->dim[0] > 0 ? (double)mt_spec_bytes(s) / (double)s->dim[0] : 0;
}

static double root_bytes(const struct mt_graph *g, int value, char *seen)
{
    int root = g->value[value].root;

    if (root == g->x || root == g->y || seen[root]) {
        return 0;
    }
    seen[root] = 1;
    return row_bytes(&g->value[root].spec);
}

/* What backward reads, at the first node that does; every memory once. */
static void add_kept(const struct mt_graph *g, struct mt_load *l, char *seen)
{
    for (int i = 0; i < l->n; i++) {
        const struct mt_gnode *gn = &g->node[i];

        for (int k = 0; k < gn->n.nin && (gn->n.keep & MT_KEEP_IN); k++) {
            l->node[i].kept_row += root_bytes(g, gn->in[k], seen);
        }
        for (int o = 0; o < gn->n.nout && (gn->n.keep & MT_KEEP_OUT); o++) {
            l->node[i].kept_row += root_bytes(g, gn->out[o], seen);
        }
        for (int s = 0; s < gn->n.nsaved; s++) {
            l->node[i].kept_row += row_bytes(&gn->n.saved[s]);
        }
    }
}

/* A value crosses the cuts behind its writer up to its last reader; views are the value itself.
 * Samples and targets do not: every stage reads its own. */
static void add_cuts(const struct mt_graph *g, struct mt_load *l, int *last)
{
    for (int v = 0; v < g->nvalue; v++) {
        last[v] = -1;
    }
    for (int i = 0; i < l->n; i++) {
        for (int k = 0; k < g->node[i].n.nin; k++) {
            last[g->value[g->node[i].in[k]].base] = i;
        }
    }
    for (int v = 0; v < g->nvalue; v++) {
        for (int i = g->value[v].node + 1; g->value[v].node >= 0 && i <= last[v]; i++) {
            l->node[i].cut_row += row_bytes(&g->value[v].spec);
        }
    }
}

/* ---- what tensor partition divides ----------------------------------------------------------- */

static double sum_bytes(const struct mt_spec *s)
{
    return row_bytes(s) * (double)sizeof(float) / mt_dtype_bytes(s->dtype);
}

/* As tp_split.c divides a stage of all layers: where a stretch begins backward sums the gradient of
 * its input; where it ends its result is summed, or put together, which moves half as much. Sums
 * are of f32, what is put together is as it is stored. Of two ranks: how many there are does not
 * change what is divided. */
static int add_tensor(const struct mt_graph *g, struct mt_load *l)
{
    const struct mt_stage all = {.lo = 0, .hi = l->n, .nrank = 2};
    struct mt_tp_node *how = NULL;

    MT_TRY(MT_NEW_N(l->ctx, l->n, &how));
    mt_tp_divide(g, &all, how);
    for (int i = 0; i < l->n; i++) {
        const struct mt_node *n = &g->node[i].n;
        double sums = how[i].gather ? row_bytes(&n->out[0]) / 2 : 0;

        if (how[i].how == MT_TP_COLUMNS && has_data_gradient(g, &g->node[i])) {
            sums += sum_bytes(&n->in[0]);
        } else if (how[i].how == MT_TP_ROWS) {
            sums += sum_bytes(&n->out[0]);
        }
        l->node[i].divides = how[i].how != MT_TP_COMPLETE;
        l->node[i].tensor_row = sums / 2;   /* one direction */
    }
    mt_free(l->ctx, how);
    return MOTLEY_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

void mt_load_free(struct mt_load *l)
{
    if (l != NULL) {
        mt_free(l->ctx, l->node);
        mt_free(l->ctx, l);
    }
}

double mt_load_sum_bytes(const struct mt_load *l, int one_host)
{
    return one_host ? sizeof(float) : l->grad_bytes;
}

int mt_load_new(const struct mt_graph *whole, const struct mt_optim *optim, int bf16,
                struct mt_load **out)
{
    struct mt_ctx *ctx = whole->ctx;
    struct mt_load *l = NULL;
    char *seen = NULL;
    int *last = NULL, st;

    MT_TRY_OR(fail, MT_NEW(ctx, &l));
    l->ctx = ctx;
    l->n = whole->nnode;
    l->grad_bytes = bf16 ? sizeof(uint16_t) : sizeof(float);
    l->slots = optim != NULL ? optim->kind->nslots : 0;
    l->copy_bytes = whole->storage == MT_F32 ? 0 : mt_dtype_bytes(whole->storage);
    l->x_row = row_bytes(&whole->value[whole->x].spec);
    l->y_row = row_bytes(&whole->value[whole->y].spec);
    MT_TRY_OR(fail, MT_NEW_N(ctx, l->n, &l->node));
    MT_TRY_OR(fail, MT_NEW_N(ctx, whole->nvalue, &seen));
    MT_TRY_OR(fail, MT_NEW_N(ctx, whole->nvalue, &last));
    for (int i = 0; i < l->n; i++) {
        const struct mt_node *n = &whole->node[i].n;

        l->node[i].name = n->name;
        for (int p = 0; p < n->nparam; p++) {
            l->node[i].params += (double)mt_spec_count(&n->param[p].spec);
        }
    }
    MT_TRY_OR(fail, add_work(whole, l));
    add_kept(whole, l, seen);
    add_cuts(whole, l, last);
    MT_TRY_OR(fail, add_tensor(whole, l));
    mt_free(ctx, seen);
    mt_free(ctx, last);
    *out = l;
    return MOTLEY_OK;
fail:
    mt_free(ctx, seen);
    mt_free(ctx, last);
    mt_load_free(l);
    return st;
}

/* ---- speed ----------------------------------------------------------------------------------- */

double mt_curve_at(const struct mt_curve *c, double rows)
{
    int k = 1;

    if (c->n < 1 || rows <= 0) {
        return 0;
    }
    if (c->n == 1) {
        return c->seconds[0] * (c->rows[0] > 0 ? rows / c->rows[0] : 1);
    }
    while (k < c->n - 1 && rows > c->rows[k]) {
        k++;
    }
    {
        double slope = (c->seconds[k] - c->seconds[k - 1]) / (c->rows[k] - c->rows[k - 1]);

        return fmax(0, c->seconds[k - 1] + slope * (rows - c->rows[k - 1]));
    }
}

double mt_speed_time(const struct mt_speed *s, const struct mt_load *l, int node,
                     enum mt_work work, double rows)
{
    return mt_speed_part(s, l, node, work, rows, 1);
}

double mt_speed_part(const struct mt_speed *s, const struct mt_load *l, int node,
                     enum mt_work work, double rows, double width)
{
    const struct mt_load_node *n = &l->node[node];
    double w = n->divides ? width : 1, flop, bytes;

    if (rows <= 0) {
        return 0;
    }
    if (s->curve != NULL) {
        return mt_curve_at(&s->curve[node][work], rows * w);
    }
    flop = w * (n->flop[work] + rows * n->flop_row[work]);
    bytes = w * (n->bytes[work] + rows * n->bytes_row[work]);
    return flop <= 0 && bytes <= 0 ? 0
                                   : s->launch + fmax(s->flops > 0 ? flop / s->flops : 0,
                                                      s->bandwidth > 0 ? bytes / s->bandwidth : 0);
}

/* ---- clusters -------------------------------------------------------------------------------- */

void mt_cluster_free(struct mt_cluster *c)
{
    if (c == NULL) {
        return;
    }
    for (int k = 0; c->speed != NULL && k < c->nkind; k++) {
        mt_free(c->ctx, c->speed[k].curve);
    }
    mt_free(c->ctx, c->speed);
    mt_free(c->ctx, c->kind);
    mt_free(c->ctx, c->host);
    mt_free(c->ctx, c->between);
    mt_free(c->ctx, c);
}

struct mt_path mt_cluster_path(const struct mt_cluster *c, int rank_a, int rank_b)
{
    int a = c->host[rank_a], b = c->host[rank_b];

    if (rank_a == rank_b) {
        return (struct mt_path){0, INFINITY};
    }
    if (a == b) {
        return c->local;
    }
    return c->between != NULL ? c->between[(size_t)a * (size_t)c->nhost + (size_t)b] : c->remote;
}
