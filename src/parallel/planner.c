/* planner.c -- chooses a layout: candidates are made, arranged, simulated; the fastest is taken.
 *
 * Up to MT_TEAM_ALL ranks every way to put them together is looked at, the most promising ones by
 * their rates are simulated. Beyond, replicas are made kind by kind: how many stages and parts the
 * ranks of a kind form is changed for one kind after the other as long as that helps. To those
 * come regular runs in the order of the ranks and of their speed, and even grids. The best few are
 * tried with other schedules and numbers of micro-batches. */
#include "parallel/planner.h"

#include "base/ctx.h"
#include "parallel/team.h"
#include "parallel/why.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PROMISING 200      /* divisions of few ranks that are simulated */
#define REFINED 6          /* that are tried in all variants */
#define HOPELESS 1.1       /* times the best: estimates of more are not simulated */
#define DEPTH 4            /* micro-batches for each stage, at first */
#define LARGEST_GRID 4096  /* stages times micro-batches of an even grid */

struct draft {
    struct mt_team *team;
    double seconds;        /* estimated, then simulated */
    int number;            /* in the order of making */
};

struct search {
    struct mt_ctx *ctx;
    const struct mt_graph *whole;
    const struct mt_load *load;
    const struct mt_cluster *cluster;
    const struct mt_plan_wish *wish;
    struct mt_times *times;
    struct mt_arranger *arranger;
    char *may;
    int places;            /* most stages */
    double *rate;          /* by rank: samples a second of the whole network */
    int *order;
    int ndraft, roomdraft;
    struct draft *draft;
    struct mt_why *why;
    struct mt_layout *best;
    struct mt_forecast *forecast;
    double even;
    int tried;
};

/* ---- judging --------------------------------------------------------------------------------- */

/* Simulates a layout and takes it if it is the best that fits. *seconds: INFINITY if it does not
 * fit. */
static int judge(struct search *s, struct mt_layout *l, double *seconds)
{
    struct mt_forecast *f = NULL;
    int st;

    *seconds = INFINITY;
    MT_TRY_OR(end, mt_sim_run(s->times, l, s->wish->batch, &f));
    s->tried++;
    MT_TRY_OR(end, mt_why_tried(s->why, l, f));
    if (f->misfit < 0) {
        *seconds = f->step;
        if (s->best == NULL || f->step < s->forecast->step) {
            mt_layout_free(s->best);
            mt_forecast_free(s->forecast);
            s->best = l;
            s->forecast = f;
            return MOTLEY_OK;
        }
    }
end:
    mt_layout_free(l);
    mt_forecast_free(f);
    return st;
}

static struct mt_arrange_opt options(const struct search *s)
{
    const struct mt_plan_wish *w = s->wish;

    return (struct mt_arrange_opt){
        .batch = w->batch,
        .schedule = w->schedule >= 0 ? (enum mt_schedule)w->schedule : MT_SCHEDULE_1F1B,
        .chunks = w->chunks > 0 ? w->chunks : w->schedule == MT_SCHEDULE_INTERLEAVED ? 2 : 1,
        .micros = w->micros,
        .depth = DEPTH,
        .recompute = w->recompute,
        .use_all = w->use_all};
}

static int judge_team(struct search *s, const struct mt_team *team,
                      const struct mt_arrange_opt *o, double *seconds)
{
    struct mt_layout *l = NULL;

    *seconds = INFINITY;
    MT_TRY(mt_arrange(s->arranger, team, o, &l));
    return l != NULL ? judge(s, l, seconds) : MOTLEY_OK;
}

/* Takes the team. */
static int add_draft(struct search *s, struct mt_team *team, double seconds)
{
    if (s->ndraft == s->roomdraft) {
        if (MT_RESIZE(s->ctx, 2 * s->roomdraft + 64, &s->draft) < 0) {
            mt_team_free(team);
            return MOTLEY_EMEM;
        }
        s->roomdraft = 2 * s->roomdraft + 64;
    }
    s->draft[s->ndraft] = (struct draft){team, seconds, s->ndraft};
    s->ndraft++;
    return MOTLEY_OK;
}

/* A lower bound, nearly: all ranks busy but for the bubble; sums of gradients beside backward. */
static double estimate(const struct search *s, const struct mt_team *team)
{
    double power = 0, compute, params = 0, slowest = INFINITY, sums = 0;
    int one_host = 1;

    for (int i = 0; i < team->ncrew; i++) {
        const struct mt_crew *c = &team->crew[i];
        double all = 0, m = DEPTH * c->nstage;

        for (int k = 0; k < c->nstage * c->tensor; k++) {
            all += s->rate[c->rank[k]];
        }
        power += all * m / (m + c->nstage - 1);
    }
    compute = (double)s->wish->batch / power;
    for (int i = 0; i < s->load->n; i++) {
        params += s->load->node[i].params;
    }
    for (int i = 1; i < team->ncrew; i++) {
        one_host &= s->cluster->host[team->crew[i].rank[0]] ==
                    s->cluster->host[team->crew[0].rank[0]];
        slowest = fmin(slowest, mt_cluster_path(s->cluster, team->crew[i - 1].rank[0],
                                                team->crew[i].rank[0]).bandwidth);
    }
    if (team->ncrew > 1) {
        sums = 2.0 * (team->ncrew - 1) / team->ncrew *
               mt_load_sum_bytes(s->load, one_host) * params / slowest / team->crew[0].nstage;
    }
    return compute + fmax(0, sums - compute / 2);
}

/* Takes the team (may be NULL): judges it and keeps it for later. */
static int try_team(struct search *s, struct mt_team *team, double *seconds)
{
    struct mt_arrange_opt o = options(s);
    double t = INFINITY;

    if (team != NULL && s->best != NULL && estimate(s, team) > HOPELESS * s->forecast->step) {
        mt_team_free(team);
        team = NULL;
    }
    if (team != NULL) {
        int st = judge_team(s, team, &o, &t);

        if (st < 0) {
            mt_team_free(team);
            return mt_err_trace(st, __func__, __FILE__, __LINE__);
        }
        MT_TRY(add_draft(s, team, t));
    }
    if (seconds != NULL) {
        *seconds = t;
    }
    return MOTLEY_OK;
}

static int by_seconds(const void *a, const void *b)
{
    const struct draft *p = a, *q = b;

    return p->seconds != q->seconds ? (p->seconds > q->seconds) - (p->seconds < q->seconds)
                                    : p->number - q->number;
}

static void sort_drafts(struct search *s)
{
    if (s->ndraft > 1) {
        qsort(s->draft, (size_t)s->ndraft, sizeof *s->draft, by_seconds);
    }
}

/* ---- few ranks ------------------------------------------------------------------------------- */

static int take(void *arg, struct mt_team *team)
{
    return add_draft(arg, team, estimate(arg, team));
}

static int search_few(struct search *s)
{
    int n;

    MT_TRY(mt_teams_all(s->cluster, s->wish, take, s));
    sort_drafts(s);
    n = s->ndraft < PROMISING ? s->ndraft : PROMISING;
    for (int i = 0; i < s->ndraft; i++) {
        struct mt_arrange_opt o = options(s);

        s->draft[i].seconds = INFINITY;
        if (i < n) {
            MT_TRY(judge_team(s, s->draft[i].team, &o, &s->draft[i].seconds));
        }
    }
    return MOTLEY_OK;
}

/* ---- many ranks ------------------------------------------------------------------------------ */

static const int depths[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
static const int parts[] = {1, 2, 4, 8};
enum { DEPTHS = sizeof depths / sizeof *depths, PARTS = sizeof parts / sizeof *parts };

static int is_wished(const struct search *s, int stages, int tensor)
{
    const struct mt_plan_wish *w = s->wish;

    return (w->stages == 0 || w->stages == stages) && (w->tensor == 0 || w->tensor == tensor) &&
           stages <= s->places;
}

static int try_kinds(struct search *s, const struct mt_team_choice *choice, double *seconds)
{
    *seconds = INFINITY;
    for (int mix = 0; mix <= (s->wish->stages == 0); mix++) {
        struct mt_team *team = NULL;
        double t;

        MT_TRY(mt_team_kinds(s->cluster, s->order, choice, mix, &team));
        if (mix && team != NULL && team->crew[team->ncrew - 1].nstage > s->places) {
            mt_team_free(team);
            continue;
        }
        MT_TRY(try_team(s, team, &t));
        *seconds = fmin(*seconds, t);
    }
    return MOTLEY_OK;
}

/* The best choice for one kind, the others as they are. */
static int improve_kind(struct search *s, struct mt_team_choice *choice, int kind, double *best)
{
    struct mt_team_choice was = choice[kind], found = was;
    int ranks = 0;

    for (int r = 0; r < s->cluster->nrank; r++) {
        ranks += s->cluster->kind[r] == kind;
    }
    for (int d = s->wish->use_all ? 0 : -1; d < DEPTHS; d++) {
        for (int p = 0; p < (d < 0 ? 1 : PARTS); p++) {
            struct mt_team_choice c = {d < 0 ? 0 : depths[d], parts[p]};
            double t;

            if ((d >= 0 && !is_wished(s, c.stages, c.tensor)) || c.stages * c.tensor > ranks ||
                (c.stages == was.stages && c.tensor == was.tensor)) {
                continue;
            }
            choice[kind] = c;
            MT_TRY(try_kinds(s, choice, &t));
            if (t < *best) {
                *best = t;
                found = c;
            }
        }
    }
    choice[kind] = found;
    return MOTLEY_OK;
}

/* Begins with the fastest kind alone, and gives each kind its best use in turn. */
static int search_kinds(struct search *s)
{
    struct mt_team_choice *choice = NULL;
    double best = INFINITY, before;
    int st, n = s->cluster->nrank;

    MT_TRY_OR(end, MT_NEW_N(s->ctx, s->cluster->nkind, &choice));
    for (int sweep = 0; sweep < 3; sweep++) {
        before = best;
        for (int i = 0; i < n; i++) {
            int kind = s->cluster->kind[s->order[i]];

            if (i == 0 || s->cluster->kind[s->order[i - 1]] != kind) {
                MT_TRY_OR(end, improve_kind(s, choice, kind, &best));
            }
        }
        if (!(best < 0.999 * before)) {
            break;
        }
    }
end:
    mt_free(s->ctx, choice);
    return st;
}

/* Pipelines over several kinds: all subsets of few kinds, or the fastest ones of many. */
static int search_joined(struct search *s)
{
    static const int numbers[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
    int n = s->cluster->nkind, sets = n <= 5 ? 1 << n : n + 1, st;
    char *use = NULL;

    MT_TRY_OR(end, MT_NEW_N(s->ctx, n, &use));
    for (int set = 1; set < sets; set++) {
        int seen = 0;

        for (int i = 0; i < s->cluster->nrank; i++) {   /* kinds by speed */
            int kind = s->cluster->kind[s->order[i]];

            if (i == 0 || s->cluster->kind[s->order[i - 1]] != kind) {
                use[kind] = n <= 5 ? set >> seen & 1 : seen < set;
                seen++;
            }
        }
        for (size_t d = 0; d < sizeof numbers / sizeof *numbers; d++) {
            for (int p = 0; p < PARTS; p++) {
                struct mt_team *team = NULL;

                MT_TRY_OR(end, mt_team_joined(s->cluster, s->order, use, numbers[d], parts[p],
                                              s->places, &team));
                if (team != NULL && !is_wished(s, team->crew[0].nstage, parts[p])) {
                    mt_team_free(team);
                    team = NULL;
                }
                MT_TRY_OR(end, try_team(s, team, NULL));
            }
        }
    }
end:
    mt_free(s->ctx, use);
    return st;
}

/* Equal replicas in the order of the ranks and of their speed. */
static int search_runs(struct search *s)
{
    int n = s->cluster->nrank, *plain = NULL, st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(s->ctx, n, &plain));
    for (int r = 0; r < n; r++) {
        plain[r] = r;
    }
    for (int stages = 1; stages <= s->places && stages <= n; stages++) {
        int listed = s->wish->stages == stages;

        for (int d = 0; d < DEPTHS; d++) {
            listed = listed || depths[d] == stages;
        }
        for (int tensor = 1; listed && tensor * stages <= n; tensor *= 2) {
            int part = s->wish->tensor > 0 ? s->wish->tensor : tensor;

            for (int k = 0; k < 2 && is_wished(s, stages, part); k++) {
                struct mt_team *team = NULL;

                MT_TRY_OR(end, mt_team_runs(s->cluster, k == 0 ? plain : s->order, n,
                                            s->wish->data, stages, part, &team));
                MT_TRY_OR(end, try_team(s, team, NULL));
            }
            if (s->wish->tensor > 0 || tensor >= parts[PARTS - 1]) {
                break;
            }
        }
    }
end:
    mt_free(s->ctx, plain);
    return st;
}

/* ---- even grids ------------------------------------------------------------------------------ */

static int try_grid(struct search *s, const struct mt_mesh *mesh, double *seconds)
{
    struct mt_layout *l = NULL;

    *seconds = INFINITY;
    if (mesh->stages * mesh->chunks > s->places ||
        (int64_t)mesh->stages * mesh->chunks * mesh->micros > LARGEST_GRID) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_layout_grid(s->whole, s->cluster->nrank, mesh, &l));
    MT_TRY(judge(s, l, seconds));
    s->even = fmin(s->even, *seconds);
    return MOTLEY_OK;
}

struct grid {
    struct mt_mesh mesh;
    double seconds;
};

/* One grid: micro-batches until it fits, with recomputation if need be. */
static int try_even(struct search *s, int data, int stages, int tensor, struct grid *out)
{
    const struct mt_plan_wish *w = s->wish;
    int most = (int)fmin(1 << 20, fmax(1, (double)w->batch / data));
    int start = w->micros > 0 ? w->micros : stages > 1 ? DEPTH * stages : 1;

    out->seconds = INFINITY;
    for (int again = w->recompute > 0; again <= (w->recompute >= 0); again++) {
        for (int m = start < most ? start : most; m <= most; m *= 2) {
            out->mesh = (struct mt_mesh){data, stages, tensor, 1, m, MT_SCHEDULE_1F1B, NULL, NULL,
                                         again};
            if (w->schedule >= 0 && stages > 1) {
                out->mesh.schedule = (enum mt_schedule)w->schedule;
                out->mesh.chunks = w->schedule == MT_SCHEDULE_INTERLEAVED ? 2 : 1;
            }
            MT_TRY(try_grid(s, &out->mesh, &out->seconds));
            if (!isinf(out->seconds) || w->micros > 0) {
                return MOTLEY_OK;
            }
        }
    }
    return MOTLEY_OK;
}

/* The same grid with other schedules and numbers of micro-batches. */
static int vary_even(struct search *s, const struct grid *g)
{
    static const enum mt_schedule kinds[] = {MT_SCHEDULE_1F1B, MT_SCHEDULE_ZERO_BUBBLE,
                                             MT_SCHEDULE_INTERLEAVED};
    int most = (int)fmax(1, (double)s->wish->batch / g->mesh.data);

    for (int k = 0; k < 3 && g->mesh.stages > 1; k++) {
        for (int times = 1; times <= 16; times *= 2) {
            struct mt_mesh mesh = g->mesh;
            double t;

            mesh.micros = s->wish->micros > 0 ? s->wish->micros : times * mesh.stages;
            if (mesh.micros > most || (s->wish->schedule >= 0 &&
                                       (int)kinds[k] != s->wish->schedule)) {
                break;
            }
            mesh.schedule = kinds[k];
            mesh.chunks = kinds[k] == MT_SCHEDULE_INTERLEAVED ? 2 : 1;
            MT_TRY(try_grid(s, &mesh, &t));
        }
    }
    return MOTLEY_OK;
}

static int by_time(const void *a, const void *b)
{
    const struct grid *p = a, *q = b;

    return p->seconds != q->seconds ? (p->seconds > q->seconds) - (p->seconds < q->seconds)
           : p->mesh.tensor != q->mesh.tensor ? p->mesh.tensor - q->mesh.tensor
                                              : p->mesh.stages - q->mesh.stages;
}

static int search_even(struct search *s)
{
    int n = s->cluster->nrank, found = 0, st = MOTLEY_OK;
    struct grid *list = NULL;

    for (int tensor = 1; tensor <= n && tensor <= parts[PARTS - 1]; tensor++) {
        for (int stages = 1; stages * tensor <= n && stages <= s->places; stages++) {
            int data = n / stages / tensor;

            if (data * stages * tensor == n && is_wished(s, stages, tensor) &&
                (s->wish->data == 0 || s->wish->data == data)) {
                MT_TRY_OR(end, MT_RESIZE(s->ctx, found + 1, &list));
                MT_TRY_OR(end, try_even(s, data, stages, tensor, &list[found]));
                found++;
            }
        }
    }
    if (found > 1) {
        qsort(list, (size_t)found, sizeof *list, by_time);
    }
    for (int i = 0; i < found && i < REFINED && !isinf(list[i].seconds); i++) {
        MT_TRY_OR(end, vary_even(s, &list[i]));
    }
end:
    mt_free(s->ctx, list);
    return st;
}

/* ---- variants of the best -------------------------------------------------------------------- */

static int is_deep(const struct mt_team *t)
{
    for (int i = 0; i < t->ncrew; i++) {
        if (t->crew[i].nstage > 1) {
            return 1;
        }
    }
    return 0;
}

static int refine(struct search *s, const struct mt_team *team)
{
    static const struct {
        enum mt_schedule schedule;
        int chunks;
    } variant[] = {{MT_SCHEDULE_1F1B, 1},        {MT_SCHEDULE_ZERO_BUBBLE, 1},
                   {MT_SCHEDULE_INTERLEAVED, 2}, {MT_SCHEDULE_INTERLEAVED, 4},
                   {MT_SCHEDULE_GPIPE, 1}};
    const struct mt_plan_wish *w = s->wish;
    double t;

    for (size_t v = 0; v < sizeof variant / sizeof *variant; v++) {
        int wished = w->schedule >= 0 ? (int)variant[v].schedule == w->schedule
                                      : variant[v].schedule != MT_SCHEDULE_GPIPE;

        double least = INFINITY;

        for (int depth = 2; wished && depth <= 16; depth *= 2) {
            struct mt_arrange_opt o = options(s);

            o.schedule = variant[v].schedule;
            o.chunks = w->chunks > 0 && o.schedule == MT_SCHEDULE_INTERLEAVED ? w->chunks
                                                                              : variant[v].chunks;
            o.depth = depth;
            MT_TRY(judge_team(s, team, &o, &t));
            if (w->micros > 0 || (!isinf(least) && t > 1.02 * least)) {
                break;
            }
            least = fmin(least, t);
        }
    }
    return MOTLEY_OK;
}

static int refine_best(struct search *s)
{
    sort_drafts(s);
    for (int i = 0; i < s->ndraft && i < REFINED; i++) {
        if (!isinf(s->draft[i].seconds) && is_deep(s->draft[i].team)) {
            MT_TRY(refine(s, s->draft[i].team));
        }
    }
    return MOTLEY_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int set_up(struct search *s)
{
    int n = s->cluster->nrank;
    double rows = ceil((double)s->wish->batch / n);

    MT_TRY(mt_times_new(s->load, s->cluster, &s->times));
    MT_TRY(mt_layout_may_cut(s->whole, &s->may));
    MT_TRY(mt_arranger_new(s->times, s->may, &s->arranger));
    MT_TRY(MT_NEW_N(s->ctx, n, &s->rate));
    MT_TRY(mt_why_new(s->cluster, &s->why));
    s->places = 1;
    for (int i = 1; i < s->load->n; i++) {
        s->places += s->may[i];
    }
    for (int r = 0; r < n; r++) {
        struct mt_span span;
        double seconds = 0;

        MT_TRY(mt_times_get(s->times, s->cluster->kind[r], rows, 1, &span));
        for (int w = 0; w < MT_WORKS; w++) {
            seconds += span.sum[w][s->load->n];
        }
        s->rate[r] = seconds > 0 ? rows / seconds : 1;
    }
    return mt_team_order(s->cluster, s->rate, &s->order);
}

static int check_wish(const struct mt_plan_wish *w, const struct mt_cluster *c)
{
    int64_t ranks = (int64_t)(w->data > 0 ? w->data : 1) * (w->stages > 0 ? w->stages : 1) *
                    (w->tensor > 0 ? w->tensor : 1);

    MT_CHECK(w->batch >= 1, MOTLEY_ECONFIG,
             "a plan needs a batch of at least 1 sample, not %" PRId64, w->batch);
    MT_CHECK(ranks <= c->nrank, MOTLEY_ECONFIG,
             "data %d, stages %d, tensor %d take at least %" PRId64 " ranks; there are %d (0: "
             "chosen)", w->data, w->stages, w->tensor, ranks, c->nrank);
    return MOTLEY_OK;
}

static int finish(struct search *s, struct mt_planned **out)
{
    struct mt_planned *p = NULL;

    if (s->best == NULL) {
        return mt_why_nothing(s->why, s->wish);
    }
    MT_TRY(MT_NEW(s->ctx, &p));
    p->ctx = s->ctx;
    p->even = s->even;
    p->tried = s->tried;
    p->layout = s->best;
    p->forecast = s->forecast;
    s->best = NULL;
    s->forecast = NULL;
    if (mt_why_lines(s->why, p) < 0) {
        mt_planned_free(p);
        return MOTLEY_EMEM;
    }
    *out = p;
    return MOTLEY_OK;
}

int mt_planner_choose(const struct mt_graph *whole, const struct mt_load *load,
                      const struct mt_cluster *cluster, const struct mt_plan_wish *wish,
                      struct mt_planned **out)
{
    struct search s = {.ctx = whole->ctx, .whole = whole, .load = load, .cluster = cluster,
                       .wish = wish, .even = INFINITY};
    int st;

    MT_TRY(check_wish(wish, cluster));
    MT_TRY_OR(end, set_up(&s));
    if (cluster->nrank <= MT_TEAM_ALL) {
        MT_TRY_OR(end, search_few(&s));
    } else {
        MT_TRY_OR(end, search_runs(&s));
        if (wish->data == 0) {
            MT_TRY_OR(end, search_kinds(&s));
            MT_TRY_OR(end, search_joined(&s));
        }
    }
    MT_TRY_OR(end, refine_best(&s));
    MT_TRY_OR(end, search_even(&s));
    MT_TRY_OR(end, finish(&s, out));
end:
    for (int i = 0; i < s.ndraft; i++) {
        mt_team_free(s.draft[i].team);
    }
    mt_free(s.ctx, s.draft);
    mt_free(s.ctx, s.rate);
    mt_free(s.ctx, s.order);
    mt_why_free(s.why);
    mt_arranger_free(s.arranger);
    mt_free(s.ctx, s.may);
    mt_times_free(s.times);
    mt_layout_free(s.best);
    mt_forecast_free(s.forecast);
    return st;
}

int mt_planner_given(const struct mt_load *load, const struct mt_cluster *cluster,
                     const struct mt_layout *layout, int64_t batch, struct mt_planned **out)
{
    struct mt_planned *p = NULL;
    struct mt_times *times = NULL;
    int st;

    MT_TRY(MT_NEW(load->ctx, &p));
    p->ctx = load->ctx;
    p->even = INFINITY;
    p->tried = 1;
    MT_TRY_OR(fail, mt_times_new(load, cluster, &times));
    MT_TRY_OR(fail, mt_layout_copy(layout, &p->layout));
    MT_TRY_OR(fail, mt_sim_run(times, layout, batch, &p->forecast));
    mt_times_free(times);
    *out = p;
    return MOTLEY_OK;
fail:
    mt_times_free(times);
    mt_planned_free(p);
    return st;
}

void mt_planned_free(struct mt_planned *p)
{
    if (p == NULL) {
        return;
    }
    for (int i = 0; i < p->nreason; i++) {
        mt_free(p->ctx, p->reason[i]);
    }
    mt_free(p->ctx, p->reason);
    mt_layout_free(p->layout);
    mt_forecast_free(p->forecast);
    mt_free(p->ctx, p);
}
