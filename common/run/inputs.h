/* The files that a run reads, and what they say of the views. */
#ifndef TR_INPUTS_H
#define TR_INPUTS_H

#include "common/geometry/local.h"
#include "common/run/command.h"
#include "common/series/rotation_axis.h"
#include "common/series/stripes.h"
#include "common/views/discover.h"
#include "common/views/sidecars.h"
#include "common/views/views.h"
#include "formats/star_series.h"

/* Of --dose: the files that exposures and their order are from, NULL: none, and what the
 * order is known by; e/A^2 at the end of the last view. */
typedef struct tr_dose_facts {
    const char *from, *order_from, *ordered_by;
    double total;
} tr_dose_facts;

/* Of --for, from malloc; NULL: nothing. */
typedef struct tr_purpose {
    const char *name;      /* of the use */
    char *set, *kept;      /* options that it set, and that the user had */
    char *missed;          /* options that it would have set, and why not */
    char *ctf, *halves[2]; /* files that it found */
} tr_purpose;

typedef struct tr_inputs {
    tr_discovery found; /* where no series was named */
    tr_imod_com com;
    bool has_com, com_sirt; /* SIRT is made because the com file asks for it */
    const char *series_path;
    const char *star;  /* of RELION, which leads to the series or is it; NULL: none */
    tr_star_lead lead; /* where it leads to it */
    char *folder;      /* that, where the user wrote a / behind it; or NULL */
    bool aligned;      /* already, as its name, --aligned or the com file says */
    tr_sidecars beside;
    /* Of the command's options or one of those; NULL: the series has the angles itself,
     * or its views are not aligned while they are read. */
    const char *tilts_path, *transforms_path;
    tr_alignment angles;        /* from tilts_path */
    tr_alignment transforms;    /* from transforms_path, if that is another file */
    double thickness;           /* by an alignment, as in tr_alignment; 0: not known */
    bool of_tomogram;           /* as there */
    const char *thickness_from; /* that file */
    tr_image *image;
    double *tilts; /* of all views of the file, degrees; NaN: not known */
    double pixel;  /* angstroms, of the series; 0: nobody says */
    size_t nx, ny; /* of the views once they are aligned, in pixels of the series */
    bool axis_looked_for; /* by the methods of --find-axis */
    tr_axis_found axis_found;
    double stitch_shift; /* of the middle of the views by stitching, in columns */
    bool flat_field; /* the image is divided by one: the views are as they were taken */
    tr_stripes stripes;
    const char *local_path, *zfactors_path; /* NULL: none */
    bool has_local;
    tr_local local; /* then; in pixels after binning */
    tr_dose_facts dose;
    tr_purpose purpose;
    /* Finds the transforms of a series that has none, in `transforms`; NULL: --align is
     * not given. */
    tr_status (*align)(void *data, struct tr_inputs *in, tr_command *c);
    void *align_data;
    char *made;     /* the file of those */
    tr_views views; /* those used; shifts of their transforms in pixels after binning */
} tr_inputs;

/* Find and open the files of the command, to which is added what a tilt.com says and the
 * thickness where none is given. *in is all 0 before but for `align` and its data; freed
 * by tr_inputs_free, also after an error (those of the files' readers; TR_ERR_USAGE). */
TR_CHECKED tr_status tr_inputs_open(tr_inputs *in, tr_command *c);
void tr_inputs_free(tr_inputs *in);

/* inputs_relion.c: where what was named is a STAR file of RELION's, in->star and the
 * series that it leads to. TR_ERR_USAGE for a --tomo-name without one. */
TR_CHECKED tr_status tr_inputs_follow_star(tr_inputs *in, const tr_command *c);

/* inputs_com.c: what in->com says, as options in front of the user's own, for those the
 * user did not give; then parse again. */
TR_CHECKED tr_status tr_inputs_apply_com(tr_inputs *in, tr_command *c);
/* Its SCALE, in IMOD's units, as (value + add) * multiply of our densities. */
TR_CHECKED tr_status tr_inputs_com_scale(const tr_inputs *in, const tr_geometry *g,
                                         double *add, double *multiply);

/* inputs_residual.c: where there is a volume already (--residual-of), its sizes. */
TR_CHECKED tr_status tr_inputs_take_volume(const tr_command *c, tr_options *o);

/* inputs_angles.c: the tilts, and what is read with them, of all views and of the chosen.
 */
TR_CHECKED tr_status tr_inputs_read_tilts(tr_inputs *in);
/* Warnings, and errors where the result could only be nonsense (TR_ERR_DATA). */
TR_CHECKED tr_status tr_inputs_check_angles(const tr_inputs *in, const tr_command *c);
/* The same for their order: beside the header's, other files' of the series' name, and
 * the views themselves as an mdoc describes them. It reads a few views; one rank is
 * enough. */
TR_CHECKED tr_status tr_inputs_check_order(const tr_inputs *in);

/* inputs_alignment.c: weigh the files beside the series, say of each whether it is used,
 * and read those that give angles and transforms. Before views are chosen. */
TR_CHECKED tr_status tr_inputs_read_alignment(tr_inputs *in, const tr_command *c);
/* The series, as a file beside it is asked about it. */
tr_aligned_series tr_inputs_series(const tr_inputs *in, const tr_command *c);
/* The one of the two alignments read that has the transforms, if either has. */
static inline const tr_alignment *tr_inputs_aligning(const tr_inputs *in)
{
    return in->transforms.transforms ? &in->transforms : &in->angles;
}
/* The transforms of the views chosen, if there are any, in pixels of the file. */
TR_CHECKED tr_status tr_inputs_take_transforms(tr_inputs *in, const tr_command *c);

/* Of a series that is aligned already, the alignment of the raw images, if it is beside
 * it: a->transforms, to be freed by tr_alignment_free; NULL where there is none. */
TR_CHECKED tr_status tr_inputs_known_alignment(const tr_inputs *in, const tr_command *c,
                                               tr_alignment *a, const char **path);

/* inputs_local.c: z-factors and local alignment, those of the options that are not
 * "none". After the transforms. */
TR_CHECKED tr_status tr_inputs_read_local(tr_inputs *in, const tr_command *c);

/* inputs_ctf.c: the CTF of the views chosen, from --ctf, and in the command's options
 * what all views share in it. After the transforms. TR_ERR_USAGE where something is
 * missing for it, or the series is corrected already. */
TR_CHECKED tr_status tr_inputs_read_ctf(tr_inputs *in, tr_command *c);

/* purpose.c: what --for sets of the command's options, after the angles and before the
 * CTF. Says so. */
TR_CHECKED tr_status tr_inputs_take_purpose(tr_inputs *in, tr_command *c);
void tr_purpose_free(tr_purpose *purpose);

/* Where no alignment that is used says how thick the specimen is, ask those beside the
 * series, if they are about this one. */
TR_CHECKED tr_status tr_inputs_find_thickness(tr_inputs *in, const tr_command *c);

/* inputs_axis.c: where the mdoc has the tilt axis. A warning where that is not along the
 * images' y and they seem not to be aligned; TR_ERR_USAGE where it is nearer to x. */
TR_CHECKED tr_status tr_inputs_check_axis(const tr_inputs *in);
/* The first mdoc beside the series that has this number, a member of tr_mdoc at that
 * offset, and more than `above`, in *value; NULL: none has. */
const char *tr_inputs_mdoc_says(const tr_inputs *in, size_t member, double above,
                                double *value);

/* inputs_pixel.c: what the option, the header and the files beside say of the size of the
 * pixels, in->pixel, with a warning where they contradict each other. */
/* Before the alignment is read, which may need it: 0 if header, mdoc and option do not
 * say. */
double tr_inputs_own_pixel(const tr_inputs *in, const tr_command *c);
TR_CHECKED tr_status tr_inputs_find_pixel(tr_inputs *in, const tr_command *c);

/* For an option that counts in angstroms: TR_ERR_DATA where nobody says the size, or only
 * the header does, and says 1. */
TR_CHECKED tr_status tr_inputs_need_pixel(const tr_inputs *in, const tr_command *c,
                                          const char *option);

/* Where the series is a subset of larger aligned images (SUBSETSTART with FULLIMAGE), how
 * far their centre, which the tilt axis and the pitch are about, is from the series' own,
 * in pixels along x and y. 0 where views are aligned while they are read: these have the
 * centre of the larger ones. */
void tr_inputs_subset_shift(const tr_inputs *in, double shift[2]);

/* inputs_dose.c: where --dose is given, exposures of the chosen views and before them, as
 * which they were taken, and the voltage; what of it cannot be right is said. Errors:
 * those of the files; no pixel size, no exposure of a view (TR_ERR_DATA); TR_ERR_USAGE.
 */
TR_CHECKED tr_status tr_inputs_take_doses(tr_inputs *in, tr_command *c);

/* inputs_flats.c: the series' flat and dark fields, by which its image is divided from
 * here on, and the logarithm that then is taken. Errors: those of the files;
 * TR_ERR_USAGE. */
TR_CHECKED tr_status tr_inputs_take_flats(tr_inputs *in, tr_command *c);
/* The same file: in->stripes. After the views. TR_ERR_USAGE, also where there are too few
 * of them. */
TR_CHECKED tr_status tr_inputs_check_stripes(tr_inputs *in, const tr_command *c);

/* inputs_find_axis.c: where --find-axis is given, the command's axis shift. TR_ERR_USAGE
 * where there is no such axis, TR_ERR_DATA where it is not found. With --try axis-shift,
 * what the methods find where the views go half round. */
TR_CHECKED tr_status tr_inputs_find_axis(tr_inputs *in, tr_command *c);

/* inputs_stitch.c: where --stitch is given, the image becomes that of stitched views, and
 * the views those of half a turn. After the axis is known. TR_ERR_USAGE. */
TR_CHECKED tr_status tr_inputs_stitch(tr_inputs *in, const tr_command *c);

/* inputs_doubts.c: say what in the files cannot be meant: a pixel size in another unit,
 * transforms that leave little of a view. TR_ERR_DATA where they leave nothing of any.
 * Before shifts are divided by the binning. */
TR_CHECKED tr_status tr_inputs_doubt(const tr_inputs *in);

#endif
