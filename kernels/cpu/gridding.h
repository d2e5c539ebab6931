/* Backprojection and projection by gridding in Fourier space, for many views of
 * independent rows: what is worked out once for a slab. gridding_body.h and
 * gridding_forward_body.h carry it out; the method and its
 * conventions stand there. Private to kernels/. */
#ifndef TR_CPU_GRIDDING_H
#define TR_CPU_GRIDDING_H

#include "kernels/backend.h"
#include "kernels/cpu/fft.h"

enum {
    TR_GRIDDING_TAPS = 7,         /* grid points along an axis that a node is spread to */
    TR_GRIDDING_ROOM = 8,         /* of a row of the table of weights */
    TR_GRIDDING_FRACTIONS = 1024, /* positions between two grid points in the table */
    TR_GRIDDING_TAPER = 16        /* columns over which a view goes over to its guards */
};

typedef struct tr_gridding {
    size_t length;   /* the period of a view, even */
    size_t before;   /* columns of it left of the image */
    size_t taper;    /* columns on either side, at most TR_GRIDDING_TAPER */
    size_t n_x, n_z; /* the grid: even along x, of which n_x / 2 + 1 columns are kept */
    size_t group;    /* views whose spectra are held at a time */
    tr_fft view_fft, x_fft, z_fft; /* of length / 2, n_x / 2 and n_z */
    float *view_turn,
        *x_turn;   /* cosine and sine of 2 pi k / length and / n_x, up to 1/2 */
    float *weight; /* [TR_GRIDDING_FRACTIONS + 2][TR_GRIDDING_ROOM] */
    float *scale_x, *scale_z; /* of each voxel's column and plane */
    float *edge;              /* [taper + 1]: the share of the image that is left */
} tr_gridding;

typedef struct tr_gridding_work {
    float *grid, *spectra; /* of as many lanes as a vector has */
    float *room;           /* room_floats for each thread */
    size_t room_floats;
    int threads;
} tr_gridding_work;

/* Fills in the plan; TR_ERR_MEMORY. Always ends with tr_gridding_free. */
TR_CHECKED tr_status tr_gridding_plan(const tr_slab *slab, tr_gridding *g);
void tr_gridding_free(tr_gridding *g);

/* Floats of the grid and of the spectra for so many lanes. */
size_t tr_gridding_grid_floats(const tr_gridding *g, size_t lanes);
size_t tr_gridding_spectra_floats(const tr_gridding *g, size_t lanes);

/* backproject_fourier and project_fourier of the backend table. */
tr_status tr_cpu_backproject_fourier(void *state, const tr_slab *slab, const tr_vec *p,
                                     tr_vec *x);
tr_status tr_cpu_project_fourier(void *state, const tr_slab *slab, const tr_vec *x,
                                 tr_vec *p);

#endif
