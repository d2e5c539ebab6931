/* Lengths of backprojection by gridding in Fourier space: for its plan, for the plan of
 * memory and for the choice between it and the direct sum. */
#ifndef TR_GRIDDING_SIZE_H
#define TR_GRIDDING_SIZE_H

#include "kernels/backend.h"

/* Points of the grid along an axis of n voxels: 1.5 times as many, without prime factors
 * above 7. */
size_t tr_gridding_axis(size_t n);

/* The period of a view of n_u columns whose rays reach from `low` to `high` (0-based,
 * fractional) in the field: covers these, and `taper` columns on either side of the
 * image. *before: the columns left of the image. */
size_t tr_gridding_length(size_t n_u, double low, double high, size_t taper,
                          size_t *before);

/* How many views' spectra, of so many bytes each, are held at a time: as many as take no
 * more than a quarter of the grid or 64 MiB. */
size_t tr_gridding_group(size_t grid_bytes, size_t view_bytes);

/* Bytes for views of n_u columns and a field of n_x x n_z voxels, at most; SIZE_MAX: more
 * than can be counted. */
size_t tr_gridding_bytes(size_t n_u, size_t n_x, size_t n_z, int threads);

#endif
