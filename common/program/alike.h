/* What all processes of a run must have alike, compared before they work together: a
 * machine may have been given other options, or have another file by the same name. All
 * collective; TR_ERR_USAGE on every rank, with what differs. */
#ifndef TR_ALIKE_H
#define TR_ALIKE_H

#include "common/run/run.h"

/* Program, version and arguments. */
TR_CHECKED tr_status tr_alike_command(tr_comm *comm, const tr_program *program, int argc,
                                      char **argv);
/* After tr_run_files: of each series and the initial volume the size and samples of the
 * bytes, at both ends and between; and angles, transforms and sizes. */
TR_CHECKED tr_status tr_alike_files(tr_comm *comm, const tr_run *run);
/* After tr_run_series: the rest of what the voxels depend on. */
TR_CHECKED tr_status tr_alike_runs(tr_comm *comm, const tr_run *run);

#endif
