/* env.h -- the environment variables that motley reads: this list, and no other place.
 *
 * A new one needs the removal of another or a reason in the commit. docs/env.md is checked
 * against this list. */
#ifndef MT_BASE_ENV_H
#define MT_BASE_ENV_H

#define MT_ENV_MAP(X)                                                                         \
    X(DEVICE, "MOTLEY_DEVICE", "device to use: platform:device, part of a name, cpu, gpu")    \
    X(LOG, "MOTLEY_LOG", "categories and levels of messages: dev,comm=2 or all=2")            \
    X(DEBUG, "MOTLEY_DEBUG", "words: guard (fill and check memory), nan (check each step), "  \
                             "agree (compare replicas each step), "                           \
                             "scalar (kernels on a CPU as on a GPU)")                            \
    X(CL_DIR, "MOTLEY_CL_DIR", "folder of kernel files to use instead of the embedded text")  \
    X(CL_FLAGS, "MOTLEY_CL_FLAGS", "extra options for the OpenCL compiler")                   \
    X(CACHE, "MOTLEY_CACHE", "folder for program binaries, or off")                           \
    X(GEMM, "MOTLEY_GEMM", "the only GEMM provider to use (a pin; still checked)")

enum mt_env_id {
#define MT_ENV_ID(id, name, doc) MT_ENV_##id,
    MT_ENV_MAP(MT_ENV_ID)
#undef MT_ENV_ID
    MT_ENV_COUNT
};

struct mt_env {
    const char *value[MT_ENV_COUNT];   /* as set, or NULL; borrowed from the process */
};

void mt_env_read(struct mt_env *env);
const char *mt_env_name(enum mt_env_id id);
const char *mt_env_doc(enum mt_env_id id);

/* Whether a comma-separated setting holds a word: mt_env_has(env, MT_ENV_DEBUG, "guard"). */
int mt_env_has(const struct mt_env *env, enum mt_env_id id, const char *word);

#endif
