/* share.c -- memory of each process that the others of its host see, too.
 *
 * POSIX shared memory, one segment a process. A name exists only while the others open it: all
 * names are gone before mt_share_new returns, so a process that is killed leaves nothing behind;
 * the memory itself goes with the last process that maps it. Room is taken at once, because a
 * file system that is full (64 MiB in many containers) otherwise shows it as SIGBUS at the first
 * write.
 *
 * Where any process of a host cannot have it, none of that host has: who shares must be known
 * alike to all. */
#define _POSIX_C_SOURCE 200809L
#include "comm/link.h"

#include "base/ctx.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct card {
    char name[64];      /* "": none */
    uint64_t bytes;
};

struct mt_share {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    int usable;
    struct card *card;  /* by rank of the job */
    char **at;          /* the same: where it is mapped here; NULL: not on this host */
};

static int here(const struct mt_share *s, int rank)
{
    return s->comm->peer[rank].card.lead == s->comm->card.lead;
}

/* NULL with the reason in errno. */
static void *map(int fd, uint64_t bytes)
{
    void *at = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return at == MAP_FAILED ? NULL : at;
}

/* The own segment; whether it is there. */
static int make(struct mt_share *s, struct card *mine)
{
    int rank = s->comm->info.rank, fd, code;

    snprintf(mine->name, sizeof mine->name, "/motley-%" PRId64 "-%" PRIx64 "-%.0f",
             s->comm->card.pid, s->comm->card.start, 1e9 * mt_comm_clock());
    fd = shm_open(mine->name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd < 0) {
        mt_log(s->ctx, MT_LOG_DEBUG, "comm", "no shared memory: shm_open: %s", strerror(errno));
        mine->name[0] = '\0';
        return 0;
    }
    code = posix_fallocate(fd, 0, (off_t)mine->bytes);
    if (code == 0) {
        s->at[rank] = map(fd, mine->bytes);
        code = s->at[rank] == NULL ? errno : 0;
    }
    close(fd);
    if (code != 0) {
        mt_log(s->ctx, MT_LOG_DEBUG, "comm", "no shared memory: %" PRIu64 " bytes: %s",
               mine->bytes, strerror(code));
        shm_unlink(mine->name);
        mine->name[0] = '\0';
    }
    return code == 0;
}

/* Whether all of this host are seen. */
static int attach(struct mt_share *s)
{
    int all = 1;

    for (int r = 0; r < s->comm->info.size && all; r++) {
        int fd;

        if (!here(s, r) || r == s->comm->info.rank) {
            continue;
        }
        fd = s->card[r].name[0] != '\0' ? shm_open(s->card[r].name, O_RDWR, 0) : -1;
        if (fd >= 0) {
            s->at[r] = map(fd, s->card[r].bytes);
            close(fd);
        }
        all = s->at[r] != NULL;
    }
    return all;
}

static void unmap(struct mt_share *s)
{
    for (int r = 0; s->at != NULL && r < s->comm->info.size; r++) {
        if (s->at[r] != NULL) {
            munmap(s->at[r], (size_t)s->card[r].bytes);
            s->at[r] = NULL;
        }
    }
}

static int allocate(struct mt_share *s)
{
    MT_TRY(MT_NEW_N(s->ctx, s->comm->info.size, &s->card));
    MT_TRY(MT_NEW_N(s->ctx, s->comm->info.size, &s->at));
    return MOTLEY_OK;
}

static int meet(struct mt_share *s, uint64_t bytes)
{
    int size = s->comm->info.size, st;
    struct card mine = {.bytes = bytes > 0 ? bytes : 1};
    char ok = s->comm->info.node_size > 1, *every = NULL;

    MT_TRY(mt_comm_agree(s->comm, MT_NEW_N(s->ctx, size, &every)));
    ok = ok && make(s, &mine);
    MT_TRY_OR(end, mt_comm_allgather(s->comm, &mine, sizeof mine, s->card));
    ok = ok && attach(s);
    MT_TRY_OR(end, mt_comm_allgather(s->comm, &ok, sizeof ok, every));
    s->usable = 1;
    for (int r = 0; r < size; r++) {
        s->usable = s->usable && (!here(s, r) || every[r]);
    }
end:
    if (mine.name[0] != '\0') {
        shm_unlink(mine.name);
    }
    mt_free(s->ctx, every);
    return st;
}

int mt_share_new(struct mt_ctx *ctx, struct mt_comm *c, uint64_t bytes, struct mt_share **out)
{
    struct mt_share *s = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &s));
    s->ctx = ctx;
    s->comm = c;
    MT_TRY_OR(fail, mt_comm_agree(c, allocate(s)));
    MT_TRY_OR(fail, meet(s, bytes));
    if (!s->usable) {
        unmap(s);
    }
    *out = s;
    return MOTLEY_OK;
fail:
    mt_share_free(s);
    return st;
}

void mt_share_free(struct mt_share *s)
{
    if (s != NULL) {
        unmap(s);
        mt_free(s->ctx, s->at);
        mt_free(s->ctx, s->card);
        mt_free(s->ctx, s);
    }
}

void *mt_share_of(const struct mt_share *s, int rank, uint64_t off, uint64_t bytes)
{
    const struct card *k = &s->card[rank];

    return s->at[rank] != NULL && off <= k->bytes && bytes <= k->bytes - off ? s->at[rank] + off
                                                                             : NULL;
}
