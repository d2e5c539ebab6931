/* RELION 4's projection matrices, _rlnTomoProjX and _rlnTomoProjY: a voxel of the bin-1
 * tomogram, counted from 0, is seen at
 *   (u, v) = M (x, y, z) + t,   M of 2 x 3,
 * in pixels of the tilt series, counted from 0. (RELION, tomogram.cpp, imod_import.cpp.)
 * The rest of such a matrix, _rlnTomoProjZ and _rlnTomoProjW, is about depth. */
#ifndef TR_STAR_MATRIX_H
#define TR_STAR_MATRIX_H

#include "formats/alignment.h"
#include "formats/star_table.h"

/* Of a view, into row->tilt, xtilt, linear and shift: the ray, which all points that are
 * seen at one place lie along, has the angles, and what then takes the aligned image to
 * the raw one may be any linear map. `volume` is the tomogram's size, `image` that of the
 * view, in the file's pixels; the aligned image's centre is the tomogram's, (n - 1)/2, as
 * is ours. Errors: no four numbers; a matrix that shrinks or magnifies four times or more
 * (TR_ERR_DATA). */
TR_CHECKED tr_status tr_star_read_matrix(const tr_star_reader *r, const tr_star_table *t,
                                         size_t k, const double volume[3],
                                         const double image[2], tr_alignment_row *row);

#endif
