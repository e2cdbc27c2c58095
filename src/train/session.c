/* session.c -- assembles a session and sees that all processes agree before they start.
 *
 * Order: what costs nothing and fails often comes first (configuration, data, device), then the
 * memory is counted, then it is allocated. After each stage all processes agree on its outcome,
 * so a failure of one is a failure of all with the words of that one. */
#include "train/session.h"

#include "config.h"
#include "device/buf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PREDICT_ROWS 1024   /* the most samples of one prediction on the device */

/* ---- agreement ----------------------------------------------------------------------- */

static int check_endian(struct mt_job *job, const uint32_t *all, uint32_t mine)
{
    for (int r = 0; r < job->info->size; r++) {
        MT_CHECK(all[r] == mine, MOTLEY_EUNSUP,
                 "rank 0 and rank %d store numbers in a different byte order", r);
    }
    return MOTLEY_OK;
}

/* The resolved configuration without the device section, which may differ between processes. */
static int common_text(const struct mt_config *config, char **out)
{
    char *text = NULL, *from, *to;
    int skip = 0;

    MT_TRY(mt_config_print(config, &text));
    for (from = to = text; *from != '\0';) {
        size_t n = strcspn(from, "\n") + (from[strcspn(from, "\n")] == '\n');

        if (from[0] != ' ' && from[0] != '#' && from[0] != '\n') {
            skip = strncmp(from, "device:", 7) == 0;
        }
        if (!skip) {
            memmove(to, from, n);
            to += n;
        }
        from += n;
    }
    *to = '\0';
    *out = text;
    return MOTLEY_OK;
}

static int agree_program(struct mt_session *s)
{
    struct mt_job *job = s->job;
    uint32_t mine = 0x01020304, *all = NULL;
    char *text = NULL, version[64];
    int st = MOTLEY_OK;

    if (job->info->size == 1) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW_N(s->ctx, job->info->size, &all));
    MT_TRY_OR(done, mt_comm_allgather(job->comm, &mine, sizeof mine, all));
    MT_TRY_OR(done, mt_job_agree(job, check_endian(job, all, mine)));
    snprintf(version, sizeof version, "%s, interface %#x", PACKAGE_VERSION, MOTLEY_API_VERSION);
    MT_TRY_OR(done, mt_job_same_text(job, "version of motley", version));
    MT_TRY_OR(done, mt_job_agree(job, common_text(s->config, &text)));
    MT_TRY_OR(done, mt_job_same_text(job, "configuration", text));
done:
    mt_free(s->ctx, text);
    mt_free(s->ctx, all);
    return st;
}

static int trains(const struct mt_session *s)
{
    return s->opt.mode == MT_SESSION_TRAIN || s->opt.mode == MT_SESSION_PLAN;
}

/* ---- data and shares ----------------------------------------------------------------- */

static int check_config(const struct mt_session *s)
{
    const struct mt_config *c = s->config;

    MT_CHECK(c->model != NULL, MOTLEY_ECONFIG, "the configuration has no `model`");
    MT_CHECK(c->loss != NULL || s->opt.mode == MT_SESSION_PREDICT, MOTLEY_ECONFIG,
             "the configuration has no `loss`");
    MT_CHECK(c->data != NULL || s->opt.own_arrays, MOTLEY_ECONFIG,
             "the configuration has no `data`");
    return MOTLEY_OK;
}

static int open_data(struct mt_session *s)
{
    if (s->opt.own_arrays) {
        s->sample = s->opt.sample;
        return MOTLEY_OK;
    }
    MT_TRY(mt_data_open(s->ctx, s->config->data, s->config->seed, &s->data));
    s->sample = s->data->train->sample;
    return MOTLEY_OK;
}

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

/* ---- one task ------------------------------------------------------------------------ */

void mt_session_specs(const struct mt_sample *sample, int64_t rows, struct mt_spec *x,
                      struct mt_spec *y)
{
    int64_t dim[MT_MAXRANK] = {rows};

    for (int i = 0; i < sample->x_rank; i++) {
        dim[i + 1] = sample->x_dim[i];
    }
    *x = mt_spec_new(MT_F32, 1, sample->x_rank + 1, dim);
    dim[1] = sample->y_size;
    *y = sample->classes > 0 ? mt_spec_new(MT_I32, 1, 1, dim) : mt_spec_new(MT_F32, 1, 2, dim);
}

/* Class numbers must be outputs of the network: the device does not look at each label. */
static int check_classes(const struct mt_session *s, const struct mt_graph *g)
{
    const struct mt_spec *out = &g->value[g->output].spec;
    const struct mt_tree *model = s->config->model;
    int64_t given = mt_spec_last(out);

    if (s->sample.classes > 0 && g->loss >= 0 && given != s->sample.classes) {
        MT_TREE_FAIL(model->item[model->n - 1],
                     "the network ends in %" PRId64 " numbers, but the data have %" PRId64
                     " classes: let the last layer give %" PRId64, given, s->sample.classes,
                     s->sample.classes);
    }
    return MOTLEY_OK;
}

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

/* The network for a whole batch: what a layout is made of. */
static int build_whole(struct mt_session *s)
{
    struct mt_spec x, y;

    mt_session_specs(&s->sample, s->batch, &x, &y);
    x.dtype = mt_dtype_of(s->config->precision);
    MT_TRY(mt_graph_build(s->ctx, s->config->model, s->config->loss, &x, &y, &s->whole));
    return check_classes(s, s->whole);
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

/* ---- planning all tasks -------------------------------------------------------------- */

static int64_t eval_rows(const struct mt_session *s)
{
    return most_rows(s, s->eval_batch, s->data != NULL && s->data->held != NULL
                                           ? s->data->held->n : 0);
}

/* What a layout is made from. */
static int plan_whole(struct mt_session *s)
{
    s->batch = s->config->train.batch;
    s->eval_batch = s->config->train.eval_batch > 0 ? s->config->train.eval_batch : s->batch;
    if (trains(s)) {
        MT_TRY(mt_optim_new(s->ctx, s->config->optimizer, &s->optim));
    }
    return build_whole(s);
}

static int64_t train_rows(const struct mt_session *s)
{
    return most_rows(s, s->batch, s->data != NULL ? s->data->train->n : 0);
}

static int plan_all(struct mt_session *s)
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

static int start_all(struct mt_session *s)
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

static int plan_only(struct mt_session *s)
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

/* ---- the whole ----------------------------------------------------------------------- */

const char *mt_session_device(const struct mt_job *job, const struct mt_config *config)
{
    const struct mt_tree *device = mt_tree_get(config->root, "device");
    const struct mt_tree *use = mt_tree_get(device, "use") ? mt_tree_get(device, "use") : device;
    int typed = use != NULL && use->file != NULL && strncmp(use->file, "command line", 12) == 0;

    /* The command line says more than the environment of the machine, a file less. */
    if (!typed && job->ctx->env.value[MT_ENV_DEVICE] != NULL) {
        return NULL;
    }
    return config->device.use;
}

int mt_session_sched(const struct mt_session *s, int64_t *total, struct mt_sched **out)
{
    const struct mt_config *c = s->config;
    int64_t each = (s->data->train->n + s->batch - 1) / s->batch, steps = 0;

    if (c->train.epochs > 0) {
        steps = c->train.epochs * each;
    }
    if (c->train.steps > 0 && (steps == 0 || c->train.steps < steps)) {
        steps = c->train.steps;
    }
    MT_TRY(mt_sched_new(s->ctx, c->schedule, mt_optim_lr(s->optim), steps, each, out));
    *total = steps;
    return MOTLEY_OK;
}

/* A plan knows whatever would stop training before its first step. */
static int check_sched(const struct mt_session *s)
{
    struct mt_sched *sched = NULL;
    int64_t total;

    if (s->data != NULL) {
        MT_TRY(mt_session_sched(s, &total, &sched));
    }
    mt_sched_free(sched);
    return MOTLEY_OK;
}

static int assemble(struct mt_session *s)
{
    struct mt_job *job = s->job;

    MT_TRY(mt_job_agree(job, check_config(s)));
    MT_TRY(agree_program(s));
    MT_TRY(mt_job_agree(job, open_data(s)));
    if (s->data != NULL) {
        MT_TRY(mt_job_same_text(job, "data set", s->data->digest));
        snprintf(s->pos.data, sizeof s->pos.data, "%s", s->data->digest);
        s->pos.samples = s->data->train->n;
    }
    MT_TRY(mt_job_open_device(job, mt_session_device(job, s->config), s->config->device.share));
    mt_job_limit(job, s->config->device.memory, s->config->device.max_alloc);
    MT_TRY(mt_job_agree(job, plan_whole(s)));
    if (s->optim != NULL) {
        MT_TRY(mt_session_auto_shares(s));
    }
    MT_TRY(mt_session_grid(s));
    MT_TRY(mt_job_agree(job, plan_all(s)));
    if (s->opt.mode == MT_SESSION_PLAN) {
        MT_TRY(mt_job_agree(job, check_sched(s)));
        return mt_job_agree(job, plan_only(s));
    }
    return mt_job_agree(job, start_all(s));
}

int mt_session_new(struct mt_job *job, const struct mt_config *config,
                   const struct mt_session_opt *opt, struct mt_session **out)
{
    struct mt_session *s = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_job_agree(job, MT_NEW(job->ctx, &s)));
    s->job = job;
    s->ctx = job->ctx;
    s->config = config;
    s->opt = *opt;
    s->pos.seed = config->seed;
    mt_comm_watch(job->comm, config->parallel.timeout, &job->stop);
    MT_TRY_OR(fail, assemble(s));
    if (opt->mode == MT_SESSION_TRAIN && config->checkpoint.init_from != NULL) {
        MT_TRY_OR(fail, mt_session_load_path(s, config->checkpoint.init_from, 1));
    }
    *out = s;
    return MOTLEY_OK;
fail:
    mt_session_free(s);
    return st;
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

void mt_session_free(struct mt_session *s)
{
    if (s == NULL) {
        return;
    }
    if (s->job->dev != NULL && mt_dev_finish(s->job->dev) < 0) {
        mt_log(s->ctx, MT_LOG_WARN, "train", "while closing: %s", mt_err_text());
    }
    free_task(&s->predict);
    free_task(&s->eval);
    free_task(&s->train);
    mt_graph_free(s->first);
    mt_store_free(s->store);
    mt_share_free(s->share);
    mt_layout_free(s->layout);
    mt_planned_free(s->planned);
    mt_free(s->ctx, s->shares);
    mt_graph_free(s->whole);
    mt_optim_free(s->optim);
    mt_profile_free(s->profile);
    mt_free(s->ctx, s->found);
    mt_free(s->ctx, s->rival);
    mt_data_close(s->data);
    mt_free(s->ctx, s->loaded);
    mt_free(s->ctx, s);
}
