/* job.c -- joins the processes, gives each a device, and makes failures common.
 *
 * Wishes for devices are gathered from all processes first, then every process of a node
 * computes the same assignment by itself: no one has to hand out devices. */
#include "train/job.h"

#include "base/hash.h"
#include "device/place.h"
#include "train/timeline.h"

#include <stdio.h>
#include <string.h>

int mt_job_new(mt_log_fn *log, void *log_arg, const char *device, void *mpi, struct mt_job **out)
{
    struct mt_ctx *ctx = NULL;
    struct mt_job *job = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_ctx_new(log, log_arg, &ctx));
    MT_TRY_OR(fail, MT_NEW(ctx, &job));
    job->ctx = ctx;
    if (device != NULL) {
        MT_TRY_OR(fail, mt_mem_strdup(ctx, device, &job->device));
    }
    MT_TRY_OR(fail, mt_comm_open(ctx, mpi, &job->comm));
    job->info = mt_comm_info(job->comm);
    snprintf(job->who, sizeof job->who, "rank %d (host %s)", job->info->rank, job->info->host);
    mt_comm_watch(job->comm, 0, &job->stop);
    *out = job;
    return MOTLEY_OK;
fail:
    if (job != NULL) {
        mt_job_free(job);
    } else {
        mt_ctx_free(ctx);
    }
    return st;
}

void mt_job_free(struct mt_job *job)
{
    struct mt_ctx *ctx;

    if (job == NULL) {
        return;
    }
    ctx = job->ctx;
    mt_dev_close(job->dev);
    mt_timeline_end(job);
    mt_comm_close(job->comm);
    mt_free(ctx, job->device);
    mt_free(ctx, job);
    mt_ctx_free(ctx);
}

int mt_job_agree(struct mt_job *job, int code)
{
    int st = mt_comm_agree(job->comm, code);

    /* Where a process has died the others do not agree: each finds out by itself. */
    job->shared = st < 0 && st != MOTLEY_ECOMM;
    return st;
}

int mt_job_devices(struct mt_job *job, struct mt_dev_info **list, int *n)
{
    if (!job->prepared) {
        MT_TRY(mt_dev_prepare(job->ctx));
        job->prepared = 1;
    }
    return mt_dev_list(job->ctx, list, n);
}

struct wish {
    int node, node_rank;
    char text[128];
};

static const char *wish_of(const struct mt_job *job, const char *use)
{
    const char *set = job->ctx->env.value[MT_ENV_DEVICE];

    if (job->device != NULL) {
        return job->device;
    }
    return use != NULL ? use : set != NULL ? set : "auto";
}

/* Chooses for this process from the wishes of its node. */
static int choose(struct mt_job *job, const struct wish *all, int share, struct mt_seat *seat)
{
    const char **want = NULL;
    int *got = NULL, *sharers = NULL, n = 0, st = MOTLEY_OK, all_cores = 0;
    int size = job->info->node_size, here = job->info->node_rank;
    struct mt_dev_info *list = NULL;
    char why[2048];

    MT_TRY(mt_job_devices(job, &list, &n));
    if (n == 0) {
        mt_dev_explain_none(job->ctx, why, sizeof why);
        MT_FAIL_OR(done, MOTLEY_EDEV, "%s", why);
    }
    MT_TRY_OR(done, MT_NEW_N(job->ctx, size, &want));
    MT_TRY_OR(done, MT_NEW_N(job->ctx, size, &got));
    MT_TRY_OR(done, MT_NEW_N(job->ctx, size, &sharers));
    for (int r = 0; r < job->info->size; r++) {
        if (all[r].node == job->info->node) {
            want[all[r].node_rank] = all[r].text;
        }
    }
    MT_TRY_OR(done, mt_dev_assign(list, n, want, size, share, got, sharers));
    seat->device = list[got[here]];
    seat->sharers = sharers[here];
    MT_TRY_OR(done, mt_place_cores(job->ctx, &seat->cores, &all_cores));
done:
    mt_free(job->ctx, want);
    mt_free(job->ctx, got);
    mt_free(job->ctx, sharers);
    mt_free(job->ctx, list);
    return st;
}

/* The seat of this process alone. Collective. */
static int own_seat(struct mt_job *job, const char *use, int share, struct mt_seat *seat)
{
    struct wish mine = {job->info->node, job->info->node_rank, ""}, *all = NULL;
    int st = MOTLEY_OK;

    memset(seat, 0, sizeof *seat);
    seat->rank = job->info->rank;
    seat->node = job->info->node;
    snprintf(seat->host, sizeof seat->host, "%s", job->info->host);
    snprintf(mine.text, sizeof mine.text, "%s", wish_of(job, use));
    MT_TRY(MT_NEW_N(job->ctx, job->info->size, &all));
    MT_TRY_OR(done, mt_comm_allgather(job->comm, &mine, sizeof mine, all));
    MT_TRY_OR(done, mt_job_agree(job, choose(job, all, share, seat)));
done:
    mt_free(job->ctx, all);
    return st;
}

int mt_job_seats(struct mt_job *job, const char *use, int share, struct mt_seat **out)
{
    struct mt_seat mine, *list = NULL;
    int st = MOTLEY_OK;

    MT_TRY(own_seat(job, use, share, &mine));
    MT_TRY(mt_job_agree(job, MT_NEW_N(job->ctx, job->info->size, &list)));
    MT_TRY_OR(fail, mt_comm_allgather(job->comm, &mine, sizeof mine, list));
    *out = list;
    return MOTLEY_OK;
fail:
    mt_free(job->ctx, list);
    return st;
}

static int open_it(struct mt_job *job, const struct mt_seat *seat, const char *use)
{
    MT_TRY(mt_dev_open(job->ctx, &seat->device, seat->sharers, &job->dev));
    job->taken = *mt_dev_info(job->dev);
    job->sharers = seat->sharers;
    snprintf(job->use, sizeof job->use, "%s", use);
    snprintf(job->who, sizeof job->who, "rank %d (host %s, %s)", job->info->rank, job->info->host,
             job->taken.name);
    mt_log(job->ctx, MT_LOG_INFO, "train", "%s: device %d:%d %s, %u compute units", job->who,
           job->taken.platform, job->taken.device, job->taken.name, job->taken.units);
    return MOTLEY_OK;
}

int mt_job_open_device(struct mt_job *job, const char *use, int share)
{
    struct mt_seat seat;

    if (job->dev != NULL) {
        MT_CHECK(strcmp(wish_of(job, use), job->use) == 0, MOTLEY_EUNSUP,
                 "device '%s' is wanted, but this context has opened %s for '%s'; make another "
                 "context", wish_of(job, use), job->taken.name, job->use);
        return MOTLEY_OK;
    }
    MT_TRY(own_seat(job, use, share, &seat));
    MT_TRY(mt_job_agree(job, open_it(job, &seat, wish_of(job, use))));
    MT_TRY(mt_comm_describe(job->comm, job->taken.name));
    return mt_comm_gauge(job->comm);
}

void mt_job_limit(struct mt_job *job, double memory, double max_alloc)
{
    mt_dev_limit(job->dev, (uint64_t)(memory * (1 << 20)), (uint64_t)(max_alloc * (1 << 20)));
    job->taken = *mt_dev_info(job->dev);
}

uint64_t mt_job_memory(const struct mt_job *job)
{
    const struct mt_dev_info *d = &job->taken;
    uint64_t part = d->all_memory_bytes / (uint64_t)(job->sharers > 1 ? job->sharers : 1);
    int limited = d->limited & MT_DEV_LIMIT_MEMORY;

    return limited && (part == 0 || d->memory_bytes < part) ? d->memory_bytes : part;
}

/* The first line in which two texts differ. */
static void first_difference(const char *a, const char *b, char *line_a, char *line_b, size_t room)
{
    while (*a != '\0' || *b != '\0') {
        size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");

        if (n != m || memcmp(a, b, n) != 0) {
            break;
        }
        a += n + (a[n] == '\n');
        b += m + (b[m] == '\n');
    }
    snprintf(line_a, room, "%.*s", (int)strcspn(a, "\n"), a);
    snprintf(line_b, room, "%.*s", (int)strcspn(b, "\n"), b);
}

static int compare_text(const char *what, const char *mine, const char *first)
{
    char here[256], there[256];

    if (strcmp(mine, first) == 0) {
        return MOTLEY_OK;
    }
    first_difference(mine, first, here, there, sizeof here);
    MT_FAIL(MOTLEY_ECONFIG, "has another %s than rank 0: '%s' instead of '%s'", what,
            here + strspn(here, " "), there + strspn(there, " "));
}

int mt_job_same_text(struct mt_job *job, const char *what, const char *text)
{
    int64_t bytes = (int64_t)strlen(text) + 1;
    char *first = NULL;
    int st = MOTLEY_OK;

    if (job->info->size == 1) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_comm_bcast(job->comm, &bytes, sizeof bytes, 0));
    MT_TRY(mt_job_agree(job, MT_NEW_N(job->ctx, bytes, &first)));
    memcpy(first, text, job->info->rank == 0 ? (size_t)bytes : 0);
    MT_TRY_OR(done, mt_comm_bcast(job->comm, first, (size_t)bytes, 0));
    MT_TRY_OR(done, mt_job_agree(job, compare_text(what, text, first)));
done:
    mt_free(job->ctx, first);
    return st;
}
