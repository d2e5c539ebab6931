/* IMOD's files of what its alignment by fiducials has found besides the alignment of
 * whole views: z-factors (tiltalign, OutputZFactorFile) and local alignments
 * (OutputLocalFile), which its tilt takes as ZFACTORFILE and LOCALFILE. */
#ifndef TR_LOCAL_IMOD_H
#define TR_LOCAL_IMOD_H

#include "formats/tilt_angles.h"

/* One view as one patch has it. */
typedef struct tr_local_patch {
    double del_beta, del_alpha; /* degrees: added to the tilt, to the x-tilt of .xtilt */
    double xz, yz;              /* z-factors, 0 where the file has none */
    tr_transform xf;            /* of the projection, shifts in pixels of the file */
} tr_local_patch;

/* Patches in a grid, of which the first is centred on pixel (start_x, start_y) of the
 * aligned images, counted from 1. All views of the series are there. */
typedef struct tr_local_file {
    size_t n_x, n_y, n_views;
    double start_x, start_y, step_x, step_y;
    double pixel; /* angstroms, of the images it is about; 0: not said */
    bool has_z;
    tr_local_patch *patch; /* [n_y][n_x][n_views] */
} tr_local_file;

/* Read a local alignment of n_views views. The file has numbers only, words parted by
 * blanks or commas:
 *   n_x n_y start_x start_y step_x step_y [has del_alpha] [pixel] [has z-factors]
 * on its first line, and of every patch, x running fastest, del_beta of all views; where
 * there are any del_alpha of all views; xz and yz of all views; then a11 a12 a21 a22 dx
 * dy of all views. Freed by tr_local_file_free. Errors (TR_ERR_DATA, one sentence): fewer
 * than 2 x 2 patches, other numbers than that, a transform that has no inverse. */
TR_CHECKED tr_status tr_local_file_read(const char *path, size_t n_views,
                                        tr_local_file *file);
void tr_local_file_free(tr_local_file *file);

/* Read xz and yz of n_views views, of which 2 n_views numbers are all that is in the
 * file. */
TR_CHECKED tr_status tr_zfactors_read(const char *path, size_t n_views,
                                      double (*factors)[2]);

#endif
