/* What reading (hdf.c) and writing (hdf_write.c) HDF5 share. The serial library is not
 * safe in threads: every use of it lies between tr_hdf_enter and tr_hdf_leave. */
#ifndef TR_HDF_COMMON_H
#define TR_HDF_COMMON_H

#include <hdf5.h>

#include "formats/format.h"

/* Take the lock, and keep HDF5 from printing its errors. */
void tr_hdf_enter(void);
void tr_hdf_leave(void);

/* TR_ERR_DATA: "PATH: SENTENCE (HDF5: its reason)", or that a link to another file was
 * met. The library forgets its reason at the next call of it, even one that closes
 * something. */
tr_status tr_hdf_fail(const char *path, const char *format, ...) TR_PRINTF(2, 3);

/* Whether a link to another file was met since tr_hdf_enter. Such links are never
 * followed, wherever they are on the way to an object; tr_hdf_fail names it. */
bool tr_hdf_met_link(void);

/* hdf_storage.c: whether the dataset `name` of `samples` samples is whole, and in the
 * file of file_bytes itself; errors (TR_ERR_DATA) for samples that are missing or in
 * other files, and for chunks that no such file can hold. *chunk_bytes, unless NULL,
 * becomes the bytes of one chunk unpacked; 0: there are none. */
TR_CHECKED tr_status tr_hdf_check_storage(const char *path, const char *name,
                                          hid_t dataset, uint64_t samples,
                                          uint64_t file_bytes, uint64_t *chunk_bytes);

/* Errors (TR_ERR_DATA) for a dataset packed by filters that this library does not have
 * and finds no plugin for; the sentence names them and what provides them. */
TR_CHECKED tr_status tr_hdf_check_filters(const char *path, const char *name,
                                          hid_t dataset);

/* The text of an attribute, cut to `size` bytes with the final 0; false if it is not
 * there, or no single text. */
bool tr_hdf_text(hid_t object, const char *name, char *out, size_t size);
/* The attribute, to be closed, if it holds one number or, if asked, one text; or -1. */
hid_t tr_hdf_open_attribute(hid_t object, const char *name, bool text);

/* A dataset of the angles of n_all images, of which the views are views[0], views[1],
 * ... [nz - 1]; NULL: all in their order. */
typedef struct tr_hdf_angles {
    const char *name;
    size_t n_all;
    const size_t *views;
} tr_hdf_angles;

/* The angles, if there are any, into info, in degrees. Errors: damage. Angles that cannot
 * be those of the views are none, and info->tilts_note says why. */
TR_CHECKED tr_status tr_hdf_read_angles(const char *path, hid_t file, uint64_t file_bytes,
                                        const tr_hdf_angles *angles, tr_image_info *info);

/* An open file for reading. */
typedef struct tr_hdf {
    const char *path; /* the image's */
    uint64_t file_bytes;
    hid_t file;
    hid_t dataset; /* of a volume; -1 for a stack, whose images are opened when read:
                      an open dataset may hold a cache of its own */
    float *scale, *shift; /* value = raw * scale + shift, per image of a stack, or one */
    /* Which sections of `dataset` are views, and which the fields in theirs; NULL: all.
     */
    size_t *views;
    struct {
        hid_t dataset; /* or -1 */
        size_t *sections;
    } field[TR_FIELDS];
} tr_hdf;

/* Size x, y, z, type and presence of a dataset of rank 2 or 3; z is 1 for rank 2.
 * *chunk_bytes grows to the bytes of a chunk. Errors: TR_ERR_DATA. */
TR_CHECKED tr_status tr_hdf_inspect(const tr_hdf *hdf, const char *name, hid_t dataset,
                                    size_t size[3], tr_type *type, size_t *chunk_bytes);

/* hdf_fields.c: the layouts of transmission tomography, with flat and dark fields: that
 * of TomoPy and DXchange, which is /exchange/data, and NXtomo. *found becomes whether it
 * is one of them, which is opened. */
TR_CHECKED tr_status tr_hdf_open_scan(tr_hdf *hdf, tr_image_info *info, bool *found);

/* File access properties (not to be closed) without file locks, which network file
 * systems often refuse. */
hid_t tr_hdf_access(void);
/* The same for reading a file that has lost its name, as /dev/fd/N. */
hid_t tr_hdf_nameless_access(void);

tr_status tr_hdf_create(const char *path, const tr_volume_spec *spec,
                        uint64_t **section_offset);
tr_status tr_hdf_finish(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate);

#endif
