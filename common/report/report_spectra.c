/* Power spectra of the first, the least tilted and the last view, with the zeros of their
 * CTF on one half where that is known: rings that do not lie on the dark ones of the
 * spectrum show a wrong defocus, pixel size or file. */
#include <math.h>
#include <stdlib.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "common/report/html.h"
#include "common/report/report.h"
#include "common/series/power.h"
#include "common/tomogram/picture.h"
#include "common/views/ctf.h"
#include "formats/png.h"

enum { RINGS = 8, ANGLES = 90, STEPS = 2000 };

/* Logarithms less those of the mean around their ring, over a width within which several
 * zeros lie: else the falling spectrum would hide them. */
static tr_status flatten(const double *power, size_t n, float *values)
{
    size_t middle = n / 2, half = middle / 6;
    size_t rings = (size_t)(sqrt(2.0) * (double)middle); /* to the corners */
    double *sum = tr_calloc("a spectrum", 2 * rings, sizeof *sum);
    if (!sum)
        return TR_ERR_MEMORY;
    double *count = sum + rings;
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n * n; i++) {
            size_t column = i % n, row = i / n;
            double x = (double)column - (double)middle, y = (double)row - (double)middle;
            size_t ring = (size_t)fmin(sqrt(x * x + y * y), (double)rings - 1.0);
            double level = log(fmax(power[i], 1e-300));
            if (pass == 0) {
                sum[ring] += level;
                count[ring] += 1.0;
                continue;
            }
            double mean = 0.0;
            size_t reach = half < ring ? half : ring;
            reach = reach < rings - 1 - ring ? reach : rings - 1 - ring;
            for (size_t r = ring - reach; r <= ring + reach; r++)
                mean += sum[r] / count[r];
            values[(n - 1 - i / n) * n + i % n] =
                (float)(level - mean / (double)(2 * reach + 1));
        }
    free(sum);
    return TR_OK;
}

/* A path for each of the first zeros of the CTF, on the right half. */
static void put_rings(FILE *out, const tr_result *r, size_t k, size_t n)
{
    const tr_view_params *v = &r->run->command.options.views;
    const tr_optics optics = {
        .voltage = v->voltage, .cs = v->cs, .amplitude = v->amplitude};
    const tr_ctf_phase phase =
        tr_ctf_phase_of(&r->run->inputs.views.view[k].ctf, &optics);
    double pixel = tr_series_pixel(r->run->volumes[0].job.series), half = (double)n / 2.0;
    for (int ring = 0; ring < RINGS; ring++) {
        bool begun = false;
        fputs("<path class='ctf-ring' d='", out);
        for (int a = 0; a <= ANGLES; a++) {
            double angle = TR_PI * ((double)a / ANGLES - 0.5), before = 0.0;
            int crossed = -1;
            for (int s = 0; s <= STEPS && crossed < ring; s++) {
                double f = 0.5 * s / STEPS / pixel;
                double turns = tr_ctf_half_turns(&phase, f * cos(angle), f * sin(angle));
                if (s && floor(turns) != floor(before) && ++crossed == ring) {
                    double at = (double)s / STEPS * half;
                    fprintf(out, "%c%.1f %.1f", begun ? 'L' : 'M', half + at * cos(angle),
                            half - at * sin(angle));
                    begun = true;
                }
                before = turns;
            }
        }
        fputs("'/>\n", out);
    }
}

static tr_status put_spectrum(FILE *out, const tr_result *r, size_t k, size_t n)
{
    double *power = tr_calloc("a spectrum", n * n, sizeof *power), range[2];
    float *values = tr_calloc("a spectrum", n * n, sizeof *values);
    uint8_t *grey = tr_calloc("a picture", n * n, 1), *png = NULL;
    size_t bytes = 0;
    tr_status status = power && values && grey ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = tr_power_measure(r->run->volumes[0].job.series, k, power);
    if (status == TR_OK)
        status = flatten(power, n, values);
    if (status == TR_OK)
        status = tr_picture_range(values, n * n, 0.02, 0.995, range);
    if (status == TR_OK) {
        tr_picture_grey(values, n * n, range, grey);
        status = tr_png_encode(grey, n, n, 1, &png, &bytes);
    }
    if (status == TR_OK) {
        fprintf(out,
                "<figure><svg class='spectrum' viewBox='0 0 %zu %zu' role='img'>"
                "<title>Power spectrum of view %zu</title><image width='%zu' "
                "height='%zu' href='data:image/png;base64,",
                n, n, r->views[k].number, n, n);
        tr_html_base64(out, png, bytes);
        fputs("'/>\n", out);
        if (r->run->command.options.views.ctf)
            put_rings(out, r, k, n);
        fprintf(out,
                "</svg><figcaption>Power spectrum of <b>view %zu</b>, %.1f\302\260"
                "</figcaption></figure>\n",
                r->views[k].number, r->views[k].tilt);
    }
    free(power);
    free(values);
    free(grey);
    free(png);
    return status;
}

tr_status tr_report_spectra(FILE *out, const tr_result *r)
{
    size_t n = tr_power_tile(r->run->volumes[0].job.series), middle = 0;
    double pixel = tr_series_pixel(r->run->volumes[0].job.series);
    if (!n || !r->n_views)
        return TR_OK;
    for (size_t k = 0; k < r->n_views; k++)
        if (fabs(r->views[k].tilt) < fabs(r->views[middle].tilt))
            middle = k;
    fputs("<section class='card' id='spectra'><h2>Power spectra</h2>\n"
          "<div class='spectra'>\n",
          out);
    const size_t of[] = {0, middle, r->n_views - 1};
    for (size_t i = 0; i < 3; i++)
        if (i == 0 || of[i] > of[i - 1])
            TR_TRY(put_spectrum(out, r, of[i], n));
    fputs("</div><p class='note'>Of the views as they are in the file, before any "
          "alignment, in logarithms, without the smooth fall outwards; ",
          out);
    if (pixel > 0.0)
        tr_html_print(out, "the middles of the edges are 1 / (%.4g \303\205). ",
                      2.0 * pixel);
    else
        fputs("the middles of the edges are half a cycle per pixel. ", out);
    if (r->run->command.options.views.ctf)
        fputs("On the right, the first eight zeros of the CTF as its file has them: they "
              "should lie on the dark rings, where there are any to be seen.",
              out);
    fputs("</p></section>\n", out);
    return TR_OK;
}
