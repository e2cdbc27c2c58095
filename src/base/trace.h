/* trace.h -- a timeline of what a process did, for Perfetto or chrome://tracing.
 *
 * Off unless a context has one: every place that reports asks `ctx->trace != NULL` first, and
 * that is all it costs. Events are kept in memory up to a limit (later ones are counted, not
 * kept) and written once, at the end: one process a rank, one lane a row below. */
#ifndef MT_BASE_TRACE_H
#define MT_BASE_TRACE_H

#include <stdint.h>

struct mt_ctx;
struct mt_trace;

/* Events of one lane may lie within each other, but not across each other: sums that are in flight
 * at the same time take one of MT_LANES_COMM lanes each. */
#define MT_LANES_COMM 4
enum mt_lane { MT_LANE_HOST = 0, MT_LANE_COMPUTE, MT_LANE_TRANSFER, MT_LANE_COMM,
               MT_LANE_INPUT = MT_LANE_COMM + MT_LANES_COMM, MT_LANES };

/* capacity: events kept. Sets ctx->trace, which mt_trace_free clears. */
int mt_trace_new(struct mt_ctx *ctx, int64_t capacity);
void mt_trace_free(struct mt_ctx *ctx);

/* Nanoseconds of the host's monotonic clock: the time axis of all events. */
int64_t mt_trace_now(void);

/* What the events that follow belong to ("bwd linear2"); copied. One label for the thread that
 * runs steps. */
void mt_trace_label(struct mt_ctx *ctx, const char *label);
const char *mt_trace_label_get(struct mt_ctx *ctx);

/* One event from..to; name and detail are copied and may be cut to 47 characters. detail may be
 * NULL. From any thread. Does nothing without a trace. */
void mt_trace_add(struct mt_ctx *ctx, enum mt_lane lane, const char *name, const char *detail,
                  int64_t from, int64_t to);

/* Two readings of this process's clock, and what to add to reach the clock of rank 0 there; between
 * and beyond them on a straight line. Equal readings: the first is taken. */
struct mt_trace_clock {
    int64_t at[2], add[2];
};

/* Events of this process as JSON objects separated by commas, without brackets: the parts of all
 * ranks make one file, [part, part, ...]. clock: NULL: that of rank 0; process: what to call it.
 * Gives *text. */
int mt_trace_print(struct mt_ctx *ctx, int rank, const char *process,
                   const struct mt_trace_clock *clock, char **text);

#endif
