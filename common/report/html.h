/* Text and data for a page of HTML. */
#ifndef TR_HTML_H
#define TR_HTML_H

#include <stdint.h>
#include <stdio.h>

/* Text as an element's content or in a quoted attribute: what HTML would take for markup
 * is escaped, bytes that are no UTF-8 become U+FFFD, control characters are spelled out
 * ("\x1b"). */
void tr_html_text(FILE *out, const char *text);

/* printf, the result escaped like that (at most 2047 bytes of it). */
void tr_html_print(FILE *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Base 64 (RFC 4648) on one line. */
void tr_html_base64(FILE *out, const uint8_t *bytes, size_t n);

#endif
