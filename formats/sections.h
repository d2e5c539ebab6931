/* An image whose sections lie in files of their own, for the formats that are a list of
 * such: folder.c, star_series.c. One file is open at a time, and only while it is read.
 */
#ifndef TR_SECTIONS_H
#define TR_SECTIONS_H

#include "formats/format.h"

typedef struct tr_sections {
    const char *path; /* the image's, the caller's */
    bool folder;      /* it is one; else a STAR file */
    size_t n;
    char **name;     /* [n]; in an array from malloc, as each name is */
    size_t *section; /* [n], of that file, from 1; 0: it has no other. NULL: all are 0 */
} tr_sections;

/* Looks at every file once; *info gets size, type and pixel. Errors (TR_ERR_DATA): one
 * cannot be opened, lacks the section, has another size or type than the first. */
TR_CHECKED tr_status tr_sections_look(const tr_sections *s, tr_image_info *info);
void tr_sections_free(tr_sections *s); /* and s itself, which is from malloc */

/* For a tr_format, whose state is a tr_sections. */
TR_CHECKED tr_status tr_sections_read(void *state, const tr_image_info *info,
                                      size_t section, size_t y0, size_t ny, size_t x0,
                                      size_t nx, float *out);
void tr_sections_close(void *state);
/* The latest of the files' last writes, and the bytes of all. */
void tr_sections_stamp(const void *state, tr_file_stamp *stamp);

#endif
