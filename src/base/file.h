/* file.h -- whole files and folders: read, write durably, map, remove. Errors name the path. */
#ifndef MT_BASE_FILE_H
#define MT_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;

/* Whole file into a new block, a zero byte after its end. Gives *data. */
int mt_file_read(struct mt_ctx *ctx, const char *path, char **data, size_t *bytes);

/* Write to path.tmp-<pid>, sync, rename to path, sync the folder: path is old or new, never
 * half. */
int mt_file_write(struct mt_ctx *ctx, const char *path, const void *data, size_t bytes);

int mt_file_exists(const char *path);
int mt_dir_exists(const char *path);
int mt_dir_make(struct mt_ctx *ctx, const char *path);     /* with parents; exists: fine */
int mt_dir_sync(struct mt_ctx *ctx, const char *path);
int mt_dir_remove(struct mt_ctx *ctx, const char *path);   /* with its files, not its folders */

/* Names in a folder, sorted by strcmp, without . and ..; release with mt_dir_list_free. */
int mt_dir_list(struct mt_ctx *ctx, const char *path, char ***names, int *n);
void mt_dir_list_free(struct mt_ctx *ctx, char **names, int n);

#endif
