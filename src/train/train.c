/* train.c -- the loop: one step is feed, run, and a look at the figures of two steps ago.
 *
 * Everything that decides what happens next is the same on all processes: the number of the
 * step, figures that have the same bits everywhere, or a small sum over all (stop requests, wall
 * time), taken about five times a second so that it costs nothing. */
#define _POSIX_C_SOURCE 200809L
#include "train/train.h"

#include "base/clock.h"
#include "train/metric.h"
#include "train/pace.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define AGREE_SECONDS 0.2   /* between two questions whether somebody wants to stop */

/* What ranks tell each other between steps. */
struct word {
    double stop, over;               /* somebody wants to stop; the time is over (rank 0) */
    double steps;                    /* until the next exchange (rank 0) */
    struct mt_pace_note pace;
};

/* Where in the data a step stands. */
struct cursor {
    int64_t epoch, position;
};

struct loop {
    struct mt_session *s;
    const struct mt_train_opt *opt;
    char checkpoints[PATH_MAX];
    struct mt_metric *metric;        /* rank 0 with a folder */
    struct mt_sched *sched;
    struct mt_late *late;
    struct mt_pace *pace;
    struct word *word;               /* of all ranks */
    struct mt_pace_note *notes;      /* the part of them that is for the pace */
    int moves;                       /* s->moves when it was last asked for batches */
    int64_t n, batch, total;         /* samples, samples a step, steps planned (0: unknown) */
    struct cursor ask;               /* next batch to ask for */
    int64_t asked;                   /* steps asked for, since the start */
    struct timespec begin;           /* of training */
    struct timespec mark;            /* of the current interval */
    struct mt_late_host before;      /* at its begin */
    double talked;                   /* processor time spent on messages */
    int64_t starved;                 /* as in mt_late_host */
    int64_t first_step;              /* where this process began */
    double loss, terms, hits;        /* of the current interval */
    int64_t rows;
    int64_t agree_at;                /* step at which all agree again */
    int check_each;                  /* MOTLEY_DEBUG=agree */
    const char *reason;              /* why it ends; NULL: it goes on */
};

static double since(const struct timespec *t)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

static struct mt_late_host host_now(const struct loop *l)
{
    return (struct mt_late_host){mt_clock_thread() - l->talked,
                                 mt_dev_launches(l->s->job->dev), l->starved};
}

/* Something that is no training. */
struct pause {
    struct timespec at;
    struct mt_late_host host;
};

static struct pause pause_begin(const struct loop *l)
{
    struct pause p = {.host = host_now(l)};

    clock_gettime(CLOCK_MONOTONIC, &p.at);
    return p;
}

/* The interval begins so much later. */
static void pause_end(struct loop *l, const struct pause *from)
{
    struct pause to = pause_begin(l);

    l->mark.tv_sec += to.at.tv_sec - from->at.tv_sec;
    l->mark.tv_nsec += to.at.tv_nsec - from->at.tv_nsec;
    l->before.busy += to.host.busy - from->host.busy;
    l->before.launches += to.host.launches - from->host.launches;
}

static int64_t rows_at(const struct loop *l, const struct cursor *c)
{
    int64_t left = l->n - c->position;

    return left < l->batch ? left : l->batch;
}

static void advance(const struct loop *l, struct cursor *c)
{
    c->position += rows_at(l, c);
    if (c->position >= l->n) {
        c->position = 0;
        c->epoch++;
    }
}

/* ---- reports ------------------------------------------------------------------------- */

static motley_progress progress_of(const struct loop *l, int event)
{
    const struct mt_session *s = l->s;
    motley_progress p = MOTLEY_INIT(motley_progress);
    int64_t done = s->pos.step - l->first_step;

    p.event = event;
    p.step = s->pos.step;
    p.steps = l->total;
    p.epoch = s->pos.epoch + (s->pos.position > 0 || s->pos.step == 0);
    p.epochs = s->config->train.epochs;
    p.accuracy = -1;
    p.seconds = since(&l->begin);
    p.seconds_left = -1;
    if (l->total > 0 && done > 0) {
        p.seconds_left = p.seconds / (double)done * (double)(l->total - s->pos.step);
    }
    return p;
}

/* To the metrics file and to the caller, who may ask to stop. */
static int report(struct loop *l, const motley_progress *p)
{
    int code = l->metric != NULL ? mt_metric_write(l->metric, p) : MOTLEY_OK;

    if (code == MOTLEY_OK && l->opt->progress != NULL && l->opt->progress(l->opt->arg, p) != 0) {
        l->s->job->stop = 1;
    }
    return code;
}

/* Takes the figures of one step; after every log_every steps they are reported. */
static int take_figures(struct loop *l, const struct mt_late_step *f)
{
    motley_progress p;
    struct mt_result r;

    l->loss += f->loss;
    l->terms += f->terms;
    l->hits += f->hits;
    l->rows += f->rows;
    if (f->step % l->s->config->train.log_every != 0) {
        return MOTLEY_OK;
    }
    r = mt_session_result(l->s, l->loss, l->terms, l->hits);
    p = progress_of(l, MOTLEY_AT_STEP);
    p.step = f->step;
    p.epoch = f->epoch;
    p.loss = r.loss;
    p.accuracy = r.accuracy;
    p.lr = f->lr;
    p.grad_norm = f->norm;
    p.loss_scale = f->loss_scale;
    p.skipped = (int64_t)f->skipped;
    p.interval = since(&l->mark);
    p.samples_per_second = (double)l->rows / p.interval;
    p.host_busy = f->host.busy - l->before.busy;
    p.launches = (int64_t)(f->host.launches - l->before.launches);
    p.starved = f->host.starved - l->before.starved;
    p.input_wait = mt_feed_waited(l->s->train.feed);
    if (l->s->train.par->dp != NULL) {
        struct mt_dp_times t = mt_dp_times(l->s->train.par->dp);

        p.comm_flight = t.flight;
        p.comm_exposed = t.exposed;
    }
    l->loss = l->terms = l->hits = 0;
    l->rows = 0;
    l->before = f->host;
    clock_gettime(CLOCK_MONOTONIC, &l->mark);
    return report(l, &p);
}

/* Looks at all steps that are still under way. */
static int catch_up(struct loop *l)
{
    struct mt_late_step f;
    int have = 1;

    while (have) {
        MT_TRY(mt_late_pop(l->late, &f, &have));
        if (have) {
            MT_TRY(take_figures(l, &f));
        }
    }
    return MOTLEY_OK;
}

/* ---- one step ------------------------------------------------------------------------ */

static int ask_ahead(struct loop *l)
{
    struct mt_session *s = l->s;

    while (mt_feed_room(s->train.feed) && (l->total == 0 || l->asked < l->total)) {
        struct mt_feed_ask a = {.seed = s->config->seed, .epoch = l->ask.epoch,
                                .shuffle = s->data->shuffle};
        int64_t lo, hi;

        mt_session_share(s, rows_at(l, &l->ask), &lo, &hi);
        a.first = l->ask.position + lo;
        a.rows = hi - lo;
        MT_TRY(mt_feed_ask(s->train.feed, &a));
        advance(l, &l->ask);
        l->asked++;
    }
    return MOTLEY_OK;
}

/* The next batch to ask for is that of the next step: at the start, and after shares moved. */
static int ask_anew(struct loop *l)
{
    l->ask = (struct cursor){l->s->pos.epoch, l->s->pos.position};
    l->asked = l->s->pos.step;
    l->moves = l->s->moves;
    return ask_ahead(l);
}

static int one_step(struct loop *l)
{
    struct mt_session *s = l->s;
    struct cursor here = {s->pos.epoch, s->pos.position};
    struct mt_batch b = {.step = s->pos.step, .lr = mt_sched_lr(l->sched, s->pos.step)};
    struct mt_late_step now = {.step = s->pos.step + 1, .epoch = here.epoch + 1,
                               .rows = rows_at(l, &here), .lr = b.lr};
    struct mt_late_step old;
    int64_t hi;
    int have = 0, over;

    if (l->moves != s->moves) {
        MT_TRY(ask_anew(l));
    }
    mt_comm_doing(s->job->comm, "training step", now.step);
    mt_session_share(s, now.rows, &b.first, &hi);
    b.rows = hi - b.first;
    mt_pace_begin(l->pace);
    MT_TRY(mt_feed_take(s->train.feed, &b.x, &b.y));
    MT_TRY(mt_late_over(l->late, &over));
    l->starved += over;
    MT_TRY(mt_exec_run(s->train.exec, &b));
    l->talked += mt_exec_talked(s->train.exec);
    mt_pace_end(l->pace, now.rows == l->batch || now.rows == l->n);
    mt_feed_done(s->train.feed);
    MT_TRY(ask_ahead(l));
    if (now.step % s->config->train.log_every == 0) {
        now.host = host_now(l);
    }
    MT_TRY(mt_late_push(l->late, &now, &old, &have));
    advance(l, &here);
    s->pos.epoch = here.epoch;
    s->pos.position = here.position;
    s->pos.step++;
    if (have) {
        MT_TRY(take_figures(l, &old));
    }
    return l->check_each ? mt_session_compare(s) : MOTLEY_OK;
}

/* ---- between steps ------------------------------------------------------------------- */

static int evaluate(struct loop *l)
{
    const struct mt_config *c = l->s->config;
    struct pause from;
    motley_progress p;
    struct mt_result r;

    MT_TRY(catch_up(l));
    from = pause_begin(l);
    mt_comm_doing(l->s->job->comm, "the evaluation after step", l->s->pos.step);
    MT_TRY(mt_session_eval(l->s, &r));
    p = progress_of(l, MOTLEY_AT_EVAL);
    p.epoch = l->s->pos.epoch + (l->s->pos.position > 0);
    p.loss = r.loss;
    p.accuracy = r.accuracy;
    MT_TRY(report(l, &p));
    if ((c->train.target_loss > 0 && r.loss <= c->train.target_loss) ||
        (c->train.target_accuracy > 0 && r.accuracy >= c->train.target_accuracy)) {
        l->reason = "target";
    }
    pause_end(l, &from);
    mt_pace_mark(l->pace);
    return MOTLEY_OK;
}

static int save(struct loop *l)
{
    struct mt_session *s = l->s;
    char path[PATH_MAX + 32];
    struct pause from;
    motley_progress p;
    int code = MOTLEY_OK;

    if (l->opt->folder == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(catch_up(l));
    from = pause_begin(l);
    mt_comm_doing(s->job->comm, "the checkpoint of step", s->pos.step);
    snprintf(path, sizeof path, "%s/step-%" PRId64, l->checkpoints, s->pos.step);
    MT_TRY(mt_session_save(s, path));
    if (s->job->info->rank == 0) {
        code = mt_ckpt_prune(s->ctx, l->checkpoints, s->config->checkpoint.keep);
    }
    MT_TRY(mt_job_agree(s->job, code));
    p = progress_of(l, MOTLEY_AT_CHECKPOINT);
    p.path = path;
    MT_TRY(report(l, &p));
    pause_end(l, &from);
    mt_pace_mark(l->pace);
    return MOTLEY_OK;
}

/* Whether an event with this interval (0: at the end of each epoch, < 0: never) is due. */
static int due(const struct loop *l, int64_t every)
{
    if (every > 0) {
        return l->s->pos.step % every == 0;
    }
    return every == 0 && l->s->pos.position == 0;
}

/* One small exchange: does anybody want to stop, is the time over, how fast is everybody, when to
 * ask again. */
static int agree(struct loop *l)
{
    const struct mt_config *c = l->s->config;
    struct word mine = {.stop = l->s->job->stop != 0, .pace = mt_pace_tell(l->pace)};
    struct mt_pace_note *pace = l->notes;
    double each, done, from;

    if (l->s->pos.step < l->agree_at) {
        return MOTLEY_OK;
    }
    if (l->s->job->info->rank == 0) {
        done = (double)(l->s->pos.step - l->first_step);
        each = done > 0 ? since(&l->begin) / done : AGREE_SECONDS;
        mine.steps = each > 0 && each < AGREE_SECONDS ? AGREE_SECONDS / each : 1;
        mine.steps = mt_pace_steps(l->pace, mine.steps < 1000 ? mine.steps : 1000, each);
        mine.over = c->train.seconds > 0 && since(&l->begin) >= c->train.seconds;
    }
    from = mt_clock_thread();
    MT_TRY(mt_comm_allgather(l->s->job->comm, &mine, sizeof mine, l->word));
    l->talked += mt_clock_thread() - from;
    l->agree_at = l->s->pos.step + (l->s->job->info->size > 1 ? (int64_t)l->word[0].steps : 1);
    for (int r = 0; r < l->s->job->info->size; r++) {
        pace[r] = l->word[r].pace;
        if (l->word[r].stop > 0) {
            l->reason = "stop";
        }
    }
    if (l->reason == NULL && l->word[0].over > 0) {
        l->reason = "time";
    }
    if (l->reason == NULL) {
        MT_TRY(mt_pace_look(l->pace, pace));
    }
    mt_pace_mark(l->pace);
    return MOTLEY_OK;
}

static int between(struct loop *l)
{
    const struct mt_config *c = l->s->config;
    int has_held = l->s->eval.exec != NULL;

    MT_TRY(agree(l));
    if (l->reason == NULL && l->total > 0 && l->s->pos.step >= l->total) {
        l->reason = c->train.steps > 0 && l->total == c->train.steps ? "steps" : "epochs";
    }
    if (has_held && (due(l, c->train.eval_every) ||
                     (l->reason != NULL && strcmp(l->reason, "stop") != 0))) {
        MT_TRY(evaluate(l));
    }
    if (due(l, c->checkpoint.every) || l->reason != NULL) {
        MT_TRY(save(l));
    }
    return MOTLEY_OK;
}

/* ---- start and end ------------------------------------------------------------------- */

static int check_limits(const struct mt_session *s)
{
    const struct mt_config *c = s->config;

    MT_CHECK(s->data != NULL && s->train.exec != NULL, MOTLEY_EARG,
             "this run has no data section to train on: use motley_step");
    MT_CHECK(s->eval.exec != NULL || (c->train.target_loss <= 0 && c->train.target_accuracy <= 0),
             MOTLEY_ECONFIG, "train.target_loss and train.target_accuracy need held-out data: set "
             "data.validation");
    MT_CHECK(c->train.epochs > 0 || c->train.steps > 0 || c->train.seconds > 0 ||
                 c->train.target_loss > 0 || c->train.target_accuracy > 0,
             MOTLEY_ECONFIG, "nothing says when to stop: set train.epochs");
    return MOTLEY_OK;
}

/* Run folder, checkpoint to continue from, metrics. */
static int open_folder(struct loop *l)
{
    struct mt_session *s = l->s;
    struct mt_ckpt *c = NULL;
    int have = 0, rank0 = s->job->info->rank == 0, code = MOTLEY_OK;
    char path[PATH_MAX + 32];

    if (l->opt->folder == NULL) {
        return MOTLEY_OK;
    }
    snprintf(l->checkpoints, sizeof l->checkpoints, "%.*s/checkpoints", PATH_MAX - 64,
             l->opt->folder);
    MT_TRY(mt_job_agree(s->job, rank0 ? mt_folder_open(s, l->opt, &c) : MOTLEY_OK));
    have = c != NULL;
    MT_TRY(mt_comm_bcast(s->job->comm, &have, sizeof have, 0));
    if (have) {
        MT_TRY(mt_session_load(s, c, 0));
        if (s->pos.position >= l->n) {
            s->pos.position = 0;   /* the data has become smaller since */
            s->pos.epoch++;
        }
    }
    if (rank0) {
        snprintf(path, sizeof path, "%.*s/metrics.jsonl", PATH_MAX - 64, l->opt->folder);
        code = mt_metric_open(s->ctx, path, have ? s->pos.step : -1, &l->metric);
    }
    return mt_job_agree(s->job, code);
}

static int run(struct loop *l)
{
    struct mt_session *s = l->s;
    motley_progress p;

    clock_gettime(CLOCK_MONOTONIC, &l->begin);
    l->mark = l->begin;
    l->before = host_now(l);
    l->first_step = l->agree_at = s->pos.step;
    p = progress_of(l, MOTLEY_AT_START);
    p.path = s->loaded;
    MT_TRY(report(l, &p));
    if (l->total > 0 && s->pos.step >= l->total) {
        l->reason = "nothing left to do";
    }
    MT_TRY(ask_anew(l));
    while (l->reason == NULL) {
        MT_TRY(one_step(l));
        MT_TRY(between(l));
    }
    MT_TRY(catch_up(l));
    MT_TRY(mt_feed_reset(s->train.feed));
    p = progress_of(l, MOTLEY_AT_END);
    p.reason = l->reason;
    p.seconds_left = 0;
    return report(l, &p);
}

static int make_pace(struct loop *l)
{
    MT_TRY(MT_NEW_N(l->s->ctx, l->s->job->info->size, &l->word));
    MT_TRY(MT_NEW_N(l->s->ctx, l->s->job->info->size, &l->notes));
    return mt_pace_new(l->s, l->metric, &l->pace);
}

int mt_train(struct mt_session *s, const struct mt_train_opt *opt)
{
    struct loop *l = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_job_agree(s->job, check_limits(s)));
    MT_TRY(mt_job_agree(s->job, MT_NEW(s->ctx, &l)));
    l->s = s;
    l->opt = opt;
    l->n = s->data->train->n;
    l->batch = s->batch;
    l->check_each = mt_env_has(&s->ctx->env, MT_ENV_DEBUG, "agree");
    MT_TRY_OR(done, mt_job_agree(s->job, mt_feed_reset(s->train.feed)));   /* of a failed call */
    MT_TRY_OR(done, mt_job_agree(s->job, mt_session_sched(s, &l->total, &l->sched)));
    MT_TRY_OR(done, mt_job_agree(s->job, mt_late_new(s, &l->late)));
    MT_TRY_OR(done, open_folder(l));
    MT_TRY_OR(done, mt_job_agree(s->job, make_pace(l)));
    MT_TRY_OR(done, run(l));
    mt_comm_doing(s->job->comm, NULL, 0);
    if (strcmp(l->reason, "stop") == 0) {
        s->job->shared = 1;
        MT_FAIL_OR(done, MOTLEY_ESTOP, "stopped on request after step %" PRId64 "%s", s->pos.step,
                   opt->folder != NULL ? "; --resume continues" : "");
    }
done:
    mt_pace_free(l->pace);
    mt_free(s->ctx, l->notes);
    mt_free(s->ctx, l->word);
    mt_metric_close(l->metric);
    mt_late_free(l->late);
    mt_sched_free(l->sched);
    mt_free(s->ctx, l);
    return st;
}
