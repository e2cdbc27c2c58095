/* gemm.h -- matrix products behind providers.
 *
 *     C[b] = drop(act(alpha op(A[b]) op(B[b]) + beta C[b] + bias)) + R[b]      b = 0..batch-1
 *
 *     op(A) (M, K), op(B) (K, N), C (M, N), row-major with leading dimensions lda, ldb, ldc in
 *     elements; strides between the matrices of a batch in elements; 0: dense, for the sizes of
 *     the run; bias (N). A, B and bias are stored as `in`, C and R as `out`; sums are f32, and
 *     C is rounded once, and again where something comes behind the activation.
 *
 * A provider (amx, pairs, narrow, direct, tile, clblast, plain) says whether it can do a product
 * on a device, and whether it suits it. For a product the fastest is taken that `motley tune`
 * found for this device and class of sizes; where it has not measured, the first in order that
 * suits. Either must have *passed its check on this device*: before its first use for a shape
 * it computes the product, its edges and smaller ones on random and on exact data, and the
 * result is compared with the same computed on the host in double, within the bound of the
 * sum's length. One that fails is dropped for this device with one warning. Verdicts are kept
 * in the cache folder. What a provider cannot fuse (bias, activation, what comes after it) is
 * done by a kernel behind it, so callers never see the difference. The same call gives the
 * same bits. */
#ifndef MT_DEVICE_GEMM_H
#define MT_DEVICE_GEMM_H

#include "device/tensor.h"

struct mt_dev;
struct mt_gemm_plan;

/* x > 0 ? x : 0; x > 0 ? x : slope x; 1 / (1 + exp(-x)); tanh(x). */
enum mt_gemm_act { MT_GEMM_NOACT = 0, MT_GEMM_RELU, MT_GEMM_LEAKY_RELU, MT_GEMM_SIGMOID,
                   MT_GEMM_TANH };

/* What comes behind the activation: elements are dropped, then a tensor is added. */
enum { MT_GEMM_DROP = 1, MT_GEMM_RESIDUAL = 2 };

struct mt_gemm_after {
    int drops;                        /* 0: nothing is dropped in this run (evaluation) */
    uint32_t key[2], first, limit;    /* random numbers as src/ops/dropout.c says: an element */
    uint64_t step;                    /* goes if its 32 bits are below limit; the others */
    float scale;                      /* are multiplied */
    int64_t rows;                     /* rows of C that are one sample */
    const struct mt_tensor *residual; /* lies as C */
};

struct mt_gemm {
    int trans_a, trans_b;
    int64_t m, n, k;              /* the largest that will be run */
    int64_t batch;                /* 0 means 1 */
    int64_t lda, ldb, ldc;
    int64_t stride_a, stride_b, stride_c;
    float alpha;
    int has_bias;
    enum mt_gemm_act act;
    float slope;                  /* of MT_GEMM_LEAKY_RELU */
    unsigned after;               /* MT_GEMM_DROP (batch 1), MT_GEMM_RESIDUAL */
    char varies;                  /* 'm', 'n', 'k': this size may be smaller at run time; 0 */
    enum mt_dtype in, out;        /* the same; or out f32 without bias and activation */
};

/* Chooses a provider, checks it, builds its programs. Set-up only: allocates and waits.
 * Gives *plan (mt_gemm_plan_free). */
int mt_gemm_plan_new(struct mt_dev *dev, const struct mt_gemm *g, struct mt_gemm_plan **plan);
void mt_gemm_plan_free(struct mt_gemm_plan *plan);

/* Scratch of the device that a run needs, in bytes. */
uint64_t mt_gemm_plan_scratch(const struct mt_gemm_plan *plan);
const char *mt_gemm_plan_provider(const struct mt_gemm_plan *plan);
const char *mt_gemm_plan_form(const struct mt_gemm_plan *plan);   /* "": the provider's choice */
/* What the plan was made for, as the provider sees it: batch is at least 1, after what it does. */
const struct mt_gemm *mt_gemm_plan_product(const struct mt_gemm_plan *plan);

/* Enqueues one product; size: the actual value of the dimension named by `varies` (ignored
 * otherwise; 0 rows of C is nothing to do, 0 terms gives act(beta C + bias)). beta: 0 or 1.
 * bias, scratch: may be NULL where the plan needs none. */
int mt_gemm_run(const struct mt_gemm_plan *plan, int64_t size, const struct mt_tensor *a,
                const struct mt_tensor *b, float beta, struct mt_tensor *c,
                const struct mt_tensor *bias, const struct mt_tensor *scratch);

/* The same for a product with `after`. */
int mt_gemm_run_after(const struct mt_gemm_plan *plan, int64_t size, const struct mt_tensor *a,
                      const struct mt_tensor *b, float beta, struct mt_tensor *c,
                      const struct mt_tensor *bias, const struct mt_tensor *scratch,
                      const struct mt_gemm_after *after);

/* Multiplications and additions of one run. */
double mt_gemm_flop(const struct mt_gemm *g);

/* Providers by name, in order of preference; ends in NULL. For bench, check and `motley info`. */
const char *const *mt_gemm_providers(void);
/* Sizes of tiles and blocks that a provider can be given on a device, as text: number 0 is "", its
 * own choice; NULL behind the last. */
const char *mt_gemm_form(struct mt_dev *dev, const char *provider, int i);
/* As mt_gemm_plan_new with one form of one provider, MOTLEY_EUNSUP if it cannot do this product
 * here. unchecked: skip the check (the caller is the check). */
int mt_gemm_plan_with(struct mt_dev *dev, const struct mt_gemm *g, const char *provider,
                      const char *form, int unchecked, struct mt_gemm_plan **plan);

#endif
