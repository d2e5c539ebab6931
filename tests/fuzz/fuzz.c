#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/format.h"

void fuzz_violated(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s; the last error is: %s\n", file, line,
            condition, tr_error());
    abort();
}

fuzz_file fuzz_file_make(const uint8_t *data, size_t size)
{
    fuzz_file file;
    const char *folder = getenv("TMPDIR");
    snprintf(file.path, sizeof file.path, "%s/fuzz-XXXXXX",
             folder && *folder == '/' ? folder : "/tmp");
    int fd = mkstemp(file.path);
    FUZZ_REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    return file;
}

void fuzz_file_remove(fuzz_file *file) { unlink(file->path); }

void fuzz_check_status(tr_status status)
{
    FUZZ_REQUIRE(status == TR_OK || *tr_error());
    FUZZ_REQUIRE(status == TR_OK || strchr(tr_error(), '\n') == NULL);
    FUZZ_REQUIRE(status != TR_ERR_INTERNAL);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Both ends of both axes are in the rectangles, and an odd first column. */
static void read_section(tr_image *image, size_t section)
{
    enum { ROWS = 9, COLUMNS = 65 };
    const tr_image_info *info = tr_image_get_info(image);
    size_t ny = smaller(info->ny, ROWS), nx = smaller(info->nx, COLUMNS);
    size_t x0[] = {0, info->nx - nx, smaller(1, info->nx - nx)};
    size_t y0[] = {0, info->ny - ny, 0};
    for (int i = 0; i < 3; i++) {
        /* Of the exact size, so that writing beyond it is seen. */
        float *samples = malloc(nx * ny * sizeof *samples);
        FUZZ_REQUIRE(samples);
        fuzz_check_status(tr_image_read(image, section, y0[i], ny, x0[i], nx, samples));
        free(samples);
    }
}

static void check_info(const tr_image_info *info)
{
    FUZZ_REQUIRE(info->nx > 0 && info->ny > 0 && info->nz > 0);
    FUZZ_REQUIRE(info->format && *tr_type_name(info->type));
    FUZZ_REQUIRE(info->n_tilts == 0 || info->n_tilts == info->nz);
    FUZZ_REQUIRE((info->tilts != NULL) == (info->n_tilts > 0));
    for (size_t i = 0; i < info->n_tilts; i++)
        FUZZ_REQUIRE(info->tilts[i] >= -360 && info->tilts[i] <= 360);
    FUZZ_REQUIRE(memchr(info->tilts_note, 0, sizeof info->tilts_note));
    FUZZ_REQUIRE(info->n_labels <= TR_LABELS);
    for (size_t i = 0; i < info->n_labels; i++) {
        FUZZ_REQUIRE(memchr(info->labels[i], 0, sizeof info->labels[i]));
        for (const char *c = info->labels[i]; *c; c++)
            FUZZ_REQUIRE((unsigned char)*c >= ' ' && *c != 127);
    }
    for (int i = 0; i < 3; i++)
        FUZZ_REQUIRE(info->pixel[i] >= 0 && info->origin[i] == info->origin[i]);
}

void fuzz_image(const char *path)
{
    tr_image *image;
    tr_status status = tr_image_open(path, &image);
    fuzz_check_status(status);
    FUZZ_REQUIRE((status == TR_OK) == (image != NULL));
    if (status != TR_OK)
        return;
    const tr_image_info *info = tr_image_get_info(image);
    check_info(info);
    read_section(image, 0);
    if (info->nz > 1)
        read_section(image, info->nz - 1);
    tr_image_close(image);
}
