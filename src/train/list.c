/* list.c -- operations, optimizers, schedules, readers, keys, environment, as entries. All of it
 * is read off the tables that the parts themselves are built from. */
#include "train/list.h"

#include "config.h"
#include "config/config.h"
#include "data/data.h"
#include "device/gemm.h"
#include "ops/op.h"
#include "optim/optim.h"
#include "optim/sched.h"
#include "train/job.h"

struct out {
    motley_entry_fn *fn;
    void *arg;
};

static void entry(const struct out *o, const char *in, const char *name, const char *doc,
                  const char *allowed, const char *def)
{
    motley_entry e = MOTLEY_INIT(motley_entry);

    e.in = in;
    e.name = name;
    e.doc = doc;
    e.allowed = allowed;
    e.def = def;
    o->fn(o->arg, &e);
}

static void attributes(const struct out *o, const char *in, const struct mt_attr *attrs)
{
    for (const struct mt_attr *a = attrs; a != NULL && a->name != NULL; a++) {
        char allowed[256], def[128];

        mt_attr_allowed(a, allowed, sizeof allowed);
        mt_attr_print(a, a->def, def, sizeof def);
        entry(o, in, a->name, a->doc, allowed, a->required ? NULL : def);
    }
}

static void libraries(const struct out *o, const struct mt_job *job)
{
    entry(o, NULL, "motley", PACKAGE_VERSION, NULL, NULL);
    entry(o, NULL, "built for", MOTLEY_BUILD, NULL, NULL);
    entry(o, NULL, "messages", job->info->transport, NULL, NULL);
    entry(o, NULL, "MPI", MOTLEY_HAVE_MPI ? "yes" : "no", NULL, NULL);
    entry(o, NULL, "CLBlast", MOTLEY_HAVE_CLBLAST ? "yes" : "no", NULL, NULL);
    entry(o, NULL, "hwloc", MOTLEY_HAVE_HWLOC ? "yes" : "no", NULL, NULL);
}

static void key(void *arg, const char *path, const char *allowed, const char *def, const char *doc)
{
    entry(arg, NULL, path, doc, allowed, def);
}

static void environment(const struct out *o, const struct mt_env *env)
{
    for (int i = 0; i < MT_ENV_COUNT; i++) {
        entry(o, NULL, mt_env_name((enum mt_env_id)i), mt_env_doc((enum mt_env_id)i), NULL,
              env->value[i]);
    }
}

int mt_list(struct mt_job *job, int what, motley_entry_fn *fn, void *arg)
{
    struct out o = {fn, arg};

    switch (what) {
    case MOTLEY_LIST_LIBRARIES:
        libraries(&o, job);
        return MOTLEY_OK;
    case MOTLEY_LIST_OPERATIONS:
        for (const struct mt_op *const *op = mt_ops; *op != NULL; op++) {
            entry(&o, NULL, (*op)->name, (*op)->doc, NULL, NULL);
            attributes(&o, (*op)->name, (*op)->attrs);
        }
        return MOTLEY_OK;
    case MOTLEY_LIST_OPTIMIZERS:
        for (const struct mt_optim_kind *const *k = mt_optims; *k != NULL; k++) {
            entry(&o, NULL, (*k)->name, (*k)->doc, NULL, NULL);
            attributes(&o, (*k)->name, (*k)->attrs);
        }
        return MOTLEY_OK;
    case MOTLEY_LIST_SCHEDULES:
        for (const struct mt_sched_kind *const *k = mt_scheds; *k != NULL; k++) {
            entry(&o, NULL, (*k)->name, (*k)->doc, NULL, NULL);
            attributes(&o, (*k)->name, (*k)->attrs);
        }
        return MOTLEY_OK;
    case MOTLEY_LIST_READERS:
        for (const struct mt_reader *const *r = mt_readers; *r != NULL; r++) {
            entry(&o, NULL, (*r)->name, (*r)->doc, NULL, NULL);
            attributes(&o, (*r)->name, (*r)->attrs);
        }
        return MOTLEY_OK;
    case MOTLEY_LIST_GEMMS:
        for (const char *const *p = mt_gemm_providers(); *p != NULL; p++) {
            entry(&o, NULL, *p, "provider of matrix products", NULL, NULL);
        }
        return MOTLEY_OK;
    case MOTLEY_LIST_KEYS:
        mt_config_keys(key, &o);
        return MOTLEY_OK;
    case MOTLEY_LIST_ENVIRONMENT:
        environment(&o, &job->ctx->env);
        return MOTLEY_OK;
    default:
        MT_FAIL(MOTLEY_EARG, "motley_list: there is no list %d", what);
    }
}
