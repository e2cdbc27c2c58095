/* dp.c -- data parallel: every process has all parameters and its share of the samples; gradients
 * are summed over the processes while backward still runs.
 *
 *     bwd linear3 | reduce bucket 0 | bwd linear2 | bwd linear1 | reduce bucket 1
 *     | wait 0, scale, update 0 | wait 1, update 1               without clipping
 *     | wait 0, wait 1, norm, scale, update                      with clipping
 *
 * Gradients are sums over samples, and the statistics (loss, count, hits) travel with them: the
 * division by the global count happens once, on the device, so any uneven share, even an empty
 * one, gives what one process would compute, up to the order of a sum.
 *
 * A bucket is a range of the flat space. Backward finishes parameters roughly from the end of the
 * flat space to its start, so buckets are cut from the end, between parameters where that fits;
 * the first one holds the statistics. It is complete after the last step that writes any of its
 * gradients. `reduce` only opens a window on it; messages begin when the device has got there,
 * and that is looked at in later `reduce` and `wait` steps: steps between only enqueue work and
 * take no time. Buckets begin in their order on all ranks. */
#include "parallel/par.h"

#include "base/ctx.h"
#include "base/trace.h"
#include "device/buf.h"
#include "device/dev.h"
#include "graph/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FLIGHTS  MT_LANES_COMM   /* sums in flight at the same time, each with its own buffers */

enum bucket_state { IDLE = 0, OPENING, SUMMING };

struct bucket {
    struct mt_range range;        /* of the gradient space; the first: with the statistics */
    int after;                    /* position of the last step that writes it */
    struct mt_window *window;
    enum bucket_state state;
    int64_t begun;                /* the sum, if there is a timeline */
};

struct mt_dp {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_wire *wire;                /* borrowed */
    int n;
    struct bucket *bucket;
    struct mt_reduce *flight[FLIGHTS];   /* bucket b takes flight b % FLIGHTS */
    int next;                            /* the bucket whose sum begins next */
    int flying;                          /* sums in flight */
    double flying_since;
    double over_at;                      /* the last gradients were seen on the host; 0: not yet */
    struct mt_dp_times times;
};

/* ---- progress ----------------------------------------------------------------------------- */

static uint64_t length(const struct bucket *b)
{
    return b->range.hi - b->range.lo;
}

static void trace_sum(struct mt_dp *dp, int i)
{
    char name[32], bytes[32];

    snprintf(name, sizeof name, "sum %d", i);
    snprintf(bytes, sizeof bytes, "%" PRIu64 " bytes", length(&dp->bucket[i]) * sizeof(float));
    mt_trace_add(dp->ctx, (enum mt_lane)(MT_LANE_COMM + i % FLIGHTS), name, bytes,
                 dp->bucket[i].begun, mt_trace_now());
}

/* The sums begin in the order of the buckets, on every rank the same; a flight is taken again
 * when the bucket before on it is done. */
static int begin_sums(struct mt_dp *dp)
{
    while (dp->next < dp->n && dp->bucket[dp->next].state == OPENING) {
        struct bucket *b = &dp->bucket[dp->next];
        int ready = 0;

        if (dp->next >= FLIGHTS && dp->bucket[dp->next - FLIGHTS].state != IDLE) {
            break;
        }
        MT_TRY(mt_window_ready(b->window, &ready));
        if (!ready) {
            break;
        }
        b->begun = dp->ctx->trace != NULL ? mt_trace_now() : 0;
        MT_TRY(mt_reduce_start(dp->flight[dp->next % FLIGHTS], NULL, dp->next % MT_DP_TAGS,
                               mt_window_host(b->window), (int64_t)length(b)));
        b->state = SUMMING;
        if (dp->flying++ == 0) {
            dp->flying_since = mt_comm_clock();
        }
        dp->next++;
    }
    return MOTLEY_OK;
}

/* Whether backward is over on the device: the last bucket is complete. */
static int look_for_end(struct mt_dp *dp)
{
    const struct bucket *last = &dp->bucket[dp->n - 1];
    int ready = dp->next == dp->n;

    if (!ready && last->state == OPENING) {
        MT_TRY(mt_window_ready(last->window, &ready));
    }
    if (ready) {
        dp->over_at = mt_comm_clock();
    }
    return MOTLEY_OK;
}

static int progress(void *arg, int *peer)
{
    struct mt_dp *dp = arg;

    MT_TRY(begin_sums(dp));
    if (dp->over_at <= 0) {
        MT_TRY(look_for_end(dp));
    }
    for (int i = dp->next > FLIGHTS ? dp->next - FLIGHTS : 0; i < dp->next; i++) {
        struct bucket *b = &dp->bucket[i];
        int done = 0;

        if (b->state != SUMMING) {
            continue;
        }
        MT_TRY(mt_reduce_test(dp->flight[i % FLIGHTS], &done));
        if (done) {
            MT_TRY(mt_window_close(b->window));
            b->state = IDLE;
            if (--dp->flying == 0) {
                dp->times.flight += mt_comm_clock() - dp->flying_since;
            }
            if (dp->ctx->trace != NULL) {
                trace_sum(dp, i);
            }
        } else if (*peer < 0) {
            *peer = mt_reduce_peer(dp->flight[i % FLIGHTS]);
        }
    }
    return MOTLEY_OK;
}

/* ---- steps -------------------------------------------------------------------------------- */

static int run_reduce(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_par *par = x->pass;
    struct mt_dp *dp = par->dp;
    struct bucket *b = &dp->bucket[s->ticket];

    MT_BUG_IF(b->state != IDLE);
    if (s->ticket == 0) {
        dp->next = 0;
        dp->over_at = 0;
    }
    MT_TRY(mt_window_open(b->window, x->store->grad, b->range.lo * sizeof(float),
                          length(b) * sizeof(float), MT_WINDOW_READ | MT_WINDOW_WRITE));
    b->state = OPENING;
    MT_TRY(mt_dev_flush(dp->dev));
    MT_TRY(mt_wire_progress(dp->wire));
    return MOTLEY_OK;
}

static int is_idle(const void *bucket)
{
    return ((const struct bucket *)bucket)->state == IDLE;
}

static int run_wait(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_par *par = x->pass;
    struct mt_dp *dp = par->dp;
    double begun = mt_comm_clock(), now;

    MT_TRY(mt_wire_wait(dp->wire, is_idle, &dp->bucket[s->ticket]));
    now = mt_comm_clock();
    if (dp->over_at > 0 && now > dp->over_at) {
        dp->times.exposed += now - (dp->over_at > begun ? dp->over_at : begun);
    }
    return MOTLEY_OK;
}

const struct mt_step_kind mt_step_reduce = {.name = "reduce", .run = run_reduce};
const struct mt_step_kind mt_step_wait = {.name = "wait", .run = run_wait};

struct mt_dp_times mt_dp_times(struct mt_dp *dp)
{
    struct mt_dp_times t = dp->times;

    memset(&dp->times, 0, sizeof dp->times);
    return t;
}

/* ---- the pass ----------------------------------------------------------------------------- */

/* Position of the last step that writes the gradient of each parameter, and of the statistics
 * (behind them); -1: none. */
static void last_writers(const struct mt_graph *g, const struct mt_steps *steps, int *after)
{
    for (int i = 0; i <= g->nparam; i++) {
        after[i] = -1;
    }
    for (int i = 0; i < steps->n; i++) {
        const struct mt_step *s = &steps->step[i];

        if (s->kind == &mt_step_bwd && (s->want & MT_WANT_PARAM)) {
            const struct mt_gnode *gn = &g->node[s->node];

            for (int p = 0; p < gn->n.nparam; p++) {
                after[gn->param[p]] = i;
            }
        } else if (s->kind == &mt_step_stats) {
            after[g->nparam] = i;
        }
    }
}

/* Where the parameter that holds element hi - 1 begins. */
static uint64_t border_below(const struct mt_graph *g, uint64_t hi)
{
    uint64_t border = 0;

    for (int i = 0; i < g->nparam; i++) {
        uint64_t lo = g->param[i].range.lo;

        border = lo < hi && lo > border ? lo : border;
    }
    return border;
}

/* The bucket that ends at hi: whole parameters while they fit, else a piece of one. */
static uint64_t cut_below(const struct mt_graph *g, uint64_t hi, uint64_t most)
{
    uint64_t lo = border_below(g, hi);

    if (hi - lo > most) {
        return hi - most;
    }
    while (lo > 0) {
        uint64_t border = border_below(g, lo);

        if (hi - border > most) {
            break;
        }
        lo = border;
    }
    return lo;
}

static int cut(struct mt_dp *dp, const struct mt_graph *g, const struct mt_steps *steps,
               uint64_t most)
{
    uint64_t hi = g->param_size;
    int *after = NULL, room = 0, st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(dp->ctx, g->nparam + 1, &after));
    last_writers(g, steps, after);
    do {
        uint64_t lo = hi > 0 ? cut_below(g, hi, most) : 0;
        struct bucket *b;

        if (dp->n == room) {
            room += 32;
            MT_TRY_OR(end, MT_RESIZE(dp->ctx, room, &dp->bucket));
        }
        b = &dp->bucket[dp->n];
        b->range = (struct mt_range){lo, hi + (dp->n == 0 ? MT_STATS : 0)};
        b->after = dp->n == 0 ? after[g->nparam] : -1;
        for (int i = 0; i < g->nparam; i++) {
            const struct mt_range *r = &g->param[i].range;

            if (r->lo < b->range.hi && r->hi > lo && after[i] > b->after) {
                b->after = after[i];
            }
        }
        /* Not before the one in front of it: windows are opened in order. */
        if (dp->n > 0 && b->after < dp->bucket[dp->n - 1].after) {
            b->after = dp->bucket[dp->n - 1].after;
        }
        dp->n++;
        hi = lo;
    } while (hi > 0);
end:
    mt_free(dp->ctx, after);
    return st;
}

static int add_step(struct mt_steps *out, const struct mt_step_kind *kind, struct mt_range range,
                    int ticket)
{
    struct mt_step s = {.kind = kind, .node = -1, .micro = -1, .range = range, .ticket = ticket};

    MT_TRY(mt_steps_add(out, &s));
    return MOTLEY_OK;
}

/* Without clipping, each part is updated as soon as it is there. The scale needs the statistics
 * alone, which come first. */
static int add_tail(const struct mt_dp *dp, const struct mt_graph *g,
                    const struct mt_steps *steps, int from, int clip, struct mt_steps *out)
{
    struct mt_range none = {0, 0};

    for (int b = 0; b < dp->n; b++) {
        MT_TRY(add_step(out, &mt_step_wait, dp->bucket[b].range, b));
        if (!clip) {
            struct mt_range r = dp->bucket[b].range;

            if (b == 0) {
                MT_TRY(add_step(out, &mt_step_scale, none, -1));
                r.hi = g->param_size;
            }
            if (r.hi > r.lo) {
                MT_TRY(add_step(out, &mt_step_update, r, -1));
            }
        }
    }
    for (int i = from; clip && i < steps->n; i++) {
        MT_TRY(mt_steps_add(out, &steps->step[i]));
    }
    return MOTLEY_OK;
}

static int edit(const struct mt_dp *dp, const struct mt_graph *g, struct mt_steps *steps,
                int clip)
{
    struct mt_steps out = {.ctx = steps->ctx};
    int i, b = 0, st;

    for (i = 0; i < steps->n; i++) {
        const struct mt_step *s = &steps->step[i];

        if (s->kind == &mt_step_norm || s->kind == &mt_step_scale ||
            s->kind == &mt_step_update) {
            clip = clip || s->kind == &mt_step_norm;
            break;
        }
        MT_TRY_OR(fail, mt_steps_add(&out, s));
        for (; b < dp->n && dp->bucket[b].after <= i; b++) {
            MT_TRY_OR(fail, add_step(&out, &mt_step_reduce, dp->bucket[b].range, b));
        }
    }
    MT_CHECK_OR(fail, b == dp->n, MOTLEY_EBUG,
                "internal error, please report: %d of %d buckets are written", b, dp->n);
    MT_TRY_OR(fail, add_tail(dp, g, steps, i, clip, &out));
    mt_steps_fini(steps);
    *steps = out;
    return MOTLEY_OK;
fail:
    mt_steps_fini(&out);
    return st;
}

int mt_dp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_dp_opt *opt, struct mt_steps *steps,
              struct mt_dp **out)
{
    uint64_t most = (uint64_t)opt->bucket_bytes / sizeof(float) / MT_FLAT_ALIGN * MT_FLAT_ALIGN;
    struct mt_dp *dp = NULL;
    int st;

    MT_CHECK(opt->bucket_bytes > 0, MOTLEY_EARG, "gradient bucket of %" PRId64 " bytes",
             opt->bucket_bytes);
    MT_TRY(MT_NEW(g->ctx, &dp));
    dp->ctx = g->ctx;
    dp->dev = dev;
    dp->wire = wire;
    MT_TRY_OR(fail, cut(dp, g, steps, most > 0 ? most : MT_FLAT_ALIGN));
    for (int f = 0; f < FLIGHTS && f < dp->n; f++) {
        uint64_t longest = 0;

        for (int b = f; b < dp->n; b += FLIGHTS) {
            longest = length(&dp->bucket[b]) > longest ? length(&dp->bucket[b]) : longest;
        }
        MT_TRY_OR(fail, mt_reduce_new(g->ctx, comm, mt_comm_info(comm)->size, (int64_t)longest,
                                      &dp->flight[f]));
    }
    for (int b = 0; b < dp->n; b++) {
        MT_TRY_OR(fail, mt_window_new(dev, length(&dp->bucket[b]) * sizeof(float),
                                      "gradients on their way", &dp->bucket[b].window));
    }
    MT_TRY_OR(fail, edit(dp, g, steps, opt->clip));
    MT_TRY_OR(fail, mt_wire_join(wire, progress, dp));
    *out = dp;
    return MOTLEY_OK;
fail:
    mt_dp_free(dp);
    return st;
}

void mt_dp_free(struct mt_dp *dp)
{
    if (dp == NULL) {
        return;
    }
    for (int f = FLIGHTS - 1; f >= 0; f--) {
        mt_reduce_free(dp->flight[f]);
    }
    for (int b = dp->n - 1; b >= 0; b--) {
        mt_window_free(dp->bucket[b].window);
    }
    mt_free(dp->ctx, dp->bucket);
    mt_free(dp->ctx, dp);
}
