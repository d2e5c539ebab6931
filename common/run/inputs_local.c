/* IMOD's z-factors and local alignment. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"

static const char *wanted(const char *path)
{
    return path && strcmp(path, "none") != 0 ? path : NULL;
}

/* Of all views of the file. */
static tr_status read_factors(tr_inputs *in, size_t n, double (**factors)[2])
{
    *factors = tr_calloc("the z-factors", n, sizeof **factors);
    if (!*factors)
        return TR_ERR_MEMORY;
    TR_TRY(tr_refuse_other_source(in->zfactors_path, "z-factors"));
    TR_TRY(tr_zfactors_read(in->zfactors_path, n, *factors));
    for (size_t k = 0; k < in->views.n; k++)
        memcpy(in->views.view[k].zfactor, (*factors)[in->views.view[k].section],
               sizeof **factors);
    in->views.has_zfactors = true;
    return TR_OK;
}

/* Pixels of the series for one that the file is about. A header's size of 1 is what
 * programs write that do not know. */
static double scale_of(const tr_inputs *in, const tr_command *c, const tr_local_file *f)
{
    if (c->options.local_scale > 0.0)
        return c->options.local_scale;
    bool known = in->pixel > 0.0 && (in->pixel != 1.0 || c->options.pixel > 0.0);
    double scale = known && f->pixel > 0.0 ? f->pixel / in->pixel : 1.0;
    return fabs(scale - 1.0) < 1e-3 ? 1.0 : scale;
}

/* The images that the file is about, in pixels of the series: those of a tilt.com's
 * FULLIMAGE, else the raw ones, or the same turned by 90 degrees as the aligned ones are.
 */
static void full_size(const tr_inputs *in, double *nx, double *ny)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    bool across = (in->nx < in->ny) != (info->nx < info->ny);
    *nx = (double)(across ? info->ny : info->nx);
    *ny = (double)(across ? info->nx : info->ny);
    if (in->has_com && in->com.has_full_image) {
        *nx = (double)in->com.full_nx / (double)in->com.binning;
        *ny = (double)in->com.full_ny / (double)in->com.binning;
    }
}

static tr_status read_local(tr_inputs *in, const tr_command *c, size_t n,
                            const double (*factors)[2])
{
    tr_local_file file;
    double nx, ny, bin = (double)c->options.views.bin;
    TR_TRY(tr_refuse_other_source(in->local_path, "a local alignment"));
    TR_TRY(tr_local_file_read(in->local_path, n, &file));
    double scale = scale_of(in, c, &file);
    full_size(in, &nx, &ny);
    tr_local_place(&file, scale / bin, nx / bin, ny / bin, factors, &in->local);
    in->has_local = !tr_local_is_plain(&in->local, factors);
    if (!in->has_local) {
        tr_info("%s turns and moves nothing, and is not used", in->local_path);
        return TR_OK;
    }
    char scaled[64] = "";
    if (scale != 1.0)
        snprintf(scaled, sizeof scaled, ", scaled by %.4g to pixels of this series",
                 scale);
    tr_info("local alignment by %s: %zu x %zu patches, %g and %g pixels apart%s%s",
            in->local_path, file.n_x, file.n_y, file.step_x, file.step_y, scaled,
            file.has_z && !factors ? "; its z-factors do not count without --z-factors"
                                   : "");
    return TR_OK;
}

tr_status tr_inputs_read_local(tr_inputs *in, const tr_command *c)
{
    size_t n = tr_image_get_info(in->image)->nz;
    double(*factors)[2] = NULL;
    in->zfactors_path = wanted(c->options.zfactors);
    in->local_path = wanted(c->options.local);
    tr_status status = TR_OK;
    if (c->options.hand && (in->zfactors_path || in->local_path))
        return tr_fail(TR_ERR_USAGE,
                       "--hand -1 takes the angles with the other sign, and %s is about "
                       "them as they are; leave one of the two out",
                       in->local_path ? in->local_path : in->zfactors_path);
    if (in->zfactors_path)
        status = read_factors(in, n, &factors);
    if (status == TR_OK && in->local_path)
        status = read_local(in, c, n, (const double(*)[2])factors);
    free(factors);
    return status;
}
