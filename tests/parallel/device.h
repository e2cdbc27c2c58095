/* device.h -- the device of a rank in the programs of tests/parallel that compute. */
#ifndef MT_TESTS_DEVICE_H
#define MT_TESTS_DEVICE_H

#include "job.h"

#include "device/dev.h"

enum { MAXRANKS = 16 };

/* Ranks may be given different devices with MOTLEY_DEVICE. 0: there is none. */
static inline int job_device(struct job *j, struct mt_dev **dev)
{
    struct mt_dev_info *list = NULL, info;
    const char *want[MAXRANKS], *mine = j->ctx->env.value[MT_ENV_DEVICE];
    char wish[64], wishes[MAXRANKS][64];
    int got[MAXRANKS], sharers[MAXRANKS], n = 0;

    JOB_DO(j, mt_dev_prepare(j->ctx));
    JOB_DO(j, mt_dev_list(j->ctx, &list, &n));
    if (n > 0 && j->size <= MAXRANKS) {
        snprintf(wish, sizeof wish, "%s", mine != NULL ? mine : "auto");
        JOB_DO(j, mt_comm_allgather(j->comm, wish, sizeof wish, wishes));
        for (int r = 0; r < j->size; r++) {
            want[r] = wishes[r];
        }
        JOB_DO(j, mt_dev_assign(list, n, want, j->size, 1, got, sharers));
        /* Odd ranks move numbers through pinned memory, as between host and graphics card. */
        info = list[got[j->rank]];
        info.unified = info.unified && j->rank % 2 == 0;
        JOB_DO(j, mt_dev_open(j->ctx, &info, sharers[j->rank], dev));
        JOB_DO(j, mt_comm_describe(j->comm, mt_dev_info(*dev)->name));
    }
    mt_free(j->ctx, list);
    return n > 0;
}

#endif
