/* update.c -- loss statistics, gradient norm, scale and optimizer as steps.
 *
 *   stats    S += (loss, count, hits) of a micro-batch
 *   norm     P_k = sum of g^2 over the k-th part of a range     k = 0 .. MT_NORM_PARTS-1
 *   scale    scale = c / count,  c = min(1, clip / (|g| / count + 1e-6))   c = 1 without clipping
 *   update   the optimizer's kernel on a range
 *
 * With fp16 the loss is scaled: gradients in the flat space are S times too large. The scale step
 * divides by S and, if the norm says that some gradient is no number, makes the update do nothing
 * and S smaller (P. Micikevicius et al.: Mixed precision training, ICLR 2018). The norm is that of
 * gradients summed over all ranks, where an infinity of one is one of all, so all agree.
 *
 * All of it stays on the device: nobody waits for the count. */
#include "graph/update.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"

enum { STATS, NORM, SCALE };

static int run_stats(struct mt_exec *x, const struct mt_step *s)
{
    const struct mt_gnode *gn = &x->graph->node[s->node];
    const struct mt_placed *p = mt_plan_find(
        x->plan, mt_step_item(x->graph, s, MT_ITEM_VALUE, x->graph->value[gn->out[0]].root));
    int64_t lo, hi;
    int acc = x->mode == MT_EVAL || s->acc_in;

    mt_exec_micro(x, x->batch.rows, s->micro, &lo, &hi);
    if (lo == hi) {
        return acc ? MOTLEY_OK : mt_exec_clear(x);
    }
    return mt_launch(x->dev, x->kernel[STATS], mt_groups(1, MT_WG),
                     MT_ARGS(mt_t(&x->stats), mt_b(x->arena[p->arena], p->off / 4),
                             mt_u32((uint32_t)acc)));
}

static void stats_uses(const struct mt_graph *g, const struct mt_step *s, struct mt_uses *u)
{
    u->item[u->n++] = mt_step_item(g, s, MT_ITEM_VALUE, g->value[g->node[s->node].out[0]].root);
}

static int run_norm(struct mt_exec *x, const struct mt_step *s)
{
    uint64_t n = s->range.hi - s->range.lo;

    return mt_launch(x->dev, x->kernel[NORM], mt_groups(MT_NORM_PARTS, MT_WG),
                     MT_ARGS(mt_b(x->partial, 0), mt_b(x->store->grad, s->range.lo), mt_u64(n),
                             mt_u32(s->acc_in)));
}

static int run_scale(struct mt_exec *x, const struct mt_step *s)
{
    (void)s;
    return mt_launch(x->dev, x->kernel[SCALE], mt_groups(1, MT_WG),
                     MT_ARGS(mt_b(x->store->scalar, 0), mt_t(&x->stats), mt_b(x->partial, 0),
                             mt_u32(MT_NORM_PARTS), mt_f32((float)x->clip_norm)));
}

static int run_update(struct mt_exec *x, const struct mt_step *s)
{
    struct mt_optim_args a = {.param = x->store->param, .work = x->store->work,
                              .grad = x->store->grad, .group = x->store->group,
                              .scalar = x->store->scalar, .range = s->range,
                              .step = x->batch.step, .lr = x->batch.lr};

    for (int i = 0; i < MT_OPTIM_SLOTS; i++) {
        a.slot[i] = x->store->slot[i];
    }
    if (s->range.hi == s->range.lo) {
        return MOTLEY_OK;   /* a process without parameters */
    }
    return mt_optim_update(x->optim, x->dev, &a);
}

const struct mt_step_kind mt_step_stats = {.name = "stats", .run = run_stats, .uses = stats_uses,
                                         .computes = 1};
const struct mt_step_kind mt_step_norm = {.name = "norm", .run = run_norm, .computes = 1};
const struct mt_step_kind mt_step_scale = {.name = "scale", .run = run_scale, .computes = 1};
const struct mt_step_kind mt_step_update = {.name = "update", .run = run_update, .computes = 1};

int mt_update_bind(struct mt_exec *x)
{
    static const char *const func[] = {"update_stats", "update_norm", "update_scale"};

    for (int i = 0; i < 3; i++) {
        MT_TRY(mt_kernel_get(x->dev, "update", func[i],
                             x->store->storage == MT_FP16 ? mt_dtype_defines(MT_FP16) : "",
                             &x->kernel[i]));
    }
    x->stats.spec = mt_spec_new(MT_F32, 0, 1, &(int64_t){MT_STATS});
    if (x->mode == MT_TRAIN) {
        x->stats.buf = x->store->grad;
        x->stats.off = x->store->size;
        MT_TRY(mt_buf_new(x->dev, MT_NORM_PARTS * 4, "partial sums of the gradient norm",
                          &x->partial));
        return mt_buf_fill(x->partial, 0, MT_NORM_PARTS * 4, 0);
    }
    MT_TRY(mt_buf_new(x->dev, MT_FLAT_ALIGN * 4, "statistics of evaluation", &x->own_stats));
    x->stats.buf = x->own_stats;
    return mt_exec_clear(x);
}

void mt_update_unbind(struct mt_exec *x)
{
    mt_buf_free(x->own_stats);
    mt_buf_free(x->partial);
}
