/* late.c -- figures of steps, read late; see train.h. */
#include "train/train.h"

#include "device/buf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define DEPTH 2   /* steps that may be under way while the host goes on */
#define BYTES (MT_SCALARS * sizeof(float))

struct mt_late {
    struct mt_session *s;
    int count, head;             /* steps not yet read; the oldest of them */
    struct entry {
        struct mt_buf *buf;      /* one each, so that no copy meets an open window */
        struct mt_window *window;
        int apart;               /* the figures are in v: no device has them */
        float v[MT_SCALARS];
        struct mt_late_step step;
    } entry[DEPTH];
};

int mt_late_new(struct mt_session *s, struct mt_late **out)
{
    struct mt_late *l = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW(s->ctx, &l));
    l->s = s;
    for (int i = 0; i < DEPTH; i++) {
        MT_TRY_OR(fail, mt_buf_new(s->job->dev, BYTES, "figures of a step", &l->entry[i].buf));
        MT_TRY_OR(fail, mt_window_new(s->job->dev, BYTES, "figures of a step",
                                      &l->entry[i].window));
    }
    *out = l;
    return MOTLEY_OK;
fail:
    mt_late_free(l);
    return st;
}

void mt_late_free(struct mt_late *l)
{
    if (l == NULL) {
        return;
    }
    for (int i = DEPTH - 1; i >= 0; i--) {
        mt_window_free(l->entry[i].window);
        mt_buf_free(l->entry[i].buf);
    }
    mt_free(l->s->ctx, l);
}

int mt_late_apart(const struct mt_session *s, float v[MT_SCALARS])
{
    const struct mt_dp *dp = s->train.par != NULL ? s->train.par->dp : NULL;
    const float *stats = dp != NULL ? mt_dp_apart(dp) : NULL;

    if (stats == NULL) {
        return 0;
    }
    memset(v, 0, MT_SCALARS * sizeof *v);
    v[MT_SCALAR_LOSS] = stats[MT_STAT_LOSS];
    v[MT_SCALAR_COUNT] = stats[MT_STAT_COUNT];
    v[MT_SCALAR_HITS] = stats[MT_STAT_HITS];
    return 1;
}

static int fetch(struct entry *e)
{
    if (!e->apart) {
        MT_TRY(mt_window_wait(e->window));
        memcpy(e->v, mt_window_host(e->window), sizeof e->v);
        MT_TRY(mt_window_close(e->window));
    }
    return MOTLEY_OK;
}

int mt_late_pop(struct mt_late *l, struct mt_late_step *old, int *have)
{
    struct entry *e = &l->entry[l->head];
    const float *v = e->v;

    *have = l->count > 0;
    if (l->count == 0) {
        return MOTLEY_OK;
    }
    MT_TRY(fetch(e));
    l->head = (l->head + 1) % DEPTH;
    l->count--;
    *old = e->step;
    old->loss = (double)v[MT_SCALAR_LOSS];
    old->terms = (double)v[MT_SCALAR_COUNT];
    old->hits = (double)v[MT_SCALAR_HITS];
    old->norm = (double)v[MT_SCALAR_NORM];
    old->loss_scale = (double)v[MT_SCALAR_LOSS_SCALE];
    old->skipped = (double)v[MT_SCALAR_SKIPPED];
    if (!isfinite(old->loss) || !isfinite(old->norm)) {
        /* All processes have the same sums and read them at the same place. */
        l->s->job->shared = 1;
        MT_FAIL(MOTLEY_ENUM, "the loss of step %" PRId64 " is not a number any more (%g): lower "
                "optimizer.lr or set train.clip_norm%s; MOTLEY_DEBUG=nan names the layer",
                old->step, old->loss,
                old->loss_scale > 0 ? ", or take precision=bf16, which reaches as far as fp32"
                                    : "");
    }
    if (old->loss_scale > 0 && old->loss_scale <= MT_LOSS_SCALE_LEAST) {
        l->s->job->shared = 1;
        MT_FAIL(MOTLEY_ENUM, "gradients up to step %" PRId64 " are beyond the numbers of fp16 "
                "whatever the loss is multiplied by: take precision=bf16", old->step);
    }
    return MOTLEY_OK;
}

int mt_late_over(struct mt_late *l, int *over)
{
    const struct entry *last = &l->entry[(l->head + l->count + DEPTH - 1) % DEPTH];

    *over = 1;
    if (l->count > 0 && !last->apart) {
        MT_TRY(mt_window_ready(last->window, over));
    }
    return MOTLEY_OK;
}

int mt_late_push(struct mt_late *l, const struct mt_late_step *now, struct mt_late_step *old,
                 int *have)
{
    struct entry *e;

    *have = 0;
    if (l->count == DEPTH) {
        MT_TRY(mt_late_pop(l, old, have));
    }
    e = &l->entry[(l->head + l->count) % DEPTH];
    e->step = *now;
    e->apart = mt_late_apart(l->s, e->v);
    if (!e->apart) {
        MT_TRY(mt_buf_copy(e->buf, 0, l->s->store->scalar, 0, BYTES));
        MT_TRY(mt_window_open(e->window, e->buf, 0, BYTES, MT_WINDOW_READ));
    }
    l->count++;
    return MOTLEY_OK;
}
