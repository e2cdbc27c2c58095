/* self.c -- the transport of a job of one process: there is nobody to send to. */
#define _POSIX_C_SOURCE 200809L
#include "comm/link.h"

#include "base/ctx.h"

#include <stdio.h>
#include <unistd.h>

static int reserve(struct mt_comm *c, int n)
{
    (void)c;
    (void)n;
    return MOTLEY_OK;
}

static int post(struct mt_comm *c, int slot, int piece, int recv, void *data, size_t bytes,
                int peer, int tag)
{
    (void)c;
    (void)slot;
    (void)piece;
    (void)recv;
    (void)data;
    (void)bytes;
    (void)tag;
    MT_FAIL(MOTLEY_EBUG, "internal error, please report: message to rank %d in a job of one", peer);
}

static int poll(struct mt_comm *c, int slot, int piece, size_t bytes, int *done)
{
    (void)c;
    (void)slot;
    (void)piece;
    (void)bytes;
    *done = 1;
    return MOTLEY_OK;
}

static void cancel(struct mt_comm *c, int slot)
{
    (void)c;
    (void)slot;
}

static void close_link(struct mt_comm *c)
{
    (void)c;
}

static void end_job(struct mt_comm *c, int exit_code)
{
    (void)c;
    _exit(exit_code);
}

static const struct mt_link link_self = {
    .max_bytes = 1,
    .reserve = reserve,
    .post = post,
    .poll = poll,
    .cancel = cancel,
    .close = close_link,
    .end = end_job,
};

int mt_self_open(struct mt_comm *c)
{
    c->link = &link_self;
    c->info.rank = 0;
    c->info.size = 1;
    c->info.node_rank = 0;
    c->info.node_size = 1;
    c->card.lead = 0;
    snprintf(c->transport, sizeof c->transport, "self");
    return MOTLEY_OK;
}
