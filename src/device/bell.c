/* bell.c -- whoever waits for the device sleeps until a window is shown, or a mark in its queue is
 * reached, instead of asking.
 *
 * OpenCL calls back when the event of a window or mark is done, on a thread of its own; the host
 * sleeps on a condition with a time limit, so that an implementation that calls late or never costs
 * only that time. A callback may come after clFinish has returned: the bell outlives its device
 * until the last one has been here. */
#define _POSIX_C_SOURCE 200809L
#include "device/bell.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev_impl.h"

#include <pthread.h>
#include <time.h>

#define LATE_S 2   /* callbacks are waited for when a device is closed */

struct mt_bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    uint64_t rings, heard;
    int pending;               /* callbacks to come */
};

static struct timespec after(double seconds)
{
    struct timespec t;
    int64_t ns;

    clock_gettime(CLOCK_MONOTONIC, &t);
    ns = (int64_t)t.tv_nsec + (int64_t)(1e9 * seconds);
    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

int mt_bell_new(struct mt_ctx *ctx, struct mt_bell **out)
{
    pthread_condattr_t attr;
    struct mt_bell *b = NULL;

    MT_TRY(MT_NEW(ctx, &b));
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->rung, &attr);
    pthread_condattr_destroy(&attr);
    *out = b;
    return MOTLEY_OK;
}

void mt_bell_free(struct mt_ctx *ctx, struct mt_bell *b)
{
    struct timespec until = after(LATE_S);
    int pending, late = 0;

    if (b == NULL) {
        return;
    }
    pthread_mutex_lock(&b->lock);
    while (b->pending > 0 && !late) {
        late = pthread_cond_timedwait(&b->rung, &b->lock, &until) != 0;
    }
    pending = b->pending;
    pthread_mutex_unlock(&b->lock);
    if (pending == 0) {
        pthread_cond_destroy(&b->rung);
        pthread_mutex_destroy(&b->lock);
        mt_free(ctx, b);
    }
}

static void CL_CALLBACK ring(cl_event event, cl_int status, void *bell)
{
    struct mt_bell *b = bell;

    (void)event, (void)status;
    pthread_mutex_lock(&b->lock);
    b->rings++;
    b->pending--;
    pthread_cond_signal(&b->rung);
    pthread_mutex_unlock(&b->lock);
}

void mt_bell_await(struct mt_bell *b, cl_event event)
{
    pthread_mutex_lock(&b->lock);
    b->pending++;
    pthread_mutex_unlock(&b->lock);
    if (clSetEventCallback(event, CL_COMPLETE, ring, b) != CL_SUCCESS) {
        pthread_mutex_lock(&b->lock);
        b->pending--;
        pthread_mutex_unlock(&b->lock);
    }
}

void mt_dev_doze(struct mt_dev *dev, double seconds)
{
    struct mt_bell *b = dev->bell;
    struct timespec until = after(seconds);
    int late = 0;

    pthread_mutex_lock(&b->lock);
    while (b->rings == b->heard && !late) {
        late = pthread_cond_timedwait(&b->rung, &b->lock, &until) != 0;
    }
    b->heard = b->rings;
    pthread_mutex_unlock(&b->lock);
}

static void drop_mark(struct mt_dev *dev)
{
    if (dev->mark != NULL) {
        clReleaseEvent(dev->mark);
        dev->mark = NULL;
    }
}

int mt_dev_mark(struct mt_dev *dev)
{
    drop_mark(dev);
    MT_CL(dev, clEnqueueMarkerWithWaitList(dev->queue[MT_QUEUE_COMPUTE], 0, NULL, &dev->mark));
    mt_bell_await(dev->bell, dev->mark);
    return MOTLEY_OK;
}

int mt_dev_marked(struct mt_dev *dev, int *done)
{
    cl_int state = CL_COMPLETE;

    if (dev->mark != NULL) {
        MT_CL(dev, clGetEventInfo(dev->mark, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state,
                                  &state, NULL));
        MT_CL_DID(dev, "work in front of a mark", state < 0 ? state : CL_SUCCESS);
    }
    if (state == CL_COMPLETE) {
        drop_mark(dev);
    }
    *done = state == CL_COMPLETE;
    return MOTLEY_OK;
}
