/* What regularizers of a volume need, as in cpu/regularizer.c: no sum crosses lines. */
#include "kernels/cuda/planes.h"

enum { THREADS = 256 };

/* A thread's place in a volume of n_x x n_z lines, cells outside the field as well:
 * threads in x along a line, threads in y and the grid's x over the lines of a plane, the
 * grid's y over planes. */
static tr_cuda_shape over_volume(const tr_cuda *c, size_t n_x, size_t n_z, size_t rows)
{
    const unsigned most = 65535;
    tr_cuda_shape shape = tr_cuda_lines(c, n_x, rows);
    shape.grid.y = n_z < most ? (unsigned)n_z : most;
    return shape;
}

#define TR_EACH_LINE(x, z, n_x, n_z)                                                     \
    for (size_t z = blockIdx.y; z < (n_z); z += gridDim.y)                               \
        for (size_t x = (size_t)blockIdx.x * blockDim.y + threadIdx.y; x < (n_x);        \
             x += (size_t)gridDim.x * blockDim.y)

namespace
{
/* Where line (z, x) begins; x counts the cells outside the field as well. */
__device__ inline size_t line_start(const tr_slab *s, size_t z, size_t x)
{
    return tr_line_at(s, z, x) * s->rows;
}

__global__ void grad(tr_slab s, size_t n, const float *v, const float *above, float *gx,
                     float *gy, float *gz)
{
    const size_t columns = tr_all_columns(&s);
    TR_EACH_LINE(x, z, columns, s.n_z)
    {
        size_t line = tr_line_at(&s, z, x), at = line * s.rows;
        size_t right = x + 1 < columns ? line_start(&s, z, x + 1) : at;
        size_t over = z + 1 < s.n_z ? line_start(&s, z + 1, x) : at;
        for (size_t r = threadIdx.x; r < s.rows; r += blockDim.x) {
            bool used = r < n;
            float here = v[at + r], next = here;
            if (r + 1 < n)
                next = v[at + r + 1];
            else if (used && above)
                next = above[line];
            gx[at + r] = used && right != at ? v[right + r] - here : 0.0f;
            gy[at + r] = used ? next - here : 0.0f;
            gz[at + r] = used && over != at ? v[over + r] - here : 0.0f;
        }
    }
}

/* Every difference counts for the voxel at its end, and against the one at its start; the
 * last one of an axis does not exist. */
__global__ void grad_adjoint(tr_slab s, size_t n, const float *gx, const float *gy,
                             const float *gz, const float *below, float *y)
{
    const size_t columns = tr_all_columns(&s);
    TR_EACH_LINE(x, z, columns, s.n_z)
    {
        size_t line = tr_line_at(&s, z, x), at = line * s.rows;
        size_t left = x ? line_start(&s, z, x - 1) : at;
        size_t under = z ? line_start(&s, z - 1, x) : at;
        for (size_t r = threadIdx.x; r < s.rows; r += blockDim.x) {
            float sum = 0.0f;
            if (r < n) {
                float before = r ? gy[at + r - 1] : below ? below[line] : 0.0f;
                sum = before - gy[at + r];
                if (x)
                    sum += gx[left + r];
                if (x + 1 < columns)
                    sum -= gx[at + r];
                if (z)
                    sum += gz[under + r];
                if (z + 1 < s.n_z)
                    sum -= gz[at + r];
            }
            y[at + r] = sum;
        }
    }
}

__global__ void shrink_vectors(size_t n, float t, float *a, float *b, float *c)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
        float length = sqrtf(a[i] * a[i] + b[i] * b[i] + c[i] * c[i]);
        float kept = length > t ? (length - t) / length : 0.0f;
        a[i] *= kept;
        b[i] *= kept;
        c[i] *= kept;
    }
}

/* A pair becomes its sum and its difference, divided by the root of 2: a rotation and a
 * mirror, hence its own inverse. */
__device__ void turn_pair(float *a, float *b)
{
    const float root = 0.70710678f;
    float sum = *a + *b, difference = *a - *b;
    *a = root * sum;
    *b = root * difference;
}

/* Pairs of lines at a distance of `step` along x or z, the first of a pair at multiples
 * of twice that there and of `step` on the other axis: pairs_x x pairs_z of them. */
__global__ void pair_lines(tr_slab s, size_t pairs_x, size_t pairs_z, size_t step,
                           bool along_x, float *v)
{
    const size_t step_x = along_x ? 2 * step : step, step_z = along_x ? step : 2 * step;
    TR_EACH_LINE(x, z, pairs_x, pairs_z)
    {
        size_t at_z = z * step_z, at_x = x * step_x;
        float *a = v + line_start(&s, at_z, at_x);
        float *b = v + line_start(&s, along_x ? at_z : at_z + step,
                                  along_x ? at_x + step : at_x);
        for (size_t r = threadIdx.x; r < s.rows; r += blockDim.x)
            turn_pair(a + r, b + r);
    }
}

__global__ void pair_rows(size_t lines, size_t rows, size_t pairs, float *v)
{
    size_t step = (size_t)gridDim.x * blockDim.y;
    for (size_t l = (size_t)blockIdx.x * blockDim.y + threadIdx.y; l < lines; l += step)
        for (size_t k = threadIdx.x; k < pairs; k += blockDim.x)
            turn_pair(v + l * rows + 2 * k, v + l * rows + 2 * k + 1);
}
} // namespace

/* One value per line, from the host; NULL stays NULL. */
static tr_status put_line_values(tr_cuda *c, const tr_slab *s, const float *host,
                                 const float **device)
{
    void *memory = NULL;
    if (host)
        TR_TRY(tr_cuda_put(c, TR_SCRATCH_ROWS, host, tr_volume_lines(s) * sizeof *host,
                           &memory));
    *device = (const float *)memory;
    return TR_OK;
}

tr_status tr_cuda_grad(void *state, const tr_slab *s, size_t n, const tr_vec *x,
                       const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz)
{
    tr_cuda *c = (tr_cuda *)state;
    const float *next;
    TR_ASSERT(n > 0 && n <= s->rows);
    if (tr_cuda_on_host(c, x->data))
        return tr_cuda_planes_grad(c, s, n, x, above, gx, gy, gz);
    TR_TRY(put_line_values(c, s, above, &next));
    tr_cuda_shape shape = over_volume(c, tr_all_columns(s), s->n_z, s->rows);
    TR_LAUNCH(grad, shape.grid, shape.block, 0, c->compute, *s, n, x->data, next,
              gx->data, gy->data, gz->data);
    return tr_cuda_launched("grad");
}

tr_status tr_cuda_grad_adjoint(void *state, const tr_slab *s, size_t n, const tr_vec *gx,
                               const tr_vec *gy, const tr_vec *gz, const float *below,
                               tr_vec *y)
{
    tr_cuda *c = (tr_cuda *)state;
    const float *before;
    TR_ASSERT(n > 0 && n <= s->rows);
    if (tr_cuda_on_host(c, y->data))
        return tr_cuda_planes_grad_adjoint(c, s, n, gx, gy, gz, below, y);
    TR_TRY(put_line_values(c, s, below, &before));
    tr_cuda_shape shape = over_volume(c, tr_all_columns(s), s->n_z, s->rows);
    TR_LAUNCH(grad_adjoint, shape.grid, shape.block, 0, c->compute, *s, n, gx->data,
              gy->data, gz->data, before, y->data);
    return tr_cuda_launched("grad_adjoint");
}

tr_status tr_cuda_shrink_vectors(void *state, float t, tr_vec *gx, tr_vec *gy, tr_vec *gz)
{
    const tr_cuda *c = (const tr_cuda *)state;
    size_t n = gx->lines * gx->rows;
    TR_ASSERT(n == gy->lines * gy->rows && n == gz->lines * gz->rows);
    TR_LAUNCH(shrink_vectors, tr_cuda_blocks(c, n, THREADS), THREADS, 0, c->compute, n, t,
              gx->data, gy->data, gz->data);
    return tr_cuda_launched("shrink_vectors");
}

/* The pairs at `step` along x, or z, among the first n_x x n_z sums of coarser level. */
static tr_status pair_along(const tr_cuda *c, const tr_slab *s, tr_vec *v, size_t step,
                            size_t n_x, size_t n_z, bool along_x)
{
    size_t pairs_x = along_x ? n_x / 2 : n_x, pairs_z = along_x ? n_z : n_z / 2;
    if (pairs_x == 0 || pairs_z == 0)
        return TR_OK;
    tr_cuda_shape shape = over_volume(c, pairs_x, pairs_z, s->rows);
    TR_LAUNCH(pair_lines, shape.grid, shape.block, 0, c->compute, *s, pairs_x, pairs_z,
              step, along_x, v->data);
    return tr_cuda_launched("pair_lines");
}

static tr_status turn_rows(const tr_cuda *c, size_t n, tr_vec *v)
{
    tr_cuda_shape shape = tr_cuda_lines(c, v->lines, n / 2);
    TR_LAUNCH(pair_rows, shape.grid, shape.block, 0, c->compute, v->lines, v->rows, n / 2,
              v->data);
    return tr_cuda_launched("pair_rows");
}

/* In place: the sums of level k lie 2^k lines and planes apart, and what a level leaves
 * over or has split off stays where it is. */
tr_status tr_cuda_haar(void *state, const tr_slab *s, size_t n, int levels, bool inverse,
                       tr_vec *x)
{
    tr_cuda *c = (tr_cuda *)state;
    TR_ASSERT(n <= s->rows && levels >= 0 && levels < 32);
    if (tr_cuda_on_host(c, x->data))
        return tr_cuda_planes_haar(c, s, n, levels, inverse, x);
    if (inverse)
        TR_TRY(turn_rows(c, n, x));
    for (int k = 0; k < levels; k++) {
        int level = inverse ? levels - 1 - k : k;
        size_t step = (size_t)1 << level, n_x = tr_all_columns(s) >> level,
               n_z = s->n_z >> level;
        TR_TRY(pair_along(c, s, x, step, n_x, n_z, !inverse));
        TR_TRY(pair_along(c, s, x, step, n_x, n_z, inverse));
    }
    return inverse ? TR_OK : turn_rows(c, n, x);
}
