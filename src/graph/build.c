/* build.c -- from the `model` list and the `loss` of a configuration to a graph.
 *
 *     - relu                              an operation with its defaults
 *     - linear: 512                       its first option
 *     - linear: {size: 512, name: fc1}    options by name; `name` names the layer
 *     - residual: [ ... ]                 result of the list added to what went in
 *     - repeat: 3                         the layers, so many times
 *       layers: [ ... ]
 *
 * A layer that takes two inputs is not written directly: blocks such as residual wire it. */
#include "graph/graph.h"

#include "base/ctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAXDEPTH 16   /* of nested blocks; a limit, so that a wrong file cannot exhaust the stack */

static int build_list(struct mt_graph *g, const struct mt_tree *list, int depth, int *value);

/* Raises with the place of t in front of what went wrong below. */
static int at_place(const struct mt_tree *t, int code)
{
    char at[512];

    if (code < 0) {
        mt_err_prefix("%s", mt_tree_at(t, at, sizeof at));
    }
    return code;
}

static int unknown_layer(const struct mt_tree *t, const char *word)
{
    const char *names[256];
    const char *near;
    int n = 0;

    for (const struct mt_op *const *op = mt_ops; *op != NULL && n < 250; op++) {
        names[n++] = (*op)->name;
    }
    names[n++] = "residual";
    names[n++] = "repeat";
    near = mt_word_nearest(word, names, n);
    MT_TREE_FAIL(t, "unknown layer '%s'%s%s%s `motley info` lists the operations", word,
                 near ? "; did you mean '" : ";", near ? near : "", near ? "'?" : "");
}

/* An operation by its word, its options read from `options` (scalar, map or NULL). */
static int add_op(struct mt_graph *g, const struct mt_tree *at, const char *word,
                  const struct mt_tree *options, const int *in, int nin, int *out)
{
    static const char *const skip[] = {"name", NULL};
    const struct mt_op *op = mt_op_find(word);
    const struct mt_tree *name = mt_tree_get(options, "name");
    union mt_attr_val attr[MT_MAXATTR] = {{0}};
    char what[64];

    if (op == NULL) {
        return unknown_layer(at, word);
    }
    snprintf(what, sizeof what, "layer %s", word);
    MT_TRY(mt_tree_attrs(options != NULL ? options : at, op->attrs, what, skip, attr, NULL));
    if (name != NULL && (name->kind != MT_TREE_SCALAR || name->text[0] == '\0' ||
                         strpbrk(name->text, "/ \t\n") != NULL)) {
        MT_TREE_FAIL(name, "the name of a layer is one word without '/'");
    }
    return at_place(at, mt_graph_add(g, op, name ? name->text : NULL, attr, in, nin, out));
}

static int build_residual(struct mt_graph *g, const struct mt_tree *body, int depth, int *value)
{
    int in[2] = {*value, *value};
    struct mt_tree none = *body;

    none.kind = MT_TREE_NULL;
    MT_TRY(build_list(g, body, depth + 1, &in[1]));
    return add_op(g, &none, "add", &none, in, 2, value);
}

static int build_repeat(struct mt_graph *g, const struct mt_tree *item, int depth, int *value)
{
    static const char *const keys[] = {"repeat", "layers", NULL};
    static const struct mt_attr times[] = {
        {"repeat", MT_ATTR_INT, .min = 1, .max = 10000, .required = 1, .doc = "how many times"},
        {.name = NULL}};
    const struct mt_tree *layers = mt_tree_get(item, "layers");
    union mt_attr_val n = {0};

    MT_TRY(mt_tree_only(item, "repeat", keys));
    MT_TRY(mt_tree_attrs(mt_tree_get(item, "repeat"), times, "repeat", NULL, &n, NULL));
    if (layers == NULL) {
        MT_TREE_FAIL(item, "repeat needs `layers`, the list to repeat");
    }
    for (int64_t i = 0; i < n.i; i++) {
        MT_TRY(build_list(g, layers, depth + 1, value));
    }
    return MOTLEY_OK;
}

static int build_item(struct mt_graph *g, const struct mt_tree *item, int depth, int *value)
{
    if (item->kind == MT_TREE_SCALAR) {
        struct mt_tree none = *item;

        none.kind = MT_TREE_NULL;
        return add_op(g, item, item->text, &none, value, 1, value);
    }
    if (item->kind == MT_TREE_MAP && mt_tree_get(item, "repeat") != NULL) {
        return build_repeat(g, item, depth, value);
    }
    if (item->kind != MT_TREE_MAP || item->n != 1) {
        MT_TREE_FAIL(item, "a layer is one word or one key with its options, as in "
                           "`- linear: {size: 512}`");
    }
    if (strcmp(item->key[0], "residual") == 0) {
        return build_residual(g, item->item[0], depth, value);
    }
    return add_op(g, item, item->key[0], item->item[0], value, 1, value);
}

static int build_list(struct mt_graph *g, const struct mt_tree *list, int depth, int *value)
{
    if (list->kind != MT_TREE_LIST || list->n == 0) {
        MT_TREE_FAIL(list, list->kind == MT_TREE_LIST ? "the list of layers is empty"
                                                      : "expected a list of layers");
    }
    if (depth > MAXDEPTH) {
        MT_TREE_FAIL(list, "blocks are nested more than %d deep", MAXDEPTH);
    }
    for (int i = 0; i < list->n; i++) {
        MT_TRY(build_item(g, list->item[i], depth, value));
    }
    return MOTLEY_OK;
}

static int build_loss(struct mt_graph *g, const struct mt_tree *loss)
{
    int in[2] = {g->output, g->y}, stats;
    const struct mt_tree *options = NULL;
    struct mt_tree none = *loss;
    const char *word = loss->text;
    const struct mt_op *op;

    none.kind = MT_TREE_NULL;
    if (loss->kind == MT_TREE_MAP && loss->n == 1) {
        word = loss->key[0];
        options = loss->item[0];
    } else if (loss->kind != MT_TREE_SCALAR) {
        MT_TREE_FAIL(loss, "a loss is one word or one key with its options, as in "
                           "`loss: {cross_entropy: {label_smoothing: 0.1}}`");
    }
    op = mt_op_find(word);
    if (op == NULL || !(op->flags & MT_OP_LOSS)) {
        char list[256] = "";

        for (const struct mt_op *const *o = mt_ops; *o != NULL; o++) {
            if ((*o)->flags & MT_OP_LOSS) {
                snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s",
                         list[0] ? ", " : "", (*o)->name);
            }
        }
        MT_TREE_FAIL(loss, "'%s' is not a loss; there are %s", word, list);
    }
    return add_op(g, loss, word, options != NULL ? options : &none, in, 2, &stats);
}

/* What `precision` asks for: a cast of the samples in front of all layers. */
static int build_entry(struct mt_graph *g, const struct mt_tree *model, enum mt_dtype storage,
                       int *value)
{
    struct mt_tree word = *model;
    char name[8];

    if (storage == MT_F32) {
        return MOTLEY_OK;
    }
    snprintf(name, sizeof name, "%s", mt_dtype_name(storage));
    word.kind = MT_TREE_SCALAR;
    word.text = name;
    return add_op(g, model, "cast", &word, value, 1, value);
}

int mt_graph_build(struct mt_ctx *ctx, const struct mt_tree *model, const struct mt_tree *loss,
                   const struct mt_spec *x, const struct mt_spec *y, struct mt_graph **out)
{
    enum mt_dtype storage = x->dtype;
    struct mt_graph *g = NULL;
    struct mt_spec samples = *x;
    int st, value;

    MT_CHECK(model != NULL, MOTLEY_ECONFIG, "the configuration has no `model`");
    samples.dtype = MT_F32;
    MT_TRY(mt_graph_new(ctx, &samples, y, &g));
    value = g->x;
    MT_TRY_OR(fail, build_entry(g, model, storage, &value));
    MT_TRY_OR(fail, build_list(g, model, 0, &value));
    g->output = value;
    if (loss != NULL) {
        MT_TRY_OR(fail, build_loss(g, loss));
    }
    MT_TRY_OR(fail, mt_graph_finish(g, value, loss != NULL ? g->nnode - 1 : -1));
    *out = g;
    return MOTLEY_OK;
fail:
    mt_graph_free(g);
    return st;
}
