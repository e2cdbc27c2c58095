/* tp.h -- inside tp*.c: what becomes of each node of a stage whose layers are divided, and the
 * operations that stand between the parts. See tp.c. */
#ifndef MT_PARALLEL_TP_H
#define MT_PARALLEL_TP_H

#include "parallel/par.h"

/* ---- tp_split.c --------------------------------------------------------------------------- */

enum mt_tp_how {
    MT_TP_COMPLETE = 0,   /* computed by all parts, the same */
    MT_TP_COLUMNS,        /* complete input, divided output */
    MT_TP_EACH,           /* divided input, divided output */
    MT_TP_ROWS,           /* divided input, output summed over the parts */
    MT_TP_LOSS            /* divided input, judged with figures of all parts */
};

struct mt_tp_node {
    enum mt_tp_how how;
    int gather;           /* the divided result is put together behind it */
};

/* The stage of a replica that does a node; NULL: none. */
const struct mt_stage *mt_tp_stage(const struct mt_replica *r, int node);
int mt_tp_part(const struct mt_stage *st, int rank);   /* -1: it has none */
/* What becomes of the nodes of a stage: list[node - st->lo]. */
void mt_tp_divide(const struct mt_graph *whole, const struct mt_stage *st,
                  struct mt_tp_node *list);
/* One part of n columns of a stage. */
void mt_tp_columns(const struct mt_stage *st, int64_t n, int part, int64_t *lo, int64_t *hi);
/* One part of a divided node (not of MT_TP_EACH): its columns [lo, hi), options, parameters.
 * Returns 0 if it has no columns: then nothing is held. */
int mt_tp_shard(const struct mt_graph *whole, const struct mt_stage *st, int node,
                enum mt_tp_how how, int part, struct mt_division *at, struct mt_shard *out);

/* ---- tp_ops.c: nodes between the parts ----------------------------------------------------
 * They do what one process can do alone; the steps of tp.c do the rest before or behind it. */

/* y = x on every part; dx = sum of dy over the parts. */
extern const struct mt_op mt_tp_spread;
/* y = sum of x over the parts; dx = dy. */
extern const struct mt_op mt_tp_sum;
enum { MT_TP_SUM_DTYPE };        /* of y: enum mt_dtype */
/* y (.., total) = x (.., width) of all parts side by side; dx = own columns of dy. */
extern const struct mt_op mt_tp_gather;
enum { MT_TP_GATHER_LO, MT_TP_GATHER_WIDTH, MT_TP_GATHER_TOTAL,
       MT_TP_GATHER_EACH };   /* every part has so many; 0: by the widths of the stage */
/* The part of another rank, x (R, w), to its columns of a matrix (R, ldy), of which `y` is the
 * first; stored alike. */
int mt_tp_place(const struct mt_node *n, struct mt_dev *dev, const struct mt_tensor *y,
                int64_t ldy, const struct mt_tensor *x, int64_t R, int64_t w);
/* y (.., size) = 0, dx = 0: what stands for a part without columns. */
extern const struct mt_op mt_tp_zero;
enum { MT_TP_ZERO_SIZE,
       MT_TP_ZERO_BY };          /* MT_OP_COLUMNS, MT_OP_ROWS: how the layer is divided */

#endif
