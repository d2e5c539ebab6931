/* What reading (tiff.c) and writing (tiff_write.c) TIFF share. */
#ifndef TR_TIFF_COMMON_H
#define TR_TIFF_COMMON_H

#include "formats/format.h"

tr_status tr_tiff_create(const char *path, const tr_volume_spec *spec,
                         uint64_t **section_offset);
tr_status tr_tiff_finish(const char *path, const tr_volume_spec *spec,
                         const tr_statistics *statistics, int deflate);

#endif
