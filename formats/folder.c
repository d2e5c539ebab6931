/* A folder of TIFF images of one view each, as cameras and beamlines write them: its
 * sections are the images in the order of their names, in which numbers count as numbers
 * (view_9.tif before view_10.tif). */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/format.h"

typedef struct folder {
    const char *path; /* the image's */
    char **name;
    size_t n;
} folder;

static int is_tiff(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot &&
           (strcasecmp(dot, ".tif") == 0 || strcasecmp(dot, ".tiff") == 0);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strverscmp((*a)->d_name, (*b)->d_name);
}

static tr_status list_files(folder *f)
{
    struct dirent **entry;
    int n = scandir(f->path, &entry, is_tiff, by_name);
    if (n < 0)
        return tr_fail(TR_ERR_DATA, "cannot look at the folder %s: %s", f->path,
                       strerror(errno));
    f->name = tr_calloc("the list of images", (size_t)n + 1, sizeof *f->name);
    tr_status status = f->name ? TR_OK : TR_ERR_MEMORY;
    for (int i = 0; i < n; i++) {
        if (status == TR_OK) {
            f->name[i] = tr_format_string("%s/%s", f->path, entry[i]->d_name);
            status = f->name[i] ? TR_OK : TR_ERR_MEMORY;
            f->n += status == TR_OK;
        }
        free(entry[i]);
    }
    free(entry);
    if (status == TR_OK && n == 0)
        status =
            tr_fail(TR_ERR_DATA,
                    "%s is a folder without TIFF images (.tif, .tiff); an image file, "
                    "or a folder with an image of each view, is needed",
                    f->path);
    return status;
}

/* Image k, which must be alike in what *info has of the first. */
static tr_status open_one(const folder *f, size_t k, const tr_image_info *first,
                          tr_image **image)
{
    TR_TRY(tr_image_open(f->name[k], image));
    const tr_image_info *info = tr_image_get_info(*image);
    if (info->nz == 1 && (!first || (info->nx == first->nx && info->ny == first->ny &&
                                     info->type == first->type)))
        return TR_OK;
    tr_status status =
        info->nz != 1
            ? tr_fail(TR_ERR_DATA,
                      "%s holds %zu images; in a folder each view has a file of its own",
                      f->name[k], info->nz)
            : tr_fail(TR_ERR_DATA,
                      "%s has %zu x %zu samples of %s and %s has %zu x %zu of %s; all "
                      "images of a folder must be alike",
                      f->name[k], info->nx, info->ny, tr_type_name(info->type),
                      f->name[0], first->nx, first->ny, tr_type_name(first->type));
    tr_image_close(*image);
    *image = NULL;
    return status;
}

static void folder_close(void *state)
{
    folder *f = state;
    for (size_t k = 0; k < f->n; k++)
        free(f->name[k]);
    free(f->name);
    free(f);
}

static tr_status look_at_all(folder *f, tr_image_info *info)
{
    TR_TRY(list_files(f));
    for (size_t k = 0; k < f->n; k++) {
        tr_image *image;
        TR_TRY(open_one(f, k, k ? info : NULL, &image));
        if (k == 0) {
            const tr_image_info *first = tr_image_get_info(image);
            info->nx = first->nx, info->ny = first->ny, info->nz = f->n;
            info->type = first->type;
            memcpy(info->pixel, first->pixel, sizeof info->pixel);
            info->min = info->max = info->mean = info->rms = NAN;
        }
        tr_image_close(image);
    }
    return TR_OK;
}

static tr_status folder_open(const char *path, int fd, tr_image_info *info, void **state)
{
    (void)fd;
    folder *f = tr_calloc("a folder", 1, sizeof *f);
    if (!f)
        return TR_ERR_MEMORY;
    f->path = path;
    tr_status status = look_at_all(f, info);
    if (status == TR_OK)
        *state = f;
    else
        folder_close(f);
    return status;
}

static tr_status folder_read(void *state, const tr_image_info *info, size_t section,
                             size_t y0, size_t ny, size_t x0, size_t nx, float *out)
{
    const folder *f = state;
    tr_image *image;
    TR_TRY(open_one(f, section, info, &image));
    tr_status status = tr_image_read(image, 0, y0, ny, x0, nx, out);
    tr_image_close(image);
    return status;
}

const tr_format tr_folder_of_images = {
    .name = "TIFF images",
    .open = folder_open,
    .read = folder_read,
    .close = folder_close,
};
