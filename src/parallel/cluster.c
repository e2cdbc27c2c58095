/* cluster.c -- a described cluster: kinds of devices, hosts with so many of them, links.
 *
 * The form is made for writing by hand: hosts that are alike are one entry with a count, and links
 * are named between groups of hosts, since nobody knows each of a thousand. */
#include "parallel/cluster.h"

#include "base/ctx.h"
#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct mt_attr kind_attrs[] = {
    {"flops", MT_ATTR_NUM, .min = 1, .max = INFINITY, .required = 1,
     .doc = "operations a second that products reach"},
    {"bandwidth", MT_ATTR_NUM, .min = 1, .max = INFINITY, .required = 1,
     .doc = "bytes a second of its memory"},
    {"memory", MT_ATTR_NUM, .min = 0, .max = INFINITY, .doc = "bytes; 0: no limit"},
    {"max_alloc", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "bytes of the largest allocation; 0: no limit"},
    {"launch", MT_ATTR_NUM, .min = 0, .max = INFINITY, .doc = "seconds to start a kernel"},
    {"update", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "seconds of the optimizer a parameter; 0: by memory traffic"},
    {"step", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "seconds a step takes whatever it does"},
    {0}};

static const struct mt_attr path_attrs[] = {
    {"latency", MT_ATTR_NUM, .min = 0, .max = INFINITY, .required = 1,
     .doc = "seconds of an empty message"},
    {"bandwidth", MT_ATTR_NUM, .min = 1, .max = INFINITY, .required = 1,
     .doc = "bytes a second that one rank gets, in one direction"},
    {0}};

struct group {                 /* of hosts: one entry of `hosts` */
    const char *name;          /* NULL: none */
    int first, count;          /* hosts */
};

struct reader {
    struct mt_ctx *ctx;
    const struct mt_load *load;
    const struct mt_tree *kinds;
    struct mt_cluster *c;
    struct group *group;
    int ngroup;
};

/* ---- kinds ----------------------------------------------------------------------------------- */

static int read_kinds(struct reader *r)
{
    struct mt_cluster *c = r->c;

    if (r->kinds == NULL || r->kinds->kind != MT_TREE_MAP || r->kinds->n == 0) {
        MT_TREE_FAIL(r->kinds, "a cluster needs `kinds`, a map of devices by name, as in kinds: "
                     "{a100: {flops: 1.2e14, bandwidth: 1.5e12, memory: 40e9}}");
    }
    MT_TRY(MT_NEW_N(r->ctx, r->kinds->n, &c->speed));
    c->nkind = r->kinds->n;
    for (int k = 0; k < c->nkind; k++) {
        struct mt_speed *s = &c->speed[k];
        union mt_attr_val val[MT_MAXATTR];
        char what[80];

        snprintf(what, sizeof what, "kind %.60s", r->kinds->key[k]);
        MT_TRY(mt_tree_attrs(r->kinds->item[k], kind_attrs, what, NULL, val, NULL));
        snprintf(s->name, sizeof s->name, "%s", r->kinds->key[k]);
        s->flops = val[0].f;
        s->bandwidth = val[1].f;
        s->memory_bytes = val[2].f;
        s->max_alloc_bytes = val[3].f;
        s->launch = val[4].f;
        /* gradient read; parameter and each number of state read and written */
        s->update = val[5].f > 0 ? val[5].f
                                 : 4.0 * (3 + 2 * r->load->slots) / s->bandwidth;
        s->step = val[6].f;
    }
    return MOTLEY_OK;
}

static int kind_named(const struct reader *r, const struct mt_tree *at, const char *name, int *out)
{
    const char *near;

    for (int k = 0; k < r->kinds->n; k++) {
        if (strcmp(r->kinds->key[k], name) == 0) {
            *out = k;
            return MOTLEY_OK;
        }
    }
    near = mt_word_nearest(name, r->kinds->key, r->kinds->n);
    MT_TREE_FAIL(at, "no kind is named '%.60s'%s%s%s", name, near != NULL ? "; did you mean '" : "",
                 near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static int add_ranks(struct reader *r, const struct mt_tree *at, int kind, int host, int64_t n)
{
    struct mt_cluster *c = r->c;

    if (n > MT_CLUSTER_RANKS - c->nrank) {
        MT_TREE_FAIL(at, "the cluster has more than %d devices", MT_CLUSTER_RANKS);
    }
    MT_TRY(MT_RESIZE(r->ctx, c->nrank + n, &c->kind));
    MT_TRY(MT_RESIZE(r->ctx, c->nrank + n, &c->host));
    for (int64_t i = 0; i < n; i++) {
        c->kind[c->nrank] = kind;
        c->host[c->nrank++] = host;
    }
    return MOTLEY_OK;
}

static int read_host(struct reader *r, const struct mt_tree *t, struct group *g)
{
    static const struct mt_attr attrs[] = {
        {"count", MT_ATTR_INT, .def.i = 1, .min = 1, .max = MT_CLUSTER_RANKS,
         .doc = "hosts like this"},
        {"name", MT_ATTR_TEXT, .doc = "of the group, for links"},
        {0}};
    static const char *const skip[] = {"devices", NULL};
    const struct mt_tree *devices = mt_tree_get(t, "devices");
    union mt_attr_val val[MT_MAXATTR];

    if (t->kind != MT_TREE_MAP) {
        MT_TREE_FAIL(t, "a host is a map, as in {count: 4, devices: {a100: 8}}");
    }
    MT_TRY(mt_tree_attrs(t, attrs, "a host", skip, val, NULL));
    if (devices == NULL || devices->kind != MT_TREE_MAP || devices->n == 0) {
        MT_TREE_FAIL(devices != NULL ? devices : t,
                     "a host needs `devices`, how many it has of which kind, as in {a100: 8}");
    }
    *g = (struct group){val[1].s, r->c->nhost, (int)val[0].i};
    for (int64_t h = 0; h < val[0].i; h++) {
        for (int d = 0; d < devices->n; d++) {
            int kind;
            int64_t n;

            MT_TRY(kind_named(r, devices->item[d], devices->key[d], &kind));
            MT_TRY(mt_tree_int(devices, devices->key[d], &n));
            if (n < 1) {
                MT_TREE_FAIL(devices->item[d], "%" PRId64 " devices of kind %s; at least 1 is "
                             "needed", n, devices->key[d]);
            }
            MT_TRY(add_ranks(r, devices->item[d], kind, r->c->nhost, n));
        }
        r->c->nhost++;
    }
    return MOTLEY_OK;
}

static int read_hosts(struct reader *r, const struct mt_tree *hosts, const struct mt_tree *top)
{
    if (hosts == NULL || hosts->kind != MT_TREE_LIST || hosts->n == 0) {
        MT_TREE_FAIL(hosts != NULL ? hosts : top, "a cluster needs `hosts`, a list, as in "
                     "[{count: 4, devices: {a100: 8}}]");
    }
    MT_TRY(MT_NEW_N(r->ctx, hosts->n, &r->group));
    for (int i = 0; i < hosts->n; i++) {
        MT_TRY(read_host(r, hosts->item[i], &r->group[i]));
        r->ngroup++;
    }
    return MOTLEY_OK;
}

/* ---- links ----------------------------------------------------------------------------------- */

static int read_path(const struct mt_tree *t, const char *what, const char *const *skip,
                     struct mt_path *out)
{
    union mt_attr_val val[MT_MAXATTR];

    MT_TRY(mt_tree_attrs(t, path_attrs, what, skip, val, NULL));
    *out = (struct mt_path){val[0].f, val[1].f};
    return MOTLEY_OK;
}

static int group_named(const struct reader *r, const struct mt_tree *at, const struct group **out)
{
    if (at->kind == MT_TREE_SCALAR) {
        for (int g = 0; g < r->ngroup; g++) {
            if (r->group[g].name != NULL && strcmp(r->group[g].name, at->text) == 0) {
                *out = &r->group[g];
                return MOTLEY_OK;
            }
        }
    }
    MT_TREE_FAIL(at, "no entry of hosts has the name '%.60s'",
                 at->kind == MT_TREE_SCALAR ? at->text : "(a list)");
}

static int read_between(struct reader *r, const struct mt_tree *t)
{
    static const char *const skip[] = {"hosts", NULL};
    const struct mt_tree *hosts = mt_tree_get(t, "hosts");
    const struct group *a = NULL, *b = NULL;
    struct mt_cluster *c = r->c;
    struct mt_path path;

    if (hosts == NULL || hosts->kind != MT_TREE_LIST || hosts->n != 2) {
        MT_TREE_FAIL(hosts != NULL ? hosts : t, "a link between groups needs `hosts`, two of their "
                     "names, as in {hosts: [old, new], latency: 1e-5, bandwidth: 1e9}; one name "
                     "twice means the hosts of that group");
    }
    MT_TRY(group_named(r, hosts->item[0], &a));
    MT_TRY(group_named(r, hosts->item[1], &b));
    MT_TRY(read_path(t, "a link between groups", skip, &path));
    for (int i = a->first; i < a->first + a->count; i++) {
        for (int k = b->first; k < b->first + b->count; k++) {
            c->between[(size_t)i * (size_t)c->nhost + (size_t)k] = path;
            c->between[(size_t)k * (size_t)c->nhost + (size_t)i] = path;
        }
    }
    return MOTLEY_OK;
}

static int read_links(struct reader *r, const struct mt_tree *links, const struct mt_tree *top)
{
    static const char *const keys[] = {"local", "remote", "between", NULL};
    const struct mt_tree *local = mt_tree_get(links, "local");
    const struct mt_tree *remote = mt_tree_get(links, "remote");
    const struct mt_tree *between = mt_tree_get(links, "between");
    struct mt_cluster *c = r->c;
    size_t all = (size_t)c->nhost * (size_t)c->nhost;

    if (links == NULL || links->kind != MT_TREE_MAP || local == NULL ||
        (remote == NULL && c->nhost > 1)) {
        MT_TREE_FAIL(links != NULL ? links : top, "a cluster needs `links`: local, between devices "
                     "of a host, and remote, between hosts, each as {latency: 5e-6, bandwidth: "
                     "1e10}");
    }
    MT_TRY(mt_tree_only(links, "links", keys));
    MT_TRY(read_path(local, "local", NULL, &c->local));
    c->remote = c->local;
    if (remote != NULL) {
        MT_TRY(read_path(remote, "remote", NULL, &c->remote));
    }
    if (between == NULL) {
        return MOTLEY_OK;
    }
    if (between->kind != MT_TREE_LIST) {
        MT_TREE_FAIL(between, "`between` is a list of links between groups of hosts");
    }
    MT_TRY(MT_NEW_N(r->ctx, all, &c->between));
    for (size_t i = 0; i < all; i++) {
        c->between[i] = c->remote;
    }
    for (int i = 0; i < between->n; i++) {
        MT_TRY(read_between(r, between->item[i]));
    }
    return MOTLEY_OK;
}

int mt_cluster_read(struct mt_ctx *ctx, const struct mt_tree *tree, const struct mt_load *load,
                    struct mt_cluster **out)
{
    static const char *const keys[] = {"kinds", "hosts", "links", NULL};
    struct reader r = {.ctx = ctx, .load = load, .kinds = mt_tree_get(tree, "kinds")};
    int st;

    if (tree->kind != MT_TREE_MAP) {
        MT_TREE_FAIL(tree, "a cluster is a map of kinds, hosts and links");
    }
    MT_TRY(mt_tree_only(tree, "a cluster", keys));
    if (r.kinds == NULL) {
        MT_TREE_FAIL(tree, "a cluster needs `kinds`, a map of devices by name");
    }
    MT_TRY(MT_NEW(ctx, &r.c));
    r.c->ctx = ctx;
    MT_TRY_OR(fail, read_kinds(&r));
    MT_TRY_OR(fail, read_hosts(&r, mt_tree_get(tree, "hosts"), tree));
    MT_TRY_OR(fail, read_links(&r, mt_tree_get(tree, "links"), tree));
    mt_free(ctx, r.group);
    *out = r.c;
    return MOTLEY_OK;
fail:
    mt_free(ctx, r.group);
    mt_cluster_free(r.c);
    return st;
}
