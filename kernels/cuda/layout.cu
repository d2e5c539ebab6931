/* A caller's images, whose rows run along x or u, and lines of rows, in which y runs: on
 * the device, in tiles that are transposed in shared memory. */
#include "kernels/cuda/state.h"

enum { TILE = 32, TALL = 8, PITCH = TILE + 1 };

namespace
{
/* A layout whose images are in device memory, and lanes of the vector. */
struct tiles {
    tr_layout l;
    size_t lanes, across, down; /* tiles that cover lines, and lanes */

    __device__ size_t count() const { return l.n * across * down; }
    __device__ size_t image(size_t tile) const { return tile / (across * down); }
    __device__ size_t line(size_t tile) const { return tile / down % across * TILE; }
    __device__ size_t lane(size_t tile) const { return tile % down * TILE; }
    __device__ bool covers(size_t line, size_t row) const
    {
        return row < l.n_rows && line >= l.first && line - l.first < l.n_columns;
    }
    __device__ ptrdiff_t at(size_t image, size_t line, size_t row) const
    {
        return (ptrdiff_t)image * l.image + (ptrdiff_t)(row * l.row + line - l.first);
    }
    __device__ size_t in_lines(size_t image, size_t line, size_t row) const
    {
        return (image * l.lines + line) * lanes + row;
    }
};

/* Reads along the images' rows, writes along the lanes. */
__global__ void images_to_lines(tiles t, const float *images, float *v)
{
    TR_SHARED(float, square);
    for (size_t tile = blockIdx.x; tile < t.count(); tile += gridDim.x) {
        size_t k = t.image(tile), line = t.line(tile), lane = t.lane(tile);
        for (size_t j = threadIdx.y; j < TILE; j += TALL)
            square[j * PITCH + threadIdx.x] =
                t.covers(line + threadIdx.x, lane + j)
                    ? images[t.at(k, line + threadIdx.x, lane + j)]
                    : 0.0f;
        __syncthreads();
        for (size_t j = threadIdx.y; j < TILE; j += TALL)
            if (line + j < t.l.lines && lane + threadIdx.x < t.lanes)
                v[t.in_lines(k, line + j, lane + threadIdx.x)] =
                    square[threadIdx.x * PITCH + j];
        __syncthreads();
    }
}

/* Reads along the lanes, writes along the images' rows. */
__global__ void lines_to_images(tiles t, const float *v, bool add, float *images)
{
    TR_SHARED(float, square);
    for (size_t tile = blockIdx.x; tile < t.count(); tile += gridDim.x) {
        size_t k = t.image(tile), line = t.line(tile), lane = t.lane(tile);
        for (size_t j = threadIdx.y; j < TILE; j += TALL)
            if (t.covers(line + j, lane + threadIdx.x))
                square[j * PITCH + threadIdx.x] =
                    v[t.in_lines(k, line + j, lane + threadIdx.x)];
        __syncthreads();
        for (size_t j = threadIdx.y; j < TILE; j += TALL)
            if (t.covers(line + threadIdx.x, lane + j)) {
                float *to = images + t.at(k, line + threadIdx.x, lane + j);
                *to = square[threadIdx.x * PITCH + j] + (add ? *to : 0.0f);
            }
        __syncthreads();
    }
}
} // namespace

static tiles cover(const tr_layout *l, const tr_vec *v)
{
    return {*l, v->rows, (l->lines + TILE - 1) / TILE, (v->rows + TILE - 1) / TILE};
}

static tr_status launch_from(tr_cuda *c, const tr_layout *l, const float *images,
                             tr_vec *v)
{
    tiles t = cover(l, v);
    unsigned blocks = tr_cuda_blocks(c, l->n * t.across * t.down, 1);
    TR_LAUNCH(images_to_lines, dim3(blocks), dim3(TILE, TALL),
              TILE * PITCH * sizeof(float), c->compute, t, images, v->data);
    return tr_cuda_launched("images_to_lines");
}

static tr_status launch_to(tr_cuda *c, const tr_layout *l, const tr_vec *v, bool add,
                           float *images)
{
    tiles t = cover(l, v);
    unsigned blocks = tr_cuda_blocks(c, l->n * t.across * t.down, 1);
    TR_LAUNCH(lines_to_images, dim3(blocks), dim3(TILE, TALL),
              TILE * PITCH * sizeof(float), c->compute, t, v->data, add, images);
    return tr_cuda_launched("lines_to_images");
}

/* As many images at a time as 64 MiB of scratch hold, one after the other there. */
static tr_status scratch_for(tr_cuda *c, const tr_layout *l, tr_layout *packed,
                             void **memory)
{
    size_t plane = l->n_rows * l->n_columns, most = ((size_t)16 << 20) / plane;
    *packed = *l;
    packed->n = most < 1 ? 1 : most < l->n ? most : l->n;
    packed->image = (ptrdiff_t)plane;
    packed->row = l->n_columns;
    return tr_cuda_scratch(c, TR_SCRATCH_ROWS, packed->n * plane * sizeof(float), memory);
}

/* Images [first, first + packed->n) between the caller's memory and scratch. */
static tr_status copy_images(tr_cuda *c, const tr_layout *l, const tr_layout *packed,
                             size_t first, const float *host, float *device, bool up)
{
    size_t wide = l->n_columns * sizeof(float), pitch = l->row * sizeof(float);
    for (size_t k = 0; k < packed->n; k++) {
        float *there = device + (ptrdiff_t)k * packed->image;
        float *here = (float *)host + (ptrdiff_t)(first + k) * l->image;
        if (up)
            TR_CUDA("receive data",
                    cudaMemcpy2DAsync(there, wide, here, pitch, wide, l->n_rows,
                                      cudaMemcpyHostToDevice, c->compute));
        else
            TR_CUDA("return data",
                    cudaMemcpy2DAsync(here, pitch, there, wide, wide, l->n_rows,
                                      cudaMemcpyDeviceToHost, c->compute));
    }
    return TR_OK;
}

tr_status tr_cuda_lines_from(void *state, const tr_layout *l, const float *images,
                             tr_vec *v)
{
    tr_cuda *c = (tr_cuda *)state;
    if (l->on_device) {
        TR_TRY(launch_from(c, l, images, v));
        return tr_cuda_wait(c);
    }
    tr_layout some;
    void *memory;
    TR_TRY(scratch_for(c, l, &some, &memory));
    for (size_t first = 0, most = some.n; first < l->n; first += most) {
        some.n = l->n - first < most ? l->n - first : most;
        tr_vec part = {v->data + first * l->lines * v->rows, some.n * l->lines, v->rows};
        TR_TRY(copy_images(c, l, &some, first, images, (float *)memory, true));
        TR_TRY(launch_from(c, &some, (float *)memory, &part));
    }
    return tr_cuda_wait(c);
}

tr_status tr_cuda_lines_to(void *state, const tr_layout *l, const tr_vec *v, bool add,
                           float *images)
{
    tr_cuda *c = (tr_cuda *)state;
    if (l->on_device) {
        TR_TRY(launch_to(c, l, v, add, images));
        return tr_cuda_wait(c);
    }
    tr_layout some;
    void *memory;
    TR_TRY(scratch_for(c, l, &some, &memory));
    for (size_t first = 0, most = some.n; first < l->n; first += most) {
        some.n = l->n - first < most ? l->n - first : most;
        tr_vec part = {v->data + first * l->lines * v->rows, some.n * l->lines, v->rows};
        if (add)
            TR_TRY(copy_images(c, l, &some, first, images, (float *)memory, true));
        TR_TRY(launch_to(c, &some, &part, add, (float *)memory));
        TR_TRY(copy_images(c, l, &some, first, images, (float *)memory, false));
        TR_TRY(tr_cuda_wait(c));
    }
    return TR_OK;
}
