/* The body of every program: from the command line to the finished file. */
#ifndef TR_APP_H
#define TR_APP_H

#include "common/run/job.h"

/* Run the program on this communicator and return its exit status, which is the number
 * of a tr_status. */
int tr_app_main(const tr_program *program, tr_comm *comm, int argc, char **argv);

/* One run of the program, on all processes of `comm`: says its error, and leaves it in
 * tr_error, on rank 0. What it has locked stays so until tr_lock_release_all. */
TR_CHECKED tr_status tr_app_run(const tr_program *program, tr_comm *comm, int argc,
                                char **argv);

/* The same on all MPI processes, from MPI_Init to MPI_Finalize (app_mpi.c). */
int tr_app_mpi(const tr_program *program, int argc, char **argv);

#endif
