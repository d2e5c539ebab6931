#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/report/result.h"

/* Quoted where a shell would take a character for something else. */
static void print_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-+=.,:/@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (const char *c = word; *c; c++)
        if (*c == '\'')
            fputs("'\\''", out);
        else
            fputc(*c, out);
    fputc('\'', out);
}

char *tr_result_command(const tr_result *r)
{
    char *text = NULL, folder[4096];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    if (getcwd(folder, sizeof folder)) {
        fputs("cd ", out);
        print_word(out, folder);
        fputs(" && ", out);
    }
    if (r->run->volumes[0].job.comm->size > 1)
        fprintf(out, "mpiexec -n %d ", r->run->volumes[0].job.comm->size);
    for (int i = 0; i < r->argc; i++) {
        if (i)
            fputc(' ', out);
        print_word(out, r->argv[i]);
    }
    bool complete = !ferror(out);
    if (fclose(out) == 0 && complete)
        return text;
    free(text);
    return NULL;
}
