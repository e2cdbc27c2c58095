/* api_plan.c -- the functions of motley.h that plan for other machines than this one. */
#include "api_impl.h"

#include "train/outlook.h"

int motley_outlook(const motley_config *config, const motley_outlook_opt *opt, motley_line_fn *fn,
                   void *arg)
{
    motley_outlook_opt o = MOTLEY_INIT(motley_outlook_opt);
    struct mt_outlook_opt ours;

    NOT_NULL(config);
    NOT_NULL(opt);
    NOT_NULL(fn);
    MT_TRY(mt_api_take(&o, sizeof o, opt, "motley_outlook_opt"));
    MT_CHECK(o.cluster != NULL, MOTLEY_EARG, "motley_outlook_opt: cluster is NULL");
    ours = (struct mt_outlook_opt){.cluster = o.cluster, .save = o.save, .json = o.json};
    return mt_outlook_cluster(config->ctx->job->ctx, config->config, &ours, fn, arg);
}
