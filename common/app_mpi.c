#include "app.h"

#include <stdio.h>

int tr_app_mpi(const tr_program *program, int argc, char **argv)
{
    tr_comm *comm;
    if (tr_comm_mpi(&argc, &argv, &comm) != TR_OK) {
        fprintf(stderr, "%s: error: %s\n", program->name, tr_error());
        return TR_ERR_UNAVAILABLE;
    }
    int status = tr_app_main(program, comm, argc, argv);
    comm->ops->finish(comm);
    return status;
}
