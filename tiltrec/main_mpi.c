/* tiltrec-mpi: slice by slice on the CPUs of one machine or many. */
#include "common/program/app.h"
#include "tiltrec/slices.h"

int main(int argc, char **argv)
{
    static const tr_program program = {
        .name = "tiltrec-mpi",
        .summary = "reconstruct tomograms from tilt series, slice by slice, on CPUs",
        .backend = "cpu",
        .method = &tr_slices,
        .whole_volume = "tiltrecz-mpi",
    };
    return tr_app_mpi(&program, argc, argv);
}
