/* rivals.h -- ranks whose devices are made of the same processors.
 *
 * Two OpenCL implementations for processors (PoCL and llvmpipe, say) that run on the same ones take
 * them from each other: what the slower one does costs the faster one more. Measured one beside the
 * other, each looks worth its share. */
#ifndef MT_PARALLEL_RIVALS_H
#define MT_PARALLEL_RIVALS_H

#include "parallel/load.h"

#include <stdint.h>

#define MT_RIVAL_WORDS 64   /* of 64 processors each; what is above counts as shared with nobody */

struct mt_rival {           /* of one rank; plain bytes, for messages */
    int host;               /* its number */
    int cpu;                /* computes on processors of the host */
    char platform[128];
    uint64_t processor[MT_RIVAL_WORDS];   /* that it may use */
};

/* For each of n ranks the rank that beats it, or -1: on the same host, of another platform, faster
 * (seconds: for the same work; ties: the lower rank is), not beaten itself, and with all of its
 * processors. Ranks of one platform divide a device and are no rivals. */
void mt_rivals(int n, const struct mt_rival *rank, const double *seconds, int *by);

/* The cluster without ranks that are beaten: arrays by rank are new, the rest is `c`'s, so it is
 * freed first, by mt_rivals_free. rank[i]: number in c of its rank i. Gives *out. */
int mt_rivals_without(const struct mt_cluster *c, const int *by, int *rank,
                      struct mt_cluster **out);
void mt_rivals_free(struct mt_cluster *sub);

#endif
