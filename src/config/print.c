/* print.c -- a tree as YAML text: what is short on one line, the rest in lines of its own. */
#include "config/print.h"

#include "config/yaml.h"

#include <string.h>

/* Plain only where no reader could take it for anything else. */
static int is_plain(const char *s)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t len = strlen(s);

    return !mt_yaml_null(s) && strspn(s, "-+./:_0123456789abcdefghijklmnopqrstuvwxyz"
                                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == len
           && s[0] != ':' && s[len - 1] != ':' && strcmp(s, "...") != 0
           && (s[0] != '-' || (s[1] != '\0' && s[1] != '-' && strchr(letters, s[1]) == NULL));
}

void mt_print_scalar(struct mt_text *out, const char *text)
{
    if (is_plain(text)) {
        mt_text_put(out, text, strlen(text));
        return;
    }
    mt_text_put(out, "\"", 1);
    for (const char *s = text; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            mt_text_add(out, "\\%c", *s);
        } else if (*s == '\n') {
            mt_text_put(out, "\\n", 2);
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            mt_text_add(out, "\\x%02x", *s);
        } else {
            mt_text_put(out, s, 1);
        }
    }
    mt_text_put(out, "\"", 1);
}

static int is_leaf(const struct mt_tree *t)
{
    return t->kind == MT_TREE_SCALAR || t->kind == MT_TREE_NULL || t->n == 0;
}

static int all_leaves(const struct mt_tree *t)
{
    for (int i = 0; i < t->n; i++) {
        if (!is_leaf(t->item[i])) {
            return 0;
        }
    }
    return 1;
}

/* On one line: a leaf, or a list or map of leaves. */
static void print_flow(struct mt_text *out, const struct mt_tree *t)
{
    int map = t->kind == MT_TREE_MAP;

    if (t->kind == MT_TREE_NULL) {
        mt_text_put(out, "null", 4);
        return;
    }
    if (t->kind == MT_TREE_SCALAR) {
        mt_print_scalar(out, t->text);
        return;
    }
    mt_text_put(out, map ? "{" : "[", 1);
    for (int i = 0; i < t->n; i++) {
        if (i > 0) {
            mt_text_put(out, ", ", 2);
        }
        if (map) {
            mt_print_scalar(out, t->key[i]);
            mt_text_put(out, ": ", 2);
        }
        print_flow(out, t->item[i]);
    }
    mt_text_put(out, map ? "}" : "]", 1);
}

/* Entries on lines of their own; the first of them where the text stands, if `here`. */
static void print_block(struct mt_text *out, const struct mt_tree *t, int indent, int here)
{
    for (int i = 0; i < t->n; i++) {
        const struct mt_tree *v = t->item[i];

        if (i > 0 || !here) {
            mt_text_add(out, "%*s", indent, "");
        }
        if (t->kind == MT_TREE_MAP) {
            mt_print_scalar(out, t->key[i]);
            mt_text_put(out, ":", 1);
            mt_print_tree(out, v, indent + 2);
        } else if (v->kind == MT_TREE_MAP && (v->n == 1 || !all_leaves(v)) && v->n > 0) {
            mt_text_put(out, "- ", 2);
            print_block(out, v, indent + 2, 1);
        } else {
            mt_text_put(out, "-", 1);
            mt_print_tree(out, v, indent + 2);
        }
    }
}

void mt_print_tree(struct mt_text *out, const struct mt_tree *t, int indent)
{
    int start = out->len == 0;

    if (is_leaf(t) || (!start && all_leaves(t))) {
        mt_text_put(out, " ", start ? 0 : 1);
        print_flow(out, t);
        mt_text_put(out, "\n", 1);
    } else {
        mt_text_put(out, "\n", start ? 0 : 1);
        print_block(out, t, indent, 0);
    }
}
