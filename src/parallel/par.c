/* par.c -- the passes of one executor, in their order; see par.h. */
#include "parallel/par.h"

#include "base/ctx.h"

int mt_par_new(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *g,
               const struct mt_par_opt *opt, struct mt_steps *steps, struct mt_par **out)
{
    struct mt_dp_opt dp = {.bucket_bytes = opt->bucket_bytes, .clip = opt->clip};
    struct mt_par *p = NULL;
    int st;

    MT_TRY(MT_NEW(g->ctx, &p));
    p->ctx = g->ctx;
    MT_TRY_OR(fail, mt_wire_new(g->ctx, comm, &p->wire));
    if (mt_comm_info(comm)->size > 1) {
        MT_TRY_OR(fail, mt_dp_new(dev, comm, p->wire, g, &dp, steps, &p->dp));
    }
    *out = p;
    return MOTLEY_OK;
fail:
    mt_par_free(p);
    return st;
}

void mt_par_free(struct mt_par *p)
{
    if (p == NULL) {
        return;
    }
    mt_dp_free(p->dp);
    mt_wire_free(p->wire);
    mt_free(p->ctx, p);
}

int mt_par_idle(struct mt_exec *x, double seconds)
{
    const struct mt_par *p = x->pass;

    return mt_wire_idle(p->wire, seconds);
}
