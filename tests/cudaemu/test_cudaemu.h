/* Helpers of the emulation's own tests. */
#ifndef CUDAEMU_TEST_H
#define CUDAEMU_TEST_H

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/cuda/launch.h"

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
}

#define OK(call) assert_int_equal((call), cudaSuccess)
#define FAILS(error, call) assert_int_equal((call), (error))

/* Set CUDAEMU_name for the rest of the test. */
static inline void with(const char *name, const char *value)
{
    setenv((std::string("CUDAEMU_") + name).c_str(), value, 1);
    cudaemu::restart();
}

/* After each test: everything freed? */
static inline int clean(void **)
{
    for (const char *name : {"ORDER", "LAZY", "MEMORY", "DEVICES", "FAIL", "FIRST",
                             "DRIVER", "CAPABILITY", "SPIN", "IPC", "CODE"})
        unsetenv((std::string("CUDAEMU_") + name).c_str());
    size_t left = cudaemu::allocated();
    cudaemu::restart();
    return left == 0 ? 0 : -1;
}

static inline std::vector<float> fetch(const float *from, size_t n)
{
    std::vector<float> to(n);
    OK(cudaMemcpy(to.data(), from, n * sizeof(float), cudaMemcpyDeviceToHost));
    return to;
}

static inline float *device_floats(size_t n)
{
    float *memory = nullptr;
    OK(cudaMalloc(&memory, n * sizeof(float)));
    return memory;
}

static inline float *send(const std::vector<float> &values)
{
    float *to = device_floats(values.size());
    OK(cudaMemcpy(to, values.data(), values.size() * sizeof(float),
                  cudaMemcpyHostToDevice));
    return to;
}

static inline cudaStream_t new_stream(unsigned flags = cudaStreamNonBlocking)
{
    cudaStream_t stream = nullptr;
    OK(cudaStreamCreateWithFlags(&stream, flags));
    return stream;
}

#endif
