/* rmsprop.c -- steps divided by a running root mean square of the gradient.
 *
 *   d = g + wd p,  v = a v + (1 - a) d^2,  p -= lr d / (sqrt(v) + eps)
 *
 * T. Tieleman, G. Hinton: lecture 6.5, Coursera 2012. */
#include "optim/optim.h"

enum { LR, ALPHA, EPS, DECAY };

static const struct mt_attr attrs[] = {
    {"lr", MT_ATTR_NUM, .def.f = 0.01, .min = 0, .max = 1e6, .doc = "learning rate"},
    {"alpha", MT_ATTR_NUM, .def.f = 0.99, .min = 0, .max = 1, .doc = "memory of the mean square"},
    {"eps", MT_ATTR_NUM, .def.f = 1e-8, .min = 1e-30, .max = 1, .doc = "added to the root"},
    {"weight_decay", MT_ATTR_NUM, .def.f = 0, .min = 0, .max = 1e6,
     .doc = "added to the gradient: decay times the weight; not for biases and norms"},
    {.name = 0}};

static void fill(const struct mt_optim *o, int64_t step, double lr, float *num)
{
    (void)step;
    num[0] = (float)lr;
    num[1] = (float)o->attr[DECAY].f;
    num[2] = (float)o->attr[ALPHA].f;
    num[3] = (float)(1 - o->attr[ALPHA].f);
    num[4] = (float)o->attr[EPS].f;
}

static const char *const slots[] = {"mean_square", 0};

const struct mt_optim_kind mt_optim_rmsprop = {
    .name = "rmsprop", .doc = "steps divided by the running root mean square", .attrs = attrs,
    .nslots = 1, .slots = slots, .file = "rmsprop", .kernel = "rmsprop_update", .numbers = 5,
    .fill = fill};
