/* list.h -- what this library has, as motley_list tells it. */
#ifndef MT_TRAIN_LIST_H
#define MT_TRAIN_LIST_H

#include "base/err.h"

struct mt_job;

/* what: enum motley_list_what. */
int mt_list(struct mt_job *job, int what, motley_entry_fn *fn, void *arg);

#endif
