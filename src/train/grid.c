/* grid.c -- the layout of a session: from the configuration and the processes there are.
 *
 * The layout is made of the whole network, once; every task (training, evaluation) then takes its
 * part of a graph of its own batch. What is judged or predicted by another number of processes
 * than the layout was made for is shared by samples alone. */
#include "train/session.h"

#include "base/file.h"
#include "config/yaml.h"
#include "parallel/rivals.h"
#include "train/outlook.h"

#include <inttypes.h>
#include <string.h>

enum { GRID_GIVEN, GRID_AUTO };   /* words of parallel.grid */

#define MICROS_A_STAGE 4   /* default of train.micro_batches with stages: a bubble below 1 / 5 */

/* ---- words of the configuration ------------------------------------------------------- */

static int node_of(const struct mt_graph *g, const char *name)
{
    for (int i = 0; i < g->nnode; i++) {
        if (strcmp(g->node[i].n.name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* parallel.cut: names of layers to numbers of nodes. */
static int read_cut(const struct mt_graph *g, const struct mt_tree *t, int want, int *cut)
{
    if (t->n != want) {
        MT_TREE_FAIL(t, "'cut' of parallel names %d layers, but %d stages begin with a layer "
                        "after the first", t->n, want);
    }
    for (int i = 0; i < t->n; i++) {
        const struct mt_tree *item = t->item[i];

        cut[i] = item->kind == MT_TREE_SCALAR ? node_of(g, item->text) : -1;
        if (cut[i] < 0) {
            MT_TREE_FAIL(item, "the network has no layer '%.60s'; `motley plan --long` lists them",
                         item->kind == MT_TREE_SCALAR ? item->text : "(a list)");
        }
        if (cut[i] == 0 || (i > 0 && cut[i] <= cut[i - 1])) {
            MT_TREE_FAIL(item, "layer '%s' does not come after the stage in front of it began",
                         item->text);
        }
    }
    return MOTLEY_OK;
}

/* data x stages x tensor from what is given: data 0 takes the ranks that are left. */
static int read_mesh(const struct mt_session *s, struct mt_mesh *mesh)
{
    const struct mt_config *c = s->config;
    int64_t size = s->job->info->size, part = c->parallel.stages * c->parallel.tensor;
    int64_t data = c->parallel.data > 0 ? c->parallel.data : part > 0 ? size / part : 0;

    MT_CHECK(part > 0, MOTLEY_ECONFIG,
             "parallel.%s is 0, which leaves it to be chosen: set parallel.grid=auto or a number",
             c->parallel.stages == 0 ? "stages" : "tensor");
    MT_CHECK(data * part == size, MOTLEY_ECONFIG,
             "the grid of %" PRId64 " replicas x %" PRId64 " stages x %" PRId64 " parts needs %"
             PRId64 " ranks, the job has %" PRId64 ": start as many, or change parallel.data, "
             "parallel.stages or parallel.tensor", data > 0 ? data : 1, c->parallel.stages,
             c->parallel.tensor, (data > 0 ? data : 1) * part, size);
    MT_CHECK(c->parallel.nshares == 0 || c->parallel.nshares == data, MOTLEY_ECONFIG,
             "parallel.shares has %d numbers, the job has %" PRId64 " %s: give one each",
             c->parallel.nshares, data, part > 1 ? "replicas" : "processes");
    MT_CHECK(c->parallel.chunks == 1 || c->parallel.schedule == MT_SCHEDULE_INTERLEAVED,
             MOTLEY_ECONFIG, "parallel.chunks is %" PRId64 ", which needs "
             "parallel.schedule=interleaved", c->parallel.chunks);
    *mesh = (struct mt_mesh){
        .data = (int)data, .stages = (int)c->parallel.stages, .tensor = (int)c->parallel.tensor,
        .chunks = (int)c->parallel.chunks, .schedule = (enum mt_schedule)c->parallel.schedule,
        .shares = s->found != NULL ? s->found : c->parallel.nshares > 0 ? c->parallel.shares : NULL,
        .recompute = c->parallel.recompute};
    return MOTLEY_OK;
}

/* Micro-batches of one replica: given, or as many as keep stages busy and have samples. */
static int micros_of(const struct mt_session *s, int stages, int replicas)
{
    const struct mt_tree *given =
        mt_tree_get(mt_tree_get(s->config->root, "train"), "micro_batches");
    int64_t rows = s->batch / replicas, want = (int64_t)MICROS_A_STAGE * stages;

    if (given != NULL || stages == 1) {
        return (int)s->config->train.micro_batches;
    }
    return (int)(want < rows ? want : rows > 0 ? rows : 1);
}

static int regular(struct mt_session *s, struct mt_layout **out)
{
    const struct mt_tree *cut = s->config->parallel.cut;
    struct mt_mesh mesh;
    int *nodes = NULL, begins, st = MOTLEY_OK;

    MT_TRY(read_mesh(s, &mesh));
    begins = mesh.stages * mesh.chunks - 1;
    mesh.micros = micros_of(s, mesh.stages, mesh.data);
    MT_TRY(MT_NEW_N(s->ctx, begins + 1, &nodes));
    if (cut != NULL) {
        MT_TRY_OR(done, read_cut(s->whole, cut, begins, nodes));
        mesh.cut = nodes;
    }
    MT_TRY_OR(done, mt_layout_grid(s->whole, s->job->info->size, &mesh, out));
    for (int r = mesh.data - 1; s->found != NULL && r >= 0; r--) {
        if (s->found[r] <= 0) {
            mt_layout_drop(*out, r);   /* it would only delay the others */
        }
    }
done:
    mt_free(s->ctx, nodes);
    return st;
}

int mt_session_given(const struct mt_config *config, const struct mt_graph *whole, int nrank,
                     struct mt_layout **out)
{
    const struct mt_tree *t = config->parallel.layout, *from = t;
    struct mt_ctx *ctx = whole->ctx;
    struct mt_layout *l = NULL;
    struct mt_tree *file = NULL;
    char *text = NULL;
    size_t bytes = 0;
    int st = MOTLEY_OK;

    if (t->kind == MT_TREE_SCALAR) {
        MT_TRY(mt_file_read(ctx, t->text, &text, &bytes));
        MT_TRY_OR(done, mt_yaml_parse(ctx, text, bytes, t->text, 1, &file));
        from = file;
    }
    MT_TRY_OR(done, mt_layout_read(whole, nrank, from, &l));
    if (from->kind == MT_TREE_LIST &&
        mt_tree_get(mt_tree_get(config->root, "parallel"), "schedule") != NULL) {
        l->schedule = (enum mt_schedule)config->parallel.schedule;
        MT_TRY_OR(done, mt_layout_check(whole, l));
    }
    *out = l;
    l = NULL;
done:
    mt_layout_free(l);
    mt_tree_free(ctx, file);
    mt_free(ctx, text);
    return st;
}

/* The numbers of a plan of the ranks that are not beaten, in a job of nrank. */
static void renumber(struct mt_layout *l, const int *rank, int nrank)
{
    l->nrank = nrank;
    for (int r = 0; r < l->nreplica; r++) {
        for (int k = 0; k < l->replica[r].nstage; k++) {
            struct mt_stage *stage = &l->replica[r].stage[k];

            for (int i = 0; i < stage->nrank; i++) {
                stage->rank[i] = rank[stage->rank[i]];
            }
        }
    }
}

static int plan(struct mt_session *s, const struct mt_profile *p)
{
    struct mt_cluster *able = NULL;
    struct mt_plan_wish wish;
    struct mt_load *load = NULL;
    int *rank = NULL, st = MOTLEY_OK;

    mt_outlook_wish(s->config, &wish);
    MT_TRY_OR(done, MT_NEW_N(s->ctx, p->cluster->nrank, &rank));
    MT_TRY_OR(done, mt_rivals_without(p->cluster, s->rival, rank, &able));
    MT_TRY_OR(done, mt_load_new(s->whole, s->optim,
                                s->config->parallel.wire == MT_WIRE_BF16, &load));
    MT_TRY_OR(done, mt_planner_choose(s->whole, load, able, &wish, &s->planned));
    renumber(s->planned->layout, rank, p->cluster->nrank);
    for (int i = 0; i < s->planned->nreason && s->job->info->rank == 0; i++) {
        mt_log(s->ctx, MT_LOG_INFO, "plan", "%s", s->planned->reason[i]);
    }
done:
    mt_load_free(load);
    mt_rivals_free(able);
    mt_free(s->ctx, rank);
    return st;
}

/* parallel.grid: auto. All ranks have the same profile, so they come to the same plan. */
static int chosen(struct mt_session *s, struct mt_layout **out)
{
    const struct mt_profile *p = NULL;

    MT_TRY(mt_session_profile(s, &p));
    MT_TRY(mt_session_rivals(s, p));
    MT_TRY(mt_job_agree(s->job, plan(s, p)));
    return mt_job_agree(s->job, mt_layout_copy(s->planned->layout, out));
}

/* Every process has everything and its share of the samples. */
static int by_samples(struct mt_session *s, struct mt_layout **out)
{
    struct mt_mesh mesh = {.data = s->job->info->size, .stages = 1, .tensor = 1, .chunks = 1,
                           .micros = 1};

    if (s->config->parallel.nshares == mesh.data) {
        mesh.shares = s->config->parallel.shares;
    }
    return mt_layout_grid(s->whole, mesh.data, &mesh, out);
}

/* ---- applying it ----------------------------------------------------------------------- */

int mt_session_layout(struct mt_session *s, struct mt_layout *l)
{
    double *shares = NULL;

    MT_TRY(mt_layout_check(s->whole, l));
    MT_TRY(MT_NEW_N(s->ctx, l->nreplica, &shares));
    for (int r = 0; r < l->nreplica; r++) {
        shares[r] = l->replica[r].share;
    }
    mt_free(s->ctx, s->shares);
    mt_layout_free(s->layout);
    s->layout = l;
    s->shares = shares;
    mt_layout_where(l, s->job->info->rank, &s->seat);
    return MOTLEY_OK;
}

/* Without measuring. Local. */
static int make_layout(struct mt_session *s, struct mt_layout **out)
{
    if (s->opt.mode != MT_SESSION_TRAIN && s->opt.mode != MT_SESSION_PLAN) {
        return by_samples(s, out);
    }
    return s->config->parallel.layout != NULL
               ? mt_session_given(s->config, s->whole, s->job->info->size, out)
               : regular(s, out);
}

int mt_session_grid(struct mt_session *s)
{
    int trains = s->opt.mode == MT_SESSION_TRAIN || s->opt.mode == MT_SESSION_PLAN;
    int measured = trains && s->config->parallel.grid == GRID_AUTO &&
                   s->config->parallel.layout == NULL && s->job->info->size > 1;
    struct mt_layout *l = NULL;
    int st;

    if (measured) {
        MT_TRY(chosen(s, &l));
    } else {
        MT_TRY(mt_job_agree(s->job, make_layout(s, &l)));
    }
    st = mt_job_agree(s->job, mt_session_layout(s, l));
    if (st < 0) {
        mt_layout_free(l);
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    return MOTLEY_OK;
}

/* ---- what follows from it ---------------------------------------------------------------- */

void mt_session_share(const struct mt_session *s, int64_t rows, int64_t *lo, int64_t *hi)
{
    *lo = *hi = 0;
    if (s->seat.replica >= 0) {
        mt_share(rows, s->shares, s->layout->nreplica, s->seat.replica, lo, hi);
    }
}

int mt_session_micros(const struct mt_session *s)
{
    return s->seat.replica >= 0 ? s->layout->replica[s->seat.replica].micros : 1;
}

int mt_session_speaks(const struct mt_session *s, int rank)
{
    struct mt_seat_in seat;

    mt_layout_where(s->layout, rank, &seat);
    return seat.replica >= 0 && seat.part == 0 && seat.first == 0;
}
