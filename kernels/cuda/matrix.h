/* The two instructions of tensor cores that tensor.cu uses, each for a whole warp;
 * numbers are pairs of halves. The layouts are those of the PTX manual, mma.m16n8k16 and
 * ldmatrix .x4 .trans. Private to kernels/cuda. */
#ifndef TR_CUDA_MATRIX_H
#define TR_CUDA_MATRIX_H

#include <string.h>

#include <cuda_fp16.h>

#include "kernels/cuda/launch.h"

/* sums += a b: of rows lane / 4 and that plus 8, columns 2 (lane % 4) and the next. */
__device__ static inline void tr_multiply_add(float *sums, const unsigned *a,
                                              const unsigned *b)
{
#ifdef TR_CUDAEMU
    cudaemu::multiply_add(sums, a, b);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800 /* others never start it */
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    (void)sums, (void)a, (void)b;
#endif
}

/* Four transposed 8 x 8 matrices of halves from shared memory, whose rows of 16 bytes the
 * lanes name: row lane % 8 of matrix lane / 8. */
__device__ static inline void tr_load_matrices(unsigned *to, const unsigned *row)
{
#ifdef TR_CUDAEMU
    cudaemu::load_matrices(to, row);
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row))
                 : "memory");
#else
    (void)row;
    to[0] = to[1] = to[2] = to[3] = 0;
#endif
}

/* Two numbers to the nearest halves. */
__device__ static inline unsigned tr_halves(float low, float high)
{
    const __half2 both = __floats2half2_rn(low, high);
    unsigned bits;
    static_assert(sizeof bits == sizeof both, "two halves");
    memcpy(&bits, &both, sizeof bits);
    return bits;
}

/* Two numbers as the sums of two halves each: 22 bits. */
__device__ static inline void tr_split(float low, float high, unsigned *upper,
                                       unsigned *lower)
{
    const __half2 both = __floats2half2_rn(low, high);
    memcpy(upper, &both, sizeof *upper);
    *lower = tr_halves(low - __low2float(both), high - __high2float(both));
}

#endif
