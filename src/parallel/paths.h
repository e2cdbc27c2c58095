/* paths.h -- latency and bandwidth of messages between the ranks of a job. */
#ifndef MT_PARALLEL_PATHS_H
#define MT_PARALLEL_PATHS_H

#include "comm/comm.h"
#include "parallel/load.h"

/* Sets local, remote, between, host and nhost of a cluster whose nrank is the job's. Small jobs
 * measure all pairs of ranks, larger ones one pair of each two hosts. Collective. */
int mt_paths_measure(struct mt_ctx *ctx, struct mt_comm *comm, struct mt_cluster *c);

#endif
