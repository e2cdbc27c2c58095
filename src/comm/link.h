/* link.h -- inside src/comm only: what a transport gives, and the state of a communicator.
 *
 * A transport moves pieces of at most max_bytes between two processes without blocking; between two
 * hosts pieces of MT_FAR_BYTES, because up to 64 KiB MPI libraries send over a network at once.
 * Longer messages are announced, and the answer waits behind the data of the other direction, so
 * that the two directions take turns: twice the time (docs/performance.md). All else
 * (long messages, collectives, agreement, watching the peers) is made from that in comm.c and
 * watch.c, so that no wait is hidden in a library that cannot be told about a dead process. */
#ifndef MT_COMM_LINK_H
#define MT_COMM_LINK_H

#include "comm/comm.h"

#define MT_FAR_BYTES   ((size_t)60 << 10)   /* with its header below 64 KiB */
#define MT_PIECES      32     /* of one message on their way: 10 Gbit/s at a look every 1.5 ms */
#define MT_HOST_ROOM   64
#define MT_DEVICE_ROOM 128

/* Tags on the wire; every MPI has at least 0..32767. */
enum { MT_TAG_USER = 0, MT_TAG_REDUCE = 10000, MT_TAG_COLLECT = 31000, MT_TAG_COLL = 32000 };
enum { MT_TAGS_USER = 10000, MT_TAGS_REDUCE = 5000, MT_TAGS_COLLECT = 1000 };

struct mt_link {
    size_t max_bytes;             /* of one piece */
    /* Room for the pieces of n messages, numbered 0..n-1, MT_PIECES each (`piece`). */
    int (*reserve)(struct mt_comm *c, int n);
    int (*post)(struct mt_comm *c, int slot, int piece, int recv, void *data, size_t bytes,
                int peer, int tag);
    /* bytes: of that piece. */
    int (*poll)(struct mt_comm *c, int slot, int piece, size_t bytes, int *done);
    void (*cancel)(struct mt_comm *c, int slot);   /* forgets a message; its memory may go */
    void (*close)(struct mt_comm *c);              /* accepts a half-opened one */
    void (*end)(struct mt_comm *c, int exit_code);   /* all processes; does not return */
};

/* What every process tells all others when the job opens. Sent as bytes: the hosts of a job have
 * one byte order. */
struct mt_card {
    int64_t pid;
    uint64_t start;               /* when the process began, in the host's ticks; 0: unknown */
    int64_t lead;                 /* lowest rank on the same host */
    char host[MT_HOST_ROOM];
    char device[MT_DEVICE_ROOM];  /* "" until mt_comm_describe */
};

struct mt_peer {
    struct mt_card card;
    int watched;                  /* its process can be seen from here */
    double gone_at;               /* when it was first missed; 0: alive as far as known */
};

struct mt_slot {
    char *data;
    size_t bytes;                 /* of the message */
    size_t piece;                 /* of each of its pieces but the last */
    size_t posted, over;          /* given to the transport, and what of it is through */
    int peer, tag, recv;
    int next;                     /* list of free slots, -1 ends it; -2: in use */
};

/* gauge.c: what messages cost, the same figures on every rank. Seconds, bytes a second. */
struct mt_links {
    int known;
    double near_latency, near_rate;   /* inside a host; the latency is also what a message takes of
                                         its rank */
    double far_latency, far_rate;     /* between hosts, of all ranks of a host together */
    double add_rate;                  /* of adding one array to another */
    int alike;                        /* the processors of all ranks add to the same bits */
};

struct mt_comm {
    struct mt_ctx *ctx;
    const struct mt_link *link;
    void *state;                  /* of the transport */
    struct mt_comm_info info;
    struct mt_card card;          /* own */
    char transport[128];
    struct mt_peer *peer;         /* size of them; NULL while opening */

    int nslot, free_slot, reserved;
    struct mt_slot *slot;
    int cut;                      /* requests in flight with pieces to come */
    size_t piece, far_piece;      /* with processes of this host, and of others */
    void *scratch;                /* for small collectives */
    size_t scratch_bytes;

    struct mt_links links;
    uint64_t completed;           /* messages, ever: progress is seen by this */
    uint64_t completed_seen;
    double progress_at, scanned_at;
    double timeout;
    const char *doing;            /* mt_comm_doing */
    int64_t doing_number;
    const volatile int *stop;
    double stop_at;               /* when stop was first seen; 0: not yet */
    int broken;                   /* a wait was given up: no orderly end is possible */
    int leaving, exit_code;       /* mt_comm_leave */
};

int mt_self_open(struct mt_comm *c);
/* mpi: the caller's MPI_Comm *, or NULL. A build without MPI refuses with the remedy. */
int mt_mpi_open(struct mt_comm *c, void *mpi);

/* watch.c */
void mt_watch_card(struct mt_card *card);            /* pid, start, host of this process */
void mt_watch_peers(struct mt_comm *c);              /* find out who can be seen */

/* coll.c: the ranks that take part in a sum, named by their position in the group. */
struct mt_part {
    struct mt_group group;
    int me, size;
};
int mt_part_rank(const struct mt_part *p, int j);    /* of the job */
int mt_part_adds(const struct mt_part *p, int j);
/* Part j of n numbers is [lo(j), lo(j + 1)). */
int64_t mt_part_lo(int64_t n, int j, int size);

/* add.c */
enum mt_form {
    MT_FORM_FLOAT = 0,
    MT_FORM_ROUNDED,      /* floats, each rounded to bf16 as it is read or written */
    MT_FORM_PACKED        /* bf16 in memory (uint16_t) */
};
/* Each array of `to` gets from[0] + from[1] + ...; an array may be in both. */
void mt_add_in_order(enum mt_form form, int64_t n, int nfrom, const void *const *from, int nto,
                     void *const *to);
void mt_pack(int64_t n, const float *from, uint16_t *to);
void mt_unpack(int64_t n, const uint16_t *from, float *to);

/* way.c: ranks of a sum on their hosts. */
struct mt_crowd {
    int size, hosts;
    int fullest;                      /* ranks of the host that has most of them */
    double leaving;                   /* messages out of a host if each rank sends one to each: the
                                         host with most */
};
/* Bytes below which it is shorter to send whole arrays. */
double mt_way_limit(const struct mt_links *l, const struct mt_crowd *c);

/* direct.c */
struct mt_direct;
int mt_direct_new(struct mt_ctx *ctx, struct mt_comm *c, const struct mt_share *share, int most,
                  struct mt_direct **out);
void mt_direct_free(struct mt_direct *d);
/* tag: of the wire, and the one behind it. At sum->off of the own memory of the share the data lie
 * or are copied. */
int mt_direct_start(struct mt_direct *d, const struct mt_part *part, int tag,
                    const struct mt_sum *sum);
int mt_direct_test(struct mt_direct *d, int *done, int *peer);
void mt_direct_drop(struct mt_direct *d);            /* forgets a sum under way */

/* As send and recv, with a tag of the wire. */
int mt_comm_start(struct mt_comm *c, void *data, size_t bytes, int peer, int tag, int recv,
                  int *req);

#endif
