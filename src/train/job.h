/* job.h -- the processes of one training and the device that each takes: what a context is made
 * of, before any network. */
#ifndef MT_TRAIN_JOB_H
#define MT_TRAIN_JOB_H

#include "base/ctx.h"
#include "comm/comm.h"
#include "device/dev.h"

struct mt_timeline;

struct mt_seat {
    int rank, node;
    char host[128];
    struct mt_dev_info device;
    int sharers, cores;
};

struct mt_job {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    const struct mt_comm_info *info;
    char *device;                 /* the caller's wish; NULL: none */
    volatile int stop;            /* set by a signal handler */
    int shared;                   /* the last failure is known to all processes */
    int prepared;                 /* mt_dev_prepare was called */
    struct mt_dev *dev;           /* open after mt_job_open_device */
    char use[128];                /* the wish it was opened for */
    struct mt_dev_info taken;
    int sharers;
    struct mt_timeline *timeline;  /* timeline.c; NULL: none is kept */
    char who[256];
};

/* mpi: NULL or an MPI_Comm *. device: NULL or a wish. Gives *out. Collective. */
int mt_job_new(mt_log_fn *log, void *log_arg, const char *device, void *mpi, struct mt_job **out);
void mt_job_free(struct mt_job *job);

/* mt_comm_agree, remembering that a failure is shared. */
int mt_job_agree(struct mt_job *job, int code);

/* All devices of this node. Gives *list (mt_free). Local. */
int mt_job_devices(struct mt_job *job, struct mt_dev_info **list, int *n);

/* Who takes what. use: the wish of this process ("auto", ...), NULL: the caller's, then the
 * environment's. Gives *list, size seats (mt_free). Collective. */
int mt_job_seats(struct mt_job *job, const char *use, int share, struct mt_seat **list);

/* Opens the device of this process; a second call with the same wish changes nothing, with
 * another it is refused. Collective. */
int mt_job_open_device(struct mt_job *job, const char *use, int share);

/* Limits of device memory and of one allocation, MiB, below those of the device; 0: none. */
void mt_job_limit(struct mt_job *job, double memory, double max_alloc);
/* Bytes of device memory for this process: its part of a device that others use, too, within the
 * limit; 0: unknown. */
uint64_t mt_job_memory(const struct mt_job *job);

/* Fails on all ranks if a text differs from that of rank 0, naming the rank and the first line
 * that differs. what: "configuration". Collective. */
int mt_job_same_text(struct mt_job *job, const char *what, const char *text);

#endif
