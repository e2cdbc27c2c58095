/* sgd.c -- gradient descent, plain and with momentum.
 *
 *   d = g + wd p                        g: mean gradient, clipped
 *   sgd:       p -= lr d
 *   momentum:  m = mu m + d             p -= lr m
 *   nesterov:                           p -= lr (d + mu m)
 *
 * I. Sutskever, J. Martens, G. Dahl, G. Hinton, ICML 2013, in the form that PyTorch uses: lr
 * outside of m, so that a schedule takes effect at once. */
#include "optim/optim.h"

enum { LR, DECAY, MU, NESTEROV };

static const struct mt_attr attrs[] = {
    {"lr", MT_ATTR_NUM, .def.f = 0.01, .min = 0, .max = 1e6, .doc = "learning rate"},
    {"weight_decay", MT_ATTR_NUM, .def.f = 0, .min = 0, .max = 1e6,
     .doc = "added to the gradient: decay times the weight; not for biases and norms"},
    {"momentum", MT_ATTR_NUM, .def.f = 0.9, .min = 0, .max = 1, .doc = "mu"},
    {"nesterov", MT_ATTR_BOOL, .def.b = 0, .doc = "look ahead"},
    {.name = 0}};

static const struct mt_attr plain_attrs[] = {
    {"lr", MT_ATTR_NUM, .def.f = 0.01, .min = 0, .max = 1e6, .doc = "learning rate"},
    {"weight_decay", MT_ATTR_NUM, .def.f = 0, .min = 0, .max = 1e6,
     .doc = "added to the gradient: decay times the weight; not for biases and norms"},
    {.name = 0}};

static void fill_plain(const struct mt_optim *o, int64_t step, double lr, float *num)
{
    (void)step;
    num[0] = (float)lr;
    num[1] = (float)o->attr[DECAY].f;
}

static void fill(const struct mt_optim *o, int64_t step, double lr, float *num)
{
    fill_plain(o, step, lr, num);
    num[2] = (float)o->attr[MU].f;
    num[3] = (float)o->attr[NESTEROV].b;
}

static const char *const slots[] = {"momentum", 0};

const struct mt_optim_kind mt_optim_sgd = {
    .name = "sgd", .doc = "gradient descent", .attrs = plain_attrs, .file = "sgd",
    .kernel = "sgd_update", .numbers = 2, .fill = fill_plain};

const struct mt_optim_kind mt_optim_momentum = {
    .name = "momentum", .doc = "gradient descent with momentum, or Nesterov's", .attrs = attrs,
    .nslots = 1, .slots = slots, .file = "sgd", .kernel = "sgd_update_momentum", .numbers = 4,
    .fill = fill};
