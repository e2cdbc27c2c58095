/* adam.c -- Adam, and AdamW with decoupled weight decay.
 *
 *   adam:   d = g + wd p          adamw:  d = g,  p -= lr wd p
 *   m = b1 m + (1 - b1) d,  v = b2 v + (1 - b2) d^2
 *   p -= lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + eps)        t = 1, 2, ...
 *
 * D. Kingma, J. Ba, ICLR 2015; I. Loshchilov, F. Hutter, ICLR 2019. What depends on t alone is
 * computed here in double by multiplications that every host rounds alike (same.h). */
#include "optim/optim.h"

#include "base/same.h"

#include <math.h>

enum { LR, BETA1, BETA2, EPS, DECAY };

#define COMMON_ATTRS                                                                          \
    {"lr", MT_ATTR_NUM, .def.f = 1e-3, .min = 0, .max = 1e6, .doc = "learning rate"},         \
    {"beta1", MT_ATTR_NUM, .def.f = 0.9, .min = 0, .max = 0.999999,                           \
     .doc = "memory of the mean"},                                                            \
    {"beta2", MT_ATTR_NUM, .def.f = 0.999, .min = 0, .max = 0.999999999,                      \
     .doc = "memory of the mean square"},                                                     \
    {"eps", MT_ATTR_NUM, .def.f = 1e-8, .min = 1e-30, .max = 1, .doc = "added to the root"}

static const struct mt_attr adam_attrs[] = {
    COMMON_ATTRS,
    {"weight_decay", MT_ATTR_NUM, .def.f = 0, .min = 0, .max = 1e6,
     .doc = "added to the gradient: decay times the weight; not for biases and norms"},
    {.name = 0}};

static const struct mt_attr adamw_attrs[] = {
    COMMON_ATTRS,
    {"weight_decay", MT_ATTR_NUM, .def.f = 0.01, .min = 0, .max = 1e6,
     .doc = "shrinks weights by lr times decay; not biases and norms"},
    {.name = 0}};

static void fill_adam(const struct mt_optim *o, int64_t step, double lr, float *num)
{
    double b1 = o->attr[BETA1].f, b2 = o->attr[BETA2].f;

    num[0] = (float)(lr / (1 - mt_same_pow(b1, step + 1)));
    num[1] = (float)o->attr[DECAY].f;
    num[2] = (float)b1;
    num[3] = (float)(1 - b1);
    num[4] = (float)b2;
    num[5] = (float)(1 - b2);
    num[6] = (float)(1 / sqrt(1 - mt_same_pow(b2, step + 1)));
    num[7] = (float)o->attr[EPS].f;
}

static void fill_adamw(const struct mt_optim *o, int64_t step, double lr, float *num)
{
    fill_adam(o, step, lr, num);
    num[1] = (float)(lr * o->attr[DECAY].f);
}

static const char *const slots[] = {"exp_avg", "exp_avg_sq", 0};

const struct mt_optim_kind mt_optim_adam = {
    .name = "adam", .doc = "steps by running mean and root mean square", .attrs = adam_attrs,
    .nslots = 2, .slots = slots, .file = "adam", .kernel = "adam_update", .numbers = 8,
    .fill = fill_adam};

const struct mt_optim_kind mt_optim_adamw = {
    .name = "adamw", .doc = "Adam with decoupled weight decay", .attrs = adamw_attrs,
    .nslots = 2, .slots = slots, .file = "adam", .kernel = "adam_update",
    .defines = "-DDECOUPLED=1", .numbers = 8, .fill = fill_adamw};
