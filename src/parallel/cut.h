/* cut.h -- cutting a row of nodes into stages so that the slowest is as fast as possible. */
#ifndef MT_PARALLEL_CUT_H
#define MT_PARALLEL_CUT_H

#include "base/err.h"

struct mt_ctx;

/* Seconds (or any measure) of stage `stage` if it has nodes [lo, hi); INFINITY: it cannot have
 * them. */
typedef double mt_cut_fn(const void *arg, int stage, int lo, int hi);

/* Cuts nodes [0, n) into k stages; stage s has [cut[s], cut[s + 1]), with cut[0] = 0 and
 * cut[k] = n: k + 1 numbers. A stage costs the larger of `cost`, which must not fall when the
 * stage grows at its front, and of `extra` (NULL: nothing), of which nothing is asked. may[i]: a
 * stage may begin with node i; NULL: any. *worst becomes the cost of the slowest stage; INFINITY,
 * cut untouched, if there is no cut. */
int mt_cut_minmax(struct mt_ctx *ctx, int n, int k, const char *may, mt_cut_fn *cost,
                  mt_cut_fn *extra, const void *arg, int *cut, double *worst);

#endif
