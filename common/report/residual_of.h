/* --residual-of: how well a volume, from wherever it is, explains the views. */
#ifndef TR_RESIDUAL_OF_H
#define TR_RESIDUAL_OF_H

#include "common/report/result.h"

/* Projects the volume of --residual-of through the geometry of the run, every pixel of
 * every view, and compares with the views b as a reconstruction with these options would
 * have got them. With p = A x of the volume without its typical density, one scale a for
 * all views and one offset c_k for each are fitted by least squares over the pixels whose
 * ray goes through all of the thickness within the volume (where those are few, whose ray
 * meets its middle plane). Written are the images b - a p - c_k, 0 at other pixels, to
 * the run's output, a table beside it (.csv), and the JSON file. The log has the table.
 * Collective, though rank 0 does the work. Errors: TR_ERR_DATA where the volume's sizes
 * are not the tomogram's; memory; the files'. */
TR_CHECKED tr_status tr_residual_of(tr_run *run, tr_comm *comm, tr_result *r);

#endif
