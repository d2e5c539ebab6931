/* The body of every program: from the command line to the finished file. */
#ifndef TR_APP_H
#define TR_APP_H

#include "job.h"

typedef struct tr_program {
    const char *name;    /* "tiltrec-mpi" */
    const char *summary; /* for help and manual page, one line */
    const char *backend; /* of kernels/backend_list.h */
    const tr_method *method;
    const tr_method *few_slices; /* for --try; NULL where that is `method` as well */
    const char *whole_volume;    /* the program for what needs the whole volume */
    /* Of a program whose backend may be missing from the build: what that is called, the
     * program to use instead, and the option that builds it. NULL where it cannot be. */
    const char *needs, *instead, *build_option;
} tr_program;

/* Run the program on this communicator and return its exit status, which is the number
 * of a tr_status. */
int tr_app_main(const tr_program *program, tr_comm *comm, int argc, char **argv);

/* The same on all MPI processes, from MPI_Init to MPI_Finalize (app_mpi.c). */
int tr_app_mpi(const tr_program *program, int argc, char **argv);

#endif
