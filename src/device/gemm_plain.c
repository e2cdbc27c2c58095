/* gemm_plain.c -- the provider that every device can run: cl/gemm.cl, no scratch.
 *
 * Chosen last. It is not made for speed; its one chain of fma in the order of k is the definition
 * that an exact mode can rely on. */
#include "device/gemm_impl.h"

#include "base/err.h"
#include "device/launch.h"

#define TILE  32   /* as in cl/gemm.cl */
#define GROUP 64

static int can(struct mt_dev *dev, const struct mt_gemm *g)
{
    (void)dev;
    (void)g;
    return 1;
}

static void version(char *buf, size_t room)
{
    mt_gemm_kernel_version("gemm", buf, room);
}

/* The state is the kernel itself, which the device owns. */
static int prepare(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes)
{
    struct mt_kernel *kernel;

    (void)g;
    MT_CHECK(*form == '\0', MOTLEY_EUNSUP, "gemm provider plain has no form %s", form);
    MT_TRY(mt_kernel_get(dev, "gemm", "gemm_plain", NULL, &kernel));
    *state = kernel;
    *scratch_bytes = 0;
    return MOTLEY_OK;
}

static int run(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call)
{
    uint64_t tiles_m = (uint64_t)(call->m + TILE - 1) / TILE;
    uint64_t tiles_n = (uint64_t)(call->n + TILE - 1) / TILE;

    MT_TRY(mt_launch(
        dev, state, mt_groups(tiles_m * tiles_n * (uint64_t)g->batch, GROUP),
        MT_ARGS(mt_t(call->c), mt_t(call->a), mt_t(call->b), mt_u32((uint32_t)call->m),
                mt_u32((uint32_t)call->n), mt_u32((uint32_t)call->k),
                mt_u64((uint64_t)call->lda), mt_u64((uint64_t)call->ldb),
                mt_u64((uint64_t)call->ldc), mt_u64((uint64_t)call->stride_a),
                mt_u64((uint64_t)call->stride_b), mt_u64((uint64_t)call->stride_c),
                mt_u32((uint32_t)g->trans_a), mt_u32((uint32_t)g->trans_b), mt_f32(g->alpha),
                mt_u32(call->beta != 0.0f), mt_u32((uint32_t)tiles_m),
                mt_u32((uint32_t)tiles_n))));
    return MOTLEY_OK;
}

static void release(struct mt_dev *dev, void *state)
{
    (void)dev;
    (void)state;
}

const struct mt_gemm_provider mt_gemm_plain = {
    .name = "plain",
    .fuses = 0,
    .version = version,
    .can = can,
    .prepare = prepare,
    .run = run,
    .release = release,
};
