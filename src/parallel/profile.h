/* profile.h -- the speed of every rank's device on this network, and the links between the ranks:
 * measured at the start of a job, or read from a file that an earlier job has written.
 *
 * A rank's times are of its own kernels, bound for the sizes that are measured: forward, data
 * gradient and parameter gradient of each node, each at several numbers of samples, such that they
 * add up to whole steps. All ranks measure at the
 * same time, because ranks of one host may share cores and memory as they will in training. What
 * ranks do together is measured in rehearsals (rehearse.h).
 * Ranks whose devices have the same name, limits and (within MT_PROFILE_ALIKE) speed are one kind,
 * with the mean of their times: noise alone gives nobody another share. */
#ifndef MT_PARALLEL_PROFILE_H
#define MT_PARALLEL_PROFILE_H

#include "comm/comm.h"
#include "graph/graph.h"
#include "parallel/load.h"

#define MT_PROFILE_ALIKE 0.15   /* ranks of a kind differ by no more than this part */

struct mt_dev;
struct mt_optim;

struct mt_profile_seat {        /* what a saved profile is compared with */
    char host[64], device[128];
};

struct mt_profile {
    struct mt_ctx *ctx;
    char network[40];           /* see mt_profile_network */
    int64_t most;               /* the largest number of samples that was asked for */
    double seconds;             /* that measuring took */
    struct mt_profile_seat *seat;   /* by rank */
    struct mt_cluster *cluster;
};

struct mt_profile_opt {
    int64_t most;               /* the largest number of samples of one call: as a rule the batch */
    double seconds;             /* of measuring, beside building programs; 0: MT_PROFILE_SECONDS */
    double memory_bytes;        /* that this rank may use; 0: no limit known */
    double slow;                /* device.slow: this rank is made so many times slower */
    int64_t bucket_bytes;       /* of sums of gradients; 0: no rehearsals */
    int bf16;                   /* gradients travel as bf16 */
    struct mt_curve read;       /* seconds that reading takes from the device; n 0: none */
};

#define MT_PROFILE_SECONDS 3.0

/* whole: the network for any number of samples, not bound and left as it is. optim: bound; NULL:
 * forward only. Nothing that is allocated stays. Collective. Gives *out, the same on every rank. */
int mt_profile_measure(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                       const struct mt_optim *optim, const struct mt_profile_opt *opt,
                       struct mt_profile **out);
void mt_profile_free(struct mt_profile *p);

/* What times belong to: 32 hexadecimal digits of names, shapes and the optimizer's kind. */
int mt_profile_network(const struct mt_graph *whole, const struct mt_optim *optim, char *out,
                       size_t room);
/* The seat of this rank, in bytes that can be compared. */
void mt_profile_seat(const struct mt_dev *dev, const struct mt_comm *comm, double slow,
                     struct mt_profile_seat *out);

/* For readers of files: an empty profile for so many ranks. Gives *out. */
int mt_profile_new(struct mt_ctx *ctx, int nrank, struct mt_profile **out);

/* As JSON (docs/cluster.md). Gives *text (mt_free). Local. */
int mt_profile_print(const struct mt_profile *p, const struct mt_graph *whole, char **text);
/* From that text; file: its name in messages. network: of mt_profile_network; a profile of another
 * one is refused. Gives *out. Local. */
int mt_profile_parse(struct mt_ctx *ctx, const char *text, size_t bytes, const char *file,
                     const struct mt_graph *whole, const char *network, struct mt_profile **out);
/* Refuses a profile of fewer samples or of other devices than the ranks of this job have, with the
 * reason. seat, host (its number): by rank. */
int mt_profile_check(const struct mt_profile *p, const char *file, int64_t most,
                     const struct mt_profile_seat *seat, const int *host, int size);

/* Seconds of one rank for a whole step (forward, backward, update) against samples: what shares
 * are made from. */
void mt_profile_step(const struct mt_cluster *c, const struct mt_graph *whole, int rank,
                     struct mt_curve *out);

#endif
