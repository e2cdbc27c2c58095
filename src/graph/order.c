/* order.c -- from a graph to the list of steps of one process, and printing it. */
#include "graph/step.h"

#include "base/ctx.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int mt_steps_add(struct mt_steps *l, const struct mt_step *s)
{
    if (l->n == l->room) {
        MT_TRY(MT_RESIZE(l->ctx, l->room + 64, &l->step));
        l->room += 64;
    }
    l->step[l->n++] = *s;
    return MOTLEY_OK;
}

void mt_steps_fini(struct mt_steps *l)
{
    if (l->ctx != NULL) {
        mt_free(l->ctx, l->step);
    }
    memset(l, 0, sizeof *l);
}

struct mt_item mt_step_item(const struct mt_graph *g, const struct mt_step *s,
                            enum mt_item_kind kind, int id)
{
    int again = s->again && kind != MT_ITEM_GRAD;

    if (again && kind == MT_ITEM_VALUE) {
        int writer = g->value[id].node;

        again = writer >= 0 && g->node[writer].segment == g->node[s->node].segment;
    }
    return (struct mt_item){kind, id, s->micro, again};
}

int mt_order_forward(const struct mt_graph *g, int lo, int hi, int micro, struct mt_steps *out)
{
    for (int i = lo; i < hi; i++) {
        const struct mt_gnode *gn = &g->node[i];
        struct mt_step s = {.kind = &mt_step_fwd, .node = i, .micro = micro, .ticket = -1};

        if (gn->held && !(gn->n.op->flags & MT_OP_VIEW) && !gn->fused) {
            MT_TRY(mt_steps_add(out, &s));
        }
    }
    if (g->loss >= lo && g->loss < hi && g->node[g->loss].held) {
        struct mt_step s = {.kind = &mt_step_stats, .node = g->loss, .micro = micro,
                            .ticket = -1};

        MT_TRY(mt_steps_add(out, &s));
    }
    return MOTLEY_OK;
}

/* given[base]: the loss depends on it, and some parameter is before it. Backward of a node starts
 * from the gradients of its outputs: of some of them only would leave the others undefined. A side
 * branch is not reached and gives its weights no gradient. */
static int find_reached(const struct mt_graph *g, char *given, char *reached)
{
    for (int i = g->nnode - 1; i >= 0; i--) {
        const struct mt_gnode *gn = &g->node[i];
        int have = 0;

        for (int o = 0; o < gn->n.nout; o++) {
            have += given[g->value[gn->out[o]].base];
        }
        if (gn->n.op->flags & MT_OP_VIEW) {
            continue;
        }
        MT_CHECK(have == 0 || have == gn->n.nout, MOTLEY_EUNSUP,
                 "layer %s has %d outputs, of which the loss depends on %d: every one must be "
                 "used", gn->n.name, gn->n.nout, have);
        reached[i] = i == g->loss || have > 0;
        for (int k = 0; reached[i] && k < gn->n.nin; k++) {
            const struct mt_value *v = &g->value[gn->in[k]];

            given[v->base] |= (char)g->value[v->base].needs_grad;
        }
    }
    return MOTLEY_OK;
}

int mt_order_reached(const struct mt_graph *g, char *reached)
{
    char *given = NULL;
    int st;

    memset(reached, 0, (size_t)g->nnode);
    MT_TRY(MT_NEW_N(g->ctx, g->nvalue, &given));
    st = find_reached(g, given, reached);
    mt_free(g->ctx, given);
    MT_TRY(st);
    return MOTLEY_OK;
}

/* What backward of node i can give, within `want`. */
static unsigned wanted(const struct mt_graph *g, int i, unsigned want)
{
    const struct mt_gnode *gn = &g->node[i];
    unsigned can = gn->n.nparam > 0 ? MT_WANT_PARAM : 0;

    for (int k = 0; k < gn->n.nin; k++) {
        can |= g->value[g->value[gn->in[k]].base].needs_grad ? MT_WANT_DATA : 0;
    }
    return can & want;
}

static int add_backward(const struct mt_graph *g, int i, int micro, unsigned want,
                        struct mt_steps *out)
{
    const struct mt_node *n = &g->node[i].n;
    struct mt_step s = {.kind = &mt_step_bwd, .node = i, .micro = micro, .ticket = -1,
                        .want = wanted(g, i, want)};

    if (s.want != 0 && !g->node[i].passes) {
        MT_CHECK(n->op->bwd != NULL, MOTLEY_EUNSUP,
                 "layer %s: operation %s has no gradient, so nothing before it can be trained",
                 n->name, n->op->name);
        MT_TRY(mt_steps_add(out, &s));
    }
    return MOTLEY_OK;
}

int mt_order_backward(const struct mt_graph *g, int lo, int hi, int micro, unsigned want,
                      struct mt_steps *out)
{
    char *reached = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(g->ctx, g->nnode + 1, &reached));
    MT_TRY_OR(end, mt_order_reached(g, reached));
    for (int i = hi - 1; i >= lo; i--) {
        if (g->node[i].held && reached[i]) {
            MT_TRY_OR(end, add_backward(g, i, micro, want, out));
        }
    }
end:
    mt_free(g->ctx, reached);
    return st;
}

/* written[micro, base], done[param]: some step before has written that gradient. */
static void mark(const struct mt_graph *g, struct mt_step *s, char *written, char *done)
{
    const struct mt_gnode *gn = &g->node[s->node];

    s->acc_in = s->acc_param = 0;
    for (int k = 0; k < gn->n.nin && (s->want & MT_WANT_DATA); k++) {
        int base = g->value[gn->in[k]].base;

        if (g->value[base].needs_grad) {
            s->acc_in |= (unsigned)written[base] << k;
            written[base] = 1;
        }
    }
    for (int p = 0; p < gn->n.nparam && (s->want & MT_WANT_PARAM); p++) {
        s->acc_param |= (unsigned)done[gn->param[p]] << p;
        done[gn->param[p]] = 1;
    }
}

int mt_order_acc(const struct mt_graph *g, int micros, struct mt_steps *out)
{
    char *written = NULL, *done = NULL;
    int figures = 0, st = MOTLEY_OK;

    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nvalue * micros, &written));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nparam + 1, &done));
    for (int i = 0; i < out->n; i++) {
        struct mt_step *s = &out->step[i];

        if (s->kind == &mt_step_stats) {
            s->acc_in = figures++ > 0;
        } else if (s->kind == &mt_step_bwd) {
            mark(g, s, written + s->micro * g->nvalue, done);
        } else if (s->kind->gives_grad) {
            written[s->micro * g->nvalue + g->value[s->value].base] = 1;
        }
    }
end:
    mt_free(g->ctx, written);
    mt_free(g->ctx, done);
    return st;
}

int mt_order_tail(const struct mt_graph *g, int clip, struct mt_steps *out)
{
    struct mt_step whole = {.node = -1, .micro = -1, .ticket = -1,
                            .range = {0, g->param_size}};

    if (clip) {
        whole.kind = &mt_step_norm;
        MT_TRY(mt_steps_add(out, &whole));
    }
    whole.kind = &mt_step_scale;
    MT_TRY(mt_steps_add(out, &whole));
    whole.kind = &mt_step_update;
    MT_TRY(mt_steps_add(out, &whole));
    return MOTLEY_OK;
}

int mt_order(const struct mt_graph *g, const struct mt_order_opt *opt, struct mt_steps *out)
{
    int st = MOTLEY_OK;

    memset(out, 0, sizeof *out);
    out->ctx = g->ctx;
    for (int m = 0; m < opt->micros; m++) {
        MT_TRY_OR(end, mt_order_forward(g, 0, g->nnode, m, out));
        if (opt->mode == MT_TRAIN) {
            MT_TRY_OR(end, mt_order_backward(g, 0, g->nnode, m, MT_WANT_DATA | MT_WANT_PARAM,
                                             out));
        }
    }
    MT_TRY_OR(end, mt_order_acc(g, opt->micros, out));
    if (opt->mode == MT_TRAIN) {
        MT_TRY_OR(end, mt_order_tail(g, opt->clip, out));
    }
end:
    if (st < 0) {
        mt_steps_fini(out);
    }
    return st;
}

void mt_step_print(const struct mt_graph *g, const struct mt_step *s, char *buf, int room)
{
    int used = snprintf(buf, (size_t)room, "%-7s", s->kind->name);

    if (s->node >= 0 && used < room) {
        const struct mt_node *n = &g->node[s->node].n;
        char name[64];

        int fwd = s->kind == &mt_step_fwd;

        snprintf(name, sizeof name, "%s%s%s%s", n->name,
                 fwd && n->act != MT_GEMM_NOACT ? " + act" : "",
                 fwd && n->drops != NULL ? " + drop" : "", fwd && n->adds ? " + sum" : "");
        used += snprintf(buf + used, (size_t)(room - used), " %-20s micro %d", name, s->micro);
    }
    if (s->again && s->kind == &mt_step_fwd && used < room) {
        used += snprintf(buf + used, (size_t)(room - used), " again");
    }
    if (s->kind->way != NULL && used < room) {
        used += snprintf(buf + used, (size_t)(room - used), " %s rank %d", s->kind->way, s->peer);
    }
    if (s->range.hi > s->range.lo && used < room) {
        used += snprintf(buf + used, (size_t)(room - used), " [%" PRIu64 ", %" PRIu64 ")",
                         s->range.lo, s->range.hi);
    }
    if (s->ticket >= 0 && used < room) {
        used += snprintf(buf + used, (size_t)(room - used), " ticket %d", s->ticket);
    }
    if (s->want != 0 && used < room) {
        snprintf(buf + used, (size_t)(room - used), "  %s%s%s",
                 s->want & MT_WANT_DATA ? "data" : "", s->want == 3 ? "+" : "",
                 s->want & MT_WANT_PARAM ? (s->acc_param ? "param (add)" : "param") : "");
    }
}
