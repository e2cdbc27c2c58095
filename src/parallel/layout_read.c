/* layout_read.c -- layouts as text: from a tree with places, and printed in the same form.
 *
 *     schedule: 1f1b                  a map of these two, or the list alone
 *     replicas:
 *       - share: 3
 *         micro_batches: 4
 *         stages:
 *           - {ranks: [0], to: relu1}
 *           - {ranks: [1, 2], width: [2, 1], recompute: true}
 */
#include "parallel/layout.h"

#include "base/ctx.h"
#include "base/num.h"
#include "base/text.h"
#include "parallel/schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reading --------------------------------------------------------------------------------- */

static int node_named(const struct mt_graph *whole, const struct mt_tree *at, const char *name,
                      int *out)
{
    const char **names = NULL, *near;
    char hint[160] = "";

    for (int i = 0; i < whole->nnode; i++) {
        if (strcmp(whole->node[i].n.name, name) == 0) {
            *out = i;
            return MOTLEY_OK;
        }
    }
    MT_TRY(MT_NEW_N(whole->ctx, whole->nnode, &names));
    for (int i = 0; i < whole->nnode; i++) {
        names[i] = whole->node[i].n.name;
    }
    near = mt_word_nearest(name, names, whole->nnode);
    mt_free(whole->ctx, names);
    if (near != NULL) {
        snprintf(hint, sizeof hint, "; did you mean '%.60s'?", near);
    }
    MT_TREE_FAIL(at, "no layer is named '%.60s'%s", name, hint);
}

/* A list of numbers, or one number alone, into *out (n of them). */
static int read_numbers(struct mt_ctx *ctx, const struct mt_tree *t, const char *what,
                        double **out, int *n)
{
    const struct mt_tree *const alone[1] = {t};
    const struct mt_tree *const *item = alone;
    double *v = NULL;
    int count = 1;

    if (t->kind == MT_TREE_LIST) {
        item = (const struct mt_tree *const *)t->item;
        count = t->n;
    }
    if (count == 0) {
        MT_TREE_FAIL(t, "the list of %s is empty", what);
    }
    MT_TRY(MT_NEW_N(ctx, count, &v));
    for (int i = 0; i < count; i++) {
        if (item[i]->kind != MT_TREE_SCALAR || !mt_num_real(item[i]->text, &v[i])) {
            mt_free(ctx, v);
            MT_TREE_FAIL(item[i], "%s must be numbers, as in [0, 1]", what);
        }
    }
    *out = v;
    *n = count;
    return MOTLEY_OK;
}

static int read_ranks(struct mt_ctx *ctx, int nrank, const struct mt_tree *t, struct mt_stage *out)
{
    const struct mt_tree *ranks = mt_tree_get(t, "ranks"), *width = mt_tree_get(t, "width");
    double *v = NULL;
    int n = 0;

    if (ranks == NULL) {
        MT_TREE_FAIL(t, "a stage needs `ranks`, as in {ranks: [0], to: relu1}");
    }
    MT_TRY(read_numbers(ctx, ranks, "ranks", &v, &n));
    if (MT_NEW_N(ctx, n, &out->rank) < 0) {
        mt_free(ctx, v);
        return MOTLEY_EMEM;
    }
    out->nrank = n;
    for (int i = 0; i < n; i++) {
        if (v[i] < 0 || v[i] >= nrank || v[i] != floor(v[i])) {
            double rank = v[i];

            mt_free(ctx, v);
            MT_TREE_FAIL(ranks, "rank %g does not exist; the job has ranks 0 to %d", rank,
                         nrank - 1);
        }
        out->rank[i] = (int)v[i];
    }
    mt_free(ctx, v);
    if (width != NULL) {
        MT_TRY(read_numbers(ctx, width, "widths", &out->width, &n));
        if (n != out->nrank) {
            MT_TREE_FAIL(width, "%d widths for %d ranks; each rank of the stage needs one", n,
                         out->nrank);
        }
    }
    return MOTLEY_OK;
}

static int read_stage(const struct mt_graph *whole, int nrank, const struct mt_tree *t, int lo,
                      int last, struct mt_stage *out)
{
    static const struct mt_attr attrs[] = {
        {"to", MT_ATTR_TEXT, .doc = "last layer of the stage"},
        {"recompute", MT_ATTR_BOOL, .doc = "compute activations again in backward"},
        {0}};
    static const char *const skip[] = {"ranks", "width", NULL};
    union mt_attr_val val[MT_MAXATTR];

    if (t->kind != MT_TREE_MAP) {
        MT_TREE_FAIL(t, "a stage is a map, as in {ranks: [0], to: relu1}");
    }
    MT_TRY(mt_tree_attrs(t, attrs, "a stage", skip, val, NULL));
    MT_TRY(read_ranks(whole->ctx, nrank, t, out));
    out->recompute = val[1].b;
    out->lo = lo;
    out->hi = whole->nnode;
    if (val[0].s != NULL) {
        MT_TRY(node_named(whole, mt_tree_get(t, "to"), val[0].s, &out->hi));
        out->hi++;
    } else if (!last) {
        MT_TREE_FAIL(t, "a stage needs `to`, the name of its last layer; only the last stage takes "
                     "all that is left");
    }
    if (out->hi <= lo) {
        MT_TREE_FAIL(mt_tree_get(t, "to"), "layer '%s' belongs to an earlier stage", val[0].s);
    }
    if (last && out->hi < whole->nnode) {
        MT_TREE_FAIL(mt_tree_get(t, "to"), "layers from %s on belong to no stage; leave out `to` "
                     "of the last stage", whole->node[out->hi].n.name);
    }
    return MOTLEY_OK;
}

static int read_replica(const struct mt_graph *whole, int nrank, const struct mt_tree *t,
                        struct mt_replica *out)
{
    static const struct mt_attr attrs[] = {
        {"share", MT_ATTR_NUM, .def.f = 1, .min = 0, .max = INFINITY,
         .doc = "relative share of every batch"},
        {"micro_batches", MT_ATTR_INT, .def.i = 1, .min = 1, .max = 1 << 20,
         .doc = "pieces in which it takes its share"},
        {0}};
    static const char *const skip[] = {"stages", NULL};
    const struct mt_tree *stages = mt_tree_get(t, "stages");
    union mt_attr_val val[MT_MAXATTR];

    if (t->kind != MT_TREE_MAP) {
        MT_TREE_FAIL(t, "a replica is a map of share, micro_batches and stages");
    }
    MT_TRY(mt_tree_attrs(t, attrs, "a replica", skip, val, NULL));
    if (stages == NULL || stages->kind != MT_TREE_LIST || stages->n == 0) {
        MT_TREE_FAIL(stages != NULL ? stages : t, "a replica needs `stages`, a list of at least "
                     "one, as in [{ranks: [0]}]");
    }
    out->share = val[0].f;
    out->micros = (int)val[1].i;
    MT_TRY(MT_NEW_N(whole->ctx, stages->n, &out->stage));
    out->nstage = stages->n;
    for (int s = 0, lo = 0; s < stages->n; s++) {
        MT_TRY(read_stage(whole, nrank, stages->item[s], lo, s == stages->n - 1,
                          &out->stage[s]));
        lo = out->stage[s].hi;
    }
    return MOTLEY_OK;
}

/* Several stages of a replica on one rank. */
static int is_interleaved(const struct mt_layout *l)
{
    for (int r = 0; r < l->nreplica; r++) {
        if (mt_layout_stride(&l->replica[r]) < l->replica[r].nstage) {
            return 1;
        }
    }
    return 0;
}

static int read_schedule(const struct mt_tree *tree, struct mt_layout *l)
{
    static const struct mt_attr attrs[] = {
        {"schedule", MT_ATTR_WORD, .words = MT_SCHEDULE_WORDS, .doc = "order of the work"},
        {0}};
    static const char *const skip[] = {"replicas", NULL};
    union mt_attr_val val[MT_MAXATTR];
    uint32_t given = 0;

    if (tree->kind == MT_TREE_MAP) {
        MT_TRY(mt_tree_attrs(tree, attrs, "the layout", skip, val, &given));
    }
    l->schedule = given != 0 ? (enum mt_schedule)val[0].w
                  : is_interleaved(l) ? MT_SCHEDULE_INTERLEAVED : MT_SCHEDULE_1F1B;
    return MOTLEY_OK;
}

int mt_layout_read(const struct mt_graph *whole, int nrank, const struct mt_tree *tree,
                   struct mt_layout **out)
{
    const struct mt_tree *list = tree->kind == MT_TREE_MAP ? mt_tree_get(tree, "replicas") : tree;
    struct mt_layout *l = NULL;
    char at[512];
    int st;

    if (list == NULL || list->kind != MT_TREE_LIST || list->n == 0) {
        MT_TREE_FAIL(list != NULL ? list : tree, "a layout is a list of at least one replica, or "
                     "a map of `schedule` and `replicas`, that list");
    }
    MT_TRY(MT_NEW(whole->ctx, &l));
    l->ctx = whole->ctx;
    l->nrank = nrank;
    MT_TRY_OR(fail, MT_NEW_N(l->ctx, list->n, &l->replica));
    l->nreplica = list->n;
    for (int r = 0; r < list->n; r++) {
        MT_TRY_OR(fail, read_replica(whole, nrank, list->item[r], &l->replica[r]));
    }
    MT_TRY_OR(fail, read_schedule(tree, l));
    st = mt_layout_check(whole, l);
    if (st < 0) {
        mt_err_prefix("%s", mt_tree_at(list, at, sizeof at));
        mt_err_trace(st, __func__, __FILE__, __LINE__);
        goto fail;
    }
    *out = l;
    return MOTLEY_OK;
fail:
    mt_layout_free(l);
    return st;
}

/* ---- printing -------------------------------------------------------------------------------- */

/* A layer's name has no blanks; all but small letters and digits could mean something to YAML, as
 * does the word null. */
static void print_name(struct mt_text *out, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz_0123456789";

    if (strspn(s, plain) == strlen(s) && strcmp(s, "null") != 0) {
        mt_text_add(out, "%s", s);
        return;
    }
    mt_text_add(out, "\"");
    for (; *s != '\0'; s++) {
        mt_text_add(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    }
    mt_text_add(out, "\"");
}

static void print_stage(struct mt_text *out, const struct mt_graph *whole,
                        const struct mt_stage *g, int last)
{
    char num[MT_NUM_ROOM];

    mt_text_add(out, "      - {ranks: [");
    for (int p = 0; p < g->nrank; p++) {
        mt_text_add(out, "%s%d", p > 0 ? ", " : "", g->rank[p]);
    }
    mt_text_add(out, "]");
    for (int p = 0; g->width != NULL && p < g->nrank; p++) {
        mt_num_print(g->width[p], num, sizeof num);
        mt_text_add(out, "%s%s%s", p == 0 ? ", width: [" : ", ", num,
                    p == g->nrank - 1 ? "]" : "");
    }
    if (!last) {
        mt_text_add(out, ", to: ");
        print_name(out, whole->node[g->hi - 1].n.name);
    }
    mt_text_add(out, "%s}\n", g->recompute ? ", recompute: true" : "");
}

int mt_layout_print(const struct mt_graph *whole, const struct mt_layout *l, char **text)
{
    struct mt_text out;
    char num[MT_NUM_ROOM];

    mt_text_init(&out, l->ctx);
    mt_text_add(&out, "schedule: %s\nreplicas:\n", mt_schedule_word(l->schedule));
    for (int r = 0; r < l->nreplica; r++) {
        const struct mt_replica *p = &l->replica[r];

        mt_num_print(p->share, num, sizeof num);
        mt_text_add(&out, "  - share: %s\n    micro_batches: %d\n    stages:\n", num, p->micros);
        for (int s = 0; s < p->nstage; s++) {
            print_stage(&out, whole, &p->stage[s], s == p->nstage - 1);
        }
    }
    return mt_text_take(&out, text);
}
