/* watch.c -- who the processes are, and what a wait does about those that are gone.
 *
 * MPI does not say that a peer died: a receive from it just never ends. So every process tells
 * all others its process number and when it began; whoever waits looks, several times a second,
 * whether the processes of its own host are still there. Those of other hosts are left to the
 * launcher (mpirun ends the whole job when one process ends badly) and to the time limit.
 *
 * A process counts as dead only when it has been missed twice, some time apart, while no message
 * arrived: a peer that sent its last message and left is no failure. The start time guards
 * against numbers that are used again and against containers with numbers of their own. */
#define _POSIX_C_SOURCE 200809L
#include "comm/link.h"

#include "base/ctx.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define SCAN_S      0.1    /* between two looks at the peers */
#define SCAN_STOP_S 0.03   /* after SIGTERM: mpirun gives survivors one second to say why */
#define GRACE_S     0.15   /* from first missed to dead */
#define STOP_S      30.0   /* silence after a request to stop: enough to write a checkpoint */

double mt_comm_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* State letter and start of a process from /proc; 0 if this system does not tell. */
static int read_stat(int64_t pid, char *state, uint64_t *start)
{
    char path[64], line[1024];
    const char *p;
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    f = fopen(path, "r");
    if (f == NULL) {
        return 0;
    }
    n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';
    p = strrchr(line, ')');   /* the name before it may hold anything */
    if (p == NULL || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
                                   "%*d %*d %*d %*d %" SCNu64, state, start) != 2) {
        return 0;
    }
    return 1;
}

void mt_watch_card(struct mt_card *card)
{
    struct utsname u;
    char state;

    card->pid = getpid();
    if (!read_stat(card->pid, &state, &card->start)) {
        card->start = 0;
    }
    snprintf(card->host, sizeof card->host, "%.*s", MT_HOST_ROOM - 1,
             uname(&u) == 0 ? u.nodename : "unknown");
}

static int alive(const struct mt_card *card)
{
    uint64_t start;
    char state;

    if (kill((pid_t)card->pid, 0) < 0 && errno == ESRCH) {
        return 0;
    }
    if (read_stat(card->pid, &state, &start)) {
        return state != 'Z' && state != 'X' && start == card->start;
    }
    return 1;
}

void mt_watch_peers(struct mt_comm *c)
{
    for (int r = 0; r < c->info.size; r++) {
        c->peer[r].watched = r != c->info.rank && c->peer[r].card.lead == c->card.lead &&
                             alive(&c->peer[r].card);
    }
}

void mt_comm_watch(struct mt_comm *c, double timeout, const volatile int *stop)
{
    c->timeout = timeout;
    c->stop = stop;
}

void mt_comm_doing(struct mt_comm *c, const char *what, int64_t number)
{
    c->doing = what;
    c->doing_number = number;
}

int mt_comm_describe(struct mt_comm *c, const char *device)
{
    char (*all)[MT_DEVICE_ROOM] = NULL;
    int st;

    snprintf(c->card.device, sizeof c->card.device, "%s", device);
    MT_TRY(mt_mem_get(c->ctx, (size_t)c->info.size, sizeof *all, (void **)&all));
    MT_TRY_OR(out, mt_comm_allgather(c, c->card.device, sizeof *all, all));
    for (int r = 0; r < c->info.size; r++) {
        memcpy(c->peer[r].card.device, all[r], sizeof *all);
        c->peer[r].card.device[sizeof *all - 1] = '\0';
    }
out:
    mt_free(c->ctx, all);
    return st;
}

const char *mt_comm_who(const struct mt_comm *c, int rank, char *buf, size_t room)
{
    const struct mt_card *k;

    if (c->peer == NULL || rank < 0 || rank >= c->info.size) {
        snprintf(buf, room, "rank %d", rank);
        return buf;
    }
    k = &c->peer[rank].card;
    snprintf(buf, room, "rank %d (host %s%s%s)", rank, k->host, *k->device != '\0' ? ", " : "",
             k->device);
    return buf;
}

int mt_comm_speaker(const struct mt_comm *c)
{
    int r = 0;

    while (c->peer != NULL && r < c->info.size - 1 && c->peer[r].gone_at > 0) {
        r++;
    }
    return r;
}

/* The longer nothing happened, the longer the sleep: at first only the processor is offered to
 * others (a message between two processes of a host takes microseconds; a sleep of 20 of them
 * lasts 70, by the timers of Linux); a core that a device computes on must not be taken for
 * long. */
static void relax(double waited)
{
    struct timespec t = {.tv_nsec = waited < 2e-3 ? 20000 : waited < 0.1 ? 100000 : 500000};

    if (waited < 500e-6) {
        sched_yield();
    } else {
        nanosleep(&t, NULL);
    }
}

static int scan(struct mt_comm *c, double now, double waited)
{
    for (int r = 0; r < c->info.size; r++) {
        struct mt_peer *p = &c->peer[r];
        char who[256];

        if (!p->watched || alive(&p->card)) {
            continue;
        }
        if (p->gone_at <= 0) {
            p->gone_at = now;
        } else if (now - p->gone_at >= GRACE_S && waited >= GRACE_S) {
            c->broken = 1;
            MT_FAIL(MOTLEY_ECOMM,
                    "%s died: its process %" PRId64 " is gone; the job cannot go on without it "
                    "(killed, or out of memory? see its output and the system log)",
                    mt_comm_who(c, r, who, sizeof who), p->card.pid);
        }
    }
    return MOTLEY_OK;
}

/* " in training step 120", or nothing. */
static const char *doing(const struct mt_comm *c, char *buf, size_t room)
{
    buf[0] = '\0';
    if (c->doing != NULL) {
        snprintf(buf, room, " in %s %" PRId64, c->doing, c->doing_number);
    }
    return buf;
}

/* Seconds without progress, at most those waited. */
static double silence(struct mt_comm *c, double now, double waited)
{
    if (c->completed != c->completed_seen || c->progress_at <= 0) {
        c->completed_seen = c->completed;
        c->progress_at = now;
    }
    return waited > now - c->progress_at ? now - c->progress_at : waited;
}

int mt_comm_look(struct mt_comm *c, double seconds_waited, int peer)
{
    double now = mt_comm_clock(), waited = silence(c, now, seconds_waited);
    char who[256], where[64];

    if (c->stop != NULL && *c->stop && c->stop_at <= 0) {
        c->stop_at = now;
    }
    if (c->peer != NULL && now - c->scanned_at >= (c->stop_at > 0 ? SCAN_STOP_S : SCAN_S)) {
        c->scanned_at = now;
        MT_TRY(scan(c, now, waited));
    }
    if (c->timeout > 0 && waited > c->timeout) {
        c->broken = 1;
        MT_FAIL(MOTLEY_ECOMM, "%s did not answer for %.0f s (parallel.timeout)%s: it hangs, or its "
                "host or the way there is gone",
                peer >= 0 ? mt_comm_who(c, peer, who, sizeof who) : "a rank", waited,
                doing(c, where, sizeof where));
    }
    if (c->stop_at > 0 && waited > STOP_S && now - c->stop_at > STOP_S) {
        c->broken = 1;
        MT_FAIL(MOTLEY_ESTOP, "asked to stop, and %s did not answer for %.0f s%s",
                peer >= 0 ? mt_comm_who(c, peer, who, sizeof who) : "a rank", waited,
                doing(c, where, sizeof where));
    }
    return MOTLEY_OK;
}

int mt_comm_idle(struct mt_comm *c, double seconds_waited, int peer)
{
    relax(silence(c, mt_comm_clock(), seconds_waited));
    MT_TRY(mt_comm_look(c, seconds_waited, peer));
    return MOTLEY_OK;
}
