/* The filter along u with cuFFT. Image rows are copied, extended, into rows of their own
 * that run along u, some at a time. How many depends on the filter's length only, and the
 * last ones are filled up with zeros: it is always the same plan, so a row's result does
 * not depend on where it is computed, and the memory is 16 MiB, which a large GPU's cache
 * holds. */
#include <stdlib.h>

#include <cufft.h>

#include "kernels/cuda/state.h"

static const size_t work_floats = (size_t)1 << 22, most_rows = 4096;
enum {
    TILE = 32, /* image rows and columns turned at a time, by TILE x TILE_Y threads */
    TILE_Y = 8
};

/* An image row before filtering: its mean, and those of its first and last 3 values. */
typedef struct row_means {
    double first, last;
    float all;
} row_means;

typedef struct tr_cuda_transform {
    size_t length, batch, stride; /* stride: floats from one row to the next */
    cufftHandle forward, backward;
    bool has_forward, has_backward;
} tr_cuda_transform;

/* ---- kernels ---- */

namespace
{
/* The image rows of all views, counted from view 0, row 0. */
struct image_rows {
    size_t n_u, rows, n; /* n: views x rows */
};

/* Where column 0 of image row q is; its next column is `rows` further. */
__device__ size_t column_0(const image_rows &s, size_t q)
{
    return (q / s.rows * (s.n_u + TR_GUARDS) + 1) * s.rows + q % s.rows;
}

/* A block measures TILE image rows; every row's sums are taken in the same order. */
__global__ void measure(image_rows s, const float *p, row_means *means)
{
    TR_SHARED(double, sums); /* [3][TILE_Y][TILE] */
    size_t q = (size_t)blockIdx.x * TILE + threadIdx.x, edge = s.n_u < 3 ? s.n_u : 3;
    double all = 0.0, first = 0.0, last = 0.0;
    if (q < s.n) {
        const float *from = p + column_0(s, q);
        for (size_t u = threadIdx.y; u < s.n_u; u += TILE_Y) {
            float value = from[u * s.rows];
            all += value;
            first += u < edge ? value : 0.0f;
            last += u >= s.n_u - edge ? value : 0.0f;
        }
    }
    unsigned at = threadIdx.y * TILE + threadIdx.x, array = TILE_Y * TILE;
    sums[at] = all;
    sums[array + at] = first;
    sums[2 * array + at] = last;
    __syncthreads();
    if (threadIdx.y == 0 && q < s.n) {
        for (unsigned k = 1; k < TILE_Y; k++) {
            all += sums[at + k * TILE];
            first += sums[array + at + k * TILE];
            last += sums[2 * array + at + k * TILE];
        }
        row_means *to = means + q;
        to->all = (float)(all / (double)s.n_u);
        to->first = first / (double)edge;
        to->last = last / (double)edge;
    }
}

/* Columns [0, n_u) from the image, the others on the line from the last mean to the
 * first. Threads run along image rows to read and along u to write. */
__global__ void load(image_rows s, size_t begin, size_t length, size_t stride,
                     const float *p, const row_means *means, float *work)
{
    TR_SHARED(float, tile); /* [TILE][TILE + 1]: no two threads on one bank */
    size_t u0 = (size_t)blockIdx.y * TILE, q0 = (size_t)blockIdx.x * TILE;
    size_t q = begin + q0 + threadIdx.x;
    size_t from = q < s.n ? column_0(s, q) : 0;
    for (unsigned j = threadIdx.y; j < TILE; j += TILE_Y) {
        bool inside = q < s.n && u0 + j < s.n_u;
        tile[j * (TILE + 1) + threadIdx.x] = inside ? p[from + (u0 + j) * s.rows] : 0.0f;
    }
    __syncthreads();
    size_t u = u0 + threadIdx.x, added = length - s.n_u;
    double t = ((double)u - (double)s.n_u + 1.0) / (double)(added + 1);
    for (unsigned j = threadIdx.y; u < length && j < TILE; j += TILE_Y) {
        float value = tile[threadIdx.x * (TILE + 1) + j];
        if (u >= s.n_u && begin + q0 + j < s.n) {
            const row_means *row = means + begin + q0 + j;
            value = (float)((1.0 - t) * row->last + t * row->first);
        }
        work[(q0 + j) * stride + u] = value;
    }
}

/* `stride` is n or, with one response for all views, 0. */
__global__ void respond(image_rows s, size_t begin, size_t batch, size_t n, size_t stride,
                        const float *gains, float2 *spectra)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < batch; l += step) {
        const float *gain = gains;
        if (stride && begin + l < s.n)
            gain += (begin + l) / s.rows * stride;
        for (size_t k = threadIdx.x; k < n; k += blockDim.x) {
            float2 value = spectra[l * n + k];
            spectra[l * n + k] = make_float2(gain[k] * value.x, gain[k] * value.y);
        }
    }
}

/* The way back, weighted, and the guards. */
__global__ void store(image_rows s, size_t begin, size_t stride, const float *work,
                      const row_means *means, const float *weight, float edge_gain,
                      float *p)
{
    TR_SHARED(float, tile); /* [TILE][TILE + 1] */
    size_t u0 = (size_t)blockIdx.y * TILE, q0 = (size_t)blockIdx.x * TILE;
    for (unsigned j = threadIdx.y; j < TILE; j += TILE_Y)
        if (u0 + threadIdx.x < s.n_u)
            tile[j * (TILE + 1) + threadIdx.x] =
                work[(q0 + j) * stride + u0 + threadIdx.x];
    __syncthreads();
    size_t q = begin + q0 + threadIdx.x;
    if (q >= s.n)
        return;
    float factor = weight[q / s.rows];
    float *to = p + column_0(s, q);
    for (unsigned j = threadIdx.y; j < TILE && u0 + j < s.n_u; j += TILE_Y)
        to[(u0 + j) * s.rows] = factor * tile[threadIdx.x * (TILE + 1) + j];
    if (u0 == 0 && threadIdx.y == 0) {
        float edge = edge_gain * factor * means[q].all;
        *(to - s.rows) = to[s.n_u * s.rows] = to[(s.n_u + 1) * s.rows] = edge;
    }
}
} // namespace

/* ---- plans ---- */

static tr_status check_plan(cufftResult result, const char *what)
{
    if (result == CUFFT_SUCCESS)
        return TR_OK;
    (void)cudaGetLastError();
    return tr_fail(result == CUFFT_ALLOC_FAILED ? TR_ERR_MEMORY : TR_ERR_DATA,
                   "the GPU could not %s: %s (error %d of cuFFT)", what,
                   result == CUFFT_ALLOC_FAILED ? "out of memory"
                                                : "the transform failed",
                   (int)result);
}

void tr_cuda_transform_free(tr_cuda *c)
{
    if (!c->transform)
        return;
    if (c->transform->has_forward)
        (void)cufftDestroy(c->transform->forward);
    if (c->transform->has_backward)
        (void)cufftDestroy(c->transform->backward);
    free(c->transform);
    c->transform = NULL;
}

/* In place: a row has room for its spectrum of length/2 + 1 values. */
static tr_status plan(tr_cuda *c, const tr_cuda_transform *t, cufftType type, bool *made,
                      cufftHandle *handle)
{
    int n = (int)t->length, real = (int)t->stride, spectrum = real / 2;
    bool forward = type == CUFFT_R2C;
    int from = forward ? real : spectrum, to = forward ? spectrum : real;
    cufftResult result = CUFFT_ALLOC_FAILED;
    for (int attempt = 0; attempt < 2 && result == CUFFT_ALLOC_FAILED; attempt++) {
        if (attempt)
            tr_cuda_release(c);
        result =
            cufftPlanMany(handle, 1, &n, &from, 1, from, &to, 1, to, type, (int)t->batch);
    }
    *made = result == CUFFT_SUCCESS;
    TR_TRY(check_plan(result, "prepare the filter"));
    return check_plan(cufftSetStream(*handle, c->compute), "prepare the filter");
}

static tr_status prepare(tr_cuda *c, size_t length)
{
    if (c->transform && c->transform->length == length)
        return TR_OK;
    tr_cuda_transform_free(c);
    if (length > (size_t)1 << 24)
        return tr_fail(TR_ERR_DATA, "image rows of %zu values are too long to filter",
                       length);
    tr_cuda_transform *t = (tr_cuda_transform *)calloc(1, sizeof *t);
    if (!t)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to prepare the filter");
    t->length = length;
    t->stride = length + 2;
    t->batch = work_floats / t->stride / TILE * TILE;
    if (t->batch > most_rows)
        t->batch = most_rows;
    if (t->batch == 0)
        t->batch = TILE;
    c->transform = t;
    tr_status status = plan(c, t, CUFFT_R2C, &t->has_forward, &t->forward);
    if (status == TR_OK)
        status = plan(c, t, CUFFT_C2R, &t->has_backward, &t->backward);
    if (status != TR_OK)
        tr_cuda_transform_free(c);
    return status;
}

/* ---- the operation ---- */

/* In device memory: responses divided by the length, as cuFFT's transforms are not
 * normalised, and the weights. */
struct gains {
    const float *gain, *weight;
    size_t stride; /* from one view's response to the next one's */
    float edge_gain;
};

/* Image rows from `begin`, as many as a plan takes. */
static tr_status filter_some(tr_cuda *c, const image_rows &s, size_t begin,
                             const row_means *means, const gains &g, float *work,
                             float *p)
{
    const tr_cuda_transform *t = c->transform;
    const dim3 block(TILE, TILE_Y);
    const unsigned tiles = (unsigned)(t->batch / TILE),
                   shared = TILE * (TILE + 1) * sizeof(float);
    dim3 grid(tiles, (unsigned)((t->length + TILE - 1) / TILE));
    TR_LAUNCH(load, grid, block, shared, c->compute, s, begin, t->length, t->stride, p,
              means, work);
    TR_TRY(tr_cuda_launched("load"));
    TR_TRY(check_plan(cufftExecR2C(t->forward, work, (cufftComplex *)work), "filter"));
    tr_cuda_shape shape = tr_cuda_lines(c, t->batch, t->stride / 2);
    TR_LAUNCH(respond, shape.grid, shape.block, 0, c->compute, s, begin, t->batch,
              t->stride / 2, g.stride, g.gain, (float2 *)work);
    TR_TRY(tr_cuda_launched("respond"));
    TR_TRY(check_plan(cufftExecC2R(t->backward, (cufftComplex *)work, work), "filter"));
    grid.y = (unsigned)((s.n_u + TILE - 1) / TILE);
    TR_LAUNCH(store, grid, block, shared, c->compute, s, begin, t->stride, work, means,
              g.weight, g.edge_gain, p);
    return tr_cuda_launched("store");
}

static tr_status put_gains(tr_cuda *c, const tr_slab *s, const tr_filter *f, gains *g)
{
    size_t n = f->length / 2 + 1, responses = f->stride ? s->n_views : 1;
    size_t bytes = (n * responses + s->n_views) * sizeof(float);
    float *host = (float *)malloc(bytes);
    void *memory;
    if (!host)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to prepare the filter");
    for (size_t i = 0; i < responses; i++)
        for (size_t k = 0; k < n; k++)
            host[i * n + k] = f->response[i * f->stride + k] / (float)f->length;
    for (size_t i = 0; i < s->n_views; i++)
        host[n * responses + i] = f->weight[i];
    tr_status status = tr_cuda_put(c, TR_SCRATCH_ROWS, host, bytes, &memory);
    free(host);
    TR_TRY(status);
    g->gain = (const float *)memory;
    g->weight = g->gain + n * responses;
    g->stride = f->stride ? n : 0;
    g->edge_gain = f->edge_gain;
    return TR_OK;
}

tr_status tr_cuda_filter(void *state, const tr_slab *slab, const tr_filter *f, tr_vec *p)
{
    tr_cuda *c = (tr_cuda *)state;
    const image_rows s = {slab->n_u, slab->p_rows, slab->n_views * slab->p_rows};
    gains g = {};
    void *work, *means;
    TR_ASSERT(f->length % 2 == 0 && f->length >= s.n_u);
    if (s.n == 0)
        return TR_OK;
    TR_TRY(prepare(c, f->length));
    const tr_cuda_transform *t = c->transform;
    TR_TRY(put_gains(c, slab, f, &g));
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_PARTS, s.n * sizeof(row_means), &means));
    TR_TRY(
        tr_cuda_scratch(c, TR_SCRATCH_WORK, t->batch * t->stride * sizeof(float), &work));
    TR_LAUNCH(measure, (unsigned)((s.n + TILE - 1) / TILE), dim3(TILE, TILE_Y),
              3 * TILE * TILE_Y * sizeof(double), c->compute, s, p->data,
              (row_means *)means);
    TR_TRY(tr_cuda_launched("measure"));
    for (size_t begin = 0; begin < s.n; begin += t->batch)
        TR_TRY(filter_some(c, s, begin, (const row_means *)means, g, (float *)work,
                           p->data));
    return TR_OK;
}
