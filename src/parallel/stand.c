/* stand.c -- a part of a network set up to be measured: the whole graph with some nodes held, a
 * list in which each step is a work of its own, memory that holds ordinary numbers. */
#include "parallel/stand.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"
#include "optim/optim.h"

#include <string.h>

#define NOISE 4096   /* numbers that fill memory, again and again */

void mt_stand_fini(struct mt_stand *s)
{
    mt_buf_free(s->batch.y.buf);
    mt_buf_free(s->batch.x.buf);
    mt_exec_free(s->exec);
    mt_par_free(s->par);
    mt_store_free(s->store);
    mt_share_free(s->share);
    mt_steps_fini(&s->steps);
    mt_graph_free(s->graph);
    memset(s, 0, sizeof *s);
}

/* Backward with data and parameter gradients as steps of their own. */
static int split_backward(const struct mt_graph *g, struct mt_steps *l)
{
    struct mt_steps out = {.ctx = l->ctx};
    int st = MOTLEY_OK;

    for (int i = 0; i < l->n; i++) {
        struct mt_step s = l->step[i];

        if (s.kind == &mt_step_bwd && s.want == (MT_WANT_DATA | MT_WANT_PARAM)) {
            s.want = MT_WANT_DATA;
            MT_TRY_OR(fail, mt_steps_add(&out, &s));
            s.want = MT_WANT_PARAM;
        }
        MT_TRY_OR(fail, mt_steps_add(&out, &s));
    }
    MT_TRY_OR(fail, mt_order_acc(g, 1, &out));
    mt_steps_fini(l);
    *l = out;
    return MOTLEY_OK;
fail:
    mt_steps_fini(&out);
    return st;
}

/* Small numbers of both signs: zeros make some devices faster than they will be, numbers that
 * become smaller than floats can be make others slower. */
static int fill_noise(struct mt_ctx *ctx, struct mt_buf *buf)
{
    uint64_t bytes = mt_buf_bytes(buf) / 4 * 4, there = NOISE * sizeof(float);
    float *noise = NULL;
    int st = MOTLEY_OK;

    there = bytes < there ? bytes : there;
    MT_TRY(MT_NEW_N(ctx, NOISE, &noise));
    for (int i = 0; i < NOISE; i++) {
        noise[i] = 0.001f * (float)(i * 7919 % 61 - 30);
    }
    st = mt_buf_write(buf, 0, there, noise);
    mt_free(ctx, noise);
    for (; there < bytes && st == MOTLEY_OK; there *= 2) {
        st = mt_buf_copy(buf, there, buf, 0, bytes - there < there ? bytes - there : there);
    }
    return st;
}

int mt_stand_plan(const struct mt_graph *whole, double rows, int lo, int hi, struct mt_stand *s)
{
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = 1};
    char *hold = NULL;

    MT_TRY(mt_graph_rebatch(whole, (int64_t)rows, &s->graph));
    MT_TRY(MT_NEW_N(whole->ctx, whole->nnode + 1, &hold));
    for (int i = lo; i < hi; i++) {
        hold[i] = 1;
    }
    mt_graph_hold(s->graph, hold);
    mt_free(whole->ctx, hold);
    MT_TRY(mt_order(s->graph, &order, &s->steps));
    return split_backward(s->graph, &s->steps);
}

/* Whether the part fits the device, before scratch is known; *fits. */
static int count(const struct mt_optim *optim, const struct mt_profile_opt *o, int micros,
                 struct mt_stand *s, int *fits)
{
    const struct mt_value *x = &s->graph->value[s->graph->x], *y = &s->graph->value[s->graph->y];
    struct mt_plan_opt opt = {.hold = -1, .micros = micros};
    struct mt_plan *plan = NULL;
    uint64_t bytes = mt_store_bytes(s->graph, optim);

    MT_TRY(mt_plan_new(s->graph, &s->steps, &opt, &plan));
    bytes += mt_plan_bytes(plan) +
             (uint64_t)micros * (mt_spec_bytes(&x->spec) + mt_spec_bytes(&y->spec));
    mt_plan_free(plan);
    *fits = o->memory_bytes <= 0 || (double)bytes <= o->memory_bytes;
    return MOTLEY_OK;
}

/* grad: as mt_store_new. */
static int alloc(struct mt_dev *dev, const struct mt_optim *optim, const struct mt_profile_opt *o,
                 double rows, int micros, void *grad, struct mt_stand *s)
{
    struct mt_exec_opt opt = {.mode = MT_TRAIN, .micros = micros, .optim = optim,
                              .slow = o->slow};
    struct mt_graph *g = s->graph;

    MT_TRY(mt_store_new(dev, g, optim, grad, &s->store));
    MT_TRY(mt_exec_new(dev, g, s->store, &opt, &s->steps, &s->exec));
    s->batch = (struct mt_batch){.rows = (int64_t)rows, .lr = 1e-6};
    s->batch.x.spec = g->value[g->x].spec;
    s->batch.y.spec = g->value[g->y].spec;
    s->batch.x.spec.dim[0] *= micros;
    s->batch.y.spec.dim[0] *= micros;
    MT_TRY(mt_buf_new(dev, mt_spec_bytes(&s->batch.x.spec), "samples", &s->batch.x.buf));
    MT_TRY(mt_buf_new(dev, mt_spec_bytes(&s->batch.y.spec), "targets", &s->batch.y.buf));
    MT_TRY(fill_noise(g->ctx, s->batch.x.buf));
    MT_TRY(mt_buf_fill(s->batch.y.buf, 0, mt_spec_bytes(&s->batch.y.spec), 0));
    MT_TRY(fill_noise(g->ctx, s->store->param));
    for (int a = 0; a < s->exec->narena; a++) {
        MT_TRY(fill_noise(g->ctx, s->exec->arena[a]));
    }
    return MOTLEY_OK;
}

int mt_stand_new(struct mt_dev *dev, const struct mt_graph *whole, const struct mt_optim *optim,
                 const struct mt_profile_opt *opt, double rows, int lo, int hi,
                 struct mt_stand *s, int *fits)
{
    int st;

    MT_TRY(mt_stand_plan(whole, rows, lo, hi, s));
    MT_TRY(count(optim, opt, 1, s, fits));
    if (*fits) {
        st = alloc(dev, optim, opt, rows, 1, NULL, s);
        if (st == MOTLEY_OK) {
            /* what is built or copied at the first launch */
            st = mt_exec_run(s->exec, &s->batch);
            st = st == MOTLEY_OK ? mt_dev_finish(dev) : st;
        }
        *fits = st != MOTLEY_EDEV;   /* scratch, or what others hold of the device */
        MT_TRY(*fits ? st : MOTLEY_OK);
    }
    return MOTLEY_OK;
}

/* Graph and list of this rank; *fits. */
static int plan_job(const struct mt_graph *whole, const struct mt_optim *optim,
                    const struct mt_profile_opt *o, const struct mt_layout *layout, int rank,
                    int64_t rows, int micros, struct mt_stand *s, int *fits)
{
    struct mt_order_opt order = {.mode = MT_TRAIN, .micros = micros};
    struct mt_graph *part = NULL;

    MT_TRY(mt_graph_rebatch(whole, (rows + micros - 1) / micros, &part));
    MT_TRY(mt_par_graph(part, layout, rank, &s->graph));
    MT_TRY(mt_par_order(s->graph, layout, rank, &order, &s->steps));
    return count(optim, o, micros, s, fits);
}

int mt_stand_job(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                 const struct mt_optim *optim, const struct mt_profile_opt *o,
                 const struct mt_layout *layout, int64_t rows, int micros, struct mt_stand *s,
                 int *fits)
{
    struct mt_par_opt opt = {.bucket_bytes = o->bucket_bytes, .bf16 = o->bf16, .sums = 1,
                             .layout = layout, .whole = whole};
    int rank = mt_comm_info(comm)->rank, st;
    uint64_t bytes;

    st = plan_job(whole, optim, o, layout, rank, rows, micros, s, fits);
    MT_TRY(mt_comm_agree(comm, st));
    bytes = mt_store_grad_bytes(s->graph);
    MT_TRY(mt_share_new(whole->ctx, comm, bytes, &s->share));
    if (*fits) {
        opt.share = s->share;
        MT_TRY(mt_par_new(dev, comm, s->graph, &opt, &s->steps, &s->par));
        st = alloc(dev, optim, o, (double)rows, micros, mt_share_of(s->share, rank, 0, bytes), s);
        *fits = st != MOTLEY_EDEV;
        MT_TRY(*fits ? st : MOTLEY_OK);
        if (*fits) {
            s->exec->pass = s->par;
            s->exec->idle = mt_par_idle;
        }
    }
    return MOTLEY_OK;
}
