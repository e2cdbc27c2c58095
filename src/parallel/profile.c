/* profile.c -- what the ranks have measured, as one cluster that is the same on all of them.
 *
 * Every rank gives its times to all, and all make the same kinds from the same numbers: a rank
 * joins the first kind whose device has its name and limits, whose first rank measured as many
 * sizes, and whose time of a whole step at the largest of them differs by less than
 * MT_PROFILE_ALIKE; the times of a kind are the mean of its ranks. Curves must not fall (noise can
 * make one): neighbours that do are replaced by their mean (pool adjacent violators: M. Ayer et
 * al., 1955). */
#include "parallel/profile.h"

#include "base/ctx.h"
#include "base/hash.h"
#include "device/dev.h"
#include "optim/optim.h"
#include "parallel/paths.h"
#include "parallel/probe.h"
#include "parallel/rehearse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NEVER 1e6   /* seconds of one sample of a node that does not fit a device by itself */

/* What a rank tells of itself: numbers in front of its times. */
enum { MEMORY, ALLOC, UPDATE, ADD, DONE, READS, READ_ROWS,
       READ_SECONDS = READ_ROWS + MT_CURVE_POINTS, NUMBERS = READ_SECONDS + MT_CURVE_POINTS };

struct gathering {
    struct mt_ctx *ctx;
    const struct mt_graph *whole;
    const struct mt_probe *probe;   /* own; sizes are the same on all ranks */
    int nlike;                      /* nodes that are like no earlier one */
    int count;                      /* numbers of one rank */
    double *all;                    /* of all ranks */
    struct mt_profile *p;
    int *first, *ranks;             /* of each kind: its first rank, how many it has */
};

/* ---- the network's name -------------------------------------------------------------- */

static void add_spec(struct mt_hash *h, const struct mt_spec *s)
{
    int64_t dim[MT_MAXRANK + 2] = {(int64_t)s->dtype, s->rank};

    for (int i = 0; i < s->rank; i++) {
        dim[i + 2] = i == 0 && s->batched ? -1 : s->dim[i];
    }
    mt_hash_add(h, dim, sizeof dim);
}

int mt_profile_network(const struct mt_graph *whole, const struct mt_optim *optim, char *out,
                       size_t room)
{
    struct mt_hash *h = NULL;
    char text[MT_HASH_TEXT];

    MT_TRY(mt_hash_new(whole->ctx, &h));
    mt_hash_add_text(h, optim != NULL ? optim->kind->name : "");
    for (int i = 0; i < whole->nnode; i++) {
        const struct mt_node *n = &whole->node[i].n;

        mt_hash_add_text(h, n->name);
        mt_hash_add_text(h, n->op->name);
        for (int k = 0; k < n->nin; k++) {
            add_spec(h, &n->in[k]);
        }
        for (int k = 0; k < n->nout; k++) {
            add_spec(h, &n->out[k]);
        }
        for (int k = 0; k < n->nparam; k++) {
            add_spec(h, &n->param[k].spec);
        }
    }
    mt_hash_text(h, text);
    mt_hash_free(h);
    snprintf(out, room, "%s", text);
    return MOTLEY_OK;
}

/* ---- gathering ----------------------------------------------------------------------- */

static const double *numbers(const struct gathering *g, int rank)
{
    return g->all + (size_t)rank * (size_t)g->count;
}

/* Time of like node number `at` (counted among them). */
static double time_at(const struct gathering *g, int rank, int at, int work, int size)
{
    return numbers(g, rank)[NUMBERS + (at * MT_WORKS + work) * g->probe->nsize + size];
}

static int gather(struct gathering *g, struct mt_comm *comm, struct mt_dev *dev,
                  const struct mt_profile_opt *opt)
{
    const struct mt_probe *p = g->probe;
    double *mine = NULL;
    int st = MOTLEY_OK, at = NUMBERS;

    g->count = NUMBERS + g->nlike * MT_WORKS * p->nsize;
    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(g->ctx, g->count, &mine)));
    MT_TRY_OR(done, mt_comm_agree(comm, MT_NEW_N(g->ctx, g->count * g->p->cluster->nrank,
                                                 &g->all)));
    mine[MEMORY] = opt->memory_bytes;
    mine[ALLOC] = (double)mt_dev_info(dev)->max_alloc_bytes;
    mine[UPDATE] = p->update;
    mine[ADD] = p->add;
    mine[READS] = opt->read.n;
    memcpy(mine + READ_ROWS, opt->read.rows, sizeof opt->read.rows);
    memcpy(mine + READ_SECONDS, opt->read.seconds, sizeof opt->read.seconds);
    mine[DONE] = p->done;
    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS && p->like[i] == i; w++) {
            memcpy(mine + at, p->time[i][w], (size_t)p->nsize * sizeof *mine);
            at += p->nsize;
        }
    }
    MT_TRY_OR(done, mt_comm_allgather(comm, mine, (size_t)g->count * sizeof *mine, g->all));
done:
    mt_free(g->ctx, mine);
    return st;
}

void mt_profile_seat(const struct mt_dev *dev, const struct mt_comm *comm, double slow,
                     struct mt_profile_seat *out)
{
    const struct mt_dev_info *d = mt_dev_info(dev);
    char more[32] = "";

    memset(out, 0, sizeof *out);   /* compared and sent as bytes */
    if (slow > 1) {
        snprintf(more, sizeof more, ", slow %g", slow);
    }
    snprintf(out->host, sizeof out->host, "%s", mt_comm_info(comm)->host);
    snprintf(out->device, sizeof out->device, "%.64s, %u unit%s%s", d->name, d->units,
             d->units == 1 ? "" : "s", more);
}

/* ---- kinds --------------------------------------------------------------------------- */

/* Seconds of a whole step of one rank at a size that it measured. */
static double whole_time(const struct gathering *g, int rank, int size)
{
    const double *n = numbers(g, rank);
    double sum = n[UPDATE] * (double)g->whole->param_size;

    for (int at = 0; at < g->nlike; at++) {
        for (int w = 0; w < MT_WORKS; w++) {
            double t = time_at(g, rank, at, w, size);

            sum += isnan(t) ? 0 : t;
        }
    }
    return sum;
}

static int alike(const struct gathering *g, int a, int b)
{
    const double *x = numbers(g, a), *y = numbers(g, b);
    int size = (int)x[DONE] - 1;
    double s, t;

    if (strcmp(g->p->seat[a].device, g->p->seat[b].device) != 0 || x[MEMORY] != y[MEMORY] ||
        x[ALLOC] != y[ALLOC] || x[DONE] != y[DONE] || size < 0) {
        return 0;
    }
    s = whole_time(g, a, size);
    t = whole_time(g, b, size);
    return fabs(s - t) <= MT_PROFILE_ALIKE * (s < t ? s : t);
}

static void find_kinds(struct gathering *g)
{
    struct mt_cluster *c = g->p->cluster;

    for (int r = 0; r < c->nrank; r++) {
        int k = 0;

        while (k < c->nkind && !alike(g, g->first[k], r)) {
            k++;
        }
        if (k == c->nkind) {
            g->first[c->nkind++] = r;
        }
        g->ranks[k]++;
        c->kind[r] = k;
    }
}

/* Mean over the ranks of kind k. */
static double mean(const struct gathering *g, int k, int number)
{
    const struct mt_cluster *c = g->p->cluster;
    double sum = 0;

    for (int r = 0; r < c->nrank; r++) {
        sum += c->kind[r] == k ? numbers(g, r)[number] : 0;
    }
    return sum / g->ranks[k];
}

/* The points of a curve that were measured, not falling. */
static void make_curve(const struct gathering *g, int k, int at, int work, struct mt_curve *out)
{
    const struct mt_probe *p = g->probe;
    int done = (int)numbers(g, g->first[k])[DONE], pool[MT_CURVE_POINTS], n = 0;
    double value[MT_CURVE_POINTS];

    memset(out, 0, sizeof *out);
    for (int i = 0; i < done; i++) {
        double t = mean(g, k, NUMBERS + (at * MT_WORKS + work) * p->nsize + i);

        if (isnan(t)) {
            break;   /* too large for the device from here on */
        }
        out->rows[out->n++] = p->rows[i];
        value[n] = t;
        pool[n++] = 1;
        while (n > 1 && value[n - 2] > value[n - 1]) {
            value[n - 2] = (value[n - 2] * pool[n - 2] + value[n - 1] * pool[n - 1]) /
                           (pool[n - 2] + pool[n - 1]);
            pool[n - 2] += pool[n - 1];
            n--;
        }
    }
    for (int i = 0, to = 0; i < n; i++) {
        for (int j = 0; j < pool[i]; j++) {
            out->seconds[to++] = value[i];
        }
    }
    if (out->n == 0) {
        out->n = 1;
        out->rows[0] = 1;
        out->seconds[0] = NEVER;
    }
}

static int make_kind(struct gathering *g, int k)
{
    struct mt_cluster *c = g->p->cluster;
    struct mt_speed *s = &c->speed[k];
    const double *n = numbers(g, g->first[k]);
    const struct mt_probe *p = g->probe;
    int at = 0;

    snprintf(s->name, sizeof s->name, "%.95s", g->p->seat[g->first[k]].device);
    s->memory_bytes = n[MEMORY];
    s->max_alloc_bytes = n[ALLOC];
    s->update = mean(g, k, UPDATE);
    s->add = mean(g, k, ADD);
    s->read.n = (int)n[READS];
    for (int i = 0; i < s->read.n; i++) {
        s->read.rows[i] = n[READ_ROWS + i];
        s->read.seconds[i] = mean(g, k, READ_SECONDS + i);
    }
    MT_TRY(MT_NEW_N(g->ctx, p->nnode, &s->curve));
    for (int i = 0; i < p->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            if (p->like[i] == i) {
                make_curve(g, k, at, w, &s->curve[i][w]);
            } else {
                s->curve[i][w] = s->curve[p->like[i]][w];
            }
        }
        at += p->like[i] == i;
    }
    return MOTLEY_OK;
}

static int conclude(struct gathering *g)
{
    struct mt_cluster *c = g->p->cluster;

    MT_TRY(MT_NEW_N(g->ctx, c->nrank, &g->first));
    MT_TRY(MT_NEW_N(g->ctx, c->nrank, &g->ranks));
    find_kinds(g);
    MT_TRY(MT_NEW_N(g->ctx, c->nkind, &c->speed));
    for (int k = 0; k < c->nkind; k++) {
        MT_TRY(make_kind(g, k));
    }
    return MOTLEY_OK;
}

/* ---- the whole ----------------------------------------------------------------------- */

int mt_profile_new(struct mt_ctx *ctx, int nrank, struct mt_profile **out)
{
    struct mt_profile *p = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &p));
    p->ctx = ctx;
    MT_TRY_OR(fail, MT_NEW_N(ctx, nrank, &p->seat));
    MT_TRY_OR(fail, MT_NEW(ctx, &p->cluster));
    p->cluster->ctx = ctx;
    p->cluster->nrank = nrank;
    MT_TRY_OR(fail, MT_NEW_N(ctx, nrank, &p->cluster->kind));
    MT_TRY_OR(fail, MT_NEW_N(ctx, nrank, &p->cluster->host));
    *out = p;
    return MOTLEY_OK;
fail:
    mt_profile_free(p);
    return st;
}

void mt_profile_free(struct mt_profile *p)
{
    if (p != NULL) {
        mt_cluster_free(p->cluster);
        mt_free(p->ctx, p->seat);
        mt_free(p->ctx, p);
    }
}

static void free_gathering(struct gathering *g)
{
    mt_free(g->ctx, g->ranks);
    mt_free(g->ctx, g->first);
    mt_free(g->ctx, g->all);
}

int mt_profile_measure(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                       const struct mt_optim *optim, const struct mt_profile_opt *given,
                       struct mt_profile **out)
{
    struct mt_profile_opt opt = *given;
    struct gathering g = {.ctx = whole->ctx, .whole = whole};
    struct mt_profile_seat seat;
    struct mt_probe *probe = NULL;
    double begun = mt_comm_clock();
    int st;

    opt.seconds = opt.seconds > 0 ? opt.seconds : MT_PROFILE_SECONDS;
    MT_TRY(mt_comm_agree(comm, mt_profile_new(g.ctx, mt_comm_info(comm)->size, &g.p)));
    MT_TRY_OR(fail, mt_comm_agree(comm, mt_profile_network(whole, optim, g.p->network,
                                                           sizeof g.p->network)));
    g.p->most = opt.most;
    mt_profile_seat(dev, comm, opt.slow, &seat);
    MT_TRY_OR(fail, mt_comm_allgather(comm, &seat, sizeof seat, g.p->seat));
    MT_TRY_OR(fail, mt_paths_measure(g.ctx, comm, g.p->cluster));
    MT_TRY_OR(fail, mt_probe_new(dev, comm, whole, optim, &opt, &probe));
    g.probe = probe;
    for (int i = 0; i < probe->nnode; i++) {
        g.nlike += probe->like[i] == i;
    }
    MT_TRY_OR(fail, gather(&g, comm, dev, &opt));
    MT_TRY_OR(fail, mt_comm_agree(comm, conclude(&g)));
    MT_TRY_OR(fail, mt_rehearse(dev, comm, whole, optim, &opt, g.p->cluster));
    g.p->seconds = mt_comm_clock() - begun;
    MT_TRY_OR(fail, mt_comm_bcast(comm, &g.p->seconds, sizeof g.p->seconds, 0));
    free_gathering(&g);
    mt_probe_free(probe);
    *out = g.p;
    return MOTLEY_OK;
fail:
    free_gathering(&g);
    mt_probe_free(probe);
    mt_profile_free(g.p);
    return st;
}

void mt_profile_step(const struct mt_cluster *c, const struct mt_graph *whole, int rank,
                     struct mt_curve *out)
{
    const struct mt_speed *s = &c->speed[c->kind[rank]];

    memset(out, 0, sizeof *out);
    for (int i = 0; i < whole->nnode; i++) {
        for (int w = 0; w < MT_WORKS; w++) {
            if (s->curve[i][w].n > out->n) {
                *out = s->curve[i][w];   /* of the most points: all others are part of them */
            }
        }
    }
    for (int k = 0; k < out->n; k++) {
        out->seconds[k] = s->step + s->update * (double)whole->param_size +
                          mt_curve_at(&s->read, out->rows[k]);
        for (int i = 0; i < whole->nnode; i++) {
            for (int w = 0; w < MT_WORKS; w++) {
                out->seconds[k] += mt_curve_at(&s->curve[i][w], out->rows[k]);
            }
        }
    }
}
