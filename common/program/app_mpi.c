#include "common/program/app.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* OpenMP's threads wait for each other by spinning unless told otherwise, for
 * milliseconds after each loop, and take the time from the threads that read, copy and
 * write. They look at the environment when the program is loaded, so it is loaded again.
 */
static void wait_without_spinning(char **argv)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") ||
        setenv("OMP_WAIT_POLICY", "passive", 1) != 0)
        return;
    path[n] = '\0';    /* by its path, so that it keeps its name */
    execv(path, argv); /* returns only where that is not possible */
}

int tr_app_mpi(const tr_program *program, int argc, char **argv)
{
    tr_comm *comm;
    wait_without_spinning(argv);
    if (tr_comm_mpi(&argc, &argv, &comm) != TR_OK) {
        fprintf(stderr, "%s: error: %s\n", program->name, tr_error());
        return TR_ERR_UNAVAILABLE;
    }
    int status = tr_app_main(program, comm, argc, argv);
    comm->ops->finish(comm);
    return status;
}
