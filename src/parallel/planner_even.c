/* planner_even.c -- even grids over all ranks, and variants of the best of them. */
#include "parallel/planner_impl.h"

#include "base/ctx.h"

#include <math.h>
#include <stdlib.h>

#define LARGEST_GRID 4096  /* stages times micro-batches */

static int try_grid(struct mt_planner *s, const struct mt_mesh *mesh, double *seconds)
{
    struct mt_layout *l = NULL;

    *seconds = INFINITY;
    if (mesh->stages * mesh->chunks > s->places ||
        (int64_t)mesh->stages * mesh->chunks * mesh->micros > LARGEST_GRID) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_layout_grid(s->whole, s->cluster->nrank, mesh, &l));
    MT_TRY(mt_planner_judge(s, l, seconds));
    s->even = fmin(s->even, *seconds);
    return MOTLEY_OK;
}

struct grid {
    struct mt_mesh mesh;
    double seconds;
};

/* One grid: micro-batches until it fits, with recomputation if need be. */
static int try_even(struct mt_planner *s, int data, int stages, int tensor, struct grid *out)
{
    const struct mt_plan_wish *w = s->wish;
    int most = (int)fmin(1 << 20, fmax(1, (double)w->batch / data));
    int start = w->micros > 0 ? w->micros : stages > 1 ? MT_PLANNER_DEPTH * stages : 1;

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
static int vary_even(struct mt_planner *s, const struct grid *g)
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

int mt_planner_even(struct mt_planner *s)
{
    int n = s->cluster->nrank, found = 0, st = MOTLEY_OK;
    struct grid *list = NULL;

    for (int tensor = 1; tensor <= n && tensor <= MT_PLANNER_PARTS; tensor++) {
        for (int stages = 1; stages * tensor <= n && stages <= s->places; stages++) {
            int data = n / stages / tensor;

            if (data * stages * tensor == n && mt_planner_is_wished(s, stages, tensor) &&
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
    for (int i = 0; i < found && i < MT_PLANNER_REFINED && !isinf(list[i].seconds); i++) {
        MT_TRY_OR(end, vary_even(s, &list[i]));
    }
end:
    mt_free(s->ctx, list);
    return st;
}
