/* window.c -- the host looks at a part of a buffer while the queues go on.
 *
 * Host and device share memory: the range is mapped and unmapped by commands of the compute
 * queue, so order is the queue's and nothing is copied. Elsewhere:
 *
 *     compute   ... earlier work | marker m .......... barrier on w | later work ...
 *     transfer                     m -> read r       write w
 *     host                                   r -> use -> close
 *
 * with pinned memory that stays mapped as long as the window lives. */
#include "device/buf.h"

#include "base/ctx.h"
#include "device/bell.h"
#include "device/devtrace.h"

#include <inttypes.h>
#include <stdio.h>

struct mt_window {
    struct mt_dev *dev;
    char what[64];
    uint64_t max_bytes;

    cl_mem pinned;               /* not unified: our memory, mapped at pinned_host */
    void *pinned_host;

    int open;                    /* with what follows */
    unsigned mode;
    struct mt_buf *buf;
    uint64_t off, bytes;
    void *host;
    cl_event shown;              /* done: the host may look; NULL: at once */
    cl_event before;             /* not unified: compute work that came before open */
    cl_event written;            /* not unified: the last write-back, which still reads pinned */
};

static void drop(cl_event *event)
{
    if (*event != NULL) {
        clReleaseEvent(*event);
        *event = NULL;
    }
}

int mt_window_new(struct mt_dev *dev, uint64_t max_bytes, const char *what,
                  struct mt_window **out)
{
    struct mt_window *w = NULL;
    cl_int code;
    int st;

    MT_CHECK(max_bytes > 0, MOTLEY_EARG, "window %s: has no length", what);
    MT_TRY(MT_NEW(dev->ctx, &w));
    w->dev = dev;
    w->max_bytes = max_bytes;
    snprintf(w->what, sizeof w->what, "%s", what);
    if (!dev->info.unified) {
        w->pinned = clCreateBuffer(dev->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR,
                                   (size_t)max_bytes, NULL, &code);
        MT_CL_DID_OR(fail, dev, "clCreateBuffer", code);
        w->pinned_host = clEnqueueMapBuffer(dev->queue[MT_QUEUE_TRANSFER], w->pinned, CL_TRUE,
                                            CL_MAP_READ | CL_MAP_WRITE, 0, (size_t)max_bytes, 0,
                                            NULL, NULL, &code);
        MT_CL_DID_OR(fail, dev, "clEnqueueMapBuffer", code);
    }
    *out = w;
    return MOTLEY_OK;
fail:
    mt_window_free(w);
    mt_err_prefix("window %s (%" PRIu64 " bytes of pinned memory): ", what, max_bytes);
    return st;
}

void mt_window_free(struct mt_window *w)
{
    if (w == NULL) {
        return;
    }
    if (w->open && (mt_window_wait(w) < 0 || mt_window_close(w) < 0)) {
        mt_log(w->dev->ctx, MT_LOG_WARN, "dev", "%s", mt_err_text());
    }
    if (w->written != NULL) {
        clWaitForEvents(1, &w->written);
        drop(&w->written);
    }
    drop(&w->shown);
    drop(&w->before);
    if (w->pinned_host != NULL) {
        cl_command_queue q = w->dev->queue[MT_QUEUE_TRANSFER];

        clEnqueueUnmapMemObject(q, w->pinned, w->pinned_host, 0, NULL, NULL);
        clFinish(q);
    }
    if (w->pinned != NULL) {
        clReleaseMemObject(w->pinned);
    }
    mt_free(w->dev->ctx, w);
}

static int open_map(struct mt_window *w)
{
    struct mt_dev *dev = w->dev;
    cl_map_flags flags = w->mode == MT_WINDOW_WRITE  ? CL_MAP_WRITE_INVALIDATE_REGION
                         : w->mode == MT_WINDOW_READ ? CL_MAP_READ
                                                     : CL_MAP_READ | CL_MAP_WRITE;
    cl_int code;

    w->host = clEnqueueMapBuffer(dev->queue[MT_QUEUE_COMPUTE], w->buf->mem, CL_FALSE, flags,
                                 (size_t)w->off, (size_t)w->bytes, 0, NULL, &w->shown, &code);
    MT_CL_DID(dev, "clEnqueueMapBuffer", code);
    mt_devtrace_note(dev, MT_LANE_COMPUTE, "map", w->shown);
    mt_bell_await(dev->bell, w->shown);
    MT_CL(dev, clFlush(dev->queue[MT_QUEUE_COMPUTE]));
    return MOTLEY_OK;
}

static int open_pinned(struct mt_window *w)
{
    struct mt_dev *dev = w->dev;

    MT_CL(dev, clEnqueueMarkerWithWaitList(dev->queue[MT_QUEUE_COMPUTE], 0, NULL, &w->before));
    MT_CL(dev, clFlush(dev->queue[MT_QUEUE_COMPUTE]));
    w->host = w->pinned_host;
    if (w->mode & MT_WINDOW_READ) {
        drop(&w->written);       /* the read follows it in the same queue */
        MT_CL(dev, clEnqueueReadBuffer(dev->queue[MT_QUEUE_TRANSFER], w->buf->mem, CL_FALSE,
                                       (size_t)w->off, (size_t)w->bytes, w->host, 1, &w->before,
                                       &w->shown));
        mt_devtrace_note(dev, MT_LANE_TRANSFER, "to host", w->shown);
        mt_bell_await(dev->bell, w->shown);
        MT_CL(dev, clFlush(dev->queue[MT_QUEUE_TRANSFER]));
    } else {
        w->shown = w->written;   /* pinned memory is free once it has been written back */
        w->written = NULL;
    }
    return MOTLEY_OK;
}

int mt_window_open(struct mt_window *w, struct mt_buf *buf, uint64_t off, uint64_t bytes,
                   unsigned mode)
{
    int st;

    MT_BUG_IF(w->open || (mode & (MT_WINDOW_READ | MT_WINDOW_WRITE)) != mode || mode == 0);
    MT_BUG_IF(bytes > w->max_bytes || buf->dev != w->dev);
    MT_TRY(mt_buf_inside(buf, off, bytes, w->what));
    w->buf = buf;
    w->off = off;
    w->bytes = bytes;
    w->mode = mode;
    w->host = NULL;
    if (bytes > 0) {
        MT_TRY_OR(fail, w->pinned != NULL ? open_pinned(w) : open_map(w));
    }
    w->open = 1;
    return MOTLEY_OK;
fail:
    drop(&w->shown);
    drop(&w->before);
    return st;
}

/* An event that failed says so by a negative state. */
static int state_of(struct mt_window *w, cl_int *state)
{
    MT_CL(w->dev, clGetEventInfo(w->shown, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof *state,
                                 state, NULL));
    MT_CL_DID(w->dev, "transfer to the host", *state < 0 ? *state : CL_SUCCESS);
    return MOTLEY_OK;
}

int mt_window_ready(struct mt_window *w, int *ready)
{
    cl_int state = CL_COMPLETE;

    MT_BUG_IF(!w->open);
    if (w->shown != NULL) {
        MT_TRY(state_of(w, &state));
    }
    *ready = state == CL_COMPLETE;
    return MOTLEY_OK;
}

int mt_window_wait(struct mt_window *w)
{
    cl_int state;

    MT_BUG_IF(!w->open);
    if (w->shown != NULL) {
        MT_CL(w->dev, clWaitForEvents(1, &w->shown));
        MT_TRY(state_of(w, &state));
    }
    return MOTLEY_OK;
}

void *mt_window_host(const struct mt_window *w)
{
    return w->host;
}

static int close_map(struct mt_window *w)
{
    struct mt_dev *dev = w->dev;

    MT_CL(dev, clEnqueueUnmapMemObject(dev->queue[MT_QUEUE_COMPUTE], w->buf->mem, w->host, 0,
                                       NULL, mt_devtrace_slot(dev, MT_LANE_COMPUTE, "unmap")));
    MT_CL(dev, clFlush(dev->queue[MT_QUEUE_COMPUTE]));
    return MOTLEY_OK;
}

static int close_pinned(struct mt_window *w)
{
    struct mt_dev *dev = w->dev;

    if (!(w->mode & MT_WINDOW_WRITE)) {
        return MOTLEY_OK;
    }
    MT_CL(dev, clEnqueueWriteBuffer(dev->queue[MT_QUEUE_TRANSFER], w->buf->mem, CL_FALSE,
                                    (size_t)w->off, (size_t)w->bytes, w->host, 1, &w->before,
                                    &w->written));
    mt_devtrace_note(dev, MT_LANE_TRANSFER, "to device", w->written);
    MT_CL(dev, clFlush(dev->queue[MT_QUEUE_TRANSFER]));
    MT_CL(dev, clEnqueueBarrierWithWaitList(dev->queue[MT_QUEUE_COMPUTE], 1, &w->written,
                                            NULL));
    return MOTLEY_OK;
}

int mt_window_close(struct mt_window *w)
{
    int st = MOTLEY_OK;

    MT_BUG_IF(!w->open);
    w->open = 0;
    if (w->bytes > 0) {
        MT_TRY_OR(done, w->pinned != NULL ? close_pinned(w) : close_map(w));
    }
done:
    drop(&w->shown);
    drop(&w->before);
    return st;
}
