#include "formats/text_file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/file_kind.h"

static const size_t most_bytes = (size_t)64 << 20;
static const size_t peek_bytes = (size_t)64 << 10;
static const char spaces[] = " \t\r\f\v";

/* Read up to `most` + 1 bytes, so that the caller can tell whether there were more. */
static tr_status load(FILE *file, size_t most, tr_text *text, size_t *size)
{
    size_t room = 4096;
    *size = 0;
    while (*size <= most) {
        char *larger = realloc(text->buffer, room + 1);
        if (!larger)
            return tr_fail(TR_ERR_MEMORY, "not enough memory to read %s (%zu bytes)",
                           text->path, room + 1);
        text->buffer = larger;
        size_t got = fread(text->buffer + *size, 1, room - *size, file);
        *size += got;
        if (*size < room) {
            if (ferror(file))
                return tr_fail(TR_ERR_DATA, "cannot read %s: %s", text->path,
                               strerror(errno));
            break;
        }
        room *= 2;
    }
    text->buffer[*size] = '\0';
    return TR_OK;
}

/* Control characters are refused: they mean a binary file, and would reach the user's
 * terminal through error messages. */
static tr_status check_bytes(const tr_text *text, size_t size)
{
    if (size == 0)
        return tr_fail(TR_ERR_DATA, "%s is empty", text->path);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text->buffer[i];
        if ((byte >= 32 || byte == '\n' || (byte != 0 && strchr(spaces, byte))) &&
            byte != 127)
            continue;
        TR_TRY(tr_refuse_kind(text->path, (const unsigned char *)text->buffer,
                              size < TR_KIND_BYTES ? size : TR_KIND_BYTES,
                              "a text file"));
        return tr_fail(TR_ERR_DATA,
                       "%s is not a text file: byte %zu (from 0) has the value %d",
                       text->path, i, byte);
    }
    return TR_OK;
}

static tr_status open_text(const char *path, bool whole, tr_text *text)
{
    *text = (tr_text){.path = path};
    FILE *file = tr_open_without_waiting(path);
    if (!file)
        return tr_fail(TR_ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    struct stat about;
    if (fstat(fileno(file), &about) == 0 && S_ISFIFO(about.st_mode)) {
        fclose(file);
        return tr_fail(TR_ERR_DATA,
                       "%s is a pipe; a regular file is needed, which can be "
                       "read more than once",
                       path);
    }
    size_t size = 0;
    tr_status status = load(file, whole ? most_bytes : peek_bytes, text, &size);
    fclose(file);
    if (status == TR_OK && whole && size > most_bytes)
        status = tr_fail(TR_ERR_DATA,
                         "%s is not a text file that belongs to a tilt "
                         "series: it is larger than 64 MiB",
                         path);
    if (status == TR_OK)
        status = check_bytes(text, size);
    if (status == TR_OK) {
        text->c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (!text->c_locale)
            status = tr_fail(TR_ERR_MEMORY, "not enough memory to read %s", path);
    }
    if (status != TR_OK) {
        tr_text_free(text);
        return status;
    }
    static const char utf8_mark[] = "\xEF\xBB\xBF"; /* some Windows editors write it */
    bool marked = strncmp(text->buffer, utf8_mark, strlen(utf8_mark)) == 0;
    text->next = text->buffer + (marked ? strlen(utf8_mark) : 0);
    return TR_OK;
}

tr_status tr_text_read(const char *path, tr_text *text)
{
    return open_text(path, true, text);
}

tr_status tr_text_peek(const char *path, tr_text *text)
{
    return open_text(path, false, text);
}

void tr_text_free(tr_text *text)
{
    free(text->buffer);
    if (text->c_locale)
        freelocale(text->c_locale);
    *text = (tr_text){0};
}

char *tr_text_trim(char *string)
{
    string += strspn(string, spaces);
    size_t length = strlen(string);
    while (length > 0 && strchr(spaces, string[length - 1]))
        length--;
    string[length] = '\0';
    return string;
}

char *tr_text_line(tr_text *text)
{
    while (*text->next) {
        char *line = text->next;
        char *end = line + strcspn(line, "\r\n");
        text->next = end + (*end ? 1 + (end[0] == '\r' && end[1] == '\n') : 0);
        *end = '\0';
        text->line++;
        line = tr_text_trim(line);
        if (*line && (*line != '#' || text->comments))
            return line;
    }
    return NULL;
}

char *tr_text_word(char **rest)
{
    static const char separators[] = ", \t\r\f\v";
    char *word = *rest + strspn(*rest, separators);
    size_t length = strcspn(word, separators);
    *rest = word;
    if (*word == '\0' || *word == '#')
        return NULL;
    *rest += length;
    if (**rest)
        *(*rest)++ = '\0';
    return word;
}

tr_status tr_text_number(const tr_text *text, const char *word, double *value)
{
    char *end;
    *value = strtod_l(word, &end, text->c_locale);
    if (end == word || *end || strpbrk(word, "xX")) /* x: hexadecimal */
        return tr_fail(TR_ERR_DATA, "%s, line %zu: \"%.60s\" is not a number", text->path,
                       text->line, word);
    if (!isfinite(*value))
        return tr_fail(TR_ERR_DATA, "%s, line %zu: \"%.60s\" is not a finite number",
                       text->path, text->line, word);
    return TR_OK;
}

tr_status tr_text_whole_number(const tr_text *text, const char *word, long *value)
{
    double real;
    TR_TRY(tr_text_number(text, word, &real));
    if (real != floor(real) || fabs(real) > 1e15)
        return tr_fail(TR_ERR_DATA, "%s, line %zu: \"%.60s\" is not a whole number",
                       text->path, text->line, word);
    *value = (long)real;
    return TR_OK;
}

bool tr_text_first_line(const char *path, bool (*known)(const tr_text *text, char *line))
{
    tr_text text;
    if (tr_text_peek(path, &text) != TR_OK)
        return false;
    char *line = tr_text_line(&text);
    bool found = line && known(&text, line);
    tr_text_free(&text);
    return found;
}
