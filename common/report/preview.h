/* --preview: the three central sections beside the tomogram, as PNG. */
#ifndef TR_PREVIEW_H
#define TR_PREVIEW_H

#include "common/tomogram/output.h"

/* Write them for the finished tomogram, under the names of tr_preview_path; contrast from
 * percentiles of each section, no side above 2048 pixels. Says what was written. */
TR_CHECKED tr_status tr_preview_write(const tr_output_spec *spec);

#endif
