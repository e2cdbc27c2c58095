/* cells.h -- delimited text (CSV and its relatives) as a table of cells. */
#ifndef MT_DATA_CELLS_H
#define MT_DATA_CELLS_H

#include <stdint.h>

struct mt_ctx;

struct mt_cells {
    char *text;        /* the file; the cells lie in it */
    int64_t rows;
    int cols;
    char **cell;       /* cell (r, c) is cell[r * cols + c]: without quotes and outer blanks */
    int64_t *line;     /* line of the file where row r begins, from 1 */
};

/* Reads a whole file. separator 0: the one of ; tab , | that is most frequent in the first line.
 * Understands "quoted" cells with "" for a quote, also over several lines, CRLF, a byte order mark
 * and empty lines, which are skipped. Every row has as many cells as the first, or it is refused
 * by its line. Fills *out, which is released by mt_cells_free. */
int mt_cells_read(struct mt_ctx *ctx, const char *path, char separator, struct mt_cells *out);
void mt_cells_free(struct mt_ctx *ctx, struct mt_cells *c);

#endif
