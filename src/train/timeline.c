/* timeline.c -- joins the timelines of all processes.
 *
 * Clocks of different hosts have nothing in common. A process asks rank 0 for its time, some times
 * in a row, and believes the quickest answer: it was given in the middle of the exchange, give or
 * take half of its duration. This is done at the start and again when the file is written; in
 * between the clocks are taken to run evenly. Where the distance is below what was measured,
 * the clocks are taken to be one: processes of one host share theirs. */
#include "train/timeline.h"

#include "base/file.h"
#include "base/trace.h"

#include <inttypes.h>
#include <string.h>

#define EVENTS_RANK ((int64_t)200000)    /* 120 bytes each here, about as many in the file */
#define EVENTS_JOB  ((int64_t)2000000)   /* rank 0 holds the text of all */
#define EXCHANGES   16
#define TAG         9000                 /* of messages */

struct mt_timeline {
    struct mt_trace_clock clock;
};

static int send(struct mt_comm *c, const void *data, size_t bytes, int peer)
{
    int req;

    MT_TRY(mt_comm_send(c, data, bytes, peer, TAG, &req));
    return mt_comm_wait(c, req, peer);
}

static int receive(struct mt_comm *c, void *data, size_t bytes, int peer)
{
    int req;

    MT_TRY(mt_comm_recv(c, data, bytes, peer, TAG, &req));
    return mt_comm_wait(c, req, peer);
}

/* Rank 0's side: gives the time to one process after the other. */
static int give_time(struct mt_job *job)
{
    for (int r = 1; r < job->info->size; r++) {
        for (int i = 0; i < EXCHANGES; i++) {
            int64_t now;
            char question;

            MT_TRY(receive(job->comm, &question, 1, r));
            now = mt_trace_now();
            MT_TRY(send(job->comm, &now, sizeof now, r));
        }
    }
    return MOTLEY_OK;
}

static int ask_time(struct mt_job *job, int64_t *at, int64_t *add)
{
    int64_t shortest = INT64_MAX;

    for (int i = 0; i < EXCHANGES; i++) {
        int64_t from = mt_trace_now(), took, theirs = 0;
        char question = 0;

        MT_TRY(send(job->comm, &question, 1, 0));
        MT_TRY(receive(job->comm, &theirs, sizeof theirs, 0));
        took = mt_trace_now() - from;
        if (took < shortest) {
            shortest = took;
            *at = from + took / 2;
            *add = theirs - *at;
        }
    }
    if (*add <= shortest / 2 && *add >= -shortest / 2) {
        *add = 0;
    }
    mt_log(job->ctx, MT_LOG_INFO, "trace", "clock of rank %d: %+" PRId64 " ns to that of rank 0, "
           "known to %" PRId64 " ns", job->info->rank, *add, shortest / 2);
    return MOTLEY_OK;
}

static int set_clock(struct mt_job *job, int which)
{
    struct mt_trace_clock *c = &job->timeline->clock;

    if (job->info->rank == 0) {
        return give_time(job);
    }
    return ask_time(job, &c->at[which], &c->add[which]);
}

static int begin(struct mt_job *job)
{
    int64_t share = EVENTS_JOB / job->info->size;
    int st;

    MT_CHECK(job->dev == NULL, MOTLEY_EUNSUP,
             "a timeline must be asked for before the device is opened: with the first run of a "
             "context");
    MT_TRY(MT_NEW(job->ctx, &job->timeline));
    MT_TRY_OR(fail, mt_trace_new(job->ctx, share < EVENTS_RANK ? share + 1 : EVENTS_RANK));
    return MOTLEY_OK;
fail:
    mt_timeline_end(job);
    return st;
}

int mt_timeline_start(struct mt_job *job)
{
    if (job->timeline != NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_job_agree(job, begin(job)));
    return set_clock(job, 0);
}

void mt_timeline_end(struct mt_job *job)
{
    mt_trace_free(job->ctx);
    mt_free(job->ctx, job->timeline);
    job->timeline = NULL;
}

static int check(struct mt_job *job)
{
    MT_CHECK(job->timeline != NULL, MOTLEY_EARG,
             "no timeline was asked for: set motley_run_opt.trace");
    return job->dev != NULL ? mt_dev_finish(job->dev) : MOTLEY_OK;
}

static int print(struct mt_job *job, char **text)
{
    const struct mt_trace_clock *clock = job->info->rank > 0 ? &job->timeline->clock : NULL;

    return mt_trace_print(job->ctx, job->info->rank, job->who, clock, text);
}

/* Room for the parts of all on rank 0: "[part,\npart]\n". */
static int make_room(struct mt_job *job, const int64_t *bytes, char **whole, size_t *total)
{
    *total = 0;
    for (int r = 0; r < job->info->size; r++) {
        *total += (size_t)bytes[r] + 2;
    }
    *total += 1;
    return job->info->rank == 0 ? MT_NEW_N(job->ctx, (int64_t)*total, whole) : MOTLEY_OK;
}

static int join(struct mt_job *job, const char *mine, const int64_t *bytes, char *whole)
{
    char *at = whole;

    *at++ = '[';
    for (int r = 0; r < job->info->size; r++) {
        if (r == 0) {
            memcpy(at, mine, (size_t)bytes[0]);
        } else {
            MT_TRY(receive(job->comm, at, (size_t)bytes[r], r));
        }
        at += bytes[r];
        memcpy(at, r < job->info->size - 1 ? ",\n" : "]\n", 2);
        at += 2;
    }
    return MOTLEY_OK;
}

/* From the text of each process to the file. */
static int gather(struct mt_job *job, const char *path, const char *mine, int64_t *bytes)
{
    int64_t length = (int64_t)strlen(mine);
    char *whole = NULL;
    size_t total;
    int st;

    MT_TRY(mt_comm_allgather(job->comm, &length, sizeof length, bytes));
    MT_TRY(mt_job_agree(job, make_room(job, bytes, &whole, &total)));
    if (job->info->rank > 0) {
        return mt_job_agree(job, send(job->comm, mine, (size_t)length, 0));
    }
    st = join(job, mine, bytes, whole);
    st = st < 0 ? st : mt_file_write(job->ctx, path, whole, total);
    st = mt_job_agree(job, st);
    mt_free(job->ctx, whole);
    return st;
}

int mt_timeline_save(struct mt_job *job, const char *path)
{
    int64_t *bytes = NULL;
    char *text = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_job_agree(job, check(job)));
    MT_TRY(set_clock(job, 1));
    MT_TRY_OR(done, mt_job_agree(job, print(job, &text)));
    MT_TRY_OR(done, mt_job_agree(job, MT_NEW_N(job->ctx, job->info->size, &bytes)));
    MT_TRY_OR(done, gather(job, path, text, bytes));
done:
    mt_free(job->ctx, bytes);
    mt_free(job->ctx, text);
    return st;
}
