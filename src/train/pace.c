/* pace.c -- see pace.h.
 *
 * The time of a step of a rank runs from when its first work could begin (all sums of the step
 * before were there) to when its last gradients were seen on the host. Both moments are known
 * without asking the device for anything, and nothing of it is waiting for other ranks. Of the
 * steps since the last look the median counts. A replica of several stages is measured by its
 * first one, which begins a step and is the last to be done with it.
 *
 * Ranks tell each other these times in the small exchange that the loop of training makes anyhow.
 * All decide from the same numbers, so nobody has to be told what was decided. */
#include "train/pace.h"

#include "parallel/balance.h"
#include "train/metric.h"
#include "train/slow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WARM       2      /* steps of new tasks that are not looked at */
#define LEAST      3      /* steps of which a median is taken, at least */
#define KEEP       15     /* ... and at most: the newest */
#define LOOK_STEPS 6.0    /* between two looks */
#define LOOK_S     0.02   /* ... but not oftener than this */
#define MOVE_S     0.02   /* the cost of a move, before one was made */
#define SHOWN      16     /* shares in a line */

struct mt_pace {
    struct mt_session *s;
    struct mt_metric *metric;
    int size, n;                  /* ranks, replicas */
    int moves;                    /* s->moves as far as seen here */
    int64_t batch;                /* rows of a whole batch */
    double made;                  /* clock when training began */
    double begun, marked;         /* of the step; of something else */
    int skip;                     /* steps that are not looked at */
    double took[KEEP];            /* seconds, as in the note; a ring */
    double busy[KEEP];            /* likewise */
    double late;                  /* seconds that peers were waited for, when the step began */
    int64_t steps;                /* looked at since the last look */
    int64_t looked_at;            /* the step of the last look */
    double most, cost;            /* as in the note */
    int *replica;                 /* of each rank; -1: left out */
    struct mt_slow *slow;
    struct mt_balance *balance;   /* NULL: shares do not move */
    struct mt_balance_seen *seen; /* of each replica */
    double *weight;               /* of each replica */
};

static int make_lists(struct mt_pace *p)
{
    struct mt_seat_in seat;

    MT_TRY(MT_NEW_N(p->s->ctx, p->size, &p->replica));
    MT_TRY(MT_NEW_N(p->s->ctx, p->n, &p->seen));
    MT_TRY(MT_NEW_N(p->s->ctx, p->n, &p->weight));
    for (int r = 0; r < p->size; r++) {
        mt_layout_where(p->s->layout, r, &seat);
        p->replica[r] = seat.replica;
    }
    return MOTLEY_OK;
}

/* The part of each replica of a whole batch: at the start, and when shares moved. */
static void take_rows(struct mt_pace *p)
{
    p->moves = p->s->moves;
    for (int i = 0; i < p->n; i++) {
        int64_t lo, hi;

        mt_share(p->batch, p->s->shares, p->n, i, &lo, &hi);
        p->seen[i].rows = hi - lo;
    }
}

int mt_pace_new(struct mt_session *s, struct mt_metric *metric, struct mt_pace **out)
{
    int64_t n = s->data->train->n, most = s->batch;
    struct mt_pace *p = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(s->ctx, &p));
    p->s = s;
    p->metric = metric;
    p->size = s->job->info->size;
    p->n = s->layout->nreplica;
    p->batch = n < s->batch ? n : s->batch;
    p->skip = WARM;
    p->made = mt_comm_clock();
    p->looked_at = s->pos.step;
    p->cost = MOVE_S;
    MT_TRY_OR(fail, make_lists(p));
    take_rows(p);
    if (p->n > 1 && s->config->parallel.rebalance == MT_REBALANCE_AUTO) {
        MT_TRY_OR(fail, mt_session_most_rows(s, &most));
        MT_TRY_OR(fail, mt_balance_new(s->ctx, p->n, p->batch,
                                       s->config->parallel.rebalance_gain, &p->balance));
    }
    p->most = (double)most;
    MT_TRY_OR(fail, mt_slow_new(s, p->replica, p->balance != NULL, &p->slow));
    *out = p;
    return MOTLEY_OK;
fail:
    mt_pace_free(p);
    return st;
}

void mt_pace_free(struct mt_pace *p)
{
    struct mt_ctx *ctx;

    if (p == NULL) {
        return;
    }
    ctx = p->s->ctx;
    mt_balance_free(p->balance);
    mt_free(ctx, p->weight);
    mt_free(ctx, p->seen);
    mt_slow_free(p->slow);
    mt_free(ctx, p->replica);
    mt_free(ctx, p);
}

/* ---- one rank's steps ---------------------------------------------------------------- */

static struct mt_dp *sums_of(const struct mt_pace *p)
{
    return p->s->train.par != NULL ? p->s->train.par->dp : NULL;
}

static double late_of(const struct mt_pace *p)
{
    return p->s->train.par != NULL ? mt_wire_late(p->s->train.par->wire) : 0;
}

void mt_pace_mark(struct mt_pace *p)
{
    p->marked = mt_comm_clock();
}

void mt_pace_begin(struct mt_pace *p)
{
    double waited = sums_of(p) != NULL ? mt_dp_clock(sums_of(p)).waited : 0;

    if (p->moves != p->s->moves) {
        take_rows(p);
        p->steps = 0;
        p->skip = WARM;
    }
    p->begun = waited > p->marked ? waited : p->marked;
    p->late = late_of(p);
}

void mt_pace_end(struct mt_pace *p, int whole)
{
    struct mt_dp *dp = sums_of(p);

    /* What is counted is the same on all ranks, also on those without samples. */
    if (whole && p->skip > 0) {
        p->skip--;
    } else if (whole) {
        struct mt_dp_clock c = {0, mt_comm_clock()};

        c = dp != NULL ? mt_dp_clock(dp) : c;
        p->took[p->steps % KEEP] = dp != NULL ? c.over - p->begun : 0;
        p->busy[p->steps % KEEP] = c.waited - p->begun - (late_of(p) - p->late);
        p->steps++;
    }
    if (dp == NULL) {
        mt_pace_mark(p);
    }
}

double mt_pace_steps(const struct mt_pace *p, double most, double each)
{
    double mine = each * LOOK_STEPS > LOOK_S || each <= 0 ? LOOK_STEPS : LOOK_S / each;

    return p->balance != NULL && mine < most ? mine : most;
}

struct mt_pace_note mt_pace_tell(const struct mt_pace *p)
{
    struct mt_pace_note note = {.most = p->most, .cost = p->cost};
    int n = (int)(p->steps < KEEP ? p->steps : KEEP);
    double v[KEEP];

    memcpy(v, p->took, sizeof v);
    note.seconds = p->s->seat.first == 0 ? mt_slow_median(v, n) : 0;
    memcpy(v, p->busy, sizeof v);
    note.busy = mt_slow_median(v, n);
    return note;
}

/* ---- moving -------------------------------------------------------------------------- */

/* "12:44:44" */
static void add_share(int i, int64_t rows, char *buf, size_t room)
{
    size_t used = strlen(buf);

    if (i <= SHOWN) {
        snprintf(buf + used, room - used, "%s", i > 0 ? ":" : "");
        used = strlen(buf);
        snprintf(buf + used, room - used, i < SHOWN ? "%" PRId64 : "...", rows);
    }
}

static void say_move(struct mt_pace *p, const struct mt_pace_note *all, const int64_t *to)
{
    char old[SHOWN * 12 + 8] = "", new[SHOWN * 12 + 8] = "", a[32], b[32];
    double before, after;

    mt_slow_moving(p->slow, all, p->seen, to);
    for (int i = 0; i < p->n; i++) {
        add_share(i, p->seen[i].rows, old, sizeof old);
        add_share(i, to[i], new, sizeof new);
    }
    mt_balance_times(p->balance, &before, &after);
    if (p->s->job->info->rank == 0) {
        mt_log(p->s->ctx, MT_LOG_INFO, "train", "from step %" PRId64 " on a batch of %" PRId64
               " is shared %s instead of %s: a step is expected to take %s instead of %s",
               p->s->pos.step + 1, p->batch, new, old, mt_slow_time(after, a, sizeof a),
               mt_slow_time(before, b, sizeof b));
    }
}

/* The weights are rows, so a whole batch is divided exactly as was decided. */
static int move(struct mt_pace *p, const struct mt_pace_note *all)
{
    const int64_t *to = mt_balance_to(p->balance);
    struct mt_session *s = p->s;
    double begun = mt_comm_clock();
    int code = MOTLEY_OK, taken = 0;
    char took[32];

    for (int i = 0; i < p->n; i++) {
        p->weight[i] = (double)to[i];
    }
    say_move(p, all, to);
    MT_TRY(mt_session_reshare(s, p->weight, &taken));
    mt_balance_moved(p->balance);
    p->cost = mt_comm_clock() - begun;
    if (s->job->info->rank == 0) {
        mt_log(s->ctx, MT_LOG_INFO, "train", "moving took %s",
               mt_slow_time(p->cost, took, sizeof took));
    }
    if (!taken) {
        /* Somebody cannot hold it; nobody gets more than it has from now on. */
        p->most = s->seat.replica >= 0 ? (double)p->seen[s->seat.replica].rows : p->most;
    } else if (p->metric != NULL) {
        motley_progress now = {.step = s->pos.step, .epoch = s->pos.epoch + 1,
                               .seconds = mt_comm_clock() - p->made};

        code = mt_metric_shares(p->metric, &now, to, p->n);
    }
    return mt_job_agree(s->job, code);
}

/* What is known of each replica: its slowest rank, its smallest memory. Returns the cost of a
 * move. */
static double gather(struct mt_pace *p, const struct mt_pace_note *all)
{
    double cost = 0;

    for (int i = 0; i < p->n; i++) {
        p->seen[i].seconds = 0;
        p->seen[i].most = p->batch;
    }
    for (int r = 0; r < p->size; r++) {
        struct mt_balance_seen *k = p->replica[r] >= 0 ? &p->seen[p->replica[r]] : NULL;

        if (k != NULL) {
            k->seconds = all[r].seconds > k->seconds ? all[r].seconds : k->seconds;
            k->most = all[r].most < (double)k->most ? (int64_t)all[r].most : k->most;
        }
        cost = all[r].cost > cost ? all[r].cost : cost;
    }
    return cost;
}

int mt_pace_look(struct mt_pace *p, const struct mt_pace_note *all)
{
    int64_t steps = p->s->pos.step - p->looked_at;
    double cost;

    if (p->size < 2 || p->steps < LEAST) {
        return MOTLEY_OK;
    }
    p->looked_at = p->s->pos.step;
    p->steps = 0;
    cost = gather(p, all);
    if (p->balance != NULL && mt_balance_look(p->balance, p->seen, steps, cost)) {
        return move(p, all);
    }
    mt_slow_look(p->slow, all, p->seen, steps);
    return MOTLEY_OK;
}
