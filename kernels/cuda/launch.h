/* How a kernel is launched and gets its shared memory: the two things that nvcc and the
 * emulation of tests/cudaemu, which compiles the same text for the host, spell
 * differently. A kernel has one array of shared memory, whose bytes are given at launch.
 */
#ifndef TR_CUDA_LAUNCH_H
#define TR_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#ifdef TR_CUDAEMU
#define TR_LAUNCH(kernel, grid, block, shared, stream, ...)                              \
    cudaemu::launch(#kernel, grid, block, shared, stream, kernel, __VA_ARGS__)
#define TR_SHARED(type, name)                                                            \
    type *name = reinterpret_cast<type *>(cudaemu::shared_memory())
#else
#define TR_LAUNCH(kernel, grid, block, shared, stream, ...)                              \
    kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
#define TR_SHARED(type, name)                                                            \
    extern __shared__ __align__(16) unsigned char tr_shared_memory[];                    \
    type *name = reinterpret_cast<type *>(tr_shared_memory)
#endif

#endif
