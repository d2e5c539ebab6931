/* Numbers of 16 bits, as far as kernels/ uses them. */
#ifndef CUDAEMU_CUDA_FP16_H
#define CUDAEMU_CUDA_FP16_H

#include "cuda_runtime.h"

struct __half2 {
    unsigned short x, y;
} __attribute__((aligned(4)));

namespace cudaemu
{
unsigned short to_half(float value); /* to the nearest, else to the even one */
float from_half(unsigned short half);
} // namespace cudaemu

static inline __half2 __floats2half2_rn(float x, float y)
{
    return __half2{cudaemu::to_half(x), cudaemu::to_half(y)};
}
static inline float __low2float(__half2 h) { return cudaemu::from_half(h.x); }
static inline float __high2float(__half2 h) { return cudaemu::from_half(h.y); }

#endif
