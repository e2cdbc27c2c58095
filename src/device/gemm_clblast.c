/* gemm_clblast.c -- the provider that calls CLBlast (C. Nugteren, CLBlast: a tuned OpenCL BLAS
 * library, IWOCL 2018); the only file that knows it.
 *
 * A single product goes through CLBlastSgemmWithTempBuffer with room for its padded copies taken
 * from the caller's scratch, so nothing is allocated in a run. A batch goes through the
 * strided-batched call, for which CLBlast has no such form: where it pads, it allocates inside
 * (CLBlast src/routines/levelx/xgemmstridedbatched.cpp). The other batched form is avoided: it
 * uploads its offsets and waits.
 *
 * CLBlast before 1.6.3 gave wrong numbers for some parameter sets (its issues 533, 542); 1.5.3 is
 * what Debian 12 carries, and the check before first use is what protects against them. */
#include "config.h"

#if MOTLEY_HAVE_CLBLAST

#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "device/devtrace.h"

#include <clblast_c.h>
#include <stdio.h>

struct state {
    /* CLBlast takes a whole buffer as scratch, motley has a range: a sub-buffer over it. It is
     * made when the range is first seen and keeps its parent alive, so the handle of the parent
     * identifies it. A sub-buffer is a description, not memory. */
    cl_mem parent, range;
    uint64_t off;
    uint64_t bytes;
};

static const char *status_name(CLBlastStatusCode code)
{
    switch (code) {
#define CASE(name)                                                                            \
    case CLBlast##name:                                                                       \
        return "CLBlast " #name
        CASE(NotImplemented);
        CASE(InvalidMatrixA);
        CASE(InvalidMatrixB);
        CASE(InvalidMatrixC);
        CASE(InvalidDimension);
        CASE(InvalidLeadDimA);
        CASE(InvalidLeadDimB);
        CASE(InvalidLeadDimC);
        CASE(InsufficientMemoryA);
        CASE(InsufficientMemoryB);
        CASE(InsufficientMemoryC);
        CASE(InsufficientMemoryTemp);
        CASE(InvalidBatchCount);
        CASE(InvalidOverrideKernel);
        CASE(MissingOverrideParameter);
        CASE(InvalidLocalMemUsage);
        CASE(DatabaseError);
        CASE(UnknownError);
        CASE(UnexpectedError);
#undef CASE
    default:
        return mt_cl_name((cl_int)code);   /* the others are OpenCL's own numbers */
    }
}

static int check(struct mt_dev *dev, const char *call, CLBlastStatusCode code)
{
    char device[256];

    MT_CHECK(code == CLBlastSuccess, MOTLEY_EDEV, "%s on %s: %s", call,
             mt_cl_device(dev, device, sizeof device), status_name(code));
    return MOTLEY_OK;
}

static int can(struct mt_dev *dev, const struct mt_gemm *g)
{
    (void)dev;
    (void)g;
    return 1;
}

static void version(char *buf, size_t room)
{
    snprintf(buf, room, "CLBlast %d.%d.%d", CLBLAST_VERSION_MAJOR, CLBLAST_VERSION_MINOR,
             CLBLAST_VERSION_PATCH);
}

static CLBlastTranspose transpose(int yes)
{
    return yes ? CLBlastTransposeYes : CLBlastTransposeNo;
}

static void release(struct mt_dev *dev, void *state)
{
    struct state *s = state;

    if (s->range != NULL) {
        clReleaseMemObject(s->range);
    }
    mt_free(mt_dev_ctx(dev), s);
}

static int prepare(struct mt_dev *dev, const struct mt_gemm *g, void **state,
                   uint64_t *scratch_bytes)
{
    cl_command_queue queue = mt_dev_queue(dev);
    size_t lda = (size_t)(g->lda > 0 ? g->lda : g->trans_a ? g->m : g->k);
    size_t ldb = (size_t)(g->ldb > 0 ? g->ldb : g->trans_b ? g->k : g->n);
    size_t ldc = (size_t)(g->ldc > 0 ? g->ldc : g->n);
    size_t bytes = 0;
    struct state *s = NULL;

    /* Offsets of 1 make CLBlast copy all three matrices: the most it can ask for at these or
     * smaller sizes. */
    MT_TRY(check(dev, "CLBlastSGemmTempBufferSize",
                 CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, transpose(g->trans_a),
                                            transpose(g->trans_b), (size_t)g->m, (size_t)g->n,
                                            (size_t)g->k, 1, lda, 1, ldb, 1, ldc, &queue,
                                            &bytes)));
    MT_TRY(MT_NEW(mt_dev_ctx(dev), &s));
    if (bytes > 0 && g->batch == 1) {
        s->bytes = bytes;
        *scratch_bytes = bytes + dev->base_align;   /* room to begin where a sub-buffer may */
    } else {
        *scratch_bytes = 0;
    }
    *state = s;
    return MOTLEY_OK;
}

static int take_scratch(struct mt_dev *dev, struct state *s, const struct mt_tensor *scratch)
{
    const struct mt_buf *buf = scratch->buf;
    cl_mem parent = buf->whole != NULL ? buf->whole : buf->mem;   /* no sub-buffer of another */
    uint64_t align = dev->base_align > 0 ? dev->base_align : 1;
    uint64_t first = scratch->off * sizeof(float) + (buf->whole != NULL ? buf->guard_bytes : 0);
    uint64_t off = (first + align - 1) / align * align;
    cl_buffer_region region = {.origin = (size_t)off, .size = (size_t)s->bytes};
    cl_int code;
    cl_mem range;

    if (s->range != NULL && s->parent == parent && s->off == off) {
        return MOTLEY_OK;
    }
    range = clCreateSubBuffer(parent, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region,
                              &code);
    MT_CL_DID(dev, "clCreateSubBuffer", code);
    if (s->range != NULL) {
        clReleaseMemObject(s->range);
    }
    s->range = range;
    s->parent = parent;
    s->off = off;
    return MOTLEY_OK;
}

static int run(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call)
{
    cl_command_queue queue = mt_dev_queue(dev);
    CLBlastTranspose ta = transpose(g->trans_a), tb = transpose(g->trans_b);
    struct state *s = state;
    size_t m = (size_t)call->m, n = (size_t)call->n, k = (size_t)call->k;
    size_t lda = (size_t)call->lda, ldb = (size_t)call->ldb, ldc = (size_t)call->ldc;

    dev->launches++;   /* at least; CLBlast does not say how many */
    if (g->batch > 1) {
        MT_TRY(check(dev, "CLBlastSgemmStridedBatched",
                     CLBlastSgemmStridedBatched(
                         CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha,
                         mt_buf_mem(call->a->buf), call->a->off, lda, (size_t)call->stride_a,
                         mt_buf_mem(call->b->buf), call->b->off, ldb, (size_t)call->stride_b,
                         call->beta, mt_buf_mem(call->c->buf), call->c->off, ldc,
                         (size_t)call->stride_c, (size_t)g->batch, &queue,
                         mt_devtrace_slot(dev, MT_LANE_COMPUTE, "CLBlast gemm"))));
        return MOTLEY_OK;
    }
    if (s->bytes > 0) {
        MT_TRY(take_scratch(dev, s, call->scratch));
    }
    MT_TRY(check(dev, "CLBlastSgemmWithTempBuffer",
                 CLBlastSgemmWithTempBuffer(
                     CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, mt_buf_mem(call->a->buf),
                     call->a->off, lda, mt_buf_mem(call->b->buf), call->b->off, ldb, call->beta,
                     mt_buf_mem(call->c->buf), call->c->off, ldc, &queue,
                     mt_devtrace_slot(dev, MT_LANE_COMPUTE, "CLBlast gemm"), s->range)));
    return MOTLEY_OK;
}

const struct mt_gemm_provider mt_gemm_clblast = {
    .name = "clblast",
    .fuses = 0,
    .version = version,
    .can = can,
    .prepare = prepare,
    .run = run,
    .release = release,
};

#else

extern const int mt_gemm_clblast_absent;   /* ISO C wants a declaration in every file */

#endif
