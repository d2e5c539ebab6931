/* The MRC header's layout, shared by mrc.c (reading, and what is known of the format) and
 * mrc_write.c. */
#ifndef TR_MRC_HEADER_H
#define TR_MRC_HEADER_H

#include "formats/format.h"

enum {
    MRC_HEADER_BYTES = 1024,
    IMOD_STAMP = 1146047817,
    SIGNED_BYTES = 1,
    INVERTED_ORIGIN = 4,
    PACKED_BYTES = 16,
    CTF_CORRECTED = 32,
    MODE_BYTE = 0,
    MODE_UINT4 = 101
};

/* Byte offsets of the header's fields. */
enum {
    AT_SIZE = 0,
    AT_MODE = 12,
    AT_GRID = 28,
    AT_CELL = 40,
    AT_CELL_ANGLES = 52,
    AT_AXES = 64,
    AT_MIN = 76,
    AT_MAX = 80,
    AT_MEAN = 84,
    AT_SPACE_GROUP = 88,
    AT_EXTENDED_BYTES = 92,
    AT_EXTENDED_TYPE = 104,
    AT_VERSION = 108,
    AT_INTEGERS = 128,
    AT_REALS = 130,
    AT_IMOD_STAMP = 152,
    AT_IMOD_FLAGS = 156,
    AT_ORIGIN = 196,
    AT_MAP = 208,
    AT_MACHINE_STAMP = 212,
    AT_RMS = 216,
    AT_N_LABELS = 220,
    AT_LABELS = 224
};

/* The modes that exist; `unsupported` says what a mode that is not read holds. */
typedef struct tr_mrc_mode {
    int mode;
    tr_type type;
    const char *unsupported;
} tr_mrc_mode;

/* The row for an MRC mode; NULL for an unknown one. */
const tr_mrc_mode *tr_mrc_find_mode(int mode);
/* The row for a sample type, NULL for TR_UINT8, which MRC2014 does not have. */
const tr_mrc_mode *tr_mrc_mode_of(tr_type type);

/* The bytes of a file of this size with `extended` bytes of extended header; UINT64_MAX
 * when they cannot be counted in 64 bits. */
uint64_t tr_mrc_file_bytes(const tr_mrc_mode *mode, uint64_t nx, uint64_t ny, uint64_t nz,
                           uint64_t extended);
/* Rows of 4-bit samples begin at a byte. */
uint64_t tr_mrc_row_bytes(const tr_mrc_mode *mode, uint64_t nx);

tr_status tr_mrc_create(const char *path, const tr_volume_spec *spec,
                        uint64_t **section_offset);
tr_status tr_mrc_finish(const char *path, const tr_volume_spec *spec,
                        const tr_statistics *statistics, int deflate);

#endif
