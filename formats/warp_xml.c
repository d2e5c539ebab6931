#include "formats/warp_xml.h"

#include <string.h>

bool tr_xml_next(const char **at, size_t *line, tr_xml_tag *t)
{
    for (;;) {
        for (; **at && **at != '<'; ++*at)
            *line += **at == '\n';
        bool comment = strncmp(*at, "<!--", 4) == 0;
        const char *end = comment ? strstr(*at, "-->") : strchr(*at, '>');
        if (!**at || !end)
            return false;
        const char *name = *at + 1;
        for (; *at < end; ++*at)
            *line += **at == '\n';
        if (comment || *name == '?' || *name == '!')
            continue;
        *t = (tr_xml_tag){.end = end, .closing = *name == '/', .empty = end[-1] == '/'};
        t->name = name + t->closing;
        t->length = strcspn(t->name, " \t\r\n/>");
        return true;
    }
}

bool tr_xml_is(const tr_xml_tag *t, const char *name)
{
    return t->length == strlen(name) && strncmp(t->name, name, t->length) == 0;
}

bool tr_xml_attribute(const tr_xml_tag *t, const char *name, char *value, size_t size)
{
    size_t n = strlen(name);
    for (const char *at = t->name + t->length; at < t->end;) {
        at += strspn(at, " \t\r\n");
        const char *is = at + strcspn(at, "= \t\r\n>");
        const char *quote = is + strspn(is, "= \t\r\n");
        if (quote >= t->end || (*quote != '"' && *quote != '\''))
            return false;
        const char *end = strchr(quote + 1, *quote);
        if (!end || end > t->end)
            return false;
        size_t length = (size_t)(end - quote - 1);
        if ((size_t)(is - at) == n && strncmp(at, name, n) == 0) {
            if (length >= size || strcspn(quote + 1, "\r\n\v\f") < length)
                return false;
            memcpy(value, quote + 1, length);
            value[length] = '\0';
            return true;
        }
        at = end + 1;
    }
    return false;
}

tr_status tr_xml_number(const tr_text *text, const tr_xml_tag *t, const char *name,
                        double *value)
{
    char word[64];
    if (!tr_xml_attribute(t, name, word, sizeof word))
        return tr_fail(TR_ERR_DATA, "%s, line %zu: <%.*s> has no %s", text->path,
                       text->line, (int)t->length, t->name, name);
    return tr_text_number(text, word, value);
}

bool tr_warp_probe(const char *path)
{
    tr_text text;
    tr_xml_tag t;
    size_t line = 1;
    if (tr_text_peek(path, &text) != TR_OK)
        return false;
    const char *at = text.next;
    bool found = tr_xml_next(&at, &line, &t) && tr_xml_is(&t, "TiltSeries");
    tr_text_free(&text);
    return found;
}

tr_status tr_xml_numbers(const tr_text *text, const char *at, size_t most, double *value,
                         size_t *n)
{
    static const char spaces[] = " \t\r\n\v\f";
    for (at += strspn(at, spaces); *at && *at != '<'; at += strspn(at, spaces)) {
        char word[64] = "";
        size_t length = strcspn(at, " \t\r\n\v\f<");
        if (*n == most)
            return tr_fail(TR_ERR_DATA, "%s has more than %zu tilts", text->path, most);
        memcpy(word, at, length < sizeof word - 1 ? length : sizeof word - 1);
        TR_TRY(tr_text_number(text, word, &value[*n]));
        ++*n;
        at += length;
    }
    return TR_OK;
}
