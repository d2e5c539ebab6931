#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/program/batch.h"
#include "common/report/html.h"
#include "common/run/paths.h"

static const char *const words[] = {"not tried", "made by another run", "was complete",
                                    "complete", "failed"};

/* Of a tomogram that is there, from its record. */
typedef struct facts {
    double columns, rows, sections, voxel, views, seconds;
} facts;

static facts read_facts(const tr_batch_entry *e)
{
    char *record = tr_batch_record(e);
    const char *r = record ? record : "";
    facts f = {.columns = tr_batch_number(r, "output", "columns"),
               .rows = tr_batch_number(r, "output", "rows"),
               .sections = tr_batch_number(r, "output", "sections"),
               .voxel = tr_batch_number(r, "output", "voxel_angstrom"),
               .views = tr_batch_number(r, "series", "views_used"),
               .seconds = tr_batch_number(r, "seconds", "all")};
    free(record);
    return f;
}

static bool is_good(const tr_batch_entry *e)
{
    return e->state == TR_BATCH_MADE || e->state == TR_BATCH_THERE;
}

/* ---- CSV, RFC 4180 ---- */

static void put_field(FILE *out, const char *text, char after)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fprintf(out, "\"%c", after);
}

static void put_value(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, "%.9g", value);
    fputc(',', out);
}

static void put_csv(const tr_batch *b, FILE *out)
{
    fputs("number,series,state,tomogram,columns,rows,sections,voxel_angstrom,views,"
          "seconds,error\n",
          out);
    for (size_t k = 0; k < b->n; k++) {
        const tr_batch_entry *e = &b->entry[k];
        facts f = {NAN, NAN, NAN, NAN, NAN, e->seconds > 0.0 ? e->seconds : NAN};
        if (is_good(e))
            f = read_facts(e);
        fprintf(out, "%zu,", k + 1);
        put_field(out, e->series ? e->series : e->item, ',');
        put_field(out, words[e->state], ',');
        put_field(out, is_good(e) ? e->tomogram : "", ',');
        const double values[] = {f.columns, f.rows,  f.sections,
                                 f.voxel,   f.views, f.seconds};
        for (size_t i = 0; i < sizeof values / sizeof *values; i++)
            put_value(out, values[i]);
        put_field(out, e->state == TR_BATCH_FAILED ? e->sentence : "", '\n');
    }
}

/* ---- HTML ---- */

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>TiltRec: many series</title>\n<style>\n"
    ":root { color-scheme: light dark; }\n"
    "body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; }\n"
    "h1 { font-size: 1.4rem; }\n"
    "#all { display: grid; gap: 1rem;\n"
    "  grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }\n"
    "article { border: 1px solid #8886; border-radius: 6px; padding: .7rem;\n"
    "  overflow-wrap: anywhere; }\n"
    "article img { width: 100%; height: 11rem; object-fit: contain; "
    "background: #8882; }\n"
    "article.failed { border-color: #c33; }\n"
    "article h2 { font-size: 1rem; margin: .3rem 0; }\n"
    "article p { margin: .2rem 0; }\n"
    ".failed .state { color: #c33; font-weight: 600; }\n"
    "</style>\n</head>\n<body>\n";

/* As a part of a URL in an attribute: what is not plain is spelled out. */
static void put_url(FILE *out, const char *path)
{
    for (const unsigned char *c = (const unsigned char *)path; *c; c++)
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
            (*c >= '0' && *c <= '9') || strchr("/._-~", *c))
            fputc(*c, out);
        else
            fprintf(out, "%%%02X", *c);
}

/* From the page: with -o it lies in their folder, else in the current one, which the
 * paths start from. */
static const char *from_page(const tr_batch *b, const char *path)
{
    return b->folder ? tr_name_only(path) : path;
}

static void put_picture(const tr_batch *b, const tr_batch_entry *e, FILE *out)
{
    char *picture = tr_preview_path(e->tomogram, 0);
    char *page = tr_format_string("%s.html", e->base);
    if (picture && page && access(picture, R_OK) == 0) {
        fputs("<a href=\"", out);
        put_url(out, from_page(b, access(page, R_OK) == 0 ? page : picture));
        fputs("\"><img loading=\"lazy\" src=\"", out);
        put_url(out, from_page(b, picture));
        fputs("\" alt=\"Central section of ", out);
        tr_html_text(out, tr_name_only(e->base));
        fputs("\"></a>\n", out);
    }
    free(picture);
    free(page);
}

static void put_article(const tr_batch *b, size_t k, FILE *out)
{
    const tr_batch_entry *e = &b->entry[k];
    fprintf(out, "<article class=\"%s\">\n",
            is_good(e)                    ? "good"
            : e->state == TR_BATCH_FAILED ? "failed"
                                          : "other");
    if (is_good(e))
        put_picture(b, e, out);
    fprintf(out, "<h2>%zu. ", k + 1);
    tr_html_text(out, tr_name_only(e->base));
    fprintf(out, "</h2>\n<p class=\"state\">%s</p>\n<p>", words[e->state]);
    tr_html_text(out, e->state == TR_BATCH_FAILED ? e->sentence
                      : is_good(e)                ? e->tomogram
                                                  : e->item);
    fputs("</p>\n", out);
    facts f = is_good(e) ? read_facts(e) : (facts){.columns = NAN};
    if (isfinite(f.columns))
        tr_html_print(out, "%g x %g x %g, %g views, %.1f s", f.columns, f.rows,
                      f.sections, f.views, f.seconds);
    fputs("</article>\n", out);
}

static void put_page(const tr_batch *b, FILE *out)
{
    size_t n[TR_BATCH_FAILED + 1] = {0};
    for (size_t k = 0; k < b->n; k++)
        n[b->entry[k].state]++;
    fputs(head, out);
    fprintf(out, "<h1>%zu series: %zu complete, %zu failed</h1>\n<p>Made with <code>",
            b->n, n[TR_BATCH_MADE] + n[TR_BATCH_THERE], n[TR_BATCH_FAILED]);
    tr_html_text(out, b->program->name);
    for (int k = 0; k < b->argc; k++)
        tr_html_print(out, " %s", b->argv[k]);
    fprintf(out,
            "</code>, version %s; <a href=\"batch.csv\">the same as a table</a>."
            "</p>\n<div id=\"all\">\n",
            TR_VERSION);
    for (int failed = 1; failed >= 0; failed--) /* they come first */
        for (size_t k = 0; k < b->n; k++)
            if ((b->entry[k].state == TR_BATCH_FAILED) == failed)
                put_article(b, k, out);
    fputs("</div>\n</body>\n</html>\n", out);
}

static tr_status write_one(const tr_batch *b, const char *ending,
                           void (*put)(const tr_batch *, FILE *))
{
    tr_whole_file file;
    char *path = tr_format_string("%s%s", b->summary, ending);
    tr_status status = path ? tr_whole_file_begin(path, &file) : TR_ERR_MEMORY;
    if (status == TR_OK) {
        put(b, file.file);
        status = tr_whole_file_end(&file, !ferror(file.file));
    }
    if (status == TR_OK)
        tr_info("wrote %s", path);
    free(path);
    return status;
}

tr_status tr_batch_summarize(const tr_batch *b)
{
    TR_TRY(write_one(b, ".csv", put_csv));
    return write_one(b, ".html", put_page);
}
