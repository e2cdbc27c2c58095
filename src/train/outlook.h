/* outlook.h -- what a plan promises, in words: for a described cluster, and for whoever else has
 * a plan to show. Nothing is run. */
#ifndef MT_TRAIN_OUTLOOK_H
#define MT_TRAIN_OUTLOOK_H

#include "config/config.h"
#include "parallel/planner.h"
#include "train/session.h"

/* What the configuration leaves to be chosen: keys of `parallel`, and train.micro_batches, that
 * are written in it and not 0 stay. */
void mt_outlook_wish(const struct mt_config *config, struct mt_plan_wish *wish);

/* The table of a plan, and why. */
int mt_outlook_print(const struct mt_graph *whole, const struct mt_load *load,
                     const struct mt_cluster *cluster, const struct mt_planned *p,
                     mt_show_fn *fn, void *arg);
/* The same for programs. Gives *text (mt_free). */
int mt_outlook_json(const struct mt_graph *whole, const struct mt_load *load,
                    const struct mt_cluster *cluster, const struct mt_planned *p, char **text);

struct mt_outlook_opt {
    const char *cluster;       /* file */
    const char *save;          /* file for the layout; NULL: none */
    int json;
};

/* Plans training by a configuration on the cluster of a file, or judges parallel.layout if it is
 * given, and shows it. Opens the data, for their shape. Local. */
int mt_outlook_cluster(struct mt_ctx *ctx, const struct mt_config *config,
                       const struct mt_outlook_opt *opt, mt_show_fn *fn, void *arg);

#endif
