/* api.c -- the functions of motley.h: argument checks and calls, nothing else. */
#define _POSIX_C_SOURCE 200809L
#include "api_impl.h"
#include "config.h"
#include "train/timeline.h"

#include "base/file.h"
#include "data/data.h"
#include "device/buf.h"
#include "device/report.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct motley_run {
    motley_ctx *ctx;
    struct mt_session *session;
    struct mt_sched *sched;          /* for motley_step, made at its first call */
};

int mt_api_take(void *ours, size_t our_size, const void *theirs, const char *what)
{
    size_t size = 0;

    if (theirs != NULL) {
        memcpy(&size, theirs, sizeof size);
        MT_CHECK(size >= sizeof size && size <= 4096, MOTLEY_EARG,
                 "%s begins with %zu, not with its size: use MOTLEY_INIT", what, size);
        for (size_t i = our_size; i < size; i++) {
            MT_CHECK(((const char *)theirs)[i] == 0, MOTLEY_EARG,
                     "%s has options that this library (%s) does not know", what, PACKAGE_VERSION);
        }
        memcpy(ours, theirs, size < our_size ? size : our_size);
    }
    memcpy(ours, &our_size, sizeof our_size);
    return MOTLEY_OK;
}

/* Our result as the caller's struct, of whatever version. */
static int give_result(void *theirs, const void *ours, size_t our_size, const char *what)
{
    size_t size = 0;

    memcpy(&size, theirs, sizeof size);
    MT_CHECK(size >= sizeof size && size <= 4096, MOTLEY_EARG,
             "%s begins with %zu, not with its size: use MOTLEY_INIT", what, size);
    memcpy((char *)theirs + sizeof size, (const char *)ours + sizeof size,
           (size < our_size ? size : our_size) - sizeof size);
    return MOTLEY_OK;
}

/* ---- errors, versions ---------------------------------------------------------------- */

unsigned motley_api_version(void)
{
    return MOTLEY_API_VERSION;
}

const char *motley_version(void)
{
    return PACKAGE_VERSION;
}

const char *motley_error(void)
{
    return mt_err_text();
}

const char *motley_error_trace(void)
{
    return mt_err_trace_text();
}

const char *motley_status_text(int status)
{
    switch (status) {
#define TEXT(name, value, text)                                                               \
    case value:                                                                               \
        return text;
        MOTLEY_STATUS_MAP(TEXT)
#undef TEXT
    default:
        return "unknown status";
    }
}

/* ---- context ------------------------------------------------------------------------- */

int motley_ctx_new(const motley_ctx_opt *opt, motley_ctx **out)
{
    motley_ctx_opt o = MOTLEY_INIT(motley_ctx_opt);
    struct mt_job *job = NULL;
    motley_ctx *c = NULL;

    NOT_NULL(out);
    MT_TRY(mt_api_take(&o, sizeof o, opt, "motley_ctx_opt"));
    MT_TRY(mt_job_new(o.log, o.log_arg, o.device, o.mpi_comm, &job));
    if (MT_NEW(job->ctx, &c) < 0) {
        mt_job_free(job);
        return MOTLEY_EMEM;
    }
    c->job = job;
    *out = c;
    return MOTLEY_OK;
}

static void drop_lists(motley_ctx *c, int devices, int seats)
{
    struct mt_ctx *ctx = c->job->ctx;

    if (devices) {
        mt_free(ctx, c->devices);
        mt_free(ctx, c->device);
        c->devices = NULL;
        c->device = NULL;
    }
    if (seats) {
        mt_free(ctx, c->seats);
        mt_free(ctx, c->seat);
        c->seats = NULL;
        c->seat = NULL;
    }
}

void motley_ctx_free(motley_ctx *ctx)
{
    struct mt_job *job;

    if (ctx == NULL) {
        return;
    }
    job = ctx->job;
    drop_lists(ctx, 1, 1);
    mt_free(job->ctx, ctx);
    mt_job_free(job);
}

void motley_leave(motley_ctx *ctx, int exit_code)
{
    if (ctx != NULL) {
        mt_comm_leave(ctx->job->comm, exit_code);
        motley_ctx_free(ctx);
    }
}

int motley_rank(const motley_ctx *ctx)
{
    return ctx == NULL ? 0 : ctx->job->info->rank;
}

int motley_size(const motley_ctx *ctx)
{
    return ctx == NULL ? 1 : ctx->job->info->size;
}

const char *motley_who(motley_ctx *ctx)
{
    return ctx == NULL ? "" : ctx->job->who;
}

void motley_stop(motley_ctx *ctx)
{
    if (ctx != NULL) {
        ctx->job->stop = 1;
    }
}

int motley_error_shared(const motley_ctx *ctx)
{
    return ctx == NULL || ctx->job->shared || ctx->job->info->size == 1;
}

int motley_speaks(const motley_ctx *ctx)
{
    return ctx == NULL || mt_comm_speaker(ctx->job->comm) == ctx->job->info->rank;
}

void motley_abort(motley_ctx *ctx, int exit_code)
{
    if (ctx != NULL) {
        mt_comm_abort(ctx->job->comm, exit_code);
    }
    _Exit(exit_code);
}

static void fill_device(motley_device *d, const struct mt_dev_info *i)
{
    *d = (motley_device){.size = sizeof *d, .platform = i->platform, .device = i->device,
                         .type = mt_dev_type_name(i->type), .name = i->name, .vendor = i->vendor,
                         .driver = i->driver, .version = i->version,
                         .platform_name = i->platform_name, .units = i->units,
                         .clock_mhz = i->clock_mhz, .memory_bytes = i->memory_bytes,
                         .max_alloc_bytes = i->max_alloc_bytes, .local_bytes = i->local_bytes,
                         .max_group = i->max_group, .unified = i->unified, .pci = i->pci,
                         .place = i->place};
}

int motley_devices(motley_ctx *ctx, const motley_device **list, int *n)
{
    int count = 0;

    NOT_NULL(ctx);
    NOT_NULL(list);
    NOT_NULL(n);
    ctx->job->shared = 0;
    drop_lists(ctx, 1, 0);
    MT_TRY(mt_job_devices(ctx->job, &ctx->devices, &count));
    MT_TRY(MT_NEW_N(ctx->job->ctx, count + 1, &ctx->device));
    for (int i = 0; i < count; i++) {
        fill_device(&ctx->device[i], &ctx->devices[i]);
    }
    *list = ctx->device;
    *n = count;
    return MOTLEY_OK;
}

/* Calls fn for each line of text, which is changed on the way. */
static void each_line(char *text, motley_line_fn *fn, void *arg)
{
    for (char *p = text; *p != '\0';) {
        size_t n = strcspn(p, "\n");
        int more = p[n] == '\n';

        p[n] = '\0';
        fn(arg, p);
        p += n + (size_t)more;
    }
}

int motley_devices_print(motley_ctx *ctx, int json, motley_line_fn *fn, void *arg)
{
    char *text = NULL;

    NOT_NULL(ctx);
    NOT_NULL(fn);
    ctx->job->shared = 0;
    MT_TRY(mt_dev_prepare(ctx->job->ctx));
    MT_TRY(mt_dev_report(ctx->job->ctx, json ? MT_REPORT_JSON : MT_REPORT_TEXT, &text));
    each_line(text, fn, arg);
    mt_free(ctx->job->ctx, text);
    return MOTLEY_OK;
}

int motley_seats(motley_ctx *ctx, const motley_seat **list, int *n)
{
    int size;

    NOT_NULL(ctx);
    NOT_NULL(list);
    NOT_NULL(n);
    ctx->job->shared = 0;
    size = ctx->job->info->size;
    drop_lists(ctx, 0, 1);
    MT_TRY(mt_job_seats(ctx->job, NULL, 0, &ctx->seats));
    MT_TRY(MT_NEW_N(ctx->job->ctx, size, &ctx->seat));
    for (int i = 0; i < size; i++) {
        const struct mt_seat *s = &ctx->seats[i];

        ctx->seat[i] = (motley_seat){.size = sizeof *ctx->seat, .rank = s->rank, .node = s->node,
                                     .host = s->host, .sharers = s->sharers, .cores = s->cores};
        fill_device(&ctx->seat[i].device, &s->device);
    }
    *list = ctx->seat;
    *n = size;
    return MOTLEY_OK;
}

/* ---- configuration ------------------------------------------------------------------- */

static int wrap_config(motley_ctx *ctx, struct mt_config *config, motley_config **out)
{
    motley_config *c = NULL;

    if (MT_NEW(ctx->job->ctx, &c) < 0) {
        mt_config_free(config);
        return MOTLEY_EMEM;
    }
    c->ctx = ctx;
    c->config = config;
    *out = c;
    return MOTLEY_OK;
}

int motley_config_load(motley_ctx *ctx, const char *path, const char *const *over, int n,
                       motley_config **out)
{
    struct mt_config *config = NULL;
    char file[PATH_MAX];
    int status;

    NOT_NULL(ctx);
    NOT_NULL(path);
    NOT_NULL(out);
    MT_CHECK(n == 0 || over != NULL, MOTLEY_EARG, "motley_config_load: over is NULL");
    ctx->job->shared = 0;
    MT_CHECK(snprintf(file, sizeof file, mt_dir_exists(path) ? "%s/config.yaml" : "%s", path) <
                 PATH_MAX, MOTLEY_EFILE, "%s: path is too long", path);
    status = mt_config_load(ctx->job->ctx, file, over, n, &config);
    if (status < 0 && mt_dir_exists(path) && !mt_file_exists(file)) {
        mt_err_prefix("%s is not the folder of a run: ", path);
    }
    MT_TRY(mt_job_agree(ctx->job, status));
    return wrap_config(ctx, config, out);
}

int motley_config_parse(motley_ctx *ctx, const char *text, const char *name,
                        const char *const *over, int n, motley_config **out)
{
    struct mt_config *config = NULL;

    NOT_NULL(ctx);
    NOT_NULL(text);
    NOT_NULL(out);
    MT_CHECK(n == 0 || over != NULL, MOTLEY_EARG, "motley_config_parse: over is NULL");
    ctx->job->shared = 0;
    MT_TRY(mt_job_agree(ctx->job, mt_config_parse(ctx->job->ctx, text,
                                                  name != NULL ? name : "configuration", over, n,
                                                  &config)));
    return wrap_config(ctx, config, out);
}

void motley_config_free(motley_config *config)
{
    if (config != NULL) {
        mt_config_free(config->config);
        mt_free(config->ctx->job->ctx, config);
    }
}

const char *motley_config_name(const motley_config *config)
{
    return config == NULL ? "" : config->config->name;
}

const char *motley_config_folder(const motley_config *config)
{
    return config == NULL ? "" : config->config->folder;
}

int motley_config_print(const motley_config *config, motley_line_fn *fn, void *arg)
{
    char *text = NULL;

    NOT_NULL(config);
    NOT_NULL(fn);
    MT_TRY(mt_config_print(config->config, &text));
    each_line(text, fn, arg);
    mt_free(config->ctx->job->ctx, text);
    return MOTLEY_OK;
}

/* ---- run ----------------------------------------------------------------------------- */

static int take_sample(const motley_run_opt *o, struct mt_sample *sample)
{
    MT_CHECK(o->x_rank >= 1 && o->x_rank <= MT_DATA_MAXRANK, MOTLEY_EARG,
             "motley_run_opt: x_rank is %d, must be 1 to %d", o->x_rank, MT_DATA_MAXRANK);
    MT_CHECK(o->classes >= 0 && o->y_size >= 0 && (o->classes > 0) != (o->y_size > 0), MOTLEY_EARG,
             "motley_run_opt: set either classes or y_size");
    sample->x_rank = o->x_rank;
    sample->x_size = 1;
    for (int i = 0; i < o->x_rank; i++) {
        MT_CHECK(o->x_dim[i] > 0 && o->x_dim[i] <= INT32_MAX / sample->x_size, MOTLEY_EARG,
                 "motley_run_opt: x_dim[%d] is %lld", i, (long long)o->x_dim[i]);
        sample->x_dim[i] = o->x_dim[i];
        sample->x_size *= o->x_dim[i];
    }
    sample->classes = o->classes;
    sample->y_size = o->y_size;
    return MOTLEY_OK;
}

int motley_run_new(motley_ctx *ctx, const motley_config *config, const motley_run_opt *opt,
                   motley_run **out)
{
    motley_run_opt o = MOTLEY_INIT(motley_run_opt);
    struct mt_session_opt so = {0};
    motley_run *r = NULL;
    int st = MOTLEY_OK;

    NOT_NULL(ctx);
    NOT_NULL(config);
    NOT_NULL(out);
    ctx->job->shared = 0;
    MT_TRY(mt_api_take(&o, sizeof o, opt, "motley_run_opt"));
    MT_CHECK(o.mode >= MOTLEY_TRAIN && o.mode <= MOTLEY_PLAN, MOTLEY_EARG,
             "motley_run_opt: mode is %d", o.mode);
    so.mode = (enum mt_session_mode)o.mode;
    so.own_arrays = o.own_arrays;
    if (o.own_arrays) {
        MT_TRY(take_sample(&o, &so.sample));
    }
    if (o.trace) {
        MT_TRY(mt_timeline_start(ctx->job));
    }
    MT_TRY(MT_NEW(ctx->job->ctx, &r));
    r->ctx = ctx;
    MT_TRY_OR(fail, mt_session_new(ctx->job, config->config, &so, &r->session));
    *out = r;
    return MOTLEY_OK;
fail:
    mt_free(ctx->job->ctx, r);
    return st;
}

void motley_run_free(motley_run *run)
{
    if (run != NULL) {
        mt_sched_free(run->sched);
        mt_session_free(run->session);
        mt_free(run->ctx->job->ctx, run);
    }
}

static const struct mt_graph *graph_of(const struct mt_session *s)
{
    return s->first != NULL         ? s->first
           : s->train.graph != NULL ? s->train.graph
           : s->eval.graph != NULL  ? s->eval.graph
                                    : s->predict.graph;
}

int motley_run_get_info(const motley_run *run, motley_run_info *out)
{
    motley_run_info i = MOTLEY_INIT(motley_run_info);
    const struct mt_session *s;
    const struct mt_graph *g;

    NOT_NULL(run);
    NOT_NULL(out);
    s = run->session;
    g = graph_of(s);
    i.x_rank = s->sample.x_rank;
    memcpy(i.x_dim, s->sample.x_dim, sizeof s->sample.x_dim);
    i.x_size = s->sample.x_size;
    i.out_size = mt_spec_inner(&g->value[g->output].spec);
    i.classes = s->sample.classes;
    i.y_size = s->sample.y_size;
    i.weights = mt_graph_weights(s->whole);
    i.batch = s->batch;
    i.rows = s->train.graph != NULL ? s->train.rows : s->eval.rows;
    i.train_samples = s->data != NULL ? s->data->train->n : 0;
    i.held_samples = s->data != NULL && s->data->held != NULL ? s->data->held->n : 0;
    i.step = s->pos.step;
    i.loss = mt_session_loss(s);
    i.optimizer = s->optim != NULL ? s->optim->kind->name : "";
    i.device = s->job->taken.name;
    return give_result(out, &i, sizeof i, "motley_run_info");
}

int motley_plan_print(const motley_run *run, int in_full, motley_line_fn *fn, void *arg)
{
    NOT_NULL(run);
    NOT_NULL(fn);
    return mt_session_show(run->session, in_full, fn, arg);
}

int motley_profile_print(motley_run *run, motley_line_fn *fn, void *arg)
{
    NOT_NULL(run);
    NOT_NULL(fn);
    run->ctx->job->shared = 0;
    return mt_session_show_profile(run->session, fn, arg);
}

int motley_profile_save(motley_run *run, const char *path)
{
    NOT_NULL(run);
    NOT_NULL(path);
    run->ctx->job->shared = 0;
    return mt_session_profile_save(run->session, path);
}

/* ---- training ------------------------------------------------------------------------ */

int motley_fit(motley_run *run, const motley_fit_opt *opt)
{
    motley_fit_opt o = MOTLEY_INIT(motley_fit_opt);
    struct mt_train_opt t;

    NOT_NULL(run);
    run->ctx->job->shared = 0;
    MT_TRY(mt_api_take(&o, sizeof o, opt, "motley_fit_opt"));
    t = (struct mt_train_opt){.folder = o.folder, .resume = o.resume, .force = o.force,
                              .progress = o.progress, .arg = o.progress_arg};
    return mt_train(run->session, &t);
}

int motley_trace_save(motley_ctx *ctx, const char *path)
{
    NOT_NULL(ctx);
    NOT_NULL(path);
    ctx->job->shared = 0;
    return mt_timeline_save(ctx->job, path);
}

static int give_stats(const struct mt_session *s, const struct mt_result *r, motley_stats *out)
{
    motley_stats v = MOTLEY_INIT(motley_stats);

    v.step = s->pos.step;
    v.samples = r->samples;
    v.loss = r->loss;
    v.accuracy = r->accuracy;
    v.grad_norm = r->grad_norm;
    return give_result(out, &v, sizeof v, "motley_stats");
}

int motley_step(motley_run *run, const float *x, const void *y, int64_t n, motley_stats *out)
{
    struct mt_session *s;
    struct mt_result r = {0};

    NOT_NULL(run);
    s = run->session;
    s->job->shared = 0;
    MT_CHECK(s->train.exec != NULL, MOTLEY_EARG, "motley_step: the run was not made for training");
    MT_CHECK(n >= 0 && n <= s->train.rows, MOTLEY_EARG,
             "motley_step: n is %lld, must be 0 to %lld (this process's part of train.batch)",
             (long long)n, (long long)s->train.rows);
    MT_CHECK(n == 0 || (x != NULL && y != NULL), MOTLEY_EARG, "motley_step: x or y is NULL");
    if (run->sched == NULL) {
        MT_TRY(mt_sched_new(s->ctx, s->config->schedule, mt_optim_lr(s->optim),
                            s->config->train.steps, 1, &run->sched));
    }
    MT_TRY(mt_session_step(s, x, y, n, mt_sched_lr(run->sched, s->pos.step),
                           out != NULL ? &r : NULL));
    return out != NULL ? give_stats(s, &r, out) : MOTLEY_OK;
}

int motley_eval(motley_run *run, motley_stats *out)
{
    struct mt_result r = {0};

    NOT_NULL(run);
    NOT_NULL(out);
    run->ctx->job->shared = 0;
    MT_TRY(mt_session_eval(run->session, &r));
    return give_stats(run->session, &r, out);
}

int motley_predict(motley_run *run, const float *x, int64_t n, int output, float *out)
{
    NOT_NULL(run);
    run->ctx->job->shared = 0;
    MT_CHECK(n >= 0 && (n == 0 || (x != NULL && out != NULL)), MOTLEY_EARG,
             "motley_predict: n is %lld, or x or out is NULL", (long long)n);
    MT_CHECK(output == MOTLEY_OUT_RAW || output == MOTLEY_OUT_PROBABILITY, MOTLEY_EARG,
             "motley_predict: output is %d", output);
    MT_CHECK(run->session->opt.mode != MT_SESSION_PLAN, MOTLEY_EARG,
             "motley_predict: the run was only planned");
    return mt_session_predict(run->session, x, n, output == MOTLEY_OUT_PROBABILITY, out);
}

/* ---- arrays in files ----------------------------------------------------------------- */

int motley_samples_load(motley_run *run, const char *path, float **x, int64_t *n)
{
    NOT_NULL(run);
    NOT_NULL(path);
    NOT_NULL(x);
    NOT_NULL(n);
    run->ctx->job->shared = 0;
    return mt_session_samples(run->session, path, x, n);
}

int motley_array_save(motley_ctx *ctx, const char *path, const float *a, int64_t rows, int64_t cols)
{
    NOT_NULL(ctx);
    NOT_NULL(path);
    NOT_NULL(a);
    ctx->job->shared = 0;
    return mt_session_array_save(ctx->job->ctx, path, a, rows, cols);
}

void motley_array_free(motley_ctx *ctx, float *a)
{
    if (ctx != NULL) {
        mt_free(ctx->job->ctx, a);
    }
}

/* ---- weights ------------------------------------------------------------------------- */

int motley_param_count(const motley_run *run)
{
    return run == NULL ? 0 : graph_of(run->session)->nparam + graph_of(run->session)->nstate;
}

int motley_param_info(const motley_run *run, int i, motley_param *out)
{
    motley_param v = MOTLEY_INIT(motley_param);
    const struct mt_graph *g;
    const struct mt_gparam *p;

    NOT_NULL(run);
    NOT_NULL(out);
    g = graph_of(run->session);
    MT_CHECK(i >= 0 && i < g->nparam + g->nstate, MOTLEY_EARG,
             "motley_param_info: i is %d, the network has %d parameters", i, g->nparam + g->nstate);
    p = i < g->nparam ? &g->param[i] : &g->state[i - g->nparam];
    v.name = p->name;
    v.rank = p->desc.spec.rank;
    memcpy(v.dim, p->desc.spec.dim, sizeof p->desc.spec.dim);
    v.count = (int64_t)(p->range.hi - p->range.lo);
    v.trained = i < g->nparam;
    return give_result(out, &v, sizeof v, "motley_param");
}

/* Buffer and range of a parameter whose size the caller believes to be n. */
static int find_param(motley_run *run, const char *name, int64_t n, struct mt_buf **buf,
                      struct mt_range *range)
{
    run->ctx->job->shared = 0;
    MT_CHECK(run->session->store != NULL, MOTLEY_EARG, "the run was only planned");
    MT_TRY(mt_session_param(run->session, name, buf, range));
    MT_CHECK((uint64_t)n == range->hi - range->lo, MOTLEY_EARG,
             "parameter '%s' has %llu numbers, not %lld", name,
             (unsigned long long)(range->hi - range->lo), (long long)n);
    return MOTLEY_OK;
}

int motley_param_get(motley_run *run, const char *name, float *dst, int64_t n)
{
    struct mt_buf *buf = NULL;
    struct mt_range range = {0, 0};

    NOT_NULL(run);
    NOT_NULL(name);
    NOT_NULL(dst);
    MT_TRY(find_param(run, name, n, &buf, &range));
    return mt_buf_read(buf, 4 * range.lo, 4 * (uint64_t)n, dst);
}

int motley_param_set(motley_run *run, const char *name, const float *src, int64_t n)
{
    struct mt_buf *buf = NULL;
    struct mt_range range = {0, 0};

    NOT_NULL(run);
    NOT_NULL(name);
    NOT_NULL(src);
    MT_TRY(find_param(run, name, n, &buf, &range));
    MT_TRY(mt_buf_write(buf, 4 * range.lo, 4 * (uint64_t)n, src));
    return mt_store_refresh(run->session->store);
}

int motley_save(motley_run *run, const char *folder)
{
    NOT_NULL(run);
    NOT_NULL(folder);
    run->ctx->job->shared = 0;
    MT_CHECK(run->session->store != NULL, MOTLEY_EARG, "the run was only planned");
    return mt_session_save(run->session, folder);
}

int motley_load(motley_run *run, const char *path, int what)
{
    NOT_NULL(run);
    NOT_NULL(path);
    run->ctx->job->shared = 0;
    MT_CHECK(run->session->store != NULL, MOTLEY_EARG, "the run was only planned");
    MT_CHECK(what == MOTLEY_LOAD_ALL || what == MOTLEY_LOAD_WEIGHTS, MOTLEY_EARG,
             "motley_load: what is %d", what);
    return mt_session_load_path(run->session, path, what == MOTLEY_LOAD_WEIGHTS);
}

const char *motley_loaded(const motley_run *run)
{
    return run == NULL || run->session->loaded == NULL ? "" : run->session->loaded;
}

/* ---- lists --------------------------------------------------------------------------- */

int motley_list(motley_ctx *ctx, int what, motley_entry_fn *fn, void *arg)
{
    NOT_NULL(ctx);
    NOT_NULL(fn);
    ctx->job->shared = 0;
    return mt_list(ctx->job, what, fn, arg);
}
