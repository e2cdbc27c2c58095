/* later.c -- what stages and divided layers will do, refused until pipe.c and tp.c are here: they
 * take these functions over, and this file goes. */
#include "parallel/par.h"

#include "base/ctx.h"

int mt_pipe_order(const struct mt_graph *g, const struct mt_layout *l, int rank,
                  const struct mt_order_opt *opt, struct mt_steps *out)
{
    (void)l, (void)rank, (void)opt;
    *out = (struct mt_steps){.ctx = g->ctx};
    MT_FAIL(MOTLEY_EUNSUP, "stages are not supported by this version");
}

int mt_pipe_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
                const struct mt_graph *g, const struct mt_layout *l, const struct mt_steps *steps,
                struct mt_pipe **out)
{
    (void)dev, (void)comm, (void)wire, (void)g, (void)l, (void)steps;
    *out = NULL;
    return MOTLEY_OK;
}

void mt_pipe_free(struct mt_pipe *p)
{
    (void)p;
}

int mt_tp_rewrite(const struct mt_graph *whole, const struct mt_layout *l, int rank,
                  struct mt_graph **out)
{
    (void)l, (void)rank;
    return mt_graph_rebatch(whole, whole->value[whole->x].spec.dim[0], out);
}

int mt_tp_slice(const struct mt_graph *whole, const struct mt_layout *l, int replica, int node,
                int param, int part, struct mt_slice *out)
{
    const struct mt_spec *full = &whole->param[whole->node[node].param[param]].full;

    (void)l, (void)replica, (void)part;
    *out = (struct mt_slice){.held = 1, .hi = full->rank > 0 ? full->dim[0] : 1};
    return MOTLEY_OK;
}

int mt_tp_new(struct mt_dev *dev, struct mt_comm *comm, struct mt_wire *wire,
              const struct mt_graph *g, const struct mt_layout *l, struct mt_steps *steps,
              struct mt_tp **out)
{
    (void)dev, (void)comm, (void)wire, (void)g, (void)l, (void)steps;
    *out = NULL;
    return MOTLEY_OK;
}

void mt_tp_free(struct mt_tp *t)
{
    (void)t;
}
