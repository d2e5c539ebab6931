/* The tilt axis of raw images, as SerialEM and Tomography 5 write it into an mdoc. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "common/base/log.h"
#include "common/run/inputs.h"

enum {
    SLANTED = 10, /* degrees from y; a stage's axis that is meant to be vertical is
                     rarely off by more */
    LYING = 45    /* from here on the axis is nearer to the images' x */
};

const char *tr_inputs_mdoc_says(const tr_inputs *in, size_t member, double above,
                                double *value)
{
    for (size_t k = 0; k < in->beside.n; k++) {
        const char *path = in->beside.list[k].path;
        tr_mdoc mdoc;
        if (!tr_mdoc_probe(path) || tr_mdoc_read(path, &mdoc) != TR_OK)
            continue;
        memcpy(value, (const char *)&mdoc + member, sizeof *value);
        tr_mdoc_free(&mdoc);
        if (*value > above) /* not NaN */
            return path;
    }
    return NULL;
}

static tr_status judge(const tr_inputs *in, const char *path, double axis)
{
    double from_y = fabs(remainder(axis, 180.0));
    tr_info("tilt axis of the raw images, as %s has it: %g degrees from vertical", path,
            axis);
    if (in->aligned || in->transforms_path || fabs(remainder(axis, 360.0)) <= SLANTED)
        return TR_OK;
    if (from_y > LYING)
        return tr_fail(TR_ERR_USAGE,
                       "%s: the tilt axis must be vertical in the images, and %s has it "
                       "%g degrees from there; give the alignment with --transforms, or "
                       "--aligned if the views are aligned already",
                       in->series_path, path, axis);
    if (from_y <= SLANTED)
        tr_warn("%s: %s has the tilt axis at %g degrees from vertical: if that is right, "
                "it points the other way, and the tomogram is a mirror image; some "
                "programs write another angle there than the axis in the images; if "
                "they are not aligned yet, give --transforms",
                in->series_path, path, axis);
    else
        tr_warn(
            "%s: the tilt axis must be vertical in the images, and is %g degrees from "
            "it before alignment; if they are not aligned yet, give --transforms, "
            "or --aligned if they are",
            in->series_path, axis);
    return TR_OK;
}

/* Of the file of angles, or else of an mdoc beside the series. */
tr_status tr_inputs_check_axis(const tr_inputs *in)
{
    if (!isnan(in->angles.axis) && in->tilts_path)
        return judge(in, in->tilts_path, in->angles.axis);
    double axis;
    const char *path =
        tr_inputs_mdoc_says(in, offsetof(tr_mdoc, tilt_axis_angle), -INFINITY, &axis);
    return path ? judge(in, path, axis) : TR_OK;
}
