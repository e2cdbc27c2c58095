/* task.c -- the tasks of a session, training, evaluation and prediction: each has a graph and a
 * list of steps, which are planned and counted before anything touches the device, then bound to
 * it; with new shares they are made again. */
#include "train/session.h"

#include <inttypes.h>
#include <string.h>

#define PREDICT_ROWS 1024   /* the most samples of one prediction on the device */

/* ---- one task ------------------------------------------------------------------------ */

/* Whether the norm of all gradients must be known before any weight is updated: to clip it, or to
 * find that some gradient overflowed. */
static int needs_norm(const struct mt_session *s, const struct mt_graph *g)
{
    return s->config->train.clip_norm > 0 || g->storage == MT_FP16;
}

/* Graph and steps of a task; nothing of it touches the device. rows: the most of one batch;
 * micros: parts of it. alone: this process has everything, whatever the layout says. */
static int plan_task(struct mt_session *s, struct mt_task *t, enum mt_mode mode, int alone,
                     int64_t rows, int micros)
{
    struct mt_order_opt order = {.mode = mode, .micros = micros};
    const struct mt_layout *layout = alone ? NULL : s->layout;
    struct mt_graph *whole = NULL;
    struct mt_spec x, y;

    mt_session_specs(&s->sample, rows, &t->x, &t->y);
    mt_session_specs(&s->sample, (rows + micros - 1) / micros, &x, &y);
    x.dtype = mt_dtype_of(s->config->precision);
    t->rows = rows;
    t->micros = micros;
    MT_TRY(mt_graph_build(s->ctx, s->config->model, alone ? NULL : s->config->loss, &x, &y,
                          &whole));
    MT_TRY(mt_par_graph(whole, layout, s->job->info->rank, &t->graph));
    order.clip = needs_norm(s, t->graph);
    return mt_par_order(t->graph, layout, s->job->info->rank, &order, &t->steps);
}

static unsigned feed_wants(const struct mt_graph *g)
{
    return (mt_graph_reads(g, g->x) ? MT_FEED_X : 0) | (mt_graph_reads(g, g->y) ? MT_FEED_Y : 0);
}

/* Bytes that the task will take besides parameters, before scratch of algorithms is known. */
static int count_task(struct mt_session *s, struct mt_task *t, int hold, uint64_t *bytes)
{
    struct mt_plan_opt opt = {.hold = -1, .micros = t->micros};
    struct mt_plan *plan = NULL;

    if (t->graph == NULL) {
        return MOTLEY_OK;
    }
    opt.hold = hold ? t->graph->value[t->graph->output].root : -1;
    MT_TRY(mt_plan_new(t->graph, &t->steps, &opt, &plan));
    *bytes += mt_plan_bytes(plan) +
              mt_feed_bytes(&s->sample, t->rows, feed_wants(t->graph));
    mt_plan_free(plan);
    return MOTLEY_OK;
}

static void free_task(struct mt_task *t)
{
    mt_exec_free(t->exec);
    mt_par_free(t->par);
    mt_feed_free(t->feed);
    mt_plan_free(t->plan);
    mt_steps_fini(&t->steps);
    mt_graph_free(t->graph);
    memset(t, 0, sizeof *t);
}

/* ---- planning all tasks -------------------------------------------------------------- */

/* The most rows of this process over all batches of n samples: only the full batch and the last
 * one differ (a share of fewer rows can be larger by one, so both are asked). At least 1. */
static int64_t most_rows(const struct mt_session *s, int64_t batch, int64_t n)
{
    int64_t lo, hi, most = 1;

    if (n <= 0 || n >= batch) {
        mt_session_share(s, batch, &lo, &hi);
        most = hi - lo > most ? hi - lo : most;
    }
    if (n > 0 && n % batch != 0) {
        mt_session_share(s, n % batch, &lo, &hi);
        most = hi - lo > most ? hi - lo : most;
    }
    return most;
}

static int64_t train_rows(const struct mt_session *s)
{
    return most_rows(s, s->batch, s->data != NULL ? s->data->train->n : 0);
}

static int64_t eval_rows(const struct mt_session *s)
{
    return most_rows(s, s->eval_batch, s->data != NULL && s->data->held != NULL
                                           ? s->data->held->n : 0);
}

/* A stage at work on one half of a batch while the next one has the other. */
static int eval_micros(const struct mt_session *s)
{
    return s->seat.replica >= 0 && s->layout->replica[s->seat.replica].nstage > 1
               ? mt_session_micros(s) : 1;
}

static int hold_of(const struct mt_session *s)
{
    return s->opt.mode == MT_SESSION_PREDICT;
}

static int count_memory(struct mt_session *s)
{
    const struct mt_dev_info *info = &s->job->taken;
    const struct mt_graph *g = s->train.graph != NULL     ? s->train.graph
                               : s->eval.graph != NULL ? s->eval.graph
                                                       : s->predict.graph;
    uint64_t work = 0, weights = mt_store_bytes(g, s->optim);

    MT_TRY(count_task(s, &s->train, 0, &work));
    MT_TRY(count_task(s, &s->eval, 0, &work));
    MT_TRY(count_task(s, &s->predict, hold_of(s), &work));
    s->need_bytes = work + weights;
    s->have_bytes = mt_job_memory(s->job);
    if (s->opt.mode == MT_SESSION_PLAN || s->have_bytes == 0) {
        return MOTLEY_OK;
    }
    MT_CHECK(s->need_bytes <= s->have_bytes, MOTLEY_EDEV,
             "%s of %" PRId64 " samples (%" PRId64 " here) needs %.1f MiB and the network %.1f MiB "
             "of device memory; %s has %.1f MiB%s: lower %s",
             s->train.graph != NULL ? "a step" : "a batch",
             s->train.graph != NULL ? s->batch : s->eval_batch,
             s->train.graph != NULL ? s->train.rows : s->eval.rows, (double)work / (1 << 20),
             (double)weights / (1 << 20), info->name, (double)s->have_bytes / (1 << 20),
             info->limited & MT_DEV_LIMIT_MEMORY ? " (device.memory)" : "",
             s->train.graph != NULL ? "train.batch or raise train.micro_batches"
                                    : "train.eval_batch");
    return MOTLEY_OK;
}

int mt_session_plan_tasks(struct mt_session *s)
{
    enum mt_session_mode mode = s->opt.mode;
    int has_held = s->data != NULL && s->data->held != NULL;

    if (s->optim != NULL) {
        MT_TRY(plan_task(s, &s->train, MT_TRAIN, 0, train_rows(s), mt_session_micros(s)));
    }
    if (mode == MT_SESSION_EVAL || (mode != MT_SESSION_PREDICT && has_held)) {
        MT_TRY(plan_task(s, &s->eval, MT_EVAL, 0, eval_rows(s), eval_micros(s)));
    }
    if (mode == MT_SESSION_PREDICT) {
        MT_TRY(plan_task(s, &s->predict, MT_EVAL, 1,
                         s->eval_batch < PREDICT_ROWS ? s->eval_batch : PREDICT_ROWS, 1));
    }
    return count_memory(s);
}

/* ---- binding ------------------------------------------------------------------------- */

static int start_task(struct mt_session *s, struct mt_task *t, enum mt_mode mode, int hold,
                      const struct mt_set *set)
{
    struct mt_exec_opt opt = {.mode = mode, .micros = t->micros, .seed = s->config->seed,
                              .clip_norm = s->config->train.clip_norm, .hold_output = hold,
                              .optim = mode == MT_TRAIN ? s->optim : NULL,
                              .slow = s->config->device.slow,
                              .slow_from = s->config->device.slow_from};

    MT_TRY(mt_feed_new(s->job->dev, set, &s->sample, &t->x, &t->y, feed_wants(t->graph),
                       &t->feed));
    MT_TRY(mt_exec_new(s->job->dev, t->graph, s->store, &opt, &t->steps, &t->exec));
    t->exec->pass = t->par;
    t->exec->idle = t->par != NULL ? mt_par_idle : t->exec->idle;
    return MOTLEY_OK;
}

/* sums: gradients travel (training). */
static int add_passes(struct mt_session *s, struct mt_task *t, int sums)
{
    struct mt_par_opt opt = {.bucket_bytes = s->config->parallel.bucket_bytes, .sums = sums,
                             .bf16 = s->config->parallel.wire == MT_WIRE_BF16,
                             .clip = needs_norm(s, t->graph), .layout = s->layout,
                             .whole = s->whole, .share = s->share};

    return mt_par_new(s->job->dev, s->job->comm, t->graph, &opt, &t->steps, &t->par);
}

/* The tasks whose rows are a matter of shares. */
static int start_shared(struct mt_session *s)
{
    if (s->train.graph != NULL) {
        MT_TRY(add_passes(s, &s->train, 1));
        MT_TRY(start_task(s, &s->train, MT_TRAIN, 0, s->data != NULL ? s->data->train : NULL));
    }
    if (s->eval.graph != NULL) {
        MT_TRY(add_passes(s, &s->eval, 0));
        MT_TRY(start_task(s, &s->eval, MT_EVAL, 0, s->data != NULL ? s->data->held : NULL));
    }
    return MOTLEY_OK;
}

static int bind_optim(struct mt_session *s, const struct mt_graph *g)
{
    if (s->optim != NULL) {
        s->optim->storage = g->storage;
        MT_TRY(mt_optim_bind(s->optim, s->job->dev));
    }
    return MOTLEY_OK;
}

int mt_session_start_tasks(struct mt_session *s)
{
    const struct mt_graph *g = s->train.graph != NULL  ? s->train.graph
                               : s->eval.graph != NULL ? s->eval.graph
                                                       : s->predict.graph;
    void *grad = NULL;

    MT_TRY(mt_job_agree(s->job, bind_optim(s, g)));
    if (s->optim != NULL && s->job->info->size > 1) {
        MT_TRY(mt_share_new(s->ctx, s->job->comm, mt_store_grad_bytes(g), &s->share));
        grad = mt_share_of(s->share, s->job->info->rank, 0, mt_store_grad_bytes(g));
    }
    MT_TRY(mt_store_new(s->job->dev, g, s->optim, grad, &s->store));
    MT_TRY(mt_store_init(s->store, g, s->config->seed));
    MT_TRY(mt_store_set_loss_scale(s->store, s->config->train.loss_scale, 0));
    MT_TRY(start_shared(s));
    if (s->predict.graph != NULL) {
        MT_TRY(start_task(s, &s->predict, MT_EVAL, 1, NULL));
    }
    return mt_dev_finish(s->job->dev);
}

/* A session that only plans: programs are built so that scratch is known, nothing is allocated. */
static int show_plan(struct mt_session *s, struct mt_task *t)
{
    struct mt_plan_opt opt = {.max_alloc = s->job->taken.max_alloc_bytes, .hold = -1,
                              .micros = t->micros};

    if (t->graph == NULL) {
        return MOTLEY_OK;
    }
    if (s->need_bytes <= s->have_bytes || s->have_bytes == 0) {
        MT_TRY(mt_graph_bind(t->graph, s->job->dev));
    } else {
        opt.max_alloc = 0;
    }
    return mt_plan_new(t->graph, &t->steps, &opt, &t->plan);
}

int mt_session_show_tasks(struct mt_session *s)
{
    MT_TRY(add_passes(s, &s->train, 1));
    MT_TRY(show_plan(s, &s->train));
    if (s->eval.graph != NULL) {
        MT_TRY(add_passes(s, &s->eval, 0));
    }
    return show_plan(s, &s->eval);
}

static uint64_t whole_size(const struct mt_session *s)
{
    return s->whole->param_size;
}

int mt_session_need_predict(struct mt_session *s)
{
    struct mt_task *t = &s->predict;

    if (t->exec != NULL) {
        return MOTLEY_OK;
    }
    MT_CHECK(s->store->size == whole_size(s), MOTLEY_EUNSUP,
             "prediction needs all layers in one process, this one holds a part of them: save a "
             "checkpoint and predict from that");
    MT_TRY(plan_task(s, t, MT_EVAL, 1, s->eval_batch < PREDICT_ROWS ? s->eval_batch : PREDICT_ROWS,
                     1));
    return start_task(s, t, MT_EVAL, 1, NULL);
}

void mt_session_drop_tasks(struct mt_session *s)
{
    free_task(&s->predict);
    free_task(&s->eval);
    free_task(&s->train);
}

/* ---- new shares ---------------------------------------------------------------------- */

int mt_session_carries(struct mt_session *s, int64_t rows, int *yes)
{
    struct mt_task train = {0}, eval = {0};
    uint64_t bytes = 0;
    int st = MOTLEY_OK;

    MT_TRY_OR(done, plan_task(s, &train, MT_TRAIN, 0, rows, mt_session_micros(s)));
    MT_TRY_OR(done, count_task(s, &train, 0, &bytes));
    if (s->data != NULL && s->data->held != NULL) {
        int64_t part = (rows * s->eval_batch + s->batch - 1) / s->batch;

        MT_TRY_OR(done, plan_task(s, &eval, MT_EVAL, 0, part, eval_micros(s)));
        MT_TRY_OR(done, count_task(s, &eval, 0, &bytes));
    }
    bytes += mt_store_bytes(train.graph, s->optim);
    *yes = s->have_bytes == 0 || bytes <= s->have_bytes;
done:
    free_task(&eval);
    free_task(&train);
    return st;
}

/* Rows to plan for when shares move: rounded up, four values for each power of two. So most moves
 * need no new plan, and products have sizes that were met, and checked, before. */
static int64_t roomy(const struct mt_session *s, int64_t rows)
{
    int64_t step = 1;

    while (step * 8 <= rows) {
        step *= 2;
    }
    rows = (rows + step - 1) / step * step;
    return rows < s->batch ? rows : s->batch;
}

static int has_room(const struct mt_task *t, int64_t rows)
{
    return t->exec == NULL || (rows <= t->rows && t->rows / 2 <= rows);
}

static int plan_moved(struct mt_session *s)
{
    int64_t rows = roomy(s, train_rows(s));
    int yes = 0;

    MT_TRY(mt_session_carries(s, rows, &yes));
    rows = yes ? rows : train_rows(s);
    MT_TRY(plan_task(s, &s->train, MT_TRAIN, 0, rows, mt_session_micros(s)));
    if (s->data != NULL && s->data->held != NULL) {
        rows = yes ? roomy(s, eval_rows(s)) : eval_rows(s);
        MT_TRY(plan_task(s, &s->eval, MT_EVAL, 0, rows, eval_micros(s)));
    }
    return count_memory(s);
}

int mt_session_rebuild(struct mt_session *s)
{
    if (s->train.feed != NULL) {
        MT_TRY(mt_feed_reset(s->train.feed));
    }
    if (s->train.exec != NULL && has_room(&s->train, train_rows(s)) &&
        has_room(&s->eval, eval_rows(s))) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_dev_finish(s->job->dev));
    if (s->first == NULL) {
        s->first = s->train.graph;   /* callers know parameters by its names */
        s->train.graph = NULL;
    }
    free_task(&s->eval);
    free_task(&s->train);
    MT_TRY(plan_moved(s));
    return start_shared(s);
}
