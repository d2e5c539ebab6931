/* tiltrecz-cuda: the whole volume at once, on the NVIDIA GPUs of one machine or many. */
#include "common/program/app.h"
#include "tiltrec/slices.h"
#include "tiltrecz/volume.h"

int main(int argc, char **argv)
{
    static const tr_program program = {
        .name = "tiltrecz-cuda",
        .summary =
            "reconstruct tomograms from tilt series, the whole volume at once, on GPUs",
        .backend = "cuda",
        .method = &tr_whole_volume,
        .trial_method = &tr_slices,
        .whole_volume = "tiltrecz-cuda",
        .needs = "CUDA",
        .instead = "tiltrecz-mpi",
        .build_option = "-DTR_CUDA=ON",
    };
    return tr_app_mpi(&program, argc, argv);
}
