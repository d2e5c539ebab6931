/* tiltrec-cuda: slice by slice, on the NVIDIA GPUs of one machine or many. */
#include "common/program/app.h"
#include "tiltrec/slices.h"

int main(int argc, char **argv)
{
    static const tr_program program = {
        .name = "tiltrec-cuda",
        .summary = "reconstruct tomograms from tilt series, slice by slice, on GPUs",
        .backend = "cuda",
        .method = &tr_slices,
        .whole_volume = "tiltrecz-cuda",
        .needs = "CUDA",
        .instead = "tiltrec-mpi",
        .build_option = "-DTR_CUDA=ON",
    };
    return tr_app_mpi(&program, argc, argv);
}
