/* store.h -- parameters, gradients, optimizer state and running state of one process, on its
 * device: a flat space each, with the same coordinates.
 *
 * Parameter i of the graph is [lo, hi) in all of them; it starts at a multiple of MT_FLAT_ALIGN
 * elements, and the gap is zero and stays zero. One word a block of MT_FLAT_ALIGN elements names
 * its group (weight decay or none), so that one kernel updates any range. Where the graph stores
 * values narrower than f32, operations read working copies of the weights in the same coordinates,
 * which updates write with the weights. Behind the parameters
 * the gradient space has MT_STATS elements for loss, count and hits: they are summed over
 * micro-batches and ranks like any gradient. */
#ifndef MT_GRAPH_STORE_H
#define MT_GRAPH_STORE_H

#include "graph/graph.h"
#include "optim/optim.h"

struct mt_dev;
struct mt_buf;

struct mt_store {
    struct mt_ctx *ctx;
    struct mt_dev *dev;
    uint64_t size;                        /* elements of the flat space: a multiple of the align */
    uint64_t state_size;
    enum mt_dtype storage;                /* of the working copies */
    struct mt_buf *param;                 /* size: master weights, f32 */
    struct mt_buf *work;                  /* size: as operations read them; f32: param itself */
    struct mt_kernel *narrow;             /* param to work; NULL: f32 */
    struct mt_buf *grad;                  /* size + MT_FLAT_ALIGN: stats at [size, size+MT_STATS) */
    struct mt_buf *slot[MT_OPTIM_SLOTS];  /* size each; those that the optimizer has */
    struct mt_buf *state;                 /* state_size; NULL if none */
    struct mt_buf *group;                 /* u32 a block */
    struct mt_buf *scalar;                /* MT_SCALARS f32: see optim.h */
};

/* optim NULL: weights only (evaluation, prediction). Memory is checked against the device before
 * any of it is allocated. grad: memory of the caller for the gradients, mt_store_grad_bytes long,
 * which is used where the device can (mt_buf_new_at); NULL: none. Gives *out. */
int mt_store_new(struct mt_dev *dev, const struct mt_graph *g, const struct mt_optim *optim,
                 void *grad, struct mt_store **out);
uint64_t mt_store_grad_bytes(const struct mt_graph *g);
void mt_store_free(struct mt_store *s);
uint64_t mt_store_bytes(const struct mt_graph *g, const struct mt_optim *optim);

/* fp16: the factor of the loss, taken down to a power of two, and the steps since it changed. */
int mt_store_set_loss_scale(struct mt_store *s, double scale, double streak);
int mt_store_get_loss_scale(struct mt_store *s, double *scale, double *streak);   /* waits */

/* After weights were written by anything but an update: the working copies. Enqueued. */
int mt_store_refresh(struct mt_store *s);

/* Fresh weights by the initialisers, the same everywhere: a function of seed and name. */
int mt_store_init(struct mt_store *s, const struct mt_graph *g, uint64_t seed);

/* init.c: n = product of spec's dimensions numbers into dst. */
int mt_init_fill(struct mt_ctx *ctx, const struct mt_param *p, const char *name, uint64_t seed,
                 float *dst);

#endif
