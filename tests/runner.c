/* runner.c -- devices, suites and networks for those who run checks; see runner.h. */
#define _POSIX_C_SOURCE 200809L
#include "tests/runner.h"

#include "config/config.h"
#include "data/data.h"
#include "graph/graph.h"
#include "tests/rig.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct mt_net {
    struct mt_ctx *ctx;
    struct mt_config *config;
    struct mt_graph *graph;
};

int mt_runner_open(struct mt_ctx *ctx, const char *wish, struct mt_dev **dev, int *n)
{
    struct mt_dev_info *list = NULL;
    int count = 0, got, sharers, st;

    if (wish == NULL) {
        wish = ctx->env.value[MT_ENV_DEVICE] != NULL ? ctx->env.value[MT_ENV_DEVICE] : "auto";
    }
    MT_TRY(mt_dev_prepare(ctx));
    MT_TRY(mt_dev_list(ctx, &list, &count));
    if (n != NULL) {
        *n = count;
    }
    if (count == 0) {
        char text[1024];

        mt_dev_explain_none(ctx, text, sizeof text);
        st = mt_err_raise(MOTLEY_EDEV, __func__, __FILE__, __LINE__, "%s", text);
        goto out;
    }
    MT_TRY_OR(out, mt_dev_assign(list, count, &wish, 1, 0, &got, &sharers));
    MT_TRY_OR(out, mt_dev_open(ctx, &list[got], 1, dev));
out:
    mt_free(ctx, list);
    return st;
}

static int wanted(const struct mt_suite *s, char *const *name, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(name[i], s->name) == 0) {
            return 1;
        }
    }
    return n == 0;
}

int mt_runner_check(struct mt_dev *dev, char *const *name, int n,
                    const struct mt_check_opt *opt, struct mt_report *r, FILE *f)
{
    for (const struct mt_suite *const *s = mt_suites; *s != NULL; s++) {
        int from = r->n;

        if (wanted(*s, name, n)) {
            MT_TRY(mt_suite_run(*s, dev, opt, r));
            mt_report_print(r, from, f);
            fflush(f);
        }
    }
    return MOTLEY_OK;
}

/* ---- networks ---------------------------------------------------------------------------- */

static int build(struct mt_net *net)
{
    const struct mt_config *c = net->config;
    int64_t calls = c->train.micro_batches > 0 ? c->train.micro_batches : 1;
    int64_t rows = (c->train.batch + calls - 1) / calls;
    struct mt_spec x = {.dtype = mt_dtype_of(c->precision), .batched = 1}, y = {.batched = 1};
    const struct mt_sample *s;
    struct mt_data *data = NULL;

    MT_TRY(mt_data_open(net->ctx, c->data, c->seed, &data));
    s = &data->train->sample;
    x.rank = s->x_rank + 1;
    x.dim[0] = rows;
    memcpy(x.dim + 1, s->x_dim, (size_t)s->x_rank * sizeof *s->x_dim);
    y.dtype = s->classes > 0 ? MT_I32 : MT_F32;
    y.rank = s->classes > 0 ? 1 : 2;
    y.dim[0] = rows;
    y.dim[1] = s->y_size;
    mt_data_close(data);
    return mt_graph_build(net->ctx, c->model, c->loss, &x, &y, &net->graph);
}

int mt_net_open(struct mt_ctx *ctx, const char *path, const char *const *over, int n,
                struct mt_net **net)
{
    struct mt_net *p = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &p));
    p->ctx = ctx;
    MT_TRY_OR(fail, mt_config_load(ctx, path, over, n, &p->config));
    MT_TRY_OR(fail, build(p));
    *net = p;
    return MOTLEY_OK;
fail:
    mt_net_close(p);
    return st;
}

void mt_net_close(struct mt_net *net)
{
    if (net != NULL) {
        mt_graph_free(net->graph);
        mt_config_free(net->config);
        mt_free(net->ctx, net);
    }
}

const char *mt_net_device(const struct mt_net *net)
{
    return net->config->device.use;
}

/* Whether an earlier node is the same operation with the same options on the same shapes, with
 * the same activation behind it. */
static int seen_before(const struct mt_graph *g, int i)
{
    const struct mt_node *a = &g->node[i].n;

    for (int k = 0; k < i; k++) {
        const struct mt_node *b = &g->node[k].n;
        size_t options = (size_t)mt_attr_count(a->op->attrs);
        int same = a->op == b->op && a->nin == b->nin && a->act == b->act &&
                   a->slope == b->slope &&
                   memcmp(a->attr, b->attr, options * sizeof *a->attr) == 0;

        for (int p = 0; same && p < a->nin; p++) {
            same = mt_spec_equal(&a->in[p], &b->in[p]);
        }
        if (same) {
            return 1;
        }
    }
    return 0;
}

static void case_name(const struct mt_node *n, char *buf, int room)
{
    int used = snprintf(buf, (size_t)room, "%s ", n->name);

    for (int i = 0; i < n->in[0].rank && used < room; i++) {
        used += snprintf(buf + used, (size_t)(room - used), "%s%" PRId64, i ? "x" : "",
                         n->in[0].dim[i]);
    }
}

/* Dropout and sum behind a node have suites of their own; that products do them rightly is checked
 * by the suite gemm. */
static int check_node(const struct mt_node *like, struct mt_dev *dev,
                      const struct mt_check_opt *opt, struct mt_report *r)
{
    const struct mt_suite *s = mt_suite_find(like->op->name);
    struct mt_node alone = *like, *n = &alone;
    char name[64];
    struct mt_case c = {.name = name};

    alone.drops = NULL;
    alone.adds = 0;
    alone.gain = 0;
    case_name(n, name, (int)sizeof name);
    if (s == NULL) {
        struct mt_result x = mt_result_new(n->op->name, name, "suite");

        mt_result_fail(&x, "operation %s has no suite", n->op->name);
        return mt_report_add(r, &x);
    }
    return mt_kit_check(s, dev, n, &c, opt, r);
}

/* The products that the bound node plans, by every provider. */
static int check_products(const struct mt_node *like, struct mt_dev *dev,
                          const struct mt_check_opt *opt, struct mt_report *r)
{
    struct mt_node n = *like;
    int st = MOTLEY_OK;

    memset(n.kernel, 0, sizeof n.kernel);
    memset(n.gemm, 0, sizeof n.gemm);
    if (mt_node_bind(&n, dev) < 0) {
        return MOTLEY_OK;   /* is reported by the check of the node */
    }
    for (int i = 0; i < MT_MAXGEMM && st == MOTLEY_OK; i++) {
        for (const char *const *p = mt_gemm_providers();
             n.gemm[i] != NULL && *p != NULL && st == MOTLEY_OK; p++) {
            const struct mt_gemm_plan *plan = n.gemm[i];
            const char *form = strcmp(*p, mt_gemm_plan_provider(plan)) == 0
                                   ? mt_gemm_plan_form(plan)
                                   : "";

            st = mt_kit_gemm(dev, *p, "", mt_gemm_plan_product(plan), opt->seed, r);
            if (st == MOTLEY_OK && *form != '\0') {   /* the one that tuning chose */
                st = mt_kit_gemm(dev, *p, form, mt_gemm_plan_product(plan), opt->seed, r);
            }
        }
    }
    mt_node_unbind(&n);
    return st;
}

int mt_net_check(const struct mt_net *net, struct mt_dev *dev, const struct mt_check_opt *opt,
                 struct mt_report *r, FILE *f)
{
    for (int i = 0; i < net->graph->nnode; i++) {
        int from = r->n;

        if (!seen_before(net->graph, i)) {
            MT_TRY(check_node(&net->graph->node[i].n, dev, opt, r));
            MT_TRY(check_products(&net->graph->node[i].n, dev, opt, r));
            mt_report_print(r, from, f);
            fflush(f);
        }
    }
    return MOTLEY_OK;
}

int mt_net_products(const struct mt_net *net, struct mt_dev *dev, mt_product_fn *fn, void *arg)
{
    int st = MOTLEY_OK;

    for (int i = 0; i < net->graph->nnode && st == MOTLEY_OK; i++) {
        struct mt_node n = net->graph->node[i].n;
        char name[64];

        if (seen_before(net->graph, i)) {
            continue;
        }
        memset(n.kernel, 0, sizeof n.kernel);
        memset(n.gemm, 0, sizeof n.gemm);
        MT_TRY(mt_node_bind(&n, dev));
        case_name(&n, name, (int)sizeof name);
        for (int k = 0; k < MT_MAXGEMM && st == MOTLEY_OK; k++) {
            if (n.gemm[k] != NULL) {
                st = fn(arg, name, mt_gemm_plan_product(n.gemm[k]));
            }
        }
        mt_node_unbind(&n);
    }
    return st;
}

/* ---- time -------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The best of several groups of calls, as long as `seconds` allow: a shared machine disturbs in
 * one direction only. */
static int time_calls(struct mt_rig *b, int backward, double seconds, double *best)
{
    double end = now() + seconds;
    int calls = 1;

    mt_rig_io(b, MT_TRAIN, backward);
    for (int group = 0; group < 3 || now() < end; group++) {
        double start = now(), took;

        for (int i = 0; i < calls; i++) {
            MT_TRY((backward ? b->n.op->bwd : b->n.op->fwd)(&b->n, &b->io));
        }
        MT_TRY(mt_dev_finish(b->dev));
        took = (now() - start) / calls;
        *best = group == 0 || took < *best ? took : *best;
        if (group == 0) {   /* only warms up; then a group is a tenth of the time */
            double fit = seconds / 10 / (took + 1e-9);

            calls = fit < 1 ? 1 : fit > 1000 ? 1000 : (int)fit;
            *best = 1e30;
        }
    }
    return MOTLEY_OK;
}

static int time_node(const struct mt_suite *s, struct mt_dev *dev, const struct mt_node *n,
                     const char *name, double seconds, mt_timing_fn *fn, void *arg)
{
    struct mt_case c = {.name = name};
    struct mt_check_opt opt = {.seed = 1};
    struct mt_timing t = {.fwd_seconds = -1, .bwd_seconds = -1};
    struct mt_ctx *ctx = mt_dev_ctx(dev);
    struct mt_rig *b = NULL;
    int st;

    snprintf(t.op, sizeof t.op, "%s", n->op->name);
    snprintf(t.name, sizeof t.name, "%s", name);
    MT_TRY(MT_NEW(ctx, &b));
    b->suite = s;
    b->c = &c;
    b->opt = &opt;
    b->ctx = ctx;
    b->dev = dev;
    MT_TRY_OR(out, mt_rig_new(b, n));
    n->op->cost(n, &t.cost);
    MT_TRY_OR(out, mt_rig_draw(b));
    MT_TRY_OR(out, time_calls(b, 0, seconds, &t.fwd_seconds));
    if (n->op->bwd != NULL) {
        MT_TRY_OR(out, time_calls(b, 1, seconds, &t.bwd_seconds));
    }
    fn(arg, &t);
out:
    mt_rig_fini(b);
    mt_free(ctx, b);
    return st;
}

static int bench_suite(const struct mt_suite *s, struct mt_dev *dev, double seconds,
                       mt_timing_fn *fn, void *arg)
{
    for (int i = 0; i < s->ncases; i++) {
        char text[MT_KIT_TEXT];
        struct mt_node n;

        if (s->cases[i].bench) {
            MT_TRY(mt_kit_node(s, &s->cases[i], MT_F32, text, &n));
            MT_TRY(time_node(s, dev, &n, s->cases[i].name, seconds, fn, arg));
        }
    }
    return MOTLEY_OK;
}

int mt_runner_bench(struct mt_dev *dev, const struct mt_net *net, char *const *name, int n,
                    double seconds, mt_timing_fn *fn, void *arg)
{
    for (int i = 0; net != NULL && i < net->graph->nnode; i++) {
        const struct mt_node *node = &net->graph->node[i].n;
        const struct mt_suite *s = mt_suite_find(node->op->name);
        char label[64];

        if (s != NULL && !(node->op->flags & MT_OP_VIEW) && !seen_before(net->graph, i)) {
            case_name(node, label, (int)sizeof label);
            MT_TRY(time_node(s, dev, node, label, seconds, fn, arg));
        }
    }
    for (const struct mt_suite *const *s = mt_suites; net == NULL && *s != NULL; s++) {
        if (wanted(*s, name, n)) {
            MT_TRY(bench_suite(*s, dev, seconds, fn, arg));
        }
    }
    return MOTLEY_OK;
}
