/* cut.c -- min-max partition of a row by dynamic programming.
 *
 *   best[s][i] = min over j < i of max(best[s - 1][j], cost(s, j, i))
 *
 * for the first i nodes on the first s + 1 stages. Among cuts whose slowest stages are equally
 * slow the one with the smallest sum of squares is taken: one large layer must not leave the rest
 * uneven. Cost does not fall when a stage grows, so j is walked downwards and the walk ends once
 * the stage alone is slower than the best found: close to n * n / k evaluations a stage. */
#include "parallel/cut.h"

#include "base/ctx.h"

#include <math.h>
#include <string.h>

struct cell {
    double worst, squares;
    int from;              /* where the last stage begins */
};

/* The better of c and a last stage of cost `here` from node `from` on, behind `before`. */
static struct cell least(struct cell c, double here, const struct cell *before, int from)
{
    double worst = before != NULL ? fmax(here, before->worst) : here;
    double squares = here * here + (before != NULL ? before->squares : 0);

    return worst < c.worst || (worst == c.worst && squares < c.squares)
               ? (struct cell){worst, squares, from}
               : c;
}

int mt_cut_minmax(struct mt_ctx *ctx, int n, int k, const char *may, mt_cut_fn *cost,
                  mt_cut_fn *extra, const void *arg, int *cut, double *worst)
{
    struct cell *table = NULL;
    size_t wide = (size_t)n + 1;

    MT_BUG_IF(n < 1 || k < 1);
    MT_TRY(MT_NEW_N(ctx, wide * (size_t)k, &table));
    for (int s = 0; s < k; s++) {
        for (int i = 0; i <= n; i++) {
            struct cell *c = &table[(size_t)s * wide + (size_t)i];

            c->worst = c->squares = INFINITY;
            if ((s == k - 1) != (i == n) || i <= s || (i < n && may != NULL && !may[i])) {
                continue;
            }
            for (int j = i - 1; j >= s; j--) {
                const struct cell *before = s > 0 ? &table[(size_t)(s - 1) * wide + (size_t)j]
                                                  : NULL;
                double here;

                if (s == 0 ? j > 0 : isinf(before->worst)) {
                    continue;
                }
                here = cost(arg, s, j, i);
                if (here > c->worst || isinf(here)) {
                    break;
                }
                here = extra != NULL ? fmax(here, extra(arg, s, j, i)) : here;
                if (isinf(here)) {
                    continue;
                }
                *c = least(*c, here, before, j);
            }
        }
    }
    *worst = table[(size_t)(k - 1) * wide + (size_t)n].worst;
    if (!isinf(*worst)) {
        cut[k] = n;
        for (int s = k - 1; s >= 0; s--) {
            cut[s] = table[(size_t)s * wide + (size_t)cut[s + 1]].from;
        }
    }
    mt_free(ctx, table);
    return MOTLEY_OK;
}
