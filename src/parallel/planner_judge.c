/* planner_judge.c -- candidates of the planner: estimated, simulated, kept. */
#include "parallel/planner_impl.h"

#include "base/ctx.h"

#include <math.h>
#include <stdlib.h>

#define HOPELESS 1.1   /* times the best: estimates of more are not simulated */

int mt_planner_is_wished(const struct mt_planner *s, int stages, int tensor)
{
    const struct mt_plan_wish *w = s->wish;

    return (w->stages == 0 || w->stages == stages) && (w->tensor == 0 || w->tensor == tensor) &&
           stages <= s->places;
}

int mt_planner_judge(struct mt_planner *s, struct mt_layout *l, double *seconds)
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

struct mt_arrange_opt mt_planner_options(const struct mt_planner *s)
{
    const struct mt_plan_wish *w = s->wish;

    return (struct mt_arrange_opt){
        .batch = w->batch,
        .schedule = w->schedule >= 0 ? (enum mt_schedule)w->schedule : MT_SCHEDULE_1F1B,
        .chunks = w->chunks > 0 ? w->chunks : w->schedule == MT_SCHEDULE_INTERLEAVED ? 2 : 1,
        .micros = w->micros,
        .depth = MT_PLANNER_DEPTH,
        .recompute = w->recompute,
        .use_all = w->use_all};
}

int mt_planner_judge_team(struct mt_planner *s, const struct mt_team *team,
                          const struct mt_arrange_opt *o, double *seconds)
{
    struct mt_layout *l = NULL;

    *seconds = INFINITY;
    MT_TRY(mt_arrange(s->arranger, team, o, &l));
    return l != NULL ? mt_planner_judge(s, l, seconds) : MOTLEY_OK;
}

int mt_planner_keep(struct mt_planner *s, struct mt_team *team, double seconds)
{
    if (s->ndraft == s->roomdraft) {
        if (MT_RESIZE(s->ctx, 2 * s->roomdraft + 64, &s->draft) < 0) {
            mt_team_free(team);
            return MOTLEY_EMEM;
        }
        s->roomdraft = 2 * s->roomdraft + 64;
    }
    s->draft[s->ndraft] = (struct mt_planner_draft){team, seconds, s->ndraft};
    s->ndraft++;
    return MOTLEY_OK;
}

/* All ranks busy but for the bubble; sums of gradients beside backward. */
double mt_planner_estimate(const struct mt_planner *s, const struct mt_team *team)
{
    double power = 0, compute, params = 0, slowest = INFINITY, sums = 0;
    int one_host = 1;

    for (int i = 0; i < team->ncrew; i++) {
        const struct mt_crew *c = &team->crew[i];
        double all = 0, m = MT_PLANNER_DEPTH * c->nstage;

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

int mt_planner_try(struct mt_planner *s, struct mt_team *team, double *seconds)
{
    struct mt_arrange_opt o = mt_planner_options(s);
    double t = INFINITY;

    if (team != NULL && s->best != NULL &&
        mt_planner_estimate(s, team) > HOPELESS * s->forecast->step) {
        mt_team_free(team);
        team = NULL;
    }
    if (team != NULL) {
        int st = mt_planner_judge_team(s, team, &o, &t);

        if (st < 0) {
            mt_team_free(team);
            return mt_err_trace(st, __func__, __FILE__, __LINE__);
        }
        MT_TRY(mt_planner_keep(s, team, t));
    }
    if (seconds != NULL) {
        *seconds = t;
    }
    return MOTLEY_OK;
}

static int by_seconds(const void *a, const void *b)
{
    const struct mt_planner_draft *p = a, *q = b;

    return p->seconds != q->seconds ? (p->seconds > q->seconds) - (p->seconds < q->seconds)
                                    : p->number - q->number;
}

void mt_planner_sort(struct mt_planner *s)
{
    if (s->ndraft > 1) {
        qsort(s->draft, (size_t)s->ndraft, sizeof *s->draft, by_seconds);
    }
}
