/* buf.c -- device memory.
 *
 * With MOTLEY_DEBUG=guard a buffer is the middle of a larger one: guard words lie before and
 * behind it, and it starts full of NaN, so that a kernel that reads what nobody wrote shows it.
 * The middle is a sub-buffer, because kernels are told offsets from the start of a buffer. */
#include "device/buf.h"

#include "base/ctx.h"
#include "device/devtrace.h"

#include <inttypes.h>
#include <stdio.h>

#define GUARD_WORD 0x7fc0deadu   /* a NaN, so reading a guard as float shows too */
#define FILL_WORD  0x7fc0beefu

enum { GUARD_MIN_BYTES = 1024, GUARD_MAX_BYTES = 65536 };

/* One allocation may be larger than the device allows, or than what is left: say so before the
 * driver does, because drivers say it late and without numbers. */
static int check_limits(const struct mt_dev *dev, uint64_t bytes, const char *what)
{
    const struct mt_dev_info *info = &dev->info;
    char name[320];

    MT_CHECK(bytes <= info->max_alloc_bytes, MOTLEY_EDEV,
             "%s: %" PRIu64 " bytes are needed in one piece, but device %s allows %" PRIu64
             " (%s); use a smaller batch, more micro-batches or a smaller network", what, bytes,
             mt_cl_device(dev, name, sizeof name), info->max_alloc_bytes, mt_dev_alloc_word(info));
    MT_CHECK(bytes <= info->memory_bytes && dev->allocated_bytes <= info->memory_bytes - bytes,
             MOTLEY_EDEV,
             "%s: %" PRIu64 " bytes are needed beside %" PRIu64 " that are in use, but device %s "
             "has %" PRIu64 " (%s); use a smaller batch, more micro-batches or a smaller network",
             what, bytes, dev->allocated_bytes, mt_cl_device(dev, name, sizeof name),
             info->memory_bytes, mt_dev_memory_word(info));
    return MOTLEY_OK;
}

static int fill_words(struct mt_dev *dev, cl_mem mem, uint64_t off, uint64_t bytes,
                      uint32_t word)
{
    if (bytes > 0) {
        MT_CL(dev, clEnqueueFillBuffer(dev->queue[MT_QUEUE_COMPUTE], mem, &word, sizeof word,
                                       (size_t)off, (size_t)bytes, 0, NULL,
                                       mt_devtrace_slot(dev, MT_LANE_COMPUTE, "fill")));
    }
    return MOTLEY_OK;
}

/* whole = guard | mem | guard, where mem starts as the device wants sub-buffers to start and the
 * second guard is longer by what mem lacks to whole words. */
static int make_guarded(struct mt_buf *b, cl_mem_flags flags, uint64_t bytes)
{
    struct mt_dev *dev = b->dev;
    uint64_t g = dev->base_align, words = (bytes + 3) / 4 * 4;
    cl_buffer_region part;
    cl_int code;

    while (g < GUARD_MIN_BYTES) {
        g = g == 0 ? GUARD_MIN_BYTES : g * 2;
    }
    MT_BUG_IF(g > GUARD_MAX_BYTES);
    b->guard_bytes = g;
    b->whole = clCreateBuffer(dev->context, flags, (size_t)(words + 2 * g), NULL, &code);
    MT_CL_DID(dev, "clCreateBuffer", code);
    MT_TRY(fill_words(dev, b->whole, 0, g, GUARD_WORD));
    MT_TRY(fill_words(dev, b->whole, g, words, FILL_WORD));
    MT_TRY(fill_words(dev, b->whole, g + words, g, GUARD_WORD));
    MT_CL(dev, clFinish(dev->queue[MT_QUEUE_COMPUTE]));
    part.origin = (size_t)g;
    part.size = (size_t)bytes;
    b->mem = clCreateSubBuffer(b->whole, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &part,
                               &code);
    MT_CL_DID(dev, "clCreateSubBuffer", code);
    return MOTLEY_OK;
}

/* Drivers reserve memory at the first use; use it now, so that a lack of it shows here. */
static int make_plain(struct mt_buf *b, cl_mem_flags flags, void *at, uint64_t bytes)
{
    struct mt_dev *dev = b->dev;
    cl_int code;

    b->mem = clCreateBuffer(dev->context, flags, (size_t)bytes, at, &code);
    MT_CL_DID(dev, "clCreateBuffer", code);
    MT_TRY(fill_words(dev, b->mem, 0, 4, 0));
    MT_CL(dev, clFinish(dev->queue[MT_QUEUE_COMPUTE]));
    return MOTLEY_OK;
}

static void release(struct mt_buf *b)
{
    if (b->mem != NULL) {
        clReleaseMemObject(b->mem);
    }
    if (b->whole != NULL) {
        clReleaseMemObject(b->whole);
    }
    mt_free(b->dev->ctx, b);
}

int mt_buf_new_at(struct mt_dev *dev, void *at, uint64_t bytes, const char *what,
                  struct mt_buf **out)
{
    struct mt_buf *b = NULL;
    uint64_t room = bytes < 4 ? 4 : bytes;   /* OpenCL knows no empty buffer */
    cl_mem_flags flags = CL_MEM_READ_WRITE;
    int st;

    MT_TRY(check_limits(dev, room, what));
    MT_TRY(MT_NEW(dev->ctx, &b));
    b->dev = dev;
    b->bytes = bytes;
    snprintf(b->what, sizeof b->what, "%s", what);
    if (dev->info.unified) {   /* memory that the host can map without a copy */
        flags |= at != NULL && !dev->guard ? CL_MEM_USE_HOST_PTR : CL_MEM_ALLOC_HOST_PTR;
    }
    if (dev->guard) {
        MT_TRY_OR(fail, make_guarded(b, flags, room));
    } else {
        MT_TRY_OR(fail, make_plain(b, flags, flags & CL_MEM_USE_HOST_PTR ? at : NULL, room));
    }
    b->next = dev->bufs;
    if (b->next != NULL) {
        b->next->prev = b;
    }
    dev->bufs = b;
    dev->allocations++;
    dev->allocated_bytes += bytes;
    *out = b;
    return MOTLEY_OK;
fail:
    release(b);
    mt_err_prefix("%s (%" PRIu64 " bytes beside %" PRIu64 " in use): ", what, bytes,
                  dev->allocated_bytes);
    return st;
}

int mt_buf_new(struct mt_dev *dev, uint64_t bytes, const char *what, struct mt_buf **out)
{
    MT_TRY(mt_buf_new_at(dev, NULL, bytes, what, out));
    return MOTLEY_OK;
}

void mt_buf_free(struct mt_buf *b)
{
    struct mt_dev *dev;

    if (b == NULL) {
        return;
    }
    dev = b->dev;
    if (dev->guard && mt_buf_check(b) < 0) {
        mt_log(dev->ctx, MT_LOG_WARN, "dev", "%s", mt_err_text());
    }
    if (b->prev != NULL) {
        b->prev->next = b->next;
    } else {
        dev->bufs = b->next;
    }
    if (b->next != NULL) {
        b->next->prev = b->prev;
    }
    dev->allocated_bytes -= b->bytes;
    release(b);
}

uint64_t mt_buf_bytes(const struct mt_buf *b)
{
    return b->bytes;
}

/* One guard: the word in front of (before) or behind the buffer that is no longer as it was. */
static int check_guard(struct mt_buf *b, uint64_t off, const char *side)
{
    struct mt_dev *dev = b->dev;
    uint32_t *word = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_mem_get(dev->ctx, (size_t)b->guard_bytes, 1, (void **)&word));
    MT_CL_OR(done, dev, clEnqueueReadBuffer(dev->queue[MT_QUEUE_COMPUTE], b->whole, CL_TRUE,
                                            (size_t)off, (size_t)b->guard_bytes, word, 0, NULL,
                                            NULL));
    for (uint64_t i = 0; i < b->guard_bytes / 4; i++) {
        MT_CHECK_OR(done, word[i] == GUARD_WORD, MOTLEY_EBUG,
                    "buffer \"%s\" of %" PRIu64 " bytes was written %s: byte %" PRId64
                    " from its start holds 0x%08x", b->what, b->bytes, side,
                    (int64_t)(off + 4 * i) - (int64_t)b->guard_bytes, (unsigned)word[i]);
    }
done:
    mt_free(dev->ctx, word);
    return st;
}

int mt_buf_check(struct mt_buf *b)
{
    if (b->whole == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(check_guard(b, 0, "before its start"));
    return check_guard(b, b->guard_bytes + (b->bytes < 4 ? 4 : (b->bytes + 3) / 4 * 4),
                       "behind its end");
}

int mt_buf_check_all(struct mt_dev *dev)
{
    for (struct mt_buf *b = dev->bufs; b != NULL; b = b->next) {
        MT_TRY(mt_buf_check(b));
    }
    return MOTLEY_OK;
}

int mt_buf_inside(const struct mt_buf *b, uint64_t off, uint64_t bytes, const char *what)
{
    MT_CHECK(off <= b->bytes && bytes <= b->bytes - off, MOTLEY_EARG,
             "%s: bytes %" PRIu64 " to %" PRIu64 " are not inside buffer \"%s\" of %" PRIu64
             " bytes", what, off, off + bytes, b->what, b->bytes);
    return MOTLEY_OK;
}

int mt_buf_write(struct mt_buf *b, uint64_t off, uint64_t bytes, const void *src)
{
    MT_TRY(mt_buf_inside(b, off, bytes, "write"));
    if (bytes > 0) {
        MT_CL(b->dev, clEnqueueWriteBuffer(b->dev->queue[MT_QUEUE_COMPUTE], b->mem, CL_TRUE,
                                           (size_t)off, (size_t)bytes, src, 0, NULL, NULL));
    }
    return MOTLEY_OK;
}

int mt_buf_read(struct mt_buf *b, uint64_t off, uint64_t bytes, void *dst)
{
    MT_TRY(mt_buf_inside(b, off, bytes, "read"));
    if (bytes > 0) {
        MT_CL(b->dev, clEnqueueReadBuffer(b->dev->queue[MT_QUEUE_COMPUTE], b->mem, CL_TRUE,
                                          (size_t)off, (size_t)bytes, dst, 0, NULL, NULL));
    }
    return MOTLEY_OK;
}

int mt_buf_fill(struct mt_buf *b, uint64_t off, uint64_t bytes, uint32_t word)
{
    MT_TRY(mt_buf_inside(b, off, bytes, "fill"));
    MT_CHECK(off % 4 == 0 && bytes % 4 == 0, MOTLEY_EARG,
             "fill: offset %" PRIu64 " and length %" PRIu64 " must be multiples of 4", off,
             bytes);
    return fill_words(b->dev, b->mem, off, bytes, word);
}

int mt_buf_copy(struct mt_buf *dst, uint64_t dst_off, struct mt_buf *src, uint64_t src_off,
                uint64_t bytes)
{
    MT_TRY(mt_buf_inside(dst, dst_off, bytes, "copy to"));
    MT_TRY(mt_buf_inside(src, src_off, bytes, "copy from"));
    MT_CHECK(dst->dev == src->dev, MOTLEY_EARG, "copy: the buffers are on two devices");
    if (bytes > 0) {
        MT_CL(dst->dev, clEnqueueCopyBuffer(dst->dev->queue[MT_QUEUE_COMPUTE], src->mem,
                                            dst->mem, (size_t)src_off, (size_t)dst_off,
                                            (size_t)bytes, 0, NULL,
                                            mt_devtrace_slot(dst->dev, MT_LANE_COMPUTE, "copy")));
    }
    return MOTLEY_OK;
}
