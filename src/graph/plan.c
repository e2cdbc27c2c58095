/* plan.c -- lives of values from the list of steps, and their places in arenas.
 *
 * Greedy by size: the largest item first, at the lowest offset that no item with an overlapping
 * life occupies (M. Sekiyama et al.: Profile-guided memory optimization for deep neural networks,
 * 2018, compare such heuristics with the optimum: within a few percent on training graphs). */
#include "graph/plan.h"

#include "base/ctx.h"

#include <inttypes.h>
#include <stdlib.h>

#define ALIGN_BYTES 256   /* of each item: a cache line on every device known, and vload16 */

static int *slot_of(const struct mt_plan *p, struct mt_item it)
{
    return &p->index[it.kind][2 * (it.id * p->micros + it.micro) + it.again];
}

const struct mt_placed *mt_plan_find(const struct mt_plan *p, struct mt_item item)
{
    int at = *slot_of(p, item);

    return at < 0 ? NULL : &p->placed[at];
}

static uint64_t item_bytes(const struct mt_graph *g, struct mt_item it)
{
    struct mt_spec spec;

    switch (it.kind) {
    case MT_ITEM_VALUE:
        return mt_spec_bytes(&g->value[it.id].spec);
    case MT_ITEM_GRAD:
        spec = g->value[it.id].spec;
        spec.dtype = g->value[it.id].grad_dtype;
        return mt_spec_bytes(&spec);
    case MT_ITEM_SAVED:
        return mt_spec_bytes(&g->node[it.id / MT_MAXPARAM].n.saved[it.id % MT_MAXPARAM]);
    default:
        return g->node[it.id / MT_SCRATCHES].n.scratch_bytes;
    }
}

static int touch(struct mt_plan *p, const struct mt_graph *g, struct mt_item it, int step,
                 int *room)
{
    int *slot = slot_of(p, it);

    if (*slot < 0) {
        uint64_t bytes = item_bytes(g, it);

        if (p->n == *room) {
            MT_TRY(MT_RESIZE(p->ctx, *room + 64, &p->placed));
            *room += 64;
        }
        *slot = p->n++;
        p->placed[*slot] = (struct mt_placed){
            .item = it,
            .bytes = (bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES,
            .first = step,
            .arena = it.kind == MT_ITEM_VALUE && (it.id == g->x || it.id == g->y) ? -1 : 0};
    }
    p->placed[*slot].last = step;
    return MOTLEY_OK;
}

static int collect(struct mt_plan *p, const struct mt_graph *g, const struct mt_steps *steps,
                   int hold)
{
    int room = 0;

    for (int i = 0; i < steps->n; i++) {
        struct mt_uses u = {0};

        if (steps->step[i].kind->uses == NULL) {
            continue;
        }
        steps->step[i].kind->uses(g, &steps->step[i], &u);
        for (int k = 0; k < u.n; k++) {
            MT_TRY(touch(p, g, u.item[k], i, &room));
        }
    }
    for (int i = 0; i < p->n && hold >= 0; i++) {
        if (p->placed[i].item.kind == MT_ITEM_VALUE && p->placed[i].item.id == hold) {
            p->placed[i].last = steps->n;
        }
    }
    return MOTLEY_OK;
}

static int larger_first(const void *a, const void *b)
{
    const struct mt_placed *const *x = a, *const *y = b;

    if ((*x)->bytes != (*y)->bytes) {
        return (*x)->bytes < (*y)->bytes ? 1 : -1;
    }
    return *x < *y ? -1 : 1;   /* earlier in the list first: the plan is deterministic */
}

/* Lowest offset in `arena` where `it` fits among the `n` placed before it. */
static uint64_t lowest_gap(struct mt_placed *const *placed, int n, const struct mt_placed *it,
                           int arena)
{
    uint64_t at = 0;

    for (int moved = 1; moved;) {
        moved = 0;
        for (int i = 0; i < n; i++) {
            const struct mt_placed *o = placed[i];

            if (o->arena == arena && o->first <= it->last && it->first <= o->last &&
                o->off < at + it->bytes && at < o->off + o->bytes) {
                at = o->off + o->bytes;
                moved = 1;
            }
        }
    }
    return at;
}

static int place(struct mt_plan *p, uint64_t max_alloc)
{
    struct mt_placed **sorted = NULL;
    int n = 0, st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(p->ctx, p->n + 1, &sorted));
    for (int i = 0; i < p->n; i++) {
        if (p->placed[i].arena == 0 && p->placed[i].bytes > 0) {
            sorted[n++] = &p->placed[i];
        }
    }
    qsort(sorted, (size_t)n, sizeof *sorted, larger_first);
    for (int i = 0; i < n; i++) {
        struct mt_placed *it = sorted[i];
        int a;

        MT_CHECK_OR(end, max_alloc == 0 || it->bytes <= max_alloc, MOTLEY_EDEV,
                    "one tensor of the network needs %" PRIu64 " bytes, the device allows %" PRIu64
                    " in one allocation; lower train.batch or raise train.micro_batches",
                    it->bytes, max_alloc);
        for (a = 0; a < MT_MAXARENA; a++) {
            it->off = lowest_gap(sorted, i, it, a);
            if (max_alloc == 0 || it->off + it->bytes <= max_alloc) {
                break;
            }
        }
        MT_CHECK_OR(end, a < MT_MAXARENA, MOTLEY_EDEV,
                    "the plan needs more than %d allocations of %" PRIu64 " bytes; lower "
                    "train.batch or raise train.micro_batches", MT_MAXARENA, max_alloc);
        it->arena = a;
        p->narena = a + 1 > p->narena ? a + 1 : p->narena;
        if (it->off + it->bytes > p->arena_bytes[a]) {
            p->arena_bytes[a] = it->off + it->bytes;
        }
    }
end:
    mt_free(p->ctx, sorted);
    return st;
}

int mt_plan_new(const struct mt_graph *g, const struct mt_steps *steps,
                const struct mt_plan_opt *opt, struct mt_plan **out)
{
    struct mt_plan *p = NULL;
    int st;

    MT_TRY(MT_NEW(g->ctx, &p));
    p->ctx = g->ctx;
    p->micros = opt->micros;
    p->ids[MT_ITEM_VALUE] = p->ids[MT_ITEM_GRAD] = g->nvalue;
    p->ids[MT_ITEM_SAVED] = g->nnode * MT_MAXPARAM;
    p->ids[MT_ITEM_SCRATCH] = g->nnode * MT_SCRATCHES;
    for (int k = 0; k < MT_ITEM_KINDS; k++) {
        int n = 2 * p->ids[k] * p->micros;

        MT_TRY_OR(fail, MT_NEW_N(g->ctx, n + 1, &p->index[k]));
        for (int i = 0; i < n; i++) {
            p->index[k][i] = -1;
        }
    }
    MT_TRY_OR(fail, collect(p, g, steps, opt->hold));
    MT_TRY_OR(fail, place(p, opt->max_alloc));
    *out = p;
    return MOTLEY_OK;
fail:
    mt_plan_free(p);
    return st;
}

void mt_plan_free(struct mt_plan *p)
{
    if (p == NULL) {
        return;
    }
    for (int k = 0; k < MT_ITEM_KINDS; k++) {
        mt_free(p->ctx, p->index[k]);
    }
    mt_free(p->ctx, p->placed);
    mt_free(p->ctx, p);
}

uint64_t mt_plan_bytes(const struct mt_plan *p)
{
    uint64_t sum = 0;

    for (int a = 0; a < p->narena; a++) {
        sum += p->arena_bytes[a];
    }
    return sum;
}

uint64_t mt_plan_unshared(const struct mt_plan *p)
{
    uint64_t sum = 0;

    for (int i = 0; i < p->n; i++) {
        sum += p->placed[i].arena >= 0 ? p->placed[i].bytes : 0;
    }
    return sum;
}
