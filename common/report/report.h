/* --report: the page. Its frame, style and script are page.html; what a run found
 * out is put in where the frame says "{{name}}". */
#ifndef TR_REPORT_H
#define TR_REPORT_H

#include <stdio.h>

#include "common/report/result.h"

/* What making the page takes at most, the tomogram's samples in it included. */
#define TR_REPORT_BYTES ((size_t)48 << 20)

/* Write the page. The tomogram is read back from its file. */
TR_CHECKED tr_status tr_report_write(const tr_result *r);

/* ---- its parts ---- */

/* report_pictures.c: the three central sections as pictures, and the smaller volume, in
 * elements that the page's script finds. */
TR_CHECKED tr_status tr_report_pictures(FILE *out, const tr_result *r);

/* report_charts.c */
void tr_report_convergence(FILE *out, const tr_result *r);
void tr_report_views(FILE *out, const tr_result *r);
void tr_report_frc(FILE *out, const tr_result *r);
/* report_spectra.c: of three views, with the zeros of their CTF. Errors: reading,
 * memory. */
TR_CHECKED tr_status tr_report_spectra(FILE *out, const tr_result *r);
/* report_acquisition.c: what the microscope did: brightness, dose, order, defocus of the
 * views. */
void tr_report_acquisition(FILE *out, const tr_result *r);

/* report_alignment.c: what --check-alignment found; nothing without it. */
void tr_report_alignment(FILE *out, const tr_result *r);

/* report_geometry.c */
void tr_report_geometry(FILE *out, const tr_result *r);

/* The frame, made of page.html when the program is built. */
extern const char tr_report_page[];

#endif
