/* slow.c -- see slow.h. A replica is compared with the others by the time until its gradients are
 * there, a rank of a replica of several by the time in which it waits for nobody: stages wait for
 * each other within the former. */
#include "train/slow.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOW    1.5     /* times the median of the others: worth a name */
#define LOST_S  1.0     /* ... when the others have waited so long for it */
#define AGAIN_S 600.0   /* ... and once more after so long */

/* Of a replica, or of a rank within its replica. */
struct memory {
    double before;    /* seconds at the last look; 0: none */
    double lost;      /* seconds that others waited for it, since it became slow */
    double named;     /* when it was named; 0: not since it became slow */
};

struct mt_slow {
    struct mt_session *s;
    int size, n, moving;      /* ranks, replicas */
    const int *replica;
    struct memory *of_rank, *of_replica;
    double *room;             /* a number a rank */
};

int mt_slow_new(struct mt_session *s, const int *replica, int moving, struct mt_slow **out)
{
    struct mt_slow *w = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(s->ctx, &w));
    w->s = s;
    w->size = s->job->info->size;
    w->n = s->layout->nreplica;
    w->moving = moving;
    w->replica = replica;
    MT_TRY_OR(fail, MT_NEW_N(s->ctx, w->size, &w->of_rank));
    MT_TRY_OR(fail, MT_NEW_N(s->ctx, w->n, &w->of_replica));
    MT_TRY_OR(fail, MT_NEW_N(s->ctx, w->size, &w->room));
    *out = w;
    return MOTLEY_OK;
fail:
    mt_slow_free(w);
    return st;
}

void mt_slow_free(struct mt_slow *w)
{
    if (w != NULL) {
        mt_free(w->s->ctx, w->room);
        mt_free(w->s->ctx, w->of_replica);
        mt_free(w->s->ctx, w->of_rank);
        mt_free(w->s->ctx, w);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double mt_slow_median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, compare);
    return n == 0 ? 0 : n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

const char *mt_slow_time(double seconds, char *buf, size_t room)
{
    snprintf(buf, room, seconds < 1 ? "%.3g ms" : "%.3g s", seconds < 1 ? 1e3 * seconds : seconds);
    return buf;
}

/* ---- who and beside whom -------------------------------------------------------------- */

/* The smaller time of two looks. */
static double least_of(const struct memory *m, double now)
{
    return m->before > 0 && m->before < now ? m->before : now;
}

/* Median of the other replicas that have samples; 0: there are none. */
static double other_replicas(struct mt_slow *w, const struct mt_balance_seen *seen, int replica)
{
    int n = 0;

    for (int i = 0; i < w->n; i++) {
        if (i != replica && seen[i].rows > 0) {
            w->room[n++] = seen[i].seconds;
        }
    }
    return mt_slow_median(w->room, n);
}

/* Median of the other ranks of its replica; 0: there are none. */
static double other_ranks(struct mt_slow *w, const struct mt_pace_note *all, int rank)
{
    int n = 0;

    for (int r = 0; r < w->size; r++) {
        if (r != rank && w->replica[r] == w->replica[rank]) {
            w->room[n++] = all[r].busy;
        }
    }
    return mt_slow_median(w->room, n);
}

/* The rank of a replica that computes longest. */
static int busiest(const struct mt_slow *w, const struct mt_pace_note *all, int replica)
{
    int best = -1;

    for (int r = 0; r < w->size; r++) {
        if (w->replica[r] == replica && (best < 0 || all[r].busy > all[best].busy)) {
            best = r;
        }
    }
    return best;
}

/* Takes one time; whether it is to be named now. */
static int is_due(struct memory *m, double now, double others, int64_t steps, double *least)
{
    double clock = mt_comm_clock();

    *least = least_of(m, now);
    if (others <= 0 || m->before <= 0 || *least < SLOW * others) {
        *m = (struct memory){.before = now};
        return 0;
    }
    m->before = now;
    m->lost += (*least - others) * (double)steps;
    if (m->lost < LOST_S || (m->named > 0 && clock - m->named < AGAIN_S)) {
        return 0;
    }
    m->named = clock;
    return 1;
}

/* ---- words ----------------------------------------------------------------------------- */

static double percent(const struct mt_balance_seen *seen, int n, int64_t rows)
{
    int64_t all = 0;

    for (int i = 0; i < n; i++) {
        all += seen[i].rows;
    }
    return 100.0 * (double)rows / (double)all;
}

/* to: rows that it gets; -1: shares do not move. */
static void name_replica(struct mt_slow *w, const struct mt_pace_note *all,
                         const struct mt_balance_seen *seen, int replica, double seconds,
                         double others, int64_t to)
{
    char who[256], what[160], a[32], b[32];
    double has = percent(seen, w->n, seen[replica].rows);

    if (w->s->job->info->rank != 0) {
        return;
    }
    if (to >= 0) {
        snprintf(what, sizeof what, "it gets %.3g %% of the batch instead of %.3g %%",
                 percent(seen, w->n, to), has);
    } else {
        snprintf(what, sizeof what, "with %.3g %% of the batch%s", has,
                 w->moving ? "" : "; parallel.rebalance=auto would move samples to others");
    }
    mt_log(w->s->ctx, MT_LOG_WARN, "train", "%s takes %s a step, the others %s: %s",
           mt_comm_who(w->s->job->comm, busiest(w, all, replica), who, sizeof who),
           mt_slow_time(seconds, a, sizeof a), mt_slow_time(others, b, sizeof b), what);
}

static void name_stage(struct mt_slow *w, int rank, double seconds, double others)
{
    struct mt_seat_in seat;
    char who[256], a[32], b[32];

    if (w->s->job->info->rank != 0) {
        return;
    }
    mt_layout_where(w->s->layout, rank, &seat);
    mt_log(w->s->ctx, MT_LOG_WARN, "train", "stage %d of %d waits for nobody: %s computes %s of a "
           "step, the others of its replica %s; another parallel.cut would give them more layers",
           seat.first + 1, w->s->layout->replica[seat.replica].nstage,
           mt_comm_who(w->s->job->comm, rank, who, sizeof who), mt_slow_time(seconds, a, sizeof a),
           mt_slow_time(others, b, sizeof b));
}

void mt_slow_look(struct mt_slow *w, const struct mt_pace_note *all,
                  const struct mt_balance_seen *seen, int64_t steps)
{
    double least;

    for (int i = 0; i < w->n; i++) {
        double others = other_replicas(w, seen, i);

        others = seen[i].rows > 0 ? others : 0;
        if (is_due(&w->of_replica[i], seen[i].seconds, others, steps, &least)) {
            name_replica(w, all, seen, i, least, others, -1);
        }
    }
    for (int r = 0; r < w->size; r++) {
        double others = w->replica[r] >= 0 ? other_ranks(w, all, r) : 0;

        if (is_due(&w->of_rank[r], all[r].busy, others, steps, &least)) {
            name_stage(w, r, least, others);
        }
    }
}

void mt_slow_moving(struct mt_slow *w, const struct mt_pace_note *all,
                    const struct mt_balance_seen *seen, const int64_t *to)
{
    double seconds = 0, others;
    int slowest = 0;

    for (int i = 0; i < w->n; i++) {
        double least = least_of(&w->of_replica[i], seen[i].seconds);

        if (seen[i].rows > 0 && least > seconds) {
            slowest = i;
            seconds = least;
        }
    }
    others = other_replicas(w, seen, slowest);
    if (seconds >= SLOW * others && to[slowest] < seen[slowest].rows) {
        name_replica(w, all, seen, slowest, seconds, others, to[slowest]);
    }
    for (int i = 0; i < w->n; i++) {
        w->of_replica[i] = (struct memory){.before = 0};
    }
    for (int r = 0; r < w->size; r++) {
        w->of_rank[r] = (struct memory){.before = 0};
    }
}
