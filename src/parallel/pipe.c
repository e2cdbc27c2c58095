/* pipe.c -- messages between stages as steps: recv, arrive, send, sent; see pipe.h.
 *
 * Only arrive and sent wait, in mt_wire_wait. A message is on its way as soon as the device has
 * shown its memory, which is looked at whenever anybody waits; it is read from and written to
 * memory that the host shares with the device, or pinned memory. When it is over its window is
 * closed at once, so that memory which must be copied to a device is copied while that computes.
 *
 * A micro-batch of no rows sends what is no sample (sums, say), else nothing: both sides know. */
#include "parallel/pipe.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"
#include "parallel/par.h"

enum state { IDLE = 0, OPENING, MOVING };

/* A ticket. */
struct slot {
    struct mt_window *window;
    uint64_t most, bytes;         /* longest message; this one */
    enum state state;
    int receives, peer, tag;
    int req;                      /* while MOVING */
};

struct mt_pipe {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_comm *comm;         /* borrowed, like wire */
    struct mt_wire *wire;
    int n, reserved;
    struct slot *slot;
};

static int start(struct mt_pipe *p, struct slot *s)
{
    void *host = mt_window_host(s->window);

    if (s->receives) {
        MT_TRY(mt_comm_recv(p->comm, host, (size_t)s->bytes, s->peer, s->tag, &s->req));
    } else {
        MT_TRY(mt_comm_send(p->comm, host, (size_t)s->bytes, s->peer, s->tag, &s->req));
    }
    s->state = MOVING;
    return MOTLEY_OK;
}

/* While the own device has work, no peer is late, whatever is missing from it. */
static int progress(void *arg, int *peer)
{
    struct mt_pipe *p = arg;
    int waits_for = -1, sends = 0, busy = 0, reached;

    MT_TRY(mt_dev_marked(p->dev, &reached));
    for (int i = 0; i < p->n; i++) {
        struct slot *s = &p->slot[i];
        int ready = 0;

        if (s->state == OPENING) {
            MT_TRY(mt_window_ready(s->window, &ready));
            busy |= !ready;
            if (ready) {
                MT_TRY(start(p, s));
            }
        }
        if (s->state == MOVING) {
            MT_TRY(mt_comm_test(p->comm, s->req, &ready));
            if (ready) {
                s->state = IDLE;
                MT_TRY(mt_window_close(s->window));
            } else {
                waits_for = s->peer;
                sends |= !s->receives;
            }
        }
    }
    busy |= !reached;
    *peer = !busy ? waits_for : sends ? MT_WIRE_BOTH : MT_WIRE_OWN;
    return MOTLEY_OK;
}

/* ---- steps -------------------------------------------------------------------------------- */

static int is_grad(const struct mt_step *s);

static struct mt_item item_of(const struct mt_graph *g, const struct mt_step *s)
{
    const struct mt_value *v = &g->value[s->value];

    return is_grad(s) ? mt_step_item(g, s, MT_ITEM_GRAD, v->grad)
                      : mt_step_item(g, s, MT_ITEM_VALUE, v->root);
}

static void uses(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u)
{
    u->item[u->n++] = item_of(g, s);
}

static int open_slot(struct mt_exec *x, const struct mt_step *s, int receives)
{
    struct mt_pipe *p = ((struct mt_par *)x->pass)->pipe;
    struct slot *slot = &p->slot[s->ticket];
    const struct mt_placed *at = mt_plan_find(x->plan, item_of(x->graph, s));
    struct mt_spec spec = x->graph->value[s->value].spec;
    int64_t lo, hi;

    MT_BUG_IF(slot->state != IDLE || at == NULL || at->arena < 0);
    mt_exec_micro(x, x->batch.rows, s->micro, &lo, &hi);
    if (spec.batched) {
        spec.dim[0] = hi - lo;
    }
    slot->bytes = mt_spec_bytes(&spec);
    slot->receives = receives;
    slot->peer = s->peer;
    slot->tag = s->tag;
    if (slot->bytes > 0) {
        MT_TRY(mt_window_open(slot->window, x->arena[at->arena], at->off, slot->bytes,
                              receives ? MT_WINDOW_WRITE : MT_WINDOW_READ));
        slot->state = OPENING;
    }
    MT_TRY(mt_dev_flush(p->dev));
    MT_TRY(mt_wire_progress(p->wire));
    return MOTLEY_OK;
}

static int run_send(struct mt_exec *x, const struct mt_step *s)
{
    return open_slot(x, s, 0);
}

static int run_recv(struct mt_exec *x, const struct mt_step *s)
{
    return open_slot(x, s, 1);
}

static int is_over(const void *slot)
{
    return ((const struct slot *)slot)->state == IDLE;
}

/* The mark tells a wait for a peer on an idle device, which wants to know at once, from one beside
 * its work, which must not take the processor from it. */
static int run_wait(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_pipe *p = ((struct mt_par *)x->pass)->pipe;

    MT_TRY(mt_wire_progress(p->wire));
    if (!is_over(&p->slot[s->ticket])) {
        MT_TRY(mt_dev_mark(p->dev));
    }
    MT_TRY(mt_dev_flush(p->dev));
    MT_TRY(mt_wire_wait(p->wire, is_over, &p->slot[s->ticket]));
    return MOTLEY_OK;
}

const struct mt_step_kind mt_move_kind[2][MT_MOVES] = {
    {[MT_SEND] = {.name = "send", .run = run_send, .uses = uses, .way = "to"},
     [MT_SENT] = {.name = "sent", .run = run_wait, .uses = uses, .way = "to"},
     [MT_RECV] = {.name = "recv", .run = run_recv, .uses = uses, .way = "from"},
     [MT_ARRIVE] = {.name = "arrive", .run = run_wait, .uses = uses, .way = "from"}},
    {[MT_SEND] = {.name = "dsend", .run = run_send, .uses = uses, .way = "to"},
     [MT_SENT] = {.name = "dsent", .run = run_wait, .uses = uses, .way = "to"},
     [MT_RECV] = {.name = "drecv", .run = run_recv, .uses = uses, .way = "from",
                  .gives_grad = 1},
     [MT_ARRIVE] = {.name = "darrive", .run = run_wait, .uses = uses, .way = "from"}},
};

static int is_grad(const struct mt_step *s)
{
    return s->kind >= mt_move_kind[1] && s->kind < mt_move_kind[1] + MT_MOVES;
}

/* ---- making it ---------------------------------------------------------------------------- */

static int take(struct mt_pipe *p, const struct mt_graph *g, const struct mt_step *s)
{
    uint64_t bytes = mt_spec_bytes(&g->value[s->value].spec);

    if (s->ticket >= p->n) {
        int n = s->ticket + 1;

        MT_TRY(MT_RESIZE(p->ctx, n, &p->slot));
        p->n = n;
    }
    if (bytes > p->slot[s->ticket].most) {
        p->slot[s->ticket].most = bytes;
    }
    return MOTLEY_OK;
}

int mt_pipe_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
                const struct mt_graph *g, const struct mt_steps *steps, struct mt_pipe **out)
{
    struct mt_pipe *p = NULL;
    int st;

    MT_TRY(MT_NEW(g->ctx, &p));
    *p = (struct mt_pipe){.ctx = g->ctx, .dev = dev, .comm = comm, .wire = wire};
    for (int i = 0; i < steps->n; i++) {
        if (steps->step[i].kind->way != NULL) {
            MT_TRY_OR(fail, take(p, g, &steps->step[i]));
        }
    }
    for (int i = 0; i < p->n; i++) {
        MT_TRY_OR(fail, mt_window_new(dev, p->slot[i].most, "between two stages",
                                      &p->slot[i].window));
    }
    if (p->n == 0) {
        mt_pipe_free(p);
        *out = NULL;
        return MOTLEY_OK;
    }
    MT_TRY_OR(fail, mt_comm_reserve(comm, p->n));
    p->reserved = p->n;
    MT_TRY_OR(fail, mt_wire_join(wire, progress, p));
    *out = p;
    return MOTLEY_OK;
fail:
    mt_pipe_free(p);
    return st;
}

void mt_pipe_free(struct mt_pipe *p)
{
    if (p == NULL) {
        return;
    }
    for (int i = p->n - 1; i >= 0; i--) {
        if (p->slot[i].state == MOVING) {
            mt_comm_cancel(p->comm, p->slot[i].req);
        }
        mt_window_free(p->slot[i].window);
    }
    mt_comm_reserve(p->comm, -p->reserved);
    mt_free(p->ctx, p->slot);
    mt_free(p->ctx, p);
}
