/* dev_setup.c -- what PoCL must be told before the first OpenCL call; what to say when there is no
 * device.
 *
 * PoCL crashes when several processes share its kernel cache (pocl issues 430, 1480), so each
 * process takes a folder of its own: the first slot that nobody else holds locked. The lock
 * ends with the process; the slot and what was compiled in it serve the next one. */
#define _GNU_SOURCE   /* flock, setenv */
#include "device/dev.h"

#include "base/ctx.h"
#include "base/file.h"
#include "device/dev_impl.h"
#include "device/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SLOTS = 4096 };

/* Takes the first free slot below dir: its path into buf. The descriptor that holds the lock is
 * left open on purpose, it must live as long as the process. */
static int take_slot(struct mt_ctx *ctx, const char *dir, char *buf, size_t room)
{
    char lock[4096];

    MT_TRY(mt_dir_make(ctx, dir));
    for (int slot = 0; slot < MAX_SLOTS; slot++) {
        int fd;

        snprintf(lock, sizeof lock, "%s/%d.lock", dir, slot);
        fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        MT_CHECK(fd >= 0, MOTLEY_EFILE, "%s: %s", lock, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            snprintf(buf, room, "%s/%d", dir, slot);
            if (mt_dir_make(ctx, buf) == MOTLEY_OK && access(buf, W_OK | X_OK) == 0) {
                return MOTLEY_OK;
            }
            close(fd);
            MT_FAIL(MOTLEY_EFILE, "%s: cannot be used", buf);
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            int why = errno;

            close(fd);
            MT_FAIL(MOTLEY_EFILE, "%s: cannot be locked: %s", lock, strerror(why));
        }
        close(fd);
    }
    MT_FAIL(MOTLEY_EFILE, "%s: all %d slots are taken", dir, MAX_SLOTS);
}

/* A folder for PoCL: below the cache folder, or below the folder for temporary files where there
 * is none or it cannot be written. */
static int pocl_folder(struct mt_ctx *ctx, char *buf, size_t room)
{
    const char *tmp = getenv("TMPDIR");
    char base[3072], dir[3200];
    struct stat info;
    int n;

    if (mt_prog_cache_dir(ctx, base, sizeof base)) {
        /* Host name: the folder may be on a network, where locks of other nodes may not count. */
        char host[64] = "node";

        gethostname(host, sizeof host - 1);
        snprintf(dir, sizeof dir, "%s/pocl/%s", base, host);
        if (take_slot(ctx, dir, buf, room) == MOTLEY_OK) {
            return MOTLEY_OK;
        }
        mt_log(ctx, MT_LOG_DEBUG, "dev", "%s", mt_err_text());
    }
    n = snprintf(dir, sizeof dir, "%s/motley-pocl-%ld", tmp != NULL ? tmp : "/tmp",
                 (long)getuid());
    MT_CHECK(n < (int)sizeof dir, MOTLEY_EFILE, "TMPDIR is too long");
    /* Anybody can make a folder of this name there, and could put programs into it. */
    MT_CHECK((mkdir(dir, 0700) == 0 || errno == EEXIST) && lstat(dir, &info) == 0 &&
             S_ISDIR(info.st_mode) && info.st_uid == getuid() && (info.st_mode & 022) == 0,
             MOTLEY_EFILE, "%s: cannot be made, or is not ours alone", dir);
    return take_slot(ctx, dir, buf, room);
}

int mt_dev_prepare(struct mt_ctx *ctx)
{
    char text[4096];
    int bound, all;

    if (getenv("POCL_CACHE_DIR") == NULL) {
        if (pocl_folder(ctx, text, sizeof text) < 0) {
            mt_log(ctx, MT_LOG_WARN, "dev", "PoCL gets no cache folder of its own, processes "
                   "may disturb each other: %s", mt_err_text());
        } else {
            MT_CHECK(setenv("POCL_CACHE_DIR", text, 1) == 0, MOTLEY_EMEM,
                     "host memory: no room in the environment");
        }
    }
    if (getenv("POCL_MAX_PTHREAD_COUNT") == NULL && mt_place_cores(ctx, &bound, &all) == 0 &&
        bound < all) {
        snprintf(text, sizeof text, "%d", bound);
        MT_CHECK(setenv("POCL_MAX_PTHREAD_COUNT", text, 1) == 0, MOTLEY_EMEM,
                 "host memory: no room in the environment");
    }
    return MOTLEY_OK;
}

/* Appends a line to buf. */
static void say(char *buf, size_t room, const char *line)
{
    size_t used = strlen(buf);

    snprintf(buf + used, room - used, "%s%s", used > 0 ? "\n" : "", line);
}

/* Number of .icd files that the loader reads, -1 if the folder cannot be read. */
static int vendors(struct mt_ctx *ctx, const char *dir)
{
    char **names = NULL;
    int n = 0, found = 0;

    if (mt_dir_list(ctx, dir, &names, &n) < 0) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        size_t len = strlen(names[i]);

        found += len > 4 && strcmp(names[i] + len - 4, ".icd") == 0;
    }
    mt_dir_list_free(ctx, names, n);
    return found;
}

void mt_dev_explain_none(struct mt_ctx *ctx, char *buf, size_t room)
{
    static const char *const node[] = {"/dev/dri/renderD128", "/dev/dri/renderD129", "/dev/kfd",
                                       "/dev/nvidiactl"};
    const char *own = getenv("OCL_ICD_VENDORS");
    const char *dir = own != NULL ? own : "/etc/OpenCL/vendors";
    int n = vendors(ctx, dir);
    char line[512];

    if (room == 0) {
        return;
    }
    buf[0] = '\0';
    say(buf, room, "no OpenCL device found");
    if (n <= 0) {
        snprintf(line, sizeof line, "  %s holds no .icd file%s: no OpenCL implementation is "
                 "installed", dir, own != NULL ? " (OCL_ICD_VENDORS is set)" : "");
        say(buf, room, line);
    } else {
        snprintf(line, sizeof line, "  %s names %d OpenCL implementation%s, none of which "
                 "offers a device to this user", dir, n, n > 1 ? "s" : "");
        say(buf, room, line);
    }
    say(buf, room, "  any CPU:     install PoCL (Debian, Ubuntu: apt install pocl-opencl-icd)");
    say(buf, room, "  Intel GPU:   install intel-opencl-icd");
    say(buf, room, "  AMD GPU:     install rocm-opencl-icd, or mesa-opencl-icd and set "
        "RUSTICL_ENABLE=radeonsi");
    say(buf, room, "  NVIDIA GPU:  install nvidia-opencl-icd (Debian) or the package of the "
        "driver that holds libnvidia-opencl.so.1; a container must be started with the driver "
        "capability \"compute\"");
    if (getenv("RUSTICL_ENABLE") == NULL) {
        say(buf, room, "  Mesa rusticl shows devices only if RUSTICL_ENABLE names their driver "
            "(iris, radeonsi, nouveau, llvmpipe)");
    }
    for (size_t i = 0; i < sizeof node / sizeof node[0]; i++) {
        if (access(node[i], F_OK) == 0 && access(node[i], R_OK | W_OK) != 0) {
            snprintf(line, sizeof line, "  this user may not open %s: add the account to the "
                     "groups render and video, and log in again", node[i]);
            say(buf, room, line);
        }
    }
}
