/* --relion-star: the row of RELION's tomograms.star that is about the tomogram made. */
#ifndef TR_RELION_STAR_H
#define TR_RELION_STAR_H

#include "common/run/run.h"

/* Before the run, where the option is given: that all can be written which RELION needs,
 * and that the tomogram is where RELION takes it to be. TR_ERR_USAGE where it is not;
 * TR_ERR_DATA where something is missing, or the file is not one to be added to. */
TR_CHECKED tr_status tr_relion_star_check(const tr_run *run);

/* The row is put into the file, or takes the place of that of the same name, and halves
 * are named as well. Others that write the file are waited for, for a minute. After the
 * tomograms have their names; by one process. */
TR_CHECKED tr_status tr_relion_star_write(const tr_run *run);

#endif
