/* Image files behind one table: a stack of projections or a volume, whatever the
 * format. The format is recognised by content, never by the file's name.
 *
 * Sizes: nx columns, ny rows, nz sections (views of a series, planes of a volume);
 * a section is stored row by row from y = 0. Lengths are in angstroms. */
#ifndef TR_FORMAT_H
#define TR_FORMAT_H

#include <stdint.h>
#include <sys/types.h>

#include "common/base/err.h"
#include "formats/stitch.h"

typedef enum tr_type {
    TR_INT8,
    TR_UINT8,
    TR_INT16,
    TR_UINT16,
    TR_FLOAT32,
    TR_FLOAT16,
    /* read only */
    TR_UINT4, /* two per byte */
    TR_INT32,
    TR_UINT32,
    TR_INT64,
    TR_UINT64,
    TR_FLOAT64
} tr_type;

/* Whether it can be written. */
static inline bool tr_type_is_written(tr_type type) { return type < TR_UINT4; }
/* Bytes per sample of a type that can be written; 0 for the others. */
size_t tr_type_size(tr_type type);
const char *tr_type_name(tr_type type); /* "int16", "float16" ... */

enum { TR_LABELS = 10, TR_LABEL_LENGTH = 80 };

/* Images of the detector without a beam, and of the beam without a specimen. */
typedef enum tr_field { TR_DARK, TR_FLAT, TR_FIELDS } tr_field;

typedef struct tr_image_info {
    const char *format; /* "MRC", "HDF5" */
    size_t nx, ny, nz;
    tr_type type;               /* of the samples in the file */
    bool compressed;            /* gzip: read through an unlinked temporary file */
    double pixel[3];            /* x, y, z; 0 where the header gives none */
    double origin[3];           /* in IMOD's sign: coordinate = index * pixel - origin */
    double min, max, mean, rms; /* as the header says; may be nonsense */
    size_t n_labels;
    char labels[TR_LABELS][TR_LABEL_LENGTH + 1];
    size_t chunk_bytes; /* what is unpacked as a whole to read any part; 0: nothing is */
    bool ctf_corrected; /* as IMOD's header flag says */
    size_t n_fields[TR_FIELDS]; /* images of these kinds beside the views, */
    size_t flats_before;        /* so many of the flat fields before the first view */
    size_t n_tilts;             /* angles found inside the file: 0, or nz */
    double *tilts;              /* degrees, owned by the image; NULL when n_tilts is 0 */
    /* A sentence, or "": of angles, what was done to them while they were read; where
     * there are none, why those in the file cannot be taken. */
    char tilts_note[256];
} tr_image_info;

/* For the formats: control characters in a label become blanks, and those at its end go.
 */
void tr_clean_label(char *label);

typedef struct tr_image tr_image;

/* Open an image for reading. Errors (TR_ERR_DATA, one sentence naming the file, the
 * value and what would be right): missing, unreadable, a directory, empty, text or of
 * no known format; header sizes that are zero, negative or larger than the file; a
 * mode that is not supported (complex by name); axes not in the order x, y, z;
 * damaged gzip or HDF5. *image is freed by tr_image_close. */
TR_CHECKED tr_status tr_image_open(const char *path, tr_image **image);
/* The same; for others than all frames it must be a STAR file of RELION, which names the
 * images that were made of every second frame. */
typedef enum tr_frames { TR_ALL_FRAMES, TR_EVEN_FRAMES, TR_ODD_FRAMES } tr_frames;
TR_CHECKED tr_status tr_image_open_frames(const char *path, tr_frames frames,
                                          tr_image **image);
/* The same for what is one file; folders and STAR files are errors. */
TR_CHECKED tr_status tr_image_open_file(const char *path, tr_image **image);
void tr_image_close(tr_image *image); /* NULL is fine */
const tr_image_info *tr_image_get_info(const tr_image *image);

/* Of an open file: after it has been written to, one of these is another. */
typedef struct tr_file_stamp {
    int64_t seconds, nanoseconds; /* of the last write, since 1970 */
    uint64_t bytes;
} tr_file_stamp;
void tr_image_stamp(const tr_image *image, tr_file_stamp *stamp);
static inline bool tr_file_stamp_same(const tr_file_stamp *a, const tr_file_stamp *b)
{
    return a->seconds == b->seconds && a->nanoseconds == b->nanoseconds &&
           a->bytes == b->bytes;
}
const char *tr_image_path(const tr_image *image);

/* Read the rectangle of nx columns from x0 and ny rows from y0 of one section into
 * out[ny][nx] as float32, reading no more of the file than those rows' spans. The
 * rectangle must lie inside the section. May be called from several threads. */
TR_CHECKED tr_status tr_image_read(tr_image *image, size_t section, size_t y0, size_t ny,
                                   size_t x0, size_t nx, float *out);

/* ny rows from y0 of image k of a kind that info->n_fields counts, as tr_image_read. */
TR_CHECKED tr_status tr_image_read_field(tr_image *image, tr_field kind, size_t k,
                                         size_t y0, size_t ny, float *out);

/* What views are divided by: [ny][nx] each, from malloc. */
typedef struct tr_flat_field {
    float *dark;           /* NULL: 0 */
    float *before, *after; /* flat fields; after the views NULL: as before */
} tr_flat_field;

/* From now on tr_image_read delivers (value - dark) / (flat - dark), for section k of n
 * with the flat field (before (n - 1 - k) + after k) / (n - 1), and NaN where that is not
 * above the dark field. The image frees the fields, also those it has already. */
void tr_image_correct(tr_image *image, const tr_flat_field *field);

/* From now on the image has stitch->width columns, and tr_image_read delivers section k
 * stitched to the mirror image of its other view, others[k] of the nz, which the image
 * frees. Once. */
void tr_image_stitch(tr_image *image, const tr_stitch *stitch, tr_half_turn *others);

/* ---- writing ---- */

typedef struct tr_volume_spec {
    size_t nx, ny, nz;
    tr_type type;
    double pixel;     /* equal on the three axes; 0 when unknown (written as 1) */
    double origin[3]; /* IMOD's sign, as above */
    size_t n_labels;
    char labels[TR_LABELS][TR_LABEL_LENGTH + 1];
} tr_volume_spec;

typedef struct tr_statistics {
    double min, max, mean, rms;
} tr_statistics;
/* rms is the standard deviation about the mean, as MRC2014 defines it */

/* A format; those there are stand in image_list.h. */
typedef struct tr_format {
    const char *name;       /* "MRC", "HDF5" */
    const char *extensions; /* ".mrc .rec .st .ali .map", that select it for output */

    /* A library reads and writes it: it has bookkeeping around its sections, and takes
     * what is behind the end of a file for zeros. */
    bool by_library;

    /* Reading: recognise by the first bytes, then open (fills *info and *state). */
    bool (*probe)(const unsigned char *head, size_t n);
    /* The bytes that the file has to have by its first n bytes, of which probe approved;
     * UINT64_MAX where they do not say. What is packed is unpacked no further. */
    uint64_t (*extent)(const unsigned char *head, size_t n);
    tr_status (*open)(const char *path, int fd, tr_image_info *info, void **state);
    tr_status (*read)(void *state, const tr_image_info *info, size_t section, size_t y0,
                      size_t ny, size_t x0, size_t nx, float *out);
    /* As tr_image_read_field; NULL where there are none. */
    tr_status (*read_field)(void *state, const tr_image_info *info, tr_field kind,
                            size_t k, size_t y0, size_t ny, float *out);
    void (*close)(void *state);
    /* Where it is more than one file; NULL: that of the file. */
    void (*stamp)(const void *state, tr_file_stamp *stamp);

    /* Writing: create the file with every section's place reserved at a known byte
     * offset (section_offset[nz], from malloc, the caller frees it), so that any
     * process can write samples there directly, little-endian, rows from y = 0;
     * finish fills in the statistics and labels when the samples are there. deflate
     * 1..9 repacks the finished file compressed where the format can (HDF5), 0 not. */
    tr_status (*create)(const char *path, const tr_volume_spec *spec,
                        uint64_t **section_offset);
    tr_status (*finish)(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate);
} tr_format;

#define TR_IMAGE_FORMAT(format) extern const tr_format format;
#include "formats/image_list.h"
#undef TR_IMAGE_FORMAT

/* folder.c: not a file, but one image a section in the files of a folder. Read only. */
extern const tr_format tr_folder_of_images;

/* The format in which a file of this name is written: by its extension; NULL, with the
 * sentence set (TR_ERR_USAGE semantics) naming the known extensions, for others. */
const tr_format *tr_format_for_output(const char *path);

/* convert.c: n float samples to the file's type: integers are rounded to nearest and
 * clamped to the type's range, NaN becomes 0; float16 rounds to nearest even and
 * saturates at +-65504. `out` has room for n * tr_type_size(type) bytes and may be
 * `in` itself. */
void tr_convert_from_float(const float *in, size_t n, tr_type type, void *out);
/* The reverse, from little-endian samples in the order of the file; not for types of 4
 * and 8 bytes other than float32, which HDF5 converts itself. */
void tr_convert_to_float(const void *in, size_t n, tr_type type, float *out);

#endif
