/* dp.c -- gradients summed among the ranks that hold them, while backward still runs.
 *
 *     bwd linear3 | reduce bucket 0 | bwd linear2 | bwd linear1 | reduce bucket 1
 *     | wait 0, scale, update 0 | wait 1, update 1               without clipping
 *     | wait 0, wait 1, norm, scale, update                      with clipping
 *
 * Gradients are sums over samples, and the statistics (loss, count, hits) travel with them: the
 * division by the global count happens once, on the device, so any uneven share, even an empty
 * one, gives what one process would compute, up to the order of a sum.
 *
 * `reduce` only opens a window on a bucket (bucket.c); messages begin when the device has got
 * there, and that is looked at in later steps that communicate: steps between only enqueue work
 * and take no time. Buckets begin in their order on all ranks.
 *
 * As bf16 gradients travel only; the statistics then have a bucket of their own, the first, so that
 * loss, count and hits are those of fp32.
 *
 * With clipping, ranks that do not hold everything each take the norm of the parameters they
 * stand for, and the partial sums of squares are one more bucket, the last.
 *
 * A rank that is left out gets the statistics of the others in host memory: its device, whose
 * processors may be those of another rank, is asked for nothing. */
#include "parallel/par.h"

#include "base/ctx.h"
#include "base/trace.h"
#include "device/buf.h"
#include "device/dev.h"
#include "graph/store.h"
#include "graph/update.h"
#include "parallel/bucket.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FLIGHTS  MT_LANES_COMM   /* sums in flight at the same time, each with its own buffers */

enum bucket_state { IDLE = 0, OPENING, SUMMING };

struct bucket {
    struct mt_range range;        /* of the gradient space, or of the partial sums of the norm */
    const struct mt_group *group;
    int tag, bf16;
    struct mt_window *window;
    float *host;                  /* in its place: numbers that no device has; NULL: the window */
    enum bucket_state state;
    int64_t begun;                /* the sum, if there is a timeline */
};

struct mt_dp {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    struct mt_wire *wire;                /* borrowed */
    struct mt_cuts cuts;
    float *apart;                        /* MT_STATS, of a rank that is left out; NULL: the device
                                            has them */
    int n, ngrad;                        /* buckets; those of gradients */
    struct bucket *bucket;
    struct mt_reduce *flight[FLIGHTS];   /* bucket b takes flight b % FLIGHTS */
    int next;                            /* the bucket whose sum begins next */
    int flying;                          /* sums in flight */
    double flying_since;
    double over_at;                      /* the last gradients were seen on the host; 0: not yet */
    double waited_at;                    /* the last `wait` step was over */
    struct mt_dp_times times;
};

/* ---- progress ----------------------------------------------------------------------------- */

static uint64_t length(const struct bucket *b)
{
    return b->range.hi - b->range.lo;
}

static int open_bucket(struct bucket *b, struct mt_buf *buf)
{
    if (b->host != NULL) {
        memset(b->host, 0, length(b) * sizeof(float));
        return MOTLEY_OK;
    }
    MT_TRY(mt_window_open(b->window, buf, b->range.lo * sizeof(float), length(b) * sizeof(float),
                          MT_WINDOW_READ | MT_WINDOW_WRITE));
    return MOTLEY_OK;
}

static int is_ready(const struct bucket *b, int *ready)
{
    *ready = 1;
    if (b->host == NULL) {
        MT_TRY(mt_window_ready(b->window, ready));
    }
    return MOTLEY_OK;
}

static int close_bucket(const struct bucket *b)
{
    if (b->host == NULL) {
        MT_TRY(mt_window_close(b->window));
    }
    return MOTLEY_OK;
}

static void trace_sum(struct mt_dp *dp, int i)
{
    char name[32], bytes[32];

    snprintf(name, sizeof name, "sum %d", i);
    snprintf(bytes, sizeof bytes, "%" PRIu64 " bytes",
             length(&dp->bucket[i]) * (dp->bucket[i].bf16 ? sizeof(uint16_t) : sizeof(float)));
    mt_trace_add(dp->ctx, (enum mt_lane)(MT_LANE_COMM + i % FLIGHTS), name, bytes,
                 dp->bucket[i].begun, mt_trace_now());
}

/* Gradients have a place in the memory that ranks of a host share, the one of the store. */
static int start_sum(struct mt_dp *dp, int i)
{
    const struct bucket *b = &dp->bucket[i];
    struct mt_sum sum = {.group = b->group, .tag = b->tag, .n = (int64_t)length(b),
                         .data = b->host != NULL ? b->host : mt_window_host(b->window),
                         .bf16 = b->bf16, .placed = i < dp->ngrad,
                         .off = b->range.lo * sizeof *sum.data};

    return mt_reduce_start(dp->flight[i % FLIGHTS], &sum);
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
        MT_TRY(is_ready(b, &ready));
        if (!ready) {
            break;
        }
        b->begun = dp->ctx->trace != NULL ? mt_trace_now() : 0;
        MT_TRY(start_sum(dp, dp->next));
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
    const struct bucket *last = &dp->bucket[dp->ngrad - 1];
    int ready = dp->next >= dp->ngrad;

    if (!ready && last->state == OPENING) {
        MT_TRY(is_ready(last, &ready));
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
            MT_TRY(close_bucket(b));
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
    if (dp->flying == 0 && dp->next < dp->n && dp->bucket[dp->next].state == OPENING) {
        *peer = MT_WIRE_OWN;
    }
    return MOTLEY_OK;
}

/* ---- steps -------------------------------------------------------------------------------- */

static int run_reduce(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_par *par = x->pass;
    struct mt_dp *dp = par->dp;
    struct bucket *b = &dp->bucket[s->ticket];
    struct mt_buf *buf = s->ticket < dp->ngrad ? x->store->grad : x->partial;

    MT_BUG_IF(b->state != IDLE);
    if (s->ticket == 0) {
        dp->next = 0;
        dp->over_at = 0;
    }
    MT_TRY(open_bucket(b, buf));
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
    dp->waited_at = now = mt_comm_clock();
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

const float *mt_dp_apart(const struct mt_dp *dp)
{
    return dp->apart;
}

struct mt_dp_clock mt_dp_clock(const struct mt_dp *dp)
{
    return (struct mt_dp_clock){dp->over_at, dp->waited_at};
}

/* ---- the pass ----------------------------------------------------------------------------- */

static int add_step(struct mt_steps *out, const struct mt_step_kind *kind, struct mt_range range,
                    int ticket)
{
    struct mt_step s = {.kind = kind, .node = -1, .micro = -1, .range = range, .ticket = ticket};

    MT_TRY(mt_steps_add(out, &s));
    return MOTLEY_OK;
}

/* Parameters that nobody else has, and those in pieces: updated when all sums are there. */
static int update_rest(const struct mt_dp *dp, int alone, struct mt_steps *out)
{
    struct mt_range r = {0, 0};

    for (int i = 0; i < dp->cuts.nsegment; i++) {
        const struct mt_segment *s = &dp->cuts.segment[i];
        int take = alone ? s->group.n == 1 && s->alike
                         : !s->alike;

        if (take) {
            struct mt_range whole = {s->range.lo / MT_FLAT_ALIGN * MT_FLAT_ALIGN,
                                     (s->range.hi + MT_FLAT_ALIGN - 1) / MT_FLAT_ALIGN *
                                         MT_FLAT_ALIGN};

            /* Pieces of one parameter meet inside a block. */
            whole.lo = whole.lo < r.hi ? r.hi : whole.lo;
            if (whole.hi > whole.lo) {
                MT_TRY(add_step(out, &mt_step_update, whole, -1));
                r = whole;
            }
        }
    }
    return MOTLEY_OK;
}

/* Without clipping, each part is updated as soon as it is there. The scale needs the statistics
 * alone, which come first. */
static int tail_at_once(const struct mt_dp *dp, const struct mt_graph *g, struct mt_steps *out)
{
    for (int b = 0; b < dp->n; b++) {
        const struct mt_cut *c = &dp->cuts.cut[b];
        struct mt_range r = c->range;

        MT_TRY(add_step(out, &mt_step_wait, r, b));
        if (b == 0 && dp->apart == NULL) {
            MT_TRY(add_step(out, &mt_step_scale, (struct mt_range){0, 0}, -1));
            MT_TRY(update_rest(dp, 1, out));
            r.hi = g->param_size;
        }
        if (c->update && r.hi > r.lo) {
            MT_TRY(add_step(out, &mt_step_update, r, -1));
        }
    }
    return update_rest(dp, 0, out);
}

/* The norm of what this rank stands for; then the sum over all. */
static int add_norm(const struct mt_dp *dp, struct mt_steps *out)
{
    struct mt_step s = {.kind = &mt_step_norm, .node = -1, .micro = -1, .ticket = -1};
    struct mt_range none = {0, MT_NORM_PARTS};
    int added = 0;

    for (int i = 0; i < dp->cuts.nsegment; i++) {
        if (dp->cuts.segment[i].mine) {
            s.range = dp->cuts.segment[i].range;
            s.acc_in = added++ > 0;
            MT_TRY(mt_steps_add(out, &s));
        }
    }
    if (added == 0) {
        s.range = (struct mt_range){0, 0};   /* clears the partial sums */
        MT_TRY(mt_steps_add(out, &s));
    }
    MT_TRY(add_step(out, &mt_step_reduce, none, dp->ngrad));
    return add_step(out, &mt_step_wait, none, dp->ngrad);
}

/* tail: position of the first step of mt_order_tail. */
static int tail_with_norm(const struct mt_dp *dp, const struct mt_steps *steps, int tail,
                          struct mt_steps *out)
{
    for (int b = 0; b < dp->ngrad; b++) {
        MT_TRY(add_step(out, &mt_step_wait, dp->cuts.cut[b].range, b));
    }
    if (!dp->cuts.alike) {
        MT_TRY(add_norm(dp, out));
        tail++;   /* the norm of one that has all */
    }
    for (int i = tail; i < steps->n; i++) {
        MT_TRY(mt_steps_add(out, &steps->step[i]));
    }
    return MOTLEY_OK;
}

static int is_tail(const struct mt_step *s)
{
    return s->kind == &mt_step_norm || s->kind == &mt_step_scale || s->kind == &mt_step_update;
}

static int edit(const struct mt_dp *dp, const struct mt_graph *g, struct mt_steps *steps,
                int clip)
{
    struct mt_steps out = {.ctx = steps->ctx};
    int i = 0, b = 0, st;

    for (;; i++) {
        int tail = i == steps->n || is_tail(&steps->step[i]);

        for (; b < dp->ngrad && (tail || dp->cuts.cut[b].after < i); b++) {
            MT_TRY_OR(fail, add_step(&out, &mt_step_reduce, dp->cuts.cut[b].range, b));
        }
        if (tail) {
            break;
        }
        MT_TRY_OR(fail, mt_steps_add(&out, &steps->step[i]));
    }
    MT_TRY_OR(fail, clip ? tail_with_norm(dp, steps, i, &out) : tail_at_once(dp, g, &out));
    mt_steps_fini(steps);
    *steps = out;
    return MOTLEY_OK;
fail:
    mt_steps_fini(&out);
    return st;
}

static int make_buckets(struct mt_dp *dp, const struct mt_dp_opt *opt)
{
    dp->ngrad = dp->cuts.n;
    dp->n = dp->ngrad + (opt->clip && !dp->cuts.alike);
    MT_TRY(MT_NEW_N(dp->ctx, dp->n, &dp->bucket));
    for (int b = 0; b < dp->ngrad; b++) {
        const struct mt_cut *c = &dp->cuts.cut[b];

        dp->bucket[b] = (struct bucket){.range = c->range, .group = c->group, .tag = c->tag,
                                        .bf16 = opt->bf16 && !c->exact};
    }
    if (dp->n > dp->ngrad) {
        dp->bucket[dp->ngrad] = (struct bucket){.range = {0, MT_NORM_PARTS},
                                                .tag = MT_TAGS_BUCKETS};
    }
    if (opt->apart) {
        MT_BUG_IF(dp->n != 1 || length(&dp->bucket[0]) != MT_STATS);
        MT_TRY(MT_NEW_N(dp->ctx, MT_STATS, &dp->apart));
        dp->bucket[0].host = dp->apart;
    }
    for (int b = 0; b < dp->n && !opt->apart; b++) {
        MT_TRY(mt_window_new(dp->dev, length(&dp->bucket[b]) * sizeof(float),
                             "gradients on their way", &dp->bucket[b].window));
    }
    return MOTLEY_OK;
}

static int make_flights(struct mt_dp *dp, struct mt_comm *comm, const struct mt_share *share)
{
    for (int f = 0; f < FLIGHTS && f < dp->n; f++) {
        uint64_t longest = 0;
        int most = 1, bf16 = 0;

        for (int b = f; b < dp->n; b += FLIGHTS) {
            const struct mt_group *group = dp->bucket[b].group;
            int n = group != NULL ? group->n : mt_comm_info(comm)->size;

            longest = length(&dp->bucket[b]) > longest ? length(&dp->bucket[b]) : longest;
            most = n > most ? n : most;
            bf16 |= dp->bucket[b].bf16;
        }
        MT_TRY(mt_reduce_new(dp->ctx, comm, most, (int64_t)longest, bf16, &dp->flight[f]));
        if (share != NULL) {
            MT_TRY(mt_reduce_beside(dp->flight[f], share));
        }
    }
    return MOTLEY_OK;
}

int mt_dp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_dp_opt *opt, struct mt_steps *steps,
              struct mt_dp **out)
{
    uint64_t most = (uint64_t)opt->bucket_bytes / sizeof(float) / MT_FLAT_ALIGN * MT_FLAT_ALIGN;
    const struct mt_comm_info *info = mt_comm_info(comm);
    struct mt_dp *dp = NULL;
    int st;

    MT_CHECK(opt->bucket_bytes > 0, MOTLEY_EARG, "gradient bucket of %" PRId64 " bytes",
             opt->bucket_bytes);
    MT_TRY(MT_NEW(g->ctx, &dp));
    dp->ctx = g->ctx;
    dp->dev = dev;
    dp->wire = wire;
    MT_TRY_OR(fail, mt_cuts_init(opt->whole, g, opt->layout, info->rank, info->size, steps,
                                 most > 0 ? most : MT_FLAT_ALIGN, opt->bf16, &dp->cuts));
    MT_TRY_OR(fail, make_buckets(dp, opt));
    MT_TRY_OR(fail, make_flights(dp, comm, opt->share));
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
    for (int b = dp->n - 1; b >= 0 && dp->bucket != NULL; b--) {
        mt_window_free(dp->bucket[b].window);
    }
    mt_free(dp->ctx, dp->bucket);
    mt_free(dp->ctx, dp->apart);
    mt_cuts_fini(&dp->cuts);
    mt_free(dp->ctx, dp);
}
