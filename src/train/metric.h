/* metric.h -- metrics.jsonl: one JSON object a line, appended while training. */
#ifndef MT_TRAIN_METRIC_H
#define MT_TRAIN_METRIC_H

#include "base/err.h"

#include <stdint.h>

struct mt_ctx;
struct mt_metric;

/* Opens for appending. Lines of steps after `step` are removed first: a run that was killed is
 * continued from its checkpoint and writes them again. step < 0: all lines. Gives *out. */
int mt_metric_open(struct mt_ctx *ctx, const char *path, int64_t step, struct mt_metric **out);
void mt_metric_close(struct mt_metric *m);

/* One line for a report; fields that mean nothing for the event are left out. */
int mt_metric_write(struct mt_metric *m, const motley_progress *p);
/* From step p->step + 1 on replica i takes rows[i] samples of a batch. */
int mt_metric_shares(struct mt_metric *m, const motley_progress *p, const int64_t *rows, int n);

#endif
