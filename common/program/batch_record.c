/* What is read here is written by result_json.c: a member a line, indented by two spaces
 * for each level, so that no more than its lines need be looked at. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/mem.h"
#include "common/program/batch.h"
#include "common/report/json.h"

char *tr_batch_record(const tr_batch_entry *e)
{
    enum { LARGEST = 64 << 20 };
    char *path = tr_format_string("%s.json", e->base);
    FILE *file = path ? fopen(path, "re") : NULL;
    struct stat about;
    char *text = NULL;
    free(path);
    if (!file)
        return NULL;
    if (fstat(fileno(file), &about) == 0 && S_ISREG(about.st_mode) &&
        about.st_size < LARGEST)
        text = tr_calloc("a JSON file", (size_t)about.st_size + 1, 1);
    if (text)
        text[fread(text, 1, (size_t)about.st_size, file)] = '\0';
    fclose(file);
    return text;
}

/* What follows "NAME": on a line of its own, `level` deep, from `text` to `end`. */
static const char *find_member(const char *text, const char *end, int level,
                               const char *name)
{
    char start[80];
    int n = snprintf(start, sizeof start, "\n%*s\"%s\": ", 2 * level, "", name);
    const char *found = strstr(text, start);
    return found && (!end || found < end) ? found + n : NULL;
}

static const char *find(const char *record, const char *object, const char *member)
{
    if (!object)
        return find_member(record, NULL, 1, member);
    const char *from = find_member(record, NULL, 1, object);
    return from ? find_member(from, strstr(from, "\n  }"), 2, member) : NULL;
}

double tr_batch_number(const char *record, const char *object, const char *member)
{
    const char *at = find(record, object, member);
    char *end;
    double value = at ? strtod(at, &end) : NAN;
    return at && end != at ? value : NAN;
}

/* The string that begins at the quote; \u00XX and the like become '?'. */
static void read_string(const char *at, char *text, size_t size)
{
    size_t n = 0;
    for (at++; *at && *at != '"' && n + 1 < size; at++) {
        bool escaped = *at == '\\' && at[1];
        at += escaped;
        if (escaped && *at == 'u') {
            text[n++] = '?';
            for (int k = 0; k < 4 && at[1]; k++)
                at++;
        } else {
            text[n++] = *at;
        }
    }
    text[n] = '\0';
}

void tr_batch_string(const char *record, const char *object, const char *member,
                     char *text, size_t size)
{
    const char *at = find(record, object, member);
    *text = '\0';
    if (at && *at == '"')
        read_string(at, text, size);
}

/* ---- is it complete? ---- */

/* The lines that a run with these arguments puts in its record, from a newline on; from
 * malloc. */
static char *print_arguments(int argc, char *const *argv)
{
    char *text = NULL;
    size_t size;
    tr_json j = {.out = open_memstream(&text, &size)};
    if (!j.out)
        return NULL;
    tr_json_open(&j, NULL, '{'); /* one letter */
    tr_json_open(&j, "arguments", '[');
    for (int k = 0; k < argc; k++)
        tr_json_string(&j, NULL, argv[k]);
    tr_json_close(&j, ']');
    fflush(j.out);
    bool good = !ferror(j.out);
    if (fclose(j.out) == 0 && good) {
        size_t length = strlen(text + 1);
        memmove(text, text + 1, length + 1);
        return text;
    }
    free(text);
    return NULL;
}

static bool is_older(const char *path, const struct stat *than)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return false;
    return file.st_mtim.tv_sec != than->st_mtim.tv_sec
               ? file.st_mtim.tv_sec < than->st_mtim.tv_sec
               : file.st_mtim.tv_nsec <= than->st_mtim.tv_nsec;
}

/* Whether all files that the run has read are older than what it wrote. */
static bool inputs_are_older(const char *record, const struct stat *than)
{
    char path[4096];
    const char *at = find_member(record, NULL, 1, "inputs");
    const char *end = at ? strstr(at, "\n  ]") : NULL;
    bool older = at && end;
    while (older && (at = find_member(at, end, 3, "path"))) {
        if (*at != '"')
            return false;
        read_string(at, path, sizeof path);
        older = is_older(path, than);
    }
    return older;
}

bool tr_batch_is_there(const tr_batch_entry *e, int argc, char *const *argv)
{
    struct stat tomogram;
    char word[64];
    if (stat(e->tomogram, &tomogram) != 0)
        return false;
    char *record = tr_batch_record(e), *arguments = print_arguments(argc, argv);
    bool there = false;
    if (record && arguments) {
        tr_batch_string(record, NULL, "status", word, sizeof word);
        there = strcmp(word, "ok") == 0 && strstr(record, arguments);
        tr_batch_string(record, NULL, "version", word, sizeof word);
        there =
            there && strcmp(word, TR_VERSION) == 0 && inputs_are_older(record, &tomogram);
    }
    free(record);
    free(arguments);
    return there;
}
