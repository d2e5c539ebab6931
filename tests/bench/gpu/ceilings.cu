#include "ceilings.h"

#include "kernels/cuda/launch.h"

namespace
{
enum {
    THREADS = 256,
    BLOCKS_PER_SM = 8,
    SUMS = 8, /* independent ones hide the latency */
    RUNS = 5,
    WIDTH = 32, /* of the texture, and its height: small enough for any cache */
    LAYERS = 4
};

tr_status check(cudaError_t result)
{
    if (result == cudaSuccess)
        return TR_OK;
    (void)cudaGetLastError();
    return tr_fail(TR_ERR_DATA, "the GPU's limits could not be measured: %s",
                   cudaGetErrorString(result));
}
#define TRY(call) TR_TRY(check(call))

__global__ void __launch_bounds__(THREADS)
    multiply_add(int rounds, float factor, float *y)
{
    float sums[SUMS], b = 1e-3f * (float)threadIdx.x;
#pragma unroll
    for (int k = 0; k < SUMS; k++)
        sums[k] = b + (float)k;
#pragma unroll 16
    for (int i = 0; i < rounds; i++) {
#pragma unroll
        for (int k = 0; k < SUMS; k++)
            sums[k] = sums[k] * factor + b;
    }
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < SUMS; k++)
        total += sums[k];
    y[(size_t)blockIdx.x * THREADS + threadIdx.x] = total;
}

/* As the texture kernel fetches: a warp along a row, between two columns. */
__global__ void __launch_bounds__(THREADS)
    fetch(int rounds, cudaTextureObject_t texture, float *y)
{
    float sums[SUMS], row = (float)(threadIdx.x % WIDTH) + 0.5f;
#pragma unroll
    for (int k = 0; k < SUMS; k++)
        sums[k] = 0.0f;
    for (int i = 0; i < rounds; i++) {
        float column = (float)(i % (WIDTH / 2)) + 0.7f;
#pragma unroll
        for (int k = 0; k < SUMS; k++)
            sums[k] += tex2DLayered<float>(texture, row, column + (float)k, i % LAYERS);
    }
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < SUMS; k++)
        total += sums[k];
    y[(size_t)blockIdx.x * THREADS + threadIdx.x] = total;
}

struct gear {
    cudaStream_t stream;
    cudaEvent_t begin, end;
    cudaArray_t array;
    cudaTextureObject_t texture;
    char *memory[2];
    size_t bytes;
    unsigned blocks;
    bool quick;
};

/* Units per second of the fastest of some runs, of `units` each. */
template <typename work>
tr_status time_best(gear *g, double units, work run, double *rate)
{
    *rate = 0.0;
    TR_TRY(run());
    for (int i = 0; i < RUNS; i++) {
        float milliseconds = 0.0f;
        TRY(cudaEventRecord(g->begin, g->stream));
        TR_TRY(run());
        TRY(cudaEventRecord(g->end, g->stream));
        TRY(cudaEventSynchronize(g->end));
        TRY(cudaEventElapsedTime(&milliseconds, g->begin, g->end));
        double seconds = milliseconds > 1e-3f ? 1e-3 * (double)milliseconds : 1e-6;
        *rate = units / seconds > *rate ? units / seconds : *rate;
    }
    return TR_OK;
}

tr_status make_texture(gear *g)
{
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    TRY(cudaMalloc3DArray(&g->array, &format, make_cudaExtent(WIDTH, WIDTH, LAYERS),
                          cudaArrayLayered));
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(g->memory[0], WIDTH * sizeof(float), WIDTH, WIDTH);
    copy.dstArray = g->array;
    copy.extent = make_cudaExtent(WIDTH, WIDTH, LAYERS);
    copy.kind = cudaMemcpyDeviceToDevice;
    TRY(cudaMemcpy3DAsync(&copy, g->stream));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = g->array;
    cudaTextureDesc how = {};
    how.addressMode[0] = how.addressMode[1] = how.addressMode[2] = cudaAddressModeClamp;
    how.filterMode = cudaFilterModeLinear;
    how.readMode = cudaReadModeElementType;
    return check(cudaCreateTextureObject(&g->texture, &resource, &how, nullptr));
}

tr_status make_gear(gear *g)
{
    int device = 0;
    cudaDeviceProp properties;
    TRY(cudaGetDevice(&device));
    TRY(cudaGetDeviceProperties(&properties, device));
    g->blocks = (unsigned)properties.multiProcessorCount * BLOCKS_PER_SM;
    g->bytes = g->quick ? (size_t)1 << 20 : (size_t)1 << 30;
    TRY(cudaStreamCreate(&g->stream));
    TRY(cudaEventCreate(&g->begin));
    TRY(cudaEventCreate(&g->end));
    for (char *&memory : g->memory) {
        TRY(cudaMalloc(&memory, g->bytes));
        TRY(cudaMemsetAsync(memory, 0, g->bytes, g->stream));
    }
    return make_texture(g);
}

void free_gear(gear *g)
{
    if (g->texture)
        (void)cudaDestroyTextureObject(g->texture);
    if (g->array)
        (void)cudaFreeArray(g->array);
    for (char *memory : g->memory)
        (void)cudaFree(memory);
    for (cudaEvent_t event : {g->begin, g->end})
        if (event)
            (void)cudaEventDestroy(event);
    if (g->stream)
        (void)cudaStreamDestroy(g->stream);
}

tr_status measure(gear *g, tr_ceilings *c)
{
    const int rounds = g->quick ? 2 : 1 << 14, fetches = g->quick ? 2 : 1 << 11;
    double threads = (double)g->blocks * THREADS;
    float *y = reinterpret_cast<float *>(g->memory[1]);
    TR_TRY(time_best(
        g, 2.0 * (double)g->bytes,
        [=] {
            return check(cudaMemcpyAsync(g->memory[1], g->memory[0], g->bytes,
                                         cudaMemcpyDeviceToDevice, g->stream));
        },
        &c->copy));
    TR_TRY(time_best(
        g, threads * SUMS * rounds,
        [=] {
            TR_LAUNCH(multiply_add, dim3(g->blocks), dim3(THREADS), 0, g->stream, rounds,
                      0.999f, y);
            return check(cudaGetLastError());
        },
        &c->fma));
    return time_best(
        g, threads * SUMS * fetches,
        [=] {
            TR_LAUNCH(fetch, dim3(g->blocks), dim3(THREADS), 0, g->stream, fetches,
                      g->texture, y);
            return check(cudaGetLastError());
        },
        &c->texture);
}
} // namespace

tr_status tr_measure_ceilings(bool quick, tr_ceilings *c)
{
    gear g = {};
    g.quick = quick;
    tr_status status = make_gear(&g);
    if (status == TR_OK)
        status = measure(&g, c);
    free_gear(&g);
    return status;
}
