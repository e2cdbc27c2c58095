/* columns.c -- words of a configuration to columns of a table: by the name in the header, else by
 * number from 1. A column has one use; a name that occurs twice must be given by number. */
#include "data/columns.h"

#include "base/ctx.h"
#include "base/num.h"
#include "data/cells.h"

#include <stdio.h>
#include <string.h>

const char *mt_columns_text(const struct mt_columns *c, int col, char buf[MT_COLUMN_TEXT])
{
    if (c->name != NULL) {
        snprintf(buf, MT_COLUMN_TEXT, "column '%.60s'", c->name[col]);
    } else {
        snprintf(buf, MT_COLUMN_TEXT, "column %d", col + 1);
    }
    return buf;
}

static int find_column(const struct mt_columns *c, const struct mt_tree *at, const char *word,
                       int *col)
{
    const char *near = NULL;
    int64_t number;
    int found = 0;

    for (int i = 0; c->name != NULL && i < c->cells->cols; i++) {
        if (strcmp(c->name[i], word) == 0) {
            *col = i;
            found++;
        }
    }
    if (found > 1) {
        MT_TREE_FAIL(at, "%s has %d columns named '%s'; name it by its number", c->path, found,
                     word);
    }
    if (found == 1) {
        return MOTLEY_OK;
    }
    if (mt_num_int(word, &number) && number >= 1 && number <= c->cells->cols) {
        *col = (int)number - 1;
        return MOTLEY_OK;
    }
    if (c->name != NULL) {
        near = mt_word_nearest(word, (const char *const *)c->name, c->cells->cols);
    }
    if (near != NULL) {
        MT_TREE_FAIL(at, "%s has no column '%s'; did you mean '%s'?", c->path, word, near);
    }
    MT_TREE_FAIL(at, "%s has no column '%s'; it has %d columns%s", c->path, word, c->cells->cols,
                 c->name != NULL ? "" : " and no header, name them by number");
}

static int use(struct mt_columns *c, const struct mt_tree *at, const char *word, char as, int *list,
               int *n)
{
    char what[MT_COLUMN_TEXT];
    int col = 0;

    MT_TRY(find_column(c, at, word, &col));
    if (c->used[col] != 0) {
        MT_TREE_FAIL(at, "%s of %s is named twice", mt_columns_text(c, col, what), c->path);
    }
    c->used[col] = as;
    if (list != NULL) {
        list[*n] = col;
    }
    ++*n;
    return MOTLEY_OK;
}

/* A list of columns separated by commas, or the one name that the whole text is. */
static int use_list(struct mt_ctx *ctx, struct mt_columns *c, const char *key, const char *text,
                    char as, int *list, int *n)
{
    const struct mt_tree *at = mt_tree_get(c->at, key);
    char *copy = NULL, *word, *next;
    int st = MOTLEY_OK;

    for (int i = 0; c->name != NULL && i < c->cells->cols; i++) {
        if (strcmp(c->name[i], text) == 0) {
            return use(c, at, text, as, list, n);
        }
    }
    MT_TRY(mt_mem_strdup(ctx, text, &copy));
    for (word = copy; word != NULL; word = next) {
        size_t len;

        next = strchr(word, ',');
        if (next != NULL) {
            *next++ = '\0';
        }
        word += strspn(word, " ");
        for (len = strlen(word); len > 0 && word[len - 1] == ' '; len--) {
            word[len - 1] = '\0';
        }
        MT_TRY_OR(done, use(c, at, word, as, list, n));
    }
done:
    mt_free(ctx, copy);
    return st;
}

int mt_columns_choose(struct mt_ctx *ctx, struct mt_columns *c, const char *target,
                      const char *ignore, const char *inputs)
{
    int cols = c->cells->cols, ignored = 0;

    MT_TRY(MT_NEW_N(ctx, cols, &c->x));
    MT_TRY(MT_NEW_N(ctx, cols, &c->y));
    MT_TRY(MT_NEW_N(ctx, cols, &c->used));
    if (target != NULL) {
        MT_TRY(use_list(ctx, c, "target", target, 'y', c->y, &c->ny));
    } else {
        c->y[c->ny++] = cols - 1;
        c->used[cols - 1] = 'y';
    }
    if (ignore != NULL) {
        MT_TRY(use_list(ctx, c, "ignore", ignore, 'i', NULL, &ignored));
    }
    if (inputs != NULL) {
        MT_TRY(use_list(ctx, c, "columns", inputs, 'x', c->x, &c->nx));
    } else {
        for (int i = 0; i < cols; i++) {
            if (c->used[i] == 0) {
                c->x[c->nx++] = i;
            }
        }
    }
    MT_CHECK(c->nx > 0, MOTLEY_EFORMAT,
             "%s: no column is left for x; is the separator right? (%d column%s found)", c->path,
             cols, cols == 1 ? "" : "s");
    return MOTLEY_OK;
}

void mt_columns_free(struct mt_ctx *ctx, struct mt_columns *c)
{
    mt_free(ctx, c->x);
    mt_free(ctx, c->y);
    mt_free(ctx, c->used);
}
