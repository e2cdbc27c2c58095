/* gemm_impl.h -- what a GEMM provider is; shared by gemm*.c and their tests only.
 *
 * A provider computes C = act(alpha op(A) op(B) + beta C + bias), or as much of it as `fuses`
 * says; gemm.c does the rest with a kernel behind it. It never decides whether it is right:
 * gemm_check.c does. */
#ifndef MT_DEVICE_GEMM_IMPL_H
#define MT_DEVICE_GEMM_IMPL_H

#include "device/gemm.h"
#include "device/gemm_tune.h"

#include <stddef.h>

struct mt_kernel;

enum { MT_GEMM_FUSE_BIAS = 1, MT_GEMM_FUSE_ACT = 2,     /* ACT implies that bias comes first */
       MT_GEMM_HALF = 4,                                /* `in` and `out` may be bf16 and fp16 */
       MT_GEMM_FUSE_RESIDUAL = 8 };                     /* implies bias and activation */

/* One product with everything resolved: sizes as they are now, no zero left for "dense". */
struct mt_gemm_call {
    int64_t m, n, k;
    int64_t lda, ldb, ldc, stride_a, stride_b, stride_c;
    float beta;                          /* 0: C is not read */
    const struct mt_tensor *a, *b, *c;
    const struct mt_tensor *bias;        /* NULL: none, or not the provider's business */
    const struct mt_tensor *residual;    /* likewise */
    const struct mt_tensor *scratch;     /* as many bytes as prepare asked for; NULL if none */
};

struct mt_gemm_provider {
    const char *name;
    unsigned fuses;
    /* Changes when results may change: part of the key under which verdicts are kept. */
    void (*version)(char *buf, size_t room);
    /* Whether it is meant for this product on this device; cheap, no promise. */
    int (*can)(struct mt_dev *dev, const struct mt_gemm *g);
    /* Whether it is likely to be the fastest of those behind it in the table: where nothing was
     * measured, the first that suits is taken. NULL: always. */
    int (*suits)(struct mt_dev *dev, const struct mt_gemm *g);
    /* Forms besides "", its own choice, that tuning tries on this device: "kc=128,flip=1"; NULL
     * behind the last. NULL: it has none. */
    const char *(*forms)(const struct mt_dev *dev, int i);
    /* Builds what it needs and says how much scratch a run takes. g: batch at least 1.
     * MOTLEY_EUNSUP: not this product, or no such form. Gives *state (release; may stay NULL). */
    int (*prepare)(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes);
    /* Enqueues; m, n, k, batch are at least 1. */
    int (*run)(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call);
    void (*release)(struct mt_dev *dev, void *state);
};

extern const struct mt_gemm_provider mt_gemm_plain;
extern const struct mt_gemm_provider mt_gemm_direct;
extern const struct mt_gemm_provider mt_gemm_pairs;
extern const struct mt_gemm_provider mt_gemm_amx;
extern const struct mt_gemm_provider mt_gemm_narrow;
extern const struct mt_gemm_provider mt_gemm_tile;
extern const struct mt_gemm_provider mt_gemm_clblast;   /* only with MOTLEY_HAVE_CLBLAST */

/* gemm_half.c: the way round a provider that takes f32 only. Offsets in scratch, in f32. */
struct mt_gemm_wide {
    struct mt_kernel *widen, *finish;    /* NULL: the provider takes the operands as they are */
    uint64_t a, b, c;                    /* A, B, and the product where C is stored narrower */
    char sliced;                         /* 'm', 'k': that dimension goes in slices; 0: none */
    int64_t slice;                       /* rows or terms of one */
};

struct mt_gemm_plan {
    struct mt_dev *dev;
    struct mt_gemm g;                    /* batch at least 1, after: what the provider does of it */
    struct mt_gemm asked;                /* of the provider: g, or the same in f32 */
    struct mt_gemm_wide wide;
    const struct mt_gemm_provider *provider;
    char form[MT_GEMM_FORM];
    void *state;
    uint64_t scratch_bytes;
    struct mt_kernel *epilogue;          /* cl/gemm.cl: gemm_epilogue */
    unsigned follows;                    /* the other bits of `after` */
    struct mt_kernel *after;             /* cl/gemm_after.cl; NULL: nothing follows */
};

/* Verdicts of this process, hanging from the device (mt_dev.gemm_memo). */
struct mt_gemm_memo {
    struct mt_gemm_memo *next;
    const struct mt_gemm_provider *provider;
    char form[MT_GEMM_FORM];
    char key[33];
    int good;
};
void mt_gemm_memo_free(struct mt_dev *dev);

/* mt_gemm_plan_new with a table of its own (ends in NULL): the way in for tests that bring a
 * provider that computes nonsense. */
int mt_gemm_plan_among(struct mt_dev *dev, const struct mt_gemm *g,
                       const struct mt_gemm_provider *const *table, struct mt_gemm_plan **plan);

/* gemm_check.c: runs the plan's provider on a problem of the plan's shape and compares.
 * *good is 0 and why tells what was wrong; a failing device is an error. */
int mt_gemm_check(struct mt_dev *dev, const struct mt_gemm *g,
                  const struct mt_gemm_provider *provider, const char *form, int *good, char *why,
                  size_t room);

/* gemm_verdict.c: the same, asked once for each product and form. */
int mt_gemm_verify(struct mt_dev *dev, const struct mt_gemm *g, const struct mt_gemm_provider *p,
                   const char *form, int *good);
int mt_gemm_drop(struct mt_dev *dev, const struct mt_gemm_provider *p, const char *form);
int mt_gemm_dropped(struct mt_dev *dev, const struct mt_gemm_provider *p, const char *form);
/* Path of <cache folder>/<name>-<key>; 0 where nothing is kept (no folder, or kernels that are
 * being edited). */
int mt_gemm_cache_path(struct mt_dev *dev, const char *name, const char *key, char *path,
                       size_t room);

/* One number of a form "kc=128,flip=1": 1 and *value if it names `key`. */
int mt_gemm_form_number(const char *form, const char *key, int64_t *value);

/* gemm_half.c: before the provider's prepare, what to ask of it; behind it, the scratch; and a
 * run with the sizes of `call`, in place of the provider's. */
int mt_gemm_wide_init(struct mt_gemm_plan *plan);
void mt_gemm_wide_room(struct mt_gemm_plan *plan);
int mt_gemm_wide_run(const struct mt_gemm_plan *plan, const struct mt_gemm_call *call,
                     const struct mt_tensor *bias);

/* One plan without choice or check. */
int mt_gemm_plan_make(struct mt_dev *dev, const struct mt_gemm *g,
                      const struct mt_gemm_provider *provider, const char *form,
                      struct mt_gemm_plan **plan);

/* ---- what the providers for CPU devices share (gemm_cpu.c) --------------------------------- */

/* One launch of cl/gemm_tile.cl or cl/gemm_direct.cl, as struct gemm_at of cl/gemm.clh. */
struct mt_gemm_at {
    uint64_t c, r, s, bias, residual;
    uint64_t ldc, ldr, lds;
    uint64_t stride_c, stride_r, stride_s;
    uint32_t p, q, k, np, nq, block, add, last;
    float alpha, slope;
};

/* The call as the kernels see it; flip: R is op(B), S is op(A), X is C transposed. np, nq and block
 * are left to the caller. */
struct mt_gemm_at mt_gemm_at(const struct mt_gemm *g, const struct mt_gemm_call *call, int flip);
int mt_gemm_launch(struct mt_dev *dev, struct mt_kernel *kernel, uint64_t groups,
                   const struct mt_gemm_call *call, int flip, const struct mt_gemm_at *at);
/* Numbers in a register of the device: 16, 8 or 4; 0 where its compiler runs one number a lane
 * (llvmpipe says 1): such an implementation takes minutes to compile these kernels and gains
 * nothing. */
int mt_gemm_vector(const struct mt_dev *dev);
/* Rows of a register tile of two such vectors. */
int mt_gemm_rows(int width);
/* ACT of the kernels: activations that call functions are compiled in. */
int mt_gemm_act_define(enum mt_gemm_act act);

/* "gemm_tile" and a digest of its text (and of gemm.clh) as built in, for version(). */
void mt_gemm_kernel_version(const char *file, char *buf, size_t room);

#endif
