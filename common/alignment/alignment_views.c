#include "common/alignment/alignment_views.h"

#include <fftw3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "common/series/series_private.h"
#include "kernels/fftw_planner.h"

/* Views are kept on a grid twice as fine as the working one, so that cubic interpolation
 * takes nothing from the frequencies in use, whatever the turn. */
enum { FINER = 2 };
static const double high = 0.35, slope = 0.05, low_cycles = 2.0, clip = 4.0;
static const double edge = 8.0; /* working pixels over which a view's edge fades in */

struct tr_alignment_views {
    const tr_series *series;
    const tr_geometry *g;
    size_t factor;          /* working pixels are so many of the file's */
    size_t raw_x, raw_y;    /* of the file, a multiple of the factor */
    size_t nx, ny;          /* working, of a view in the file */
    size_t all_x, all_y;    /* working, of an aligned one */
    float *image;           /* [n][FINER ny][FINER nx] */
    tr_displacement *local; /* [n], of these; or NULL */
    fftwf_plan forward, backward;
};

size_t tr_alignment_views_factor(const tr_alignment_views *v) { return v->factor; }

static size_t factor_for(size_t nx, size_t ny, size_t most)
{
    size_t longer = nx > ny ? nx : ny;
    return (longer + most - 1) / most;
}

size_t tr_alignment_views_floats(size_t n, size_t nx, size_t ny, size_t most)
{
    size_t f = factor_for(nx, ny, most);
    return (n * FINER * FINER) * (nx / f) * (ny / f) + 4 * nx * ny;
}

/* ---- from the file to the fine grid ---- */

/* The band of frequencies from the spectrum of a view to that of the fine grid. */
static void take_band(const tr_alignment_views *v, const fftwf_complex *from,
                      fftwf_complex *to)
{
    size_t wide = v->raw_x / 2 + 1, columns = FINER * v->nx / 2 + 1;
    double shorter = (double)(v->nx < v->ny ? v->nx : v->ny), low = low_cycles / shorter;
    memset(to, 0, FINER * v->ny * columns * sizeof *to);
    for (size_t ky = 0; ky < v->ny; ky++) {
        double f = ky > v->ny / 2 ? (double)ky - (double)v->ny : (double)ky;
        double fy = f / (double)v->ny;
        size_t in = f < 0.0 ? v->raw_y - (v->ny - ky) : ky;
        size_t out = f < 0.0 ? FINER * v->ny - (v->ny - ky) : ky;
        for (size_t kx = 0; kx <= v->nx / 2; kx++) {
            double k = hypot((double)kx / (double)v->nx, fy);
            double by = fmin(fmax((high + slope - k) / slope, 0.0), 1.0) *
                        (1.0 - exp(-0.5 * k * k / (low * low)));
            to[out * columns + kx][0] = (float)(by * from[in * wide + kx][0]);
            to[out * columns + kx][1] = (float)(by * from[in * wide + kx][1]);
        }
    }
}

/* Gold and what else stands out is not to speak for the whole view. */
static void clip_image(float *image, size_t n)
{
    double square = 0.0;
    for (size_t i = 0; i < n; i++)
        square += (double)image[i] * image[i];
    float deviation = (float)sqrt(square / (double)n);
    float most = (float)clip, by = deviation > 0.0f ? 1.0f / deviation : 0.0f;
    for (size_t i = 0; i < n; i++)
        image[i] = fminf(fmaxf(by * image[i], -most), most);
}

static tr_status read_view(const tr_alignment_views *v, size_t k, float *raw, float *cut,
                           fftwf_complex *spectrum, fftwf_complex *band)
{
    const tr_series *s = v->series;
    const tr_view_facts facts = tr_series_facts(s, k);
    const tr_window_2d all = {.nx = s->raw_u, .ny = s->raw_v};
    TR_TRY(tr_content_read(&s->content, k, s->image, s->views.view[k].section, 0,
                           s->raw_v, raw));
    tr_view_steps_pixels(&s->steps, &facts, &all, raw);
    size_t x0 = (s->raw_u - v->raw_x) / 2, y0 = (s->raw_v - v->raw_y) / 2;
    double sum = 0.0;
    for (size_t y = 0; y < v->raw_y; y++)
        for (size_t x = 0; x < v->raw_x; x++)
            sum += raw[(y + y0) * s->raw_u + x + x0];
    float mean = (float)(sum / (double)(v->raw_x * v->raw_y));
    for (size_t y = 0; y < v->raw_y; y++)
        for (size_t x = 0; x < v->raw_x; x++)
            cut[y * v->raw_x + x] = raw[(y + y0) * s->raw_u + x + x0] - mean;
    fftwf_execute_dft_r2c(v->forward, cut, spectrum);
    take_band(v, spectrum, band);
    size_t n = FINER * FINER * v->nx * v->ny;
    fftwf_execute_dft_c2r(v->backward, band, v->image + k * n);
    clip_image(v->image + k * n, n);
    return TR_OK;
}

/* The first pixel of the fine grid is at the first one of the file. */
static tr_status read_views(const tr_alignment_views *v, int threads)
{
    const tr_series *s = v->series;
    size_t raw = v->raw_x * v->raw_y, columns = FINER * v->nx / 2 + 1;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(threads)
    {
        float *image = tr_calloc("a view", s->raw_u * s->raw_v, sizeof *image);
        float *cut = tr_calloc("a view", raw, sizeof *cut);
        fftwf_complex *spectrum =
            tr_calloc("a spectrum", v->raw_y * (v->raw_x / 2 + 1), sizeof *spectrum);
        fftwf_complex *band =
            tr_calloc("a spectrum", FINER * v->ny * columns, sizeof *band);
        bool ready = image && cut && spectrum && band;
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < s->n_views; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(&failure, k,
                                    ready ? read_view(v, k, image, cut, spectrum, band)
                                          : TR_ERR_MEMORY);
        free(image);
        free(cut);
        free(spectrum);
        free(band);
    }
    return tr_first_error_end(&failure);
}

static tr_status make_plans(tr_alignment_views *v)
{
    int raw_x = (int)v->raw_x, raw_y = (int)v->raw_y;
    int fine_x = (int)(FINER * v->nx), fine_y = (int)(FINER * v->ny);
    float *image = tr_calloc("a view", v->raw_x * v->raw_y, sizeof *image);
    size_t columns = FINER * v->nx / 2 + 1, wide = v->raw_x / 2 + 1;
    size_t larger = columns > wide ? columns : wide;
    size_t rows = FINER * v->ny > v->raw_y ? FINER * v->ny : v->raw_y;
    fftwf_complex *spectrum = tr_calloc("a spectrum", larger * rows, sizeof *spectrum);
    unsigned how = FFTW_ESTIMATE | FFTW_UNALIGNED;
    tr_fftw_planner_lock();
    if (image && spectrum) {
        v->forward = fftwf_plan_dft_r2c_2d(raw_y, raw_x, image, spectrum, how);
        v->backward = fftwf_plan_dft_c2r_2d(fine_y, fine_x, spectrum, v->image, how);
    }
    tr_fftw_planner_unlock();
    free(image);
    free(spectrum);
    return v->forward && v->backward
               ? TR_OK
               : tr_fail(TR_ERR_MEMORY, "not enough memory for checking the alignment");
}

static tr_status make_local(tr_alignment_views *v)
{
    const tr_views *views = &v->series->views;
    bool any = false;
    for (size_t k = 0; k < views->n; k++)
        any = any || views->view[k].n_local > 0;
    if (!any)
        return TR_OK;
    v->local = tr_calloc("views' displacements", views->n, sizeof *v->local);
    if (!v->local)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < views->n; k++)
        TR_TRY(tr_displacement_new(views->view[k].local, views->view[k].n_local,
                                   FINER * v->nx, FINER * v->ny,
                                   (double)v->factor / FINER, &v->local[k]));
    return TR_OK;
}

/* ---- from there to the stretched frame ---- */

/* Positions of images of the same thing, n pixels along an axis in one and m in the
 * other, the middles of both together: b = scale a + this. */
static double offset(double scale, double n, double m)
{
    return 0.5 * (m - 1.0) - scale * 0.5 * (n - 1.0);
}

/* From the stretched frame to the views as the series delivers them. */
static void to_aligned(const tr_alignment_views *v, size_t k, double turn, double m[6])
{
    const tr_geometry *g = v->g;
    double scale = (double)v->factor / (double)v->series->steps.params.bin;
    double t = g->tilt[k], c = cos(turn), s = sin(turn);
    double middle[2] = {0.5 * ((double)v->all_x - 1.0), 0.5 * ((double)v->all_y - 1.0)};
    /* u and v from the axis, in working pixels: a slab that is pitched has its middle at
     * z' = y' tan g. */
    double across[2] = {cos(t), -tan(g->pitch) * sin(t)};
    double turned[4] = {c * across[0], c * across[1] + s, -s * across[0],
                        -s * across[1] + c};
    m[0] = scale * turned[0];
    m[1] = scale * turned[1];
    m[3] = scale * turned[2];
    m[4] = scale * turned[3];
    m[2] = g->axis_u - m[0] * middle[0] - m[1] * middle[1];
    m[5] = g->centre_v - m[3] * middle[0] - m[4] * middle[1];
}

/* And on to the working image of the file, and to the fine grid. */
static void map_view(const tr_alignment_views *v, size_t k, double turn, double m[6])
{
    const tr_series *s = v->series;
    double extra[6];
    to_aligned(v, k, turn, m);
    if (tr_geometry_image_map(v->g, k, extra))
        tr_map_compose(extra, m, m);
    if (s->transforms) {
        tr_transform_inverse(&s->views.view[k].transform, s->n_u, s->n_v, s->own_u,
                             s->own_v, extra);
        tr_map_compose(extra, m, m);
    }
    double scale = (double)s->steps.params.bin / (double)v->factor;
    const double small[6] = {
        scale, 0.0,   offset(scale, (double)s->own_u, (double)v->nx),
        0.0,   scale, offset(scale, (double)s->own_v, (double)v->ny)};
    tr_map_compose(small, m, m);
}

/* 1 within the view in the file, 0 outside, of a place in the working image. */
static float inside(const tr_alignment_views *v, double x, double y)
{
    double near =
        fmin(fmin(x, (double)v->nx - 1.0 - x), fmin(y, (double)v->ny - 1.0 - y));
    double part = fmin(fmax(near / edge, 0.0), 1.0), s = sin(0.5 * TR_PI * part);
    return (float)(s * s);
}

/* From the working image to the fine grid, along an axis of so many pixels in the file,
 * of which `cut` are used. Both are about the middle of the file's pixels; the fine
 * grid's first pixel is the file's first that is used. */
static double to_fine(double factor, size_t raw, size_t cut)
{
    double odd = (raw - cut) % 2 ? 0.5 : 0.0;
    return FINER * (0.5 * (factor - 1.0) + odd) / factor;
}

static tr_status stretched(void *data, size_t k, double turn, float *image)
{
    const tr_alignment_views *v = data;
    const tr_series *s = v->series;
    double m[6], fine[6], f = (double)v->factor;
    map_view(v, k, turn, m);
    const double finer[6] = {FINER, 0.0,   to_fine(f, s->raw_u, v->raw_x),
                             0.0,   FINER, to_fine(f, s->raw_v, v->raw_y)};
    tr_map_compose(finer, m, fine);
    size_t fx = FINER * v->nx, fy = FINER * v->ny;
    const tr_window_2d all = {.nx = fx, .ny = fy};
    const tr_displacement *local = v->local && v->local[k].node ? &v->local[k] : NULL;
    tr_warp_rows(fine, local, v->image + k * fx * fy, &all, fx, fy, NULL, v->all_x, 0,
                 v->all_y, image);
    for (size_t y = 0; y < v->all_y; y++)
        for (size_t x = 0; x < v->all_x; x++) {
            double px = (double)x, py = (double)y;
            image[y * v->all_x + x] *=
                inside(v, m[0] * px + m[1] * py + m[2], m[3] * px + m[4] * py + m[5]);
        }
    return TR_OK;
}

/* ---- all of it ---- */

static tr_status check_angles(const tr_geometry *g)
{
    const double most = 80.0 * TR_RADIANS;
    for (size_t k = 0; k < g->n_views; k++)
        if (fabs(g->tilt[k]) > most)
            return tr_fail(TR_ERR_UNAVAILABLE,
                           "--check-alignment is for slabs, seen at up to 80 degrees; "
                           "view %zu is at %.1f",
                           k + 1, g->tilt[k] * TR_DEGREES);
    return TR_OK;
}

static tr_status set_sizes(size_t most, tr_alignment_views *v)
{
    enum { LEAST = 32 };
    const tr_series *s = v->series;
    double scale;
    v->factor = factor_for(s->raw_u, s->raw_v, most);
    v->nx = s->raw_u / v->factor;
    v->ny = s->raw_v / v->factor;
    v->raw_x = v->nx * v->factor;
    v->raw_y = v->ny * v->factor;
    scale = (double)s->steps.params.bin / (double)v->factor;
    v->all_x = (size_t)(scale * (double)s->n_u) / 2 * 2;
    v->all_y = (size_t)(scale * (double)s->n_v) / 2 * 2;
    if (v->all_x >= LEAST && v->all_y >= LEAST && v->nx >= LEAST && v->ny >= LEAST)
        return TR_OK;
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "--check-alignment needs views of %d pixels or more at its working "
                   "size, and these are %zu x %zu there",
                   LEAST, v->nx < v->all_x ? v->nx : v->all_x,
                   v->ny < v->all_y ? v->ny : v->all_y);
}

tr_status tr_alignment_views_new(const tr_series *series, const tr_geometry *g,
                                 size_t most, int threads, tr_alignment_views **made)
{
    TR_TRY(check_angles(g));
    tr_alignment_views *v = tr_calloc("views", 1, sizeof *v);
    if (!v)
        return TR_ERR_MEMORY;
    *v = (tr_alignment_views){.series = series, .g = g};
    tr_status status = set_sizes(most, v);
    if (status == TR_OK) {
        size_t n = series->n_views * FINER * FINER * v->nx * v->ny;
        v->image = tr_calloc("views at the working size", n, sizeof *v->image);
        status = v->image ? make_plans(v) : TR_ERR_MEMORY;
    }
    if (status == TR_OK)
        status = make_local(v);
    if (status == TR_OK)
        status = read_views(v, threads);
    if (status == TR_OK)
        *made = v;
    else
        tr_alignment_views_free(v);
    return status;
}

void tr_alignment_views_free(tr_alignment_views *v)
{
    if (!v)
        return;
    tr_fftw_planner_lock();
    if (v->forward)
        fftwf_destroy_plan(v->forward);
    if (v->backward)
        fftwf_destroy_plan(v->backward);
    tr_fftw_planner_unlock();
    for (size_t k = 0; k < v->series->n_views && v->local; k++)
        tr_displacement_free(&v->local[k]);
    free(v->local);
    free(v->image);
    free(v);
}

tr_check_source tr_alignment_views_source(tr_alignment_views *v)
{
    const tr_geometry *g = v->g;
    double scale = (double)v->series->steps.params.bin / (double)v->factor;
    return (tr_check_source){.n = v->series->n_views,
                             .nx = v->all_x,
                             .ny = v->all_y,
                             .tilt = g->tilt,
                             .thickness = fmax(scale * (double)g->thickness, 2.0),
                             .high = high,
                             .stretched = stretched,
                             .data = v};
}
