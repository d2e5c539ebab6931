#include "kernels/fourier_crop.h"

#include <complex.h>
#include <fftw3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "kernels/fftw_planner.h"

/* Pixels over which padding goes over from an edge to its mean. */
enum { TAPER = 32 };

struct tr_fourier_crop {
    size_t nx, ny, bin;     /* of the input */
    size_t cut_x, cut_y;    /* a multiple of bin */
    size_t from_x, from_y;  /* where the cut begins */
    tr_fourier_place place; /* of the cut in what is transformed */
    size_t all_x, all_y;    /* of that when it is made smaller */
    size_t out_x, out_y;
    double shift_x, shift_y; /* input position of output pixel 0, within the cut */
    fftwf_plan forward, backward;
};

/* Output pixel j lies at bin * j + shift, such that the centres fall together. */
static double centre_shift(size_t n, size_t from, size_t n_out, size_t bin)
{
    double centre = (double)n / 2.0 - 0.5 - (double)from;
    return centre - (double)bin * ((double)n_out / 2.0 - 0.5);
}

size_t tr_fourier_padded(size_t n, size_t bin, size_t padding)
{
    size_t least = n + (padding + bin - 1) / bin * bin + padding;
    for (size_t m = (least + 2 * bin - 1) / (2 * bin) * 2;; m += 2) {
        size_t rest = m;
        for (size_t prime = 2; prime <= 7; prime++)
            while (rest % prime == 0)
                rest /= prime;
        if (rest == 1)
            return m * bin;
    }
}

static tr_fourier_place place_of(size_t cut_x, size_t cut_y, size_t bin, size_t padding)
{
    tr_fourier_place place = {
        .nx = cut_x, .ny = cut_y, .in_nx = cut_x, .in_ny = cut_y, .taper = 1};
    if (padding == 0)
        return place;
    place.nx = tr_fourier_padded(cut_x, bin, padding);
    place.ny = tr_fourier_padded(cut_y, bin, padding);
    /* a multiple of bin, so that pixels stay where they are after binning */
    place.x = place.y = (padding + bin - 1) / bin * bin;
    place.taper = padding < TAPER ? padding : TAPER;
    return place;
}

static tr_fourier_crop sizes(size_t nx, size_t ny, size_t bin, size_t padding)
{
    size_t out_x = nx / bin, out_y = ny / bin;
    size_t cut_x = out_x * bin, cut_y = out_y * bin;
    tr_fourier_crop c = {.nx = nx,
                         .ny = ny,
                         .bin = bin,
                         .cut_x = cut_x,
                         .cut_y = cut_y,
                         .from_x = (nx - cut_x) / 2,
                         .from_y = (ny - cut_y) / 2,
                         .place = place_of(cut_x, cut_y, bin, padding),
                         .out_x = out_x,
                         .out_y = out_y};
    c.all_x = c.place.nx / bin;
    c.all_y = c.place.ny / bin;
    c.shift_x = centre_shift(nx, c.from_x, out_x, bin);
    c.shift_y = centre_shift(ny, c.from_y, out_y, bin);
    return c;
}

static tr_status no_memory(size_t nx, size_t ny)
{
    return tr_fail(TR_ERR_MEMORY, "not enough memory to transform images of %zu x %zu",
                   nx, ny);
}

tr_fourier_crop *tr_fourier_crop_new(size_t nx, size_t ny, size_t bin, size_t padding)
{
    const tr_fourier_crop new = sizes(nx, ny, bin, padding);
    const tr_fourier_place *p = &new.place;
    tr_fourier_crop *c = calloc(1, sizeof *c);
    float *image = fftwf_alloc_real(p->nx * p->ny);
    fftwf_complex *spectrum = fftwf_alloc_complex((p->nx / 2 + 1) * p->ny);
    if (c && image && spectrum) {
        *c = new;
        tr_fftw_planner_lock();
        c->forward =
            fftwf_plan_dft_r2c_2d((int)p->ny, (int)p->nx, image, spectrum, FFTW_ESTIMATE);
        c->backward = fftwf_plan_dft_c2r_2d((int)c->all_y, (int)c->all_x, spectrum, image,
                                            FFTW_ESTIMATE);
        tr_fftw_planner_unlock();
    }
    fftwf_free(image);
    fftwf_free(spectrum);
    if (c && c->forward && c->backward)
        return c;
    tr_fourier_crop_free(c);
    (void)no_memory(nx, ny);
    return NULL;
}

size_t tr_fourier_crop_pixels(const tr_fourier_crop *c)
{
    return c->place.nx * c->place.ny;
}

void tr_fourier_crop_free(tr_fourier_crop *c)
{
    if (!c)
        return;
    tr_fftw_planner_lock();
    if (c->forward)
        fftwf_destroy_plan(c->forward);
    if (c->backward)
        fftwf_destroy_plan(c->backward);
    tr_fftw_planner_unlock();
    free(c);
}

/* ---- padding ---- */

static double edge_mean(const tr_fourier_place *p, const float *image)
{
    double sum = 0.0, n = 0.0;
    for (size_t y = 0; y < p->in_ny; y++) {
        bool whole = y == 0 || y == p->in_ny - 1;
        size_t step = whole || p->in_nx == 1 ? 1 : p->in_nx - 1;
        for (size_t x = 0; x < p->in_nx; x += step) {
            sum += image[(p->y + y) * p->nx + p->x + x];
            n += 1.0;
        }
    }
    return sum / n;
}

/* How far place i of n is from where the image lies, the shorter way round, and what of
 * the image is nearest. */
static double distance(size_t i, size_t n, size_t from, size_t count, size_t *nearest)
{
    if (i >= from && i < from + count) {
        *nearest = i;
        return 0.0;
    }
    size_t before = (from + n - i) % n, behind = (i + n - (from + count - 1)) % n;
    *nearest = before < behind ? from : from + count - 1;
    return (double)(before < behind ? before : behind);
}

void tr_fourier_pad(const tr_fourier_place *p, float *image)
{
    double mean = edge_mean(p, image), taper = (double)p->taper;
    for (size_t y = 0; y < p->ny; y++) {
        size_t near_x, near_y;
        double dy = distance(y, p->ny, p->y, p->in_ny, &near_y);
        for (size_t x = 0; x < p->nx; x++) {
            if (dy == 0.0 && x == p->x)
                x += p->in_nx;
            if (x == p->nx)
                break;
            double d = hypot(distance(x, p->nx, p->x, p->in_nx, &near_x), dy);
            double share = d < taper ? 0.5 + 0.5 * cos(TR_PI * d / taper) : 0.0;
            double edge = share > 0.0 ? image[near_y * p->nx + near_x] : mean;
            image[y * p->nx + x] = (float)(mean + share * (edge - mean));
        }
    }
}

/* ---- there and back ---- */

static void put_in_place(const tr_fourier_crop *c, const float *in, float *image)
{
    const tr_fourier_place *p = &c->place;
    for (size_t y = 0; y < c->cut_y; y++)
        memcpy(image + (p->y + y) * p->nx + p->x,
               in + (c->from_y + y) * c->nx + c->from_x, c->cut_x * sizeof *image);
    if (p->nx != c->cut_x || p->ny != c->cut_y)
        tr_fourier_pad(p, image);
}

static void take_from_place(const tr_fourier_crop *c, const float *image, float *out)
{
    size_t x = c->place.x / c->bin, y = c->place.y / c->bin;
    for (size_t j = 0; j < c->out_y; j++)
        memcpy(out + j * c->out_x, image + (y + j) * c->all_x + x,
               c->out_x * sizeof *out);
}

static void scale_spectrum(fftwf_complex *spectrum, size_t n, double scale)
{
    float(*value)[2] = (float(*)[2])spectrum;
    for (size_t i = 0; i < n; i++) {
        value[i][0] = (float)(scale * value[i][0]);
        value[i][1] = (float)(scale * value[i][1]);
    }
}

/* Copy the low frequencies and move the image by the shift. The frequency at the new
 * limit has no partner and is left out. */
static void crop_spectrum(const tr_fourier_crop *c, const fftwf_complex *in,
                          fftwf_complex *out)
{
    const double turn = 2.0 * TR_PI;
    size_t in_line = c->place.nx / 2 + 1, out_line = c->all_x / 2 + 1;
    double scale = 1.0 / ((double)c->place.nx * (double)c->place.ny);
    for (size_t ky = 0; ky < c->all_y; ky++) {
        bool negative = ky > c->all_y / 2;
        size_t from = negative ? c->place.ny - (c->all_y - ky) : ky;
        double fy = negative ? (double)ky - (double)c->all_y : (double)ky;
        bool limit_y = c->all_y % 2 == 0 && ky == c->all_y / 2 && c->bin > 1;
        for (size_t kx = 0; kx < out_line; kx++) {
            bool limit_x = c->all_x % 2 == 0 && kx == c->all_x / 2 && c->bin > 1;
            double phase = turn * (fy * c->shift_y / (double)c->place.ny +
                                   (double)kx * c->shift_x / (double)c->place.nx);
            double complex value =
                scale * (double complex)in[from * in_line + kx] * cexp(I * phase);
            out[ky * out_line + kx] = limit_x || limit_y ? 0.0f : (float complex)value;
        }
    }
}

/* Of one image: `spectrum` is what is left of `full` while results are made of it, and
 * `part` what is left of that after binning; each the one before where that will do. */
typedef struct workspace {
    float *image;
    fftwf_complex *full, *spectrum, *part;
    size_t n_full;
} workspace;

static bool new_workspace(const tr_fourier_crop *c, bool several, workspace *w)
{
    const tr_fourier_place *p = &c->place;
    w->n_full = (p->nx / 2 + 1) * p->ny;
    w->image = fftwf_alloc_real(p->nx * p->ny);
    w->full = fftwf_alloc_complex(w->n_full);
    w->spectrum = several ? fftwf_alloc_complex(w->n_full) : w->full;
    w->part =
        c->bin > 1 ? fftwf_alloc_complex((c->all_x / 2 + 1) * c->all_y) : w->spectrum;
    return w->image && w->full && w->spectrum && w->part;
}

static void free_workspace(const workspace *w)
{
    fftwf_free(w->image);
    if (w->part != w->spectrum)
        fftwf_free(w->part);
    if (w->spectrum != w->full)
        fftwf_free(w->spectrum);
    fftwf_free(w->full);
}

static void make_result(const tr_fourier_crop *c, const workspace *w,
                        tr_on_spectrum *also, void *data, float *out)
{
    const tr_fourier_place *p = &c->place;
    if (w->spectrum != w->full)
        memcpy(w->spectrum, w->full, w->n_full * sizeof *w->full);
    if (also)
        also(data, p->nx, p->ny, (float(*)[2])w->spectrum);
    if (!out)
        return;
    if (c->bin > 1)
        crop_spectrum(c, w->spectrum, w->part);
    else
        scale_spectrum(w->spectrum, w->n_full, 1.0 / ((double)p->nx * (double)p->ny));
    fftwf_execute_dft_c2r(c->backward, w->part, w->image);
    take_from_place(c, w->image, out);
}

tr_status tr_fourier_crop_several(const tr_fourier_crop *c, const float *in, size_t n,
                                  tr_on_spectrum *also, tr_on_image *done, void *data,
                                  float *out)
{
    workspace w;
    tr_status status = new_workspace(c, n > 1, &w) ? TR_OK : no_memory(c->nx, c->ny);
    if (status == TR_OK) {
        put_in_place(c, in, w.image);
        fftwf_execute_dft_r2c(c->forward, w.image, w.full);
    }
    for (size_t k = 0; k < n && status == TR_OK; k++) {
        make_result(c, &w, also, data, out);
        status = done ? done(data, k, out) : TR_OK;
    }
    free_workspace(&w);
    return status;
}

tr_status tr_fourier_crop_run(const tr_fourier_crop *c, const float *in,
                              tr_on_spectrum *also, void *data, float *out)
{
    return tr_fourier_crop_several(c, in, 1, also, NULL, data, out);
}
