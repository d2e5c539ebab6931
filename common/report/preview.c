#include "common/report/preview.h"

#include <stdlib.h>
#include <string.h>

#include "formats/png.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/paths.h"
#include "common/tomogram/picture.h"
#include "common/tomogram/tomogram.h"

static const int axes[TR_PREVIEWS] = {TR_Z, TR_Y, TR_X};

static tr_status write_section(const tr_tomogram *t, const char *path, int axis)
{
    enum { LONGEST = 2048 };
    tr_section section = {0};
    tr_status status = tr_tomogram_section(t, axis, LONGEST, &section);
    size_t n = section.width * section.height;
    double range[2];
    uint8_t *grey = status == TR_OK ? tr_calloc("a picture", n, 1) : NULL;
    if (status == TR_OK && !grey)
        status = TR_ERR_MEMORY;
    if (status == TR_OK)
        status = tr_picture_range(section.values, n, 0.005, 0.995, range);
    if (status == TR_OK) {
        tr_picture_grey(section.values, n, range, grey);
        status = tr_png_write(path, grey, section.width, section.height, 1);
    }
    if (status == TR_OK)
        tr_info("wrote %s: section %zu, grey values from %.4g to %.4g", path, section.at,
                range[0], range[1]);
    free(section.values);
    free(grey);
    return status;
}

tr_status tr_preview_write(const tr_output_spec *spec)
{
    tr_tomogram t;
    tr_status status = tr_tomogram_open(spec, &t);
    for (int k = 0; k < TR_PREVIEWS && status == TR_OK; k++) {
        char *path = tr_preview_path(tr_output_name(spec), k);
        status = path ? write_section(&t, path, axes[k]) : TR_ERR_MEMORY;
        free(path);
    }
    tr_tomogram_close(&t);
    return status;
}
