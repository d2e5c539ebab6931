/* Displacements within an image: local shifts measured at some places, between which they
 * are weighted means, on a grid that is fine enough to interpolate in. */
#ifndef TR_DISPLACEMENT_H
#define TR_DISPLACEMENT_H

#include "formats/alignment.h"

/* Nodes [n_y][n_x] over an image from its first pixel's centre to its last one's;
 * displacements in pixels along x and y. */
typedef struct tr_displacement {
    size_t n_x, n_y;
    double per_x, per_y;    /* nodes a pixel */
    float (*node)[2];       /* NULL: there are no displacements */
    double low[2], high[2]; /* of all nodes */
} tr_displacement;

/* The field of these n shifts in an image of n_u x n_v pixels, of which each is `factor`
 * of the shifts' own. At (x, y) from the image's centre it is the mean of the shifts with
 * weights exp(-100 ((x - x_p)^2 / W^2 + (y - y_p)^2 / H^2)), where the image is W x H,
 * and 0 where these add up to less than 1e-30 (AreTomo 3, GCorrPatchShift.cu). Without
 * shifts there is no field. Freed by tr_displacement_free. Errors: TR_ERR_MEMORY. */
TR_CHECKED tr_status tr_displacement_new(const tr_local_shift *shifts, size_t n,
                                         size_t n_u, size_t n_v, double factor,
                                         tr_displacement *d);
/* The same where the shifts are a regular grid, row after row of `columns` of them, at
 * least 2 x 2: bilinear between them, and beyond as at the edge. */
TR_CHECKED tr_status tr_displacement_of_grid(const tr_local_shift *shifts, size_t n,
                                             size_t columns, size_t n_u, size_t n_v,
                                             double factor, tr_displacement *d);
void tr_displacement_free(tr_displacement *d);

/* Bytes of one field, at most. */
size_t tr_displacement_bytes(size_t n_u, size_t n_v);

/* Add the displacement there, bilinear between nodes, to position (*u, *v); beyond the
 * image it is that of its edge. */
void tr_displace(const tr_displacement *d, double *u, double *v);

#endif
