/* outlook.c -- plans in words: the whole, a table of replicas and stages, the reasons. */
#include "train/outlook.h"

#include "base/file.h"
#include "base/json.h"
#include "config/yaml.h"
#include "parallel/cluster.h"
#include "parallel/play.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct out {
    mt_show_fn *fn;
    void *arg;
};

static void line(const struct out *o, const char *fmt, ...) MT_PRINTF(2, 3);

static void line(const struct out *o, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->fn(o->arg, text);
}

/* ---- what is asked for ------------------------------------------------------------------ */

void mt_outlook_wish(const struct mt_config *config, struct mt_plan_wish *wish)
{
    const struct mt_tree *t = mt_tree_get(config->root, "parallel");
    const struct mt_tree *train = mt_tree_get(config->root, "train");

    *wish = MT_PLAN_WISH(config->train.batch);
    wish->data = mt_tree_get(t, "data") != NULL ? (int)config->parallel.data : 0;
    wish->stages = mt_tree_get(t, "stages") != NULL ? (int)config->parallel.stages : 0;
    wish->tensor = mt_tree_get(t, "tensor") != NULL ? (int)config->parallel.tensor : 0;
    wish->chunks = mt_tree_get(t, "chunks") != NULL ? (int)config->parallel.chunks : 0;
    wish->schedule = mt_tree_get(t, "schedule") != NULL ? config->parallel.schedule : -1;
    wish->recompute = mt_tree_get(t, "recompute") == NULL ? 0
                      : config->parallel.recompute        ? 1
                                                          : -1;
    wish->micros = mt_tree_get(train, "micro_batches") != NULL
                       ? (int)config->train.micro_batches : 0;
}

/* ---- for people ------------------------------------------------------------------------- */

/* "0-3, 8" of the ranks of a stage, the first of them if they are many. */
static void print_ranks(const int *rank, int n, char *buf, size_t room)
{
    size_t used = 0;

    buf[0] = '\0';
    for (int i = 0, end; i < n && used < room; i = end) {
        for (end = i + 1; end < n && rank[end] == rank[end - 1] + 1;) {
            end++;
        }
        used += (size_t)snprintf(buf + used, room - used, end - i > 1 ? "%s%d-%d" : "%s%d",
                                 i > 0 ? ", " : "", rank[i], rank[end - 1]);
    }
}

/* "1.2 GiB" */
static const char *print_bytes(double bytes, char *buf, size_t room)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int u = 0;

    while (bytes >= 1024 && u < 5) {
        bytes /= 1024;
        u++;
    }
    snprintf(buf, room, u > 0 && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return buf;
}

static const char *print_seconds(double s, char *buf, size_t room)
{
    snprintf(buf, room, s >= 1 ? "%.3g s" : s >= 1e-3 ? "%.3g ms" : "%.3g us",
             s >= 1 ? s : s >= 1e-3 ? 1e3 * s : 1e6 * s);
    return buf;
}

static void show_stage(const struct out *o, const struct mt_graph *whole,
                       const struct mt_cluster *c, const struct mt_forecast *f, int number,
                       const struct mt_stage *g)
{
    const struct mt_forecast_rank *r = &f->rank[g->rank[0]];
    const struct mt_speed *speed = &c->speed[c->kind[g->rank[0]]];
    char ranks[64], layers[96], busy[32], need[32], have[40] = "";

    print_ranks(g->rank, g->nrank, ranks, sizeof ranks);
    snprintf(layers, sizeof layers, g->hi - g->lo > 1 ? "%.40s .. %.40s" : "%.40s",
             whole->node[g->lo].n.name, whole->node[g->hi - 1].n.name);
    if (speed->memory_bytes > 0) {
        char all[32];

        snprintf(have, sizeof have, " of %s", print_bytes(speed->memory_bytes, all, sizeof all));
    }
    line(o, "    %3d  %-34s rank %-10s %-16.40s busy %-8s %s%s%s", number, layers, ranks,
         speed->name, print_seconds(r->busy, busy, sizeof busy),
         print_bytes(r->memory, need, sizeof need), have, g->recompute ? ", recomputed" : "");
}

/* Whether two replicas are told in one line: alike, with as many samples but for one. */
static int told_together(const struct mt_cluster *c, const struct mt_planned *p, int a, int b)
{
    int64_t apart = p->forecast->replica[a].rows - p->forecast->replica[b].rows;

    return apart >= -1 && apart <= 1 &&
           mt_play_alike(c, &p->layout->replica[a], &p->layout->replica[b]);
}

static void show_replicas(const struct out *o, const struct mt_graph *whole,
                          const struct mt_cluster *c, const struct mt_planned *p)
{
    const struct mt_layout *l = p->layout;

    for (int r = 0; r < l->nreplica; r++) {
        const struct mt_replica *rep = &l->replica[r];
        char seconds[32], more[48] = "";
        int count = 1, before = 0;

        while (before < r && !told_together(c, p, before, r)) {
            before++;
        }
        for (int k = r + 1; before == r && k < l->nreplica; k++) {
            count += told_together(c, p, r, k);
        }
        if (before < r) {
            continue;
        }
        if (count > 1) {
            snprintf(more, sizeof more, " and %d like it, each", count - 1);
        }
        line(o, "  replica %d%s: %" PRId64 " samples in %d micro-batch%s, %s", r, more,
             p->forecast->replica[r].rows, rep->micros, rep->micros == 1 ? "" : "es",
             print_seconds(p->forecast->replica[r].seconds, seconds, sizeof seconds));
        for (int s = 0; s < rep->nstage; s++) {
            show_stage(o, whole, c, p->forecast, s, &rep->stage[s]);
        }
    }
}

static int used_ranks(const struct mt_layout *l)
{
    int n = 0;

    for (int r = 0; r < l->nreplica; r++) {
        for (int s = 0; s < mt_layout_stride(&l->replica[r]); s++) {
            n += l->replica[r].stage[s].nrank;
        }
    }
    return n;
}

int mt_outlook_print(const struct mt_graph *whole, const struct mt_load *load,
                     const struct mt_cluster *cluster, const struct mt_planned *p,
                     mt_show_fn *fn, void *arg)
{
    const struct out o = {fn, arg};
    const struct mt_forecast *f = p->forecast;
    char a[32], b[32], c[32];
    double params = 0;

    for (int i = 0; i < load->n; i++) {
        params += load->node[i].params;
    }
    line(&o, "plan: %d of %d ranks, %d replica%s, schedule %s; %.4g million parameters",
         used_ranks(p->layout), p->layout->nrank, p->layout->nreplica,
         p->layout->nreplica == 1 ? "" : "s", mt_schedule_word(p->layout->schedule), params / 1e6);
    line(&o, "  predicted: %s a step, %.4g samples/s", print_seconds(f->step, a, sizeof a),
         f->rate);
    line(&o, "  bubble %.1f %%, sums of gradients not hidden %s, sums inside layers %s",
         100 * f->bubble, print_seconds(f->exposed, b, sizeof b),
         print_seconds(f->sums, c, sizeof c));
    show_replicas(&o, whole, cluster, p);
    if (f->misfit >= 0) {
        line(&o, "  rank %d (%s) lacks %s: IT DOES NOT FIT", f->misfit,
             cluster->speed[cluster->kind[f->misfit]].name, print_bytes(f->lack, a, sizeof a));
    }
    for (int i = 0; i < p->nreason; i++) {
        line(&o, "%s%s", i == 0 ? "why: " : "     ", p->reason[i]);
    }
    return MOTLEY_OK;
}

/* ---- for programs ----------------------------------------------------------------------- */

static void json_stage(struct mt_json *j, const struct mt_graph *whole,
                       const struct mt_cluster *c, const struct mt_forecast *f,
                       const struct mt_stage *g)
{
    mt_json_map(j, NULL);
    mt_json_text(j, "from", whole->node[g->lo].n.name);
    mt_json_text(j, "to", whole->node[g->hi - 1].n.name);
    mt_json_bool(j, "recompute", g->recompute);
    mt_json_list(j, "ranks");
    for (int k = 0; k < g->nrank; k++) {
        const struct mt_forecast_rank *r = &f->rank[g->rank[k]];

        mt_json_map(j, NULL);
        mt_json_int(j, "rank", g->rank[k]);
        mt_json_text(j, "kind", c->speed[c->kind[g->rank[k]]].name);
        mt_json_num(j, "busy", r->busy);
        mt_json_num(j, "memory", r->memory);
        mt_json_num(j, "params", r->params);
        mt_json_num(j, "kept", r->kept);
        mt_json_num(j, "buffers", r->buffers);
        mt_json_end(j);
    }
    mt_json_end(j);
    mt_json_end(j);
}

static void json_replicas(struct mt_json *j, const struct mt_graph *whole,
                          const struct mt_cluster *c, const struct mt_planned *p)
{
    mt_json_list(j, "replicas");
    for (int r = 0; r < p->layout->nreplica; r++) {
        const struct mt_replica *rep = &p->layout->replica[r];

        mt_json_map(j, NULL);
        mt_json_int(j, "samples", p->forecast->replica[r].rows);
        mt_json_int(j, "micro_batches", rep->micros);
        mt_json_num(j, "seconds", p->forecast->replica[r].seconds);
        mt_json_list(j, "stages");
        for (int s = 0; s < rep->nstage; s++) {
            json_stage(j, whole, c, p->forecast, &rep->stage[s]);
        }
        mt_json_end(j);
        mt_json_end(j);
    }
    mt_json_end(j);
}

int mt_outlook_json(const struct mt_graph *whole, const struct mt_load *load,
                    const struct mt_cluster *cluster, const struct mt_planned *p, char **text)
{
    const struct mt_forecast *f = p->forecast;
    struct mt_json j;

    mt_json_init(&j, load->ctx, 0);
    mt_json_map(&j, NULL);
    mt_json_int(&j, "ranks", p->layout->nrank);
    mt_json_int(&j, "ranks_used", used_ranks(p->layout));
    mt_json_text(&j, "schedule", mt_schedule_word(p->layout->schedule));
    mt_json_num(&j, "step", f->step);
    mt_json_num(&j, "samples_per_second", f->rate);
    mt_json_num(&j, "bubble", f->bubble);
    mt_json_num(&j, "exposed", f->exposed);
    mt_json_num(&j, "sums", f->sums);
    mt_json_bool(&j, "fits", f->misfit < 0);
    mt_json_num(&j, "even_grid", p->even);
    mt_json_int(&j, "tried", p->tried);
    json_replicas(&j, whole, cluster, p);
    mt_json_list(&j, "why");
    for (int i = 0; i < p->nreason; i++) {
        mt_json_text(&j, NULL, p->reason[i]);
    }
    mt_json_end(&j);
    mt_json_end(&j);
    return mt_json_take(&j, text);
}

/* ---- a described cluster ---------------------------------------------------------------- */

struct outlook {
    struct mt_ctx *ctx;
    const struct mt_config *config;
    struct mt_data *data;
    struct mt_graph *whole;
    struct mt_optim *optim;
    struct mt_load *load;
    struct mt_cluster *cluster;
    struct mt_planned *plan;
};

static int build(struct outlook *o)
{
    const struct mt_config *c = o->config;
    struct mt_spec x, y;

    MT_CHECK(c->model != NULL && c->loss != NULL && c->data != NULL, MOTLEY_ECONFIG,
             "the configuration has no `%s`", c->model == NULL  ? "model"
                                              : c->loss == NULL ? "loss"
                                                                : "data");
    MT_TRY(mt_data_open(o->ctx, c->data, c->seed, &o->data));
    /* one sample: kernels count the elements of a call, but a plan may spread any batch */
    mt_session_specs(&o->data->train->sample, 1, &x, &y);
    x.dtype = mt_dtype_of(c->precision);
    MT_TRY(mt_graph_build(o->ctx, c->model, c->loss, &x, &y, &o->whole));
    MT_TRY(mt_optim_new(o->ctx, c->optimizer, &o->optim));
    return mt_load_new(o->whole, o->optim, c->parallel.wire == MT_WIRE_BF16, &o->load);
}

static int read_cluster(struct outlook *o, const char *path)
{
    struct mt_tree *tree = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int st;

    MT_TRY(mt_file_read(o->ctx, path, &text, &bytes));
    MT_TRY_OR(done, mt_yaml_parse(o->ctx, text, bytes, path, 1, &tree));
    MT_TRY_OR(done, mt_cluster_read(o->ctx, tree, o->load, &o->cluster));
done:
    mt_tree_free(o->ctx, tree);
    mt_free(o->ctx, text);
    return st;
}

static int plan(struct outlook *o)
{
    struct mt_plan_wish wish;
    struct mt_layout *l = NULL;
    int st;

    if (o->config->parallel.layout == NULL) {
        mt_outlook_wish(o->config, &wish);
        return mt_planner_choose(o->whole, o->load, o->cluster, &wish, &o->plan);
    }
    MT_TRY(mt_session_given(o->config, o->whole, o->cluster->nrank, &l));
    st = mt_planner_given(o->load, o->cluster, l, o->config->train.batch, &o->plan);
    mt_layout_free(l);
    return st;
}

static int show(struct outlook *o, const struct mt_outlook_opt *opt, mt_show_fn *fn, void *arg)
{
    char *text = NULL;

    if (opt->save != NULL) {
        int st;

        MT_TRY(mt_layout_print(o->whole, o->plan->layout, &text));
        st = mt_file_write(o->ctx, opt->save, text, strlen(text));
        mt_free(o->ctx, text);
        MT_TRY(st);
    }
    if (!opt->json) {
        return mt_outlook_print(o->whole, o->load, o->cluster, o->plan, fn, arg);
    }
    MT_TRY(mt_outlook_json(o->whole, o->load, o->cluster, o->plan, &text));
    fn(arg, text);
    mt_free(o->ctx, text);
    return MOTLEY_OK;
}

int mt_outlook_cluster(struct mt_ctx *ctx, const struct mt_config *config,
                       const struct mt_outlook_opt *opt, mt_show_fn *fn, void *arg)
{
    struct outlook o = {.ctx = ctx, .config = config};
    int st;

    MT_TRY_OR(end, build(&o));
    MT_TRY_OR(end, read_cluster(&o, opt->cluster));
    MT_TRY_OR(end, plan(&o));
    MT_TRY_OR(end, show(&o, opt, fn, arg));
end:
    mt_planned_free(o.plan);
    mt_cluster_free(o.cluster);
    mt_load_free(o.load);
    mt_optim_free(o.optim);
    mt_graph_free(o.whole);
    mt_data_close(o.data);
    return st;
}
