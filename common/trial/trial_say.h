/* What a trial is told to have found: the table, the suggestion or the doubt, the sheet.
 */
#ifndef TR_TRY_SAY_H
#define TR_TRY_SAY_H

#include "common/geometry/geometry.h"
#include "common/options/options.h"
#include "common/trial/trial.h"
#include "common/trial/trial_figure.h"
#include "common/trial/trial_sheet.h"

typedef struct tr_try_findings {
    const tr_try_spec *spec;
    const tr_options *options;      /* as given; sizes in unbinned pixels */
    const tr_try_measure *measures; /* [spec->n] */
    const tr_geometry *geometries;  /* [spec->n] */
    const tr_sheet_layout *layout;
    const double *pixels;
    size_t slab_slices;
    const size_t *slab_first;
    const char *path; /* of the sheet */
} tr_try_findings;

/* Print them (tr_info; tr_warn where the data do not say which value is best) and write
 * the sheet. Errors: memory, and those of writing the sheet. */
TR_CHECKED tr_status tr_try_say(const tr_try_findings *findings);

/* try_bands.c: where the specimen is, for samples, thickness and z-shift. In voxels from
 * the middle of the volume, upwards; the extremes of the slabs, and whether one reaches
 * the end of the volume, where there may be more of it. */
typedef struct tr_try_extent {
    double low, high;
    bool cut;
} tr_try_extent;
TR_CHECKED tr_status tr_try_find_extent(const tr_try_measure *measure, size_t slab,
                                        tr_try_extent *extent);

/* The same three steps for those: print and fill in the panels' marks and frame. */
TR_CHECKED tr_status tr_try_say_samples(const tr_try_findings *f, tr_sheet_panel *panels);
TR_CHECKED tr_status tr_try_say_thickness(const tr_try_findings *f,
                                          tr_sheet_panel *panels);
TR_CHECKED tr_status tr_try_say_z_shift(const tr_try_findings *f, tr_sheet_panel *panels);

/* Whether a specimen stands out in this measure; else says so. */
TR_CHECKED tr_status tr_try_stands_out(const tr_try_measure *measure, bool level,
                                       bool *stands_out);

#endif
