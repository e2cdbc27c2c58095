/* pipe.c -- proves: however a network is cut into stages, training gives the bits of one process.
 * Random networks of real operations (results in place, activations done by the product before,
 * views, values read several stages later, dropout, side branches) with random cuts, every
 * schedule, several stages a rank, 1 to 6 micro-batches of unequal and of no rows, memory that the
 * host shares with the device and pinned memory; with and without naps at random places;
 * evaluation too; stages without parameters, and ranks that are left out; activations kept or
 * computed again. A step asks for no memory. Then every single cut of one network.
 * Ranks: 1 2 3 4 8
 * Time: 300 */
#define _POSIX_C_SOURCE 200809L
#include "job.h"

#include "base/rng.h"
#include "device/buf.h"
#include "device/dev.h"
#include "graph/store.h"
#include "parallel/par.h"
#include "parallel/schedule.h"

#include <math.h>
#include <time.h>

enum { W = 9, NODES = 14, OPS = 10, STEPS = 2, MAXROWS = 24, MAXSTAGE = 16, MAXRANKS = 8 };

static const char *const words[OPS] = {"linear", "relu", "tanh", "dropout", "gelu", "flatten",
                                       "add", "sigmoid", "leaky_relu", "linear"};

struct trial {
    int number;                /* names the network and its data */
    int nstage, stride, micros, rows;
    int cut[MAXSTAGE + 1];     /* first node of each stage, and the end */
    enum mt_schedule schedule;
    int naps, recompute;
};

struct net {
    struct mt_graph *graph;
    struct mt_optim *optim;
    struct mt_store *store;
    struct mt_exec *exec[2];   /* by mode */
    struct mt_par par[2];
    struct mt_layout *layout;
    struct mt_batch batch;
    struct mt_step_kind figures, nap;
};

/* ---- networks ----------------------------------------------------------------------------- */

static int pick(struct mt_rng_key key, uint64_t *draw, int n)
{
    return (int)(mt_rng_u32(key, (*draw)++) % (uint32_t)n);
}

static void set_attrs(const struct mt_op *op, union mt_attr_val *attr)
{
    memset(attr, 0, MT_MAXATTR * sizeof *attr);
    for (int a = 0; op->attrs != NULL && op->attrs[a].name != NULL; a++) {
        attr[a] = op->attrs[a].def;
    }
}

static void build(struct job *j, int number, int rows, struct mt_graph **out)
{
    struct mt_rng_key key = mt_rng_key(5, MT_RNG_TEST, (uint64_t)number);
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){rows, W});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){rows});
    union mt_attr_val attr[MT_MAXATTR];
    int value[NODES + 1], n = 0, in[2];
    uint64_t draw = 0;

    JOB_DO(j, mt_graph_new(j->ctx, &x, &y, out));
    value[n++] = (*out)->x;
    for (int i = 0; i < NODES; i++) {
        int o = i == 0 ? 0 : pick(key, &draw, OPS);
        const struct mt_op *op = mt_op_find(words[o]);

        in[0] = pick(key, &draw, 3) ? value[n - 1] : value[pick(key, &draw, n)];
        in[1] = value[pick(key, &draw, n)];
        set_attrs(op, attr);
        if (strcmp(words[o], "linear") == 0) {
            attr[0].i = W;
        }
        JOB_DO(j, mt_graph_add(*out, op, NULL, attr, in, o == 6 ? 2 : 1, &value[n]));
        n++;
    }
    in[0] = value[n - 1];
    in[1] = (*out)->y;
    set_attrs(mt_op_find("cross_entropy"), attr);
    JOB_DO(j, mt_graph_add(*out, mt_op_find("cross_entropy"), NULL, attr, in, 2, &in[1]));
    JOB_DO(j, mt_graph_finish(*out, value[n - 1], (*out)->nnode - 1));
}

/* Stage s lies on rank s % stride, counted from the last rank of the job down, so that a rank that
 * is left out is one of the first. */
static struct mt_layout *lay_out(struct job *j, const struct trial *t)
{
    struct mt_layout *l = NULL;
    struct mt_replica *r;

    JOB_DO(j, MT_NEW(j->ctx, &l));
    l->ctx = j->ctx;
    l->nrank = j->size;
    l->schedule = t->schedule;
    JOB_DO(j, MT_NEW_N(j->ctx, 1, &l->replica));
    l->nreplica = 1;
    r = l->replica;
    r->share = 1;
    r->micros = t->micros;
    JOB_DO(j, MT_NEW_N(j->ctx, t->nstage, &r->stage));
    r->nstage = t->nstage;
    for (int s = 0; s < t->nstage; s++) {
        r->stage[s] = (struct mt_stage){.lo = t->cut[s], .hi = t->cut[s + 1], .nrank = 1,
                                        .recompute = t->recompute >> s & 1};
        JOB_DO(j, MT_NEW_N(j->ctx, 1, &r->stage[s].rank));
        r->stage[s].rank[0] = j->size - 1 - s % t->stride;
    }
    return l;
}

/* ---- steps of the test: figures to all ranks, naps ------------------------------------------- */

static struct job *the_job;
static int loss_rank;

/* Reducing over ranks is not what is tested: the figures of the loss are handed round. */
static int run_figures(struct mt_exec *x, const struct mt_step *s)
{
    float stats[MT_STATS];

    (void)s;
    MT_TRY(mt_buf_read(x->stats.buf, x->stats.off * 4, sizeof stats, stats));
    MT_TRY(mt_comm_bcast(the_job->comm, stats, sizeof stats, loss_rank));
    return mt_buf_write(x->stats.buf, x->stats.off * 4, sizeof stats, stats);
}

static int run_nap(struct mt_exec *x, const struct mt_step *s)
{
    struct timespec t = {0, s->value * 1000};

    (void)x;
    nanosleep(&t, NULL);
    return MOTLEY_OK;
}

static void edit(struct job *j, struct net *n, const struct trial *t, struct mt_steps *steps)
{
    struct mt_rng_key key = mt_rng_key(6, MT_RNG_TEST, (uint64_t)(t->number * 64 + j->rank));
    struct mt_steps out = {.ctx = j->ctx};
    struct mt_step mine = {.node = -1, .micro = -1, .ticket = -1};
    uint64_t draw = 0;

    n->figures = (struct mt_step_kind){.name = "figures", .run = run_figures};
    n->nap = (struct mt_step_kind){.name = "nap", .run = run_nap};
    for (int i = 0; i < steps->n; i++) {
        if (steps->step[i].kind == &mt_step_scale) {
            mine.kind = &n->figures;
            JOB_DO(j, mt_steps_add(&out, &mine));
        }
        if (t->naps && pick(key, &draw, 8) == 0) {
            mine.kind = &n->nap;
            mine.value = pick(key, &draw, 2000);
            JOB_DO(j, mt_steps_add(&out, &mine));
        }
        JOB_DO(j, mt_steps_add(&out, &steps->step[i]));
    }
    mt_steps_fini(steps);
    *steps = out;
}

/* ---- one trial ---------------------------------------------------------------------------- */

static void net_new(struct job *j, struct mt_dev *dev, const struct trial *t, int parallel,
                    struct net *n)
{
    struct mt_tree type = {.kind = MT_TREE_SCALAR, .text = "sgd"};
    const struct mt_spec *spec;

    memset(n, 0, sizeof *n);
    build(j, t->number, (t->rows + t->micros - 1) / t->micros, &n->graph);
    if (parallel) {
        n->layout = lay_out(j, t);
        JOB_DO(j, mt_layout_check(n->graph, n->layout));
        JOB_DO(j, mt_par_graph(n->graph, n->layout, j->rank, &n->graph));
    }
    JOB_DO(j, mt_optim_new(j->ctx, &type, &n->optim));
    JOB_DO(j, mt_optim_bind(n->optim, dev));
    JOB_DO(j, mt_store_new(dev, n->graph, n->optim, 0, &n->store));
    JOB_DO(j, mt_store_init(n->store, n->graph, 1));
    for (int mode = MT_TRAIN; mode <= MT_EVAL; mode++) {
        struct mt_order_opt order = {.mode = (enum mt_mode)mode, .micros = t->micros};
        struct mt_exec_opt opt = {.mode = (enum mt_mode)mode, .micros = t->micros, .seed = 1,
                                  .optim = n->optim, .share = n->exec[0]};
        struct mt_par *par = &n->par[mode];
        struct mt_steps steps;

        if (parallel) {
            JOB_DO(j, mt_par_order(n->graph, n->layout, j->rank, &order, &steps));
            edit(j, n, t, &steps);
            JOB_DO(j, mt_wire_new(j->ctx, j->comm, dev, &par->wire));
            JOB_DO(j, mt_pipe_new(dev, j->comm, par->wire, n->graph, &steps, &par->pipe));
        } else {
            JOB_DO(j, mt_order(n->graph, &order, &steps));
        }
        JOB_DO(j, mt_exec_new(dev, n->graph, n->store, &opt, &steps, &n->exec[mode]));
        n->exec[mode]->pass = par;
    }
    spec = &n->graph->value[n->graph->x].spec;
    n->batch = (struct mt_batch){.x = {.spec = *spec},
                                 .y = {.spec = n->graph->value[n->graph->y].spec},
                                 .rows = t->rows, .lr = 0.25};
    JOB_DO(j, mt_buf_new(dev, MAXROWS * W * 4, "x", &n->batch.x.buf));
    JOB_DO(j, mt_buf_new(dev, MAXROWS * 4, "y", &n->batch.y.buf));
}

static void net_free(struct net *n)
{
    mt_buf_free(n->batch.y.buf);
    mt_buf_free(n->batch.x.buf);
    for (int mode = MT_EVAL; mode >= MT_TRAIN; mode--) {
        mt_exec_free(n->exec[mode]);
        mt_pipe_free(n->par[mode].pipe);
        mt_wire_free(n->par[mode].wire);
    }
    mt_store_free(n->store);
    mt_optim_free(n->optim);
    mt_layout_free(n->layout);
    mt_graph_free(n->graph);
}

static void load(struct job *j, struct net *n, const struct trial *t, int64_t step)
{
    struct mt_rng_key key = mt_rng_key(7, MT_RNG_TEST, (uint64_t)(t->number * STEPS + step));
    float x[MAXROWS * W];
    int32_t y[MAXROWS];

    for (uint64_t i = 0; i < MAXROWS * W; i++) {
        x[i] = (float)mt_rng_normal(key, i);
    }
    for (uint64_t i = 0; i < MAXROWS; i++) {
        y[i] = (int32_t)(mt_rng_u32(key, 5000 + i) % W);
    }
    JOB_DO(j, mt_buf_write(n->batch.x.buf, 0, sizeof x, x));
    JOB_DO(j, mt_buf_write(n->batch.y.buf, 0, sizeof y, y));
    n->batch.step = step;
}

/* The first weight that differs, as text; empty: none does. */
static void compare(struct job *j, const struct net *one, const struct net *many, char *what,
                    size_t room)
{
    float *a = NULL, *b = NULL;

    what[0] = '\0';
    JOB_DO(j, MT_NEW_N(j->ctx, one->store->size + 1, &a));
    JOB_DO(j, MT_NEW_N(j->ctx, one->store->size + 1, &b));
    JOB_DO(j, mt_buf_read(one->store->param, 0, one->store->size * 4, a));
    if (many->store->size > 0) {
        JOB_DO(j, mt_buf_read(many->store->param, 0, many->store->size * 4, b));
    }
    for (int p = 0; p < one->graph->nparam; p++) {
        const struct mt_gparam *whole = &one->graph->param[p], *part = &many->graph->param[p];

        for (uint64_t i = 0; part->held && i < part->range.hi - part->range.lo; i++) {
            const float *x = &a[whole->range.lo + i], *y = &b[part->range.lo + i];

            if (memcmp(x, y, sizeof *x) != 0 && what[0] == '\0') {
                snprintf(what, room, "%s[%d] is %a, alone %a", whole->name, (int)i, (double)*y,
                         (double)*x);
            }
        }
    }
    mt_free(j->ctx, a);
    mt_free(j->ctx, b);
}

static void print_list(struct job *j, const struct net *n)
{
    char line[256];

    for (int i = 0; i < n->exec[0]->steps.n; i++) {
        mt_step_print(n->graph, &n->exec[0]->steps.step[i], line, (int)sizeof line);
        fprintf(stderr, "    rank %d  %s\n", j->rank, line);
    }
}

static void describe(const struct trial *t, char *text, size_t room)
{
    size_t used = (size_t)snprintf(text, room, "network %d, %s, %d stages on %d ranks, %d "
                                   "micro-batches of %d rows%s, recompute %x, cuts", t->number,
                                   mt_schedule_word(t->schedule), t->nstage, t->stride, t->micros,
                                   t->rows, t->naps ? ", naps" : "", (unsigned)t->recompute);

    for (int s = 1; s < t->nstage && used < room; s++) {
        used += (size_t)snprintf(text + used, room - used, " %d", t->cut[s]);
    }
}

static void run_trial(struct job *j, struct mt_dev *dev, const struct trial *t)
{
    struct net one, many;
    float alone[MT_SCALARS], here[MT_SCALARS];
    char text[256], what[256];
    int failed = j->failed;

    describe(t, text, sizeof text);
    loss_rank = j->size - 1 - (t->nstage - 1) % t->stride;
    net_new(j, dev, t, 0, &one);
    net_new(j, dev, t, 1, &many);
    for (int step = 0; step < STEPS; step++) {
        int64_t requests, buffers;

        load(j, &one, t, step);
        load(j, &many, t, step);
        JOB_DO(j, mt_exec_run(one.exec[0], &one.batch));
        requests = mt_mem_requests(j->ctx);
        buffers = (int64_t)mt_dev_allocations(dev);
        JOB_DO(j, mt_exec_run(many.exec[0], &many.batch));
        JOB_CHECK(j, mt_mem_requests(j->ctx) == requests &&
                  (int64_t)mt_dev_allocations(dev) == buffers, "%s: asked for memory", text);
        JOB_DO(j, mt_buf_read(one.store->scalar, 0, sizeof alone, alone));
        JOB_DO(j, mt_buf_read(many.store->scalar, 0, sizeof here, here));
        JOB_CHECK(j, memcmp(here, alone, sizeof here) == 0, "%s: step %d: loss %.9g, alone %.9g",
                  text, step, (double)here[MT_SCALAR_LOSS], (double)alone[MT_SCALAR_LOSS]);
    }
    compare(j, &one, &many, what, sizeof what);
    JOB_CHECK(j, what[0] == '\0', "%s: %s", text, what);

    JOB_DO(j, mt_exec_run(one.exec[1], &one.batch));
    JOB_DO(j, mt_exec_run(many.exec[1], &many.batch));
    JOB_DO(j, run_figures(many.exec[1], NULL));
    JOB_DO(j, mt_buf_read(one.exec[1]->stats.buf, one.exec[1]->stats.off * 4, MT_STATS * 4,
                          alone));
    JOB_DO(j, mt_buf_read(many.exec[1]->stats.buf, many.exec[1]->stats.off * 4, MT_STATS * 4,
                          here));
    JOB_CHECK(j, memcmp(here, alone, MT_STATS * 4) == 0, "%s: evaluation gives %.9g, alone %.9g",
              text, (double)here[0], (double)alone[0]);
    if (j->failed > failed && getenv("PIPE_PRINT") != NULL) {
        print_list(j, &many);
    }
    net_free(&many);
    net_free(&one);
}

/* Whether its weights can be trained at all: those of some random networks cannot. */
static int may_train(struct job *j, int number)
{
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 1};
    struct mt_graph *g = NULL;
    struct mt_steps steps;
    int ok;

    build(j, number, 1, &g);
    ok = mt_order(g, &order, &steps) == MOTLEY_OK;
    if (ok) {
        mt_steps_fini(&steps);
    }
    mt_graph_free(g);
    return ok;
}

/* Ascending cuts, each stage with at least one node. */
static void cut_at_random(struct mt_rng_key key, uint64_t *draw, struct trial *t)
{
    int left = NODES + 1;

    t->cut[t->nstage] = left;
    for (int s = t->nstage - 1; s > 0; s--) {
        left -= 1 + pick(key, draw, 2 * (left / (s + 1)) - 1 > left - s ? left - s
                                    : 2 * (left / (s + 1)) - 1);
        t->cut[s] = left;
    }
    t->cut[0] = 0;
}

static void random_trial(struct job *j, struct mt_dev *dev, int number)
{
    struct mt_rng_key key = mt_rng_key(8, MT_RNG_TEST, (uint64_t)number);
    struct trial t = {.number = number, .naps = number % 4 == 3};
    uint64_t draw = 0;

    t.schedule = (enum mt_schedule)(number % MT_SCHEDULES);
    t.stride = 1 + pick(key, &draw, j->size);
    t.stride = pick(key, &draw, 3) ? j->size : t.stride;
    t.nstage = t.stride;
    if (t.schedule == MT_SCHEDULE_INTERLEAVED || t.schedule == MT_SCHEDULE_GPIPE) {
        t.nstage = t.stride * (1 + pick(key, &draw, MAXSTAGE / 2 / t.stride > 3
                                                        ? 3 : MAXSTAGE / 2 / t.stride));
    }
    t.micros = 1 + pick(key, &draw, 6);
    t.recompute = number % 3 == 2 ? (int)(mt_rng_u32(key, draw++) & 0xffff) : 0;
    t.rows = pick(key, &draw, 4) ? 1 + pick(key, &draw, MAXROWS) : 1 + pick(key, &draw, 3);
    cut_at_random(key, &draw, &t);
    if (may_train(j, number)) {
        run_trial(j, dev, &t);
    }
}

static void every_cut(struct job *j, struct mt_dev *dev)
{
    struct trial t = {.number = 3, .nstage = 2, .stride = 2, .micros = 3, .rows = 10,
                      .schedule = MT_SCHEDULE_1F1B};

    t.cut[2] = NODES + 1;
    for (t.cut[1] = 1; j->size == 2 && t.cut[1] <= NODES; t.cut[1]++) {
        run_trial(j, dev, &t);
    }
}

/* Odd ranks use pinned memory, as between host and graphics card. */
static int open_device(struct job *j, struct mt_dev **dev)
{
    struct mt_dev_info *list = NULL, info;
    const char *want[MAXRANKS];
    int got[MAXRANKS], sharers[MAXRANKS], n = 0;

    JOB_DO(j, mt_dev_prepare(j->ctx));
    JOB_DO(j, mt_dev_list(j->ctx, &list, &n));
    if (n > 0 && j->size <= MAXRANKS) {
        for (int r = 0; r < j->size; r++) {
            want[r] = j->ctx->env.value[MT_ENV_DEVICE] != NULL
                          ? j->ctx->env.value[MT_ENV_DEVICE] : "auto";
        }
        JOB_DO(j, mt_dev_assign(list, n, want, j->size, 1, got, sharers));
        info = list[got[j->rank]];
        info.unified = info.unified && j->rank % 2 == 0;
        JOB_DO(j, mt_dev_open(j->ctx, &info, sharers[j->rank], dev));
        JOB_DO(j, mt_comm_describe(j->comm, mt_dev_info(*dev)->name));
    }
    mt_free(j->ctx, list);
    return n > 0;
}

int main(int argc, char **argv)
{
    struct mt_dev *dev = NULL;
    struct job j;
    int from = argc > 1 ? atoi(argv[1]) : 0, to = argc > 2 ? atoi(argv[2]) : from + 40;

    job_open(&j);
    the_job = &j;
    if (!open_device(&j, &dev)) {
        if (j.rank == 0) {
            printf("SKIP opencl: no device\n");
        }
        job_close(&j);
        return 77;
    }
    mt_comm_watch(j.comm, 60, NULL);
    for (int number = from; number < to; number++) {
        random_trial(&j, dev, number);
    }
    every_cut(&j, dev);
    mt_dev_close(dev);
    return job_close(&j);
}
