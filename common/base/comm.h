/* The processes of a run. comm_mpi.c is the only file that calls MPI; comm_serial.c is
 * the same interface for one process. "Collective" functions are called by every rank. */
#ifndef TR_COMM_H
#define TR_COMM_H

#include <stdint.h>

#include "common/base/err.h"

typedef struct tr_comm tr_comm;
typedef struct tr_shared_file tr_shared_file;

typedef struct tr_comm_ops {
    /* value[n] = sum over ranks; collective. */
    tr_status (*sum)(tr_comm *comm, double *value, size_t n);
    /* value[n] of every rank becomes that of rank 0; collective. */
    tr_status (*broadcast)(tr_comm *comm, double *value, size_t n);
    /* Collective: TR_OK if all ranks passed TR_OK; otherwise every rank gets the status
     * and the error sentence of the lowest rank that failed. Also a barrier. */
    tr_status (*agree)(tr_comm *comm, tr_status mine);
    /* Block k of send, send_counts[k] floats, goes to rank k; block k of recv comes from
     * it. Collective. */
    tr_status (*exchange)(tr_comm *comm, const float *send, const size_t *send_counts,
                          float *recv, const size_t *recv_counts);
    /* Without waiting: send_counts[k] floats from send[k] go to rank k, and
     * recv_counts[k] from it to recv[k], for each k but the own rank. Nobody touches any
     * of them until end_exchange, which comes before the next begin_exchange. Not
     * collective, but a rank must receive what another one sends to it. */
    tr_status (*begin_exchange)(tr_comm *comm, float *const *send,
                                const size_t *send_counts, float *const *recv,
                                const size_t *recv_counts);
    tr_status (*end_exchange)(tr_comm *comm);
    /* A file that all ranks read and write at offsets of their own. open and close are
     * collective; open needs an existing file. read and write are not, and may be
     * called from one thread at a time. Errors name the path and the reason. */
    tr_status (*open)(tr_comm *comm, const char *path, tr_shared_file **file);
    tr_status (*read)(tr_shared_file *file, uint64_t offset, void *data, size_t bytes);
    tr_status (*write)(tr_shared_file *file, uint64_t offset, const void *data,
                       size_t bytes);
    tr_status (*close)(tr_shared_file *file);
    /* The processes that give the same group, 0 or more, become a communicator of their
     * own, in the order of their ranks; local_rank and local_size stay as they are, since
     * the other groups work at the same time. Collective; ended by its own finish. */
    tr_status (*split)(tr_comm *comm, int group, tr_comm **part);
    /* End every rank at once with this exit status: for a failure while the others
     * compute. Does not return where there are others. */
    void (*abort)(tr_comm *comm, int exit_status);
    void (*finish)(tr_comm *comm);
} tr_comm_ops;

struct tr_comm {
    const tr_comm_ops *ops;
    int rank, size;             /* of all processes, or of a group's */
    int local_rank, local_size; /* of all those on this machine, */
    int machine;                /* which is that of this rank, and of no lower one */
    bool agreed_failure;        /* agree has failed: every rank knows and ends */
};

/* value[n], each of which one rank knows and the others have as 0, becomes the same on
 * all ranks; collective. */
TR_CHECKED static inline tr_status tr_comm_gather(tr_comm *comm, double *value, size_t n)
{
    return comm->ops->sum(comm, value, n);
}

/* Every rank has the same lines of text as rank 0, else TR_ERR_USAGE with the first ones
 * that differ, of the lowest rank that has others: "the processes differ in WHAT: ...".
 * Collective. */
TR_CHECKED tr_status tr_comm_same(tr_comm *comm, const char *what, const char *mine);

/* One process. */
tr_comm *tr_comm_serial(void);

/* MPI_Init and what it says of the ranks; argc and argv may lose MPI's own arguments.
 * The pointer is to static storage; ended by ops->finish. TR_ERR_UNAVAILABLE where MPI
 * fails, and where the environment tells of more processes than MPI does: then they were
 * started by another MPI's mpiexec, and each would do all of the run. */
TR_CHECKED tr_status tr_comm_mpi(int *argc, char ***argv, tr_comm **comm);

#endif
