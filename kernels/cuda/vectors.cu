/* Vector operations of the CUDA backend. Sums are in double, in an order that depends on
 * the vectors' sizes only, never on the device. */
#include <stdint.h>
#include <stdlib.h>

#include "kernels/cuda/state.h"

enum {
    THREADS = 256,
    MOST_PARTS = 2048, /* partial sums, which the host adds */
    LINE_CHUNK = 256,  /* lines that are summed up row by row at a time, */
    MOST_CHUNKS = 512, /* or more lines than that */
    WARP = 32,
    PER_WARP = THREADS / WARP
};

static size_t length(const tr_vec *v) { return v->lines * v->rows; }

/* How many groups of four values the pointers allow to be read at once. */
static size_t quads(size_t n, const float *a, const float *b, const float *c)
{
    return ((uintptr_t)a | (uintptr_t)b | (uintptr_t)c) % sizeof(float4) ? 0 : n / 4;
}

/* ---- value by value ---- */

namespace
{
/* y = f(w, x, y); which of these a function does not use is never read. */
struct set_value {
    float value;
    __device__ float operator()(float, float, float) const { return value; }
};
struct take {
    __device__ float operator()(float, float x, float) const { return x; }
};
struct add_scaled {
    float a;
    __device__ float operator()(float, float x, float y) const { return y + a * x; }
};
struct scale_and_add {
    float a;
    __device__ float operator()(float, float x, float y) const { return x + a * y; }
};
struct raise_to {
    float low;
    __device__ float operator()(float, float, float y) const { return y > low ? y : low; }
};
struct shrink_by {
    float t;
    __device__ float operator()(float, float, float y) const
    {
        return copysignf(fmaxf(fabsf(y) - t, 0.0f), y);
    }
};
struct reciprocal {
    float tiny;
    __device__ float operator()(float, float, float y) const
    {
        return y > tiny ? 1.0f / y : 0.0f;
    }
};
struct multiply {
    __device__ float operator()(float w, float, float y) const { return y * w; }
};
struct add_weighted {
    float a;
    __device__ float operator()(float w, float x, float y) const { return y + a * w * x; }
};

template <class F>
__device__ float4 on_four(const F &f, const float4 &w, const float4 &x, const float4 &y)
{
    return make_float4(f(w.x, x.x, y.x), f(w.y, x.y, y.y), f(w.z, x.z, y.z),
                       f(w.w, x.w, y.w));
}

template <class F>
__global__ void each_value(size_t n, size_t n_quads, F f, const float *w, const float *x,
                           float *y)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    size_t first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const float4 *w4 = (const float4 *)w, *x4 = (const float4 *)x;
    float4 *y4 = (float4 *)y;
    for (size_t i = first; i < n_quads; i += step)
        y4[i] = on_four(f, w4[i], x4[i], y4[i]);
    for (size_t i = 4 * n_quads + first; i < n; i += step)
        y[i] = f(w[i], x[i], y[i]);
}

/* The same with one w per line. */
template <class F>
__global__ void each_line(size_t lines, size_t n_quads, F f, const float *w,
                          const float *x, float *y)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step) {
        const float4 *x4 = (const float4 *)x + l * n_quads;
        float4 *y4 = (float4 *)y + l * n_quads;
        float v = w[l];
        for (size_t i = threadIdx.x; i < n_quads; i += blockDim.x)
            y4[i] = on_four(f, make_float4(v, v, v, v), x4[i], y4[i]);
    }
}

/* The same with one w per row. */
template <class F>
__global__ void each_row(size_t lines, size_t n_quads, F f, const float4 *w,
                         const float4 *x, float4 *y)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step)
        for (size_t i = threadIdx.x; i < n_quads; i += blockDim.x) {
            size_t at = l * n_quads + i;
            y[at] = on_four(f, w[i], x[at], y[at]);
        }
}
} // namespace

/* y = f(w, x, y), w and x NULL where f does not use them. */
template <class F>
static tr_status apply(void *state, const char *what, F f, const tr_vec *w,
                       const tr_vec *x, tr_vec *y)
{
    const tr_cuda *c = (const tr_cuda *)state;
    size_t n = length(y);
    TR_ASSERT(!x || length(x) == n);
    TR_ASSERT(!w || (w->lines == y->lines && (w->rows == 1 || w->rows == y->rows)));
    const float *from = x ? x->data : y->data, *factor = w ? w->data : y->data;
    if (w && w->rows != y->rows) {
        TR_ASSERT(y->rows % 4 == 0);
        size_t n_quads = y->rows / 4;
        tr_cuda_shape shape = tr_cuda_lines(c, y->lines, n_quads);
        auto *kernel = each_line<F>;
        TR_LAUNCH(kernel, shape.grid, shape.block, 0, c->compute, y->lines, n_quads, f,
                  factor, from, y->data);
        return tr_cuda_launched(what);
    }
    auto *kernel = each_value<F>;
    TR_LAUNCH(kernel, tr_cuda_blocks(c, n / 4 + 1, THREADS), THREADS, 0, c->compute, n,
              quads(n, factor, from, y->data), f, factor, from, y->data);
    return tr_cuda_launched(what);
}

tr_status tr_cuda_fill(void *state, tr_vec *y, float value)
{
    return apply(state, "fill", set_value{value}, NULL, NULL, y);
}

tr_status tr_cuda_copy(void *state, const tr_vec *x, tr_vec *y)
{
    const tr_cuda *c = (const tr_cuda *)state;
    TR_ASSERT(length(x) == length(y));
    /* Copies from host memory to host memory are made by the host. */
    if (tr_cuda_on_host(c, x->data) || tr_cuda_on_host(c, y->data))
        return apply(state, "copy", take{}, NULL, x, y);
    return tr_cuda_check(cudaMemcpyAsync(y->data, x->data, length(y) * sizeof *y->data,
                                         cudaMemcpyDeviceToDevice, c->compute),
                         "copy a vector");
}

tr_status tr_cuda_axpy(void *state, float a, const tr_vec *x, tr_vec *y)
{
    return apply(state, "axpy", add_scaled{a}, NULL, x, y);
}

tr_status tr_cuda_xpay(void *state, const tr_vec *x, float a, tr_vec *y)
{
    return apply(state, "xpay", scale_and_add{a}, NULL, x, y);
}

tr_status tr_cuda_clamp(void *state, float low, tr_vec *y)
{
    return apply(state, "clamp", raise_to{low}, NULL, NULL, y);
}

tr_status tr_cuda_shrink(void *state, float t, tr_vec *y)
{
    return apply(state, "shrink", shrink_by{t}, NULL, NULL, y);
}

tr_status tr_cuda_invert_guarded(void *state, float tiny, tr_vec *y)
{
    return apply(state, "invert_guarded", reciprocal{tiny}, NULL, NULL, y);
}

tr_status tr_cuda_mul_lines(void *state, const tr_vec *w, tr_vec *y)
{
    return apply(state, "mul_lines", multiply{}, w, NULL, y);
}

tr_status tr_cuda_axpy_lines(void *state, float a, const tr_vec *w, const tr_vec *x,
                             tr_vec *y)
{
    return apply(state, "axpy_lines", add_weighted{a}, w, x, y);
}

/* y = f(w[r], x, y), w from the host. */
template <class F>
static tr_status apply_rows(void *state, const char *what, F f, const float *w,
                            const tr_vec *x, tr_vec *y)
{
    tr_cuda *c = (tr_cuda *)state;
    void *factors;
    TR_ASSERT(length(x) == length(y) && y->rows % 4 == 0);
    TR_TRY(tr_cuda_put(c, TR_SCRATCH_ROWS, w, y->rows * sizeof *w, &factors));
    tr_cuda_shape shape = tr_cuda_lines(c, y->lines, y->rows / 4);
    auto *kernel = each_row<F>;
    TR_LAUNCH(kernel, shape.grid, shape.block, 0, c->compute, y->lines, y->rows / 4, f,
              (const float4 *)factors, (const float4 *)x->data, (float4 *)y->data);
    return tr_cuda_launched(what);
}

tr_status tr_cuda_axpy_rows(void *state, const float *a, const tr_vec *x, tr_vec *y)
{
    return apply_rows(state, "axpy_rows", add_weighted{1.0f}, a, x, y);
}

tr_status tr_cuda_scale_rows(void *state, const float *a, tr_vec *y)
{
    return apply_rows(state, "scale_rows", multiply{}, a, y, y);
}

/* ---- sums over whole vectors ---- */

namespace
{
struct product {
    __device__ double operator()(float a, float b, float) const { return (double)a * b; }
};
struct vector_length {
    __device__ double operator()(float a, float b, float c) const
    {
        return sqrt((double)a * a + (double)b * b + (double)c * c);
    }
};
struct magnitude {
    __device__ double operator()(float a, float, float) const { return fabs((double)a); }
};

template <class F>
__global__ void sum_terms(size_t n, size_t n_quads, F f, const float *a, const float *b,
                          const float *c, double *parts)
{
    TR_SHARED(double, sums);
    size_t step = (size_t)gridDim.x * blockDim.x;
    size_t first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    const float4 *a4 = (const float4 *)a, *b4 = (const float4 *)b,
                 *c4 = (const float4 *)c;
    double sum = 0.0;
    for (size_t i = first; i < n_quads; i += step) {
        float4 p = a4[i], q = b4[i], r = c4[i];
        sum += f(p.x, q.x, r.x);
        sum += f(p.y, q.y, r.y);
        sum += f(p.z, q.z, r.z);
        sum += f(p.w, q.w, r.w);
    }
    for (size_t i = 4 * n_quads + first; i < n; i += step)
        sum += f(a[i], b[i], c[i]);
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0)
        parts[blockIdx.x] = sums[0];
}
} // namespace

template <class F>
static tr_status sum_up(void *state, F f, size_t n, const float *a, const float *b,
                        const float *d, double *sum)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t n_parts = n / (8 * THREADS) + 1; /* so that every thread has some to add */
    if (n_parts > MOST_PARTS)
        n_parts = MOST_PARTS;
    double host[MOST_PARTS];
    void *parts;
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_PARTS, sizeof host, &parts));
    auto *kernel = sum_terms<F>;
    TR_LAUNCH(kernel, (unsigned)n_parts, THREADS, THREADS * sizeof(double), c->compute, n,
              quads(n, a, b, d), f, a, b, d, (double *)parts);
    TR_TRY(tr_cuda_launched("sum_terms"));
    TR_TRY(tr_cuda_get(c, parts, host, n_parts * sizeof *host));
    *sum = 0.0;
    for (size_t i = 0; i < n_parts; i++)
        *sum += host[i];
    return TR_OK;
}

tr_status tr_cuda_dot(void *state, const tr_vec *x, const tr_vec *y, double *sum)
{
    TR_ASSERT(length(x) == length(y));
    return sum_up(state, product{}, length(x), x->data, y->data, y->data, sum);
}

tr_status tr_cuda_sum_lengths(void *state, const tr_vec *gx, const tr_vec *gy,
                              const tr_vec *gz, double *sum)
{
    TR_ASSERT(!gy == !gz);
    if (!gy)
        return sum_up(state, magnitude{}, length(gx), gx->data, gx->data, gx->data, sum);
    TR_ASSERT(length(gx) == length(gy) && length(gx) == length(gz));
    return sum_up(state, vector_length{}, length(gx), gx->data, gy->data, gz->data, sum);
}

/* ---- sums row by row ---- */

namespace
{
/* The sum of a block's PER_WARP terms for each of WARP rows to where threads with
 * threadIdx.y = 0 are told, in the same order always. */
__device__ void sum_block(double sum, double *sums, double *to)
{
    sums[threadIdx.y * WARP + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || !to)
        return;
    for (unsigned k = 1; k < PER_WARP; k++)
        sum += sums[k * WARP + threadIdx.x];
    *to = sum;
}

/* Products over `chunk` lines, of WARP rows: part[chunk][row]. */
__global__ void row_dots(size_t lines, size_t rows, size_t chunk, size_t w_rows,
                         const float *w, const float *x, const float *y, double *parts)
{
    TR_SHARED(double, sums);
    size_t r = (size_t)blockIdx.y * WARP + threadIdx.x, begin = blockIdx.x * chunk;
    size_t end = begin + chunk < lines ? begin + chunk : lines;
    double sum = 0.0;
    for (size_t l = begin + threadIdx.y; r < rows && l < end; l += PER_WARP) {
        double product = (double)x[l * rows + r] * y[l * rows + r];
        sum += w ? w[w_rows == 1 ? l : l * rows + r] * product : product;
    }
    sum_block(sum, sums, r < rows ? parts + blockIdx.x * rows + r : NULL);
}

/* Sums of squares over LINE_CHUNK lines of one view, of WARP rows:
 * part[view][chunk][row]. Each row is summed in the same order always. */
__global__ void row_squares(size_t lines, size_t rows, unsigned chunks,
                            const unsigned *views, const float *p, double *parts)
{
    TR_SHARED(double, sums);
    size_t r = (size_t)blockIdx.y * WARP + threadIdx.x;
    size_t begin = (size_t)(blockIdx.x % chunks) * LINE_CHUNK;
    size_t end = begin + LINE_CHUNK < lines ? begin + LINE_CHUNK : lines;
    const float *from = p + views[blockIdx.x / chunks] * lines * rows + r;
    double sum = 0.0;
    if (r < rows)
        for (size_t l = begin + threadIdx.y; l < end; l += PER_WARP)
            sum += (double)from[l * rows] * from[l * rows];
    sum_block(sum, sums, r < rows ? parts + blockIdx.x * rows + r : NULL);
}

/* The first line of parts becomes the sum of all. */
__global__ void add_parts(size_t n_parts, size_t rows, double *parts)
{
    size_t r = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (r >= rows)
        return;
    double sum = 0.0;
    for (size_t k = 0; k < n_parts; k++)
        sum += parts[k * rows + r];
    parts[r] = sum;
}
} // namespace

tr_status tr_cuda_row_dots(void *state, const tr_vec *w, const tr_vec *x, const tr_vec *y,
                           double *sums)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t rows = x->rows, lines = x->lines;
    size_t chunk = (lines + MOST_CHUNKS - 1) / MOST_CHUNKS;
    chunk = chunk > LINE_CHUNK ? chunk : (size_t)LINE_CHUNK;
    size_t n_parts = lines ? (lines + chunk - 1) / chunk : 1; /* one sets it to 0 */
    void *parts;
    TR_ASSERT(length(x) == length(y) &&
              (!w || (w->lines == lines && (w->rows == 1 || w->rows == rows))));
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_PARTS, n_parts * rows * sizeof *sums, &parts));
    TR_LAUNCH(row_dots, dim3((unsigned)n_parts, (unsigned)((rows + WARP - 1) / WARP)),
              dim3(WARP, PER_WARP), THREADS * sizeof *sums, c->compute, lines, rows,
              chunk, w ? w->rows : 0, w ? w->data : NULL, x->data, y->data,
              (double *)parts);
    TR_LAUNCH(add_parts, (unsigned)((rows + THREADS - 1) / THREADS), THREADS, 0,
              c->compute, n_parts, rows, (double *)parts);
    TR_TRY(tr_cuda_launched("row_dots"));
    return tr_cuda_get(c, parts, sums, rows * sizeof *sums);
}

tr_status tr_cuda_row_squares(void *state, const tr_slab *slab, const tr_subset *views,
                              const tr_vec *p, double *sums)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t rows = p->rows, lines = slab->n_u + TR_GUARDS;
    unsigned chunks = (unsigned)((lines + LINE_CHUNK - 1) / LINE_CHUNK), n;
    const unsigned *numbers;
    void *parts;
    TR_TRY(tr_cuda_views(c, slab, views, NULL, &numbers, &n));
    if (n == 0)
        return TR_OK;
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_PARTS, (size_t)n * chunks * rows * sizeof *sums,
                           &parts));
    double *host = (double *)malloc(rows * sizeof *host);
    if (!host)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a sum");
    TR_LAUNCH(row_squares, dim3(n * chunks, (unsigned)((rows + WARP - 1) / WARP)),
              dim3(WARP, PER_WARP), THREADS * sizeof *sums, c->compute, lines, rows,
              chunks, numbers, p->data, (double *)parts);
    TR_LAUNCH(add_parts, (unsigned)((rows + THREADS - 1) / THREADS), THREADS, 0,
              c->compute, (size_t)n * chunks, rows, (double *)parts);
    tr_status status = tr_cuda_launched("row_squares");
    if (status == TR_OK)
        status = tr_cuda_get(c, parts, host, rows * sizeof *host);
    for (size_t r = 0; status == TR_OK && r < rows; r++)
        sums[r] += host[r];
    free(host);
    return status;
}

/* ---- rows of projections ---- */

namespace
{
/* A block works on lines of one view. */
__global__ void mask_rows(size_t lines, size_t rows, const unsigned *views,
                          const float *mask, float *p)
{
    float *to = p + views[blockIdx.y] * lines * rows;
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step)
        for (size_t r = threadIdx.x; r < rows; r += blockDim.x)
            to[l * rows + r] *= mask[r];
}
} // namespace

tr_status tr_cuda_mask_rows(void *state, const tr_slab *slab, const tr_subset *views,
                            const float *mask, tr_vec *p)
{
    tr_cuda *c = (tr_cuda *)state;
    size_t lines = slab->n_u + TR_GUARDS;
    const unsigned *numbers;
    unsigned n;
    void *factors;
    TR_TRY(tr_cuda_views(c, slab, views, NULL, &numbers, &n));
    if (n == 0)
        return TR_OK;
    TR_TRY(tr_cuda_put(c, TR_SCRATCH_ROWS, mask, p->rows * sizeof *mask, &factors));
    tr_cuda_shape shape = tr_cuda_lines(c, lines, p->rows);
    shape.grid.y = n;
    TR_LAUNCH(mask_rows, shape.grid, shape.block, 0, c->compute, lines, p->rows, numbers,
              (const float *)factors, p->data);
    return tr_cuda_launched("mask_rows");
}

/* ---- rows of any vector, to the host and back ---- */

namespace
{
/* Both have rows [0, n_rows) of `lines` lines; those of v are v_rows long. */
__global__ void pack(size_t lines, size_t n_rows, size_t v_rows, const float *v,
                     float *packed)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step)
        for (size_t r = threadIdx.x; r < n_rows; r += blockDim.x)
            packed[l * n_rows + r] = v[l * v_rows + r];
}

__global__ void unpack(size_t lines, size_t n_rows, size_t v_rows, const float *packed,
                       bool add, float *v)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step)
        for (size_t r = threadIdx.x; r < n_rows; r += blockDim.x) {
            float value = packed[l * n_rows + r];
            v[l * v_rows + r] = add ? v[l * v_rows + r] + value : value;
        }
}

/* v: row 0 of the first line; those from `row` are set, but for the row they are copies
 * of, which other threads read. */
__global__ void set_rows(size_t lines, size_t row, size_t n_rows, size_t v_rows,
                         bool zero, size_t from, float *v)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step) {
        float value = zero ? 0.0f : v[l * v_rows + from];
        for (size_t r = threadIdx.x; r < n_rows; r += blockDim.x)
            if (zero || row + r != from)
                v[l * v_rows + row + r] = value;
    }
}
} // namespace

static float *first_of(const tr_vec *v, const tr_rows *rows)
{
    TR_ASSERT(rows->line + rows->n_lines <= v->lines &&
              rows->row + rows->n_rows <= v->rows);
    return v->data + rows->line * v->rows + rows->row;
}

/* As many lines at a time as 64 MiB of scratch hold. */
static size_t lines_at_a_time(const tr_rows *rows)
{
    size_t most = ((size_t)64 << 20) / sizeof(float) / (rows->n_rows ? rows->n_rows : 1);
    most = most ? most : 1;
    return most < rows->n_lines ? most : rows->n_lines;
}

tr_status tr_cuda_get_rows(void *state, const tr_vec *v, const tr_rows *rows, float *host)
{
    tr_cuda *c = (tr_cuda *)state;
    const float *from = first_of(v, rows);
    size_t chunk = lines_at_a_time(rows), line = rows->n_rows * sizeof *host;
    void *packed;
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_ROWS, chunk * line, &packed));
    for (size_t l = 0; l < rows->n_lines; l += chunk) {
        size_t n = rows->n_lines - l < chunk ? rows->n_lines - l : chunk;
        tr_cuda_shape shape = tr_cuda_lines(c, n, rows->n_rows);
        TR_LAUNCH(pack, shape.grid, shape.block, 0, c->compute, n, rows->n_rows, v->rows,
                  from + l * v->rows, (float *)packed);
        TR_TRY(tr_cuda_launched("pack"));
        TR_TRY(tr_cuda_get(c, packed, host + l * rows->n_rows, n * line));
    }
    return TR_OK;
}

tr_status tr_cuda_put_rows(void *state, const tr_rows *rows, const float *host, bool add,
                           tr_vec *v)
{
    tr_cuda *c = (tr_cuda *)state;
    float *to = first_of(v, rows);
    size_t chunk = lines_at_a_time(rows), line = rows->n_rows * sizeof *host;
    for (size_t l = 0; l < rows->n_lines; l += chunk) {
        size_t n = rows->n_lines - l < chunk ? rows->n_lines - l : chunk;
        void *packed;
        TR_TRY(
            tr_cuda_put(c, TR_SCRATCH_ROWS, host + l * rows->n_rows, n * line, &packed));
        tr_cuda_shape shape = tr_cuda_lines(c, n, rows->n_rows);
        TR_LAUNCH(unpack, shape.grid, shape.block, 0, c->compute, n, rows->n_rows,
                  v->rows, (const float *)packed, add, to + l * v->rows);
        TR_TRY(tr_cuda_launched("unpack"));
    }
    return TR_OK;
}

tr_status tr_cuda_set_rows(void *state, const tr_rows *rows, const size_t *from,
                           tr_vec *v)
{
    const tr_cuda *c = (const tr_cuda *)state;
    float *first = first_of(v, rows) - rows->row;
    TR_ASSERT(!from || *from < v->rows);
    tr_cuda_shape shape = tr_cuda_lines(c, rows->n_lines, rows->n_rows);
    TR_LAUNCH(set_rows, shape.grid, shape.block, 0, c->compute, rows->n_lines, rows->row,
              rows->n_rows, v->rows, !from, from ? *from : 0, first);
    return tr_cuda_launched("set_rows");
}
