/* tp_split.c -- which layers of a stage are divided how, and who holds what of a parameter: a
 * function of whole graph and layout alone, so every rank knows it of every other.
 *
 * A stretch begins with an operation that can give columns of its output (a linear layer), goes on
 * through operations that work on each element by itself, and ends before an operation that takes
 * rows (another linear layer: the pair of M. Shoeybi et al., Megatron-LM, 2019), before a loss that
 * can be judged from parts, or it is put together again. Per sample and direction, with H numbers
 * inside the stretch, I before and C behind it:
 *
 *     pair                     sum of C forward, sum of I backward
 *     put together             H gathered forward, sum of I backward
 *     into a divided loss      a few numbers forward, sum of I backward
 *
 * Pairs are made from the front. An exception is the second layer of a pair that ends in a loss: as
 * a stretch of its own it makes the first one gather H (as bytes: half a sum) and adds a sum of H
 * backward, and saves the sum of C, so it pays where 2 C > 3 H: many classes. */
#include "parallel/tp.h"

#include "base/ctx.h"

#include <string.h>

const struct mt_stage *mt_tp_stage(const struct mt_replica *r, int node)
{
    for (int s = 0; s < r->nstage; s++) {
        if (node >= r->stage[s].lo && node < r->stage[s].hi) {
            return &r->stage[s];
        }
    }
    return NULL;
}

int mt_tp_part(const struct mt_stage *st, int rank)
{
    for (int p = 0; p < st->nrank; p++) {
        if (st->rank[p] == rank) {
            return p;
        }
    }
    return -1;
}

/* The one node that reads a value, if it is of the stage and the caller does not read it too (the
 * prediction that a loss judges is nobody's result); -1 otherwise. */
static int only_reader(const struct mt_graph *g, const struct mt_stage *st, int value)
{
    int readers = 0, reader = -1;

    for (int i = 0; i < g->nnode; i++) {
        for (int k = 0; k < g->node[i].n.nin; k++) {
            if (g->node[i].in[k] == value) {
                readers++;
                reader = i;
            }
        }
    }
    return readers == 1 && reader >= st->lo && reader < st->hi &&
                   (value != g->output || reader == g->loss)
               ? reader
               : -1;
}

/* Where a stretch ends that begins with node i: the node that takes its divided input, or -1.
 * *last: the last node of the stretch itself. */
static int end_of(const struct mt_graph *g, const struct mt_stage *st, int i, int *last)
{
    *last = i;
    for (;;) {
        int value = g->node[*last].out[0], next = only_reader(g, st, value);
        const struct mt_op *op = next >= 0 ? g->node[next].n.op : NULL;

        if (op == NULL || g->node[next].in[0] != value) {
            return -1;
        }
        if (!(op->flags & MT_OP_EACH)) {
            return op->flags & MT_OP_ROWS || op->parts != NULL ? next : -1;
        }
        *last = next;
    }
}

/* Whether a node is better the first of a stretch of its own; see above. */
static int keeps_columns(const struct mt_graph *g, const struct mt_stage *st, int i)
{
    const struct mt_node *n = &g->node[i].n;
    int last, end = n->op->flags & MT_OP_COLUMNS ? end_of(g, st, i, &last) : -1;

    return end >= 0 && g->node[end].n.op->parts != NULL &&
           2 * mt_spec_last(&n->out[0]) > 3 * mt_spec_last(&n->in[0]);
}

void mt_tp_divide(const struct mt_graph *g, const struct mt_stage *st, struct mt_tp_node *list)
{
    memset(list, 0, (size_t)(st->hi - st->lo) * sizeof *list);
    for (int i = st->lo; i < st->hi && st->nrank > 1; i++) {
        struct mt_tp_node *first = &list[i - st->lo];
        int last, end;

        if (first->how != MT_TP_COMPLETE || !(g->node[i].n.op->flags & MT_OP_COLUMNS)) {
            continue;
        }
        end = end_of(g, st, i, &last);
        end = end >= 0 && keeps_columns(g, st, end) ? -1 : end;
        for (int k = last; k != i; k = g->value[g->node[k].in[0]].node) {
            list[k - st->lo].how = MT_TP_EACH;
        }
        first->how = MT_TP_COLUMNS;
        if (end >= 0) {
            list[end - st->lo].how =
                g->node[end].n.op->parts != NULL ? MT_TP_LOSS : MT_TP_ROWS;
        } else {
            list[last - st->lo].gather = 1;
        }
    }
}

void mt_tp_columns(const struct mt_stage *st, int64_t n, int part, int64_t *lo, int64_t *hi)
{
    mt_share(n, st->width, st->nrank, part, lo, hi);
}

int mt_tp_shard(const struct mt_graph *whole, const struct mt_stage *st, int node,
                enum mt_tp_how how, int part, struct mt_division *at, struct mt_shard *out)
{
    const struct mt_node *n = &whole->node[node].n;
    int64_t size = mt_spec_last(how == MT_TP_COLUMNS ? &n->out[0] : &n->in[0]);

    memset(out, 0, sizeof *out);
    *at = (struct mt_division){.by = how == MT_TP_COLUMNS ? MT_OP_COLUMNS
                                  : how == MT_TP_ROWS  ? MT_OP_ROWS
                                                       : 0};
    mt_tp_columns(st, size, part, &at->lo, &at->hi);
    at->first = at->lo == 0 && at->hi > 0;
    if (at->hi > at->lo || how == MT_TP_LOSS) {
        n->op->split(n, at, out);
    }
    return at->hi > at->lo;
}

int mt_tp_slice(const struct mt_graph *whole, const struct mt_layout *l, int replica, int node,
                int param, int part, struct mt_slice *out)
{
    const struct mt_stage *st;
    const struct mt_spec *full;
    struct mt_tp_node *list = NULL;
    struct mt_division at;
    struct mt_shard shard;
    enum mt_tp_how how;

    MT_CHECK(replica >= 0 && replica < l->nreplica && node >= 0 && node < whole->nnode &&
                 param >= 0 && param < whole->node[node].n.nparam,
             MOTLEY_EARG, "slice: no parameter %d of node %d, or no replica %d", param, node,
             replica);
    st = mt_tp_stage(&l->replica[replica], node);
    MT_CHECK(st != NULL && part >= 0 && part < st->nrank, MOTLEY_EARG,
             "slice: node %d has no part %d in replica %d", node, part, replica);
    full = &whole->param[whole->node[node].param[param]].full;
    *out = (struct mt_slice){.held = 1, .hi = full->rank > 0 ? full->dim[0] : 1};
    MT_TRY(MT_NEW_N(whole->ctx, st->hi - st->lo, &list));
    mt_tp_divide(whole, st, list);
    how = list[node - st->lo].how;
    mt_free(whole->ctx, list);
    if (how != MT_TP_COMPLETE) {
        mt_tp_shard(whole, st, node, how, part, &at, &shard);
        *out = (struct mt_slice){.held = shard.param[param].held,
                                 .axis = shard.param[param].axis,
                                 .lo = shard.param[param].lo,
                                 .hi = shard.param[param].hi};
    }
    return MOTLEY_OK;
}
