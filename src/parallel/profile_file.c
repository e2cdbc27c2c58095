/* profile_file.c -- a profile as JSON, back from it, and whether it is of this job. The form is in
 * docs/cluster.md; a file that was edited by hand is read as carefully as any other input. */
#include "parallel/profile.h"

#include "base/ctx.h"
#include "base/json.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FORMAT  "motley-profile"
#define VERSION 2

static const char *const work_key[MT_WORKS] = {"forward", "data", "parameters"};

/* ---- to text ------------------------------------------------------------------------- */

/* Numbers on one line. */
static void put_list(struct mt_json *j, const char *key, const double *x, int n)
{
    int indent = j->indent;

    mt_json_list(j, key);
    j->indent = 0;
    for (int i = 0; i < n; i++) {
        mt_json_num(j, NULL, x[i]);
    }
    mt_json_end(j);
    j->indent = indent;
}

static void put_path(struct mt_json *j, const char *key, const struct mt_path *p)
{
    int indent = j->indent;

    mt_json_map(j, key);
    j->indent = 0;
    mt_json_num(j, "latency", p->latency);
    mt_json_num(j, "bandwidth", p->bandwidth);
    mt_json_end(j);
    j->indent = indent;
}

static void put_curve(struct mt_json *j, const char *key, const struct mt_curve *c)
{
    mt_json_map(j, key);
    put_list(j, "samples", c->rows, c->n);
    put_list(j, "seconds", c->seconds, c->n);
    mt_json_end(j);
}

static void put_ranks(struct mt_json *j, const struct mt_profile *p)
{
    mt_json_list(j, "ranks");
    for (int r = 0; r < p->cluster->nrank; r++) {
        int indent = j->indent;

        mt_json_map(j, NULL);
        j->indent = 0;
        mt_json_int(j, "rank", r);
        mt_json_text(j, "host", p->seat[r].host);
        mt_json_int(j, "node", p->cluster->host[r]);
        mt_json_text(j, "device", p->seat[r].device);
        mt_json_int(j, "kind", p->cluster->kind[r]);
        mt_json_end(j);
        j->indent = indent;
    }
    mt_json_end(j);
}

static void put_layer(struct mt_json *j, const char *name, struct mt_curve *curve)
{
    const struct mt_curve *longest = &curve[0];

    for (int w = 1; w < MT_WORKS; w++) {
        longest = curve[w].n > longest->n ? &curve[w] : longest;
    }
    mt_json_map(j, NULL);
    mt_json_text(j, "name", name);
    put_list(j, "samples", longest->rows, longest->n);
    for (int w = 0; w < MT_WORKS; w++) {
        put_list(j, work_key[w], curve[w].seconds, curve[w].n);
    }
    mt_json_end(j);
}

static void put_kinds(struct mt_json *j, const struct mt_profile *p, const struct mt_graph *g)
{
    mt_json_list(j, "kinds");
    for (int k = 0; k < p->cluster->nkind; k++) {
        const struct mt_speed *s = &p->cluster->speed[k];

        mt_json_map(j, NULL);
        mt_json_text(j, "name", s->name);
        mt_json_num(j, "memory_bytes", s->memory_bytes);
        mt_json_num(j, "max_alloc_bytes", s->max_alloc_bytes);
        mt_json_num(j, "update", s->update);
        mt_json_num(j, "step", s->step);
        mt_json_num(j, "add", s->add);
        if (s->read.n > 0) {
            put_curve(j, "read", &s->read);
        }
        mt_json_list(j, "layers");
        for (int i = 0; i < g->nnode; i++) {
            put_layer(j, g->node[i].n.name, s->curve[i]);
        }
        mt_json_end(j);
        mt_json_end(j);
    }
    mt_json_end(j);
}

static void put_paths(struct mt_json *j, const struct mt_cluster *c)
{
    mt_json_map(j, "paths");
    put_path(j, "local", &c->local);
    put_path(j, "remote", &c->remote);
    if (c->sums.n > 0) {
        put_curve(j, "sums", &c->sums);
    }
    if (c->hand.bandwidth > 0) {
        put_path(j, "hand", &c->hand);
    }
    if (c->inner.bandwidth > 0) {
        put_path(j, "inner", &c->inner);
    }
    if (c->between != NULL) {
        mt_json_list(j, "hosts");
        for (int i = 0; i < c->nhost * c->nhost; i++) {
            put_path(j, NULL, &c->between[i]);
        }
        mt_json_end(j);
    }
    mt_json_end(j);
}

int mt_profile_print(const struct mt_profile *p, const struct mt_graph *whole, char **text)
{
    struct mt_json j;

    mt_json_init(&j, p->ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_text(&j, "format", FORMAT);
    mt_json_int(&j, "version", VERSION);
    mt_json_text(&j, "network", p->network);
    mt_json_int(&j, "samples", p->most);
    mt_json_num(&j, "seconds", p->seconds);
    put_ranks(&j, p);
    put_kinds(&j, p, whole);
    put_paths(&j, p->cluster);
    mt_json_end(&j);
    return mt_json_take(&j, text);
}

/* ---- from text ----------------------------------------------------------------------- */

/* A list of a map; n entries, or any number with n < 0. */
static int get_list(const struct mt_tree *t, const char *key, int n, const struct mt_tree **out)
{
    const struct mt_tree *l = mt_tree_get(t, key);

    if (l == NULL || l->kind != MT_TREE_LIST) {
        MT_TREE_FAIL(l != NULL ? l : t, "'%s' must be a list", key);
    }
    if (n >= 0 && l->n != n) {
        MT_TREE_FAIL(l, "'%s' has %d entries, must have %d", key, l->n, n);
    }
    *out = l;
    return MOTLEY_OK;
}

/* A number that is 0 or more. */
static int get_positive(const struct mt_tree *t, const char *key, double *out)
{
    MT_TRY(mt_tree_num(t, key, out));
    if (!(*out >= 0)) {
        MT_TREE_FAIL(mt_tree_get(t, key), "'%s' must be 0 or more", key);
    }
    return MOTLEY_OK;
}

static int get_index(const struct mt_tree *t, const char *key, int below, int *out)
{
    int64_t v;

    MT_TRY(mt_tree_int(t, key, &v));
    if (v < 0 || v >= below) {
        MT_TREE_FAIL(mt_tree_get(t, key), "'%s' is %" PRId64 ", must be 0 to %d", key, v,
                     below - 1);
    }
    *out = (int)v;
    return MOTLEY_OK;
}

static int get_numbers(const struct mt_tree *t, const char *key, double *x, int *n)
{
    const struct mt_tree *l = NULL;

    MT_TRY(get_list(t, key, -1, &l));
    if (l->n < 1 || l->n > MT_CURVE_POINTS) {
        MT_TREE_FAIL(l, "'%s' has %d numbers, must have 1 to %d", key, l->n, MT_CURVE_POINTS);
    }
    for (int i = 0; i < l->n; i++) {
        const struct mt_tree *v = l->item[i];

        if (v->kind != MT_TREE_SCALAR || !mt_num_real(v->text, &x[i]) || x[i] < 0) {
            MT_TREE_FAIL(v, "'%s' must be numbers, 0 or more", key);
        }
    }
    *n = l->n;
    return MOTLEY_OK;
}

static int get_path(const struct mt_tree *t, struct mt_path *out)
{
    MT_TRY(get_positive(t, "latency", &out->latency));
    MT_TRY(get_positive(t, "bandwidth", &out->bandwidth));
    if (!(out->bandwidth > 0)) {
        MT_TREE_FAIL(t, "'bandwidth' must be more than 0");
    }
    return MOTLEY_OK;
}

/* May be missing. */
static int get_curve(const struct mt_tree *t, const char *key, struct mt_curve *c)
{
    const struct mt_tree *in = mt_tree_get(t, key);
    int n = 0;

    if (in == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(get_numbers(in, "samples", c->rows, &c->n));
    MT_TRY(get_numbers(in, "seconds", c->seconds, &n));
    if (n != c->n) {
        MT_TREE_FAIL(in, "'%s' has %d numbers of samples and %d of seconds", key, c->n, n);
    }
    for (int i = 1; i < n; i++) {
        if (!(c->rows[i] > c->rows[i - 1])) {
            MT_TREE_FAIL(in, "'samples' must rise");
        }
    }
    return MOTLEY_OK;
}

static int get_layer(const struct mt_tree *t, const char *name, struct mt_curve *curve)
{
    double rows[MT_CURVE_POINTS];
    const char *given = NULL;
    int n = 0;

    MT_TRY(mt_tree_text(t, "name", &given));
    if (strcmp(given, name) != 0) {
        MT_TREE_FAIL(t, "the times of layer '%.60s' stand where the network has '%s'", given, name);
    }
    MT_TRY(get_numbers(t, "samples", rows, &n));
    for (int i = 1; i < n; i++) {
        if (!(rows[i] > rows[i - 1])) {
            MT_TREE_FAIL(mt_tree_get(t, "samples"), "'samples' must rise");
        }
    }
    for (int w = 0; w < MT_WORKS; w++) {
        MT_TRY(get_numbers(t, work_key[w], curve[w].seconds, &curve[w].n));
        if (curve[w].n > n) {
            MT_TREE_FAIL(mt_tree_get(t, work_key[w]), "'%s' has more numbers than 'samples'",
                         work_key[w]);
        }
        memcpy(curve[w].rows, rows, sizeof rows);
    }
    return MOTLEY_OK;
}

static int get_kind(struct mt_ctx *ctx, const struct mt_tree *t, const struct mt_graph *whole,
                    struct mt_speed *s)
{
    const struct mt_tree *layers = NULL;
    const char *name = NULL;

    MT_TRY(mt_tree_text(t, "name", &name));
    snprintf(s->name, sizeof s->name, "%s", name);
    MT_TRY(get_positive(t, "memory_bytes", &s->memory_bytes));
    MT_TRY(get_positive(t, "max_alloc_bytes", &s->max_alloc_bytes));
    MT_TRY(get_positive(t, "update", &s->update));
    MT_TRY(get_positive(t, "step", &s->step));
    MT_TRY(get_positive(t, "add", &s->add));
    MT_TRY(get_curve(t, "read", &s->read));
    MT_TRY(get_list(t, "layers", whole->nnode, &layers));
    MT_TRY(MT_NEW_N(ctx, whole->nnode, &s->curve));
    for (int i = 0; i < whole->nnode; i++) {
        MT_TRY(get_layer(layers->item[i], whole->node[i].n.name, s->curve[i]));
    }
    return MOTLEY_OK;
}

static int get_ranks(const struct mt_tree *l, struct mt_profile *p)
{
    struct mt_cluster *c = p->cluster;

    for (int r = 0; r < c->nrank; r++) {
        const struct mt_tree *t = l->item[r];
        const char *host = NULL, *device = NULL;

        MT_TRY(mt_tree_text(t, "host", &host));
        MT_TRY(mt_tree_text(t, "device", &device));
        snprintf(p->seat[r].host, sizeof p->seat[r].host, "%s", host);
        snprintf(p->seat[r].device, sizeof p->seat[r].device, "%s", device);
        MT_TRY(get_index(t, "node", c->nrank, &c->host[r]));
        MT_TRY(get_index(t, "kind", c->nkind, &c->kind[r]));
        c->nhost = c->host[r] >= c->nhost ? c->host[r] + 1 : c->nhost;
    }
    return MOTLEY_OK;
}

static int get_paths(const struct mt_tree *t, struct mt_cluster *c)
{
    const struct mt_tree *hosts = NULL;
    int n = c->nhost * c->nhost;

    if (t == NULL || t->kind != MT_TREE_MAP) {
        MT_FAIL(MOTLEY_ECONFIG, "'paths' is missing");
    }
    MT_TRY(get_path(mt_tree_get(t, "local"), &c->local));
    MT_TRY(get_path(mt_tree_get(t, "remote"), &c->remote));
    MT_TRY(get_curve(t, "sums", &c->sums));
    if (mt_tree_get(t, "hand") != NULL) {
        MT_TRY(get_path(mt_tree_get(t, "hand"), &c->hand));
    }
    if (mt_tree_get(t, "inner") != NULL) {
        MT_TRY(get_path(mt_tree_get(t, "inner"), &c->inner));
    }
    if (mt_tree_get(t, "hosts") == NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(get_list(t, "hosts", n, &hosts));
    MT_TRY(MT_NEW_N(c->ctx, n, &c->between));
    for (int i = 0; i < n; i++) {
        MT_TRY(get_path(hosts->item[i], &c->between[i]));
    }
    return MOTLEY_OK;
}

/* Before anything that is compared layer by layer: another network is the usual reason. */
static int check_form(const struct mt_tree *t, const char *network)
{
    const char *format = NULL, *given = NULL;
    int64_t version = 0;

    MT_TRY(mt_tree_text(t, "format", &format));
    MT_TRY(mt_tree_int(t, "version", &version));
    if (strcmp(format, FORMAT) != 0 || version != VERSION) {
        MT_TREE_FAIL(t, "this is '%.60s' %" PRId64 ", not '%s' %d", format, version, FORMAT,
                     VERSION);
    }
    MT_TRY(mt_tree_text(t, "network", &given));
    if (strcmp(given, network) != 0) {
        MT_TREE_FAIL(mt_tree_get(t, "network"), "the profile is of another network (layers, shapes "
                     "or optimizer differ): measure again");
    }
    return MOTLEY_OK;
}

static int get_profile(struct mt_ctx *ctx, const struct mt_tree *t, const struct mt_graph *whole,
                       const char *network, struct mt_profile **out)
{
    const struct mt_tree *ranks = NULL, *kinds = NULL;

    MT_TRY(check_form(t, network));
    MT_TRY(get_list(t, "ranks", -1, &ranks));
    MT_TRY(get_list(t, "kinds", -1, &kinds));
    if (ranks->n < 1 || kinds->n < 1) {
        MT_TREE_FAIL(t, "'ranks' and 'kinds' must not be empty");
    }
    MT_TRY(mt_profile_new(ctx, ranks->n, out));
    snprintf((*out)->network, sizeof (*out)->network, "%s", network);
    MT_TRY(mt_tree_int(t, "samples", &(*out)->most));
    MT_TRY(get_positive(t, "seconds", &(*out)->seconds));
    MT_TRY(MT_NEW_N(ctx, kinds->n, &(*out)->cluster->speed));
    (*out)->cluster->nkind = kinds->n;
    MT_TRY(get_ranks(ranks, *out));
    MT_TRY(get_paths(mt_tree_get(t, "paths"), (*out)->cluster));
    for (int k = 0; k < kinds->n; k++) {
        MT_TRY(get_kind(ctx, kinds->item[k], whole, &(*out)->cluster->speed[k]));
    }
    return MOTLEY_OK;
}

int mt_profile_parse(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                     const struct mt_graph *whole, const char *network, struct mt_profile **out)
{
    struct mt_profile *p = NULL;
    struct mt_tree *t = NULL;
    int st;

    MT_TRY(mt_json_parse(ctx, text, bytes, file, &t));
    MT_TRY_OR(fail, get_profile(ctx, t, whole, network, &p));
    mt_tree_free(ctx, t);
    *out = p;
    return MOTLEY_OK;
fail:
    mt_profile_free(p);
    mt_tree_free(ctx, t);
    return st;
}

/* ---- is it of this job --------------------------------------------------------------- */

int mt_profile_check(const struct mt_profile *p, const char *file, int64_t most,
                     const struct mt_profile_seat *seat, const int *host, int size)
{
    MT_CHECK(p->cluster->nrank == size, MOTLEY_ECONFIG,
             "%s: the profile is of %d ranks, the job has %d: measure again", file,
             p->cluster->nrank, size);
    MT_CHECK(p->most >= most, MOTLEY_ECONFIG,
             "%s: the profile goes up to %" PRId64 " samples, train.batch is %" PRId64
             ": measure again", file, p->most, most);
    for (int r = 0; r < size; r++) {
        MT_CHECK(strcmp(p->seat[r].device, seat[r].device) == 0, MOTLEY_ECONFIG,
                 "%s: rank %d had device '%s' and has '%s' now (host %s): measure again", file, r,
                 p->seat[r].device, seat[r].device, seat[r].host);
        MT_CHECK(p->cluster->host[r] == host[r], MOTLEY_ECONFIG,
                 "%s: rank %d was on host number %d (%s) and is on number %d (%s) now: the ranks "
                 "lie otherwise on the hosts, measure again", file, r, p->cluster->host[r],
                 p->seat[r].host, host[r], seat[r].host);
    }
    return MOTLEY_OK;
}
