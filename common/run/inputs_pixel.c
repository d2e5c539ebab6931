/* How large a pixel of the series is: headers are often filled in by nobody. */
#include <math.h>
#include <stddef.h>

#include "common/base/log.h"
#include "common/run/inputs.h"

typedef struct opinion {
    const char *path;
    double pixel; /* of the raw images, angstroms; 0: none */
} opinion;

/* What the mdoc beside says. */
static opinion of_mdoc(const tr_inputs *in)
{
    double pixel;
    const char *path = tr_inputs_mdoc_says(in, offsetof(tr_mdoc, pixel), 0.0, &pixel);
    return path ? (opinion){path, pixel} : (opinion){NULL, 0.0};
}

/* The images may be binned: by a whole number. */
static bool agree(double images, double raw)
{
    double binning = fmax(1.0, round(images / raw));
    return fabs(images / raw / binning - 1.0) <= 0.01;
}

static bool is_placeholder(double header) { return !(header > 0.0) || header == 1.0; }

double tr_inputs_own_pixel(const tr_inputs *in, const tr_command *c)
{
    double header = tr_image_get_info(in->image)->pixel[0];
    if (c->options.pixel > 0.0)
        return c->options.pixel;
    return is_placeholder(header) ? of_mdoc(in).pixel : header;
}

tr_status tr_inputs_find_pixel(tr_inputs *in, const tr_command *c)
{
    double header = tr_image_get_info(in->image)->pixel[0];
    const opinion opinions[] = {{in->transforms_path, in->transforms.pixel},
                                {in->tilts_path, in->angles.pixel},
                                of_mdoc(in)};
    in->pixel = c->options.pixel > 0.0   ? c->options.pixel
                : is_placeholder(header) ? 0.0
                                         : header;
    for (size_t k = 0; k < sizeof opinions / sizeof *opinions; k++) {
        const opinion *o = &opinions[k];
        if (!(o->pixel > 0.0) ||
            (k > 0 && o->path == opinions[k - 1].path && opinions[k - 1].pixel > 0.0))
            continue;
        if (!(in->pixel > 0.0)) {
            in->pixel = o->pixel;
            if (header == 1.0 && !agree(header, o->pixel))
                tr_warn("%s: its header says 1 angstrom a pixel, which is what programs "
                        "write that do not know, and %s says %g, which is taken; "
                        "--pixel sets it",
                        in->series_path, o->path, o->pixel);
        } else if (!agree(in->pixel, o->pixel)) {
            tr_warn("%s: %s %g angstroms a pixel, but %s says %g; the first is taken; "
                    "--pixel sets it",
                    in->series_path,
                    c->options.pixel > 0.0 ? "--pixel says" : "its header says",
                    in->pixel, o->path, o->pixel);
        }
    }
    if (!(in->pixel > 0.0) && header == 1.0)
        in->pixel = 1.0;
    return TR_OK;
}

tr_status tr_inputs_need_pixel(const tr_inputs *in, const tr_command *c,
                               const char *option)
{
    bool placeholder = in->pixel == 1.0 && !(c->options.pixel > 0.0);
    if (in->pixel > 0.0 && !placeholder)
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "%s needs the size of the pixels, and %s %s; give it with --pixel, "
                   "in angstroms",
                   option, in->series_path,
                   placeholder ? "says 1 angstrom, as programs do that do not know it"
                               : "does not say it");
}
