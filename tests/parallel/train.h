/* train.h -- the job of the programs of tests/parallel that train: of the library's, with a device
 * for each rank. */
#ifndef MT_TESTS_TRAIN_H
#define MT_TESTS_TRAIN_H

#include "job.h"

#include "train/job.h"

/* Does `run` where there is a device. log: may be NULL. Returns the exit code, the same on all. */
static inline int job_train(mt_log_fn *log, void (*run)(struct job *j, struct mt_job *job))
{
    struct mt_job *job = NULL;
    struct mt_dev_info *list = NULL;
    struct job j = {.failed = 0};
    double failed;
    int n = 0;

    if (mt_job_new(log, NULL, NULL, NULL, &job) < 0) {
        fprintf(stderr, "no job: %s\n", mt_err_text());
        return 99;
    }
    j.ctx = job->ctx;
    j.comm = job->comm;
    j.rank = job->info->rank;
    j.size = job->info->size;
    JOB_DO(&j, mt_job_devices(job, &list, &n));
    mt_free(j.ctx, list);
    if (n > 0) {
        JOB_DO(&j, mt_job_open_device(job, NULL, 1));
        run(&j, job);
    } else if (j.rank == 0) {
        printf("SKIP opencl: no device\n");
    }
    failed = j.failed;
    JOB_DO(&j, mt_comm_sum(j.comm, &failed, 1));
    mt_job_free(job);
    return n == 0 ? 77 : failed > 0;
}

#endif
