/* A folder of TIFF images of one view each, as cameras and beamlines write them: its
 * sections are the images in the order of their names, in which numbers count as numbers
 * (view_9.tif before view_10.tif). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "formats/sections.h"

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

static tr_status list_files(tr_sections *f)
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

static tr_status folder_open(const char *path, int fd, tr_image_info *info, void **state)
{
    (void)fd;
    tr_sections *f = tr_calloc("a folder", 1, sizeof *f);
    if (!f)
        return TR_ERR_MEMORY;
    f->path = path;
    f->folder = true;
    tr_status status = list_files(f);
    if (status == TR_OK)
        status = tr_sections_look(f, info);
    if (status == TR_OK)
        *state = f;
    else
        tr_sections_free(f);
    return status;
}

const tr_format tr_folder_of_images = {
    .name = "TIFF images",
    .open = folder_open,
    .read = tr_sections_read,
    .close = tr_sections_close,
    .stamp = tr_sections_stamp,
};
