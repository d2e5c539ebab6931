#include "common/report/html.h"

#include <stdarg.h>

#include "common/report/json.h"

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void tr_html_text(FILE *out, const char *text)
{
    for (const char *c = text; *c;) {
        size_t n = tr_utf8_length(c);
        if (entity(*c))
            fputs(entity(*c), out);
        else if (n == 0)
            fputs("\xef\xbf\xbd", out);
        else if (n == 1 && ((unsigned char)*c < ' ' || *c == 127))
            fprintf(out, "\\x%02x", (unsigned)(unsigned char)*c);
        else
            (void)fwrite(c, 1, n, out);
        c += n ? n : 1;
    }
}

void tr_html_print(FILE *out, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tr_html_text(out, text);
}

void tr_html_base64(FILE *out, const uint8_t *bytes, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t three = (uint32_t)bytes[i] << 16 |
                         (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? (uint32_t)bytes[i + 2] : 0);
        char four[4];
        for (int k = 0; k < 4; k++)
            four[k] = digits[three >> (18 - 6 * k) & 63];
        if (left < 3)
            four[3] = '=';
        if (left < 2)
            four[2] = '=';
        (void)fwrite(four, 1, sizeof four, out);
    }
}
