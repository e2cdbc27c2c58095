/* planner_many.c -- candidates for many ranks: regular runs, a use for each kind of rank, pipelines
 * over several kinds. */
#include "parallel/planner_impl.h"

#include "base/ctx.h"

#include <math.h>

static const int depths[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
static const int parts[] = {1, 2, 4, MT_PLANNER_PARTS};
enum { DEPTHS = sizeof depths / sizeof *depths, PARTS = sizeof parts / sizeof *parts };

static int try_kinds(struct mt_planner *s, const struct mt_team_choice *choice, double *seconds)
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
        MT_TRY(mt_planner_try(s, team, &t));
        *seconds = fmin(*seconds, t);
    }
    return MOTLEY_OK;
}

/* The best choice for one kind, the others as they are. */
static int improve_kind(struct mt_planner *s, struct mt_team_choice *choice, int kind,
                        double *best)
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

            if ((d >= 0 && !mt_planner_is_wished(s, c.stages, c.tensor)) ||
                c.stages * c.tensor > ranks ||
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

int mt_planner_kinds(struct mt_planner *s)
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

int mt_planner_joined(struct mt_planner *s)
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
                if (team != NULL && !mt_planner_is_wished(s, team->crew[0].nstage, parts[p])) {
                    mt_team_free(team);
                    team = NULL;
                }
                MT_TRY_OR(end, mt_planner_try(s, team, NULL));
            }
        }
    }
end:
    mt_free(s->ctx, use);
    return st;
}

int mt_planner_runs(struct mt_planner *s)
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

            for (int k = 0; k < 2 && mt_planner_is_wished(s, stages, part); k++) {
                struct mt_team *team = NULL;

                MT_TRY_OR(end, mt_team_runs(s->cluster, k == 0 ? plain : s->order, n,
                                            s->wish->data, stages, part, &team));
                MT_TRY_OR(end, mt_planner_try(s, team, NULL));
            }
            if (s->wish->tensor > 0 || tensor >= MT_PLANNER_PARTS) {
                break;
            }
        }
    }
end:
    mt_free(s->ctx, plain);
    return st;
}
