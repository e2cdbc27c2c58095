/* die.c -- a job for tests/sys/death.sh: sums over and over until one rank is killed or stops.
 *
 *     die HOW VICTIM WAY
 *
 * HOW: kill (SIGKILL), exit (leaves without a word), hang (waits forever, with a time limit of 2 s
 * for the others). WAY: sum (small collective), reduce (large, not blocking). Survivors behave as
 * the program does: SIGTERM only sets a flag; the error is told by one of them, then the whole job
 * is ended with code 3. */
#define _POSIX_C_SOURCE 200809L
#include "tests/parallel/job.h"

#include <signal.h>
#include <unistd.h>

enum { FLOATS = 500000 };

static volatile int stop;   /* written by the signal handler */

static void on_term(int sig)
{
    (void)sig;
    stop = 1;
}

static void fall(const char *how)
{
    if (strcmp(how, "kill") == 0) {
        raise(SIGKILL);
    } else if (strcmp(how, "exit") == 0) {
        _exit(0);
    }
    for (;;) {
        pause();
    }
}

static int work(struct job *j, struct mt_reduce *r, float *x, const char *way)
{
    double since = mt_comm_clock(), one = 1;
    int done = 0;

    if (strcmp(way, "sum") == 0) {
        MT_TRY(mt_comm_sum(j->comm, &one, 1));
        return MOTLEY_OK;
    }
    MT_TRY(mt_reduce_start(r, &(struct mt_sum){.data = x, .n = FLOATS}));
    MT_TRY(mt_reduce_test(r, &done));
    while (!done) {
        MT_TRY(mt_comm_idle(j->comm, mt_comm_clock() - since, mt_reduce_peer(r)));
        MT_TRY(mt_reduce_test(r, &done));
    }
    return MOTLEY_OK;
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_term};
    struct mt_reduce *r = NULL;
    float *x = NULL;
    struct job j;
    char toy[32];
    double begun;

    if (argc != 4) {
        return 99;
    }
    sigaction(SIGTERM, &sa, NULL);
    job_open(&j);
    snprintf(toy, sizeof toy, "toy %d", j.rank);
    JOB_DO(&j, mt_comm_describe(j.comm, toy));
    mt_comm_watch(j.comm, strcmp(argv[1], "hang") == 0 ? 2.0 : 0.0, &stop);
    JOB_DO(&j, mt_reduce_new(j.ctx, j.comm, j.size, FLOATS, 0, &r));
    JOB_DO(&j, MT_NEW_N(j.ctx, FLOATS, &x));
    begun = mt_comm_clock();
    for (;;) {
        if (j.rank == atoi(argv[2]) && mt_comm_clock() - begun > 0.3) {
            fall(argv[1]);
        }
        if (work(&j, r, x, argv[3]) < 0) {
            if (j.rank == mt_comm_speaker(j.comm)) {
                fprintf(stderr, "die: %s\n", mt_err_text());
            }
            mt_comm_abort(j.comm, 3);
        }
    }
}
