/* Writing JSON (RFC 8259): commas and indentation are put in here, strings are escaped,
 * bytes that are no UTF-8 become U+FFFD, numbers that are not finite null. */
#ifndef TR_JSON_H
#define TR_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { TR_JSON_DEPTH = 8 };

typedef struct tr_json {
    FILE *out;
    int depth;
    bool any[TR_JSON_DEPTH]; /* something stands in this object or array already */
} tr_json;

/* Every value has a name within an object, and NULL within an array or at the top.
 * `bracket` is '{' or '['; close writes the matching one. */
void tr_json_open(tr_json *j, const char *name, char bracket);
void tr_json_close(tr_json *j, char bracket);
void tr_json_string(tr_json *j, const char *name, const char *text); /* NULL: null */
void tr_json_number(tr_json *j, const char *name, double value);
void tr_json_integer(tr_json *j, const char *name, long long value);
void tr_json_bool(tr_json *j, const char *name, bool value);
void tr_json_null(tr_json *j, const char *name);

/* The length of the UTF-8 character at text (1 to 4), or 0 where there is none. */
size_t tr_utf8_length(const char *text);

#endif
