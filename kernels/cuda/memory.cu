/* The CUDA backend's memory: vectors, scratch, and copies. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/state.h"

/* ---- what the device has ---- */

static const double gib = 1024.0 * 1024.0 * 1024.0;

/* All vectors, those freed as well: the next slab asks for the same sizes again, and the
 * device allocates slowly. */
typedef struct block {
    void *memory;
    size_t bytes;
    bool used, host;
} block;

struct tr_cuda_pool {
    size_t n, room;
    block *blocks;
};

void tr_cuda_release(tr_cuda *c)
{
    tr_cuda_pool *pool = c->pool;
    size_t kept = 0;
    for (size_t i = 0; pool && i < pool->n; i++) {
        if (pool->blocks[i].used)
            pool->blocks[kept++] = pool->blocks[i];
        else if (pool->blocks[i].host) {
            (void)cudaStreamSynchronize(c->compute); /* what may still use it */
            (void)cudaFreeHost(pool->blocks[i].memory);
        } else
            (void)cudaFree(pool->blocks[i].memory); /* waits for the device */
    }
    if (pool)
        pool->n = kept;
}

void tr_cuda_memory_free(tr_cuda *c)
{
    for (size_t i = 0; c->pool && i < c->pool->n; i++)
        c->pool->blocks[i].used = false;
    tr_cuda_release(c);
    if (c->pool)
        free(c->pool->blocks);
    free(c->pool);
    c->pool = NULL;
    for (int slot = 0; slot < TR_N_SCRATCH; slot++)
        (void)cudaFree(c->scratch[slot]);
}

size_t tr_cuda_own_memory(const tr_cuda *c)
{
    return c->properties.totalGlobalMem / (size_t)c->processes;
}

static tr_status find_unused(tr_cuda *c, size_t *unused)
{
    size_t total;
    TR_CUDA("tell its free memory", cudaSetDevice(c->device));
    return tr_cuda_check(cudaMemGetInfo(unused, &total), "tell its free memory");
}

tr_status tr_cuda_divide(void *state, int processes)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t unused;
    TR_ASSERT(processes > 0 && !c->pool);
    TR_TRY(find_unused(c, &unused));
    c->processes = processes;
    c->share = unused / (size_t)processes;
    return TR_OK;
}

/* What is free now may be what other processes have yet to take. */
tr_status tr_cuda_available(void *state, size_t *bytes)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t unused, used = 0, least = (size_t)256 << 20;
    TR_TRY(find_unused(c, &unused));
    for (size_t i = 0; c->pool && i < c->pool->n; i++)
        if (!c->pool->blocks[i].host)
            *(c->pool->blocks[i].used ? &used : &unused) += c->pool->blocks[i].bytes;
    if (c->processes > 1) {
        size_t share = c->share > used ? c->share - used : 0;
        unused = unused < share ? unused : share;
    }
    /* Some for scratch, textures and the plans of cuFFT. */
    size_t margin = tr_cuda_own_memory(c) / 20;
    margin = margin > least ? margin : least;
    *bytes = unused > margin ? unused - margin : 0;
    return TR_OK;
}

tr_status tr_cuda_reserve(void *state, size_t bytes)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t available;
    TR_TRY(tr_cuda_available(state, &available));
    if (bytes <= available)
        return TR_OK;
    if (!c->properties.managedMemory || !c->properties.concurrentManagedAccess)
        return tr_fail(TR_ERR_MEMORY,
                       "%.2f GiB are needed on the GPU, of which %.2f GiB can be had, "
                       "and this GPU cannot share memory with the host",
                       (double)bytes / gib, (double)available / gib);
    c->managed = true;
    c->room = available;
    return TR_OK;
}

/* The device is where managed memory is to be, as far as it fits: what comes later would
 * only push that out again. Hints only. */
static void prefer_device(tr_cuda *c, void *memory, size_t bytes)
{
    if (bytes > c->room)
        return;
    c->room -= bytes;
#if CUDART_VERSION >= 13000
    cudaMemLocation place = {};
    place.type = cudaMemLocationTypeDevice;
    place.id = c->device;
    (void)cudaMemAdvise(memory, bytes, cudaMemAdviseSetPreferredLocation, place);
    (void)cudaMemPrefetchAsync(memory, bytes, place, 0, c->compute);
#else
    (void)cudaMemAdvise(memory, bytes, cudaMemAdviseSetPreferredLocation, c->device);
    (void)cudaMemPrefetchAsync(memory, bytes, c->device, c->compute);
#endif
    (void)cudaGetLastError();
}

static tr_status new_memory(tr_cuda *c, size_t bytes, bool managed, void **memory)
{
    cudaError_t result = cudaErrorMemoryAllocation;
    for (int attempt = 0; attempt < 2 && result == cudaErrorMemoryAllocation; attempt++) {
        if (attempt)
            tr_cuda_release(c);
        result = managed ? cudaMallocManaged(memory, bytes, cudaMemAttachGlobal)
                         : cudaMalloc(memory, bytes);
        if (result != cudaSuccess)
            (void)cudaGetLastError();
    }
    if (result != cudaErrorMemoryAllocation)
        return tr_cuda_check(result, "allocate memory");
    size_t unused = 0, total = 0;
    (void)cudaMemGetInfo(&unused, &total);
    return tr_fail(TR_ERR_MEMORY,
                   "not enough memory on the GPU: %.3f GiB were asked for, %.3f GiB of "
                   "%.1f GiB are free",
                   (double)bytes / gib, (double)unused / gib, (double)total / gib);
}

tr_status tr_cuda_malloc(tr_cuda *c, size_t bytes, void **memory)
{
    return new_memory(c, bytes, false, memory);
}

/* ---- vectors ---- */

static block *find_freed(tr_cuda_pool *pool, size_t bytes, bool host)
{
    for (size_t i = 0; i < pool->n; i++)
        if (!pool->blocks[i].used && pool->blocks[i].bytes == bytes &&
            pool->blocks[i].host == host)
            return &pool->blocks[i];
    return NULL;
}

/* Room for one more block; NULL where the host's memory is short. */
static tr_cuda_pool *roomy_pool(tr_cuda *c)
{
    if (!c->pool)
        c->pool = (tr_cuda_pool *)calloc(1, sizeof *c->pool);
    tr_cuda_pool *pool = c->pool;
    if (!pool || pool->n < pool->room)
        return pool;
    size_t room = pool->room ? 2 * pool->room : 32;
    block *more = (block *)realloc(pool->blocks, room * sizeof *more);
    if (!more)
        return NULL;
    pool->blocks = more;
    pool->room = room;
    return pool;
}

static tr_status new_host_memory(tr_cuda *c, size_t bytes, void **memory)
{
    TR_CUDA("allocate host memory", cudaSetDevice(c->device));
    cudaError_t result = cudaMallocHost(memory, bytes);
    if (result == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return tr_fail(TR_ERR_MEMORY,
                       "not enough memory: %.3f GiB of host memory that the GPU can "
                       "copy from could not be had",
                       (double)bytes / gib);
    }
    return tr_cuda_check(result, "allocate host memory");
}

static tr_status new_block(tr_cuda *c, block *made)
{
    if (made->host)
        return new_host_memory(c, made->bytes, &made->memory);
    TR_TRY(new_memory(c, made->bytes, c->managed, &made->memory));
    if (c->managed)
        prefer_device(c, made->memory, made->bytes);
    return TR_OK;
}

static tr_status alloc_in(tr_cuda *c, bool host, size_t floats, float **data)
{
    if (floats > SIZE_MAX / sizeof **data)
        return tr_fail(TR_ERR_MEMORY, "%zu values do not fit in memory", floats);
    size_t bytes = (floats ? floats : 1) * sizeof **data;
    TR_CUDA("allocate memory", cudaSetDevice(c->device));
    tr_cuda_pool *pool = roomy_pool(c);
    if (!pool)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a list of vectors");
    block *found = find_freed(pool, bytes, host);
    bool again = found;
    if (!found) {
        block made = {NULL, bytes, false, host};
        TR_TRY(new_block(c, &made));
        found = &pool->blocks[pool->n++];
        *found = made;
    }
#ifndef NDEBUG
    again = true; /* NaN: what is read before it is written shows */
    if (!host)
        TR_CUDA("fill memory", cudaMemsetAsync(found->memory, 0xff, bytes, c->compute));
#endif
    /* Another thread may upload to it at once: what still uses it must be over. */
    if (again)
        TR_TRY(tr_cuda_wait(c));
#ifndef NDEBUG
    if (host)
        memset(found->memory, 0xff, bytes);
#endif
    found->used = true;
    *data = (float *)found->memory;
    return TR_OK;
}

tr_status tr_cuda_alloc(void *state, size_t floats, float **data)
{
    return alloc_in((tr_cuda *)state, false, floats, data);
}

tr_status tr_cuda_alloc_volume(void *state, size_t floats, float **data)
{
    tr_cuda *c = (tr_cuda *)state;
    return alloc_in(c, c->planes, floats, data);
}

bool tr_cuda_on_host(const tr_cuda *c, const float *data)
{
    const tr_cuda_pool *pool = c->planes ? c->pool : NULL;
    const uintptr_t at = (uintptr_t)data;
    for (size_t i = 0; pool && i < pool->n; i++)
        if (pool->blocks[i].host && at >= (uintptr_t)pool->blocks[i].memory &&
            at - (uintptr_t)pool->blocks[i].memory < pool->blocks[i].bytes)
            return true;
    return false;
}

void tr_cuda_free(void *state, float *data)
{
    tr_cuda_pool *pool = ((tr_cuda *)state)->pool;
    for (size_t i = 0; data && pool && i < pool->n; i++)
        if (pool->blocks[i].memory == data) {
            TR_ASSERT(pool->blocks[i].used);
            pool->blocks[i].used = false;
            return;
        }
    TR_ASSERT(!data);
}

/* ---- host memory and copies ---- */

tr_status tr_cuda_alloc_host(void *state, size_t floats, float **data)
{
    tr_cuda *c = (tr_cuda *)state;
    if (floats > SIZE_MAX / sizeof **data)
        return tr_fail(TR_ERR_MEMORY, "%zu values do not fit in memory", floats);
    size_t bytes = (floats ? floats : 1) * sizeof **data;
    void *memory = NULL;
    TR_TRY(new_host_memory(c, bytes, &memory));
#ifndef NDEBUG
    memset(memory, 0xff, bytes);
#endif
    *data = (float *)memory;
    return TR_OK;
}

void tr_cuda_free_host(void *state, float *data)
{
    tr_cuda *c = (tr_cuda *)state;
    (void)cudaSetDevice(c->device);
    if (data)
        (void)cudaFreeHost(data);
}

/* These two run in other threads, each of which has a current device of its own. `data`
 * may be a volume in host memory. */
tr_status tr_cuda_upload(void *state, const float *host, float *data, size_t floats)
{
    tr_cuda *c = (tr_cuda *)state;
    TR_CUDA("receive data", cudaSetDevice(c->device));
    TR_CUDA("receive data",
            cudaMemcpyAsync(data, host, floats * sizeof *data, cudaMemcpyDefault, c->up));
    return tr_cuda_check(cudaStreamSynchronize(c->up), "receive data");
}

tr_status tr_cuda_download(void *state, const float *data, float *host, size_t floats)
{
    tr_cuda *c = (tr_cuda *)state;
    TR_CUDA("return data", cudaSetDevice(c->device));
    TR_CUDA("return data", cudaMemcpyAsync(host, data, floats * sizeof *data,
                                           cudaMemcpyDefault, c->down));
    return tr_cuda_check(cudaStreamSynchronize(c->down), "return data");
}

tr_status tr_cuda_wait(void *state)
{
    tr_cuda *c = (tr_cuda *)state;
    return tr_cuda_check(cudaStreamSynchronize(c->compute), "finish computing");
}

/* ---- who else uses the device ---- */

tr_status tr_cuda_enter(void *state, bool foreign)
{
    tr_cuda *c = (tr_cuda *)state;
    TR_CUDA("start", cudaGetDevice(&c->left));
    TR_CUDA("start", cudaSetDevice(c->device));
    /* Our streams wait for no other. */
    return foreign ? tr_cuda_check(cudaDeviceSynchronize(), "finish what others began")
                   : TR_OK;
}

void tr_cuda_leave(void *state) { (void)cudaSetDevice(((tr_cuda *)state)->left); }

/* ---- scratch ---- */

tr_status tr_cuda_scratch(tr_cuda *c, tr_cuda_slot slot, size_t bytes, void **memory)
{
    if (bytes > c->scratch_bytes[slot] || !c->scratch[slot]) {
        TR_TRY(tr_cuda_wait(c));
        (void)cudaFree(c->scratch[slot]);
        c->scratch[slot] = NULL;
        c->scratch_bytes[slot] = 0;
        bytes = bytes > 4096 ? bytes : 4096;
        TR_TRY(tr_cuda_malloc(c, bytes, &c->scratch[slot]));
        c->scratch_bytes[slot] = bytes;
    }
    *memory = c->scratch[slot];
    return TR_OK;
}

tr_status tr_cuda_put(tr_cuda *c, tr_cuda_slot slot, const void *host, size_t bytes,
                      void **memory)
{
    TR_TRY(tr_cuda_scratch(c, slot, bytes, memory));
    TR_CUDA("receive data",
            cudaMemcpyAsync(*memory, host, bytes, cudaMemcpyHostToDevice, c->compute));
    return tr_cuda_wait(c);
}

tr_status tr_cuda_get(tr_cuda *c, const void *memory, void *host, size_t bytes)
{
    TR_CUDA("return data",
            cudaMemcpyAsync(host, memory, bytes, cudaMemcpyDeviceToHost, c->compute));
    return tr_cuda_wait(c);
}
