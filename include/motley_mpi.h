/* motley_mpi.h -- a context on a communicator of the host program.
 *
 * MPI must be initialised (MPI_THREAD_FUNNELED or more, calls from one thread) and stay so as
 * long as the context lives; it is not finalised by motley. The communicator is duplicated. */
#ifndef MOTLEY_MPI_H
#define MOTLEY_MPI_H

#include "motley.h"

#include <mpi.h>

/* As motley_ctx_new, with the processes of comm; opt may be NULL. Collective over comm. */
static inline int motley_ctx_new_mpi(const motley_ctx_opt *opt, MPI_Comm comm, motley_ctx **out)
{
    motley_ctx_opt all = MOTLEY_INIT(motley_ctx_opt);

    if (opt != NULL) {
        all.log = opt->log;
        all.log_arg = opt->log_arg;
        all.device = opt->device;
    }
    all.mpi_comm = &comm;
    return motley_ctx_new(&all, out);
}

#endif
