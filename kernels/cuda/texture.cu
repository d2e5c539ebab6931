/* Backprojection with layered textures: each view is a layer, and the texture unit
 * interpolates between its columns (and rows, where rays couple them), with weights of 8
 * bits. Where a warp's voxel is seen is worked out in double. */
#include "kernels/cuda/project.h"

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
    WARP = 32,
    THREADS = 256,
    WARPS = THREADS / WARP,
    ACROSS = 4, /* a block's warps in x; the others are in z */
    MIDDLE = WARP / 2,
    MOST_LAYERS = 2048,
    SHARE = 40 /* of the device's memory that the array may have, unless for one view */
};

/* Where the middle row of a warp is seen, in the texture's coordinates: samples are at
 * whole numbers and a half. Split, so that adding a row's share loses nothing. */
struct origin {
    float column, right, row, up;
};

struct slopes { /* per row */
    float u, v;
};

struct texture_memory {
    float column[WARPS][WARP]; /* of the warp's voxel in the next 32 views */
};

struct general_memory {
    origin origins[WARPS][WARP];
    slopes slope[WARP];
};

struct place {
    size_t x, z, row; /* of the warp's voxel, and its first row */
    bool rows;        /* are the voxel and this thread's row in the volume? */
};

__device__ place find_place(const tr_cuda_slab *s)
{
    unsigned b = blockIdx.x, warp = threadIdx.x / WARP;
    unsigned across = (unsigned)tr_cuda_parts(s->n_x, ACROSS);
    unsigned down = (unsigned)tr_cuda_parts(s->n_z, WARPS / ACROSS);
    place at;
    at.x = (size_t)(b % across) * ACROSS + warp % ACROSS;
    b /= across;
    at.z = (size_t)(b % down) * (WARPS / ACROSS) + warp / ACROSS;
    at.row = (size_t)(b / down) * WARP;
    at.rows = at.x < s->n_x && at.z < s->n_z && at.row + threadIdx.x % WARP < s->rows;
    return at;
}

/* A position as the sum of a whole number and a half, and a fraction. */
__device__ inline void split(double at, float *whole, float *fraction)
{
    at = at < -1e6 ? -1e6 : at > 1e6 ? 1e6 : at;
    double floored = floor(at);
    *whole = (float)(floored + 0.5);
    *fraction = (float)(at - floored);
}

__device__ inline origin find_origin(const tr_ray *ray, const place *at)
{
    double ix = (double)at->x, iz = (double)at->z, row = (double)at->row + MIDDLE;
    double base = tr_ray_base(ray->u0, ray->uz, iz);
    origin o;
    split(base + ray->ux * ix + ray->uy * row, &o.column, &o.right);
    split(ray->v0 + ray->vx * ix + ray->vz * iz + ray->vy * row, &o.row, &o.up);
    return o;
}

__device__ inline float find_column(const tr_cuda_slab *s, const tr_ray *ray,
                                    const place *at)
{
    int column;
    float fraction;
    tr_ray_column(tr_ray_base(ray->u0, ray->uz, (double)at->z), ray->ux, (double)at->x,
                  tr_ray_last((double)s->n_u), &column, &fraction);
    return (float)((double)column + 0.5 + (double)fraction);
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
        if (lane < n)
            memory->column[warp][lane] = find_column(&s, &rays[first + lane], &at);
        __syncthreads();
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
    const float last = (float)s.n_u + 1.5f; /* the second right guard is not to be read */
    float *to = x + (at.z * s.n_x + at.x) * s.rows + at.row + lane;
    float sum = add && at.rows ? *to : 0.0f;
    for (unsigned first = 0; first < n_views; first += WARP) {
        unsigned n = tr_cuda_at_most(n_views - first, WARP);
        __syncthreads();
        if (lane < n) {
            const tr_ray *ray = &rays[first + lane];
            memory->origins[warp][lane] = find_origin(ray, &at);
            if (warp == 0)
                memory->slope[lane] = slopes{(float)ray->uy, (float)ray->vy};
        }
        __syncthreads();
        if (!at.rows)
            continue;
#pragma unroll 4
        for (unsigned k = 0; k < n; k++) {
            origin o = memory->origins[warp][k];
            slopes slope = memory->slope[k];
            float column = o.column + (o.right + slope.u * away);
            float row = o.row + (o.up + slope.v * away);
            sum += tex2DLayered<float>(views, row, fminf(column, last), (int)(first + k));
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
        size_t view = tr_cuda_view_at(views, first + k);
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
