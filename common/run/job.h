/* One reconstruction with everything decided: what the body of a program hands to its
 * method. */
#ifndef TR_JOB_H
#define TR_JOB_H

#include "common/algorithms/algorithm.h"
#include "common/base/comm.h"
#include "common/geometry/geometry.h"
#include "common/series/noise.h"
#include "common/options/options.h"
#include "common/tomogram/output.h"
#include "common/series/series.h"
#include "common/base/timeline.h"

/* Where the time goes. Seconds of this process, added up per stage; stages run at the
 * same time, so they may add up to more than the wall clock. */
typedef enum tr_stage {
    TR_STAGE_ALLOCATE, /* memory for the whole volume, and what it starts from */
    TR_STAGE_READ,
    TR_STAGE_UPLOAD, /* to a device with memory of its own */
    TR_STAGE_FILTER,
    TR_STAGE_PROJECT,
    TR_STAGE_DOWNLOAD,
    TR_STAGE_WRITE,
    TR_N_STAGES
} tr_stage;

/* A second series, about another axis. Its views follow those of the job's geometry, have
 * images of the same size, once transposed if so, and see the volume of the first. */
typedef struct tr_second_axis {
    size_t n_views;
    tr_series *series;
    const tr_geometry *geometry; /* of these views by themselves */
    const tr_ray *rays;          /* one per view, for slice and image row 0 */
    bool transposed;             /* columns of these images are rows in its file */
    double factor;               /* its values become that many times as large */
    bool across; /* its views' rows go along the first one's x rather than y, */
    bool turned; /* and the operator turns the volume over for them (tiltrecz/across.h) */
    bool masked; /* pixels that see what lies beyond the first or last slice do not count,
                    because the specimen goes on there */
} tr_second_axis;

typedef struct tr_job {
    tr_comm *comm;
    const tr_backend *backend;
    void *device;
    int threads;
    size_t memory; /* bytes this process may use */
    const tr_algorithm *algorithm;
    void *params; /* the command's; `settle` may choose the number of iterations */
    tr_geometry geometry;
    tr_series *series;
    tr_noise noise;   /* of the series, where the algorithm wants to know */
    bool outside;     /* the specimen goes on beyond the field */
    bool until_noise; /* iterations end when the residual has reached the noise */
    const tr_options *options;
    const tr_views *views; /* the reconstruction's; NULL in the library */
    bool transforms;       /* the rays apply the views' transforms: false where the series
                              has, or there are none */
    const tr_ray *rays;    /* as the library's caller gave them, one per view, for
                              slice and image row 0; NULL: from the geometry */
    const tr_second_axis *second; /* or NULL */
    tr_image *initial;            /* or NULL */
    tr_content initial_content;
    size_t first_slice; /* of the volume, where the output begins */
    tr_output_spec output_spec;
    tr_output *output; /* open while the job runs */
    /* results */
    double seconds[TR_N_STAGES];
    tr_timeline *timeline; /* or NULL */
    double updates;        /* voxel updates done: a voxel in a view, either way */
    tr_history history;
} tr_job;

/* A program's way of reconstructing: slices (tiltrec/) or the whole volume. */
typedef struct tr_method {
    bool whole_volume; /* algorithms that need it can run */
    /* Work out the memory and print the plan (tr_info); TR_ERR_MEMORY, with what would
     * help, when it does not fit. *plan is freed by the caller. */
    tr_status (*plan)(const tr_job *job, void **plan);
    /* Where job->until_noise: choose the number of iterations for all slices, into
     * job->params. NULL where `run` stops by itself. The same on every rank. */
    tr_status (*settle)(tr_job *job, const void *plan);
    /* Reconstruct this rank's share into job->output. */
    tr_status (*run)(tr_job *job, const void *plan);
    /* It is all made, and the output's journal says so: remove what is kept of this
     * rank's work beside the output. NULL where nothing is. */
    void (*forget)(const tr_job *job);
} tr_method;

typedef struct tr_program {
    const char *name;    /* "tiltrec-mpi" */
    const char *summary; /* for help and manual page, one line */
    const char *backend; /* of kernels/backend_list.h */
    const tr_method *method;
    const tr_method *trial_method; /* for --try; NULL where that is `method` as well */
    const char *whole_volume;      /* the program for what needs the whole volume */
    /* Of a program whose backend may be missing from the build: what that is called, the
     * program to use instead, and the option that builds it. NULL where it cannot be. */
    const char *needs, *instead, *build_option;
} tr_program;

/* Those of both series. */
static inline size_t tr_job_views(const tr_job *job)
{
    return job->geometry.n_views + (job->second ? job->second->n_views : 0);
}

/* Whether the second series makes the first one's rows, in this geometry, depend on each
 * other, as far as projecting them goes. */
static inline bool tr_job_crosses(const tr_job *job, const tr_geometry *g)
{
    return job->second && (!job->second->turned || g->pitch != 0.0);
}

/* Whether programs of this method can run the algorithm. */
static inline bool tr_method_offers(const tr_method *method,
                                    const tr_algorithm *algorithm)
{
    return method->whole_volume || !(algorithm->needs & TR_NEEDS_WHOLE_VOLUME);
}

/* A stage has worked since `start` (tr_now): adds to its seconds and to the timeline.
 * Each stage by one thread at a time. */
void tr_job_spent(tr_job *job, tr_stage stage, double start);
extern const char *const tr_stage_names[TR_N_STAGES];

#endif
