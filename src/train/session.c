/* session.c -- assembles a session and sees that all processes agree before they start.
 *
 * Order: what costs nothing and fails often comes first (configuration, data, device), then the
 * memory is counted, then it is allocated. After each stage all processes agree on its outcome,
 * so a failure of one is a failure of all with the words of that one. */
#include "train/session.h"

#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

/* ---- data ---------------------------------------------------------------------------- */

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

/* ---- the network --------------------------------------------------------------------- */

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

/* The network for a whole batch: what a layout is made of. */
static int build_whole(struct mt_session *s)
{
    struct mt_spec x, y;

    mt_session_specs(&s->sample, s->batch, &x, &y);
    x.dtype = mt_dtype_of(s->config->precision);
    MT_TRY(mt_graph_build(s->ctx, s->config->model, s->config->loss, &x, &y, &s->whole));
    return check_classes(s, s->whole);
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
    MT_TRY(mt_job_agree(job, mt_session_plan_tasks(s)));
    if (s->opt.mode == MT_SESSION_PLAN) {
        MT_TRY(mt_job_agree(job, check_sched(s)));
        return mt_job_agree(job, mt_session_show_tasks(s));
    }
    return mt_job_agree(job, mt_session_start_tasks(s));
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

void mt_session_free(struct mt_session *s)
{
    if (s == NULL) {
        return;
    }
    if (s->job->dev != NULL && mt_dev_finish(s->job->dev) < 0) {
        mt_log(s->ctx, MT_LOG_WARN, "train", "while closing: %s", mt_err_text());
    }
    mt_session_drop_tasks(s);
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
