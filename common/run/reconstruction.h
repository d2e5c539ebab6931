/* One tomogram of a run: its views, the job with everything decided, and its names. */
#ifndef TR_RECONSTRUCTION_H
#define TR_RECONSTRUCTION_H

#include "common/run/inputs.h"

typedef struct tr_reconstruction {
    tr_command *command; /* the run's, as are the inputs */
    const tr_inputs *inputs;
    const char *half; /* "even", "odd", "1 of 4"; NULL: the tomogram of everything */
    char half_text[16], half_noun[24]; /* that; "even half", "split 1 of 4" */
    const char *series_path;           /* of `image`: the inputs', */
    tr_image *image;
    tr_image *frames;    /* or a half set's own; else NULL */
    tr_image *halves[2]; /* of all frames: those of half of them, if there are any */
    tr_views views;
    struct tr_second *second; /* of second.h, the run's; or NULL */
    const tr_series *whole;   /* of half a set of frames: the series of everything */
    char *output_path;        /* where the command names none, or of a half set */
    char *store;              /* the folder of its Zarr store; NULL: none */
    char *scratch, *fingerprint;
    tr_job job; /* its device and algorithm are the run's */
} tr_reconstruction;

/* From the files to the output's name, type and header: sets r->series_path, image, views
 * and job; before it r->command, inputs and the job's device are set and the rest is 0.
 * Freed by tr_reconstruction_free, also after an error. */
TR_CHECKED tr_status tr_reconstruction_files(tr_reconstruction *r);
/* Opens the series and measures its noise. Collective. */
TR_CHECKED tr_status tr_reconstruction_series(tr_reconstruction *r, tr_comm *comm);
void tr_reconstruction_free(tr_reconstruction *r);

/* The geometry of its views with these options, which may be others than the command's;
 * freed by tr_geometry_free. */
TR_CHECKED tr_status tr_reconstruction_geometry(const tr_reconstruction *r,
                                                const tr_options *options,
                                                tr_geometry *geometry);
/* TR_ERR_MEMORY where a chunk of its series, packed and unpacked, takes more than
 * r->job's memory. */
TR_CHECKED tr_status tr_reconstruction_check_chunks(const tr_reconstruction *r);
/* reconstruction_depth.c: the bands of depth of its views, one per view, to be freed;
 * NULL where one image of each will do, or no more are possible. What became of that is
 * said. */
TR_CHECKED tr_status tr_reconstruction_bands(const tr_reconstruction *r,
                                             tr_depth_bands **bands);
/* Angstroms by which the defocus grows with each voxel of depth. */
double tr_reconstruction_per_depth(const tr_reconstruction *r);
/* The series alone, for r->job; collective. */
TR_CHECKED tr_status tr_reconstruction_open_series(tr_reconstruction *r, tr_comm *comm);

/* reconstruction_fingerprint.c: all that the voxels depend on, a line "name = value"
 * each; to be freed, NULL when memory is short. After the series is open. */
char *tr_reconstruction_fingerprint(const tr_reconstruction *r);

/* reconstruction_output.c: name, type, header and labels of the output. */
TR_CHECKED tr_status tr_reconstruction_output(tr_reconstruction *r);
/* The labels of r->job.output_spec anew: the number of iterations is another now. */
void tr_reconstruction_labels(tr_reconstruction *r);
/* File and labels of a half set, whose output_spec is a copy of that of everything. Takes
 * the path; NULL: memory was short. */
TR_CHECKED tr_status tr_reconstruction_half_output(tr_reconstruction *half, char *path);
/* An output's name with a suffix before its extension, from malloc. */
char *tr_reconstruction_half_path(const char *path, const char *suffix);
/* Say what was found and decided: series, angles, geometry, output. */
void tr_reconstruction_print(const tr_reconstruction *r);

/* The folder of the store beside an output file, from malloc. */
char *tr_store_beside(const char *path);

/* Of a default name in this TR_OUTPUT_...: ".mrc". */
const char *tr_reconstruction_ending(int format);

#endif
