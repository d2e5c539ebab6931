/* Into the aligned frame, by cubic convolution: shifts, rotation and magnification of the
 * alignment, local ones too, and the x-tilt of a view. */
#include "common/views/view_step.h"

static bool wanted(const tr_view_params *params, const tr_view_facts *view)
{
    (void)params;
    return !view || view->map;
}

static tr_window_2d window(const tr_view_facts *view, size_t nx, size_t ny, long row,
                           size_t n_rows)
{
    return tr_map_window(view->map, view->displacement, nx, ny, view->columns, row,
                         n_rows);
}

static void rows(const tr_view_facts *view, const float *source, const tr_window_2d *from,
                 size_t nx, size_t ny, long row, size_t n_rows, float *out)
{
    float fill = view->fill ? (float)*view->fill : 0.0f;
    tr_warp_rows(view->map, view->displacement, source, from, nx, ny,
                 view->fill ? &fill : NULL, view->columns, row, n_rows, out);
}

const tr_view_step tr_step_transform = {
    .name = "transform", .wanted = wanted, .window = window, .rows = rows};
