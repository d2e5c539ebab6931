/* From the command line and the files it names to a job with everything decided. */
#ifndef TR_SETUP_H
#define TR_SETUP_H

#include "formats/alignment.h"
#include "common/run/job.h"
#include "common/views/discover.h"
#include "common/tomogram/frc.h"
#include "common/options/trial_spec.h"

typedef struct tr_setup {
    const tr_program *program;
    tr_options options;
    tr_device_options device_options;
    const char *help_topic; /* of --help; NULL: none */
    const tr_algorithm *algorithm;
    const tr_method *method; /* the program's, or its method for a few slices */
    tr_trial_spec trial;     /* where options.try_what is given */
    void *params;            /* of the algorithm */
    tr_option_group *groups;
    size_t n_groups;
    tr_command_line line;
    char **arguments; /* as rewritten; the option values point into these */
    char **extended;  /* the same with what a com file adds */
    size_t n_added;   /* of those, from extended[1] on */
    tr_discovery found;
    tr_imod_com com;
    bool has_com;
    const char *series_path, *tilts_path;
    tr_alignment alignment; /* from tilts_path, if that is an .aln or STAR file */
    char *default_tilts, *default_output, *scratch;
    tr_image *image;
    tr_views views; /* those used; shifts of their transforms in pixels after binning */
    char *fingerprint;
    tr_job job;
    const char *half;        /* "even" or "odd"; NULL: the tomogram of everything */
    struct tr_setup *halves; /* the half sets, two of them, or NULL; see halves.h */
    tr_frc frc;              /* of these, after the run, on rank 0 */
} tr_setup;

/* The steps, in this order; each returns the first error. The first looks at nothing but
 * argv; the second starts the device; the third opens the files. The last two are
 * collective. */
TR_CHECKED tr_status tr_setup_parse(tr_setup *s, const tr_program *program, int argc,
                                    char *const *argv);
TR_CHECKED tr_status tr_setup_backend(tr_setup *s);
TR_CHECKED tr_status tr_setup_files(tr_setup *s);
TR_CHECKED tr_status tr_setup_series(tr_setup *s, tr_comm *comm);
TR_CHECKED tr_status tr_setup_output(tr_setup *s);
/* The labels of s->job.output_spec anew: the number of iterations is another now. */
void tr_setup_labels(tr_setup *s);
void tr_setup_free(tr_setup *s);

/* The geometry of the options as they are now, which try changes, of the series at hand;
 * freed by tr_geometry_free. */
TR_CHECKED tr_status tr_setup_make_geometry(const tr_setup *s, tr_geometry *geometry);

/* fingerprint.c: all that the voxels depend on, a line "name = value" each; to be freed,
 * NULL when memory is short. After tr_setup_series. */
char *tr_setup_fingerprint(const tr_setup *s);

/* Say what was found and decided: series, angles, geometry, output. */
void tr_setup_print(const tr_setup *s);

/* setup_com.c: what a tilt.com says, as options in front of the user's own, for those
 * the user did not give; then parse again. */
TR_CHECKED tr_status tr_setup_apply_com(tr_setup *s);
/* Its SCALE, in IMOD's units, as (value + add) * multiply of our densities. */
TR_CHECKED tr_status tr_setup_com_scale(const tr_setup *s, double *add, double *multiply);

/* setup_alignment.c: look for the angles, and if an .aln or STAR file has them, read it.
 * Before views are chosen. */
TR_CHECKED tr_status tr_setup_read_alignment(tr_setup *s);
/* Whether views are aligned while they are read, and how: the transforms of the views
 * chosen, in pixels of the file. */
bool tr_setup_has_transforms(const tr_setup *s);
TR_CHECKED tr_status tr_setup_read_transforms(tr_setup *s);
/* Say where an mdoc has the tilt axis, and warn where the views seem not to be aligned.
 */
void tr_setup_print_axis(const tr_setup *s);
/* The parts of these that half sets need of their own: the geometry of the views used,
 * and the series; the second is collective. */
TR_CHECKED tr_status tr_setup_open_series(tr_setup *s, tr_comm *comm);
TR_CHECKED tr_status tr_setup_geometry(tr_setup *s);
/* setup_output.c: the file and labels of a half set, whose output_spec is a copy of that
 * of everything: its name gets the suffix before its extension. */
TR_CHECKED tr_status tr_setup_half_output(tr_setup *half, const char *suffix);

/* setup_output.c: whether two paths are one file. */
bool tr_same_file(const char *a, const char *b);

#endif
