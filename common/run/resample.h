/* At a pitch rows are reconstructed in the frame (x, y', z') of geometry.h; here is the
 * way from there to the output's slices, and back for an initial volume. Both interpolate
 * linearly. */
#ifndef TR_RESAMPLE_H
#define TR_RESAMPLE_H

#include "common/run/job.h"

/* A row of the frame, in memory as V[plane][column][lane], `width` columns of the
 * geometry; `start` is its value at plane 0 and column 0. */
typedef struct tr_frame_row {
    const float *start;
    size_t lanes, planes;
    double z0; /* z' of plane 0 */
} tr_frame_row;

/* Finds rows for tr_resample_slices; `rows` is what that was given. */
typedef tr_frame_row tr_find_row(const void *rows, long row);

/* Planes iz0 to before iz1 of the n <= TR_LANES output slices from `slice` on, into
 * slices[n][thickness][width]. The rows must have the planes of tr_geometry_box. `find`
 * is called by all threads. */
void tr_resample_slices(const tr_geometry *g, tr_find_row *find, const void *rows,
                        int threads, size_t slice, size_t n, size_t iz0, size_t iz1,
                        float *slices);

/* initial.c: the initial volume, a file in the order of the output, in a box of the
 * frame: into lines[planes][width][lanes], lanes >= box->rows, of which all are filled.
 * What lies outside the file's slices or planes is as the nearest one. Errors: those of
 * reading, memory. */
TR_CHECKED tr_status tr_initial_load(const tr_job *job, const tr_frame_box *box,
                                     size_t lanes, float *lines);
/* Bytes that takes besides `lines`, at most. */
size_t tr_initial_bytes(const tr_job *job, size_t rows, size_t planes);

/* n rows of a section of its file, which must be as it was when the run began. */
TR_CHECKED tr_status tr_initial_read(const tr_job *job, size_t section, size_t row,
                                     size_t n, float *rows);

#endif
