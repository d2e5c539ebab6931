/* The table of all files that a run reads and writes, chosen or derived. */
#ifndef TR_PATHS_H
#define TR_PATHS_H

#include "common/run/reconstruction.h"

/* That no file which the run of these n tomograms writes, nor one that it keeps beside it
 * while it does, is one that it reads or that it writes as something else; also where
 * files are not there yet. TR_ERR_USAGE with the sentence. */
TR_CHECKED tr_status tr_paths_check(const tr_reconstruction *volumes, size_t n);

/* Own all files that it writes, until tr_lock_release_all. By rank 0; the others then
 * `join`. Errors: as tr_lock_take. */
TR_CHECKED tr_status tr_paths_lock(const tr_reconstruction *volumes, size_t n, bool join);

/* Picture k of 0 .. 2 that --preview makes of the tomogram at this path, from malloc. */
enum { TR_PREVIEWS = 3 };
char *tr_preview_path(const char *output, int k);

/* The name of the table beside the images of --residual-of, from malloc. */
char *tr_residual_table(const char *output);

#endif
