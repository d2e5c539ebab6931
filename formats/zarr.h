/* Writing OME-Zarr: a folder with an image at several sizes (NGFF 0.4 in Zarr 2, or 0.5
 * in Zarr 3), each of them an array of chunks, which are files. Whoever makes a chunk
 * writes it, in any order; nothing is shared between chunks.
 *
 * Axes are z, y, x; chunks at the upper ends are padded with 0 to their full size. Level
 * l + 1 has half the voxels of level l on each axis, rounded up. Lengths in angstroms.
 * Sources: NGFF specifications 0.4 and 0.5, Zarr specifications 2 and 3. */
#ifndef TR_ZARR_H
#define TR_ZARR_H

#include "formats/format.h"

enum { TR_ZARR_LEVELS = 3 };

typedef enum tr_zarr_packing {
    TR_ZARR_BLOSC,
    TR_ZARR_ZLIB,
    TR_ZARR_PLAIN
} tr_zarr_packing;

/* The best that this build can. */
tr_zarr_packing tr_zarr_best_packing(void);
/* "blosc (lz4)" ... */
const char *tr_zarr_packing_name(tr_zarr_packing packing);

typedef struct tr_zarr {
    size_t size[3];  /* z, y, x of level 0 */
    size_t chunk[3]; /* of every level */
    tr_type type;    /* one that can be written */
    double voxel;
    int version; /* of Zarr: 2 or 3 */
    tr_zarr_packing packing;
    size_t n_labels; /* free text that goes with it */
    const char (*labels)[TR_LABEL_LENGTH + 1];
} tr_zarr;

/* Voxels of a level. */
void tr_zarr_level_size(const tr_zarr *zarr, int level, size_t size[3]);

/* Make the folder, which may be there, with the description of its arrays. *same: an
 * equal description was there already, and chunks beside it are those of this one. Errors
 * (TR_ERR_DATA) name the file. */
TR_CHECKED tr_status tr_zarr_begin(const char *folder, const tr_zarr *zarr, bool *same);

bool tr_zarr_has_chunk(const char *folder, const tr_zarr *zarr, int level,
                       const size_t chunk[3]);

/* Bytes that tr_zarr_write_chunk needs to work in. */
size_t tr_zarr_room(const tr_zarr *zarr);
/* Write a chunk from values[z][y][x], all of it, converted to the type; it has its name
 * when it is on the disk. From any thread with a room of its own. */
TR_CHECKED tr_status tr_zarr_write_chunk(const char *folder, const tr_zarr *zarr,
                                         int level, const size_t chunk[3],
                                         const float *values, void *room);

/* Whether this folder is a Zarr store. */
bool tr_zarr_is_store(const char *folder);

#endif
