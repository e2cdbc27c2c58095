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

static int add_forward(const struct mt_graph *g, int micro, struct mt_steps *out)
{
    for (int i = 0; i < g->nnode; i++) {
        struct mt_step s = {.kind = &mt_step_fwd, .node = i, .micro = micro, .ticket = -1};

        if (!(g->node[i].n.op->flags & MT_OP_VIEW) && !g->node[i].fused) {
            MT_TRY(mt_steps_add(out, &s));
        }
    }
    if (g->loss >= 0) {
        struct mt_step s = {.kind = &mt_step_stats, .node = g->loss, .micro = micro,
                            .acc_in = micro > 0, .ticket = -1};

        MT_TRY(mt_steps_add(out, &s));
    }
    return MOTLEY_OK;
}

/* Whether backward of node i has something to start from: it is the loss, or somebody wrote the
 * gradient of its outputs. Of some of them only would leave the others undefined. */
static int is_reached(const struct mt_graph *g, int i, const char *written, int *reached)
{
    const struct mt_gnode *gn = &g->node[i];
    int have = 0;

    for (int o = 0; o < gn->n.nout; o++) {
        have += written[gn->out[o]];
    }
    MT_CHECK(have == 0 || have == gn->n.nout, MOTLEY_EUNSUP,
             "layer %s has %d outputs, of which the loss depends on %d: every one must be used",
             gn->n.name, gn->n.nout, have);
    *reached = i == g->loss || have > 0;
    return MOTLEY_OK;
}

/* written[base]: some consumer has written that gradient in this micro-batch; done[param]: some
 * node has written that parameter's gradient in this step. */
static int add_backward(const struct mt_graph *g, int micro, char *written, char *done,
                        struct mt_steps *out)
{
    memset(written, 0, (size_t)g->nvalue);
    for (int i = g->nnode - 1; i >= 0; i--) {
        const struct mt_gnode *gn = &g->node[i];
        struct mt_step s = {.kind = &mt_step_bwd, .node = i, .micro = micro, .ticket = -1};

        int reached = 0;

        if (gn->n.op->flags & MT_OP_VIEW) {
            continue;
        }
        MT_TRY(is_reached(g, i, written, &reached));
        if (!reached) {
            continue;   /* a side branch: its weights get no gradient */
        }
        for (int k = 0; k < gn->n.nin; k++) {
            int base = g->value[gn->in[k]].base;

            if (g->value[base].needs_grad) {
                s.want |= MT_WANT_DATA;
                s.acc_in |= (unsigned)written[base] << k;
                written[base] = 1;
            }
        }
        for (int p = 0; p < gn->n.nparam; p++) {
            s.want |= MT_WANT_PARAM;
            s.acc_param |= (unsigned)done[gn->param[p]] << p;
            done[gn->param[p]] = 1;
        }
        if (s.want != 0) {
            MT_CHECK(gn->n.op->bwd != NULL, MOTLEY_EUNSUP,
                     "layer %s: operation %s has no gradient, so nothing before it can be trained",
                     gn->n.name, gn->n.op->name);
            MT_TRY(mt_steps_add(out, &s));
        }
    }
    return MOTLEY_OK;
}

int mt_order(const struct mt_graph *g, const struct mt_order_opt *opt, struct mt_steps *out)
{
    struct mt_step whole = {.node = -1, .micro = -1, .ticket = -1,
                            .range = {0, g->param_size}};
    char *written = NULL, *done = NULL;
    int st = MOTLEY_OK;

    memset(out, 0, sizeof *out);
    out->ctx = g->ctx;
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nvalue, &written));
    MT_TRY_OR(end, MT_NEW_N(g->ctx, g->nparam + 1, &done));
    for (int m = 0; m < opt->micros; m++) {
        MT_TRY_OR(end, add_forward(g, m, out));
        if (opt->mode == MT_TRAIN) {
            MT_TRY_OR(end, add_backward(g, m, written, done, out));
        }
    }
    if (opt->mode == MT_TRAIN) {
        if (opt->clip) {
            whole.kind = &mt_step_norm;
            MT_TRY_OR(end, mt_steps_add(out, &whole));
        }
        whole.kind = &mt_step_scale;
        MT_TRY_OR(end, mt_steps_add(out, &whole));
        whole.kind = &mt_step_update;
        MT_TRY_OR(end, mt_steps_add(out, &whole));
    }
end:
    mt_free(g->ctx, written);
    mt_free(g->ctx, done);
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

        snprintf(name, sizeof name, "%s%s", n->name,
                 n->act != MT_GEMM_NOACT && s->kind == &mt_step_fwd ? " + act" : "");
        used += snprintf(buf + used, (size_t)(room - used), " %-20s micro %d", name, s->micro);
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
