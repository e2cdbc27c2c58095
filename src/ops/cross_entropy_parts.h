/* cross_entropy_parts.h -- cross entropy of which several processes have some classes each. */
#ifndef MT_OPS_CROSS_ENTROPY_PARTS_H
#define MT_OPS_CROSS_ENTROPY_PARTS_H

#include "ops/op.h"

extern const struct mt_op mt_cross_entropy_figures, mt_cross_entropy_judge;

/* Options of both, by position: of C classes the node has [first, first + count). */
enum { MT_CE_SMOOTHING, MT_CE_FIRST, MT_CE_COUNT, MT_CE_CLASSES };

#endif
