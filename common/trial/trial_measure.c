#include "common/trial/trial_measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* For beads and filaments of a few pixels; sharpness is measured on these alone. */
enum { SHARP_SIDE = 3, SHARP_LARGE = 11 };

size_t tr_trial_flat_side(size_t columns) { return 2 * (columns / 256) + 3; }

static size_t clamped(long at, size_t n)
{
    return at < 0 ? 0 : (size_t)at < n ? (size_t)at : n - 1;
}

/* Along x: out[z][x] = mean of in[z][x - half ... x + half]. */
static void box_rows(const float *in, size_t width, size_t height, size_t side,
                     float *out)
{
    long half = (long)(side / 2);
    double share = 1.0 / (double)side;
    for (size_t z = 0; z < height; z++) {
        const float *row = in + z * width;
        double sum = 0.0;
        for (long x = -half; x <= half; x++)
            sum += row[clamped(x, width)];
        for (size_t x = 0; x < width; x++) {
            out[z * width + x] = (float)(sum * share);
            sum += (double)row[clamped((long)x + half + 1, width)] -
                   (double)row[clamped((long)x - half, width)];
        }
    }
}

/* Along z, the same; one column after another would miss the cache. */
static void box_columns(const float *in, size_t width, size_t height, size_t side,
                        float *out)
{
    enum { STRIP = 64 };
    long half = (long)(side / 2);
    double share = 1.0 / (double)side, sum[STRIP];
    for (size_t x0 = 0; x0 < width; x0 += STRIP) {
        size_t n = width - x0 < STRIP ? width - x0 : STRIP;
        memset(sum, 0, sizeof sum);
        for (long z = -half; z <= half; z++)
            for (size_t x = 0; x < n; x++)
                sum[x] += in[clamped(z, height) * width + x0 + x];
        for (size_t z = 0; z < height; z++) {
            const float *come = in + clamped((long)z + half + 1, height) * width + x0;
            const float *go = in + clamped((long)z - half, height) * width + x0;
            for (size_t x = 0; x < n; x++) {
                out[z * width + x0 + x] = (float)(sum[x] * share);
                sum[x] += (double)come[x] - (double)go[x];
            }
        }
    }
}

void tr_trial_band_pass(const float *plane, size_t width, size_t height, size_t small,
                        size_t large_x, size_t large_z, float *const scratch[2],
                        float *out)
{
    box_rows(plane, width, height, small, scratch[0]);
    box_columns(scratch[0], width, height, small, out);
    box_rows(out, width, height, large_x, scratch[0]);
    box_columns(scratch[0], width, height, large_z, scratch[1]);
    for (size_t i = 0; i < width * height; i++)
        out[i] -= scratch[1][i];
}

tr_status tr_trial_eye_new(size_t width, size_t planes, tr_trial_eye *eye)
{
    float **buffers[] = {&eye->picture, &eye->part, &eye->band, &eye->scratch[0],
                         &eye->scratch[1]};
    *eye = (tr_trial_eye){.width = width, .planes = planes};
    for (size_t k = 0; k < sizeof buffers / sizeof *buffers; k++)
        if (!(*buffers[k] = tr_calloc("a trial slice", width * planes, sizeof(float))))
            return TR_ERR_MEMORY;
    return TR_OK;
}

void tr_trial_eye_free(tr_trial_eye *eye)
{
    free(eye->picture);
    free(eye->part);
    free(eye->band);
    free(eye->scratch[0]);
    free(eye->scratch[1]);
}

/* The columns of a third. */
static void columns_of(const tr_trial_eye *eye, size_t third, size_t *from, size_t *end)
{
    size_t columns = eye->end - eye->first;
    *from = eye->first + columns * third / TR_TRIAL_THIRDS;
    *end = eye->first + columns * (third + 1) / TR_TRIAL_THIRDS;
}

static void measure_sharpness(tr_trial_eye *eye, size_t unit, const float *plane)
{
    tr_trial_band_pass(plane, eye->width, eye->planes, SHARP_SIDE, SHARP_LARGE,
                       SHARP_LARGE, eye->scratch, eye->band);
    for (size_t third = 0; third < TR_TRIAL_THIRDS; third++) {
        double squares = 0.0, fourths = 0.0;
        size_t from, end;
        columns_of(eye, third, &from, &end);
        for (size_t z = 0; z < eye->planes; z++)
            for (size_t x = from; x < end; x++) {
                double d = eye->band[z * eye->width + x], square = d * d;
                squares += square;
                fourths += square * square;
            }
        double n = (double)eye->planes * (double)(end - from) * (double)eye->per_part;
        eye->measure->squares[unit * TR_TRIAL_THIRDS + third] += squares / n;
        eye->measure->fourths[unit * TR_TRIAL_THIRDS + third] += fourths / n;
    }
}

/* Planes where the smoothing reaches beyond the volume are noisier: they take the value
 * of the first that is not. */
static void mend_ends(double *profile, size_t n, size_t reach)
{
    for (size_t z = 0; z < reach && 2 * reach < n; z++) {
        profile[z] = profile[reach];
        profile[n - 1 - z] = profile[n - 1 - reach];
    }
}

/* Of the mean of a part's slices, for less noise; at a pitch, the mean also hides from
 * the profile that interpolation smooths some planes' noise more than others'. Nothing is
 * subtracted along z but along x, so that the ends of the profile are like the rest. */
static void measure_flatness(tr_trial_eye *eye, size_t unit)
{
    size_t large = (11 * eye->flat_side / 3) | 1;
    tr_trial_band_pass(eye->part, eye->width, eye->planes, eye->flat_side, large, 1,
                       eye->scratch, eye->band);
    for (size_t third = 0; third < TR_TRIAL_THIRDS; third++) {
        size_t from, end;
        columns_of(eye, third, &from, &end);
        double *profile = eye->measure->profile +
                          (unit * TR_TRIAL_THIRDS + third) * eye->measure->planes;
        for (size_t z = 0; z < eye->planes; z++) {
            double sum = 0.0;
            for (size_t x = from; x < end; x++)
                sum += fabs((double)eye->band[z * eye->width + x]);
            profile[z] += sum / (double)(end - from);
        }
        mend_ends(profile, eye->planes, eye->flat_side / 2);
    }
}

void tr_trial_look(tr_trial_eye *eye, size_t slab, size_t slice, const float *plane)
{
    size_t n = eye->width * eye->planes, part = slice / eye->per_part;
    size_t unit = slab * TR_TRIAL_PARTS + part;
    float share = 1.0f / (float)eye->per_part;
    if (slice == 0)
        memset(eye->picture, 0, n * sizeof *eye->picture);
    measure_sharpness(eye, unit, plane);
    for (size_t i = 0; i < n; i++)
        eye->part[i] += share * plane[i];
    if (slice % eye->per_part != eye->per_part - 1)
        return;
    measure_flatness(eye, unit);
    for (size_t i = 0; i < n; i++)
        eye->picture[i] += eye->part[i] / TR_TRIAL_PARTS;
    memset(eye->part, 0, n * sizeof *eye->part);
}
