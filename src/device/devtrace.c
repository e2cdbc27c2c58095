/* devtrace.c -- profiling events of commands, kept in a fixed ring until they have ended.
 *
 * OpenCL 1.2 has no call that relates the two clocks. A marker's QUEUED time is taken by the driver
 * within clEnqueueMarkerWithWaitList; the host's clock is read around that call, so the distance
 * is known to about the duration of one call: of several the shortest counts. */
#include "device/devtrace.h"

#include "base/ctx.h"

#include <stdio.h>
#include <string.h>

#define PENDING 4096
#define MARKERS 8

struct pending {
    cl_event event;
    enum mt_lane lane;
    const char *name;
    char label[48];
};

struct mt_devtrace {
    int64_t shift;           /* host time minus device time, ns */
    int head, n;             /* oldest, and how many */
    struct pending ring[PENDING];
};

static int measure_shift(struct mt_dev *dev, int64_t *shift)
{
    int64_t shortest = INT64_MAX;

    for (int i = 0; i < MARKERS; i++) {
        cl_event marker = NULL;
        cl_ulong queued = 0;
        int64_t from = mt_trace_now(), took;

        MT_CL(dev, clEnqueueMarkerWithWaitList(dev->queue[MT_QUEUE_COMPUTE], 0, NULL, &marker));
        took = mt_trace_now() - from;
        clWaitForEvents(1, &marker);
        if (clGetEventProfilingInfo(marker, CL_PROFILING_COMMAND_QUEUED, sizeof queued, &queued,
                                    NULL) == CL_SUCCESS && queued != 0 && took < shortest) {
            *shift = from + took / 2 - (int64_t)queued;
            shortest = took;
        }
        clReleaseEvent(marker);
    }
    return MOTLEY_OK;
}

int mt_devtrace_new(struct mt_dev *dev)
{
    if (dev->ctx->trace == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW(dev->ctx, &dev->devtrace));
    return measure_shift(dev, &dev->devtrace->shift);
}

void mt_devtrace_free(struct mt_dev *dev)
{
    if (dev->devtrace != NULL) {
        mt_devtrace_collect(dev, 1);
        mt_free(dev->ctx, dev->devtrace);
        dev->devtrace = NULL;
    }
}

static void take(struct mt_dev *dev, struct pending *p)
{
    cl_ulong from = 0, to = 0;

    if (clGetEventProfilingInfo(p->event, CL_PROFILING_COMMAND_START, sizeof from, &from, NULL) ==
            CL_SUCCESS &&
        clGetEventProfilingInfo(p->event, CL_PROFILING_COMMAND_END, sizeof to, &to, NULL) ==
            CL_SUCCESS) {
        mt_trace_add(dev->ctx, p->lane, p->name, p->label,
                     (int64_t)from + dev->devtrace->shift, (int64_t)to + dev->devtrace->shift);
    }
}

void mt_devtrace_collect(struct mt_dev *dev, int wait)
{
    struct mt_devtrace *t = dev->devtrace;

    while (t != NULL && t->n > 0) {
        struct pending *p = &t->ring[t->head];
        cl_int state = CL_COMPLETE;

        if (p->event != NULL) {
            if (wait) {
                clWaitForEvents(1, &p->event);
            }
            clGetEventInfo(p->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state,
                           NULL);
            if (state > CL_COMPLETE) {
                return;
            }
            take(dev, p);
            clReleaseEvent(p->event);
        }
        t->head = (t->head + 1) % PENDING;
        t->n--;
    }
}

cl_event *mt_devtrace_slot(struct mt_dev *dev, enum mt_lane lane, const char *name)
{
    struct mt_devtrace *t = dev->devtrace;
    struct pending *p;

    if (t == NULL) {
        return NULL;
    }
    mt_devtrace_collect(dev, t->n == PENDING);
    p = &t->ring[(t->head + t->n++) % PENDING];
    memset(p, 0, sizeof *p);
    p->lane = lane;
    p->name = name;
    snprintf(p->label, sizeof p->label, "%s", mt_trace_label_get(dev->ctx));
    return &p->event;
}

void mt_devtrace_note(struct mt_dev *dev, enum mt_lane lane, const char *name, cl_event event)
{
    cl_event *slot = mt_devtrace_slot(dev, lane, name);

    if (slot != NULL && clRetainEvent(event) == CL_SUCCESS) {
        *slot = event;
    }
}
