/* later.c -- what stages will do, refused until pipe.c is here: it takes these functions over, and
 * this file goes. */
#include "parallel/par.h"

#include "base/ctx.h"

int mt_pipe_order(const struct mt_graph *g, const struct mt_layout *l, int rank,
                  const struct mt_order_opt *opt, struct mt_steps *out)
{
    struct mt_seat_in seat;

    mt_layout_where(l, rank, &seat);
    if (seat.replica >= 0 && l->replica[seat.replica].nstage == 1) {
        return mt_order(g, opt, out);
    }
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
