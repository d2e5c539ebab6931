/* Print what the library reads from one of the small text files beside a tilt series,
 * for tests that compare it with an independent reading.
 *   anglesinfo angles FILE VIEWS    one angle a line
 *   anglesinfo xf FILE VIEWS        six numbers a line
 *   anglesinfo mdoc FILE            "pixel", "axis", then "view TILT DOSE PRIOR" lines
 *   anglesinfo com FILE             "name value" lines for the entries that are there
 *   anglesinfo alignment FILE NX NY NZ    "view TILT XTILT TRANSFORM" lines
 * Errors go to standard error; the exit status is the tr_status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "formats/alignment.h"

static tr_status show_angles(const char *path, size_t n_views)
{
    double *angles = tr_calloc("angles", n_views, sizeof *angles);
    if (!angles)
        return TR_ERR_MEMORY;
    tr_status status = tr_angles_read(path, n_views, angles);
    for (size_t k = 0; status == TR_OK && k < n_views; k++)
        printf("%.17g\n", angles[k]);
    free(angles);
    return status;
}

static tr_status show_transforms(const char *path, size_t n_views)
{
    tr_transform *transforms = tr_calloc("transforms", n_views, sizeof *transforms);
    if (!transforms)
        return TR_ERR_MEMORY;
    tr_status status = tr_transforms_read(path, n_views, transforms);
    for (size_t k = 0; status == TR_OK && k < n_views; k++) {
        const tr_transform *t = &transforms[k];
        printf("%.17g %.17g %.17g %.17g %.17g %.17g\n", t->a11, t->a12, t->a21, t->a22,
               t->dx, t->dy);
    }
    free(transforms);
    return status;
}

static tr_status show_mdoc(const char *path)
{
    tr_mdoc mdoc;
    TR_TRY(tr_mdoc_read(path, &mdoc));
    printf("pixel %.17g\naxis %.17g\n", mdoc.pixel, mdoc.tilt_axis_angle);
    for (size_t k = 0; k < mdoc.n_views; k++)
        printf("view %.17g %.17g %.17g\n", mdoc.tilt[k], mdoc.dose[k],
               mdoc.prior_dose[k]);
    tr_mdoc_free(&mdoc);
    return TR_OK;
}

static tr_status show_alignment(const char *path, const tr_aligned_series *series)
{
    tr_alignment a;
    TR_TRY(tr_alignment_read(path, TR_GIVES_ANGLES | TR_GIVES_TRANSFORMS, series, &a));
    for (size_t k = 0; k < a.n_views; k++) {
        if (!a.used[k])
            continue;
        printf("%zu %.17g %.17g", k + 1, a.tilt[k], a.xtilt ? a.xtilt[k] : 0.0);
        const tr_transform *t = a.transforms ? &a.transforms[k] : NULL;
        if (t)
            printf(" %.17g %.17g %.17g %.17g %.17g %.17g", t->a11, t->a12, t->a21, t->a22,
                   t->dx, t->dy);
        printf("\n");
    }
    tr_alignment_free(&a);
    return TR_OK;
}

static void show_text(const char *name, const char *text)
{
    if (text)
        printf("%s %s\n", name, text);
}

static void show_numbers(bool there, const char *name, int n, const double *numbers)
{
    if (!there)
        return;
    printf("%s", name);
    for (int i = 0; i < n; i++)
        printf(" %.17g", numbers[i]);
    printf("\n");
}

#define SHOW(there, name, n, ...) show_numbers(there, name, n, (double[]){__VA_ARGS__})

static tr_status show_com(const char *path)
{
    tr_imod_com com;
    TR_TRY(tr_imod_com_read(path, &com));
    show_text("input", com.input);
    show_text("output", com.output);
    show_text("tilt_file", com.tilt_file);
    show_text("xtilt_file", com.xtilt_file);
    show_text("local_file", com.local_file);
    show_text("zfactor_file", com.zfactor_file);
    SHOW(com.has_thickness, "thickness", 1, (double)com.thickness);
    SHOW(com.has_width, "width", 1, (double)com.width);
    SHOW(com.has_offset, "offset", 2, com.offset_angle, com.offset_axis);
    SHOW(com.has_shift, "shift", 2, com.shift_x, com.shift_z);
    SHOW(com.has_xaxistilt, "xaxistilt", 1, com.xaxistilt);
    SHOW(com.has_radial, "radial", 2, com.radial_cutoff, com.radial_sigma);
    SHOW(com.has_scale, "scale", 2, com.scale_add, com.scale_multiply);
    SHOW(com.has_mode, "mode", 1, (double)com.mode);
    SHOW(com.has_log, "log", 1, com.log_base);
    SHOW(true, "binning", 1, (double)com.binning);
    SHOW(com.has_full_image, "full_image", 2, (double)com.full_nx, (double)com.full_ny);
    SHOW(com.has_subset_start, "subset_start", 2, (double)com.subset_x,
         (double)com.subset_y);
    SHOW(com.has_slice, "slice", 2, (double)com.slice_first, (double)com.slice_last);
    SHOW(com.fake_sirt_iterations != 0, "fake_sirt", 1, (double)com.fake_sirt_iterations);
    SHOW(com.hamming_start != 0, "hamming", 1, com.hamming_start);
    SHOW(com.parallel, "parallel", 0, 0);
    SHOW(com.rotated, "rotated", 0, 0);
    SHOW(com.sirt_iterations != 0, "sirt", 1, (double)com.sirt_iterations);
    show_text("exclude", com.exclude);
    show_text("include", com.include);
    show_text("not_honoured", com.not_honoured);
    tr_imod_com_free(&com);
    return TR_OK;
}

static tr_status show(int argc, char **argv)
{
    if (argc == 4) {
        size_t n_views = strtoul(argv[3], NULL, 10);
        if (strcmp(argv[1], "angles") == 0)
            return show_angles(argv[2], n_views);
        if (strcmp(argv[1], "xf") == 0)
            return show_transforms(argv[2], n_views);
    }
    if (argc == 3 && strcmp(argv[1], "mdoc") == 0)
        return show_mdoc(argv[2]);
    if (argc == 3 && strcmp(argv[1], "com") == 0)
        return show_com(argv[2]);
    if (argc == 6 && strcmp(argv[1], "alignment") == 0) {
        const tr_aligned_series series = {.path = "series.mrc",
                                          .nx = strtoul(argv[3], NULL, 10),
                                          .ny = strtoul(argv[4], NULL, 10),
                                          .nz = strtoul(argv[5], NULL, 10),
                                          .pixel = 1.0};
        return show_alignment(argv[2], &series);
    }
    return tr_fail(TR_ERR_USAGE, "usage: anglesinfo angles|xf FILE VIEWS, mdoc|com FILE, "
                                 "or alignment FILE NX NY NZ");
}

int main(int argc, char **argv)
{
    tr_status status = show(argc, argv);
    if (status != TR_OK)
        fprintf(stderr, "%s\n", tr_error());
    return (int)status;
}
