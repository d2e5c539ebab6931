/* A finished tomogram as OME-Zarr: the same voxels in chunks, and smaller by averages of
 * 2 x 2 x 2, read and written piece by piece. */
#ifndef TR_PYRAMID_H
#define TR_PYRAMID_H

#include "common/base/comm.h"
#include "formats/zarr.h"

/* What is asked for of a store; all 0: none. */
typedef struct tr_pyramid_spec {
    char *folder;  /* its name; NULL: none */
    int version;   /* of Zarr: 2 or 3 */
    size_t chunk;  /* its side; 0: 256, or less where memory is short */
    size_t memory; /* bytes that each process may use */
} tr_pyramid_spec;

/* Make the store of the tomogram in the file `path`, whose sections are z, the first one
 * the lowest, in order xyz, and y otherwise, then with rows of z from the top. It is made
 * in `folder`; with `kept`, chunks that are there already are left as they are if they
 * belong to an equal store. `volume` is what the file was written to. Voxels of float16
 * become float32, which all viewers read; other types stay.
 *
 * Averages are over the voxels there are, in double, of values as they are in the file.
 * Processes and threads share out cubes of 4 x 4 x 4 chunks; the files do not depend on
 * how. Errors: the disk (TR_ERR_DATA), memory too small for a chunk (TR_ERR_MEMORY).
 * Collective. */
TR_CHECKED tr_status tr_pyramid_write(tr_comm *comm, const char *path,
                                      const tr_volume_spec *volume, bool xyz,
                                      const tr_pyramid_spec *spec, const char *folder,
                                      int threads, bool kept);

/* Whether that will be possible in the memory: TR_ERR_MEMORY, with what would help. */
TR_CHECKED tr_status tr_pyramid_check(const tr_volume_spec *volume, bool xyz,
                                      const tr_pyramid_spec *spec);

/* The store gets its name: what had it, a store as well, is renamed to `aside`, to be
 * removed afterwards. Nothing has changed after an error. */
TR_CHECKED tr_status tr_store_publish(const char *made, const char *name,
                                      const char *aside);
/* Back again. */
void tr_store_take_back(const char *made, const char *name, const char *aside);

/* Remove a folder with all that is in it; what is not there is fine. Links are not
 * followed. */
TR_CHECKED tr_status tr_folder_remove(const char *folder);

#endif
