/* The tags of Warp's XML of a tilt series, one after the other: no tree, no entities, no
 * CDATA. */
#ifndef TR_WARP_XML_H
#define TR_WARP_XML_H

#include "formats/text_file.h"

enum { TR_WARP_MOST_TILTS = 4096 };

typedef struct tr_xml_tag {
    const char *name, *end; /* the name; what follows it ends at `end`, a '>' */
    size_t length;          /* of the name */
    bool closing, empty;    /* </NAME>, <NAME/> */
} tr_xml_tag;

/* Whether the file's first tag is <TiltSeries>. */
bool tr_warp_probe(const char *path);

/* The next tag from *at on, which is moved to its end; lines are counted. False: there is
 * none that ends. */
bool tr_xml_next(const char **at, size_t *line, tr_xml_tag *t);
bool tr_xml_is(const tr_xml_tag *t, const char *name);
/* The value of an attribute; false: it has none, or one that is too long or goes on in
 * another line. */
bool tr_xml_attribute(const tr_xml_tag *t, const char *name, char *value, size_t size);
/* The same for a number; errors (TR_ERR_DATA): there is none. */
TR_CHECKED tr_status tr_xml_number(const tr_text *text, const tr_xml_tag *t,
                                   const char *name, double *value);
/* Append the numbers up to the next tag to value[*n], which has room for `most`. Errors
 * (TR_ERR_DATA): more of them, or something else. */
TR_CHECKED tr_status tr_xml_numbers(const tr_text *text, const char *at, size_t most,
                                    double *value, size_t *n);

#endif
