/* profile.c -- proves: all ranks get the same profile, to the last bit; a rank that is made 20
 * times slower is seen to be far slower than the others (by at least 5, in one of three attempts:
 * others may disturb a measurement), and gets a kind of its own; a rank whose memory is too small
 * for the whole network still has times for every layer that fits, and the limit is in the
 * profile; paths between ranks are measured; rehearsals of several ranks give what sums and
 * messages take, and that comes on top of what the simulator says without it.
 * Ranks: 1 2 3 */
#include "job.h"

#include "base/hash.h"
#include "config/config.h"
#include "device/dev.h"
#include "graph/store.h"
#include "optim/optim.h"
#include "parallel/profile.h"
#include "parallel/sim.h"

#include <math.h>

enum { BATCH = 64, IN = 256, SLOW = 20, ATTEMPTS = 3 };

static const char net[] =
    "model: [{linear: 256}, relu, {linear: 256}, relu, {linear: 256}, relu, {linear: 8}]\n"
    "loss: mse\noptimizer: adam\n";

struct all {
    struct mt_dev *dev;
    struct mt_config *config;
    struct mt_graph *graph;
    struct mt_optim *optim;
};

static int open_device(struct job *j, struct mt_dev **dev)
{
    struct mt_dev_info *list = NULL;
    const char *want[] = {"auto"};
    int n = 0, got, sharers;

    JOB_DO(j, mt_dev_prepare(j->ctx));
    JOB_DO(j, mt_dev_list(j->ctx, &list, &n));
    if (n > 0) {
        JOB_DO(j, mt_dev_assign(list, n, want, 1, 1, &got, &sharers));
        JOB_DO(j, mt_dev_open(j->ctx, &list[got], j->size, dev));
    }
    mt_free(j->ctx, list);
    return n > 0;
}

static void check_same(struct job *j, const struct all *a, const struct mt_profile *p)
{
    char *text = NULL, mine[MT_HASH_TEXT], first[MT_HASH_TEXT];

    JOB_DO(j, mt_profile_print(p, a->graph, &text));
    mt_hash_block(text, strlen(text), mine);
    memcpy(first, mine, sizeof first);
    JOB_DO(j, mt_comm_bcast(j->comm, first, sizeof first, 0));
    JOB_CHECK(j, strcmp(mine, first) == 0, "another profile than rank 0");
    mt_free(j->ctx, text);
}

static void check_paths(struct job *j, const struct mt_cluster *c)
{
    JOB_CHECK(j, c->nrank == j->size && c->nhost == 1, "%d ranks, %d hosts", c->nrank, c->nhost);
    JOB_CHECK(j, c->local.latency > 0 && c->local.latency < 1, "latency %g", c->local.latency);
    JOB_CHECK(j, c->local.bandwidth > 1e3, "bandwidth %g", c->local.bandwidth);
}

/* Seconds of a whole step of the batch. */
static double step_of(const struct all *a, const struct mt_profile *p, int rank)
{
    struct mt_curve c;

    mt_profile_step(p->cluster, a->graph, rank, &c);
    return mt_curve_at(&c, BATCH);
}

/* Rehearsals: what was found is possible, and stands in the forecast. */
static void rehearsed(struct job *j, const struct all *a)
{
    struct mt_profile_opt opt = {.most = BATCH, .seconds = 0.4, .bucket_bytes = 1 << 18};
    struct mt_mesh mesh = {.data = j->size, .stages = 1, .tensor = 1, .chunks = 1, .micros = 1};
    struct mt_profile *p = NULL;
    struct mt_load *load = NULL;
    struct mt_times *times = NULL;
    struct mt_layout *l = NULL;
    struct mt_forecast *with = NULL, *without = NULL;
    struct mt_curve *sums;

    JOB_DO(j, mt_profile_measure(a->dev, j->comm, a->graph, a->optim, &opt, &p));
    check_same(j, a, p);
    sums = &p->cluster->sums;
    JOB_CHECK(j, sums->n >= 2 && sums->rows[sums->n - 1] == BATCH / j->size,
              "%d sizes of rehearsed sums", sums->n);
    for (int i = 0; i < sums->n; i++) {
        JOB_CHECK(j, sums->seconds[i] >= 0 && sums->seconds[i] < 1, "sums of %g s",
                  sums->seconds[i]);
    }
    JOB_CHECK(j, p->cluster->hand.latency >= 0 && p->cluster->hand.latency < 0.1, "hand %g s",
              p->cluster->hand.latency);
    JOB_DO(j, mt_load_new(a->graph, a->optim, 0, &load));
    JOB_DO(j, mt_times_new(load, p->cluster, &times));
    JOB_DO(j, mt_layout_grid(a->graph, j->size, &mesh, &l));
    JOB_DO(j, mt_sim_run(times, l, BATCH / j->size * j->size, &with));
    for (int i = 0; i < sums->n; i++) {
        sums->seconds[i] = 0;
    }
    JOB_DO(j, mt_sim_run(times, l, BATCH / j->size * j->size, &without));
    JOB_CHECK(j, fabs(with->step - with->exposed - without->step) < 1e-9, "%g - %g is not %g",
              with->step, with->exposed, without->step);
    mt_forecast_free(with);
    mt_forecast_free(without);
    mt_layout_free(l);
    mt_times_free(times);
    mt_load_free(load);
    mt_profile_free(p);
}

/* The last rank is slow. */
static void one_is_slow(struct job *j, const struct all *a)
{
    struct mt_profile_opt opt = {.most = BATCH, .seconds = 0.4,
                                 .slow = j->rank == j->size - 1 ? SLOW : 1};
    double ratio = 0;

    for (int i = 0; i < ATTEMPTS && ratio < 5; i++) {
        struct mt_profile *p = NULL;

        JOB_DO(j, mt_profile_measure(a->dev, j->comm, a->graph, a->optim, &opt, &p));
        check_same(j, a, p);
        check_paths(j, p->cluster);
        ratio = step_of(a, p, j->size - 1) / step_of(a, p, 0);
        JOB_CHECK(j, p->cluster->kind[j->size - 1] != p->cluster->kind[0], "one kind");
        mt_profile_free(p);
    }
    JOB_CHECK(j, ratio >= 5, "a rank that is %d times slower seems %g times slower", SLOW, ratio);
}

/* Rank 0 may use less than weights, gradients and state of the whole network take. */
static void one_is_small(struct job *j, const struct all *a)
{
    double memory = 0.6 * (double)mt_store_bytes(a->graph, a->optim);
    struct mt_profile_opt opt = {.most = BATCH, .seconds = 0.2,
                                 .memory_bytes = j->rank == 0 ? memory : 0};
    struct mt_profile *p = NULL;
    const struct mt_speed *s;

    JOB_DO(j, mt_profile_measure(a->dev, j->comm, a->graph, a->optim, &opt, &p));
    check_same(j, a, p);
    s = &p->cluster->speed[p->cluster->kind[0]];
    JOB_CHECK(j, s->memory_bytes == memory, "memory %g", s->memory_bytes);
    for (int i = 0; i < a->graph->nnode; i++) {
        const struct mt_curve *c = &s->curve[i][MT_WORK_PARAM];

        JOB_CHECK(j, a->graph->node[i].n.nparam == 0 ||
                  (c->n >= 4 && c->seconds[0] > 0 && c->seconds[c->n - 1] < 1),
                  "%s: %d points", a->graph->node[i].n.name, c->n);
    }
    mt_profile_free(p);
}

int main(void)
{
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){BATCH, IN});
    struct mt_spec y = mt_spec_new(MT_F32, 1, 2, (int64_t[]){BATCH, 8});
    struct all a = {0};
    struct job j;

    job_open(&j);
    if (!open_device(&j, &a.dev)) {
        printf("SKIP opencl: no device\n");
        job_close(&j);
        return 77;
    }
    JOB_DO(&j, mt_config_parse(j.ctx, net, "test", NULL, 0, &a.config));
    JOB_DO(&j, mt_graph_build(j.ctx, a.config->model, a.config->loss, &x, &y, &a.graph));
    JOB_DO(&j, mt_optim_new(j.ctx, a.config->optimizer, &a.optim));
    JOB_DO(&j, mt_optim_bind(a.optim, a.dev));
    if (j.size > 1) {
        one_is_slow(&j, &a);
        rehearsed(&j, &a);
    }
    one_is_small(&j, &a);
    mt_optim_free(a.optim);
    mt_graph_free(a.graph);
    mt_config_free(a.config);
    mt_dev_close(a.dev);
    return job_close(&j);
}
