/* tp.c -- the steps of nodes between the parts of divided layers.
 *
 *     forward                                     backward
 *     fwd linear1', relu1', linear2'              bwd linear2', relu1'
 *     begin linear2/sum                           bwd linear1'          data
 *     end   linear2/sum                           begin linear1/spread
 *                                                 bwd linear1'          parameters
 *                                                 end   linear1/spread
 *
 * `begin` opens a window on the numbers that travel and returns; messages are made when the device
 * has got there (wire.h). `end` waits and does what is left to do on the device. In forward the
 * next layer needs the sum, so nothing lies between; in backward the layer's own gradients do: its
 * one step is cut in two. One exchange at a time is under way.
 *
 * Sums are made in the order of the ranks of the stage and come back as the same bits to all, so
 * what is computed from them is the same on all parts (on devices of one kind). Their terms are
 * f32; what is gathered travels as it is stored. */
#include "parallel/tp.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"

#include <string.h>

enum state { IDLE = 0, OPENING, MOVING };

/* What a communicating node exchanges, with whom. */
struct meeting {
    struct mt_group group;       /* n 0: the node does not communicate */
    int me;                      /* position in it */
    int64_t *at;                 /* gather: first column of each part, and behind them all of
                                    them */
};

struct mt_tp {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_wire *wire;        /* borrowed */
    int nnode;
    struct meeting *meeting;     /* by node */
    struct mt_reduce *reduce;
    struct mt_collect *gather;
    struct mt_window *sum;       /* on what is summed */
    struct mt_window *own, *others;
    enum state state;            /* of the exchange under way, with what follows */
    const struct meeting *now;
    int gathers;                 /* it is a gather */
    int64_t n;                   /* numbers of a sum */
    uint64_t *bytes;             /* of each part of a gather */
};

/* ---- progress ----------------------------------------------------------------------------- */

static int start_exchange(struct mt_tp *t)
{
    int ready = 0, more = 1;

    MT_TRY(mt_window_ready(t->gathers ? t->own : t->sum, &ready));
    if (t->gathers) {
        MT_TRY(mt_window_ready(t->others, &more));
    }
    if (!ready || !more) {
        return MOTLEY_OK;
    }
    if (t->gathers) {
        MT_TRY(mt_collect_start(t->gather, &t->now->group, 0, mt_window_host(t->own),
                               mt_window_host(t->others), t->bytes));
    } else {
        struct mt_sum sum = {.group = &t->now->group, .tag = MT_TP_TAG,
                             .data = mt_window_host(t->sum), .n = t->n};

        MT_TRY(mt_reduce_start(t->reduce, &sum));
    }
    t->state = MOVING;
    return MOTLEY_OK;
}

static int look_at_exchange(struct mt_tp *t, int *peer)
{
    int done = 0;

    MT_TRY(t->gathers ? mt_collect_test(t->gather, &done) : mt_reduce_test(t->reduce, &done));
    if (!done) {
        if (*peer < 0) {
            *peer = t->gathers ? mt_collect_peer(t->gather) : mt_reduce_peer(t->reduce);
        }
        return MOTLEY_OK;
    }
    if (t->gathers) {
        MT_TRY(mt_window_close(t->own));
        MT_TRY(mt_window_close(t->others));
    } else {
        MT_TRY(mt_window_close(t->sum));
    }
    t->state = IDLE;
    return MOTLEY_OK;
}

static int progress(void *arg, int *peer)
{
    struct mt_tp *t = arg;

    if (t->state == OPENING) {
        MT_TRY(start_exchange(t));
    }
    if (t->state == MOVING) {
        MT_TRY(look_at_exchange(t, peer));
    }
    return MOTLEY_OK;
}

static int is_idle(const void *arg)
{
    return ((const struct mt_tp *)arg)->state == IDLE;
}

/* ---- steps -------------------------------------------------------------------------------- */

static int backward(const struct mt_step *s)
{
    return s->want != 0;
}

/* Memory of an item of this micro-batch, as numbers of a type. */
static struct mt_tensor memory(const struct mt_exec *x, const struct mt_step *s,
                               enum mt_item_kind kind, int id, enum mt_dtype dtype)
{
    const struct mt_placed *p = mt_plan_find(x->plan, mt_step_item(x->graph, s, kind, id));

    return (struct mt_tensor){.spec = {.dtype = dtype},
                              .buf = x->arena[p->arena],
                              .off = p->off / (uint64_t)mt_dtype_bytes(dtype)};
}

/* Rows of matrices whose first dimension is that of the samples. */
static int64_t rows_of(const struct mt_exec *x, const struct mt_step *s,
                       const struct mt_spec *spec)
{
    int64_t lo, hi;

    mt_exec_micro(x, x->batch.rows, s->micro, &lo, &hi);
    return (hi - lo) * (mt_spec_rows(spec) / spec->dim[0]);
}

static int open_sum(struct mt_tp *t, const struct mt_exec *x, const struct mt_step *s,
                    int64_t rows)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];
    struct mt_tensor m =
        backward(s) ? memory(x, s, MT_ITEM_GRAD, x->graph->value[gn->out[0]].grad, MT_F32)
                    : memory(x, s, MT_ITEM_VALUE, x->graph->value[gn->in[0]].root, MT_F32);

    t->n = rows * mt_spec_last(&gn->n.in[0]);
    return mt_window_open(t->sum, m.buf, m.off * sizeof(float), (uint64_t)t->n * sizeof(float),
                          MT_WINDOW_READ | MT_WINDOW_WRITE);
}

/* Of what a node gathers. */
static enum mt_dtype type_of(const struct mt_gnode *gn)
{
    return gn->n.in[0].dtype;
}

/* The parts of the others come into scratch, one behind the other. */
static struct mt_tensor scratch_of(const struct mt_exec *x, const struct mt_step *s)
{
    return memory(x, s, MT_ITEM_SCRATCH, s->node * MT_SCRATCHES,
                  type_of(&x->graph->node[s->node]));
}

static int open_gather(struct mt_tp *t, const struct mt_exec *x, const struct mt_step *s,
                       int64_t rows)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];
    const struct meeting *m = t->now;
    uint64_t width = (uint64_t)mt_dtype_bytes(type_of(gn)), others = 0;
    struct mt_tensor in =
        memory(x, s, MT_ITEM_VALUE, x->graph->value[gn->in[0]].root, type_of(gn));
    struct mt_tensor rest;

    for (int p = 0; p < m->group.n; p++) {
        t->bytes[p] = width * (uint64_t)(rows * (m->at[p + 1] - m->at[p]));
        others += p != m->me ? t->bytes[p] : 0;
    }
    rest = others > 0 ? scratch_of(x, s) : in;
    MT_TRY(mt_window_open(t->own, in.buf, in.off * width, t->bytes[m->me], MT_WINDOW_READ));
    return mt_window_open(t->others, rest.buf, rest.off * width, others, MT_WINDOW_WRITE);
}

static int run_begin(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_par *par = x->pass;
    struct mt_tp *t = par->tp;
    int64_t rows = rows_of(x, s, &x->graph->node[s->node].n.in[0]);

    MT_BUG_IF(t->state != IDLE);
    if (rows == 0) {
        return MOTLEY_OK;   /* on every part */
    }
    t->now = &t->meeting[s->node];
    t->gathers = t->now->at != NULL;
    MT_TRY(t->gathers ? open_gather(t, x, s, rows) : open_sum(t, x, s, rows));
    t->state = OPENING;
    MT_TRY(mt_dev_flush(t->dev));
    return mt_wire_progress(t->wire);
}

/* What a node does alone, as any node. */
static int run_alone(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_step alone = *s;

    alone.kind = backward(s) ? &mt_step_bwd : &mt_step_fwd;
    return alone.kind->run(x, &alone);
}

/* Parts of the others from scratch to their columns of the output. */
static int place_others(const struct mt_tp *t, struct mt_exec *x, const struct mt_step *s,
                        int64_t rows)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];
    const struct meeting *m = &t->meeting[s->node];
    struct mt_tensor out =
        memory(x, s, MT_ITEM_VALUE, x->graph->value[gn->out[0]].root, type_of(gn));
    int64_t total = m->at[m->group.n], from = 0;

    for (int p = 0; p < m->group.n; p++) {
        int64_t w = m->at[p + 1] - m->at[p];

        if (p != m->me && w > 0) {
            struct mt_tensor part = scratch_of(x, s), to = out;

            to.off += (uint64_t)m->at[p];
            part.off += (uint64_t)(rows * from);
            MT_TRY(mt_tp_place(&gn->n, t->dev, &to, total, &part, rows, w));
            from += w;
        }
    }
    return MOTLEY_OK;
}

static int run_end(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_par *par = x->pass;
    struct mt_tp *t = par->tp;
    int64_t rows = rows_of(x, s, &x->graph->node[s->node].n.in[0]);

    if (rows > 0) {
        MT_TRY(mt_wire_wait(t->wire, is_idle, t));
    }
    MT_TRY(run_alone(x, s));
    return rows > 0 && t->meeting[s->node].at != NULL ? place_others(t, x, s, rows) : MOTLEY_OK;
}

static void uses(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u)
{
    (backward(s) ? &mt_step_bwd : &mt_step_fwd)->uses(g, s, u);
}

const struct mt_step_kind mt_step_tp_begin = {.name = "begin", .run = run_begin, .uses = uses};
const struct mt_step_kind mt_step_tp_end = {.name = "end", .run = run_end, .uses = uses};

/* ---- the pass ----------------------------------------------------------------------------- */

static int is_exchange(const struct mt_graph *g, const struct mt_step *s)
{
    const struct mt_op *op = s->node >= 0 ? g->node[s->node].n.op : NULL;

    return (s->kind == &mt_step_bwd && op == &mt_tp_spread) ||
           (s->kind == &mt_step_fwd && (op == &mt_tp_sum || op == &mt_tp_gather));
}

/* Whether the last step of a list gives all gradients of the layer behind a `spread`, in one. */
static int can_cut(const struct mt_graph *g, const struct mt_steps *l, const struct mt_step *spread)
{
    const struct mt_step *s = l->n > 0 ? &l->step[l->n - 1] : NULL;

    return s != NULL && s->kind == &mt_step_bwd && spread->kind == &mt_step_bwd &&
           s->want == (MT_WANT_DATA | MT_WANT_PARAM) && s->micro == spread->micro &&
           g->node[s->node].in[0] == g->node[spread->node].out[0];
}

static int add_exchange(const struct mt_graph *g, const struct mt_step *s, struct mt_steps *out)
{
    struct mt_step begin = *s, end = *s, param;
    int cut = can_cut(g, out, s);

    begin.kind = &mt_step_tp_begin;
    end.kind = &mt_step_tp_end;
    if (cut) {
        struct mt_step *data = &out->step[out->n - 1];

        param = *data;
        param.want = MT_WANT_PARAM;
        param.acc_in = 0;
        data->want = MT_WANT_DATA;
        data->acc_param = 0;
    }
    MT_TRY(mt_steps_add(out, &begin));
    if (cut) {
        MT_TRY(mt_steps_add(out, &param));
    }
    return mt_steps_add(out, &end);
}

static int edit(const struct mt_graph *g, struct mt_steps *steps)
{
    struct mt_steps out = {.ctx = steps->ctx};
    int st;

    for (int i = 0; i < steps->n; i++) {
        const struct mt_step *s = &steps->step[i];

        MT_TRY_OR(fail, is_exchange(g, s) ? add_exchange(g, s, &out) : mt_steps_add(&out, s));
    }
    mt_steps_fini(steps);
    *steps = out;
    return MOTLEY_OK;
fail:
    mt_steps_fini(&out);
    return st;
}

/* Columns of each part of what a gather puts together. */
static int columns_of(struct mt_tp *t, const struct mt_node *n, const struct mt_stage *st,
                      struct meeting *m)
{
    int64_t each = mt_attr_int(n, MT_TP_GATHER_EACH), hi;

    MT_TRY(MT_NEW_N(t->ctx, st->nrank + 1, &m->at));
    for (int p = 0; p < st->nrank; p++) {
        if (each > 0) {
            m->at[p] = p * each;
        } else {
            mt_tp_columns(st, mt_attr_int(n, MT_TP_GATHER_TOTAL), p, &m->at[p], &hi);
        }
    }
    m->at[st->nrank] = mt_attr_int(n, MT_TP_GATHER_TOTAL);
    return MOTLEY_OK;
}

/* What a node exchanges, with whom; counts the room that the largest needs. */
struct need {
    int most;                                  /* ranks */
    uint64_t sum;                              /* numbers */
    uint64_t own, others;                      /* bytes */
};

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static int arrange(struct mt_tp *t, const struct mt_gnode *gn, const struct mt_stage *st, int rank,
                   struct meeting *m, struct need *need)
{
    uint64_t in = (uint64_t)mt_spec_count(&gn->n.in[0]);

    int *copy = NULL;

    MT_TRY(MT_NEW_N(t->ctx, st->nrank, &copy));
    memcpy(copy, st->rank, (size_t)st->nrank * sizeof *copy);
    m->group = (struct mt_group){.n = st->nrank, .rank = copy};
    m->me = mt_tp_part(st, rank);
    need->most = st->nrank > need->most ? st->nrank : need->most;
    if (gn->n.op == &mt_tp_gather) {
        MT_TRY(columns_of(t, &gn->n, st, m));
        need->own = larger(need->own, in * (uint64_t)mt_dtype_bytes(type_of(gn)));
        need->others = larger(need->others, larger(1, gn->n.scratch_bytes));
    } else {
        need->sum = larger(need->sum, in);
    }
    return MOTLEY_OK;
}

static int make_room(struct mt_tp *t, struct mt_comm *comm, const struct need *need)
{
    if (need->sum > 0) {
        MT_TRY(mt_reduce_new(t->ctx, comm, need->most, (int64_t)need->sum, 0, &t->reduce));
        MT_TRY(mt_window_new(t->dev, need->sum * sizeof(float), "sums over parts of a layer",
                             &t->sum));
    }
    if (need->own > 0) {
        MT_TRY(MT_NEW_N(t->ctx, need->most, &t->bytes));
        MT_TRY(mt_collect_new(t->ctx, comm, need->most, &t->gather));
        MT_TRY(mt_window_new(t->dev, need->own, "own part of a layer", &t->own));
        MT_TRY(mt_window_new(t->dev, need->others, "parts of a layer", &t->others));
    }
    return MOTLEY_OK;
}

int mt_tp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_layout *l, struct mt_steps *steps,
              struct mt_tp **out)
{
    int rank = mt_comm_info(comm)->rank, st;
    struct need need = {0};
    struct mt_seat_in seat;
    struct mt_tp *t = NULL;

    MT_TRY(MT_NEW(g->ctx, &t));
    t->ctx = g->ctx;
    t->dev = dev;
    t->wire = wire;
    t->nnode = g->nnode;
    mt_layout_where(l, rank, &seat);
    MT_TRY_OR(fail, MT_NEW_N(g->ctx, g->nnode + 1, &t->meeting));
    for (int i = 0; i < steps->n; i++) {
        const struct mt_step *s = &steps->step[i];

        if (is_exchange(g, s) && t->meeting[s->node].group.n == 0) {
            const struct mt_gnode *gn = &g->node[s->node];

            MT_TRY_OR(fail, arrange(t, gn, mt_tp_stage(&l->replica[seat.replica], gn->origin),
                                    rank, &t->meeting[s->node], &need));
        }
    }
    MT_TRY_OR(fail, make_room(t, comm, &need));
    MT_TRY_OR(fail, edit(g, steps));
    MT_TRY_OR(fail, mt_wire_join(wire, progress, t));
    *out = t;
    return MOTLEY_OK;
fail:
    mt_tp_free(t);
    return st;
}

void mt_tp_free(struct mt_tp *t)
{
    if (t == NULL) {
        return;
    }
    mt_collect_free(t->gather);
    mt_reduce_free(t->reduce);
    mt_window_free(t->others);
    mt_window_free(t->own);
    mt_window_free(t->sum);
    for (int i = 0; t->meeting != NULL && i < t->nnode; i++) {
        mt_free(t->ctx, (int *)t->meeting[i].group.rank);
        mt_free(t->ctx, t->meeting[i].at);
    }
    mt_free(t->ctx, t->meeting);
    mt_free(t->ctx, t->bytes);
    mt_free(t->ctx, t);
}
