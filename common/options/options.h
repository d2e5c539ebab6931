/* The options every program understands. The rows are in options.c; an algorithm's own
 * options (iterations, filter ...) are rows in its own file, and only the chosen
 * algorithm's may be given. */
#ifndef TR_OPTIONS_H
#define TR_OPTIONS_H

#include "common/options/opt.h"
#include "common/options/view_params.h"

enum { TR_MODE_FLOAT, TR_MODE_HALF, TR_MODE_INT16, TR_MODE_UINT16, TR_MODE_BYTE };
enum { TR_ORDER_XZY, TR_ORDER_XYZ };
enum { TR_OUTPUT_MRC, TR_OUTPUT_HDF5, TR_OUTPUT_TIFF };
typedef enum tr_shell { TR_NO_SHELL, TR_BASH, TR_ZSH, TR_FISH } tr_shell;
enum { TR_HALVES_NONE, TR_HALVES_VIEWS, TR_HALVES_FRAMES, TR_HALVES_STAR };
enum { TR_FOR_NOTHING, TR_FOR_VIEWING, TR_FOR_DENOISING, TR_FOR_AVERAGING };

typedef struct tr_options {
    /* files */
    const char *input;            /* --input, or the positional SERIES */
    const char *output;           /* -o */
    const char *tilts;            /* -t */
    const char *xtilts;           /* --xtilts */
    const char *transforms;       /* --transforms */
    const char *zfactors, *local; /* --z-factors, --local; "none": not that of a file */
    double local_scale;           /* --local-scale; 0: not given */
    const char *ctf;              /* --ctf; of whose CTF more is in `views` */
    const char *ctf_band;         /* --ctf-band: a phase in radians, or "off" */
    bool check_hand;              /* --check-hand */
    const char *check_alignment;  /* --check-alignment; NULL: not given */
    bool ctf_again;               /* --ctf-again: whatever the header says */
    bool aligned;                 /* --aligned: whatever lies beside the series */
    const char *initial;          /* --initial */
    const char *imod_com;         /* --imod-com */
    const char *tomo_name;        /* --tomo-name */
    tr_words half_sets; /* --half-sets: a TR_HALVES_..., and the series of frames */
    long splits;        /* parts into which --half-sets views divides the views */
    tr_words purpose;   /* --for: a TR_FOR_... */
    /* --second, --second-match, ...: NULL, or 0, where not given */
    const char *second, *second_match, *second_tilts, *second_transforms, *second_com,
        *second_ctf;
    double second_scale;
    /* geometry; lengths in unbinned pixels, angles in degrees */
    long thickness, width;  /* 0: not given */
    bool find_axis;         /* --find-axis: axis_shift from the views */
    bool stitch;            /* --stitch: views half a turn apart to one */
    double size[2];         /* --size: columns and rows of the views once aligned */
    double alignment_pixel; /* --alignment-pixel, angstroms; 0: not given */
    double pixel;           /* --pixel, angstroms; 0: not given */
    int hand;               /* --hand: 1: -1 */
    double tilt_offset, axis_shift, pitch, x_shift, z_shift;
    const char *exclude, *include;
    long slices[2]; /* first and last output slice, both included; -1: all */
    /* data */
    tr_view_params views; /* --bin, --log, --invert, --dose-model, --ctf-mode ... */
    const char *flats;    /* --flats: one file, or two with a comma between */
    const char *darks;    /* --darks */
    const char *stripes;  /* --stripes, as tr_stripes_parse takes it; NULL: none */
    bool no_flats;        /* --no-flats: not even those of the series' file */
    const char *dose;     /* --dose; NULL: not given */
    int dose_type;        /* a tr_dose_type */
    double dose_initial;  /* e/A^2 */
    const char *dose_order;
    double scale[2];         /* ADD, MUL: written value = (value + ADD) * MUL */
    int mode, order, format; /* a TR_MODE_..., TR_ORDER_..., TR_OUTPUT_... */
    long deflate;            /* HDF5 only */
    bool align;              /* --align */
    double axis_angle;       /* degrees from y, for that */
    bool zarr;               /* --zarr: a store beside it */
    int zarr_version;        /* 0: 2, 1: 3 */
    long zarr_chunk;         /* 0: as memory allows */
    bool verify;
    /* the run */
    const char *algorithm;      /* -a, default "WBP" */
    long threads;               /* 0: cores / ranks on this machine */
    size_t memory;              /* bytes per process; 0: half of RAM / ranks on it */
    const char *timeline;       /* --timeline FILE */
    const char *report;         /* --report FILE */
    const char *json;           /* --json FILE */
    const char *relion_star;    /* --relion-star FILE */
    const char *alignment_json; /* --write-alignment FILE */
    const char *try_what;       /* --try; NULL: not given */
    const char *residual_of;    /* --residual-of: compared, not made; NULL: not given */
    const char *batch;          /* --batch LIST; the run of one series has none */
    long ranks_per_series;
    int outside;       /* a tr_outside_choice */
    double checkpoint; /* minutes; 0: never */
    bool preview, resume;
    bool dry_run, quiet, verbose, version, help;
    /* hidden from --help: print the generated pages, or the completion for a shell */
    bool man, markdown;
    int completion; /* a tr_shell */
} tr_options;

extern const tr_option tr_common_options[];
extern const size_t tr_n_common_options;

/* Where volumes are that exceed a device's memory. */
typedef enum tr_device_memory { TR_DEVICE_PLANES, TR_DEVICE_MANAGED } tr_device_memory;

/* Of programs that compute on a device. */
typedef struct tr_device_options {
    const char *devices; /* --device */
    int kernel;          /* a tr_kernel */
    int memory;          /* --device-memory: a tr_device_memory */
} tr_device_options;

extern const tr_option tr_device_option_rows[];
extern const size_t tr_n_device_options;

/* Rewrite upstream TiltRec's composite options into ours: --method NAME[,ITER[,RELAX]]
 * becomes -a NAME -i ITER -r RELAX; --geometry OFFSET,PITCH,ZSHIFT,THICKNESS becomes the
 * four options; --tiltfile FILE becomes --tilts FILE; --f2b becomes --mode byte; and
 * "-i something.mrc" (a value that is not a number) is TR_ERR_USAGE saying that -i is
 * iterations here and to use --input. The new argument vector is NULL-terminated and,
 * with its strings, freed by tr_arguments_free. */
TR_CHECKED tr_status tr_arguments_rewrite(int argc, char *const *argv, int *new_argc,
                                          char ***new_argv);
void tr_arguments_free(char **argv);

/* The value of -a/--algorithm in argv before anything else is parsed (the last one
 * given), or NULL: it decides which algorithm's rows are known. */
const char *tr_arguments_algorithm(int argc, char *const *argv);

/* Whether argv asks for help: -h, --help or --help=TOPIC before any "--". *topic is what
 * follows, or NULL; it points into argv. */
bool tr_help_asked(int argc, char *const *argv, const char **topic);

#endif
