/* The files that a run reads, and what they say of the views. */
#ifndef TR_INPUTS_H
#define TR_INPUTS_H

#include "common/run/command.h"
#include "common/views/discover.h"
#include "common/views/views.h"

typedef struct tr_inputs {
    tr_discovery found;
    tr_imod_com com;
    bool has_com;
    const char *series_path, *tilts_path; /* of the command's, or of the two above */
    char *default_tilts;
    tr_alignment alignment; /* from tilts_path, if that is an .aln or STAR file */
    tr_image *image;
    double *tilts;  /* of all views of the file, degrees; NaN: not known */
    tr_views views; /* those used; shifts of their transforms in pixels after binning */
} tr_inputs;

/* Find and open the files of the command, to which is added what a tilt.com says and the
 * thickness where none is given. *in is all 0 before; freed by tr_inputs_free, also after
 * an error (those of the files' readers; TR_ERR_USAGE). */
TR_CHECKED tr_status tr_inputs_open(tr_inputs *in, tr_command *c);
void tr_inputs_free(tr_inputs *in);

/* inputs_com.c: what in->com says, as options in front of the user's own, for those the
 * user did not give; then parse again. */
TR_CHECKED tr_status tr_inputs_apply_com(tr_inputs *in, tr_command *c);
/* Its SCALE, in IMOD's units, as (value + add) * multiply of our densities. */
TR_CHECKED tr_status tr_inputs_com_scale(const tr_inputs *in, const tr_geometry *g,
                                         double *add, double *multiply);

/* inputs_angles.c: the tilts, and what is read with them, of all views and of the chosen.
 */
TR_CHECKED tr_status tr_inputs_read_tilts(tr_inputs *in);
/* Warnings, and errors where the result could only be nonsense (TR_ERR_DATA). */
TR_CHECKED tr_status tr_inputs_check_angles(const tr_inputs *in, const tr_command *c);
/* The same for their order: beside the header's, other files' of the series' name, and
 * the views themselves as an mdoc describes them. It reads a few views; one rank is
 * enough. */
TR_CHECKED tr_status tr_inputs_check_order(const tr_inputs *in);

/* inputs_alignment.c: look for the angles, and if an .aln or STAR file has them, read it.
 * Before views are chosen. */
TR_CHECKED tr_status tr_inputs_read_alignment(tr_inputs *in, const tr_command *c);
/* Whether views are aligned while they are read, and how: the transforms of the views
 * chosen, in pixels of the file. */
bool tr_inputs_have_transforms(const tr_inputs *in, const tr_command *c);
TR_CHECKED tr_status tr_inputs_read_transforms(tr_inputs *in, const tr_command *c);
/* Say where an mdoc has the tilt axis, and warn where the views seem not to be aligned.
 */
void tr_inputs_print_axis(const tr_inputs *in, const tr_command *c);

/* Axis shift in pixels, where the series of images n_u wide is a subset of larger ones
 * (SUBSETSTART with FULLIMAGE): the tilt axis is at their centre. */
double tr_inputs_subset_shift(const tr_inputs *in, size_t n_u);

#endif
