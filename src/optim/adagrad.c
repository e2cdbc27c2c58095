/* adagrad.c -- steps that shrink with the sum of squared gradients.
 *
 *   d = g + wd p,  v += d^2,  p -= lr d / (sqrt(v) + eps)
 *
 * J. Duchi, E. Hazan, Y. Singer, JMLR 12 (2011). */
#include "optim/optim.h"

enum { LR, EPS, DECAY };

static const struct mt_attr attrs[] = {
    {"lr", MT_ATTR_NUM, .def.f = 0.01, .min = 0, .max = 1e6, .doc = "learning rate"},
    {"eps", MT_ATTR_NUM, .def.f = 1e-10, .min = 1e-30, .max = 1, .doc = "added to the root"},
    {"weight_decay", MT_ATTR_NUM, .def.f = 0, .min = 0, .max = 1e6,
     .doc = "added to the gradient: decay times the weight; not for biases and norms"},
    {.name = 0}};

static void fill(const struct mt_optim *o, int64_t step, double lr, float *num)
{
    (void)step;
    num[0] = (float)lr;
    num[1] = (float)o->attr[DECAY].f;
    num[2] = (float)o->attr[EPS].f;
}

static const char *const slots[] = {"sum_square", 0};

const struct mt_optim_kind mt_optim_adagrad = {
    .name = "adagrad", .doc = "steps shrink with the sum of squared gradients", .attrs = attrs,
    .nslots = 1, .slots = slots, .file = "adagrad", .kernel = "adagrad_update", .numbers = 3,
    .fill = fill};
