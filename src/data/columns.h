/* columns.h -- which columns of a table are x, which are y. */
#ifndef MT_DATA_COLUMNS_H
#define MT_DATA_COLUMNS_H

#include "base/tree.h"

struct mt_cells;

#define MT_COLUMN_TEXT 80

struct mt_columns {
    /* Set by the caller, borrowed: the file's name, the section with the keys, the table, and
     * the names in the first line, or NULL. */
    const char *path;
    const struct mt_tree *at;
    const struct mt_cells *cells;
    char **name;

    int *x, *y;           /* columns of x and y, in order */
    int nx, ny;
    char *used;           /* per column: 'x', 'y', 'i' (ignored) or 0 */
};

/* Lists of names or numbers from 1 with commas between, each may be NULL: target (default the
 * last column), ignore (none), inputs (all others). What is wrong is said with the place of the
 * keys 'target', 'ignore', 'columns'. mt_columns_free releases what was made, also on failure. */
int mt_columns_choose(struct mt_ctx *ctx, struct mt_columns *c, const char *target,
                      const char *ignore, const char *inputs);
void mt_columns_free(struct mt_ctx *ctx, struct mt_columns *c);

/* For messages: "column 'pH'" or "column 9". */
const char *mt_columns_text(const struct mt_columns *c, int col, char buf[MT_COLUMN_TEXT]);

#endif
