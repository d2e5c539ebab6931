/* The contact sheet of trial slabs: one panel for each, all with one contrast. */
#ifndef TR_TRIAL_SHEET_H
#define TR_TRIAL_SHEET_H

#include "common/base/err.h"

typedef struct tr_trial_sheet_layout {
    size_t n_panels, n_strips;     /* strips of a panel lie one above the other */
    size_t columns;                /* of panels */
    size_t width, height;          /* of the largest strip in voxels */
    size_t shrink, enlarge;        /* one of them is 1 */
    size_t strip_width;            /* shrunk, not enlarged */
    size_t strip_height, n_pixels; /* n_pixels: of all strips together */
} tr_trial_sheet_layout;

/* Panels of strips as large as fit a screen, whole voxels to whole pixels, in at most so
 * many columns. */
tr_trial_sheet_layout tr_trial_sheet_plan(size_t n_panels, size_t n_strips, size_t width,
                                          size_t height, size_t most_columns);

/* Put a strip's plane[height][layout->width], plane row 0 at the bottom, where it belongs
 * in pixels[layout->n_pixels], which is 0 there. `scratch` is as large as the plane. A
 * strip of fewer rows than the layout's is put in the middle. */
void tr_trial_sheet_put(const tr_trial_sheet_layout *layout, size_t panel, size_t strip,
                        const float *plane, size_t height, float *scratch,
                        double *pixels);

typedef struct tr_trial_sheet_panel {
    char label[48];
    bool framed;
    size_t height;     /* voxels of its strips */
    bool marked;       /* each strip's `mark` is shown beside it */
    double mark[3][2]; /* [strip]: lower and upper edge in voxels from its lowest row */
} tr_trial_sheet_panel;

/* Draw the sheet as a PNG. Errors: those of tr_png_write, memory. */
TR_CHECKED tr_status tr_trial_sheet_write(const tr_trial_sheet_layout *layout,
                                          const tr_trial_sheet_panel *panels,
                                          const double *pixels, const char *title,
                                          const char *path);

#endif
