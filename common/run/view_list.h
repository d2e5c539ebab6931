/* What is known of each view, beside the tomogram, for a program that averages
 * subtomograms and weights them itself: TOMOGRAM_views.star. */
#ifndef TR_VIEW_LIST_H
#define TR_VIEW_LIST_H

#include "common/run/reconstruction.h"

/* With --for averaging, where a tomogram is made. */
bool tr_view_list_wanted(const tr_options *o);
/* From malloc; NULL when memory is short. */
char *tr_view_list_path(const char *output);
/* A STAR file with the optics, and a row for each view used: its section, counted from 1,
 * its tilt, and as far as they are known defoci, angle of astigmatism and phase shift as
 * the correction has them, exposure before and in the view. Angstroms, degrees, e/A^2,
 * with RELION's names where it has some. Errors: those of writing; memory. */
TR_CHECKED tr_status tr_view_list_write(const tr_reconstruction *r);

#endif
