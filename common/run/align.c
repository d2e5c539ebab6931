#include "common/run/align.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/file_name.h"
#include "common/base/first_error.h"
#include "common/base/log.h"
#include "common/base/median.h"
#include "common/base/mem.h"
#include "common/alignment/alignment_check.h"
#include "common/alignment/coarse_alignment.h"
#include "common/views/series_name.h"
#include "formats/file_io.h"
#include "kernels/fourier_crop.h"

/* Pixels of the longer side of a view, made small; robust deviations beyond which values
 * are clipped; the band in which views are compared, cycles per small pixel. */
enum { SMALL = 512, FEWEST_VIEWS = 5, MOST_ROUNDS = 5, MOST_TILT = 80 };
static const double clip_raw = 8.0, clip_small = 4.0, band_low = 0.03, band_high = 0.12;
/* The largest shift between neighbours, of the side; how far the axis is from where it is
 * said to be, and steps that are not worth another round, radians. */
static const double widest = 0.3, about = 10.0 * TR_RADIANS, settled = 0.05 * TR_RADIANS;
/* Of a view's mean, of the median one's, below which it is dark. */
static const double darkness = 0.3;
/* Cycles per small pixel up to which views are predicted. */
static const double refine_high = 0.25;

typedef struct alignment {
    const tr_inputs *in;
    int threads;
    size_t n, bin, nx, ny; /* views; their small images */
    double *tilt;          /* radians */
    double *mean;          /* of each raw view */
    float *image, *banded; /* [n][ny][nx] */
    double (*shift)[2];    /* small pixels, in the frame of the axis */
    tr_overlay *overlay;
    double axis; /* radians */
    tr_axis_scores scores;
    double thickness; /* of the specimen, small pixels */
    double agreement; /* mean correlation of the views with what the others predict */
} alignment;

/* ---- the views made small ---- */

static tr_status read_small(alignment *a, size_t k, const tr_fourier_crop *crop,
                            float *raw, double *work)
{
    const tr_image_info *info = tr_image_get_info(a->in->image);
    size_t pixels = info->nx * info->ny, small = a->nx * a->ny;
    const tr_view *view = &a->in->views.view[k];
    TR_TRY(tr_image_read(a->in->image, view->section, 0, info->ny, 0, info->nx, raw));
    double sum = 0.0;
    for (size_t i = 0; i < pixels; i++) {
        raw[i] = isfinite(raw[i]) ? raw[i] : 0.0f;
        sum += (double)raw[i];
    }
    a->tilt[k] = view->tilt * TR_RADIANS;
    a->mean[k] = sum / (double)pixels;
    if (!tr_plane_normalize(pixels, clip_raw, raw, work))
        return tr_fail(
            TR_ERR_DATA,
            "%s: view %zu has one value throughout and cannot be aligned; leave "
            "it out with --exclude %zu",
            a->in->series_path, view->section + 1, view->section + 1);
    float *out = a->image + k * small;
    TR_TRY(tr_fourier_crop_run(crop, raw, NULL, NULL, out));
    if (!tr_plane_normalize(small, clip_small, out, work))
        return tr_fail(TR_ERR_DATA, "%s: view %zu has nothing that could be aligned",
                       a->in->series_path, view->section + 1);
    return TR_OK;
}

static tr_status read_views(alignment *a)
{
    const tr_image_info *info = tr_image_get_info(a->in->image);
    size_t pixels = info->nx * info->ny;
    tr_fourier_crop *crop = tr_fourier_crop_new(info->nx, info->ny, a->bin, 0);
    tr_first_error failure = TR_NO_ERROR_YET;
    if (!crop)
        return TR_ERR_MEMORY;
#pragma omp parallel num_threads(a->threads)
    {
        float *raw = tr_calloc("a view", pixels, sizeof *raw);
        double *work = tr_calloc("a view", pixels, sizeof *work);
#pragma omp for schedule(dynamic)
        for (size_t k = 0; k < a->n; k++)
            if (tr_first_error_needs(&failure, k))
                tr_first_error_note(&failure, k,
                                    raw && work ? read_small(a, k, crop, raw, work)
                                                : TR_ERR_MEMORY);
        free(raw);
        free(work);
    }
    tr_fourier_crop_free(crop);
    return tr_first_error_end(&failure);
}

/* ---- the search ---- */

static tr_small_views small_views(const alignment *a, const float *image)
{
    return (tr_small_views){a->n, a->nx, a->ny, a->tilt, image};
}

static tr_status find_shifts(alignment *a)
{
    const tr_small_views views = small_views(a, a->banded);
    double longer = (double)(a->nx > a->ny ? a->nx : a->ny);
    return tr_coarse_shifts(&views, a->axis, (size_t)(widest * longer), a->threads,
                            a->shift, a->overlay);
}

/* Shifts need the axis, and the axis needs shifts. */
static tr_status search(alignment *a, double range)
{
    const tr_small_views views = small_views(a, a->image);
    double centre = a->axis;
    for (size_t round = 0; round < MOST_ROUNDS; round++) {
        double before = a->axis;
        TR_TRY(find_shifts(a));
        TR_TRY(tr_find_tilt_axis(&views, (const double(*)[2])a->shift, before, centre,
                                 range, a->threads, &a->axis, &a->scores));
        tr_verbose("alignment: tilt axis %.2f degrees from y, common lines agree to %.3f",
                   a->axis * TR_DEGREES, a->scores.best);
        if (range > about) { /* all round */
            range = about;
            centre = a->axis;
        }
        if (fabs(a->axis - before) < settled)
            break;
    }
    return find_shifts(a);
}

/* ---- against what the others predict ---- */

/* The place of a view in the frame of the check (slab_prediction.h). */
static tr_status stretched(void *data, size_t k, double turn, float *image)
{
    const alignment *a = data;
    double c = cos(turn), s = sin(turn), d[2];
    d[0] = c * a->shift[k][0] - s * a->shift[k][1];
    d[1] = s * a->shift[k][0] + c * a->shift[k][1];
    const tr_plane_map map = tr_plane_turn(a->axis - turn, d, 1.0 / cos(a->tilt[k]));
    tr_plane_apply(&map, a->nx, a->ny, a->banded + k * a->nx * a->ny, image, NULL);
    return TR_OK;
}

static double mean_correlation(const tr_alignment_check *check)
{
    double sum = 0.0;
    for (size_t k = 0; k < check->n; k++)
        sum += check->view[k].as_given;
    return sum / (double)check->n;
}

/* Takes what the check found out of the alignment; the largest change, pixels. */
static double correct(alignment *a, const tr_alignment_check *check)
{
    double most = 0.0;
    for (size_t k = 0; k < a->n; k++) {
        const tr_check_view *v = &check->view[k];
        if (!v->known)
            continue;
        a->shift[k][0] -= v->shift[0];
        a->shift[k][1] -= v->shift[1];
        most = fmax(most, hypot(v->shift[0], v->shift[1]));
    }
    return most;
}

/* Rounds of the check, as long as the views agree better with what the others predict. */
static tr_status refine(alignment *a)
{
    const tr_check_source source = {.n = a->n,
                                    .nx = a->nx,
                                    .ny = a->ny,
                                    .tilt = a->tilt,
                                    .thickness = a->thickness,
                                    .high = refine_high,
                                    .stretched = stretched,
                                    .data = a};
    double(*before)[2] = tr_calloc("the views", a->n, sizeof *before);
    tr_status status = before ? TR_OK : TR_ERR_MEMORY;
    a->agreement = -1.0;
    for (size_t round = 0; round < MOST_ROUNDS && status == TR_OK; round++) {
        tr_alignment_check check;
        status = tr_alignment_check_run(&source, a->threads, &check);
        if (status != TR_OK)
            break;
        double agreement = mean_correlation(&check);
        tr_verbose(
            "alignment: mean correlation with the prediction %.4f; the axis turned "
            "by %.2f +- %.2f degrees would fit best",
            agreement, check.turn * TR_DEGREES, check.turn_error * TR_DEGREES);
        bool better = agreement > a->agreement;
        if (!better) /* the round before was the last that helped */
            memcpy(a->shift, before, a->n * sizeof *before);
        else
            a->agreement = agreement;
        memcpy(before, a->shift, a->n * sizeof *before);
        bool done = !better || correct(a, &check) < 0.05;
        if (done && better) /* what it was found with */
            memcpy(a->shift, before, a->n * sizeof *before);
        tr_alignment_check_free(&check);
        if (done)
            break;
    }
    free(before);
    return status;
}

/* Where the axis is said to be, radians, and how far it may be from there. */
static const char *nominal_axis(const tr_inputs *in, const tr_command *c, double *axis,
                                double *range)
{
    double degrees;
    *range = about;
    if (tr_option_given(&c->line, "axis-angle")) {
        *axis = c->options.axis_angle * TR_RADIANS;
        return "--axis-angle";
    }
    const char *path =
        tr_inputs_mdoc_says(in, offsetof(tr_mdoc, tilt_axis_angle), -INFINITY, &degrees);
    if (path) {
        *axis = degrees * TR_RADIANS;
        return path;
    }
    *axis = 0.0;
    *range = 90.0 * TR_RADIANS;
    return NULL;
}

/* ---- what is said ---- */

static double middle_significance(const alignment *a, double *work)
{
    size_t n = 0;
    for (size_t k = 0; k < a->n; k++)
        if (isfinite(a->overlay[k].significance))
            work[n++] = a->overlay[k].significance;
    return tr_median(work, n);
}

static tr_status judge(alignment *a, const char *from)
{
    double *work = tr_calloc("the views", a->n, sizeof *work);
    if (!work)
        return TR_ERR_MEMORY;
    double middle = middle_significance(a, work);
    memcpy(work, a->mean, a->n * sizeof *work);
    double typical = tr_median(work, a->n);
    free(work);
    tr_info("alignment: tilt axis at %.2f degrees from y, counterclockwise (%s)",
            a->axis * TR_DEGREES,
            from ? from : "searched all round: the hand is unknown");
    tr_info("alignment: neighbouring views agree at peaks of %.1f standard deviations "
            "(median), the common lines to %.2f",
            middle, a->scores.best);
    for (size_t k = 0; k < a->n; k++)
        if (typical > 0.0 && a->mean[k] < darkness * typical)
            tr_warn(
                "view %zu (%.1f degrees) is dark, %.0f %% of the typical mean: look at "
                "it, or leave it out with --exclude %zu",
                a->in->views.view[k].section + 1, a->in->views.view[k].tilt,
                100.0 * a->mean[k] / typical, a->in->views.view[k].section + 1);
    for (size_t k = 0; k < a->n; k++)
        if (a->overlay[k].significance < TR_LEAST_SIGNIFICANCE)
            tr_warn(
                "view %zu (%.1f degrees) is hardly found in its neighbours (%.1f "
                "standard deviations): look at it, or leave it out with --exclude %zu",
                a->in->views.view[k].section + 1, a->in->views.view[k].tilt,
                a->overlay[k].significance, a->in->views.view[k].section + 1);
    if (middle >= TR_LEAST_SIGNIFICANCE + 1.0)
        return TR_OK;
    return tr_fail(
        TR_ERR_DATA,
        "%s cannot be aligned: neighbouring views agree at peaks of %.1f "
        "standard deviations, and chance makes %.1f; the axis was sought "
        "within %s; give --axis-angle if it is known, leave out bad views with "
        "--exclude, or align it by gold beads",
        a->in->series_path, middle, TR_LEAST_SIGNIFICANCE,
        from ? "10 degrees of what is known of it" : "all directions");
}

/* ---- the result ---- */

static tr_transform transform_of(const alignment *a, size_t k)
{
    double c = cos(a->axis), s = sin(a->axis), bin = (double)a->bin;
    return (tr_transform){.a11 = c,
                          .a12 = s,
                          .a21 = -s,
                          .a22 = c,
                          .dx = bin * a->shift[k][0],
                          .dy = bin * a->shift[k][1]};
}

/* [view]: shifts, and behind them the axis: the same for all ranks. */
static void keep(const alignment *a, double *numbers)
{
    for (size_t k = 0; k < a->n; k++) {
        tr_transform t = transform_of(a, k);
        numbers[2 * k] = t.dx;
        numbers[2 * k + 1] = t.dy;
    }
    numbers[2 * a->n] = a->axis;
}

static void free_alignment(alignment *a)
{
    free(a->tilt);
    free(a->mean);
    free(a->image);
    free(a->banded);
    free(a->shift);
    free(a->overlay);
}

static tr_status prepare(alignment *a, long thickness)
{
    const tr_image_info *info = tr_image_get_info(a->in->image);
    size_t longer = info->nx > info->ny ? info->nx : info->ny;
    a->bin = (longer + SMALL - 1) / SMALL;
    a->nx = info->nx / a->bin;
    a->ny = info->ny / a->bin;
    a->thickness =
        thickness > 0 ? (double)thickness / (double)a->bin : 0.25 * (double)a->nx;
    if (a->n < FEWEST_VIEWS || a->nx < 64 || a->ny < 64)
        return tr_fail(TR_ERR_DATA,
                       "%s: %zu views of %zu x %zu pixels are too few or too small to be "
                       "aligned by themselves; at least %d of 64 x 64 are needed",
                       a->in->series_path, a->n, info->nx, info->ny, FEWEST_VIEWS);
    for (size_t k = 0; k < a->n; k++)
        if (fabs(a->in->views.view[k].tilt) > MOST_TILT)
            return tr_fail(
                TR_ERR_DATA,
                "%s: --align is for specimens that are thinner than wide, seen "
                "at up to %d degrees; view %zu is at %g; leave it out with "
                "--exclude %zu",
                a->in->series_path, MOST_TILT, a->in->views.view[k].section + 1,
                a->in->views.view[k].tilt, a->in->views.view[k].section + 1);
    size_t floats = a->n * a->nx * a->ny;
    a->tilt = tr_calloc("the views", a->n, sizeof *a->tilt);
    a->mean = tr_calloc("the views", a->n, sizeof *a->mean);
    a->image = tr_calloc("small views", floats, sizeof *a->image);
    a->banded = tr_calloc("small views", floats, sizeof *a->banded);
    a->shift = tr_calloc("the views", a->n, sizeof *a->shift);
    a->overlay = tr_calloc("the views", a->n, sizeof *a->overlay);
    return a->tilt && a->mean && a->image && a->banded && a->shift && a->overlay
               ? TR_OK
               : TR_ERR_MEMORY;
}

static tr_status find(const tr_inputs *in, const tr_command *c, int threads,
                      double *numbers)
{
    alignment a = {.in = in, .threads = threads, .n = in->views.n};
    double range;
    const char *from = nominal_axis(in, c, &a.axis, &range);
    tr_status status = prepare(&a, c->options.thickness);
    if (status == TR_OK)
        status = read_views(&a);
    if (status == TR_OK) {
        memcpy(a.banded, a.image, a.n * a.nx * a.ny * sizeof *a.image);
        status = tr_planes_band(a.n, a.nx, a.ny, band_low, band_high, threads, a.banded);
    }
    if (status == TR_OK)
        status = search(&a, range);
    if (status == TR_OK)
        status = refine(&a);
    if (status == TR_OK)
        status = judge(&a, from);
    if (status == TR_OK)
        keep(&a, numbers);
    free_alignment(&a);
    return status;
}

/* A line for each section of the series: its transform, or its angle. */
static void put_line(FILE *out, const tr_inputs *in, size_t k, bool angle)
{
    const tr_transform *t = &in->transforms.transforms[k];
    if (angle)
        fprintf(out, "%8.2f\n", isfinite(in->tilts[k]) ? in->tilts[k] : 0.0);
    else
        fprintf(out, "%12.7f%12.7f%12.7f%12.7f%12.3f%12.3f\n", t->a11, t->a12, t->a21,
                t->a22, t->dx, t->dy);
}

static tr_status write_file(const tr_inputs *in, const char *path, bool angles)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    bool good = out;
    for (size_t k = 0; k < in->transforms.n_views && good; k++)
        put_line(out, in, k, angles);
    if (out)
        good = fclose(out) == 0;
    tr_status status = good ? tr_write_whole(path, text, length)
                            : tr_fail(TR_ERR_MEMORY, "not enough memory for %s", path);
    free(text);
    if (status == TR_OK)
        tr_info("wrote %s", path);
    return status;
}

static tr_status take(tr_inputs *in, const double *numbers)
{
    size_t n = tr_image_get_info(in->image)->nz;
    tr_alignment *a = &in->transforms;
    double axis = numbers[2 * in->views.n], c = cos(axis), s = sin(axis);
    TR_TRY(tr_alignment_new(n, TR_GIVES_TRANSFORMS, a));
    for (size_t k = 0; k < n; k++)
        a->transforms[k] = (tr_transform){.a11 = c, .a12 = s, .a21 = -s, .a22 = c};
    for (size_t k = 0; k < in->views.n; k++) {
        size_t section = in->views.view[k].section;
        a->transforms[section].dx = numbers[2 * k];
        a->transforms[section].dy = numbers[2 * k + 1];
        a->used[section] = true;
    }
    a->n_used = in->views.n;
    a->rotation = axis * TR_DEGREES;
    a->scale = 1.0;
    return TR_OK;
}

static char *name_file(const tr_inputs *in, const tr_command *c, const char *ending)
{
    const char *path = c->options.output;
    char *own = path ? NULL : tr_default_output(in->series_path, ".mrc");
    path = path ? path : own;
    if (!path)
        return NULL;
    size_t stem = tr_name_stem(path);
    char *made = tr_format_string("%.*s_align%s", (int)stem, path, ending);
    free(own);
    return made;
}

tr_status tr_run_align(void *data, tr_inputs *in, tr_command *c)
{
    tr_run *run = data;
    tr_job *job = &run->volumes[0].job;
    tr_comm *comm = job->comm;
    size_t n = 2 * in->views.n + 1;
    double *numbers = tr_calloc("the alignment", n, sizeof *numbers);
    char *xf = name_file(in, c, ".xf"), *tlt = name_file(in, c, ".tlt");
    in->made = xf;
    if (!c->options.check_alignment) /* none without its figures */
        c->options.check_alignment = "none";
    tr_status status = numbers && xf && tlt ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK && comm->rank == 0)
        status = find(in, c, job->threads, numbers);
    status = comm->ops->agree(comm, status);
    if (status == TR_OK)
        status = comm->ops->broadcast(comm, numbers, n);
    if (status == TR_OK)
        status = take(in, numbers);
    in->transforms_path = xf;
    if (status == TR_OK && comm->rank == 0 && !c->options.dry_run)
        status = write_file(in, xf, false);
    if (status == TR_OK && comm->rank == 0 && !c->options.dry_run)
        status = write_file(in, tlt, true);
    free(numbers);
    free(tlt);
    return status;
}
