#include "kernels/fourier_crop.h"

#include <complex.h>
#include <fftw3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "kernels/fftw_planner.h"

struct tr_fourier_crop {
    size_t nx, ny, bin;    /* of the input */
    size_t cut_x, cut_y;   /* a multiple of bin */
    size_t from_x, from_y; /* where the cut begins */
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

tr_fourier_crop *tr_fourier_crop_new(size_t nx, size_t ny, size_t bin)
{
    tr_fourier_crop *c = calloc(1, sizeof *c);
    size_t out_x = nx / bin, out_y = ny / bin;
    size_t cut_x = out_x * bin, cut_y = out_y * bin;
    float *image = fftwf_alloc_real(cut_x * cut_y);
    fftwf_complex *spectrum = fftwf_alloc_complex((cut_x / 2 + 1) * cut_y);
    if (c && image && spectrum) {
        *c = (tr_fourier_crop){.nx = nx,
                               .ny = ny,
                               .bin = bin,
                               .cut_x = cut_x,
                               .cut_y = cut_y,
                               .from_x = (nx - cut_x) / 2,
                               .from_y = (ny - cut_y) / 2,
                               .out_x = out_x,
                               .out_y = out_y};
        c->shift_x = centre_shift(nx, c->from_x, out_x, bin);
        c->shift_y = centre_shift(ny, c->from_y, out_y, bin);
        tr_fftw_planner_lock();
        c->forward =
            fftwf_plan_dft_r2c_2d((int)cut_y, (int)cut_x, image, spectrum, FFTW_ESTIMATE);
        c->backward =
            fftwf_plan_dft_c2r_2d((int)out_y, (int)out_x, spectrum, image, FFTW_ESTIMATE);
        tr_fftw_planner_unlock();
    }
    fftwf_free(image);
    fftwf_free(spectrum);
    if (c && c->forward && c->backward)
        return c;
    tr_fourier_crop_free(c);
    (void)tr_fail(TR_ERR_MEMORY, "not enough memory to bin images of %zu x %zu", nx, ny);
    return NULL;
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

/* Copy the low frequencies and move the image by the shift. The frequency at the new
 * limit has no partner and is left out. */
static void crop_spectrum(const tr_fourier_crop *c, const fftwf_complex *in,
                          fftwf_complex *out)
{
    const double turn = 2.0 * TR_PI;
    size_t in_line = c->cut_x / 2 + 1, out_line = c->out_x / 2 + 1;
    double scale = 1.0 / ((double)c->cut_x * (double)c->cut_y);
    for (size_t ky = 0; ky < c->out_y; ky++) {
        bool negative = ky > c->out_y / 2;
        size_t from = negative ? c->cut_y - (c->out_y - ky) : ky;
        double fy = negative ? (double)ky - (double)c->out_y : (double)ky;
        bool limit_y = c->out_y % 2 == 0 && ky == c->out_y / 2 && c->bin > 1;
        for (size_t kx = 0; kx < out_line; kx++) {
            bool limit_x = c->out_x % 2 == 0 && kx == c->out_x / 2 && c->bin > 1;
            double phase = turn * (fy * c->shift_y / (double)c->cut_y +
                                   (double)kx * c->shift_x / (double)c->cut_x);
            double complex value =
                scale * (double complex)in[from * in_line + kx] * cexp(I * phase);
            out[ky * out_line + kx] = limit_x || limit_y ? 0.0f : (float complex)value;
        }
    }
}

tr_status tr_fourier_crop_run(const tr_fourier_crop *c, const float *in,
                              tr_on_spectrum *also, void *data, float *out)
{
    float *image = fftwf_alloc_real(c->cut_x * c->cut_y);
    fftwf_complex *full = fftwf_alloc_complex((c->cut_x / 2 + 1) * c->cut_y);
    fftwf_complex *part = fftwf_alloc_complex((c->out_x / 2 + 1) * c->out_y);
    bool complete = image && full && part;
    if (complete) {
        for (size_t y = 0; y < c->cut_y; y++)
            memcpy(image + y * c->cut_x, in + (c->from_y + y) * c->nx + c->from_x,
                   c->cut_x * sizeof *image);
        fftwf_execute_dft_r2c(c->forward, image, full);
        if (also)
            also(data, c->cut_x, c->cut_y, (float(*)[2])full);
        crop_spectrum(c, full, part);
        fftwf_execute_dft_c2r(c->backward, part, image);
        memcpy(out, image, c->out_x * c->out_y * sizeof *out);
    }
    fftwf_free(image);
    fftwf_free(full);
    fftwf_free(part);
    return complete
               ? TR_OK
               : tr_fail(TR_ERR_MEMORY, "not enough memory to bin images of %zu x %zu",
                         c->nx, c->ny);
}
