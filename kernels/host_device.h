/* For functions that kernels of the CUDA backend use as well. */
#ifndef TR_HOST_DEVICE_H
#define TR_HOST_DEVICE_H

#ifdef __CUDACC__
#define TR_HD __host__ __device__
#else
#define TR_HD
#endif

#endif
