/* Asynchronous copies into shared memory: nothing is there before the thread has waited
 * for it, and other threads see it after a barrier. */
#ifndef CUDAEMU_CUDA_PIPELINE_PRIMITIVES_H
#define CUDAEMU_CUDA_PIPELINE_PRIMITIVES_H

#include "cuda_runtime.h"

/* 4, 8 or 16 bytes, of which the last `zeros` become 0 and are not read. */
static inline void __pipeline_memcpy_async(void *to, const void *from, size_t bytes,
                                           size_t zeros = 0)
{
    cudaemu::copy_later(to, from, bytes, zeros);
}
static inline void __pipeline_commit() { cudaemu::commit_copies(); }
static inline void __pipeline_wait_prior(size_t except)
{
    cudaemu::wait_for_copies(except);
}

#endif
