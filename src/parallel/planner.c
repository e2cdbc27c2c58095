/* planner.c -- chooses a layout: candidates are made, arranged, simulated; the fastest is taken.
 *
 * Up to MT_TEAM_ALL ranks every way to put them together is looked at, the most promising ones by
 * their rates are simulated. Beyond, replicas are made kind by kind: how many stages and parts the
 * ranks of a kind form is changed for one kind after the other as long as that helps. To those
 * come regular runs in the order of the ranks and of their speed, and even grids. The best few are
 * tried with other schedules and numbers of micro-batches. */
#include "parallel/planner_impl.h"

#include "base/ctx.h"

#include <inttypes.h>
#include <math.h>

#define PROMISING 200      /* divisions of few ranks that are simulated */

/* ---- few ranks ------------------------------------------------------------------------------- */

static int take(void *arg, struct mt_team *team)
{
    return mt_planner_keep(arg, team, mt_planner_estimate(arg, team));
}

static int search_few(struct mt_planner *s)
{
    int n;

    MT_TRY(mt_teams_all(s->cluster, s->wish, take, s));
    mt_planner_sort(s);
    n = s->ndraft < PROMISING ? s->ndraft : PROMISING;
    for (int i = 0; i < s->ndraft; i++) {
        struct mt_arrange_opt o = mt_planner_options(s);

        s->draft[i].seconds = INFINITY;
        if (i < n) {
            MT_TRY(mt_planner_judge_team(s, s->draft[i].team, &o, &s->draft[i].seconds));
        }
    }
    return MOTLEY_OK;
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

static int refine(struct mt_planner *s, const struct mt_team *team)
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
            struct mt_arrange_opt o = mt_planner_options(s);

            o.schedule = variant[v].schedule;
            o.chunks = w->chunks > 0 && o.schedule == MT_SCHEDULE_INTERLEAVED ? w->chunks
                                                                              : variant[v].chunks;
            o.depth = depth;
            MT_TRY(mt_planner_judge_team(s, team, &o, &t));
            if (w->micros > 0 || (!isinf(least) && t > 1.02 * least)) {
                break;
            }
            least = fmin(least, t);
        }
    }
    return MOTLEY_OK;
}

static int refine_best(struct mt_planner *s)
{
    mt_planner_sort(s);
    for (int i = 0; i < s->ndraft && i < MT_PLANNER_REFINED; i++) {
        if (!isinf(s->draft[i].seconds) && is_deep(s->draft[i].team)) {
            MT_TRY(refine(s, s->draft[i].team));
        }
    }
    return MOTLEY_OK;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int set_up(struct mt_planner *s)
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

static int finish(struct mt_planner *s, struct mt_planned **out)
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
    struct mt_planner s = {.ctx = whole->ctx, .whole = whole, .load = load, .cluster = cluster,
                       .wish = wish, .even = INFINITY};
    int st;

    MT_TRY(check_wish(wish, cluster));
    MT_TRY_OR(end, set_up(&s));
    if (cluster->nrank <= MT_TEAM_ALL) {
        MT_TRY_OR(end, search_few(&s));
    } else {
        MT_TRY_OR(end, mt_planner_runs(&s));
        if (wish->data == 0) {
            MT_TRY_OR(end, mt_planner_kinds(&s));
            MT_TRY_OR(end, mt_planner_joined(&s));
        }
    }
    MT_TRY_OR(end, refine_best(&s));
    MT_TRY_OR(end, mt_planner_even(&s));
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
