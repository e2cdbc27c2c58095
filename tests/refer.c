/* refer.c -- runs the reference of a suite and differentiates it; see refer.h. */
#include "tests/refer.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

#define STEP  1e-3    /* of the differences; their error is of order STEP^4 */
#define NOISE 1e-12   /* some 2^-53 / STEP: rounding of the differences, relative */

int mt_refer_new(struct mt_rig *b, enum mt_mode mode, struct mt_ref *r)
{
    memset(r, 0, sizeof *r);
    r->n = &b->now;
    r->mode = mode;
    r->seed = b->opt->seed + 77;
    r->step = 3;
    r->first = 5;
    for (int i = 0; i < b->n.nin; i++) {
        r->in[i] = b->in[i].x;
    }
    for (int i = 0; i < b->n.nparam; i++) {
        r->param[i] = b->param[i].x;
    }
    for (int i = 0; i < b->n.nstate; i++) {
        r->state[i] = b->state[i].x;
    }
    for (int i = 0; i < b->n.nout; i++) {
        MT_TRY(mt_rig_doubles(b, b->out[i].count, &r->out[i]));
        MT_TRY(mt_rig_doubles(b, b->out[i].count, &r->mag[i]));
    }
    return MOTLEY_OK;
}

void mt_refer_run(const struct mt_rig *b, const struct mt_ref *r)
{
    for (int i = 0; i < b->n.nout; i++) {
        for (int64_t k = 0; k < b->out[i].count; k++) {
            r->mag[i][k] = NAN;
        }
    }
    b->suite->ref(r);
    for (int i = 0; i < b->n.nout; i++) {
        for (int64_t k = 0; k < b->out[i].count; k++) {
            if (isnan(r->mag[i][k])) {
                r->mag[i][k] = fabs(r->out[i][k]);
            }
        }
    }
}

double mt_refer_direction(const struct mt_rig *b, int port, int64_t unit, int64_t i)
{
    struct mt_rng_key key = mt_rng_key(b->opt->seed, MT_RNG_TEST, 1000 + (uint64_t)port);

    return unit >= 0 ? (i == unit ? 1.0 : 0.0)
                     : 2 * mt_rng_uniform(key, (uint64_t)i + ((uint64_t)-unit << 40)) - 1;
}

/* Moves port's values by h along the direction, or back to base (h = 0). */
static void displace(const struct mt_rig *b, int port, double *x, const double *base,
                     int64_t count, int64_t unit, double h)
{
    if (unit >= 0) {
        x[unit] = base[unit] + h;
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        x[i] = base[i] + h * mt_refer_direction(b, port, unit, i);
    }
}

struct mt_slope mt_refer_slope(const struct mt_rig *b, const struct mt_ref *r,
                                  double *keep[4], int port, double *x, const double *base,
                                  int64_t count, int64_t unit)
{
    static const double at[4] = {1, -1, 2, -2}, weight[4] = {8, -8, -1, 1};
    double h = b->c->exact ? 0.5 : STEP, norm = b->c->exact ? 1 : 12 * STEP;
    int points = b->c->exact ? 2 : 4, loss = (b->n.op->flags & MT_OP_LOSS) != 0;
    struct mt_slope s = {0, 0, 0};

    for (int p = 0; p < points; p++) {
        double *to = keep[p];

        displace(b, port, x, base, count, unit, at[p] * h);
        b->suite->ref(r);
        for (int o = 0; o < b->n.nout; o++) {
            memcpy(to, r->out[o], (size_t)b->out[o].count * sizeof *to);
            to += b->out[o].count;
        }
    }
    displace(b, port, x, base, count, unit, 0);
    for (int64_t o = 0, j = 0; o < b->n.nout; o++) {
        for (int64_t k = 0; k < b->out[o].count; k++, j++) {
            double g = loss ? k == MT_STAT_LOSS ? b->loss_scale : 0
                            : b->dout[o].x[k], d = 0;

            for (int p = 0; p < points; p++) {
                d += (b->c->exact ? at[p] : weight[p]) * keep[p][j];
            }
            s.sum += g * d / norm;
            s.magnitude += fabs(g * d / norm);
            if (loss || d != 0) {
                s.noise += NOISE * fabs(g) * fmax(fabs(keep[0][j]), r->mag[o][k]);
            }
        }
    }
    return s;
}
