/* What processes send each other: rows of many views at a time, by one kernel, which
 * writes into the memory of another process where that can be had. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/state.h"

namespace
{
/* One end of a copy. */
struct place {
    float *data;
    size_t rows;
    bool packed;

    __device__ float *line(size_t k, size_t view, size_t lines, size_t l) const
    {
        return data + ((packed ? k : view) * lines + l) * rows;
    }
};

place place_of(const tr_view_rows *at)
{
    return {at->data + at->row, at->rows, at->packed};
}

/* Neighbouring threads take neighbouring rows, and if there are few of them, lines. */
__global__ void copy_views(size_t n_views, size_t lines, const unsigned *views,
                           size_t n_rows, place from, bool add, place to)
{
    size_t step = (size_t)gridDim.x * blockDim.y, all = n_views * lines;
    for (size_t i = (size_t)blockIdx.x * blockDim.y + threadIdx.y; i < all; i += step) {
        size_t k = i / lines, view = views[k];
        const float *source = from.line(k, view, lines, i % lines);
        float *target = to.line(k, view, lines, i % lines);
        for (size_t r = threadIdx.x; r < n_rows; r += blockDim.x)
            target[r] = add ? target[r] + source[r] : source[r];
    }
}
} // namespace

tr_status tr_cuda_copy_views(void *state, const tr_slab *slab, const tr_subset *views,
                             size_t n_rows, const tr_view_rows *from, bool add,
                             const tr_view_rows *to)
{
    tr_cuda *c = (tr_cuda *)state;
    const size_t lines = slab->n_u + TR_GUARDS;
    const unsigned *numbers;
    unsigned n;
    TR_TRY(tr_cuda_views(c, slab, views, NULL, &numbers, &n));
    tr_cuda_shape shape = tr_cuda_lines(c, n * lines, n_rows);
    TR_LAUNCH(copy_views, shape.grid, shape.block, 0, c->compute, (size_t)n, lines,
              numbers, n_rows, place_of(from), add, place_of(to));
    return tr_cuda_launched("copy_views");
}

/* ---- memory of other processes ---- */

tr_status tr_cuda_share(void *state, size_t floats, float **data, tr_handle *handle)
{
    tr_cuda *c = (tr_cuda *)state;
    /* CUDA shares out blocks of this size: whole ones, and nothing else is in them. */
    const size_t whole = (size_t)2 << 20;
    cudaIpcMemHandle_t found;
    void *memory;
    static_assert(sizeof found == sizeof handle->memory, "a handle has 64 bytes");
    if (floats > (SIZE_MAX - whole) / sizeof **data)
        return tr_fail(TR_ERR_MEMORY, "%zu values do not fit in memory", floats);
    size_t blocks = (floats * sizeof **data + whole - 1) / whole;
    TR_CUDA("allocate memory", cudaSetDevice(c->device));
    TR_TRY(tr_cuda_malloc(c, (blocks ? blocks : 1) * whole, &memory));
    *data = (float *)memory;
    memset(handle, 0, sizeof *handle);
    snprintf(handle->device, sizeof handle->device, "%08x:%02x:%02x.0",
             (unsigned)c->properties.pciDomainID, (unsigned)c->properties.pciBusID,
             (unsigned)c->properties.pciDeviceID);
    cudaError_t result = cudaIpcGetMemHandle(&found, memory);
    if (result == cudaSuccess) {
        memcpy(handle->memory, &found, sizeof found);
    } else {
        (void)cudaGetLastError();
        snprintf(handle->obstacle, sizeof handle->obstacle,
                 "a GPU's memory has no handle for others (%.40s)",
                 cudaGetErrorString(result));
    }
    return TR_OK;
}

void tr_cuda_unshare(void *state, float *data)
{
    (void)cudaSetDevice(((tr_cuda *)state)->device);
    (void)cudaFree(data); /* waits for the device */
}

/* Whether our device can write into the other one's memory. A device that this process
 * does not see has no number here: opening its memory tells. */
static tr_status check_access(const tr_cuda *c, const tr_handle *handle)
{
    int device, reachable = 0;
    if (cudaDeviceGetByPCIBusId(&device, handle->device) != cudaSuccess) {
        (void)cudaGetLastError();
        return TR_OK;
    }
    if (device == c->device)
        return TR_OK;
    cudaError_t result = cudaDeviceCanAccessPeer(&reachable, c->device, device);
    if (result == cudaSuccess && reachable)
        return TR_OK;
    (void)cudaGetLastError();
    return tr_fail(TR_ERR_UNAVAILABLE, "GPU %d cannot write into the memory of GPU %d",
                   c->device, device);
}

tr_status tr_cuda_attach(void *state, const tr_handle *handle, float **data)
{
    tr_cuda *c = (tr_cuda *)state;
    cudaIpcMemHandle_t wanted;
    void *memory = NULL;
    if (handle->obstacle[0])
        return tr_fail(TR_ERR_UNAVAILABLE, "%.95s", handle->obstacle);
    TR_CUDA("reach another one's memory", cudaSetDevice(c->device));
    TR_TRY(check_access(c, handle));
    memcpy(&wanted, handle->memory, sizeof wanted);
    cudaError_t result =
        cudaIpcOpenMemHandle(&memory, wanted, cudaIpcMemLazyEnablePeerAccess);
    if (result != cudaSuccess) {
        (void)cudaGetLastError();
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "the memory of another process's GPU cannot be opened (%s)",
                       cudaGetErrorString(result));
    }
    *data = (float *)memory;
    return TR_OK;
}

void tr_cuda_detach(void *state, float *data)
{
    tr_cuda *c = (tr_cuda *)state;
    (void)cudaSetDevice(c->device);
    (void)tr_cuda_wait(c);
    (void)cudaIpcCloseMemHandle(data);
}
