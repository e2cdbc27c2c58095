/* optim.h -- optimizers: one fused kernel over any range of the flat space.
 *
 * An optimizer is one file that ends in descriptors, named in src.mk. Its kernel reads the
 * gradient *sum* and the device scalar MT_SCALAR_SCALE (1 / global count, times clipping), so no
 * host needs to know the count before the update runs. Update kernels use only operations that
 * every conforming device rounds alike (docs/numerics.md), so replicas on different devices stay
 * equal to the last bit. */
#ifndef MT_OPTIM_OPTIM_H
#define MT_OPTIM_OPTIM_H

#include "base/tree.h"
#include "device/launch.h"
#include "device/tensor.h"

struct mt_ctx;
struct mt_dev;
struct mt_buf;
struct mt_optim;

#define MT_OPTIM_SLOTS 3   /* the most numbers of state per parameter */

/* store.scalar: SCALE multiplies gradients; NORM is the global gradient norm of the step (after
 * division by the count); LOSS, COUNT, HITS: copies of the sums, for the report. With fp16: losses
 * multiply their gradient by LOSS_SCALE, a power of two; STREAK: steps without overflow since it
 * changed; SKIPPED: steps that overflowed; such a step has SCALE and NORM 0. */
enum { MT_SCALAR_SCALE = 0, MT_SCALAR_NORM, MT_SCALAR_LOSS, MT_SCALAR_COUNT, MT_SCALAR_HITS,
       MT_SCALAR_LOSS_SCALE, MT_SCALAR_STREAK, MT_SCALAR_SKIPPED, MT_SCALARS };

#define MT_LOSS_SCALE_LEAST 0x1p-24   /* LEAST of cl/update.cl: it gets no smaller */

struct mt_optim_args {
    struct mt_buf *param, *grad, *slot[MT_OPTIM_SLOTS], *group, *scalar;
    struct mt_buf *work;       /* working copies of weights; read where storage is not f32 */
    struct mt_range range;     /* multiples of MT_FLAT_ALIGN (64) */
    int64_t step;              /* steps done before this one: 0, 1, ... */
    double lr;                 /* of this step */
};

struct mt_optim_kind {
    const char *name, *doc;
    const struct mt_attr *attrs;          /* the first is lr; weight_decay where it has one */
    int nslots;
    const char *const *slots;             /* names for checkpoints: "exp_avg", ... */
    const char *file, *kernel, *defines;  /* function of cl/<file>.cl, built with defines; its
                                             arguments: parameters (and working copies),
                                             gradients, slots, group, scalar, count, then
                                             `numbers` floats: */
    int numbers;
    void (*fill)(const struct mt_optim *o, int64_t step, double lr, float *num);
};

#define MT_OPTIM_NUMBERS 8

struct mt_optim {
    struct mt_ctx *ctx;
    const struct mt_optim_kind *kind;
    union mt_attr_val attr[MT_MAXATTR];
    struct mt_kernel *kernel;             /* after bind */
    int vector;                           /* elements of one work-item: V of cl/motley.clh */
    enum mt_dtype storage;                /* of working copies; set it before bind; 0: f32 */
};

extern const struct mt_optim_kind *const mt_optims[];   /* ends in NULL; generated from src.mk */

/* t: the `optimizer` section: {type: adam, lr: 1e-3, ...}; NULL: the defaults of sgd. */
int mt_optim_new(struct mt_ctx *ctx, const struct mt_tree *t, struct mt_optim **out);
void mt_optim_free(struct mt_optim *o);
int mt_optim_bind(struct mt_optim *o, struct mt_dev *dev);
/* Likewise with 1 or 16 elements a work-item: same bits, another speed. */
int mt_optim_bind_vector(struct mt_optim *o, struct mt_dev *dev, int vector);
/* Enqueues the update of one range. */
int mt_optim_update(const struct mt_optim *o, struct mt_dev *dev,
                    const struct mt_optim_args *a);
double mt_optim_lr(const struct mt_optim *o);           /* the base rate */

#endif
