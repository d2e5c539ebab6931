/* The small text files beside a tilt series: angles, transforms, SerialEM's mdoc and
 * IMOD's tilt.com. Windows line ends, blank lines, '#' comments and a missing last
 * newline are fine everywhere. Errors are TR_ERR_DATA with one sentence naming the
 * file, the line and the value. */
#ifndef TR_TILT_ANGLES_H
#define TR_TILT_ANGLES_H

#include "common/base/err.h"

/* One angle per view, in degrees, from .tlt, .rawtlt, .xtilt, a multi-column table or
 * an .mdoc (recognised by content: a [ZValue section or a "key = value" line). If the
 * number of rows equals n_views, column 1 is taken, or another that is clearly the angles
 * where column 1 is not (angle_columns.h); otherwise the count of all numbers must equal
 * n_views; otherwise an error names both counts. Garbage, NaN, Inf, angles beyond +-360
 * but those of a stage that counts on (turns.h), an .xf, IMOD's command files and other
 * kinds of files (STAR, XML, an image ...) are errors. angles[n_views] is the caller's.
 */
TR_CHECKED tr_status tr_angles_read(const char *path, size_t n_views, double *angles);
/* The same; *column, from 0, is the one they are from. */
TR_CHECKED tr_status tr_angles_read_column(const char *path, size_t n_views,
                                           double *angles, size_t *column);

/* What is used of an mdoc; NaN for what the file does not say. Views are the ZValue
 * sections, or where there are none the FrameSet or the Image sections; per view, in the
 * order of their numbers, or as Image sections follow each other; arrays freed by
 * tr_mdoc_free. */
typedef struct tr_mdoc {
    size_t n_views;
    double pixel;            /* angstroms */
    double tilt_axis_angle;  /* degrees, from TiltAxisAngle or the [T = ...] title */
    double *tilt;            /* degrees */
    double *dose;            /* ExposureDose, e/A^2 */
    double *prior_dose;      /* PriorRecordDose */
    double *time;            /* DateTime, in seconds since some day */
    size_t odd_time_line;    /* of the first DateTime that is none; 0: all can be read */
    double voltage;          /* kV */
    double (*statistics)[3]; /* MinMaxMean */
    bool has_frames;         /* it names files of frames (SubFramePath) */
} tr_mdoc;
TR_CHECKED tr_status tr_mdoc_read(const char *path, tr_mdoc *mdoc);
/* The same, and an error unless it has the angles of n_views views. */
TR_CHECKED tr_status tr_mdoc_read_tilts(const char *path, size_t n_views, tr_mdoc *mdoc);
void tr_mdoc_free(tr_mdoc *mdoc);
/* Whether the file looks like an mdoc; false for one that cannot be read. */
bool tr_mdoc_probe(const char *path);
/* Whether its first line is a command as in IMOD's .com files. */
bool tr_imod_com_probe(const char *path);

/* The linear transforms of an .xf or .tltxf file: a11 a12 a21 a22 dx dy per view, which
 * map a raw image's coordinates to the aligned image's, both relative to the image's
 * centre, shifts in pixels. Exactly n_views lines of six finite numbers with a
 * determinant that is not 0. */
typedef struct tr_transform {
    double a11, a12, a21, a22, dx, dy;
} tr_transform;
TR_CHECKED tr_status tr_transforms_read(const char *path, size_t n_views,
                                        tr_transform *transforms);

/* imod_com.c: an IMOD command file for tilt. Numbers are as in the file (unbinned pixels,
 * degrees); has_* says whether the entry is there. Paths are relative to the com file's
 * folder and already joined to it. Freed by tr_imod_com_free. */
typedef struct tr_imod_com {
    char *input, *output, *tilt_file, *xtilt_file; /* NULL when absent */
    char *local_file, *zfactor_file;               /* likewise */
    double local_scale;                            /* LOCALSCALE, 0 when absent */
    bool has_thickness, has_width, has_offset, has_shift, has_xaxistilt, has_radial,
        has_scale, has_mode, has_log, has_full_image, has_subset_start, has_slice;
    long thickness, width, mode;
    double offset_angle, offset_axis; /* OFFSET */
    double shift_x, shift_z;          /* SHIFT */
    double xaxistilt;
    double radial_cutoff, radial_sigma; /* sigma already the true one (see below) */
    double scale_add, scale_multiply;
    double log_base;
    long binning; /* IMAGEBINNED, 1 when absent */
    long full_nx, full_ny, subset_x, subset_y;
    long slice_first, slice_last; /* SLICE, sections from 0 */
    long fake_sirt_iterations;    /* FakeSIRTiterations, 0 when absent */
    long sirt_iterations;         /* SIRTIterations, 0 when absent */
    bool positive;                /* ConstrainSign above 0, with SIRTIterations */
    double hamming_start;         /* HammingLikeFilter, 0 when absent */
    bool uniform_weights;         /* DENSWEIGHT 0 */
    bool parallel;                /* PARALLEL, or PERPENDICULAR 0 */
    bool rotated;                 /* RotateBy90 */
    bool has_angles;              /* ANGLES: they are not read */
    char *exclude;                /* EXCLUDELIST (all of them, joined by ','), or NULL */
    char *include;                /* INCLUDE, or NULL */
    /* Entries that change the result in IMOD and are not honoured here, e.g.
     * "COMPRESS 3, MASK 1"; NULL when there are none. Entries
     * without effect on the result (GPU, boundary info ...) are not listed. */
    char *not_honoured;
} tr_imod_com;
/* As IMOD's parser reads it: a '#' begins a comment, names of options may be shortened,
 * options may stand on the command's line, and of several tilt commands the one that
 * makes a tomogram counts. A shell's script with a here document is read as well.
 * RADIAL's second number is exp(-(f-fc)^2/s^2) (true sigma = s/sqrt 2) unless the file
 * has "FalloffIsTrueSigma 1". Errors: no tilt command, or none that makes a tomogram, or
 * several; an unparsable number; a name that may be that of several options. */
TR_CHECKED tr_status tr_imod_com_read(const char *path, tr_imod_com *com);
void tr_imod_com_free(tr_imod_com *com);

#endif
