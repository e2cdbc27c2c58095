/* comm.h -- the processes of a job and messages between them, on host memory.
 *
 * One implementation per transport, as a table of functions: mpi.c (the only user of mpi.h) and
 * self.c (one process). Called from one thread. Lengths are in bytes and 64 bit; they are cut to
 * the transport's limit in one place. */
#ifndef MT_COMM_COMM_H
#define MT_COMM_COMM_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;
struct mt_comm;

struct mt_comm_info {
    int rank, size;             /* of all processes */
    int node_rank, node_size;   /* of those on this host */
    int node;                   /* number of the host, in order of its lowest rank */
    const char *host;           /* name of this host */
    const char *transport;      /* "self", or the MPI library's name and version */
};

/* mpi: NULL, or an MPI_Comm * of the caller (motley_mpi.h). Without one, MPI is initialised if the
 * process was started by a launcher (mpirun, srun) and the build has MPI; else there is one
 * process. MPI that was initialised here is finalised by close. Started by a launcher in a build
 * without MPI is an error: N lonely trainings are never what was meant. */
int mt_comm_open(struct mt_ctx *ctx, void *mpi, struct mt_comm **out);
void mt_comm_close(struct mt_comm *c);
/* The process ends with this code as soon as the job is closed: mt_comm_close may end it, with a
 * warning, where MPI does not return. */
void mt_comm_leave(struct mt_comm *c, int exit_code);
const struct mt_comm_info *mt_comm_info(const struct mt_comm *c);

/* Messages to and from other ranks; tag: 0..9999. A request is a small number, released when test
 * says done or fails. */
int mt_comm_send(struct mt_comm *c, const void *data, size_t bytes, int peer, int tag, int *req);
int mt_comm_recv(struct mt_comm *c, void *data, size_t bytes, int peer, int tag, int *req);
int mt_comm_test(struct mt_comm *c, int req, int *done);
int mt_comm_wait(struct mt_comm *c, int req, int peer);   /* until done, as a collective waits */
void mt_comm_cancel(struct mt_comm *c, int req);          /* forgets it; -1: nothing */
/* Room for n more of them in flight at a time (< 0: fewer), so that none asks for memory. */
int mt_comm_reserve(struct mt_comm *c, int n);

/* Small blocking collectives for set-up and bookkeeping. While they wait they watch for death of
 * peers and for the time limit (mt_comm_watch). all: size blocks of `bytes`, by rank. */
int mt_comm_allgather(struct mt_comm *c, const void *mine, size_t bytes, void *all);
int mt_comm_bcast(struct mt_comm *c, void *data, size_t bytes, int root);
int mt_comm_barrier(struct mt_comm *c);
/* Sum over all ranks, in rank order: the same bits everywhere. */
int mt_comm_sum(struct mt_comm *c, double *data, int n);
/* *x becomes the largest of all ranks. */
int mt_comm_max(struct mt_comm *c, double *x);
/* The error of the lowest failing rank, with its words and its name in front, becomes the error
 * of all (MOTLEY_ESTOP gives way to failures; an error that all share stays as it is). Call it
 * before anything collective that depends on success everywhere. */
int mt_comm_agree(struct mt_comm *c, int code);

/* What a rank is, for messages: set once, exchanged ("host node7, device NVIDIA H200"). */
int mt_comm_describe(struct mt_comm *c, const char *device);
/* "rank 3 (host node7, NVIDIA H200)" into buf. */
const char *mt_comm_who(const struct mt_comm *c, int rank, char *buf, size_t room);

/* Seconds that a wait may last without any progress of the peer; 0: no limit. stop: set by a
 * signal handler; half a minute of silence after it is set ends a wait with MOTLEY_ESTOP. */
void mt_comm_watch(struct mt_comm *c, double timeout, const volatile int *stop);

/* What all ranks are at, for messages about one that does not answer: "training step", 120. what:
 * a text that stays; NULL: nothing in particular. */
void mt_comm_doing(struct mt_comm *c, const char *what, int64_t number);

/* The rank that speaks for the job: the lowest not known to be dead. */
int mt_comm_speaker(const struct mt_comm *c);

/* Measures what messages cost, once; by that the ways of sums are chosen. Collective. */
int mt_comm_gauge(struct mt_comm *c);

double mt_comm_clock(void);   /* seconds, monotonic */

/* For loops that wait: call with the time since the last progress and the rank waited for (-1:
 * unknown). Yields the processor; fails with MOTLEY_ECOMM and a message that names the rank if it
 * died (processes of this host are watched) or the time limit passed. */
int mt_comm_idle(struct mt_comm *c, double seconds_waited, int peer);
/* The same for a loop that sleeps by itself. */
int mt_comm_look(struct mt_comm *c, double seconds_waited, int peer);

/* Ends all processes of the job at once with this exit code; prints nothing. Does not return. */
void mt_comm_abort(struct mt_comm *c, int exit_code);

/* ---- share.c -----------------------------------------------------------------------------
 * Memory of each rank that the others of its host can read and write. */
struct mt_share;

/* bytes: of the own memory, which is zero and begins at a page. Where one rank of a host cannot
 * have it (no shared memory, or not enough), no rank of that host has. Gives *out. Collective. */
int mt_share_new(struct mt_ctx *ctx, struct mt_comm *c, uint64_t bytes, struct mt_share **out);
void mt_share_free(struct mt_share *s);
/* Memory of a rank at [off, off + bytes); NULL: not on this host, not shared, not so long. */
void *mt_share_of(const struct mt_share *s, int rank, uint64_t off, uint64_t bytes);

/* ---- coll.c ------------------------------------------------------------------------------
 * Sum of float arrays over some ranks, not blocking, in rank order: element e of the result is
 * (((r0 + r1) + r2) + ...), the same bits on every rank and in every run. */
struct mt_reduce;

/* The ways to the same bits; see way.c. */
enum mt_way {
    MT_WAY_AUTO = 0,          /* the shorter of the next two, by what mt_comm_gauge has measured */
    MT_WAY_PARTS,             /* each rank adds one part and hands it to all */
    MT_WAY_WHOLE,             /* each rank sends all it has to all, and all add */
    MT_WAY_BESIDE             /* in memory that the ranks share */
};
const char *mt_way_name(enum mt_way way);

/* Ranks of the job in the order in which they add; `adds` by position: 0: gets the sum without
 * adding its own numbers; NULL: all add. Whoever starts a sum must be in its group. */
struct mt_group {
    int n;
    const int *rank;          /* NULL: all ranks of the job */
    const char *adds;
};

struct mt_sum {
    const struct mt_group *group;   /* NULL: all ranks */
    int tag;                  /* 0..4999, the same on all ranks of the group, distinguishes sums in
                                 flight at the same time; those of one tag start in the same order
                                 everywhere */
    float *data;              /* replaced by the sum */
    int64_t n;
    int bf16;                 /* every rank's numbers are rounded to bf16, so is the sum (add.c);
                                 half the bytes travel. Of one rank alone nothing is rounded */
    int placed;               /* the array has a place of its own in the memory that this rank
                                 shares, `off` bytes from its start: if data points there nothing
                                 is copied, else to there and back */
    uint64_t off;
};

/* most: ranks of the largest group; max: longest array; bf16: some sums are. Allocates everything
 * that start and test need. */
int mt_reduce_new(struct mt_ctx *ctx, struct mt_comm *c, int most, int64_t max, int bf16,
                  struct mt_reduce **out);
void mt_reduce_free(struct mt_reduce *r);
/* Sums may go through shared memory from now on: those of groups of one host that shares, and
 * whose arrays are placed. All ranks of a group say so, or none. share: borrowed. */
int mt_reduce_beside(struct mt_reduce *r, const struct mt_share *share);
/* Data and group must stay until test says done. */
int mt_reduce_start(struct mt_reduce *r, const struct mt_sum *sum);
/* For tests and measurements: AUTO, PARTS or WHOLE from now on, the same on all ranks. */
void mt_reduce_wish(struct mt_reduce *r, enum mt_way way);
enum mt_way mt_reduce_way(const struct mt_reduce *r);   /* of the last sum */
int mt_reduce_test(struct mt_reduce *r, int *done);   /* makes progress */
int mt_reduce_peer(const struct mt_reduce *r);        /* a rank that is being waited for, or -1 */

/* ---- collect.c ----------------------------------------------------------------------------
 * Parts of some ranks to all of them, not blocking. */
struct mt_collect;

/* most: ranks of the largest group. */
int mt_collect_new(struct mt_ctx *ctx, struct mt_comm *c, int most, struct mt_collect **out);
void mt_collect_free(struct mt_collect *g);
/* bytes: of each rank's part, by position in the group. mine: the own part; theirs: gets those of
 * the others one behind the other, in the order of the group. Group (its `rank` given; `adds` has
 * no meaning here) and memory must stay until test says done. tag: 0..999, as for sums. */
int mt_collect_start(struct mt_collect *g, const struct mt_group *group, int tag, const void *mine,
                     void *theirs, const uint64_t *bytes);
int mt_collect_test(struct mt_collect *g, int *done);   /* makes progress */
int mt_collect_peer(const struct mt_collect *g);        /* a rank that is being waited for, or -1 */

#endif
