/* rehearse.h -- what ranks do together, measured: real steps of a few small layouts.
 *
 * The times of devices by themselves do not tell what sums, messages and waking up take of a core
 * that also computes, or of a host that has to launch in time. So each kind of parallelism is run
 * for a moment, with its own messages, and what it takes beyond what the simulator says without
 * them is kept: `sums`, `hand` and `inner` of the cluster. */
#ifndef MT_PARALLEL_REHEARSE_H
#define MT_PARALLEL_REHEARSE_H

#include "comm/comm.h"
#include "parallel/profile.h"

/* cluster: measured, the same on all ranks; gets what was found, the same on all. Nothing is
 * done by one rank, where some ranks share a host and others do not (what was found would hold
 * for neither), and with opt->bucket_bytes 0; a layout that the network or the memory does not
 * allow, or that would take long, is left out. Collective. */
int mt_rehearse(struct mt_dev *dev, struct mt_comm *comm, const struct mt_graph *whole,
                const struct mt_optim *optim, const struct mt_profile_opt *opt,
                struct mt_cluster *cluster);

#endif
