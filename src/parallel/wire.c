/* wire.c -- progress and waiting; see wire.h. */
#define _POSIX_C_SOURCE 200809L
#include "parallel/wire.h"

#include "base/ctx.h"
#include "device/buf.h"

#include <time.h>

#define TIGHT_S  50e-6   /* somebody unknown is waited for without sleeping */
#define NAP_AT_S 500e-6  /* mt_comm_idle sleeps for waits above this */
#define NAP_S    0.3     /* waits as long as this are looked at with long sleeps; below any limit */
#define GLANCE_S 300e-6  /* between two looks while the own device computes, at least */
#define WATCH_S  1.5e-3  /* ... at most, when something is under way; between: as long as waited */
#define REST_S   4e-3    /* ... when nothing is */
#define SPARE_S  50e-6   /* the shortest sleep of a process that computes nothing */
#define SPARED_S 2e-3    /* ... the longest */
#define LOOK_S   200e-6  /* between two looks while idle */

struct mt_wire {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    struct mt_dev *dev;       /* borrowed, as comm is */
    int n, peer;              /* peer: as members say it, -1: nobody in particular */
    int spare;                /* computes nothing */
    double late;              /* seconds that peers were waited for */
    struct member {
        mt_wire_fn *fn;
        void *arg;
    } *member;
};

int mt_wire_new(struct mt_ctx *ctx, struct mt_comm *comm, struct mt_dev *dev,
                struct mt_wire **out)
{
    MT_TRY(MT_NEW(ctx, out));
    (*out)->ctx = ctx;
    (*out)->comm = comm;
    (*out)->dev = dev;
    return MOTLEY_OK;
}

void mt_wire_free(struct mt_wire *w)
{
    if (w != NULL) {
        mt_free(w->ctx, w->member);
        mt_free(w->ctx, w);
    }
}

int mt_wire_join(struct mt_wire *w, mt_wire_fn *fn, void *arg)
{
    MT_TRY(MT_RESIZE(w->ctx, w->n + 1, &w->member));
    w->member[w->n++] = (struct member){fn, arg};
    return MOTLEY_OK;
}

void mt_wire_spare(struct mt_wire *w)
{
    w->spare = 1;
}

int mt_wire_progress(struct mt_wire *w)
{
    int busy = 0, under_way = 0, waits_for = -1;

    for (int i = 0; i < w->n; i++) {
        int peer = -1;

        MT_TRY(w->member[i].fn(w->member[i].arg, &peer));
        busy |= peer == MT_WIRE_OWN || peer == MT_WIRE_BOTH;
        under_way |= peer >= 0 || peer == MT_WIRE_BOTH;
        waits_for = waits_for < 0 && peer >= 0 ? peer : waits_for;
    }
    w->peer = !busy ? waits_for : under_way ? MT_WIRE_BOTH : MT_WIRE_OWN;
    return MOTLEY_OK;
}

/* Nobody in particular is waited for: sleeps as for a long wait. */
static double vague(double waited)
{
    return waited < TIGHT_S ? waited : waited < NAP_S ? waited + NAP_AT_S : NAP_S;
}

/* How long to sleep at most until the own device rings, `waited` for so far. */
static double rest(const struct mt_wire *w, double waited)
{
    double most = w->peer == MT_WIRE_OWN ? REST_S : WATCH_S;

    return waited < GLANCE_S ? GLANCE_S : waited < most ? waited : most;
}

static void sleep_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};

    nanosleep(&t, NULL);
}

/* Of a process that computes nothing; `waited` so far. */
static void spare(double waited)
{
    double nap = waited / 4;

    sleep_for(nap < SPARE_S ? SPARE_S : nap < SPARED_S ? nap : SPARED_S);
}

int mt_wire_wait(struct mt_wire *w, int (*done)(const void *arg), const void *arg)
{
    double begun = mt_comm_clock(), now = begun, asked = begun, since = begun, before;

    MT_TRY(mt_wire_progress(w));
    while (!done(arg)) {
        /* The time limit of a peer begins when it is the only one that is missing. */
        asked = w->peer < 0 ? now : asked;
        before = now;
        if (w->peer < -1) {
            mt_dev_doze(w->dev, rest(w, now - since));
            begun = mt_comm_clock();
            MT_TRY(mt_comm_look(w->comm, 0, -1));
        } else if (w->spare) {
            spare(now - since);
            MT_TRY(mt_comm_look(w->comm, now - asked, w->peer));
        } else {
            MT_TRY(mt_comm_idle(w->comm, w->peer < 0 ? vague(now - begun) : now - asked, w->peer));
        }
        now = mt_comm_clock();
        w->late += w->peer >= 0 ? now - before : 0;
        MT_TRY(mt_wire_progress(w));
    }
    return MOTLEY_OK;
}

double mt_wire_late(const struct mt_wire *w)
{
    return w->late;
}

int mt_wire_idle(struct mt_wire *w, double seconds)
{
    double until = mt_comm_clock() + seconds, left = seconds;

    while (left > 0) {
        double nap = w->n > 0 && left > LOOK_S ? LOOK_S : left;

        sleep_for(nap);
        MT_TRY(mt_wire_progress(w));
        left = until - mt_comm_clock();
    }
    return MOTLEY_OK;
}
