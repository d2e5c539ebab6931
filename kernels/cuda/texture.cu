/* Backprojection with layered textures: each view is a layer, and the texture unit
 * interpolates between its columns (and rows, where rays couple them), with weights of 8
 * bits. */
#include "kernels/cuda/origin.h"

#include <stdlib.h>

/* The array for a group of views. */
struct tr_cuda_texture {
    cudaArray_t array;
    cudaTextureObject_t object;
    size_t p_rows, columns, layers;
    size_t wanted; /* layers, of which there are fewer where memory was short */
};

namespace
{
enum {
    MOST_LAYERS = 2048,
    SHARE = 40 /* of the device's memory that the array may have, unless for one view */
};

/* Where a voxel's middle row is seen, in the texture's coordinates: samples are at whole
 * numbers and a half. Split, so that adding a row's share loses nothing. */
struct texel {
    float column, right, row, up;
};

struct texture_memory {        /* of the next 32 views */
    view_origin views[WARP];   /* of the block's first voxel */
    float column[WARPS][WARP]; /* of the warps' voxels */
};

struct general_memory {
    view_origin views[WARP];
    texel texels[WARPS][WARP];
};

__device__ inline texel find_texel(const view_origin *view, unsigned warp)
{
    const origin o = find_origin(view, warp);
    return {(float)o.column + 0.5f, o.right, (float)o.row + 0.5f, o.up};
}

/* The second right guard is not to be read; left of the first one the texture ends. */
__device__ inline float hold_column(const tr_cuda_slab *s, float column)
{
    return fminf(column, (float)s->n_u + 1.5f);
}

/* The views of one group, which are the layers; the sum goes on where `add`. */
__global__ void __launch_bounds__(THREADS)
    backproject_layers(tr_cuda_slab s, const tr_ray *__restrict__ rays, unsigned n_views,
                       cudaTextureObject_t views, bool add, float *__restrict__ x)
{
    TR_SHARED(texture_memory, memory);
    const place at = find_place(&s);
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    float *to = x + (at.z * s.n_x + at.x) * s.rows + at.row + lane;
    const float row = (float)(at.row + lane) + 0.5f;
    float sum = add && at.rows ? *to : 0.0f;
    for (unsigned first = 0; first < n_views; first += WARP) {
        unsigned n = tr_cuda_at_most(n_views - first, WARP);
        __syncthreads();
        find_views(rays + first, n, &at, memory->views);
        __syncthreads();
        if (lane < n) {
            const texel t = find_texel(&memory->views[lane], warp);
            memory->column[warp][lane] = hold_column(&s, t.column + t.right);
        }
        __syncwarp();
        if (!at.rows)
            continue;
#pragma unroll 4
        for (unsigned k = 0; k < n; k++)
            sum += tex2DLayered<float>(views, row, memory->column[warp][k],
                                       (int)(first + k));
    }
    if (at.rows)
        *to = sum;
}

__global__ void __launch_bounds__(THREADS)
    backproject_coupled(tr_cuda_slab s, const tr_ray *__restrict__ rays, unsigned n_views,
                        cudaTextureObject_t views, bool add, float *__restrict__ x)
{
    TR_SHARED(general_memory, memory);
    const place at = find_place(&s);
    const unsigned warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const float away = (float)lane - MIDDLE; /* rows from the middle */
    float *to = x + (at.z * s.n_x + at.x) * s.rows + at.row + lane;
    float sum = add && at.rows ? *to : 0.0f;
    for (unsigned first = 0; first < n_views; first += WARP) {
        unsigned n = tr_cuda_at_most(n_views - first, WARP);
        __syncthreads();
        find_views(rays + first, n, &at, memory->views);
        __syncthreads();
        if (lane < n)
            memory->texels[warp][lane] = find_texel(&memory->views[lane], warp);
        __syncwarp();
        if (!at.rows)
            continue;
#pragma unroll 4
        for (unsigned k = 0; k < n; k++) {
            const texel t = memory->texels[warp][k];
            float column = t.column + (t.right + memory->views[k].uy * away);
            float row = t.row + (t.up + memory->views[k].vy * away);
            sum += tex2DLayered<float>(views, row, hold_column(&s, column),
                                       (int)(first + k));
        }
    }
    if (at.rows)
        *to = sum;
}

cudaError_t make_texture(tr_cuda_texture *t)
{
    const cudaChannelFormatDesc channel = cudaCreateChannelDesc<float>();
    cudaError_t result = cudaMalloc3DArray(
        &t->array, &channel, make_cudaExtent(t->p_rows, t->columns, t->layers),
        cudaArrayLayered);
    if (result != cudaSuccess) {
        t->array = NULL;
        return result;
    }
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = t->array;
    cudaTextureDesc description = {};
    description.addressMode[0] = cudaAddressModeClamp;
    description.addressMode[1] = cudaAddressModeClamp;
    description.filterMode = cudaFilterModeLinear;
    description.readMode = cudaReadModeElementType;
    return cudaCreateTextureObject(&t->object, &resource, &description, NULL);
}

/* The largest array that the device gives, for at most n views. */
tr_status new_texture(tr_cuda *c, const tr_slab *s, size_t n)
{
    tr_cuda_texture *t = (tr_cuda_texture *)calloc(1, sizeof *t);
    if (!t)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to describe a texture");
    c->texture = t;
    t->p_rows = s->p_rows;
    t->columns = s->n_u + TR_GUARDS;
    t->layers = t->wanted = n;
    for (;;) {
        cudaError_t result = make_texture(t);
        if (result == cudaSuccess)
            return TR_OK;
        size_t layers = t->layers;
        if (result != cudaErrorMemoryAllocation || layers == 1) {
            tr_cuda_texture_free(c);
            return tr_cuda_check(result, "allocate the texture of the projections");
        }
        (void)cudaGetLastError(); /* short of memory: it may do for half as many */
        if (layers == n)
            tr_cuda_release(c);
        t->layers = (layers + 1) / 2;
    }
}

size_t group_size(const tr_cuda *c, const tr_slab *s, size_t n)
{
    size_t most = (size_t)c->properties.maxTexture2DLayered[2];
    size_t view = (s->n_u + TR_GUARDS) * s->p_rows * sizeof(float);
    most = most < MOST_LAYERS ? most : (size_t)MOST_LAYERS;
    size_t room = tr_cuda_own_memory(c) / SHARE / view;
    most = most < room ? most : room;
    most = most > 1 ? most : 1;
    return n < most ? n : most;
}

tr_status ready_texture(tr_cuda *c, const tr_slab *s, size_t n)
{
    tr_cuda_texture *t = c->texture;
    size_t layers = group_size(c, s, n);
    if (t && t->p_rows == s->p_rows && t->columns == s->n_u + TR_GUARDS &&
        t->wanted >= layers)
        return TR_OK;
    tr_cuda_texture_free(c);
    return new_texture(c, s, layers);
}

/* Views first ... first + n - 1 of the subset become the layers. */
tr_status fill_layers(tr_cuda *c, const tr_slab *s, const tr_subset *views, size_t first,
                      size_t n, const float *p)
{
    const tr_cuda_texture *t = c->texture;
    size_t width = s->p_rows, columns = s->n_u + TR_GUARDS;
    for (size_t k = 0, together; k < n; k += together) {
        size_t view = tr_view_at(views, first + k);
        together = tr_views_together(views, first + k, first + n);
        cudaMemcpy3DParms copy = {};
        copy.srcPtr = make_cudaPitchedPtr(const_cast<float *>(p) + view * columns * width,
                                          width * sizeof *p, width, columns);
        copy.dstArray = t->array;
        copy.dstPos = make_cudaPos(0, 0, k);
        copy.extent = make_cudaExtent(width, columns, together);
        copy.kind = cudaMemcpyDeviceToDevice;
        TR_CUDA("fill a texture", cudaMemcpy3DAsync(&copy, c->compute));
    }
    return TR_OK;
}
} // namespace

void tr_cuda_texture_free(tr_cuda *c)
{
    tr_cuda_texture *t = c->texture;
    if (!t)
        return;
    (void)cudaStreamSynchronize(c->compute);
    if (t->object)
        (void)cudaDestroyTextureObject(t->object);
    if (t->array)
        (void)cudaFreeArray(t->array);
    free(t);
    c->texture = NULL;
}

bool tr_cuda_texture_fits(const tr_cuda *c, const tr_slab *s)
{
    const int *most = c->properties.maxTexture2DLayered;
    return s->p_rows <= (size_t)most[0] && s->n_u + TR_GUARDS <= (size_t)most[1];
}

tr_status tr_cuda_texture_backproject(tr_cuda *c, const tr_slab *s,
                                      const tr_subset *views, const tr_cuda_rays *rays,
                                      bool general, const float *p, float *x)
{
    auto *kernel = general ? backproject_coupled : backproject_layers;
    const size_t memory = general ? sizeof(general_memory) : sizeof(texture_memory);
    dim3 grid;
    TR_TRY(tr_cuda_grid(tr_cuda_parts(s->n_x, ACROSS) *
                            tr_cuda_parts(s->n_z, WARPS / ACROSS) *
                            tr_cuda_parts(s->rows, WARP),
                        &grid));
    TR_TRY(ready_texture(c, s, rays->n));
    size_t group = c->texture->layers;
    c->blocks = (size_t)grid.x * grid.y * grid.z;
    c->threads = THREADS;
    for (size_t first = 0; first < rays->n; first += group) {
        unsigned n = (unsigned)(rays->n - first < group ? rays->n - first : group);
        TR_TRY(fill_layers(c, s, views, first, n, p));
        TR_LAUNCH(kernel, grid, dim3(THREADS), memory, c->compute, tr_cuda_slab_of(s),
                  rays->rays + first, n, c->texture->object, first > 0, x);
        TR_TRY(tr_cuda_launched("backproject_layers"));
    }
    return TR_OK;
}
