/* What a view goes through between the file and the slab. A step is one file here and one
 * line in view_step_list.h, which is the order of work. The one function a step has says
 * what it needs:
 *
 *   pixels    each pixel by itself: any part of a view, read whenever it is wanted
 *   image     the whole view
 *   spectrum  its Fourier transform; all such steps share one transform each way
 *   rows      the rows that are delivered, from a window of the view before
 *
 * and steps come in the order of these kinds. Where one needs a whole view, all views are
 * prepared once, and kept in a scratch file. No result may depend on how a view is cut:
 * that follows for pixels and whole views by themselves, and for rows if each pixel comes
 * from its own neighbourhood. */
#ifndef TR_VIEW_STEP_H
#define TR_VIEW_STEP_H

#include "common/geometry/warp.h"
#include "common/options/view_params.h"
#include "common/views/views.h"

typedef struct tr_wiener tr_wiener; /* common/views/wiener.h */

/* A pixel of the detector that is too bright or too dark, and what takes its place. */
typedef struct tr_replaced {
    size_t x, y;
    float value;
} tr_replaced;

/* One view, as its steps know it. */
typedef struct tr_view_facts {
    const tr_view *view; /* what the files say of it */
    double pixel;        /* angstroms, in the file; 0: not known */
    double mean;         /* of the finite pixels, as in the file, hot ones replaced */
    double bad;          /* pixels that are NaN or infinite */
    const tr_replaced *replaced; /* by row, then column */
    size_t n_replaced;
    double level, deviation; /* mean and standard deviation, to normalize by */
    const tr_wiener *wiener; /* of all views, and of this one its noise; */
    double noise;            /* NULL: not measured (yet) */
    /* Angstroms that its defocus is larger at the depth at hand; of all depths that its
     * images are made for the largest, whatever its sign. */
    double depth, deepest;
    /* From (column, row) delivered to the prepared view; NULL: they are the same. */
    const double *map;
    const tr_displacement *displacement; /* with a map: of what it takes there; or NULL */
    size_t columns;                      /* that are delivered */
    const double *fill; /* beyond the view's edges; NULL: its edge repeats */
} tr_view_facts;

/* n neighbours in row y of the view, from column x; in double from the first such step to
 * the last. */
typedef struct tr_pixels {
    size_t x, y, n;
    double *value;
} tr_pixels;

typedef struct tr_view_step {
    const char *name;
    /* Whether there is anything to do: for this view, or for any if `view` is NULL. */
    bool (*wanted)(const tr_view_params *params, const tr_view_facts *view);

    void (*pixels)(const tr_view_params *params, const tr_view_facts *view,
                   const tr_pixels *pixels);
    /* With `pixels`: what it makes of a view's mean is the mean of what it makes. */
    bool keeps_mean;

    /* image[ny][nx], in place. */
    tr_status (*image)(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                       size_t ny, float *image);

    /* spectrum[ny][nx/2 + 1] (real, imaginary) of an image of nx x ny pixels, in place.
     * The way back may make the image smaller by a factor along both axes.
     *
     * With `spectrum`: how far, in pixels of the file, it spreads what it changes of this
     * view. The view has the largest of these more on every side while it is transformed
     * (tr_fourier_crop_new), and nx, ny are those of the larger image; NULL: 0, the view
     * as it is. */
    void (*spectrum)(const tr_view_params *params, const tr_view_facts *view, size_t nx,
                     size_t ny, float (*spectrum)[2]);
    size_t (*padding)(const tr_view_params *params, const tr_view_facts *view);
    size_t (*factor)(const tr_view_params *params);

    /* Rows row .. row + n_rows - 1 of what becomes of a view of nx x ny pixels, to
     * out[n_rows][view->columns], from a window of it. */
    tr_window_2d (*window)(const tr_view_facts *view, size_t nx, size_t ny, long row,
                           size_t n_rows);
    void (*rows)(const tr_view_facts *view, const float *source,
                 const tr_window_2d *window, size_t nx, size_t ny, long row,
                 size_t n_rows, float *out);
} tr_view_step;

/* The steps there are, in order; NULL ends the list. */
const tr_view_step *const *tr_view_step_list(void);

/* The value under the logarithm that stands for all smaller ones, of a view with this
 * mean. */
double tr_log_floor(const tr_view_params *params, double mean);

#endif
