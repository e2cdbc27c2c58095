/* show.c -- prints what a session will do: network, steps, memory, shares. */
#include "train/outlook.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct out {
    mt_show_fn *fn;
    void *arg;
};

static void line(const struct out *o, const char *fmt, ...) MT_PRINTF(2, 3);

static void line(const struct out *o, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->fn(o->arg, text);
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static const char *init_name(const struct mt_init *init)
{
    static const char *const name[] = {"zeros", "constant", "normal", "uniform", "xavier_normal",
                                       "xavier_uniform", "kaiming_normal", "kaiming_uniform",
                                       "orthogonal"};

    return (size_t)init->kind < sizeof name / sizeof *name ? name[init->kind] : "?";
}

static struct mt_cost cost_of(const struct mt_node *n)
{
    struct mt_cost c = {0};

    if (n->op->cost != NULL) {
        n->op->cost(n, &c);
    }
    return c;
}

static void show_network(const struct out *o, const struct mt_graph *g)
{
    double flop = 0;

    for (int i = 0; i < g->nnode; i++) {
        struct mt_cost c = cost_of(&g->node[i].n);

        flop += c.fwd_flop + c.data_flop + c.param_flop;
    }
    line(o, "network: %d layers, %" PRId64 " weights; a step of %" PRId64 " samples: %.3g Gflop",
         g->nnode, mt_graph_weights(g), g->value[g->x].spec.dim[0], flop / 1e9);
}

static void show_layers(const struct out *o, const struct mt_graph *g)
{
    for (int i = 0; i < g->nnode; i++) {
        const struct mt_node *n = &g->node[i].n;
        char shape[128] = "";

        if (n->nout > 0) {
            mt_spec_print(&n->out[0], shape, sizeof shape);
        }
        line(o, "  %-18s %-30s %10.3g Mflop forward", n->name, shape, cost_of(n).fwd_flop / 1e6);
    }
    for (int i = 0; i < g->nparam + g->nstate; i++) {
        const struct mt_gparam *p = i < g->nparam ? &g->param[i] : &g->state[i - g->nparam];
        char shape[128];

        line(o, "  %-26s %-24s [%" PRIu64 ", %" PRIu64 ")  %s%s", p->name,
             mt_spec_print(&p->desc.spec, shape, sizeof shape), p->range.lo, p->range.hi,
             init_name(&p->desc.init), i < g->nparam ? p->desc.decay ? ", decays" : "" : ", state");
    }
}

static void show_steps(const struct out *o, const struct mt_task *t, const char *what,
                       int in_full)
{
    const struct mt_steps *l = t->exec != NULL ? &t->exec->steps : &t->steps;
    char text[256];

    line(o, "steps of %s: %d", what, l->n);
    for (int i = 0; in_full && i < l->n; i++) {
        mt_step_print(t->graph, &l->step[i], text, sizeof text);
        line(o, "  %4d  %s", i, text);
    }
}

static void show_arenas(const struct out *o, const struct mt_task *t, const char *what)
{
    const struct mt_plan *p = t->exec != NULL ? t->exec->plan : t->plan;

    if (p == NULL) {
        return;
    }
    line(o, "memory of %s: %d values in %d arena%s, %.2f MiB (%.2f MiB without reuse)", what, p->n,
         p->narena, p->narena == 1 ? "" : "s", mib(mt_plan_bytes(p)), mib(mt_plan_unshared(p)));
    for (int i = 0; p->narena > 1 && i < p->narena; i++) {
        line(o, "  arena %d: %.2f MiB", i, mib(p->arena_bytes[i]));
    }
}

/* "linear1 .. relu2", the layers of a stage. */
static void stage_words(const struct mt_session *s, const struct mt_stage *st, char *buf,
                        size_t room)
{
    const struct mt_gnode *node = s->whole->node;

    if (st->hi - st->lo > 1) {
        snprintf(buf, room, "%s .. %s", node[st->lo].n.name, node[st->hi - 1].n.name);
    } else {
        snprintf(buf, room, "%s", node[st->lo].n.name);
    }
}

static void show_replica(const struct out *o, const struct mt_session *s, int r)
{
    const struct mt_replica *rep = &s->layout->replica[r];
    int64_t lo, hi;
    char text[64], words[160];

    mt_share(s->batch, s->shares, s->layout->nreplica, r, &lo, &hi);
    snprintf(text, sizeof text, "%" PRId64 " .. %" PRId64, lo, hi - 1);
    if (rep->nstage == 1 && rep->stage[0].nrank == 1) {
        line(o, "  rank %d: %" PRId64 " samples (%s)", rep->stage[0].rank[0], hi - lo,
             hi > lo ? text : "none");
        return;
    }
    line(o, "  replica %d: %" PRId64 " samples (%s) in %d micro-batches", r, hi - lo,
         hi > lo ? text : "none", rep->micros);
    for (int k = 0; k < rep->nstage; k++) {
        const struct mt_stage *st = &rep->stage[k];

        stage_words(s, st, words, sizeof words);
        for (int p = 0; p < st->nrank; p++) {
            line(o, "    stage %d, rank %d: %s%s", k, st->rank[p], words,
                 st->nrank > 1 ? ", divided" : "");
        }
    }
}

static void show_shares(const struct out *o, const struct mt_session *s)
{
    struct mt_seat_in seat;

    line(o, "shares of a batch of %" PRId64 " samples:", s->batch);
    for (int r = 0; r < s->layout->nreplica; r++) {
        show_replica(o, s, r);
    }
    for (int r = 0; r < s->job->info->size; r++) {
        mt_layout_where(s->layout, r, &seat);
        if (seat.replica < 0 && s->rival != NULL && s->rival[r] >= 0) {
            line(o, "  rank %d: left out: rank %d does more with the same processors", r,
                 s->rival[r]);
        } else if (seat.replica < 0) {
            line(o, "  rank %d: left out", r);
        }
    }
    if (s->data != NULL) {
        int64_t n = s->data->train->n;

        line(o, "data: %" PRId64 " samples to train on, %" PRId64 " held out; %" PRId64
             " steps an epoch, the last with %" PRId64 " samples", n,
             s->data->held != NULL ? s->data->held->n : 0, (n + s->batch - 1) / s->batch,
             n % s->batch != 0 ? n % s->batch : s->batch);
    }
}

/* How the planner came to the layout, and what it expects of it. */
static void show_planned(const struct out *o, const struct mt_planned *p)
{
    const struct mt_forecast *f = p->forecast;

    line(o, "planned from measured speed: %.3g ms a step, %.4g samples/s, %.0f %% idle, "
            "%.3g ms of sums not hidden", 1e3 * f->step, f->rate, 100 * f->bubble,
         1e3 * f->exposed);
    for (int i = 0; i < p->nreason; i++) {
        line(o, "  %s", p->reason[i]);
    }
}

int mt_session_show(const struct mt_session *s, int in_full, mt_show_fn *fn, void *arg)
{
    const struct out o = {fn, arg};
    const struct mt_task *t = s->train.graph != NULL  ? &s->train
                              : s->eval.graph != NULL ? &s->eval
                                                      : &s->predict;

    line(&o, "device: %s, %u of %u compute units", s->job->taken.name, s->job->taken.units,
         s->job->taken.all_units);
    show_network(&o, s->whole);
    if (in_full) {
        show_layers(&o, s->whole);
    }
    if (s->train.graph != NULL) {
        if (s->planned != NULL) {
            show_planned(&o, s->planned);
        }
        show_shares(&o, s);
        show_steps(&o, &s->train, "training", in_full);
        show_arenas(&o, &s->train, "training");
    }
    if (s->eval.graph != NULL) {
        show_steps(&o, &s->eval, "evaluation", in_full);
        show_arenas(&o, &s->eval, "evaluation");
    }
    line(&o, "memory of rank %d: weights%s %.2f MiB, all %.2f MiB, the device has %.0f MiB%s",
         s->job->info->rank, s->optim != NULL ? ", gradients and optimizer" : "",
         mib(mt_store_bytes(t->graph, s->optim)), mib(s->need_bytes), mib(s->have_bytes),
         s->have_bytes != 0 && s->need_bytes > s->have_bytes ? ": IT DOES NOT FIT" : "");
    return MOTLEY_OK;
}

/* ---- the profile --------------------------------------------------------------------- */

static void show_kind(const struct out *o, const struct mt_session *s, int kind)
{
    const struct mt_cluster *c = s->profile->cluster;
    const struct mt_speed *v = &c->speed[kind];
    struct mt_curve step = {0};
    char ranks[128] = "";
    size_t used = 0;

    for (int r = 0; r < c->nrank && used + 16 < sizeof ranks; r++) {
        if (c->kind[r] == kind) {
            mt_profile_step(c, s->whole, r, &step);
            used += (size_t)snprintf(ranks + used, sizeof ranks - used, "%s%d",
                                     used > 0 ? ", " : "", r);
        }
    }
    line(o, "  kind %d: %s, rank %s", kind, v->name, ranks);
    line(o, "    memory %.1f MiB, largest allocation %.1f MiB", v->memory_bytes / (1 << 20),
         v->max_alloc_bytes / (1 << 20));
    line(o, "    update %.3g ns a weight, a gradient added to another %.3g ns", 1e9 * v->update,
         1e9 * v->add);
    if (v->read.n > 0) {
        double rows = v->read.rows[v->read.n - 1];

        line(o, "    reading %.0f samples takes %.3g us from it", rows,
             1e6 * mt_curve_at(&v->read, rows));
    }
    for (int k = 0; k < step.n; k++) {
        line(o, "    %6.0f samples: %10.4g ms a step, %10.4g samples/s", step.rows[k],
             1e3 * step.seconds[k], step.rows[k] / step.seconds[k]);
    }
    line(o, "    us a sample:          forward  data gradient  parameter gradient");
    for (int i = 0; i < s->whole->nnode; i++) {
        double us[MT_WORKS];

        for (int w = 0; w < MT_WORKS; w++) {
            const struct mt_curve *curve = &v->curve[i][w];

            us[w] = 1e6 * curve->seconds[curve->n - 1] / curve->rows[curve->n - 1];
        }
        line(o, "    %-18s %10.3g %14.3g %19.3g", s->whole->node[i].n.name, us[MT_WORK_FWD],
             us[MT_WORK_DATA], us[MT_WORK_PARAM]);
    }
}

static void show_path(const struct out *o, const char *what, const struct mt_path *p)
{
    line(o, "  %s: %.3g us, %.3g MB/s", what, 1e6 * p->latency, p->bandwidth / 1e6);
}

static void show_rehearsed(const struct out *o, const struct mt_cluster *c)
{
    for (int i = 0; i < c->sums.n; i++) {
        line(o, "  sums of all gradients: %.3g us of a step of %.0f samples a rank",
             1e6 * c->sums.seconds[i], c->sums.rows[i]);
    }
    if (c->hand.bandwidth > 0) {
        show_path(o, "a message between stages takes from each of its ranks", &c->hand);
    }
    if (c->inner.bandwidth > 0) {
        show_path(o, "sums inside divided layers", &c->inner);
    }
}

/* What is to be expected of the layout that training would have. */
static int show_forecast(const struct mt_session *s, mt_show_fn *fn, void *arg)
{
    struct mt_load *load = NULL;
    struct mt_planned *plan = NULL;
    int st;

    MT_TRY_OR(done, mt_load_new(s->whole, s->optim,
                                s->config->parallel.wire == MT_WIRE_BF16, &load));
    MT_TRY_OR(done, mt_planner_given(load, s->profile->cluster, s->layout, s->batch, &plan));
    MT_TRY_OR(done, mt_outlook_print(s->whole, load, s->profile->cluster, plan, fn, arg));
done:
    mt_planned_free(plan);
    mt_load_free(load);
    return st;
}

int mt_session_show_profile(struct mt_session *s, mt_show_fn *fn, void *arg)
{
    const struct out o = {fn, arg};
    const struct mt_profile *p = NULL;
    char what[64];

    MT_TRY(mt_session_profile(s, &p));
    line(&o, "profile: %s%s, %.2f s of measuring", s->config->parallel.profile != NULL ? "from "
         : "measured", s->config->parallel.profile != NULL ? s->config->parallel.profile : "",
         p->seconds);
    for (int k = 0; k < p->cluster->nkind; k++) {
        show_kind(&o, s, k);
    }
    if (p->cluster->nrank > 1) {
        line(&o, "messages, one direction:");
        show_path(&o, "ranks of one host", &p->cluster->local);
        show_rehearsed(&o, p->cluster);
    }
    for (int i = 0; p->cluster->between != NULL && i < p->cluster->nhost * p->cluster->nhost; i++) {
        int a = i / p->cluster->nhost, b = i % p->cluster->nhost;

        if (a < b) {
            snprintf(what, sizeof what, "host %d and host %d", a, b);
            show_path(&o, what, &p->cluster->between[i]);
        }
    }
    return show_forecast(s, fn, arg);
}
