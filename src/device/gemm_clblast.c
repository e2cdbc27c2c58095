/* gemm_clblast.c -- the provider that calls CLBlast (C. Nugteren, CLBlast: a tuned OpenCL BLAS
 * library, IWOCL 2018); the only file that knows it.
 *
 * A single product goes through CLBlastSgemmWithTempBuffer with room for its padded copies taken
 * from the caller's scratch, so nothing is allocated in a run. A batch goes through the
 * strided-batched call, for which CLBlast has no such form: where it pads, it allocates inside
 * (CLBlast src/routines/levelx/xgemmstridedbatched.cpp). The other batched form is avoided: it
 * uploads its offsets and waits. CLBlast 1.5.3 gives wrong numbers for a batch that needs no
 * padding and begins within a vector: it rounds offsets down. Such a batch goes one product at a
 * time.
 *
 * CLBlast copies every matrix that does not begin where its buffer begins, that is not as long as
 * its tiles on every side, or that lies the other way than its kernel wants (our A if it is not
 * transposed, our B if it is). Matrices of motley lie somewhere in a few large buffers, so they
 * are given as sub-buffers; and there are forms whose blocks divide the usual sizes. Longer rows
 * would have to be those of all tensors, which are dense (docs/design.md).
 *
 * A form is a set of CLBlast's tuning parameters for CLBlastOverrideParameters. CLBlast keeps one
 * set per device, compiles anew after each change and cannot go back to its own, so all products of
 * a process should have one form: "" stands for the one that tuning found for the device. CLBlast's
 * own tuner never tries what a CPU needs, vectors of 8 or 16 and one work-item per tile; local
 * memory (SA, SB) is pure cost there.
 *
 * CLBlast before 1.6.3 gave wrong numbers for some parameter sets (its issues 533, 542: GEMMK=1
 * with MWG unlike NWG, which no form has); 1.5.3 is what Debian 12 carries, and the check before
 * first use is what protects against them.
 *
 * CLBlast keeps its database of parameters and its programs in variables of the process, and
 * guards only some of them (its issue 486; CLBlastOverrideParameters, called by two threads at
 * once, fails in one of eight runs of tests/unit/threads.c). So one thread at a time is inside. */
#include "config.h"

#if MOTLEY_HAVE_CLBLAST

#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "device/devtrace.h"

#include <clblast_c.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A variable of the process, because what it guards is one. */
static pthread_mutex_t inside = PTHREAD_MUTEX_INITIALIZER;

/* MIN: the size (cubed) below which CLBlast takes its other kernel; the rest is of this one, with
 * GEMMK 0 and KREG 1. */
static const char *const cpu_forms[] = {
    "MIN=64,KWG=16,KWI=2,MDIMA=1,MDIMC=1,MWG=16,NDIMB=1,NDIMC=1,NWG=8,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=8,VWN=8",
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
/* Of CPU devices that run one number a lane. */
static const char *const lane_forms[] = {
    "MIN=1,KWG=16,KWI=2,MDIMA=8,MDIMC=8,MWG=64,NDIMB=1,NDIMC=1,NWG=8,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=8,VWN=8",
    "MIN=1,KWG=16,KWI=2,MDIMA=8,MDIMC=8,MWG=32,NDIMB=1,NDIMC=1,NWG=8,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=4,VWN=4",
    "MIN=1,KWG=16,KWI=2,MDIMA=8,MDIMC=8,MWG=32,NDIMB=8,NDIMC=8,NWG=32,SA=0,SB=0,STRM=0,STRN=0,"
    "VWM=1,VWN=1",
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

/* A part of a buffer, as a sub-buffer. It is made when the place is first seen and keeps its parent
 * alive, so the handle of the parent identifies it. A sub-buffer is a description, not memory. */
struct range {
    cl_mem parent, mem;              /* mem: NULL before */
    uint64_t off, bytes;
};

struct state {
    char form[MT_GEMM_FORM];
    struct range a, b, c, scratch;
    uint64_t bytes;                  /* of scratch that CLBlast wants */
};

/* A matrix, or those of a batch, as CLBlast is told of it. */
struct place {
    cl_mem mem;
    size_t off, ld, stride;          /* elements */
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
    enum { CPU = sizeof cpu_forms / sizeof *cpu_forms,
           LANES = sizeof lane_forms / sizeof *lane_forms,
           GPU = sizeof gpu_forms / sizeof *gpu_forms };

    if (dev->info.type != MT_DEV_CPU) {
        return i < GPU ? gpu_forms[i] : NULL;
    }
    if (mt_gemm_vector(dev) == 0) {   /* cpu_forms would take minutes to compile */
        return i < LANES ? lane_forms[i] : NULL;
    }
    return i < CPU ? cpu_forms[i] : NULL;
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
    const struct range *all[] = {&s->a, &s->b, &s->c, &s->scratch};

    for (int i = 0; i < 4; i++) {
        if (all[i]->mem != NULL) {
            clReleaseMemObject(all[i]->mem);
        }
    }
    mt_free(mt_dev_ctx(dev), s);
}

/* Bytes of scratch that a product of this or a smaller size wants, with these parameters. */
static int ask_scratch(struct mt_dev *dev, const struct mt_gemm *g, const char *form, size_t *bytes)
{
    cl_command_queue queue = mt_dev_queue(dev);
    size_t lda = (size_t)(g->lda > 0 ? g->lda : g->trans_a ? g->m : g->k);
    size_t ldb = (size_t)(g->ldb > 0 ? g->ldb : g->trans_b ? g->k : g->n);
    size_t ldc = (size_t)(g->ldc > 0 ? g->ldc : g->n);

    MT_TRY(apply(dev, form));
    /* Offsets of 1 make CLBlast copy all three matrices: the most it can ask for. */
    MT_TRY(check(dev, "CLBlastSGemmTempBufferSize",
                 CLBlastSGemmTempBufferSize(CLBlastLayoutRowMajor, transpose(g->trans_a),
                                            transpose(g->trans_b), (size_t)g->m, (size_t)g->n,
                                            (size_t)g->k, 1, lda, 1, ldb, 1, ldc, &queue, bytes)));
    return MOTLEY_OK;
}

static int prepare(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes)
{
    struct state *s = NULL;
    size_t bytes = 0;
    int st;

    if (*form == '\0') {
        MT_TRY(mt_gemm_tuned_form(dev, "clblast", &form));
    }
    pthread_mutex_lock(&inside);
    st = ask_scratch(dev, g, form, &bytes);
    pthread_mutex_unlock(&inside);
    MT_TRY(st);
    MT_TRY(MT_NEW(mt_dev_ctx(dev), &s));
    snprintf(s->form, sizeof s->form, "%s", form);
    if (bytes > 0) {
        s->bytes = bytes;
        *scratch_bytes = bytes + dev->base_align;   /* room to begin where a sub-buffer may */
    } else {
        *scratch_bytes = 0;
    }
    *state = s;
    return MOTLEY_OK;
}

static uint64_t alignment(const struct mt_dev *dev)
{
    return dev->base_align > 0 ? dev->base_align : 1;
}

/* In bytes; off: where a sub-buffer may begin. */
static int take_range(struct mt_dev *dev, struct range *r, const struct mt_buf *buf, uint64_t off,
                      uint64_t bytes)
{
    cl_mem parent = buf->whole != NULL ? buf->whole : buf->mem;   /* no sub-buffer of another */
    uint64_t from = off + (buf->whole != NULL ? buf->guard_bytes : 0);
    cl_buffer_region region = {.origin = (size_t)from, .size = (size_t)bytes};
    cl_int code;
    cl_mem mem;

    if (r->mem != NULL && r->parent == parent && r->off == from && r->bytes == bytes) {
        return MOTLEY_OK;
    }
    mem = clCreateSubBuffer(parent, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region,
                            &code);
    MT_CL_DID(dev, "clCreateSubBuffer", code);
    if (r->mem != NULL) {
        clReleaseMemObject(r->mem);
    }
    *r = (struct range){.parent = parent, .mem = mem, .off = from, .bytes = bytes};
    return MOTLEY_OK;
}

static int take_scratch(struct mt_dev *dev, struct state *s, const struct mt_tensor *scratch)
{
    uint64_t align = alignment(dev), first = scratch->off * sizeof(float);

    MT_TRY(take_range(dev, &s->scratch, scratch->buf, (first + align - 1) / align * align,
                      s->bytes));
    return MOTLEY_OK;
}

/* Of rows x cols. */
static int take_matrix(struct mt_dev *dev, struct range *r, const struct mt_tensor *t, int64_t rows,
                       int64_t cols, int64_t batch, struct place *at)
{
    uint64_t first = (uint64_t)(batch - 1) * at->stride;       /* element of the last matrix */
    uint64_t n = first + (uint64_t)(rows - 1) * at->ld + (uint64_t)cols;

    MT_TRY(take_range(dev, r, t->buf, t->off * sizeof(float), n * sizeof(float)));
    at->mem = r->mem;
    at->off = 0;
    return MOTLEY_OK;
}

/* All three matrices as sub-buffers if they begin where sub-buffers may: not some of them, which
 * would then overlap the buffers of the others. */
static int take_matrices(struct mt_dev *dev, const struct mt_gemm *g, struct state *s,
                         const struct mt_gemm_call *call, struct place *a, struct place *b,
                         struct place *c)
{
    uint64_t off = (call->a->off | call->b->off | call->c->off) * sizeof(float);

    if (off % alignment(dev) != 0) {
        return MOTLEY_OK;
    }
    MT_TRY(take_matrix(dev, &s->a, call->a, g->trans_a ? call->k : call->m,
                       g->trans_a ? call->m : call->k, g->batch, a));
    MT_TRY(take_matrix(dev, &s->b, call->b, g->trans_b ? call->n : call->k,
                       g->trans_b ? call->k : call->n, g->batch, b));
    MT_TRY(take_matrix(dev, &s->c, call->c, call->m, call->n, g->batch, c));
    return MOTLEY_OK;
}

/* Whether all matrices of a batch begin at whole vectors of CLBlast's kernels, of 16 at most. */
static int whole_vectors(const struct place *a, const struct place *b, const struct place *c)
{
    return ((a->off | a->stride | b->off | b->stride | c->off | c->stride) & 15) == 0;
}

static struct place place(const struct mt_tensor *t, int64_t ld, int64_t stride)
{
    return (struct place){.mem = mt_buf_mem(t->buf), .off = (size_t)t->off, .ld = (size_t)ld,
                          .stride = (size_t)stride};
}

static int run_alone(struct mt_dev *dev, const struct mt_gemm *g, void *state,
                     const struct mt_gemm_call *call)
{
    cl_command_queue queue = mt_dev_queue(dev);
    CLBlastTranspose ta = transpose(g->trans_a), tb = transpose(g->trans_b);
    struct state *s = state;
    size_t m = (size_t)call->m, n = (size_t)call->n, k = (size_t)call->k;
    struct place a = place(call->a, call->lda, call->stride_a);
    struct place b = place(call->b, call->ldb, call->stride_b);
    struct place c = place(call->c, call->ldc, call->stride_c);

    MT_TRY(apply(dev, s->form));   /* another plan may have changed it */
    MT_TRY(take_matrices(dev, g, s, call, &a, &b, &c));
    if (g->batch > 1 && whole_vectors(&a, &b, &c)) {
        dev->launches++;   /* at least; CLBlast does not say how many */
        MT_TRY(check(dev, "CLBlastSgemmStridedBatched",
                     CLBlastSgemmStridedBatched(
                         CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, a.mem, a.off, a.ld,
                         a.stride, b.mem, b.off, b.ld, b.stride, call->beta, c.mem, c.off, c.ld,
                         c.stride, (size_t)g->batch, &queue,
                         mt_devtrace_slot(dev, MT_LANE_COMPUTE, "CLBlast gemm"))));
        return MOTLEY_OK;
    }
    if (s->bytes > 0) {
        MT_TRY(take_scratch(dev, s, call->scratch));
    }
    for (int64_t i = 0; i < g->batch; i++) {
        dev->launches++;
        MT_TRY(check(dev, "CLBlastSgemmWithTempBuffer",
                     CLBlastSgemmWithTempBuffer(
                         CLBlastLayoutRowMajor, ta, tb, m, n, k, g->alpha, a.mem, a.off, a.ld,
                         b.mem, b.off, b.ld, call->beta, c.mem, c.off, c.ld, &queue,
                         mt_devtrace_slot(dev, MT_LANE_COMPUTE, "CLBlast gemm"),
                         s->scratch.mem)));
        a.off += a.stride;
        b.off += b.stride;
        c.off += c.stride;
    }
    return MOTLEY_OK;
}

static int run(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call)
{
    int st;

    pthread_mutex_lock(&inside);
    st = run_alone(dev, g, state, call);
    pthread_mutex_unlock(&inside);
    return st;
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
