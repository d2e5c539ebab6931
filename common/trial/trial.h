/* --try: thin slabs instead of a tomogram, to find the geometry with; see trial_figure.h
 * for what is measured and why. */
#ifndef TR_TRIAL_RUN_H
#define TR_TRIAL_RUN_H

#include "common/base/comm.h"
#include "common/base/err.h"

struct tr_run;

/* Reconstruct the slabs, print the figures and what they suggest, write the contact
 * sheet to run->volumes[0].job.output_spec.path. After tr_run_series; collective, though
 * the trials are shared out over the processes and each is made by one alone. Errors:
 * those of the reconstruction and of the sheet; TR_ERR_USAGE where there are too few
 * slices. */
TR_CHECKED tr_status tr_trial_run(const struct tr_run *run, tr_comm *comm);

#endif
