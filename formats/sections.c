#include "formats/sections.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t section_of(const tr_sections *s, size_t k)
{
    return s->section ? s->section[k] : 0;
}

static tr_status refuse_count(const tr_sections *s, size_t k, size_t nz)
{
    if (section_of(s, k))
        return tr_fail(TR_ERR_DATA, "%s names image %zu of %s, which has %zu", s->path,
                       s->section[k], s->name[k], nz);
    if (s->folder)
        return tr_fail(TR_ERR_DATA,
                       "%s holds %zu images; in a folder each view has a file of its own",
                       s->name[k], nz);
    return tr_fail(TR_ERR_DATA,
                   "%s holds %zu images, and %s does not say which of them is the view "
                   "(as in 1@%s)",
                   s->name[k], nz, s->path, s->name[k]);
}

/* Image k, which must be alike in what *first has of the first. */
static tr_status open_one(const tr_sections *s, size_t k, const tr_image_info *first,
                          tr_image **image)
{
    TR_TRY(tr_image_open_file(s->name[k], image));
    const tr_image_info *info = tr_image_get_info(*image);
    bool there = section_of(s, k) ? section_of(s, k) <= info->nz : info->nz == 1;
    if (there && (!first || (info->nx == first->nx && info->ny == first->ny &&
                             info->type == first->type)))
        return TR_OK;
    tr_status status =
        !there ? refuse_count(s, k, info->nz)
               : tr_fail(TR_ERR_DATA,
                         "%s has %zu x %zu samples of %s and %s has %zu x %zu of %s; all "
                         "images of a %s must be alike",
                         s->name[k], info->nx, info->ny, tr_type_name(info->type),
                         s->name[0], first->nx, first->ny, tr_type_name(first->type),
                         s->folder ? "folder" : "series");
    tr_image_close(*image);
    *image = NULL;
    return status;
}

tr_status tr_sections_look(const tr_sections *s, tr_image_info *info)
{
    for (size_t k = 0; k < s->n; k++) {
        tr_image *image;
        TR_TRY(open_one(s, k, k ? info : NULL, &image));
        if (k == 0) {
            const tr_image_info *first = tr_image_get_info(image);
            info->nx = first->nx, info->ny = first->ny, info->nz = s->n;
            info->type = first->type;
            memcpy(info->pixel, first->pixel, sizeof info->pixel);
            info->min = info->max = info->mean = info->rms = NAN;
        }
        tr_image_close(image);
    }
    return TR_OK;
}

tr_status tr_sections_read(void *state, const tr_image_info *info, size_t section,
                           size_t y0, size_t ny, size_t x0, size_t nx, float *out)
{
    const tr_sections *s = state;
    tr_image *image;
    TR_TRY(open_one(s, section, info, &image));
    size_t at = section_of(s, section);
    tr_status status = tr_image_read(image, at ? at - 1 : 0, y0, ny, x0, nx, out);
    tr_image_close(image);
    return status;
}

void tr_sections_stamp(const void *state, tr_file_stamp *stamp)
{
    const tr_sections *s = state;
    struct stat file;
    *stamp = (tr_file_stamp){0};
    for (size_t k = 0; k < s->n; k++) {
        if (stat(s->name[k], &file) != 0)
            continue;
        int64_t seconds = file.st_mtim.tv_sec, nanoseconds = file.st_mtim.tv_nsec;
        if (seconds > stamp->seconds ||
            (seconds == stamp->seconds && nanoseconds > stamp->nanoseconds)) {
            stamp->seconds = seconds;
            stamp->nanoseconds = nanoseconds;
        }
        stamp->bytes += (uint64_t)file.st_size;
    }
}

void tr_sections_free(tr_sections *s)
{
    for (size_t k = 0; k < s->n; k++)
        free(s->name[k]);
    free(s->name);
    free(s->section);
    free(s);
}

void tr_sections_close(void *state) { tr_sections_free(state); }
