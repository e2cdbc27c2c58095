/* pipe_order.c -- the list of one rank of a pipeline: the items of its schedule, what they need
 * received before, what they give sent behind.
 *
 *     sent ... | recv of the next item | arrive | fwd or bwd of this item | send
 *
 * `recv` stands one item ahead, so that messages travel while the device computes; only where the
 * memory was used before for the same micro-batch (a value that comes back to a rank with several
 * stages) it stands directly before its item. `sent` stands where the common order of all ranks
 * (timetable.h) says that the receiver has passed, and one item later, so that a receiver that is
 * a little late stops nobody.
 *
 * Gradients of a value come from the stage behind first and are written; what reads the value here
 * adds; the sum goes on to the stage before. That is the order in which a single process adds. */
#include "parallel/par.h"

#include "base/ctx.h"
#include "parallel/cross.h"
#include "parallel/pipe.h"
#include "parallel/timetable.h"

#include <string.h>

/* A message that is being sent; `before`: the item in front of which its memory is waited for. */
struct flight {
    struct mt_step step;
    int before;
};

struct order {
    const struct mt_graph *g;
    const struct mt_replica *r;
    int rank, part, micros;
    struct mt_crossings *cross;
    struct mt_timetable *table;
    int nitem;
    const struct mt_sched_item *item;    /* of this rank; belongs to the table */
    char *needed, *saved;                /* by backward: values (roots), saved values */
    char *touched[2];                    /* by memory of values and of gradients, micro-batch */
    int nflight, nticket;
    struct flight *flight;
    char *taken;                         /* by ticket */
    struct mt_steps work;                /* fwd or bwd of the item at hand */
    struct mt_steps *out;
};

/* ---- messages ----------------------------------------------------------------------------- */

/* The rank that gives part `part` of stage `to` what it needs from its neighbour `from`: part by
 * part where the two are divided alike, else the first. */
static int giver(const struct mt_replica *r, int from, int to, int part)
{
    const struct mt_stage *a = &r->stage[from], *b = &r->stage[to];

    return a->rank[a->nrank == b->nrank ? part : 0];
}

static char *touched(const struct order *o, const struct mt_step *s, int grad)
{
    const struct mt_value *v = &o->g->value[s->value];

    return &o->touched[grad][(grad ? v->grad : v->root) * o->micros + s->micro];
}

/* Messages are numbered over micro-batches, cuts, directions, values: alike on both sides. */
static struct mt_step message(const struct order *o, int at, int micro, int grad, int peer)
{
    const struct mt_crossings *c = o->cross;
    int base = c->list[at].base, all = 2 * c->from[c->nstage];

    return (struct mt_step){.node = o->g->value[base].node, .micro = micro, .value = base,
                            .peer = peer, .ticket = -1,
                            .tag = (micro * all + 2 * at + grad) % MT_PIPE_TAGS};
}

static int take_ticket(struct order *o, int *ticket)
{
    int t = 0;

    while (t < o->nticket && o->taken[t]) {
        t++;
    }
    if (t == o->nticket) {
        MT_TRY(MT_RESIZE(o->g->ctx, t + 1, &o->taken));
        o->nticket++;
    }
    o->taken[t] = 1;
    *ticket = t;
    return MOTLEY_OK;
}

static int add_move(struct order *o, struct mt_step s, enum mt_move move, int grad)
{
    s.kind = &mt_move_kind[grad][move];
    *touched(o, &s, grad) = 1;
    MT_TRY(mt_steps_add(o->out, &s));
    return MOTLEY_OK;
}

static int is_grad(const struct mt_step *s)
{
    return s->kind == &mt_move_kind[1][MT_SEND];
}

/* Waits for flight i. */
static int land(struct order *o, int i)
{
    struct mt_step s = o->flight[i].step;

    MT_TRY(add_move(o, s, MT_SENT, is_grad(&s)));
    o->taken[s.ticket] = 0;
    memmove(&o->flight[i], &o->flight[i + 1], (size_t)(--o->nflight - i) * sizeof *o->flight);
    return MOTLEY_OK;
}

static int land_before(struct order *o, int item)
{
    for (int i = 0; i < o->nflight;) {
        if (o->flight[i].before <= item) {
            MT_TRY(land(o, i));
        } else {
            i++;
        }
    }
    return MOTLEY_OK;
}

/* The item before which a message to item (work, stage, micro) of a neighbour is over. */
static int over_before(const struct order *o, enum mt_sched_work work, int stage, int micro)
{
    int place = mt_timetable_place(o->table, work, stage, micro), i = 0;

    while (i < o->nitem && mt_timetable_place(o->table, o->item[i].work, o->item[i].stage,
                                              o->item[i].micro) < place) {
        i++;
    }
    return i + 1;
}

static int add_send(struct order *o, struct mt_step s, int grad, int before)
{
    MT_TRY(take_ticket(o, &s.ticket));
    s.kind = &mt_move_kind[grad][MT_SEND];
    MT_TRY(MT_RESIZE(o->g->ctx, o->nflight + 1, &o->flight));
    o->flight[o->nflight++] = (struct flight){s, before};
    return add_move(o, s, MT_SEND, grad);
}

/* ---- what an item needs and gives ----------------------------------------------------------- */

/* The cut over which an item gets something (gives: over which it gives), and from (to) which
 * stage; 0: none. */
static int cut_of(const struct order *o, struct mt_sched_item it, int gives, int *grad, int *other)
{
    int up = (it.work == MT_SCHED_FWD) == gives;   /* over the cut behind the stage */

    *grad = it.work != MT_SCHED_FWD;
    *other = it.stage + (up ? 1 : -1);
    if (it.work == MT_SCHED_PARAM || *other < 0 || *other >= o->r->nstage) {
        return 0;
    }
    return it.stage + up;
}

/* What item `it` sends: to every part of the other stage that gets it from this rank. */
static int send_results(struct order *o, struct mt_sched_item it)
{
    int grad, other, cut = cut_of(o, it, 1, &grad, &other);
    enum mt_sched_work work = grad ? MT_SCHED_DATA : MT_SCHED_FWD;
    int before = cut > 0 ? over_before(o, work, other, it.micro) : 0;

    for (int at = cut > 0 ? o->cross->from[cut] : 0; cut > 0 && at < o->cross->from[cut + 1];
         at++) {
        for (int p = 0; p < o->r->stage[other].nrank; p++) {
            int peer = o->r->stage[other].rank[p];

            if ((!grad || o->cross->list[at].back) && peer != o->rank &&
                giver(o->r, it.stage, other, p) == o->rank) {
                MT_TRY(add_send(o, message(o, at, it.micro, grad, peer), grad, before));
            }
        }
    }
    return MOTLEY_OK;
}

/* Of what an item receives, in the order of the values: the ticket of each recv there is already,
 * else -1. */
#define MAXCROSS 64
struct intake {
    int n, ticket[MAXCROSS];
};

/* recv of what item `it` needs and has not been asked for: ahead of time only where the memory is
 * fresh. */
static int receive(struct order *o, struct mt_sched_item it, int ahead, struct intake *in)
{
    int grad, other, cut = cut_of(o, it, 0, &grad, &other), n = 0;

    for (int at = cut > 0 ? o->cross->from[cut] : 0; cut > 0 && at < o->cross->from[cut + 1];
         at++) {
        int peer = giver(o->r, other, it.stage, o->part);
        struct mt_step s = message(o, at, it.micro, grad, peer);

        if (peer == o->rank || (grad && !o->cross->list[at].back)) {
            continue;
        }
        MT_CHECK(n < MAXCROSS, MOTLEY_EUNSUP, "more than %d values cross one cut", MAXCROSS);
        if (in->n <= n) {
            in->ticket[in->n++] = -1;
        }
        if (in->ticket[n] < 0 && !(ahead && *touched(o, &s, grad))) {
            for (int i = 0; i < o->nflight;) {
                const struct mt_step *f = &o->flight[i].step;

                if (is_grad(f) == grad && touched(o, f, grad) == touched(o, &s, grad)) {
                    MT_TRY(land(o, i));
                } else {
                    i++;
                }
            }
            MT_TRY(take_ticket(o, &in->ticket[n]));
            s.ticket = in->ticket[n];
            MT_TRY(add_move(o, s, MT_RECV, grad));
        }
        n++;
    }
    return MOTLEY_OK;
}

static int arrive(struct order *o, struct mt_sched_item it, const struct intake *in)
{
    int grad, other, cut = cut_of(o, it, 0, &grad, &other), n = 0;

    for (int at = cut > 0 ? o->cross->from[cut] : 0; n < in->n; at++) {
        struct mt_step s = message(o, at, it.micro, grad, giver(o->r, other, it.stage, o->part));

        if (!grad || o->cross->list[at].back) {
            s.ticket = in->ticket[n++];
            MT_TRY(add_move(o, s, MT_ARRIVE, grad));
            o->taken[s.ticket] = 0;
        }
    }
    return MOTLEY_OK;
}

/* ---- items -------------------------------------------------------------------------------- */

/* Whether a step of forward writes something that is needed; then what it reads is, too. */
static int is_needed(const struct order *o, int node)
{
    const struct mt_gnode *gn = &o->g->node[node];
    int needed = 0;

    for (int i = 0; i < gn->n.nout; i++) {
        needed |= o->needed[o->g->value[gn->out[i]].root];
    }
    for (int i = 0; i < gn->n.nsaved; i++) {
        needed |= o->saved[node * MT_MAXPARAM + i];
    }
    for (int i = 0; needed && i < gn->n.nin; i++) {
        o->needed[o->g->value[gn->in[i]].root] = 1;
    }
    if (needed && gn->n.adds) {
        o->needed[o->g->value[gn->residual].root] = 1;
    }
    return needed;
}

static void need_uses(const struct order *o, const struct mt_step *s)
{
    struct mt_uses u = {0};

    s->kind->uses(o->g, s, &u);
    for (int k = 0; k < u.n; k++) {
        if (u.item[k].kind == MT_ITEM_VALUE) {
            o->needed[u.item[k].id] = 1;
        } else if (u.item[k].kind == MT_ITEM_SAVED) {
            o->saved[u.item[k].id] = 1;
        }
    }
}

/* Forward once more: what backward needs of it, directly or through others. */
static int repeat(struct order *o, int lo, int hi, int micro)
{
    int n, kept = 0;

    memset(o->needed, 0, (size_t)o->g->nvalue);
    memset(o->saved, 0, (size_t)(o->g->nnode * MT_MAXPARAM));
    MT_TRY(mt_order_forward(o->g, lo, hi, micro, &o->work));
    n = o->work.n;
    MT_TRY(mt_order_backward(o->g, lo, hi, micro, MT_WANT_DATA | MT_WANT_PARAM, &o->work));
    for (int i = n; i < o->work.n; i++) {
        need_uses(o, &o->work.step[i]);
    }
    for (int i = n - 1; i >= 0; i--) {
        struct mt_step *s = &o->work.step[i];

        if (s->kind != &mt_step_fwd || !is_needed(o, s->node)) {
            s->kind = NULL;
        }
    }
    for (int i = 0; i < n; i++) {
        if (o->work.step[i].kind != NULL) {
            o->work.step[kept++] = o->work.step[i];
        }
    }
    o->work.n = kept;
    return MOTLEY_OK;
}

/* Its fwd or bwd steps, apart; what they use is not fresh any more. */
static int make_work(struct order *o, struct mt_sched_item it)
{
    static const unsigned want[] = {[MT_SCHED_BWD] = MT_WANT_DATA | MT_WANT_PARAM,
                                    [MT_SCHED_DATA] = MT_WANT_DATA,
                                    [MT_SCHED_PARAM] = MT_WANT_PARAM};
    int lo = o->cross->node[it.stage], hi = o->cross->node[it.stage + 1];
    int again = o->r->stage[it.stage].recompute && it.work != MT_SCHED_FWD;

    o->work.n = 0;
    if (it.work == MT_SCHED_FWD) {
        MT_TRY(mt_order_forward(o->g, lo, hi, it.micro, &o->work));
    } else {
        if (again && it.work != MT_SCHED_PARAM) {
            MT_TRY(repeat(o, lo, hi, it.micro));
        }
        MT_TRY(mt_order_backward(o->g, lo, hi, it.micro, want[it.work], &o->work));
    }
    for (int i = 0; i < o->work.n; i++) {
        o->work.step[i].again = again;
    }
    for (int i = 0; i < o->work.n; i++) {
        struct mt_uses u = {0};

        o->work.step[i].kind->uses(o->g, &o->work.step[i], &u);
        for (int k = 0; k < u.n; k++) {
            if (u.item[k].kind == MT_ITEM_VALUE || u.item[k].kind == MT_ITEM_GRAD) {
                o->touched[u.item[k].kind == MT_ITEM_GRAD][u.item[k].id * o->micros +
                                                           u.item[k].micro] = 1;
            }
        }
    }
    return MOTLEY_OK;
}

static int make_list(struct order *o)
{
    struct intake in = {.n = 0}, next;

    for (int i = 0; i < o->nitem; i++) {
        int k = 0;

        MT_TRY(land_before(o, i));
        MT_TRY(receive(o, o->item[i], 0, &in));
        MT_TRY(make_work(o, o->item[i]));
        next.n = 0;
        if (i + 1 < o->nitem) {
            MT_TRY(receive(o, o->item[i + 1], 1, &next));
        }
        while (k < o->work.n && o->work.step[k].kind == &mt_step_fwd && o->work.step[k].again) {
            MT_TRY(mt_steps_add(o->out, &o->work.step[k++]));   /* while gradients travel */
        }
        MT_TRY(arrive(o, o->item[i], &in));
        while (k < o->work.n) {
            MT_TRY(mt_steps_add(o->out, &o->work.step[k++]));
        }
        MT_TRY(send_results(o, o->item[i]));
        in = next;
    }
    while (o->nflight > 0) {
        MT_TRY(land(o, 0));
    }
    return MOTLEY_OK;
}

static int seat_order(struct order *o, const struct mt_layout *l, const struct mt_seat_in *seat,
                      enum mt_mode mode)
{
    struct mt_ctx *ctx = o->g->ctx;
    int st;

    o->r = &l->replica[seat->replica];
    o->part = seat->part;
    o->work.ctx = ctx;
    MT_TRY_OR(end, mt_crossings_new(o->g, o->r, &o->cross));
    MT_TRY_OR(end, mt_timetable_new(ctx, l->schedule, o->r->nstage, seat->stride, o->micros,
                                    mode == MT_EVAL, &o->table));
    o->nitem = o->table->count[seat->first];
    o->item = o->table->item[seat->first];
    for (int k = 0; k < 2; k++) {
        MT_TRY_OR(end, MT_NEW_N(ctx, o->g->nvalue * o->micros, &o->touched[k]));
    }
    MT_TRY_OR(end, MT_NEW_N(ctx, o->g->nvalue, &o->needed));
    MT_TRY_OR(end, MT_NEW_N(ctx, o->g->nnode * MT_MAXPARAM, &o->saved));
    MT_TRY_OR(end, make_list(o));
end:
    mt_steps_fini(&o->work);
    mt_free(ctx, o->needed);
    mt_free(ctx, o->saved);
    mt_free(ctx, o->touched[0]);
    mt_free(ctx, o->touched[1]);
    mt_free(ctx, o->flight);
    mt_free(ctx, o->taken);
    mt_timetable_free(o->table);
    mt_crossings_free(o->cross);
    return st;
}

int mt_pipe_order(const struct mt_graph *g, const struct mt_layout *l, int rank,
                  const struct mt_order_opt *opt, struct mt_steps *out)
{
    struct order o = {.g = g, .rank = rank, .micros = opt->micros, .out = out};
    struct mt_seat_in seat;
    int st;

    memset(out, 0, sizeof *out);
    out->ctx = g->ctx;
    mt_layout_where(l, rank, &seat);
    if (seat.replica >= 0 && l->replica[seat.replica].nstage == 1 &&
        !l->replica[seat.replica].stage[0].recompute) {
        return mt_order(g, opt, out);
    }
    if (seat.replica >= 0) {
        MT_TRY_OR(fail, seat_order(&o, l, &seat, opt->mode));
    }
    MT_TRY_OR(fail, mt_order_acc(g, opt->micros, out));
    if (opt->mode == MT_TRAIN) {
        MT_TRY_OR(fail, mt_order_tail(g, opt->clip, out));
    }
    return MOTLEY_OK;
fail:
    mt_steps_fini(out);
    return st;
}
