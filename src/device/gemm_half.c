/* gemm_half.c -- products of numbers in half width by providers that take f32 only: A and B are
 * widened into scratch, the provider makes the product there, and one kernel adds what is there
 * already and the bias, applies the activation and rounds, once, to the width of C. A C of f32
 * (gradients of weights) is written by the provider itself.
 *
 * So every provider serves every precision, with the check it passed in f32; what it costs is one
 * pass over A and B. Samples, which are many, go through scratch in slices of SLICE bytes: it stays
 * small, or half the width would save nothing, and what was widened is still in a cache when it is
 * multiplied. A slice has so many rows of A and C, or (gradient of weights) terms; how many follows
 * from the sizes of a row, so that sums do not depend on the number of samples. A provider with
 * MT_GEMM_HALF converts while it packs, or multiplies half widths itself. */
#include "device/gemm_impl.h"

#include "base/err.h"
#include "device/cast.h"
#include "device/launch.h"

#define ALIGN 64           /* elements: places in scratch */
#define SLICE (1 << 20)    /* bytes of a slice, about */
#define LEAST 64           /* rows or terms of a slice */

static uint64_t align(uint64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Elements from the first of a batch of matrices to its last. */
static uint64_t span(int64_t rows, int64_t cols, int64_t ld, int64_t stride, int64_t batch)
{
    ld = ld > 0 ? ld : cols;
    stride = stride > 0 ? stride : rows * ld;
    return (uint64_t)((batch - 1) * stride + (rows - 1) * ld + cols);
}

static uint64_t span_a(const struct mt_gemm *g)
{
    return span(g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->stride_a, g->batch);
}

static uint64_t span_b(const struct mt_gemm *g)
{
    return span(g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->stride_b, g->batch);
}

/* The dimension that is sliced: 'm', 'k', or 0 where rows do not lie one after another or the
 * provider would have to bear two sizes that vary. */
static char sliced(const struct mt_gemm *g)
{
    if (g->batch > 1) {
        return 0;
    }
    if (!g->trans_a && (g->varies == 'm' || g->varies == 0)) {
        return 'm';
    }
    return g->trans_a && !g->trans_b && g->out == MT_F32 && g->varies == 'k' ? 'k' : 0;
}

static int64_t *dimension(struct mt_gemm *g, char which)
{
    return which == 'm' ? &g->m : &g->k;
}

int mt_gemm_wide_init(struct mt_gemm_plan *plan)
{
    struct mt_gemm *asked = &plan->asked;
    struct mt_gemm_wide *w = &plan->wide;

    *asked = plan->g;
    if (plan->g.in == MT_F32 || (plan->provider->fuses & MT_GEMM_HALF)) {
        return MOTLEY_OK;
    }
    asked->in = asked->out = MT_F32;
    if (plan->g.out != MT_F32) {
        asked->has_bias = 0;
        asked->act = MT_GEMM_NOACT;
        asked->ldc = asked->stride_c = 0;
    }
    w->sliced = sliced(&plan->g);
    if (w->sliced != 0) {
        int64_t row = 4 * (plan->g.n + (w->sliced == 'm' ? plan->g.k : plan->g.m));
        int64_t *size = dimension(asked, w->sliced);

        w->slice = SLICE / row / LEAST * LEAST;
        w->slice = w->slice > LEAST ? w->slice : LEAST;
        *size = *size < w->slice ? *size : w->slice;
        asked->varies = w->sliced;
    }
    MT_TRY(mt_cast_get(plan->dev, MT_F32, plan->g.in, &w->widen));
    return mt_kernel_get(plan->dev, "gemm_half", "gemm_half_finish",
                         mt_dtype_defines(plan->g.in), &w->finish);
}

void mt_gemm_wide_room(struct mt_gemm_plan *plan)
{
    const struct mt_gemm *g = &plan->asked;   /* of a slice, with the rows of the whole */
    struct mt_gemm_wide *w = &plan->wide;

    if (w->widen == NULL) {
        return;
    }
    w->a = align((plan->scratch_bytes + sizeof(float) - 1) / sizeof(float));
    w->b = w->a + align(span_a(g));
    w->c = w->b + align(span_b(g));
    plan->scratch_bytes = sizeof(float) * w->c;
    if (plan->g.out != MT_F32) {
        plan->scratch_bytes += sizeof(float) * align((uint64_t)(g->m * g->n * g->batch));
    }
}

/* n numbers of `from` into scratch, from place `at` on. */
static int widen(const struct mt_gemm_plan *plan, const struct mt_tensor *from, uint64_t n,
                 const struct mt_tensor *scratch, uint64_t at, struct mt_tensor *to)
{
    struct mt_tensor narrow = *from;

    *to = *scratch;
    to->spec = mt_spec_new(MT_F32, 0, 1, &(int64_t){(int64_t)n});
    to->off += at;
    narrow.spec.dtype = plan->g.in;
    return mt_cast_run(plan->dev, plan->wide.widen, to, &narrow, 0);
}

/* What is done with a finished sum: C = act(sum + beta C + bias), rounded. */
static int finish(const struct mt_gemm_plan *plan, const struct mt_gemm_call *call,
                  const struct mt_tensor *sum, const struct mt_tensor *bias)
{
    const struct mt_gemm *g = &plan->g;
    struct mt_tensor c = *call->c;
    struct mt_tensor add = g->has_bias ? *bias : c;   /* an argument has to be something */

    c.spec.dtype = add.spec.dtype = g->out;
    return mt_launch(plan->dev, plan->wide.finish,
                     mt_items((uint64_t)(call->m * call->n * g->batch), MT_WG),
                     MT_ARGS(mt_t(&c), mt_t(sum), mt_t(&add), mt_u32((uint32_t)call->m),
                             mt_u32((uint32_t)call->n), mt_u32((uint32_t)g->batch),
                             mt_u64((uint64_t)call->ldc), mt_u64((uint64_t)call->stride_c),
                             mt_u32(call->k > 0), mt_u32(call->beta != 0.0f),
                             mt_u32((uint32_t)g->has_bias), mt_u32((uint32_t)g->act),
                             mt_f32(g->slope)));
}

/* One slice, or the whole: sizes and operands of call. b: B in f32; its buffer NULL: not yet. */
static int multiply(const struct mt_gemm_plan *plan, const struct mt_gemm_call *call,
                    const struct mt_tensor *bias, struct mt_tensor *b)
{
    const struct mt_gemm_wide *w = &plan->wide;
    struct mt_gemm_call wide = *call;
    struct mt_gemm now = plan->g;
    struct mt_tensor a, sum = *call->scratch;

    sum.spec.dtype = MT_F32;
    sum.off += w->c;
    now.m = call->m;
    now.n = call->n;
    now.k = call->k;
    if (call->k > 0) {
        MT_TRY(widen(plan, call->a, span_a(&now), call->scratch, w->a, &a));
        if (b->buf == NULL) {
            MT_TRY(widen(plan, call->b, span_b(&now), call->scratch, w->b, b));
        }
        wide.a = &a;
        wide.b = b;
        wide.bias = NULL;
        if (plan->g.out != MT_F32) {
            wide.c = &sum;
            wide.beta = 0.0f;
            wide.ldc = call->n;
            wide.stride_c = call->m * call->n;
        }
        MT_TRY(plan->provider->run(plan->dev, &plan->asked, plan->state, &wide));
    }
    return plan->g.out != MT_F32 ? finish(plan, call, &sum, bias) : MOTLEY_OK;
}

int mt_gemm_wide_run(const struct mt_gemm_plan *plan, const struct mt_gemm_call *call,
                     const struct mt_tensor *bias)
{
    const struct mt_gemm_wide *w = &plan->wide;
    struct mt_tensor a = *call->a, b = *call->b, c = *call->c, b32 = {.buf = NULL};
    struct mt_gemm_call part = *call;
    int64_t total = w->sliced == 'm' ? call->m : call->k;

    if (w->sliced == 0 || total <= w->slice) {
        return multiply(plan, call, bias, &b32);
    }
    part.a = &a;
    part.b = &b;
    part.c = &c;
    for (int64_t first = 0; first < total; first += w->slice) {
        int64_t rows = total - first < w->slice ? total - first : w->slice;

        *(w->sliced == 'm' ? &part.m : &part.k) = rows;
        MT_TRY(multiply(plan, &part, bias, &b32));
        a.off += (uint64_t)(rows * call->lda);
        if (w->sliced == 'm') {
            c.off += (uint64_t)(rows * call->ldc);
        } else {
            b.off += (uint64_t)(rows * call->ldb);
            b32.buf = NULL;
            part.beta = 1.0f;
        }
    }
    return MOTLEY_OK;
}
