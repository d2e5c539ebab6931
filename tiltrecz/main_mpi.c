/* tiltrecz-mpi: the whole volume at once on the CPUs of one machine or many. */
#include "common/program/app.h"
#include "tiltrec/slices.h"
#include "tiltrecz/volume.h"

int main(int argc, char **argv)
{
    static const tr_program program = {
        .name = "tiltrecz-mpi",
        .summary =
            "reconstruct tomograms from tilt series, the whole volume at once, on CPUs",
        .backend = "cpu",
        .method = &tr_whole_volume,
        .trial_method = &tr_slices,
        .whole_volume = "tiltrecz-mpi",
    };
    return tr_app_mpi(&program, argc, argv);
}
