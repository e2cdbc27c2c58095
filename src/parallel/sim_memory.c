/* sim_memory.c -- the memory that a stage takes on a rank.
 *
 *   parameters  4 (2 + slots) bytes each: value, gradient, state of the optimizer; the copy that
 *               layers of half width read
 *   kept        what backward reads and what came over the cut in front, of every micro-batch
 *               alive; recomputed: what came, and the rest for one micro-batch
 *   buffers     own samples; messages, two at each end; values and gradients of the moment: what
 *               the hungriest node moves
 *
 * The largest allocation is taken to be the parameters: values lie in arenas that are made as small
 * as the device wants them. */
#include "parallel/sim.h"

#include "base/ctx.h"

#include <math.h>
#include <string.h>

#define LEVELS 16   /* of the table of maxima: 2^15 nodes and more */

struct mt_memory_sums {
    struct mt_ctx *ctx;
    int n, slots;
    double copy_bytes, x_row, y_row;
    double *params[2], *kept[2];   /* of nodes that are not divided, that are: n + 1 each */
    double *cut;                   /* n + 1 */
    double *moment[LEVELS];        /* [k][i]: most of nodes i to i + 2^k - 1; NULL: too long */
};

void mt_memory_free(struct mt_memory_sums *m)
{
    if (m == NULL) {
        return;
    }
    for (int d = 0; d < 2; d++) {
        mt_free(m->ctx, m->params[d]);
        mt_free(m->ctx, m->kept[d]);
    }
    for (int k = 0; k < LEVELS; k++) {
        mt_free(m->ctx, m->moment[k]);
    }
    mt_free(m->ctx, m->cut);
    mt_free(m->ctx, m);
}

static int fill(struct mt_memory_sums *m, const struct mt_load *l)
{
    int n = l->n;

    for (int d = 0; d < 2; d++) {
        MT_TRY(MT_NEW_N(m->ctx, n + 1, &m->params[d]));
        MT_TRY(MT_NEW_N(m->ctx, n + 1, &m->kept[d]));
        for (int i = 0; i < n; i++) {
            int here = l->node[i].divides == d;

            m->params[d][i + 1] = m->params[d][i] + (here ? l->node[i].params : 0);
            m->kept[d][i + 1] = m->kept[d][i] + (here ? l->node[i].kept_row : 0);
        }
    }
    MT_TRY(MT_NEW_N(m->ctx, n + 1, &m->cut));
    MT_TRY(MT_NEW_N(m->ctx, n, &m->moment[0]));
    for (int i = 0; i < n; i++) {
        m->cut[i] = l->node[i].cut_row;
        m->moment[0][i] = fmax(l->node[i].bytes_row[MT_WORK_FWD],
                               l->node[i].bytes_row[MT_WORK_DATA]);
    }
    for (int k = 1; k < LEVELS && 1 << k <= n; k++) {
        MT_TRY(MT_NEW_N(m->ctx, n, &m->moment[k]));
        for (int i = 0; i + (1 << k) <= n; i++) {
            m->moment[k][i] = fmax(m->moment[k - 1][i], m->moment[k - 1][i + (1 << (k - 1))]);
        }
    }
    return MOTLEY_OK;
}

int mt_memory_new(const struct mt_load *l, struct mt_memory_sums **out)
{
    struct mt_memory_sums *m = NULL;
    int st;

    MT_TRY(MT_NEW(l->ctx, &m));
    m->ctx = l->ctx;
    m->n = l->n;
    m->slots = l->slots;
    m->copy_bytes = l->copy_bytes;
    m->x_row = l->x_row;
    m->y_row = l->y_row;
    MT_TRY_OR(fail, fill(m, l));
    *out = m;
    return MOTLEY_OK;
fail:
    mt_memory_free(m);
    return st;
}

static double most_of(const struct mt_memory_sums *m, int lo, int hi)
{
    int k = 0;

    while (k + 1 < LEVELS && 2 << k <= hi - lo) {
        k++;
    }
    return fmax(m->moment[k][lo], m->moment[k][hi - (1 << k)]);
}

double mt_memory_add(const struct mt_memory_sums *m, const struct mt_stage_use *u,
                     struct mt_forecast_rank *r)
{
    double params = m->params[0][u->hi] - m->params[0][u->lo] +
                    u->width * (m->params[1][u->hi] - m->params[1][u->lo]);
    double kept = m->kept[0][u->hi] - m->kept[0][u->lo] +
                  u->width * (m->kept[1][u->hi] - m->kept[1][u->lo]);
    double front = m->cut[u->lo], back = m->cut[u->hi];

    r->params += params * (4 * (2 + m->slots) + m->copy_bytes);
    r->kept += u->micro_rows * (u->recompute ? u->alive * front + kept : u->alive * (front + kept));
    r->buffers += u->micro_rows * (2 * (front + back) + most_of(m, u->lo, u->hi)) +
                  u->rows * ((u->first ? m->x_row : 0) + (u->last ? m->y_row : 0));
    r->memory = r->params + r->kept + r->buffers;
    return 4 * params;
}
