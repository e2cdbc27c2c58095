/* measure.c -- the profile of a job: what every rank's device does with this network, and the
 * links; and shares that follow from it.
 *
 * Measuring comes before anything is divided. With `parallel.profile` rank 0 reads the file and all
 * ranks get its text, so no other host needs to see it. */
#include "train/session.h"

#include "base/file.h"
#include "base/num.h"
#include "device/place.h"
#include "parallel/rivals.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define READINGS 7   /* of a number of samples; the median counts */

/* ---- reading, measuring -------------------------------------------------------------- */

static double slowness(const struct mt_session *s)
{
    return s->config->device.slow_from > 0 ? 1 : s->config->device.slow;
}

/* The same text on all ranks. Gives *text (mt_free). */
static int share_text(struct mt_session *s, const char *path, char **text, size_t *bytes)
{
    struct mt_comm *comm = s->job->comm;
    int64_t n = 0;
    char *data = NULL;
    int code = MOTLEY_OK, st = MOTLEY_OK;

    if (s->job->info->rank == 0) {
        code = mt_file_read(s->ctx, path, &data, bytes);
        n = code < 0 ? 0 : (int64_t)*bytes;
    }
    MT_TRY_OR(fail, mt_job_agree(s->job, code));
    MT_TRY_OR(fail, mt_comm_bcast(comm, &n, sizeof n, 0));
    if (s->job->info->rank != 0) {
        code = MT_NEW_N(s->ctx, n + 1, &data);
    }
    MT_TRY_OR(fail, mt_job_agree(s->job, code));
    MT_TRY_OR(fail, mt_comm_bcast(comm, data, (size_t)n, 0));
    *text = data;
    *bytes = (size_t)n;
    return MOTLEY_OK;
fail:
    mt_free(s->ctx, data);
    return st;
}

struct place {
    struct mt_profile_seat seat;
    int host;
};

static int check_places(const struct mt_session *s, const struct mt_profile *p,
                        const struct place *all)
{
    struct mt_profile_seat *seat = NULL;
    int size = s->job->info->size, *host = NULL, st = MOTLEY_OK;

    MT_TRY_OR(done, MT_NEW_N(s->ctx, size, &seat));
    MT_TRY_OR(done, MT_NEW_N(s->ctx, size, &host));
    for (int r = 0; r < size; r++) {
        seat[r] = all[r].seat;
        host[r] = all[r].host;
    }
    MT_TRY_OR(done, mt_profile_check(p, s->config->parallel.profile, s->batch, seat,
                                     host, size));
done:
    mt_free(s->ctx, host);
    mt_free(s->ctx, seat);
    return st;
}

static int parse(struct mt_session *s, const char *text, size_t bytes, struct mt_profile **out)
{
    char network[40];

    MT_TRY(mt_profile_network(s->whole, s->optim, network, sizeof network));
    return mt_profile_parse(s->ctx, text, bytes, s->config->parallel.profile, s->whole, network,
                            out);
}

static int read_profile(struct mt_session *s, struct mt_profile **out)
{
    struct mt_job *job = s->job;
    struct place mine, *all = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int st;

    memset(&mine, 0, sizeof mine);
    mt_profile_seat(job->dev, job->comm, slowness(s), &mine.seat);
    mine.host = job->info->node;
    MT_TRY_OR(done, mt_job_agree(job, MT_NEW_N(s->ctx, job->info->size, &all)));
    MT_TRY_OR(done, mt_comm_allgather(job->comm, &mine, sizeof mine, all));
    MT_TRY_OR(done, share_text(s, s->config->parallel.profile, &text, &bytes));
    MT_TRY_OR(done, mt_job_agree(job, parse(s, text, bytes, out)));
    MT_TRY_OR(done, mt_job_agree(job, check_places(s, *out, all)));
done:
    mt_free(s->ctx, text);
    mt_free(s->ctx, all);
    return st;
}

/* Seconds to bring `rows` samples to the device, the median; before it as many that are not
 * counted, so that no memory is touched for the first time. */
static int time_reading(struct mt_session *s, int64_t rows, double *seconds)
{
    struct mt_feed_ask ask = {.seed = s->config->seed, .rows = rows, .shuffle = s->data->shuffle};
    struct mt_feed *feed = NULL;
    struct mt_tensor x, y;
    double took[READINGS];
    int st;

    mt_session_specs(&s->sample, rows, &x.spec, &y.spec);
    MT_TRY(mt_feed_new(s->job->dev, s->data->train, &s->sample, &x.spec, &y.spec, MT_FEED_ALL,
                       &feed));
    for (int i = -READINGS; i < READINGS; i++) {
        double from = mt_comm_clock();

        MT_TRY_OR(done, mt_feed_ask(feed, &ask));
        MT_TRY_OR(done, mt_feed_take(feed, &x, &y));
        mt_feed_done(feed);
        if (i >= 0) {
            took[i] = mt_comm_clock() - from;
        }
        ask.first = ask.first + 2 * rows <= s->data->train->n ? ask.first + rows : 0;
    }
    *seconds = mt_num_median(took, READINGS);
done:
    mt_feed_free(feed);
    return st;
}

/* What reading takes from a device that computes on the cores of this host, of which it needs one;
 * others are left alone by it. */
static int measure_reading(struct mt_session *s, struct mt_curve *out)
{
    const struct mt_dev_info *info = mt_dev_info(s->job->dev);
    int64_t n = s->data != NULL ? s->data->train->n : 0, most = n < s->batch ? n : s->batch;

    out->n = 0;
    if (info->type != MT_DEV_CPU || most < 2) {
        return MOTLEY_OK;
    }
    for (int i = 0; i < 2; i++) {
        out->rows[i] = i == 0 ? 1 : (double)most;
        MT_TRY(time_reading(s, (int64_t)out->rows[i], &out->seconds[i]));
        out->seconds[i] /= info->units;
        out->n++;
    }
    return MOTLEY_OK;
}

int mt_session_profile(struct mt_session *s, const struct mt_profile **out)
{
    struct mt_profile_opt opt = {.most = s->batch,
                                 .memory_bytes = (double)mt_job_memory(s->job),
                                 .slow = slowness(s),
                                 .bucket_bytes = s->config->parallel.bucket_bytes,
                                 .bf16 = s->config->parallel.wire == MT_WIRE_BF16};
    struct mt_profile *p = NULL;
    int st = MOTLEY_OK;

    if (s->profile == NULL) {
        MT_CHECK(s->optim != NULL, MOTLEY_EARG, "only what trains is measured");
        MT_TRY(mt_job_agree(s->job, mt_optim_bind(s->optim, s->job->dev)));
        if (s->config->parallel.profile != NULL) {
            MT_TRY_OR(fail, read_profile(s, &p));
        } else {
            MT_TRY(mt_job_agree(s->job, measure_reading(s, &opt.read)));
            MT_TRY(mt_profile_measure(s->job->dev, s->job->comm, s->whole, s->optim, &opt,
                                      &p));
        }
        s->profile = p;
    }
    *out = s->profile;
    return MOTLEY_OK;
fail:
    mt_profile_free(p);
    return st;
}

int mt_session_profile_save(struct mt_session *s, const char *path)
{
    const struct mt_profile *p = NULL;
    char *text = NULL;
    int code = MOTLEY_OK;

    MT_TRY(mt_session_profile(s, &p));
    if (s->job->info->rank == 0) {
        code = mt_profile_print(p, s->whole, &text);
        code = code < 0 ? code : mt_file_write(s->ctx, path, text, strlen(text));
        mt_free(s->ctx, text);
    }
    return mt_job_agree(s->job, code);
}

/* ---- rivals -------------------------------------------------------------------------- */

static int compare(struct mt_session *s, const struct mt_cluster *c, const struct mt_rival *all)
{
    double *seconds = NULL;
    int st = MOTLEY_OK;

    MT_TRY_OR(done, MT_NEW_N(s->ctx, c->nrank, &seconds));
    MT_TRY_OR(done, MT_NEW_N(s->ctx, c->nrank, &s->rival));
    for (int r = 0; r < c->nrank; r++) {
        struct mt_curve curve;

        mt_profile_step(c, s->whole, r, &curve);
        seconds[r] = mt_curve_at(&curve, (double)s->batch);
    }
    mt_rivals(c->nrank, all, seconds, s->rival);
    for (int r = 0; r < c->nrank && s->job->info->rank == 0; r++) {
        int by = s->rival[r];

        if (by >= 0) {
            mt_log(s->ctx, MT_LOG_INFO, "parallel", "rank %d (%s, %s): left out: it computes "
                   "on the processors of rank %d (%s), which does %.3g times as much with them", r,
                   s->profile->seat[r].host, s->profile->seat[r].device, by,
                   s->profile->seat[by].device, seconds[r] / seconds[by]);
        }
    }
done:
    mt_free(s->ctx, seconds);
    return st;
}

/* A rank that was made slower on purpose leaves its processors to others, so it is no rival. */
int mt_session_rivals(struct mt_session *s, const struct mt_profile *p)
{
    const struct mt_dev_info *d = &s->job->taken;
    struct mt_rival mine = {.host = s->job->info->node}, *all = NULL;
    int st;

    if (s->rival != NULL) {
        return MOTLEY_OK;
    }
    mine.cpu = d->type == MT_DEV_CPU && slowness(s) <= 1;
    snprintf(mine.platform, sizeof mine.platform, "%s", d->platform_name);
    mt_place_processors(mine.processor, MT_RIVAL_WORDS);
    MT_TRY(mt_job_agree(s->job, MT_NEW_N(s->ctx, s->job->info->size, &all)));
    MT_TRY_OR(done, mt_comm_allgather(s->job->comm, &mine, sizeof mine, all));
    MT_TRY_OR(done, mt_job_agree(s->job, compare(s, p->cluster, all)));
done:
    mt_free(s->ctx, all);
    return st;
}

/* ---- shares -------------------------------------------------------------------------- */

/* Bytes of device memory of a share of so many rows, before scratch is known. */
static int count_rows(struct mt_session *s, int64_t rows, uint64_t *bytes)
{
    int micros = (int)s->config->train.micro_batches;
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = micros,
                                 .clip = s->config->train.clip_norm > 0};
    struct mt_plan_opt opt = {.hold = -1, .micros = micros};
    struct mt_graph *g = NULL;
    struct mt_plan *plan = NULL;
    struct mt_steps steps = {0};
    int st;

    MT_TRY_OR(done, mt_graph_rebatch(s->whole, (rows + micros - 1) / micros, &g));
    MT_TRY_OR(done, mt_order(g, &order, &steps));
    MT_TRY_OR(done, mt_plan_new(g, &steps, &opt, &plan));
    *bytes = mt_store_bytes(g, s->optim) + mt_plan_bytes(plan) +
             mt_feed_bytes(&s->sample, rows, MT_FEED_ALL);
done:
    mt_plan_free(plan);
    mt_steps_fini(&steps);
    mt_graph_free(g);
    return st;
}

/* The most rows of a batch that fit the memory of this process. */
static int most_rows(struct mt_session *s, int64_t *most)
{
    uint64_t have = mt_job_memory(s->job), need;
    int64_t lo = 0, hi = s->batch;

    MT_TRY(count_rows(s, hi, &need));
    if (have == 0 || need <= have) {
        *most = hi;
        return MOTLEY_OK;
    }
    while (lo + 1 < hi) {
        int64_t mid = lo + (hi - lo) / 2;

        MT_TRY(count_rows(s, mid, &need));
        if (need <= have) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    *most = lo;
    return MOTLEY_OK;
}

static void tell_share(struct mt_session *s, int rank, int64_t rows, int64_t most,
                       const struct mt_curve *curve, double longest)
{
    const struct mt_profile_seat *seat = &s->profile->seat[rank];
    const char *why = rows == most && most < s->batch ? ", all that its memory takes" : "";

    if (s->rival[rank] >= 0) {
        return;   /* that was told */
    }
    if (rows == 0) {
        mt_log(s->ctx, MT_LOG_INFO, "parallel", "rank %d (%s, %s): left out: %s%.3g ms, and the "
               "others are done in %.3g ms", rank, seat->host, seat->device,
               most == 0 ? "no sample fits its memory; one would take " : "one sample takes it ",
               1e3 * mt_curve_at(curve, 1), 1e3 * longest);
    } else {
        mt_log(s->ctx, MT_LOG_INFO, "parallel", "rank %d (%s, %s): %" PRId64 " of %" PRId64
               " samples, %.3g ms a step%s", rank, seat->host, seat->device, rows, s->batch,
               1e3 * mt_curve_at(curve, (double)rows), why);
    }
}

static int divide(struct mt_session *s, const struct mt_cluster *c, const int64_t *most)
{
    int size = c->nrank, st = MOTLEY_OK;
    struct mt_curve *curve = NULL;
    int64_t *rows = NULL, batch = s->batch;
    double longest;

    MT_TRY_OR(done, MT_NEW_N(s->ctx, size, &curve));
    MT_TRY_OR(done, MT_NEW_N(s->ctx, size, &rows));
    MT_TRY_OR(done, MT_NEW_N(s->ctx, size, &s->found));
    for (int r = 0; r < size; r++) {
        mt_profile_step(c, s->whole, r, &curve[r]);
    }
    longest = mt_share_by_time(size, curve, most, batch, rows);
    MT_CHECK_OR(done, longest >= 0, MOTLEY_EDEV,
                "parallel.shares: auto: a batch of %" PRId64 " samples does not fit the memory of "
                "the %d ranks together: lower train.batch or raise train.micro_batches", batch,
                size);
    for (int r = 0; r < size && s->job->info->rank == 0; r++) {
        tell_share(s, r, rows[r], most[r], &curve[r], longest);
    }
    for (int r = 0; r < size; r++) {
        s->found[r] = (double)rows[r];
    }
done:
    mt_free(s->ctx, rows);
    mt_free(s->ctx, curve);
    return st;
}

int mt_session_auto_shares(struct mt_session *s)
{
    const struct mt_config *c = s->config;
    const struct mt_profile *p = NULL;
    int64_t mine = 0, *most = NULL;
    int st;

    if (!c->parallel.auto_shares || s->job->info->size == 1) {
        return MOTLEY_OK;
    }
    MT_CHECK(c->parallel.stages == 1 && c->parallel.tensor == 1 && c->parallel.layout == NULL,
             MOTLEY_ECONFIG, "parallel.shares: auto is for replicas of one rank each: with stages "
             "or divided layers give the shares as numbers, or leave it all to parallel.grid=auto");
    MT_TRY(mt_session_profile(s, &p));
    MT_TRY(mt_session_rivals(s, p));
    MT_TRY(mt_job_agree(s->job, most_rows(s, &mine)));
    mine = s->rival[s->job->info->rank] >= 0 ? 0 : mine;
    MT_TRY_OR(done, mt_job_agree(s->job, MT_NEW_N(s->ctx, s->job->info->size, &most)));
    MT_TRY_OR(done, mt_comm_allgather(s->job->comm, &mine, sizeof mine, most));
    MT_TRY_OR(done, mt_job_agree(s->job, divide(s, p->cluster, most)));
done:
    mt_free(s->ctx, most);
    return st;
}
