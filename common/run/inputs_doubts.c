/* What can be read, but hardly be meant. */
#include <math.h>

#include "common/base/log.h"
#include "common/geometry/warp.h"
#include "common/run/inputs.h"

/* Angstroms: from electron microscopes that see atoms to X-rays of bones. */
static const double SMALLEST_PIXEL = 0.01, LARGEST_PIXEL = 1e7;
/* Less of a view, or this much larger or smaller, is no alignment. A turn by 90 degrees
 * leaves 0.7 of the images of usual cameras. */
static const double LEAST_LEFT = 0.25, MOST_SCALE = 2.0;

static void doubt_pixels(const tr_inputs *in)
{
    double pixel = in->pixel;
    if (pixel > 0.0 && (pixel < SMALLEST_PIXEL || pixel > LARGEST_PIXEL))
        tr_warn("%s says %g angstroms a pixel, which cannot be right: is it in another "
                "unit? The tomogram's header will say the same",
                in->series_path, pixel);
}

/* The share of the aligned image that shows the image, from points on a grid. */
static double share_left(const tr_transform *t, const tr_inputs *in)
{
    enum { POINTS = 64 };
    const tr_image_info *info = tr_image_get_info(in->image);
    double m[6], inside = 0.0, nx = (double)info->nx, ny = (double)info->ny;
    tr_transform_inverse(t, in->nx, in->ny, info->nx, info->ny, m);
    for (int j = 0; j < POINTS; j++)
        for (int i = 0; i < POINTS; i++) {
            double u = (i + 0.5) * (double)in->nx / POINTS - 0.5;
            double v = (j + 0.5) * (double)in->ny / POINTS - 0.5;
            double x = m[0] * u + m[1] * v + m[2], y = m[3] * u + m[4] * v + m[5];
            inside += x >= -0.5 && x <= nx - 0.5 && y >= -0.5 && y <= ny - 0.5;
        }
    return inside / (POINTS * POINTS);
}

static double scale_of(const tr_transform *t)
{
    return sqrt(fabs(t->a11 * t->a22 - t->a12 * t->a21));
}

/* One sentence for each kind, of the worst view. */
typedef struct doubts {
    size_t n_gone, n_little, n_scaled;
    size_t gone, little, scaled; /* views */
    double left, scale;
} doubts;

static void look_at(const tr_transform *t, size_t view, const tr_inputs *in, doubts *d)
{
    double scale = scale_of(t), ratio = fmax(scale, 1.0 / scale);
    if (ratio > MOST_SCALE) {
        if (d->n_scaled++ == 0 || ratio > fmax(d->scale, 1.0 / d->scale)) {
            d->scaled = view;
            d->scale = scale;
        }
        return;
    }
    double left = share_left(t, in);
    if (left == 0.0) {
        d->gone = d->n_gone++ ? d->gone : view;
    } else if (left < LEAST_LEFT && (d->n_little++ == 0 || left < d->left)) {
        d->little = view;
        d->left = left;
    }
}

static tr_status say(const tr_inputs *in, const char *path, const doubts *d)
{
    const tr_view *view = in->views.view;
    const tr_transform *t = &view[d->gone].transform;
    if (d->n_gone && d->n_gone == in->views.n)
        return tr_fail(TR_ERR_DATA,
                       "%s moves every view out of its image, the first by %g and %g "
                       "pixels; its shifts must be in pixels of %s",
                       path, t->dx, t->dy, in->series_path);
    if (d->n_gone)
        tr_warn("%s moves %zu of %zu views out of their images, the first of them view "
                "%zu by %g and %g pixels: nothing of it is left; leave it out with "
                "--exclude %zu, or correct the file",
                path, d->n_gone, in->views.n, view[d->gone].section + 1, t->dx, t->dy,
                view[d->gone].section + 1);
    if (d->n_little)
        tr_warn("%s leaves little of %zu of %zu views, the least, %.0f %%, of view %zu: "
                "are its shifts in pixels of this series?",
                path, d->n_little, in->views.n, 100.0 * d->left,
                view[d->little].section + 1);
    if (d->n_scaled)
        tr_warn("%s magnifies %zu of %zu views by much, view %zu %g times: is it about "
                "this series?",
                path, d->n_scaled, in->views.n, view[d->scaled].section + 1, d->scale);
    return TR_OK;
}

tr_status tr_inputs_doubt(const tr_inputs *in)
{
    doubts d = {0};
    doubt_pixels(in);
    for (size_t k = 0; k < in->views.n && in->views.has_transforms; k++)
        look_at(&in->views.view[k].transform, k, in, &d);
    return say(in, in->transforms_path, &d);
}
