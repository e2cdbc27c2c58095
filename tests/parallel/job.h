/* job.h -- what the programs of tests/parallel share: opening the job, checks that name the rank,
 * one verdict of all ranks. */
#ifndef MT_TESTS_JOB_H
#define MT_TESTS_JOB_H

#include "base/ctx.h"
#include "comm/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    int rank, size;
    int failed;
};

#define JOB_CHECK(j, cond, ...)                                                               \
    do {                                                                                      \
        if (!(cond)) {                                                                        \
            fprintf(stderr, "%s:%d: rank %d: %s: ", __FILE__, __LINE__, (j)->rank, #cond);    \
            fprintf(stderr, __VA_ARGS__);                                                     \
            fputc('\n', stderr);                                                              \
            (j)->failed++;                                                                    \
        }                                                                                     \
    } while (0)

/* A call that the rest depends on: ends the job if it fails. */
#define JOB_DO(j, call)                                                                       \
    do {                                                                                      \
        if ((call) < 0) {                                                                     \
            fprintf(stderr, "%s:%d: rank %d: %s: %s\n%s", __FILE__, __LINE__, (j)->rank,      \
                    #call, mt_err_text(), mt_err_trace_text());                               \
            mt_comm_abort((j)->comm, 1);                                                      \
        }                                                                                     \
    } while (0)

static inline void job_open(struct job *j)
{
    memset(j, 0, sizeof *j);
    if (mt_ctx_new(NULL, NULL, &j->ctx) < 0 || mt_comm_open(j->ctx, NULL, &j->comm) < 0) {
        fprintf(stderr, "no job: %s\n", mt_err_text());
        exit(99);
    }
    j->rank = mt_comm_info(j->comm)->rank;
    j->size = mt_comm_info(j->comm)->size;
}

/* Exit code of the job; every rank gives the same. */
static inline int job_close(struct job *j)
{
    double failed = j->failed;

    JOB_DO(j, mt_comm_sum(j->comm, &failed, 1));
    mt_comm_close(j->comm);
    if (j->ctx->mem.live != 0) {
        fprintf(stderr, "rank %d: %lld blocks of memory were not released\n", j->rank,
                (long long)j->ctx->mem.live);
        failed++;
    }
    mt_ctx_free(j->ctx);
    return failed > 0;
}

#endif
