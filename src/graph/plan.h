/* plan.h -- where every value lies, computed from the list of steps before anything is allocated.
 *
 * The life of an item is from the first to the last step that touches it, so micro-batches,
 * pipeline depth and recomputation are accounted for by construction. Items are placed largest
 * first at the lowest offset that is free during their life, in as few arenas as the device's
 * limit of one allocation allows. */
#ifndef MT_GRAPH_PLAN_H
#define MT_GRAPH_PLAN_H

#include "graph/step.h"

#include <stddef.h>

#define MT_MAXARENA 64

struct mt_placed {
    struct mt_item item;
    uint64_t bytes;
    int first, last;             /* steps */
    int arena;                   /* -1: from outside (graph inputs) */
    uint64_t off;                /* bytes */
};

struct mt_plan {
    struct mt_ctx *ctx;
    int n;
    struct mt_placed *placed;
    int narena;
    uint64_t arena_bytes[MT_MAXARENA];
    int micros;
    int *index[MT_ITEM_KINDS];   /* (id, micro, again) to placed; see mt_plan_find */
    int ids[MT_ITEM_KINDS];
};

struct mt_plan_opt {
    uint64_t max_alloc;          /* bytes of one arena; 0: no limit */
    int hold;                    /* root value that must survive to the end (output), -1: none */
    int micros;
};

/* g must be bound if operations need scratch (prepare says how much). Gives *out. */
int mt_plan_new(const struct mt_graph *g, const struct mt_steps *steps,
                const struct mt_plan_opt *opt, struct mt_plan **out);
void mt_plan_free(struct mt_plan *p);

/* NULL: not in the plan. */
const struct mt_placed *mt_plan_find(const struct mt_plan *p, struct mt_item item);
uint64_t mt_plan_bytes(const struct mt_plan *p);      /* all arenas */
uint64_t mt_plan_unshared(const struct mt_plan *p);   /* what it would be without reuse */

#endif
