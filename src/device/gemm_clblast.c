/* gemm_clblast.c -- the provider that calls CLBlast (C. Nugteren, CLBlast: a tuned OpenCL BLAS
 * library, IWOCL 2018); the only file that knows it.
 *
 * A single product goes through CLBlastSgemmWithTempBuffer with room for its padded copies taken
 * from the caller's scratch, so nothing is allocated in a run. A batch goes through the
 * strided-batched call, for which CLBlast has no such form: where it pads, it allocates inside
 * (CLBlast src/routines/levelx/xgemmstridedbatched.cpp). The other batched form is avoided: it
 * uploads its offsets and waits.
 *
 * A form is a set of CLBlast's tuning parameters for CLBlastOverrideParameters. CLBlast keeps one
 * set per device, compiles anew after each change and cannot go back to its own, so all products of
 * a process should have one form: "" stands for the one that tuning found for the device. CLBlast's
 * own tuner never tries what a CPU needs, vectors of 8 or 16 and one work-item per tile; local
 * memory (SA, SB) is pure cost there.
 *
 * CLBlast before 1.6.3 gave wrong numbers for some parameter sets (its issues 533, 542: GEMMK=1
 * with MWG unlike NWG, which no form has); 1.5.3 is what Debian 12 carries, and the check before
 * first use is what protects against them. */
#include "config.h"

#if MOTLEY_HAVE_CLBLAST

#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "device/devtrace.h"

#include <clblast_c.h>
#include <stdio.h>
#include <string.h>

/* MIN: the size (cubed) below which CLBlast takes its other kernel; the rest is of this one, with
 * GEMMK 0 and KREG 1. */
static const char *const cpu_forms[] = {
    "MIN=64,KWG=32,KWI=2,MDIMA=1,MDIMC=1,MWG=32,NDIMB=1,NDIMC=1,NWG=8,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=16,VWN=8",
    "MIN=64,KWG=32,KWI=2,MDIMA=1,MDIMC=1,MWG=32,NDIMB=1,NDIMC=1,NWG=12,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=16,VWN=4",
    "MIN=64,KWG=32,KWI=2,MDIMA=1,MDIMC=1,MWG=16,NDIMB=1,NDIMC=1,NWG=16,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=16,VWN=16",
    "MIN=64,KWG=32,KWI=2,MDIMA=1,MDIMC=1,MWG=16,NDIMB=1,NDIMC=1,NWG=8,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=8,VWN=8",
    NULL,
};
static const char *const gpu_forms[] = {
    "MIN=256,KWG=16,KWI=2,MDIMA=8,MDIMC=8,MWG=64,NDIMB=16,NDIMC=16,NWG=64,SA=1,SB=1,STRM=0,"
    "STRN=0,VWM=4,VWN=2",
    "MIN=256,KWG=32,KWI=2,MDIMA=16,MDIMC=16,MWG=64,NDIMB=16,NDIMC=16,NWG=64,SA=1,SB=1,STRM=0,"
    "STRN=0,VWM=4,VWN=4",
    "MIN=256,KWG=16,KWI=2,MDIMA=16,MDIMC=16,MWG=128,NDIMB=16,NDIMC=16,NWG=128,SA=1,SB=1,STRM=0,"
    "STRN=0,VWM=4,VWN=4",
    "MIN=1024,KWG=16,KWI=2,MDIMA=16,MDIMC=16,MWG=128,NDIMB=16,NDIMC=16,NWG=128,SA=1,SB=1,STRM=0,"
    "STRN=0,VWM=4,VWN=4",
    NULL,
};

struct state {
    char form[MT_GEMM_FORM];
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

static const char *forms(const struct mt_dev *dev, int i)
{
    enum { COUNT = sizeof cpu_forms / sizeof *cpu_forms };

    if (i >= COUNT || (dev->info.type == MT_DEV_CPU && mt_gemm_vector(dev) == 0)) {
        return NULL;   /* one number a lane: such tiles would take minutes to compile */
    }
    return dev->info.type == MT_DEV_CPU ? cpu_forms[i] : gpu_forms[i];
}

/* Gives the device this set of parameters, unless it has it. */
static int apply(struct mt_dev *dev, const char *form)
{
    static const char *const name[] = {"GEMMK", "KREG", "KWG", "KWI", "MDIMA", "MDIMC", "MWG",
                                       "NDIMB", "NDIMC", "NWG", "SA", "SB", "STRM", "STRN", "VWM",
                                       "VWN"};
    enum { COUNT = sizeof name / sizeof *name };
    const char *names[COUNT];
    size_t value[COUNT] = {0, 1};
    int64_t x, least = 0;

    if (strcmp(dev->clblast_form, form) == 0) {
        return MOTLEY_OK;
    }
    MT_CHECK(*form != '\0', MOTLEY_EUNSUP,
             "CLBlast cannot go back to its own parameters in a process that has changed them");
    for (int i = 0; i < COUNT; i++) {
        names[i] = name[i];
        if (i >= 2) {
            MT_CHECK(mt_gemm_form_number(form, name[i], &x) && x >= 0, MOTLEY_EUNSUP,
                     "gemm provider clblast has no form %s", form);
            value[i] = (size_t)x;
        }
    }
    MT_TRY(check(dev, "CLBlastOverrideParameters",
                 CLBlastOverrideParameters(dev->id, "Xgemm", CLBlastPrecisionSingle, COUNT, names,
                                           value)));
    if (mt_gemm_form_number(form, "MIN", &least)) {
        names[0] = "XGEMM_MIN_INDIRECT_SIZE";
        value[0] = (size_t)least;
        MT_TRY(check(dev, "CLBlastOverrideParameters",
                     CLBlastOverrideParameters(dev->id, "GemmRoutine", CLBlastPrecisionSingle, 1,
                                               names, value)));
    }
    snprintf(dev->clblast_form, sizeof dev->clblast_form, "%s", form);
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

static int prepare(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes)
{
    cl_command_queue queue = mt_dev_queue(dev);
    size_t lda = (size_t)(g->lda > 0 ? g->lda : g->trans_a ? g->m : g->k);
    size_t ldb = (size_t)(g->ldb > 0 ? g->ldb : g->trans_b ? g->k : g->n);
    size_t ldc = (size_t)(g->ldc > 0 ? g->ldc : g->n);
    size_t bytes = 0;
    struct state *s = NULL;

    if (*form == '\0') {
        MT_TRY(mt_gemm_tuned_form(dev, "clblast", &form));
    }
    MT_TRY(apply(dev, form));
    /* Offsets of 1 make CLBlast copy all three matrices: the most it can ask for at these or
     * smaller sizes. */
    MT_TRY(check(dev, "CLBlastSGemmTempBufferSize",
                 CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, transpose(g->trans_a),
                                            transpose(g->trans_b), (size_t)g->m, (size_t)g->n,
                                            (size_t)g->k, 1, lda, 1, ldb, 1, ldc, &queue,
                                            &bytes)));
    MT_TRY(MT_NEW(mt_dev_ctx(dev), &s));
    snprintf(s->form, sizeof s->form, "%s", form);
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

    MT_TRY(apply(dev, s->form));   /* another plan may have changed it */
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
    .forms = forms,
    .prepare = prepare,
    .run = run,
    .release = release,
};

#else

extern const int mt_gemm_clblast_absent;   /* ISO C wants a declaration in every file */

#endif
