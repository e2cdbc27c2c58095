/* env.c -- reads the environment, once, when a context is made. */
#include "base/env.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *doc;
} table[MT_ENV_COUNT] = {
#define MT_ENV_ROW(id, name, doc) {name, doc},
    MT_ENV_MAP(MT_ENV_ROW)
#undef MT_ENV_ROW
};

void mt_env_read(struct mt_env *env)
{
    for (int i = 0; i < MT_ENV_COUNT; i++) {
        const char *v = getenv(table[i].name);

        env->value[i] = v != NULL && *v != '\0' ? v : NULL;
    }
}

const char *mt_env_name(enum mt_env_id id)
{
    return table[id].name;
}

const char *mt_env_doc(enum mt_env_id id)
{
    return table[id].doc;
}

int mt_env_has(const struct mt_env *env, enum mt_env_id id, const char *word)
{
    size_t len = strlen(word);

    for (const char *s = env->value[id]; s != NULL && *s != '\0';
         s += strcspn(s, ","), s += *s == ',') {
        if (strcspn(s, ",") == len && strncmp(s, word, len) == 0) {
            return 1;
        }
    }
    return 0;
}
