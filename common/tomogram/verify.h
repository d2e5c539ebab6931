/* Whether the tomogram on the disk is what was written: all of it at the end with
 * --verify, and what an earlier run wrote before --resume goes on from it.
 *
 * The checksum of a slice is the sum, modulo 2^32, of the lower half of the XXH3 of each
 * of its lines along x, with the line's number as the seed. A sum depends neither on the
 * order in which the lines come nor on the process that has them, so it is the same
 * whatever the file's order of axes, its format and its compression. The samples are
 * those that a reader gets: float32, decoded from the file's type. */
#ifndef TR_VERIFY_H
#define TR_VERIFY_H

#include "formats/format.h"
#include "common/base/comm.h"
#include "common/tomogram/statistics.h"

/* How slices lie in the file: sections[slice] of [thickness][width] or, in order xyz,
 * sections[thickness - 1 - line] of [slice][width]. */
typedef struct tr_verify_layout {
    size_t width, thickness, n_slices;
    bool xyz;
} tr_verify_layout;

/* What a line adds to the checksum of its slice, modulo 2^32. */
uint32_t tr_verify_line(size_t number, const float *line, size_t width);

/* Checksums are doubles, which ranks can add up. */

/* Add n rows of a section, rows[n][width] from row y, to checks[n_slices]. */
void tr_verify_add(const tr_verify_layout *layout, size_t section, size_t y, size_t n,
                   const float *rows, double *checks);

/* `found`, of which each rank has the lines that it read and which are added up over the
 * ranks here, against `written`, of which each has all. `name` is the file's for the
 * sentence of the error (TR_ERR_DATA), on every rank. Collective. */
TR_CHECKED tr_status tr_verify_compare(tr_comm *comm, const char *name, double *found,
                                       const tr_slice_sums *written, size_t n_slices);
/* Two that were added up over the ranks. */
bool tr_verify_same(double a, double b);

/* Read the file `path` from the disk, not from the memory that the system keeps of it,
 * and compare its header with the volume's and its slices with `written`, as above.
 * `name` is its final name. Collective; each rank reads its share of the sections. */
TR_CHECKED tr_status tr_verify_file(tr_comm *comm, const char *path, const char *name,
                                    const tr_verify_layout *layout,
                                    const tr_volume_spec *volume,
                                    const tr_statistics *statistics,
                                    const tr_slice_sums *written);

#endif
