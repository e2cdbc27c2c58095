/* trace.c -- see trace.h. Format: Trace Event Format, complete events ("ph": "X"), microseconds. */
#define _POSIX_C_SOURCE 200809L
#include "base/trace.h"

#include "base/ctx.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME 48

struct event {
    int64_t from, to;
    enum mt_lane lane;
    char name[NAME], detail[NAME];
};

struct mt_trace {
    pthread_mutex_t lock;
    int64_t n, capacity, lost;
    char label[NAME];
    struct event *event;
};

static const char *const lanes[MT_LANES] = {
    "host", "compute queue", "transfer queue", "communication", "communication 2",
    "communication 3", "communication 4", "input"};

int mt_trace_new(struct mt_ctx *ctx, int64_t capacity)
{
    struct mt_trace *t = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &t));
    MT_TRY_OR(fail, MT_NEW_N(ctx, capacity, &t->event));
    pthread_mutex_init(&t->lock, NULL);
    t->capacity = capacity;
    ctx->trace = t;
    return MOTLEY_OK;
fail:
    mt_free(ctx, t);
    return st;
}

void mt_trace_free(struct mt_ctx *ctx)
{
    struct mt_trace *t = ctx->trace;

    if (t == NULL) {
        return;
    }
    ctx->trace = NULL;
    pthread_mutex_destroy(&t->lock);
    mt_free(ctx, t->event);
    mt_free(ctx, t);
}

int64_t mt_trace_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void mt_trace_label(struct mt_ctx *ctx, const char *label)
{
    if (ctx->trace != NULL) {
        snprintf(ctx->trace->label, NAME, "%s", label);
    }
}

const char *mt_trace_label_get(struct mt_ctx *ctx)
{
    return ctx->trace != NULL ? ctx->trace->label : "";
}

void mt_trace_add(struct mt_ctx *ctx, enum mt_lane lane, const char *name, const char *detail,
                  int64_t from, int64_t to)
{
    struct mt_trace *t = ctx->trace;

    if (t == NULL) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    if (t->n < t->capacity) {
        struct event *e = &t->event[t->n++];

        e->from = from;
        e->to = to > from ? to : from;
        e->lane = lane;
        snprintf(e->name, NAME, "%s", name);
        snprintf(e->detail, NAME, "%s", detail != NULL ? detail : "");
    } else {
        t->lost++;
    }
    pthread_mutex_unlock(&t->lock);
}

static void print_name(struct mt_json *j, int rank, const char *what, int tid, const char *name)
{
    mt_json_map(j, NULL);
    mt_json_text(j, "name", what);
    mt_json_text(j, "ph", "M");
    mt_json_int(j, "pid", rank);
    mt_json_int(j, "tid", tid);
    mt_json_map(j, "args");
    mt_json_text(j, "name", name);
    mt_json_end(j);
    mt_json_end(j);
}

static int64_t shifted(const struct mt_trace_clock *c, int64_t t)
{
    double slope;

    if (c == NULL) {
        return t;
    }
    slope = c->at[1] != c->at[0]
                ? (double)(c->add[1] - c->add[0]) / (double)(c->at[1] - c->at[0]) : 0;
    return t + c->add[0] + (int64_t)(slope * (double)(t - c->at[0]));
}

static void print_event(struct mt_json *j, int rank, const struct event *e,
                        const struct mt_trace_clock *clock)
{
    int64_t from = shifted(clock, e->from), to = shifted(clock, e->to);

    mt_json_map(j, NULL);
    mt_json_text(j, "name", e->name);
    mt_json_text(j, "ph", "X");
    mt_json_int(j, "pid", rank);
    mt_json_int(j, "tid", (int)e->lane);
    mt_json_num(j, "ts", (double)from / 1000);
    mt_json_num(j, "dur", (double)(to - from) / 1000);
    if (e->detail[0] != '\0') {
        mt_json_map(j, "args");
        mt_json_text(j, "of", e->detail);
        mt_json_end(j);
    }
    mt_json_end(j);
}

int mt_trace_print(struct mt_ctx *ctx, int rank, const char *process,
                   const struct mt_trace_clock *clock, char **text)
{
    struct mt_trace *t = ctx->trace;
    struct mt_json j;
    char *list = NULL;
    int64_t n, lost;
    size_t len;

    MT_BUG_IF(t == NULL);
    pthread_mutex_lock(&t->lock);
    n = t->n;
    lost = t->lost;
    pthread_mutex_unlock(&t->lock);
    if (lost > 0) {
        mt_log(ctx, MT_LOG_WARN, "trace", "the timeline holds the first %" PRId64
               " events of rank %d; %" PRId64 " later ones are missing", n, rank, lost);
    }
    mt_json_init(&j, ctx, 0);
    mt_json_list(&j, NULL);
    print_name(&j, rank, "process_name", 0, process);
    for (int lane = 0; lane < MT_LANES; lane++) {
        print_name(&j, rank, "thread_name", lane, lanes[lane]);
    }
    for (int64_t i = 0; i < n; i++) {
        print_event(&j, rank, &t->event[i], clock);
    }
    mt_json_end(&j);
    MT_TRY(mt_json_take(&j, &list));
    len = strlen(list);
    memmove(list, list + 1, len - 2);   /* without the brackets */
    list[len - 2] = '\0';
    *text = list;
    return MOTLEY_OK;
}
