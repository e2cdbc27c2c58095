/* exec.c -- binds a graph to a device and runs its steps; the kinds fwd and bwd. */
#define _POSIX_C_SOURCE 200809L
#include "graph/exec.h"

#include "base/clock.h"
#include "base/ctx.h"
#include "base/trace.h"
#include "device/buf.h"
#include "device/cast.h"
#include "device/dev.h"
#include "graph/update.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAP_S    200e-6   /* shorter naps are mostly the kernel's own time */
#define CREDIT_S 0.05     /* of time that a slow device has lost already, at most */

void mt_exec_micro(const struct mt_exec *x, int64_t rows, int m, int64_t *lo, int64_t *hi)
{
    *lo = rows * m / x->micros;
    *hi = rows * (m + 1) / x->micros;
}

/* The tensor of an item of a step, with `rows` samples if it is batched. */
static struct mt_tensor item_tensor(const struct mt_exec *x, const struct mt_step *s,
                                    enum mt_item_kind kind, int id, struct mt_spec spec,
                                    int64_t rows)
{
    const struct mt_placed *p = mt_plan_find(x->plan, mt_step_item(x->graph, s, kind, id));
    struct mt_tensor t = {.spec = spec};

    if (spec.batched) {
        t.spec.dim[0] = rows;
    }
    if (p != NULL && p->arena >= 0) {
        t.buf = x->arena[p->arena];
        t.off = p->off / (uint64_t)mt_dtype_bytes(spec.dtype);
    }
    return t;
}

static struct mt_tensor value_tensor(const struct mt_exec *x, const struct mt_step *s, int value,
                                     int64_t first, int64_t rows)
{
    const struct mt_value *v = &x->graph->value[value];
    struct mt_tensor t = item_tensor(x, s, MT_ITEM_VALUE, v->root, v->spec, rows);

    if (v->root == x->graph->x || v->root == x->graph->y) {
        const struct mt_tensor *from = v->root == x->graph->x ? &x->batch.x : &x->batch.y;

        t.buf = from->buf;
        t.off = from->off + (uint64_t)(first * mt_spec_inner(&v->spec));
    }
    return t;
}

static struct mt_tensor grad_tensor(const struct mt_exec *x, const struct mt_step *s, int value,
                                    int64_t rows)
{
    const struct mt_value *v = &x->graph->value[value];
    struct mt_spec spec = v->spec;

    spec.dtype = v->grad_dtype;
    return item_tensor(x, s, MT_ITEM_GRAD, v->grad, spec, rows);
}

static struct mt_tensor flat_tensor(struct mt_buf *buf, const struct mt_gparam *p)
{
    struct mt_tensor t = {.spec = p->desc.spec, .buf = buf, .off = p->range.lo};

    return t;
}

/* The weights of a parameter as node n reads them: where only some layers store narrower values,
 * the others read the master weights. */
static struct mt_tensor weight_tensor(const struct mt_exec *x, const struct mt_node *n,
                                      const struct mt_gparam *p)
{
    enum mt_dtype storage = mt_node_storage(n);
    struct mt_tensor t = flat_tensor(storage == MT_F32 ? x->store->param : x->store->work, p);

    t.spec.dtype = storage;
    return t;
}

/* Scratch lives for one call: forward and the calls of backward have one each, or the forward one
 * would be held until backward. */
static int scratch_id(const struct mt_step *s)
{
    return s->node * MT_SCRATCHES + (int)s->want;
}

/* Arguments of node s->node for samples [lo, hi) of the call. */
static void fill_io(const struct mt_exec *x, const struct mt_step *s, int64_t lo, int64_t hi,
                    struct mt_io *io)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];
    const struct mt_node *n = &gn->n;
    int64_t rows = hi - lo;
    int forward = s->kind == &mt_step_fwd;

    memset(io, 0, sizeof *io);
    io->dev = x->dev;
    io->mode = x->mode;
    io->seed = x->seed;
    io->step = x->batch.step;
    io->first = x->batch.first + lo;
    io->again = forward && s->again;
    io->want = s->want;
    io->acc_in = s->acc_in;
    io->acc_param = s->acc_param;
    for (int i = 0; i < n->nin; i++) {
        io->in[i] = value_tensor(x, s, gn->in[i], lo, rows);
        if (!forward && !(n->keep & MT_KEEP_IN)) {
            io->in[i].buf = NULL;   /* its memory may hold something else by now */
        }
        if (x->graph->value[gn->in[i]].needs_grad) {
            io->din[i] = grad_tensor(x, s, gn->in[i], rows);
        }
    }
    for (int i = 0; i < n->nout; i++) {
        io->out[i] = value_tensor(x, s, gn->out[i], lo, rows);
        if (!forward && !(n->keep & MT_KEEP_OUT)) {
            io->out[i].buf = NULL;
        }
        io->dout[i] = grad_tensor(x, s, gn->out[i], rows);
    }
    for (int i = 0; i < n->nparam; i++) {
        io->param[i] = weight_tensor(x, n, &x->graph->param[gn->param[i]]);
        io->dparam[i] = flat_tensor(x->store->grad, &x->graph->param[gn->param[i]]);
    }
    for (int i = 0; i < n->nstate; i++) {
        io->state[i] = flat_tensor(x->store->state, &x->graph->state[gn->state[i]]);
    }
    for (int i = 0; i < n->nsaved; i++) {
        io->saved[i] = item_tensor(x, s, MT_ITEM_SAVED, s->node * MT_MAXPARAM + i, n->saved[i],
                                   rows);
    }
    if (forward && n->adds) {
        io->residual = value_tensor(x, s, gn->residual, lo, rows);
    }
    io->loss_scale = (struct mt_tensor){.buf = x->store->scalar, .off = MT_SCALAR_LOSS_SCALE};
    if (n->scratch_bytes > 0) {
        struct mt_spec bytes = mt_spec_new(MT_F32, 0, 1, &(int64_t){n->scratch_bytes / 4});

        io->scratch = item_tensor(x, s, MT_ITEM_SCRATCH, scratch_id(s), bytes, 0);
    }
}

static void use(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u,
                enum mt_item_kind kind, int id)
{
    u->item[u->n++] = mt_step_item(g, s, kind, id);
}

static void use_common(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u)
{
    const struct mt_gnode *gn = &g->node[s->node];

    for (int i = 0; i < gn->n.nsaved; i++) {
        use(g, s, u, MT_ITEM_SAVED, s->node * MT_MAXPARAM + i);
    }
    if (gn->n.scratch_bytes > 0) {
        use(g, s, u, MT_ITEM_SCRATCH, scratch_id(s));
    }
}

static void fwd_uses(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u)
{
    const struct mt_gnode *gn = &g->node[s->node];

    for (int i = 0; i < gn->n.nin; i++) {
        use(g, s, u, MT_ITEM_VALUE, g->value[gn->in[i]].root);
    }
    for (int i = 0; i < gn->n.nout; i++) {
        use(g, s, u, MT_ITEM_VALUE, g->value[gn->out[i]].root);
    }
    if (gn->n.adds) {
        use(g, s, u, MT_ITEM_VALUE, g->value[gn->residual].root);
    }
    use_common(g, s, u);
}

static void bwd_uses(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u)
{
    const struct mt_gnode *gn = &g->node[s->node];
    const struct mt_op *op = gn->n.op;

    for (int i = 0; i < gn->n.nin; i++) {
        const struct mt_value *v = &g->value[gn->in[i]];

        if (gn->n.keep & MT_KEEP_IN) {
            use(g, s, u, MT_ITEM_VALUE, v->root);
        }
        if (v->needs_grad && (s->want & MT_WANT_DATA)) {
            use(g, s, u, MT_ITEM_GRAD, v->grad);
        }
    }
    for (int i = 0; i < gn->n.nout; i++) {
        const struct mt_value *v = &g->value[gn->out[i]];

        if (gn->n.keep & MT_KEEP_OUT) {
            use(g, s, u, MT_ITEM_VALUE, v->root);
        }
        if (!(op->flags & MT_OP_LOSS)) {
            use(g, s, u, MT_ITEM_GRAD, v->grad);
        }
    }
    use_common(g, s, u);
}

/* t: an item of the plan, which has whole words. */
static int zero_tensor(const struct mt_tensor *t)
{
    uint64_t bytes = (mt_spec_bytes(&t->spec) + 3) / 4 * 4;

    return mt_buf_fill(t->buf, t->off * (uint64_t)mt_dtype_bytes(t->spec.dtype), bytes, 0);
}

/* Results that are no samples (statistics) are zero where there are no samples. */
static int zero_outputs(struct mt_exec *x, const struct mt_step *s)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];

    for (int i = 0; i < gn->n.nout; i++) {
        if (!gn->n.out[i].batched) {
            struct mt_tensor t = value_tensor(x, s, gn->out[i], 0, 0);

            MT_TRY(zero_tensor(&t));
        }
    }
    return MOTLEY_OK;
}

static int run_fwd(struct mt_exec *x, const struct mt_step *s)
{
    const struct mt_node *n = &x->graph->node[s->node].n;
    struct mt_io io;
    int64_t lo, hi;

    mt_exec_micro(x, x->batch.rows, s->micro, &lo, &hi);
    if (lo == hi) {
        return zero_outputs(x, s);
    }
    fill_io(x, s, lo, hi, &io);
    return n->op->fwd(n, &io);
}

/* A process without samples contributes gradients of zero: of parameters, and of values that are
 * no samples. */
static int zero_gradients(struct mt_exec *x, const struct mt_step *s)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];

    for (int i = 0; i < gn->n.nin && (s->want & MT_WANT_DATA); i++) {
        const struct mt_value *v = &x->graph->value[gn->in[i]];

        if (v->needs_grad && !v->spec.batched && !(s->acc_in >> i & 1u)) {
            struct mt_tensor t = grad_tensor(x, s, gn->in[i], 0);

            MT_TRY(zero_tensor(&t));
        }
    }

    for (int i = 0; i < gn->n.nparam && (s->want & MT_WANT_PARAM); i++) {
        const struct mt_range *r = &x->graph->param[gn->param[i]].range;

        if (!(s->acc_param >> i & 1u)) {
            MT_TRY(mt_buf_fill(x->store->grad, r->lo * 4, (r->hi - r->lo) * 4, 0));
        }
    }
    return MOTLEY_OK;
}

static int run_bwd(struct mt_exec *x, const struct mt_step *s)
{
    const struct mt_node *n = &x->graph->node[s->node].n;
    struct mt_io io;
    int64_t lo, hi;

    mt_exec_micro(x, x->batch.rows, s->micro, &lo, &hi);
    if (lo == hi) {
        return zero_gradients(x, s);
    }
    fill_io(x, s, lo, hi, &io);
    return n->op->bwd(n, &io);
}

const struct mt_step_kind mt_step_fwd = {.name = "fwd", .run = run_fwd, .uses = fwd_uses,
                                       .computes = 1};
const struct mt_step_kind mt_step_bwd = {.name = "bwd", .run = run_bwd, .uses = bwd_uses,
                                       .computes = 1};

/* MOTLEY_DEBUG=nan: reads back what a step wrote and names the first that is not finite. */
static int check_finite(struct mt_exec *x, const struct mt_step *s)
{
    const struct mt_gnode *gn = s->node >= 0 ? &x->graph->node[s->node] : NULL;
    int64_t lo, hi;

    if (s->kind != &mt_step_fwd) {
        return MOTLEY_OK;
    }
    mt_exec_micro(x, x->batch.rows, s->micro, &lo, &hi);
    for (int o = 0; o < gn->n.nout && lo < hi; o++) {
        struct mt_tensor t = value_tensor(x, s, gn->out[o], lo, hi - lo);
        int64_t count = mt_spec_count(&t.spec);
        float *host = NULL;
        int st = MOTLEY_OK;

        MT_TRY(MT_NEW_N(x->ctx, count + 1, &host));
        MT_TRY_OR(end, mt_cast_read(x->ctx, &t, host));
        for (int64_t i = 0; i < count; i++) {
            MT_CHECK_OR(end, isfinite(host[i]), MOTLEY_ENUM,
                        "layer %s: element %" PRId64 " of its output is %g in step %" PRId64,
                        gn->n.name, i, (double)host[i], x->batch.step);
        }
    end:
        mt_free(x->ctx, host);
        MT_TRY(st);
    }
    return MOTLEY_OK;
}

static int nap(struct mt_exec *x, double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};

    (void)x;
    nanosleep(&t, NULL);   /* cut short by a signal: the rest is still owed */
    return MOTLEY_OK;
}

/* Makes the work since the last call take slow times as long, without using the processor for it:
 * other ranks may compute on it. A device that is one thread of the processor works only while it
 * has it: what it waited for it in favour of other ranks is no work, and counts as idle. What is
 * owed is collected until a nap is worth it, and what a nap is too long is taken off the next. */
int mt_exec_settle(struct mt_exec *x)
{
    const struct mt_dev_info *d = mt_dev_info(x->dev);
    int64_t from = x->slow_since, to;
    double took, work;

    if (from == 0) {
        return MOTLEY_OK;
    }
    x->slow_since = 0;
    MT_TRY(mt_dev_finish(x->dev));
    to = mt_trace_now();
    took = 1e-9 * (double)(to - from);
    work = d->type == MT_DEV_CPU && d->units == 1 ? mt_clock_process() - x->slow_spent : took;
    x->owed += x->slow * (work < took ? work : took) - took;
    if (x->owed > NAP_S) {
        MT_TRY(x->idle(x, x->owed));
        x->owed -= 1e-9 * (double)(mt_trace_now() - to);
    } else if (x->owed < -CREDIT_S) {
        x->owed = -CREDIT_S;
    }
    return MOTLEY_OK;
}

/* Stretches of steps that compute end before one that does not: what it sends was late, too. */
int mt_exec_step(struct mt_exec *x, const struct mt_step *s)
{
    if (!s->kind->computes) {
        double from;

        MT_TRY(mt_exec_settle(x));
        from = mt_clock_thread();
        MT_TRY(s->kind->run(x, s));
        x->talked += mt_clock_thread() - from;
        return MOTLEY_OK;
    }
    if (x->slow > 1 && x->batch.step >= x->slow_from && x->slow_since == 0) {
        x->slow_spent = mt_clock_process();
        x->slow_since = mt_trace_now();
    }
    return s->kind->run(x, s);
}

double mt_exec_talked(struct mt_exec *x)
{
    double t = x->talked;

    x->talked = 0;
    return t;
}

/* One step, with its place in the timeline. */
static int run_traced(struct mt_exec *x, const struct mt_step *s)
{
    int64_t from = mt_trace_now();
    char label[64];

    if (s->node >= 0) {
        snprintf(label, sizeof label, "%s %s", s->kind->name, x->graph->node[s->node].n.name);
    } else if (s->ticket >= 0) {
        snprintf(label, sizeof label, "%s %d", s->kind->name, s->ticket);
    } else {
        snprintf(label, sizeof label, "%s", s->kind->name);
    }
    mt_trace_label(x->ctx, label);
    MT_TRY(mt_exec_step(x, s));
    mt_trace_add(x->ctx, MT_LANE_HOST, label, NULL, from, mt_trace_now());
    return MOTLEY_OK;
}

/* A whole run lies around its steps. */
static void trace_run(struct mt_exec *x, int64_t from)
{
    char number[32];

    snprintf(number, sizeof number, "step %" PRId64, x->batch.step);
    mt_trace_add(x->ctx, MT_LANE_HOST, x->mode == MT_TRAIN ? "train" : "evaluate", number, from,
                 mt_trace_now());
    mt_trace_label(x->ctx, "");
}

int mt_exec_run(struct mt_exec *x, const struct mt_batch *b)
{
    int64_t from = x->ctx->trace != NULL ? mt_trace_now() : 0;
    int64_t room = x->graph->value[x->graph->x].spec.dim[0] * x->micros;

    MT_BUG_IF(b->rows < 0 || b->rows > room);
    x->batch = *b;
    for (int i = 0; i < x->steps.n; i++) {
        const struct mt_step *s = &x->steps.step[i];

        MT_TRY(x->ctx->trace != NULL ? run_traced(x, s) : mt_exec_step(x, s));
        if (x->check_nan) {
            MT_TRY(check_finite(x, s));
        }
    }
    MT_TRY(mt_exec_settle(x));
    MT_TRY(mt_dev_flush(x->dev));
    if (x->ctx->trace != NULL) {
        trace_run(x, from);
    }
    return MOTLEY_OK;
}

int mt_exec_clear(struct mt_exec *x)
{
    return mt_buf_fill(x->stats.buf, x->stats.off * 4, MT_STATS * 4, 0);
}

struct mt_tensor mt_exec_output(const struct mt_exec *x)
{
    struct mt_step any = {.node = -1};

    return value_tensor(x, &any, x->graph->output, 0, x->batch.rows);
}

/* Takes over what fits of another executor's arenas; returns the bytes still to be allocated. */
static uint64_t borrow_arenas(struct mt_exec *x, const struct mt_exec *from)
{
    uint64_t need = 0;

    for (int a = 0; a < x->plan->narena; a++) {
        if (from != NULL && a < from->narena &&
            mt_buf_bytes(from->arena[a]) >= x->plan->arena_bytes[a]) {
            x->arena[a] = from->arena[a];
            x->borrowed[a] = 1;
        } else {
            need += x->plan->arena_bytes[a];
        }
    }
    return need;
}

static int alloc_arenas(struct mt_exec *x, const struct mt_exec *share)
{
    const struct mt_dev_info *info = mt_dev_info(x->dev);
    uint64_t have = mt_dev_allocated_bytes(x->dev), need = borrow_arenas(x, share);
    char what[32];

    MT_CHECK(info->memory_bytes == 0 || have + need <= info->memory_bytes, MOTLEY_EDEV,
             "device %s has %" PRIu64 " MiB (%s); parameters and buffers take %" PRIu64
             " MiB, and a step of %" PRId64 " samples needs %" PRIu64
             " MiB more; lower train.batch or raise train.micro_batches",
             info->name, info->memory_bytes >> 20, mt_dev_memory_word(info), have >> 20,
             x->graph->value[x->graph->x].spec.dim[0], need >> 20);
    for (int a = 0; a < x->plan->narena; a++) {
        x->narena++;
        if (x->borrowed[a]) {
            continue;
        }
        snprintf(what, sizeof what, "arena %d", a);
        MT_TRY(mt_buf_new(x->dev, x->plan->arena_bytes[a], what, &x->arena[a]));
        if (mt_env_has(&x->ctx->env, MT_ENV_DEBUG, "guard")) {
            MT_TRY(mt_buf_fill(x->arena[a], 0, x->plan->arena_bytes[a], 0x7fc00000u));
        }
    }
    return MOTLEY_OK;
}

int mt_exec_new(struct mt_dev *dev, struct mt_graph *g, struct mt_store *store,
                const struct mt_exec_opt *opt, struct mt_steps *steps, struct mt_exec **out)
{
    struct mt_plan_opt plan = {.max_alloc = mt_dev_info(dev)->max_alloc_bytes,
                               .hold = opt->hold_output ? g->value[g->output].root : -1,
                               .micros = opt->micros};
    struct mt_exec *x = NULL;
    int st;

    MT_BUG_IF(opt->hold_output && opt->micros != 1);
    MT_TRY(MT_NEW(g->ctx, &x));
    x->ctx = g->ctx;
    x->dev = dev;
    x->graph = g;
    x->store = store;
    x->optim = opt->optim;
    x->mode = opt->mode;
    x->seed = opt->seed;
    x->clip_norm = opt->clip_norm;
    x->micros = opt->micros;
    x->slow = opt->slow;
    x->slow_from = opt->slow_from;
    x->idle = nap;
    x->check_nan = mt_env_has(&g->ctx->env, MT_ENV_DEBUG, "nan");
    x->steps = *steps;
    memset(steps, 0, sizeof *steps);
    if (!g->bound) {
        MT_TRY_OR(fail, mt_graph_bind(g, dev));
    }
    MT_TRY_OR(fail, mt_plan_new(g, &x->steps, &plan, &x->plan));
    MT_TRY_OR(fail, alloc_arenas(x, opt->share));
    MT_TRY_OR(fail, mt_update_bind(x));
    *out = x;
    return MOTLEY_OK;
fail:
    mt_exec_free(x);
    return st;
}

void mt_exec_free(struct mt_exec *x)
{
    if (x == NULL) {
        return;
    }
    mt_update_unbind(x);
    for (int a = x->narena - 1; a >= 0; a--) {
        if (!x->borrowed[a]) {
            mt_buf_free(x->arena[a]);
        }
    }
    mt_plan_free(x->plan);
    mt_steps_fini(&x->steps);
    mt_free(x->ctx, x);
}
