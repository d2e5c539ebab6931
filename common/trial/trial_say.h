/* What a trial is told to have found: the table, the suggestion or the doubt, the sheet.
 */
#ifndef TR_TRIAL_SAY_H
#define TR_TRIAL_SAY_H

#include "common/geometry/geometry.h"
#include "common/options/options.h"
#include "common/options/trial_spec.h"
#include "common/run/inputs.h"
#include "common/trial/trial_figure.h"
#include "common/trial/trial_sheet.h"

/* What a regularizer had in a trial: its weight, and the root mean square of b - A x
 * before the last iteration. */
typedef struct tr_trial_weight {
    double lambda, residual;
} tr_trial_weight;

typedef struct tr_trial_findings {
    const tr_trial_spec *spec;
    const tr_inputs *inputs;
    const tr_options *options;        /* as given; sizes in unbinned pixels */
    const tr_trial_measure *measures; /* [spec->n] */
    const tr_trial_weight *weights;   /* [spec->n]; 0 where there is none */
    double sigma;                     /* of the views' noise, or 0 */
    const tr_geometry *geometries;    /* [spec->n] */
    const tr_trial_sheet_layout *layout;
    const double *pixels;
    size_t slab_slices;
    const size_t *slab_first;
    const char *path; /* of the sheet */
} tr_trial_findings;

/* Print them (tr_info; tr_warn where the data do not say which value is best) and write
 * the sheet. Errors: memory, and those of writing the sheet. */
TR_CHECKED tr_status tr_trial_say(const tr_trial_findings *findings);

/* trial_bands.c: where the specimen is, for samples, thickness and z-shift. In voxels
 * from the middle of the volume, upwards; the extremes of the slabs, and whether one
 * reaches the end of the volume, where there may be more of it. */
typedef struct tr_trial_extent {
    double low, high;
    bool cut;
} tr_trial_extent;
TR_CHECKED tr_status tr_trial_find_extent(const tr_trial_measure *measure, size_t slab,
                                          tr_trial_extent *extent);

/* The same three steps for those: print and fill in the panels' marks and frame. */
TR_CHECKED tr_status tr_trial_say_samples(const tr_trial_findings *f,
                                          tr_trial_sheet_panel *panels);
TR_CHECKED tr_status tr_trial_say_thickness(const tr_trial_findings *f,
                                            tr_trial_sheet_panel *panels);
TR_CHECKED tr_status tr_trial_say_z_shift(const tr_trial_findings *f,
                                          tr_trial_sheet_panel *panels);

/* Whether a specimen stands out in this measure; else says so. */
TR_CHECKED tr_status tr_trial_stands_out(const tr_trial_measure *measure, bool level,
                                         bool *stands_out);

#endif
