/* The part of cuFFT that kernels/ uses, by FFTW: see README.md. */
#ifndef CUDAEMU_CUFFT_H
#define CUDAEMU_CUFFT_H

#include "cuda_runtime.h"

#define CUFFT_VERSION 12000

enum cufftResult {
    CUFFT_SUCCESS = 0,
    CUFFT_INVALID_PLAN = 1,
    CUFFT_ALLOC_FAILED = 2,
    CUFFT_INVALID_TYPE = 3,
    CUFFT_INVALID_VALUE = 4,
    CUFFT_INTERNAL_ERROR = 5,
    CUFFT_EXEC_FAILED = 6,
    CUFFT_SETUP_FAILED = 7,
    CUFFT_INVALID_SIZE = 8,
    CUFFT_UNALIGNED_DATA = 9,
    CUFFT_INVALID_DEVICE = 11,
    CUFFT_NOT_IMPLEMENTED = 14,
    CUFFT_NOT_SUPPORTED = 16
};
enum cufftType { CUFFT_R2C = 0x2a, CUFFT_C2R = 0x2c };

typedef int cufftHandle;
typedef float cufftReal;
typedef float2 cuComplex;
typedef cuComplex cufftComplex;

cufftResult cufftCreate(cufftHandle *plan);
cufftResult cufftMakePlanMany64(cufftHandle plan, int rank, long long *n,
                                long long *inembed, long long istride, long long idist,
                                long long *onembed, long long ostride, long long odist,
                                cufftType type, long long batch, size_t *work);
cufftResult cufftMakePlanMany(cufftHandle plan, int rank, int *n, int *inembed,
                              int istride, int idist, int *onembed, int ostride,
                              int odist, cufftType type, int batch, size_t *work);
cufftResult cufftPlanMany(cufftHandle *plan, int rank, int *n, int *inembed, int istride,
                          int idist, int *onembed, int ostride, int odist, cufftType type,
                          int batch);
cufftResult cufftPlan1d(cufftHandle *plan, int n, cufftType type, int batch);
cufftResult cufftGetSize(cufftHandle plan, size_t *work);
cufftResult cufftGetVersion(int *version);
cufftResult cufftSetStream(cufftHandle plan, cudaStream_t stream);
cufftResult cufftExecR2C(cufftHandle plan, cufftReal *in, cufftComplex *out);
cufftResult cufftExecC2R(cufftHandle plan, cufftComplex *in, cufftReal *out);
cufftResult cufftDestroy(cufftHandle plan);

#endif
