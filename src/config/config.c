/* config.c -- a configuration from text and settings: tree, typed parts by the tables of
 * schema.c, what belongs together checked, and all of it as text again. */
#include "config/config.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/num.h"
#include "config/override.h"
#include "config/print.h"
#include "config/schema.h"
#include "config/yaml.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_EPOCHS 10
#define MAX_SECTIONS 32

/* ---- reading the parts -------------------------------------------------------------------- */

/* `optimizer: adam` becomes `optimizer: {type: adam}`. */
static int expand_word(struct mt_ctx *ctx, struct mt_tree *root, const struct mt_section *s)
{
    const struct mt_tree *t = mt_tree_get(root, s->name);
    struct mt_tree *map = NULL, *word = NULL;
    int st;

    if (s->word == NULL || t == NULL || t->kind != MT_TREE_SCALAR) {
        return MOTLEY_OK;
    }
    if (strpbrk(t->text, " :") != NULL && s->attrs == NULL) {
        MT_TREE_FAIL(t, "%s is '%.60s'; expected one word or keys, as in `%s: {%s: ...}`%s",
                     s->name, t->text, s->name, s->word,
                     strchr(t->text, ':') != NULL ? "; is a blank missing after a colon?" : "");
    }
    MT_TRY(mt_tree_new(ctx, MT_TREE_MAP, t->file, t->line, t->col, NULL, &map));
    map->key_line = t->key_line;
    map->key_col = t->key_col;
    MT_TRY_OR(fail, mt_tree_new(ctx, MT_TREE_SCALAR, t->file, t->line, t->col, t->text, &word));
    MT_TRY_OR(fail, mt_tree_add(ctx, map, s->word, word));
    return mt_tree_add(ctx, root, s->name, map);
fail:
    mt_tree_free(ctx, map);
    return st;
}

static int expand_words(struct mt_ctx *ctx, struct mt_tree *root)
{
    if (root->kind != MT_TREE_MAP) {
        MT_TREE_FAIL(root, "%s; a configuration consists of keys such as `model:` and `data:`",
                     root->kind == MT_TREE_NULL   ? "nothing is in it"
                     : root->kind == MT_TREE_LIST ? "this is a list"
                                                  : "this is a single text");
    }
    for (const struct mt_section *s = mt_sections; s->name != NULL; s++) {
        MT_TRY(expand_word(ctx, root, s));
    }
    return MOTLEY_OK;
}

/* Entries of lists in the model are single words or maps; `- linear:512` is neither. */
static int check_layers(const struct mt_tree *t)
{
    for (int i = 0; i < t->n; i++) {
        const struct mt_tree *v = t->item[i];
        size_t word = v->kind == MT_TREE_SCALAR ? strcspn(v->text, ": ") : 0;

        if (v->kind == MT_TREE_SCALAR && t->kind == MT_TREE_LIST && v->text[word] != '\0') {
            const char *rest = v->text + word;

            MT_TREE_FAIL(v, "'%.60s' is no layer; write `%.*s: %.60s`, with a colon and a blank",
                         v->text, (int)word, v->text, rest + strspn(rest, ": "));
        }
        MT_TRY(check_layers(v));
    }
    return MOTLEY_OK;
}

/* The tree of a part that belongs to another folder; NULL stays NULL. */
static int read_tree(struct mt_config *c, const struct mt_section *s)
{
    const struct mt_tree *t = mt_tree_get(c->root, s->name), *word;
    int missing_blank;

    if (t == NULL || t->kind == MT_TREE_NULL) {
        return MOTLEY_OK;
    }
    missing_blank = t->kind == MT_TREE_SCALAR && strchr(t->text, ':') != NULL;
    if (t->kind != s->kind && s->kind == MT_TREE_LIST) {
        MT_TREE_FAIL(t, "%s must be a list, with entries that begin with `- `", s->name);
    }
    if (s->kind == MT_TREE_MAP && t->kind != MT_TREE_MAP) {
        MT_TREE_FAIL(t, "%s must be a word or a map of keys, as in `%s: {%s: ...}`", s->name,
                     s->name, s->word);
    }
    if (s->kind == MT_TREE_NULL && (t->kind == MT_TREE_LIST || missing_blank)) {
        MT_TREE_FAIL(t, "%s must be a word, or one key with its options%s", s->name,
                     missing_blank ? "; is a blank missing after a colon?" : "");
    }
    if (s->kind == MT_TREE_LIST) {
        MT_TRY(check_layers(t));
    }
    word = s->word != NULL ? mt_tree_get(t, s->word) : NULL;
    if (word != NULL && word->kind != MT_TREE_SCALAR) {
        MT_TREE_FAIL(word, "'%s' of %s must be a word", s->word, s->name);
    }
    memcpy((char *)c + s->at[0], &t, sizeof t);
    return MOTLEY_OK;
}

/* The values of a part by its table. */
static int read_values(struct mt_config *c, const struct mt_section *s)
{
    const struct mt_tree *t = *s->name != '\0' ? mt_tree_get(c->root, s->name) : c->root;
    const char *const *skip = s->special, *names[MAX_SECTIONS] = {NULL};
    union mt_attr_val val[MT_MAXATTR];

    if (t != NULL && t->kind == MT_TREE_SCALAR) {
        MT_TREE_FAIL(t, "%s must be a map of keys, as in `%s: {%s: ...}`, not '%.60s'%s", s->name,
                     s->name, s->attrs[0].name, t->text,
                     strchr(t->text, ':') != NULL ? "; is a blank missing after a colon?" : "");
    }
    if (*s->name == '\0') {
        for (int n = 0; mt_sections[n + 1].name != NULL && n < MAX_SECTIONS - 1; n++) {
            names[n] = mt_sections[n + 1].name;
        }
        skip = names;
    }
    MT_TRY(mt_tree_attrs(t, s->attrs, *s->name != '\0' ? s->name : "the configuration", skip,
                         val, NULL));
    for (int i = 0; i < mt_attr_count(s->attrs); i++) {
        char *to = (char *)c + s->at[i];

        switch (s->attrs[i].kind) {
        case MT_ATTR_INT:
            memcpy(to, &val[i].i, sizeof val[i].i);
            break;
        case MT_ATTR_NUM:
            memcpy(to, &val[i].f, sizeof val[i].f);
            break;
        case MT_ATTR_BOOL:
            memcpy(to, &val[i].b, sizeof val[i].b);
            break;
        case MT_ATTR_TEXT:
            memcpy(to, &val[i].s, sizeof val[i].s);
            break;
        case MT_ATTR_WORD:
            memcpy(to, &val[i].w, sizeof val[i].w);
            break;
        case MT_ATTR_END:
            MT_FAIL(MOTLEY_EBUG, "internal error, please report: kind of key '%s'",
                    s->attrs[i].name);
        }
    }
    return MOTLEY_OK;
}

static int add_share(struct mt_config *c, const struct mt_tree *at, const char *text)
{
    double v = 0;

    if (!mt_num_real(text, &v) || v < 0) {
        MT_TREE_FAIL(at, "a share must be a number, 0 or more, not '%.60s'", text);
    }
    if (c->parallel.nshares == MT_MAXSHARES) {
        MT_TREE_FAIL(at, "more than %d shares", MT_MAXSHARES);
    }
    c->parallel.shares[c->parallel.nshares++] = v;
    return MOTLEY_OK;
}

/* parallel.shares: [3, 1] or 3:1 */
static int read_shares(struct mt_config *c)
{
    const struct mt_tree *t = mt_tree_get(mt_tree_get(c->root, "parallel"), "shares");
    double sum = 0;

    if (t == NULL || t->kind == MT_TREE_NULL) {
        return MOTLEY_OK;
    }
    if (t->kind == MT_TREE_SCALAR && strcmp(t->text, "auto") == 0) {
        c->parallel.auto_shares = 1;
        return MOTLEY_OK;
    }
    if (t->kind == MT_TREE_MAP) {
        MT_TREE_FAIL(t, "'shares' of parallel must be a list of numbers, as in [3, 1]");
    }
    for (int i = 0; i < t->n; i++) {
        const struct mt_tree *v = t->item[i];

        MT_TRY(add_share(c, v, v->kind == MT_TREE_SCALAR ? v->text : "a list or map"));
    }
    for (const char *s = t->text; s != NULL; s = strchr(s, ':') != NULL ? strchr(s, ':') + 1
                                                                        : NULL) {
        char part[64];

        snprintf(part, sizeof part, "%.*s", (int)strcspn(s, ":"), s);
        MT_TRY(add_share(c, t, part));
    }
    for (int i = 0; i < c->parallel.nshares; i++) {
        sum += c->parallel.shares[i];
    }
    if (!(sum > 0)) {
        MT_TREE_FAIL(t, "all shares are 0; at least one rank must work");
    }
    return MOTLEY_OK;
}

/* Lists that belong to src/parallel: kept as trees. */
static int read_layout(struct mt_config *c)
{
    const struct mt_tree *t = mt_tree_get(c->root, "parallel");
    const struct mt_tree *cut = mt_tree_get(t, "cut"), *layout = mt_tree_get(t, "layout");

    c->parallel.cut = cut != NULL && cut->kind != MT_TREE_NULL ? cut : NULL;
    c->parallel.layout = layout != NULL && layout->kind != MT_TREE_NULL ? layout : NULL;
    if (c->parallel.cut != NULL && cut->kind != MT_TREE_LIST) {
        MT_TREE_FAIL(cut, "'cut' of parallel must be a list of layers, as in [linear2, linear3]");
    }
    if (c->parallel.layout != NULL && layout->kind == MT_TREE_MAP) {
        MT_TREE_FAIL(layout, "'layout' of parallel must be a list of replicas or the name of a "
                             "file");
    }
    return MOTLEY_OK;
}

/* ---- what belongs together ---------------------------------------------------------------- */

/* Adds a key that was not given, so that the tree owns its text. */
static int give_default(struct mt_config *c, const char *key, const char *text,
                        const char **out)
{
    struct mt_tree *t = NULL;

    MT_TRY(mt_tree_new(c->ctx, MT_TREE_SCALAR, NULL, 0, 0, text, &t));
    MT_TRY(mt_tree_add(c->ctx, c->root, key, t));
    *out = t->text;
    return MOTLEY_OK;
}

static int is_name_letter(char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
           || (ch != '\0' && strchr("._+-", ch) != NULL);
}

/* name: of folders, so it must not lead elsewhere; without one, that of the file. */
static int settle_names(struct mt_config *c, const char *file)
{
    const char *base = strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file;
    char word[128], folder[160];
    size_t len;

    if (c->name == NULL) {
        snprintf(word, sizeof word, "%s", base);
        len = strlen(word);
        if (len > 5 && strcmp(word + len - 5, ".yaml") == 0) {
            word[len - 5] = '\0';
        } else if (len > 4 && strcmp(word + len - 4, ".yml") == 0) {
            word[len - 4] = '\0';
        }
        for (char *s = word; *s != '\0'; s++) {
            *s = (char)(is_name_letter(*s) ? *s : '_');
        }
        MT_TRY(give_default(c, "name", word[0] != '\0' && word[0] != '.' ? word : "run",
                            &c->name));
    }
    len = strlen(c->name);
    for (size_t i = 0; i < len || len == 0; i++) {
        if (len == 0 || len > 100 || !is_name_letter(c->name[i]) || c->name[0] == '.') {
            MT_TREE_FAIL(mt_tree_get(c->root, "name"), "'name' of the configuration must be a "
                         "word of letters, digits and . _ + - (at most 100, the first no dot), "
                         "not '%.60s'", c->name);
        }
    }
    if (c->folder == NULL) {
        snprintf(folder, sizeof folder, "runs/%s", c->name);
        MT_TRY(give_default(c, "folder", folder, &c->folder));
    }
    if (c->folder[0] == '\0') {
        MT_TREE_FAIL(mt_tree_get(c->root, "folder"), "'folder' of the configuration is empty");
    }
    return MOTLEY_OK;
}

static int check_train(struct mt_config *c)
{
    const struct mt_tree *t = mt_tree_get(c->root, "train"), *at = mt_tree_get(t, "epochs");

    if (c->train.micro_batches > c->train.batch) {
        MT_TREE_FAIL(mt_tree_get(t, "micro_batches"), "'micro_batches' of train is %lld, more "
                     "than the %lld samples of a batch", (long long)c->train.micro_batches,
                     (long long)c->train.batch);
    }
    if (c->train.epochs > 0 || c->train.steps > 0 || c->train.seconds > 0
        || c->train.target_loss > 0 || c->train.target_accuracy > 0) {
        return MOTLEY_OK;
    }
    if (at != NULL) {
        MT_TREE_FAIL(at, "nothing ends this training; set one of epochs, steps, seconds, "
                         "target_loss, target_accuracy of train");
    }
    c->train.epochs = DEFAULT_EPOCHS;
    return MOTLEY_OK;
}

/* Who lets grid or shares be chosen by measured speed wants them to follow it, too. */
static void settle_rebalance(struct mt_config *c)
{
    int measured = c->parallel.grid || c->parallel.auto_shares;

    if (measured && mt_tree_get(mt_tree_get(c->root, "parallel"), "rebalance") == NULL) {
        c->parallel.rebalance = MT_REBALANCE_AUTO;
    }
}

static int read_all(struct mt_config *c, const char *text, size_t bytes, const char *file,
                    const char *const *over, int n)
{
    MT_TRY(mt_yaml_parse(c->ctx, text, bytes, file, 1, &c->root));
    MT_TRY(expand_words(c->ctx, c->root));
    for (int i = 0; i < n; i++) {
        MT_TRY(mt_override_apply(c->ctx, &c->root, over[i]));
        MT_TRY(expand_words(c->ctx, c->root));
    }
    for (const struct mt_section *s = mt_sections; s->name != NULL; s++) {
        MT_TRY(s->attrs != NULL ? read_values(c, s) : read_tree(c, s));
    }
    MT_TRY(read_shares(c));
    MT_TRY(read_layout(c));
    MT_TRY(check_train(c));
    settle_rebalance(c);
    return settle_names(c, file);
}

static int load(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                const char *const *over, int n, struct mt_config **out)
{
    struct mt_config *c = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &c));
    c->ctx = ctx;
    MT_TRY_OR(fail, read_all(c, text, bytes, file, over, n));
    *out = c;
    return MOTLEY_OK;
fail:
    mt_config_free(c);
    return st;
}

int mt_config_load(struct mt_ctx *ctx, const char *path, const char *const *over, int n,
                   struct mt_config **out)
{
    char *text = NULL;
    size_t bytes = 0;
    int st;

    MT_TRY(mt_file_read(ctx, path, &text, &bytes));
    st = load(ctx, text, bytes, path, over, n, out);
    mt_free(ctx, text);
    return st < 0 ? mt_err_trace(st, __func__, __FILE__, __LINE__) : MOTLEY_OK;
}

int mt_config_parse(struct mt_ctx *ctx, const char *text, const char *file,
                    const char *const *over, int n, struct mt_config **out)
{
    return load(ctx, text, strlen(text), file, over, n, out);
}

void mt_config_free(struct mt_config *c)
{
    if (c != NULL) {
        mt_tree_free(c->ctx, c->root);
        mt_free(c->ctx, c);
    }
}

/* ---- text again --------------------------------------------------------------------------- */

static void print_value(struct mt_text *out, const struct mt_attr *a, const void *at)
{
    union mt_attr_val val;
    char buf[64];

    memset(&val, 0, sizeof val);
    memcpy(&val, at, a->kind == MT_ATTR_BOOL || a->kind == MT_ATTR_WORD ? sizeof val.b
                                                                        : sizeof val);
    if (a->kind == MT_ATTR_TEXT && val.s != NULL) {
        mt_print_scalar(out, val.s);
    } else {
        mt_attr_print(a, val, buf, sizeof buf);
        mt_text_add(out, "%s", buf);
    }
}

static void print_shares(struct mt_text *out, const struct mt_config *c)
{
    char num[MT_NUM_ROOM];

    if (c->parallel.auto_shares) {
        mt_text_add(out, "  shares: auto\n");
    }
    for (int i = 0; i < c->parallel.nshares; i++) {
        mt_num_print(c->parallel.shares[i], num, sizeof num);
        mt_text_add(out, "%s%s", i == 0 ? "  shares: [" : ", ", num);
    }
    if (c->parallel.nshares > 0) {
        mt_text_add(out, "]\n");
    }
}

static void print_list(struct mt_text *out, const char *key, const struct mt_tree *t)
{
    if (t != NULL) {
        mt_text_add(out, "  %s:", key);
        mt_print_tree(out, t, 4);
    }
}

static void print_section(struct mt_text *out, const struct mt_config *c,
                          const struct mt_section *s)
{
    int top = *s->name == '\0';

    if (s->attrs == NULL) {
        const struct mt_tree *t;

        memcpy(&t, (const char *)c + s->at[0], sizeof t);
        if (t != NULL) {
            mt_text_add(out, "%s:", s->name);
            mt_print_tree(out, t, 2);
        }
        return;
    }
    if (!top) {
        mt_text_add(out, "%s:\n", s->name);
    }
    for (int i = 0; i < mt_attr_count(s->attrs); i++) {
        mt_text_add(out, "%s%s: ", top ? "" : "  ", s->attrs[i].name);
        print_value(out, &s->attrs[i], (const char *)c + s->at[i]);
        mt_text_add(out, "\n");
    }
    if (s->special != NULL) {
        print_shares(out, c);
        print_list(out, "cut", c->parallel.cut);
        print_list(out, "layout", c->parallel.layout);
    }
}

int mt_config_print(const struct mt_config *c, char **text)
{
    struct mt_text out;

    mt_text_init(&out, c->ctx);
    for (const struct mt_section *s = mt_sections; s->name != NULL; s++) {
        print_section(&out, c, s);
    }
    return mt_text_take(&out, text);
}
