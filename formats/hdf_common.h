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

/* Whether the dataset `name` of `samples` samples is whole, and in the file of
 * file_bytes itself; errors (TR_ERR_DATA) for samples that are missing or in other
 * files, and for chunks that no such file can hold. *chunk_bytes, unless NULL, becomes
 * the bytes of one chunk unpacked; 0: there are none. */
TR_CHECKED tr_status tr_hdf_check_storage(const char *path, const char *name,
                                          hid_t dataset, uint64_t samples,
                                          uint64_t file_bytes, uint64_t *chunk_bytes);

/* File access properties (not to be closed) without file locks, which network file
 * systems often refuse. */
hid_t tr_hdf_access(void);

tr_status tr_hdf_create(const char *path, const tr_volume_spec *spec,
                        uint64_t **section_offset);
tr_status tr_hdf_finish(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate);

#endif
