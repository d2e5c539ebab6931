/* A finished tomogram, read back from its file whatever the format and the order: in
 * parts and smaller, within a few MiB of memory. x runs across the tilt axis, y along it,
 * z along the thickness; z = 0 is the first row of a slice as it was computed. */
#ifndef TR_TOMOGRAM_H
#define TR_TOMOGRAM_H

#include "common/tomogram/output.h"

enum { TR_X, TR_Y, TR_Z };

typedef struct tr_tomogram {
    tr_image *image;
    bool xyz;
    size_t size[3]; /* x, y, z */
} tr_tomogram;

/* What was written to this spec; closed by tr_tomogram_close, also after a failure. */
TR_CHECKED tr_status tr_tomogram_open(const tr_output_spec *spec, tr_tomogram *t);
void tr_tomogram_close(tr_tomogram *t);

/* Voxels [first, first + size) on each axis, factor[i] of them averaged to one. */
typedef struct tr_box {
    size_t first[3], size[3], factor[3];
} tr_box;

/* The sides of what tr_tomogram_read gives. */
void tr_box_sides(const tr_box *box, size_t sides[3]);

/* out[z][y][x] of these sides. Where all of the box would be more than `most` voxels to
 * read (0: no limit), only some sections of the file are read for each averaged voxel. */
TR_CHECKED tr_status tr_tomogram_read(const tr_tomogram *t, const tr_box *box,
                                      size_t most, float *out);

/* The central section across `axis`, as a picture: of TR_Z with columns x and rows y, of
 * TR_Y with x and z, of TR_X with y and z; made smaller until no side is above `most`.
 * Row 0 is the highest y or z, as viewers draw it. *values is from malloc. */
typedef struct tr_section {
    size_t width, height, factor, at; /* of the picture; where it lies on the axis */
    float *values;
} tr_section;
TR_CHECKED tr_status tr_tomogram_section(const tr_tomogram *t, int axis, size_t most,
                                         tr_section *section);

#endif
