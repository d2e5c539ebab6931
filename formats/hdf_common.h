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

/* The angles in /exchange/theta, if there are any, into info, in degrees. Errors:
 * damage. Angles that cannot be those of the views are none, and info->tilts_note says
 * why. */
TR_CHECKED tr_status tr_hdf_read_theta(const char *path, hid_t file, uint64_t file_bytes,
                                       tr_image_info *info);

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
