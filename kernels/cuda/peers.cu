/* What processes send each other: rows of many views at a time, by one kernel. */
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
