/* mpi.c -- the transport over MPI 3, and the only user of mpi.h.
 *
 * Only Isend, Irecv and Test are used once the job is open: a blocking call would burn a core
 * that computes, and could not end when a peer is dead. All traffic is on a duplicate of the
 * communicator, so it cannot meet the caller's. MPI returns its errors to us; they are reported
 * with MPI's own words. */
#define _POSIX_C_SOURCE 200809L
#include "config.h"

#include "comm/link.h"

#include "base/ctx.h"

#if MOTLEY_HAVE_MPI

#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEAVE_S 5                       /* for MPI to come to its end */
#define PIECE_BYTES ((size_t)1 << 30)   /* counts of MPI 3 are int */

struct state {
    MPI_Comm comm;
    int finalise;             /* MPI was initialised here */
    int nreq;
    MPI_Request *req;
};

static int fail(const struct mt_comm *c, int code, const char *what, int peer)
{
    char text[MPI_MAX_ERROR_STRING] = "", who[256] = "";
    int len = 0;

    MPI_Error_string(code, text, &len);
    if (peer >= 0) {
        mt_comm_who(c, peer, who, sizeof who);
    }
    MT_FAIL(MOTLEY_ECOMM, "%s%s%s: %s", what, peer >= 0 ? " " : "", who, text);
}

#define MPI_DO(c, what, call)                                                                 \
    do {                                                                                      \
        int code_ = (call);                                                                   \
        if (code_ != MPI_SUCCESS) {                                                           \
            return fail((c), code_, (what), -1);                                              \
        }                                                                                     \
    } while (0)

static int reserve(struct mt_comm *c, int n)
{
    struct state *s = c->state;

    n *= MT_PIECES;
    if (n > s->nreq) {
        MT_TRY(MT_RESIZE(c->ctx, n, &s->req));
        while (s->nreq < n) {
            s->req[s->nreq++] = MPI_REQUEST_NULL;
        }
    }
    return MOTLEY_OK;
}

static int post(struct mt_comm *c, int slot, int piece, int recv, void *data, size_t bytes,
                int peer, int tag)
{
    struct state *s = c->state;
    MPI_Request *req = &s->req[slot * MT_PIECES + piece];
    int n = (int)bytes, code;

    if (recv) {
        code = MPI_Irecv(data, n, MPI_BYTE, peer, tag, s->comm, req);
    } else {
        code = MPI_Isend(data, n, MPI_BYTE, peer, tag, s->comm, req);
    }
    if (code != MPI_SUCCESS) {
        return fail(c, code, recv ? "receiving from" : "sending to", peer);
    }
    return MOTLEY_OK;
}

static int poll(struct mt_comm *c, int slot, int piece, size_t bytes, int *done)
{
    struct state *s = c->state;
    const struct mt_slot *q = &c->slot[slot];
    MPI_Status status;
    int code = MPI_Test(&s->req[slot * MT_PIECES + piece], done, &status), got = 0;

    if (code != MPI_SUCCESS) {
        return fail(c, code, q->recv ? "receiving from" : "sending to", q->peer);
    }
    if (*done && q->recv) {
        char who[256];

        MPI_DO(c, "MPI_Get_count", MPI_Get_count(&status, MPI_BYTE, &got));
        MT_CHECK((size_t)got == bytes, MOTLEY_ECOMM,
                 "%s sent %d bytes where %zu were expected: the ranks do not run the same steps",
                 mt_comm_who(c, q->peer, who, sizeof who), got, bytes);
    }
    return MOTLEY_OK;
}

static void cancel(struct mt_comm *c, int slot)
{
    struct state *s = c->state;

    for (int i = slot * MT_PIECES; i < (slot + 1) * MT_PIECES; i++) {
        if (s->req[i] != MPI_REQUEST_NULL) {
            if (c->slot[slot].recv) {
                MPI_Cancel(&s->req[i]);
            }
            MPI_Request_free(&s->req[i]);
        }
    }
}

static void *leave_late(void *arg)
{
    const struct mt_comm *c = arg;
    struct timespec left = {.tv_sec = LEAVE_S};

    while (nanosleep(&left, &left) != 0) {
    }
    if (c->info.rank == 0) {
        mt_log(c->ctx, MT_LOG_WARN, "comm", "MPI_Finalize did not return within %d s and is left "
               "behind; all work is done (%s)", LEAVE_S, c->transport);
    }
    _Exit(c->exit_code);
}

/* MPICH 4.0.2 over UCX 1.13 waits for ever in MPI_Finalize, in every third job on two hosts with
 * TCP, once another process has closed its connections (openucx/ucx issue 8738). By then all work
 * is done, so a process that ends anyway must not hang the job. */
static void finalise(struct mt_comm *c)
{
    pthread_t thread;

    if (c->leaving && pthread_create(&thread, NULL, leave_late, c) == 0) {
        pthread_detach(thread);
    }
    MPI_Finalize();
}

static void close_link(struct mt_comm *c)
{
    struct state *s = c->state;

    if (s == NULL) {
        return;
    }
    /* A broken job cannot end in order: freeing and finalising wait for all processes. */
    if (!c->broken) {
        if (s->comm != MPI_COMM_NULL) {
            MPI_Comm_free(&s->comm);
        }
        if (s->finalise) {
            finalise(c);
        }
    }
    mt_free(c->ctx, s->req);
    mt_free(c->ctx, s);
    c->state = NULL;
}

static void end_job(struct mt_comm *c, int exit_code)
{
    struct state *s = c->state;

    MPI_Abort(s->comm, exit_code);
    _Exit(exit_code);
}

static const struct mt_link link_mpi = {
    .max_bytes = PIECE_BYTES,
    .reserve = reserve,
    .post = post,
    .poll = poll,
    .cancel = cancel,
    .close = close_link,
    .end = end_job,
};

static int initialise(struct mt_comm *c, struct state *s, const void *mpi)
{
    int begun = 0, ended = 0, level = 0;

    MPI_DO(c, "MPI_Finalized", MPI_Finalized(&ended));
    MT_CHECK(!ended, MOTLEY_ECOMM,
             "MPI was finalised in this process and cannot start again; open one context and keep "
             "it, or initialise MPI in the calling program");
    MPI_DO(c, "MPI_Initialized", MPI_Initialized(&begun));
    MT_CHECK(begun || mpi == NULL, MOTLEY_EARG,
             "a communicator was passed in, but MPI is not initialised; call "
             "MPI_Init_thread first");
    if (!begun) {
        /* The other threads of the process (device, readers) make no MPI call. */
        MPI_DO(c, "MPI_Init_thread", MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level));
        s->finalise = 1;
    }
    return MOTLEY_OK;
}

/* Who shares this host: node_rank, node_size, and the lowest rank there. */
static int find_node(struct mt_comm *c, struct state *s)
{
    MPI_Comm node;
    MPI_Group all, here;
    int zero = 0, lead = 0;

    MPI_DO(c, "MPI_Comm_split_type",
           MPI_Comm_split_type(s->comm, MPI_COMM_TYPE_SHARED, c->info.rank, MPI_INFO_NULL,
                               &node));
    MPI_DO(c, "MPI_Comm_rank", MPI_Comm_rank(node, &c->info.node_rank));
    MPI_DO(c, "MPI_Comm_size", MPI_Comm_size(node, &c->info.node_size));
    MPI_DO(c, "MPI_Comm_group", MPI_Comm_group(s->comm, &all));
    MPI_DO(c, "MPI_Comm_group", MPI_Comm_group(node, &here));
    MPI_DO(c, "MPI_Group_translate_ranks",
           MPI_Group_translate_ranks(here, 1, &zero, all, &lead));
    MPI_DO(c, "MPI_Group_free", MPI_Group_free(&all));
    MPI_DO(c, "MPI_Group_free", MPI_Group_free(&here));
    MPI_DO(c, "MPI_Comm_free", MPI_Comm_free(&node));
    c->card.lead = lead;
    return MOTLEY_OK;
}

int mt_mpi_open(struct mt_comm *c, void *mpi)
{
    struct state *s = NULL;
    MPI_Comm from = MPI_COMM_WORLD;
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int len = 0;

    MT_TRY(MT_NEW(c->ctx, &s));
    s->comm = MPI_COMM_NULL;
    c->link = &link_mpi;
    c->state = s;
    MT_TRY(initialise(c, s, mpi));
    if (mpi != NULL) {
        memcpy(&from, mpi, sizeof from);
    }
    MPI_DO(c, "MPI_Comm_dup", MPI_Comm_dup(from, &s->comm));
    MPI_DO(c, "MPI_Comm_set_errhandler",
           MPI_Comm_set_errhandler(s->comm, MPI_ERRORS_RETURN));
    MPI_DO(c, "MPI_Comm_rank", MPI_Comm_rank(s->comm, &c->info.rank));
    MPI_DO(c, "MPI_Comm_size", MPI_Comm_size(s->comm, &c->info.size));
    MT_TRY(find_node(c, s));

    /* "Open MPI v4.1.4, package: ..." and "MPICH Version:<tab>4.0.2<newline>...": the start. */
    MPI_DO(c, "MPI_Get_library_version", MPI_Get_library_version(text, &len));
    text[strcspn(text, ",\n")] = '\0';
    for (char *p = text; *p != '\0'; p++) {
        *p = *p == '\t' ? ' ' : *p;
    }
    snprintf(c->transport, sizeof c->transport, "%.*s", (int)sizeof c->transport - 1, text);
    return MOTLEY_OK;
}

#else

int mt_mpi_open(struct mt_comm *c, void *mpi)
{
    (void)c;
    (void)mpi;
    MT_FAIL(MOTLEY_EUNSUP,
            "the job was started by an MPI launcher, but this motley was built without MPI: every "
            "process would train alone; build it with --with-mpi, or start one process");
}

#endif
