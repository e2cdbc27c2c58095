/* refer.h -- the reference of a suite on the values of a rig, and its slopes by differences. */
#ifndef MT_TESTS_REFER_H
#define MT_TESTS_REFER_H

#include "tests/rig.h"

/* Room for results, from the rig. */
int mt_refer_new(struct mt_rig *b, enum mt_mode mode, struct mt_ref *r);
/* The forward, with magnitudes. */
void mt_refer_run(const struct mt_rig *b, const struct mt_ref *r);

/* Values of one direction: element `unit` alone, or (unit < 0) a dense random direction. */
double mt_refer_direction(const struct mt_rig *b, int port, int64_t unit, int64_t i);

struct mt_slope {
    double sum;         /* <g, d ref/dv> */
    double magnitude;   /* sum_j |g_j d ref_j/dv| */
    double noise;       /* what double precision leaves of the differences, at most */
};

/* By differences: of fourth order; or exact ones for exact cases, whose references are
 * piecewise linear or quadratic in each input. keep: memory for four results. */
struct mt_slope mt_refer_slope(const struct mt_rig *b, const struct mt_ref *r, double *keep[4],
                               int port, double *x, const double *base, int64_t count,
                               int64_t unit);

#endif
