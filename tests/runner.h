/* runner.h -- running checks and measurements: on which device, which suites, or exactly the
 * shapes of a network. For tests/optest, `motley check` and `motley bench ops`. */
#ifndef MT_TESTS_RUNNER_H
#define MT_TESTS_RUNNER_H

#include "base/ctx.h"
#include "device/dev.h"
#include "tests/kit.h"

#include <stdio.h>

struct mt_net;

/* The device that one process alone gets for a wish (NULL: MOTLEY_DEVICE, or auto). *n (may be
 * NULL): how many devices there are. Gives *dev (mt_dev_close). */
int mt_runner_open(struct mt_ctx *ctx, const char *wish, struct mt_dev **dev, int *n);

/* The named suites in the order of the list, all if n is 0; prints each as it ends. */
int mt_runner_check(struct mt_dev *dev, char *const *name, int n,
                    const struct mt_check_opt *opt, struct mt_report *r, FILE *f);

/* The network of a configuration, with the shapes of one process alone: path and settings as
 * for training. The data is opened for the shape of a sample. Gives *net. */
int mt_net_open(struct mt_ctx *ctx, const char *path, const char *const *over, int n,
                struct mt_net **net);
void mt_net_close(struct mt_net *net);
const char *mt_net_device(const struct mt_net *net);   /* the configuration's wish */
/* Every layer, each shape once, then its matrix products by every provider. */
int mt_net_check(const struct mt_net *net, struct mt_dev *dev, const struct mt_check_opt *opt,
                 struct mt_report *r, FILE *f);

/* Calls fn for every matrix product that the layers plan, each shape of a layer once; what: its
 * name and input, "fc1 128x784". An error of fn ends it. */
typedef int mt_product_fn(void *arg, const char *what, const struct mt_gemm *g);
int mt_net_products(const struct mt_net *net, struct mt_dev *dev, mt_product_fn *fn, void *arg);

/* Time of one operation at one shape; -1: there is no such direction. */
struct mt_timing {
    char op[32], name[64];
    struct mt_cost cost;
    double fwd_seconds, bwd_seconds;
};

/* Calls fn for every operation measured, about `seconds` spent on each direction of each: on
 * the larger cases of the suites (net NULL; names as above) or on the layers of a network. */
typedef void mt_timing_fn(void *arg, const struct mt_timing *t);
int mt_runner_bench(struct mt_dev *dev, const struct mt_net *net, char *const *name, int n,
                    double seconds, mt_timing_fn *fn, void *arg);

#endif
