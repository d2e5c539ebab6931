#include "common/report/json.h"

#include <math.h>
#include <string.h>

size_t tr_utf8_length(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if (n < 2 || c[0] > 0xf4)
        return n < 2 ? n : 0;
    uint32_t code = c[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (c[i] & 0x3fu);
    }
    bool good = code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return good ? n : 0;
}

static void print_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (const char *c = text; *c;) {
        size_t n = tr_utf8_length(c);
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (n == 1 && ((unsigned char)*c < ' ' || *c == 127))
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)*c);
        else
            (void)fwrite(c, 1, n, out);
        c += n ? n : 1;
    }
    fputc('"', out);
}

static void begin_value(tr_json *j, const char *name)
{
    if (j->depth > 0) {
        fputs(j->any[j->depth] ? ",\n" : "\n", j->out);
        fprintf(j->out, "%*s", 2 * j->depth, "");
    }
    j->any[j->depth] = true;
    if (name) {
        print_text(j->out, name);
        fputs(": ", j->out);
    }
}

void tr_json_open(tr_json *j, const char *name, char bracket)
{
    begin_value(j, name);
    fputc(bracket, j->out);
    j->any[++j->depth] = false;
}

void tr_json_close(tr_json *j, char bracket)
{
    bool any = j->any[j->depth--];
    if (any)
        fprintf(j->out, "\n%*s", 2 * j->depth, "");
    fputc(bracket, j->out);
    if (j->depth == 0)
        fputc('\n', j->out);
}

void tr_json_string(tr_json *j, const char *name, const char *text)
{
    begin_value(j, name);
    if (text)
        print_text(j->out, text);
    else
        fputs("null", j->out);
}

void tr_json_number(tr_json *j, const char *name, double value)
{
    begin_value(j, name);
    if (isfinite(value))
        fprintf(j->out, "%.9g", value);
    else
        fputs("null", j->out);
}

void tr_json_integer(tr_json *j, const char *name, long long value)
{
    begin_value(j, name);
    fprintf(j->out, "%lld", value);
}

void tr_json_bool(tr_json *j, const char *name, bool value)
{
    begin_value(j, name);
    fputs(value ? "true" : "false", j->out);
}

void tr_json_null(tr_json *j, const char *name) { tr_json_string(j, name, NULL); }
