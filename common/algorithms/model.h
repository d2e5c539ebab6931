/* What the spectra of the views say of specimen and noise, for algorithms that weight by
 * it, and filters on the volume in Fourier space that go with it. Frequencies k are in
 * cycles per voxel. */
#ifndef TR_MODEL_H
#define TR_MODEL_H

#include "kernels/backend.h"

/* At each frequency data lambda(k) + prior / S(k) + rho |2 sin(pi k)|^2 + constant, or 1
 * over that,
 * where
 *   lambda(k) = <h^2 W>(|k|) / (step |k_xz|)   is about what A^T W A is: h the transfer
 * of a view (CTF times what the exposure has left), W = 1 / the power of its noise, <>
 * the mean over the views, |k_xz| at least `least` S(k)        is the power of the
 * specimen for each voxel */
typedef struct tr_model_filter {
    bool inverse;
    double data, prior, rho, constant;
} tr_model_filter;

typedef struct tr_model tr_model;
struct tr_model {
    const double *weight; /* W of each view */
    double response2;     /* sum over views of W times the mean of h^2 in its image */
    double deviation;     /* of the specimen's voxels, by S */
    size_t places;        /* of the tables, from k = 0 on, linear between */
    double per_k;         /* places for a cycle per voxel */
    const float *transfer, *power; /* <h^2 W>, S */
    double step, least;            /* radians between tilts; cycles per voxel */
    /* y = the filter of x, volumes; may be the same. Collective. Symmetric, above 0. The
     * cells outside the field are voxels with one value; `inverse` acts on gradients with
     * respect to such, and gives their means. */
    tr_status (*filter)(const tr_model *model, const tr_model_filter *filter,
                        const tr_vec *x, tr_vec *y);
    void *self;
};

#endif
