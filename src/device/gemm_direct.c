/* gemm_direct.c -- own matrix product for small shapes on CPU devices: cl/gemm_direct.cl, which
 * multiplies straight from the matrices.
 *
 * `tile` packs what it multiplies; where a matrix is read only a few times (few rows or columns of
 * the result, a short sum) packing costs as much as the product. What is chosen here is only how
 * rows and columns are divided into groups; the division changes no bit. */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "device/dev_impl.h"
#include "device/launch.h"

#include <stdio.h>

#define GROUP_WORK 32768             /* multiplications that a group should at least have */
#define ONE_GROUP  (1 << 20)         /* a core does so many before another one is awake, and C
                                        stays in its cache: docs/performance.md */
/* Of a product that it suits, multiplications: docs/performance.md. */
#define MOST_DOTS    (1 << 24)
#define MOST_COLUMNS (1 << 26)

struct state {
    struct mt_kernel *kernel;        /* borrowed */
    int64_t rows, cols;              /* of a tile */
};

/* Both matrices with k contiguous: the form with vectors along k. */
static int dots(const struct mt_gemm *g)
{
    return !g->trans_a && g->trans_b;
}

static int can(struct mt_dev *dev, const struct mt_gemm *g)
{
    return dev->info.type == MT_DEV_CPU && mt_gemm_vector(dev) > 0 && !(g->trans_a && g->trans_b);
}

static int suits(struct mt_dev *dev, const struct mt_gemm *g)
{
    (void)dev;
    return (double)g->m * (double)g->n * (double)g->k <= (dots(g) ? MOST_DOTS : MOST_COLUMNS);
}

static void version(char *buf, size_t room)
{
    mt_gemm_kernel_version("gemm_direct", buf, room);
}

static void release(struct mt_dev *dev, void *state)
{
    mt_free(mt_dev_ctx(dev), state);
}

static int prepare(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes)
{
    int width = mt_gemm_vector(dev), rows = mt_gemm_rows(width), st;
    struct state *s = NULL;
    char defines[160];

    MT_CHECK(*form == '\0', MOTLEY_EUNSUP, "gemm provider direct has no form %s", form);
    MT_TRY(MT_NEW(mt_dev_ctx(dev), &s));
    if (dots(g)) {
        s->rows = width >= 8 ? 4 : 2;   /* DP, DQ of the kernel */
        s->cols = width / s->rows;
    } else {
        s->rows = rows;
        s->cols = 2 * width;
    }
    snprintf(defines, sizeof defines, "-DVW=%d -DMR=%d -DRT=%d -DDOTS=%d -DACT=%d -DPLUS=%d", width,
             rows, g->trans_a, dots(g), mt_gemm_act_define(g->act), g->after != 0);
    MT_TRY_OR(fail, mt_kernel_get(dev, "gemm_direct", "gemm_direct", defines, &s->kernel));
    *state = s;
    *scratch_bytes = 0;
    return MOTLEY_OK;
fail:
    release(dev, s);
    return st;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t clamp(int64_t x, int64_t most)
{
    return x < 1 ? 1 : x > most ? most : x;
}

static int run(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call)
{
    const struct state *s = state;
    int64_t rows = ceil_div(call->m, s->rows), cols = ceil_div(call->n, s->cols);
    int64_t work = call->m * call->n * call->k;
    int64_t want = work < ONE_GROUP ? 1 : clamp(work / GROUP_WORK, 4 * (int64_t)dev->info.units);
    int64_t np = rows >= cols ? clamp(want, rows) : clamp(want / cols, rows);
    int64_t nq = clamp(want / np, cols);
    struct mt_gemm_at at = mt_gemm_at(g, call, 0);

    at.np = (uint32_t)np;
    at.nq = (uint32_t)nq;
    MT_TRY(mt_gemm_launch(dev, s->kernel, (uint64_t)(np * nq * g->batch), call, 0, &at));
    return MOTLEY_OK;
}

const struct mt_gemm_provider mt_gemm_direct = {
    .name = "direct",
    .fuses = MT_GEMM_FUSE_BIAS | MT_GEMM_FUSE_ACT | MT_GEMM_FUSE_RESIDUAL,
    .version = version,
    .can = can,
    .suits = suits,
    .prepare = prepare,
    .run = run,
    .release = release,
};
