/* launch.c -- sets the arguments of a kernel and enqueues it.
 *
 * What can be wrong in a launch is checked here, with the name of the kernel: drivers answer a
 * wrong argument with a number at best. */
#include "device/launch.h"

#include "device/buf.h"
#include "device/devtrace.h"

#include <inttypes.h>

/* Sets one argument at position *i, or two for a tensor, and moves *i on. */
static int set_arg(struct mt_dev *dev, const struct mt_kernel *k, cl_uint *i,
                   const struct mt_arg *a)
{
    const void *value = &a->v;
    size_t bytes = 0;

    cl_mem mem = a->kind == MT_ARG_TENSOR || a->kind == MT_ARG_BUFFER
                     ? a->v.t.buf != NULL ? a->v.t.buf->mem : NULL
                     : NULL;

    switch (a->kind) {
    case MT_ARG_TENSOR: {
        cl_ulong off = a->v.t.buf != NULL ? a->v.t.off : 0;

        MT_CHECK(a->v.t.buf == NULL || off <= a->v.t.buf->bytes / (unsigned)a->v.t.unit,
                 MOTLEY_EARG,
                 "argument %u starts at element %" PRIu64 " of buffer \"%s\", which has %" PRIu64
                 " bytes", (unsigned)*i, (uint64_t)off, a->v.t.buf->what, a->v.t.buf->bytes);
        MT_CL(dev, clSetKernelArg(k->kernel, (*i)++, sizeof mem, &mem));
        MT_CL(dev, clSetKernelArg(k->kernel, (*i)++, sizeof off, &off));
        return MOTLEY_OK;
    }
    case MT_ARG_U32:
    case MT_ARG_I32:
    case MT_ARG_F32:
        bytes = 4;
        break;
    case MT_ARG_U64:
        bytes = 8;
        break;
    case MT_ARG_BUFFER:
        bytes = sizeof mem;
        value = &mem;
        break;
    case MT_ARG_STRUCT:
        bytes = a->v.block.bytes;
        value = a->v.block.at;
        break;
    case MT_ARG_LOCAL:
        bytes = a->v.local_bytes;
        value = NULL;
        MT_CHECK(bytes <= dev->info.local_bytes, MOTLEY_EDEV,
                 "argument %u wants %zu bytes of local memory, the device has %" PRIu64,
                 (unsigned)*i, bytes, dev->info.local_bytes);
        break;
    }
    MT_CL(dev, clSetKernelArg(k->kernel, (*i)++, bytes, value));
    return MOTLEY_OK;
}

static int check_grid(const struct mt_dev *dev, const struct mt_kernel *k,
                      const struct mt_ndrange *g)
{
    size_t group = 1, limit = k->max_group < dev->info.max_group ? k->max_group
                                                                : dev->info.max_group;

    MT_BUG_IF(g->dims < 1 || g->dims > 3);
    for (int d = 0; d < g->dims; d++) {
        MT_CHECK(g->local[d] > 0 && g->global[d] % g->local[d] == 0, MOTLEY_EARG,
                 "%zu work-items in dimension %d are no multiple of the group size %zu",
                 g->global[d], d, g->local[d]);
        MT_CHECK(g->global[d] <= UINT32_MAX, MOTLEY_EUNSUP,
                 "%zu work-items in dimension %d are too many, kernels count them in 32 bits",
                 g->global[d], d);
        group *= g->local[d];
    }
    MT_CHECK(group <= limit, MOTLEY_EDEV,
             "groups of %zu work-items are asked for, this kernel can have %zu here", group,
             limit);
    return MOTLEY_OK;
}

static int launch(struct mt_dev *dev, struct mt_kernel *k, const struct mt_ndrange *g,
                  const struct mt_arg *args, int n)
{
    cl_uint want = 0, at = 0;

    MT_TRY(check_grid(dev, k, g));
    for (int i = 0; i < n; i++) {
        want += args[i].kind == MT_ARG_TENSOR ? 2 : 1;
    }
    MT_CHECK(want == k->args, MOTLEY_EBUG,
             "launched with %u arguments (a tensor is two), the kernel has %u", (unsigned)want,
             (unsigned)k->args);
    for (int i = 0; i < n; i++) {
        MT_TRY(set_arg(dev, k, &at, &args[i]));
    }
    MT_CL(dev, clEnqueueNDRangeKernel(dev->queue[MT_QUEUE_COMPUTE], k->kernel, (cl_uint)g->dims,
                                      NULL, g->global, g->local, 0, NULL,
                                      mt_devtrace_slot(dev, MT_LANE_COMPUTE, k->func)));
    dev->launches++;
    return MOTLEY_OK;
}

int mt_launch(struct mt_dev *dev, struct mt_kernel *kernel, struct mt_ndrange grid,
              const struct mt_arg *args, int n)
{
    int st;

    for (int d = 0; d < grid.dims && d < 3; d++) {
        if (grid.global[d] == 0) {
            return MOTLEY_OK;
        }
    }
    MT_TRY_OR(fail, launch(dev, kernel, &grid, args, n));
    return MOTLEY_OK;
fail:
    mt_err_prefix("kernel %s of cl/%s.cl: ", kernel->func, kernel->file);
    return st;
}
