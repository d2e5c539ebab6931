/* What the steps on views are asked to do (common/views/view_step.h), the same for all
 * views: rows of the options' table fill these members, and each step reads its own. */
#ifndef TR_VIEW_PARAMS_H
#define TR_VIEW_PARAMS_H

#include <stdbool.h>

/* Hot and dead pixels. TR_HOT_AUTO is for the run to decide, and like TR_HOT_OFF here. */
enum { TR_HOT_AUTO, TR_HOT_REPLACE, TR_HOT_WARN, TR_HOT_OFF };
enum {
    TR_NORMALIZE_NONE,
    TR_NORMALIZE_MEAN,     /* value -> value - mean */
    TR_NORMALIZE_MEAN_STD, /* value -> (value - mean) / standard deviation */
    TR_NORMALIZE_CONTRAST  /* value -> value / mean - 1 */
};
enum { TR_CTF_FLIP, TR_CTF_MULTIPLY, TR_CTF_WIENER, TR_CTF_MODEL };
enum { TR_HAND_FILE, TR_HAND_PLUS, TR_HAND_MINUS };
typedef enum tr_dose_model { TR_DOSE_GG, TR_DOSE_BFACTOR } tr_dose_model;

typedef struct tr_view_params {
    int hot_pixels; /* a TR_HOT_... */
    bool log;       /* value -> -ln(value + log_base); set where --log is given */
    double log_base;
    int normalize;       /* a TR_NORMALIZE_..., of the view after the logarithm */
    bool invert;         /* value -> -value */
    long bin;            /* Fourier crop by this factor; 1: none */
    bool dose;           /* weights of exposure; set where --dose is given */
    int dose_model;      /* a tr_dose_model */
    double dose_bfactor; /* square angstroms per e/A^2 */
    double voltage;      /* kV; 0: not given, until the files are read */
    bool ctf; /* correct it; set where --ctf is given, and then what is below */
    int ctf_mode;
    /* CTF and exposure are in the operator (common/views/response.h): views stay as they
     * are, but for a background, and their spectra are looked at. */
    bool model;
    double overlap;   /* 1 / (k overlap) of the views show the same of the specimen at k
                         cycles per pixel; 0: one does; set where the geometry is known */
    double cs;        /* millimetres */
    double amplitude; /* contrast, a fraction of 1 */
    int defocus_hand; /* a TR_HAND_... */
    double hand;      /* 1 or -1: by it times its depth the defocus of a voxel is larger
                         (common/geometry/bands.h); set where --ctf is given */
    double ctf_band;  /* phase that half a band of depth may be off, radians; 0: there are
                         no bands; set where --ctf is given */
} tr_view_params;

#endif
