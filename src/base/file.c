/* file.c -- whole files and folders on POSIX. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"

#include "base/ctx.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int mt_file_read(struct mt_ctx *ctx, const char *path, char **data, size_t *bytes)
{
    char *block = NULL;
    size_t got = 0;
    struct stat info;
    int fd, st = MOTLEY_OK;

    fd = open(path, O_RDONLY);
    MT_CHECK(fd >= 0, MOTLEY_EFILE, "%s: %s", path, strerror(errno));
    MT_CHECK_OR(done, fstat(fd, &info) == 0, MOTLEY_EFILE, "%s: %s", path, strerror(errno));
    MT_CHECK_OR(done, S_ISREG(info.st_mode), MOTLEY_EFILE, "%s: is not a plain file", path);
    MT_TRY_OR(done, mt_mem_get(ctx, (size_t)info.st_size + 1, 1, (void **)&block));
    while (got < (size_t)info.st_size) {
        ssize_t n = read(fd, block + got, (size_t)info.st_size - got);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        MT_CHECK_OR(done, n >= 0, MOTLEY_EFILE, "%s: %s", path, strerror(errno));
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    *data = block;
    *bytes = got;
    block = NULL;
done:
    mt_free(ctx, block);
    close(fd);
    return st;
}

static int write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* The folder part of path into dir: "a/b" gives "a", "b" gives ".". */
static void folder_of(const char *path, char *dir, size_t room)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);

    if (slash == NULL) {
        snprintf(dir, room, ".");
    } else {
        snprintf(dir, room, "%.*s", n == 0 ? 1 : (int)n, path);
    }
}

int mt_file_write(struct mt_ctx *ctx, const char *path, const void *data, size_t bytes)
{
    char tmp[4096], dir[4096];
    int fd, why;

    MT_CHECK(snprintf(tmp, sizeof tmp, "%s.tmp-%ld", path, (long)getpid()) < (int)sizeof tmp,
             MOTLEY_EFILE, "%s: path is too long", path);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    MT_CHECK(fd >= 0, MOTLEY_EFILE, "%s: cannot be written: %s", path, strerror(errno));
    why = 0;
    if (write_all(fd, data, bytes) != 0 || fsync(fd) != 0) {
        why = errno;
    }
    if (close(fd) != 0 && why == 0) {
        why = errno;
    }
    if (why == 0 && rename(tmp, path) != 0) {
        why = errno;
    }
    if (why != 0) {
        unlink(tmp);
        MT_FAIL(MOTLEY_EFILE, "%s: cannot be written: %s", path, strerror(why));
    }
    folder_of(path, dir, sizeof dir);
    return mt_dir_sync(ctx, dir);
}

int mt_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

int mt_dir_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

int mt_dir_make(struct mt_ctx *ctx, const char *path)
{
    char part[4096];

    (void)ctx;
    MT_CHECK(strlen(path) < sizeof part, MOTLEY_EFILE, "%s: path is too long", path);
    for (size_t i = 1; path[i - 1] != '\0'; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, 0777) != 0) {
            int why = errno;   /* looking whether it exists changes it */

            MT_CHECK(mt_dir_exists(part), MOTLEY_EFILE, "%s: cannot make this folder: %s", part,
                     strerror(why));
        }
    }
    return MOTLEY_OK;
}

int mt_dir_sync(struct mt_ctx *ctx, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY), ok;

    (void)ctx;
    MT_CHECK(fd >= 0, MOTLEY_EFILE, "%s: %s", path, strerror(errno));
    ok = fsync(fd) == 0 || errno == EINVAL;   /* some file systems cannot sync a folder */
    close(fd);
    MT_CHECK(ok, MOTLEY_EFILE, "%s: cannot be synced", path);
    return MOTLEY_OK;
}

int mt_dir_remove(struct mt_ctx *ctx, const char *path)
{
    char **names = NULL, file[4096];
    int n = 0, st = MOTLEY_OK;

    MT_TRY(mt_dir_list(ctx, path, &names, &n));
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        MT_CHECK_OR(done, unlink(file) == 0 || errno == ENOENT, MOTLEY_EFILE,
                    "%s: cannot be removed: %s", file, strerror(errno));
    }
    MT_CHECK_OR(done, rmdir(path) == 0 || errno == ENOENT, MOTLEY_EFILE,
                "%s: cannot be removed: %s", path, strerror(errno));
done:
    mt_dir_list_free(ctx, names, n);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int mt_dir_list(struct mt_ctx *ctx, const char *path, char ***names, int *n)
{
    char **list = NULL;
    int count = 0, room = 0, st = MOTLEY_OK;
    DIR *d = opendir(path);
    struct dirent *e;

    MT_CHECK(d != NULL, MOTLEY_EFILE, "%s: %s", path, strerror(errno));
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (count == room) {
            MT_TRY_OR(fail, MT_RESIZE(ctx, room + 16, &list));
            room += 16;
        }
        MT_TRY_OR(fail, mt_mem_strdup(ctx, e->d_name, &list[count]));
        count++;
    }
    closedir(d);
    if (count > 0) {
        qsort(list, (size_t)count, sizeof *list, by_name);
    }
    *names = list;
    *n = count;
    return MOTLEY_OK;
fail:
    closedir(d);
    mt_dir_list_free(ctx, list, count);
    return st;
}

void mt_dir_list_free(struct mt_ctx *ctx, char **names, int n)
{
    for (int i = 0; i < n; i++) {
        mt_free(ctx, names[i]);
    }
    mt_free(ctx, names);
}
