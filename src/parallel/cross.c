/* cross.c -- what crosses the cuts; see cross.h. */
#include "parallel/cross.h"

#include "base/ctx.h"
#include "graph/step.h"

/* first[v], last[v]: the stages that write a value and that read it (or a view of it) last; given
 * [v]: the last of those readers that backward passes through. -1: none. */
struct reach {
    int *first, *last, *given;
};

static int find_nodes(const struct mt_graph *g, const struct mt_replica *r,
                      struct mt_crossings *c)
{
    int i = 0;

    for (int s = 0; s < r->nstage; s++) {
        c->node[s] = i;
        while (i < g->nnode && g->node[i].origin < r->stage[s].hi) {
            MT_BUG_IF(g->node[i].origin < r->stage[s].lo);
            i++;
        }
    }
    c->node[r->nstage] = i;
    MT_BUG_IF(i != g->nnode);
    return MOTLEY_OK;
}

static void read_by(const struct mt_graph *g, int value, int stage, int reached, struct reach *r)
{
    int base = g->value[value].base;

    r->last[base] = stage;
    if (reached && g->value[base].needs_grad) {
        r->given[base] = stage;
    }
}

static void find_reach(const struct mt_graph *g, const struct mt_crossings *c,
                       const char *reached, struct reach *r)
{
    for (int v = 0; v < g->nvalue; v++) {
        r->first[v] = r->last[v] = r->given[v] = -1;
    }
    for (int s = 0; s < c->nstage; s++) {
        for (int i = c->node[s]; i < c->node[s + 1]; i++) {
            const struct mt_gnode *gn = &g->node[i];

            if (gn->n.op->flags & MT_OP_VIEW) {
                continue;
            }
            for (int k = 0; k < gn->n.nin; k++) {
                read_by(g, gn->in[k], s, reached[i], r);
            }
            for (int o = 0; o < gn->n.nout; o++) {
                r->first[gn->out[o]] = s;
            }
        }
    }
    if (g->loss < 0) {
        read_by(g, g->output, c->nstage - 1, 0, r);   /* the caller, where predictions come out */
    }
}

static int collect(const struct mt_graph *g, const struct reach *r, struct mt_crossings *c)
{
    int n = 0;

    for (int v = 0; v < g->nvalue; v++) {
        n += r->first[v] >= 0 && r->last[v] > r->first[v] ? r->last[v] - r->first[v] : 0;
    }
    MT_TRY(MT_NEW_N(c->ctx, n + 1, &c->list));
    n = 0;
    for (int s = 0; s < c->nstage; s++) {
        c->from[s] = n;
        for (int v = 0; v < g->nvalue; v++) {
            if (r->first[v] >= 0 && r->first[v] < s && r->last[v] >= s) {
                c->list[n++] = (struct mt_cross){.base = v, .back = r->given[v] >= s};
            }
        }
    }
    c->from[c->nstage] = n;
    return MOTLEY_OK;
}

int mt_crossings_new(const struct mt_graph *g, const struct mt_replica *r,
                     struct mt_crossings **out)
{
    struct mt_crossings *c = NULL;
    struct reach reach = {NULL, NULL, NULL};
    char *reached = NULL;
    int st;

    MT_TRY(MT_NEW(g->ctx, &c));
    c->ctx = g->ctx;
    c->nstage = r->nstage;
    MT_TRY_OR(end, MT_NEW_N(g->ctx, r->nstage + 1, &c->node));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, r->nstage + 1, &c->from));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nnode + 1, &reached));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nvalue, &reach.first));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nvalue, &reach.last));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nvalue, &reach.given));
    MT_TRY_OR(end, mt_order_reached(g, reached));
    MT_TRY_OR(end, find_nodes(g, r, c));
    find_reach(g, c, reached, &reach);
    MT_TRY_OR(end, collect(g, &reach, c));
end:
    mt_free(g->ctx, reach.first);
    mt_free(g->ctx, reach.last);
    mt_free(g->ctx, reach.given);
    mt_free(g->ctx, reached);
    if (st < 0) {
        mt_crossings_free(c);
    } else {
        *out = c;
    }
    return st;
}

void mt_crossings_free(struct mt_crossings *c)
{
    if (c != NULL) {
        mt_free(c->ctx, c->node);
        mt_free(c->ctx, c->from);
        mt_free(c->ctx, c->list);
        mt_free(c->ctx, c);
    }
}
