/* --preview: the three central sections beside the tomogram, as PNG. */
#ifndef TR_PREVIEW_H
#define TR_PREVIEW_H

#include "common/tomogram/output.h"

/* The names of the pictures of a tomogram: without its extension, with _xy.png, _xz.png
 * and _yz.png; each from malloc, NULL when memory is short. */
char *tr_preview_path(const char *output, int k);

/* Write them for the finished tomogram; contrast from percentiles of each section, no
 * side above 2048 pixels. Says what was written. */
TR_CHECKED tr_status tr_preview_write(const tr_output_spec *spec);

#endif
