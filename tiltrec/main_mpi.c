/* tiltrec-mpi: slice by slice on the CPUs of one machine or many. */
#include <stdio.h>

#include "../common/app.h"
#include "slices.h"

int main(int argc, char **argv)
{
    static const tr_program program = {
        .name = "tiltrec-mpi",
        .summary = "reconstruct tomograms from tilt series, slice by slice, on CPUs",
        .backend = "cpu",
        .method = &tr_slices,
    };
    tr_comm *comm;
    if (tr_comm_mpi(&argc, &argv, &comm) != TR_OK) {
        fprintf(stderr, "%s: error: %s\n", program.name, tr_error());
        return TR_ERR_UNAVAILABLE;
    }
    int status = tr_app_main(&program, comm, argc, argv);
    comm->ops->finish(comm);
    return status;
}
