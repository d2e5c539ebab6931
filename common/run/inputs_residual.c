/* --residual-of: the volume is there, so its sizes are the tomogram's. */
#include <stdlib.h>

#include "common/base/log.h"
#include "common/run/inputs.h"

tr_status tr_inputs_take_volume(const tr_command *c, tr_options *o)
{
    tr_image *volume;
    bool xyz = o->order == TR_ORDER_XYZ;
    if (!o->residual_of)
        return TR_OK;
    TR_TRY(tr_image_open(o->residual_of, &volume));
    const tr_image_info *info = tr_image_get_info(volume);
    size_t bin = (size_t)o->views.bin, width = info->nx * bin;
    size_t thickness = (xyz ? info->nz : info->ny) * bin;
    tr_image_close(volume);
    if (tr_option_given(&c->line, "thickness") || tr_option_given(&c->line, "width"))
        tr_info("%s says how wide and thick it is; -T and --width do not count",
                o->residual_of);
    if (width > 65536 || thickness > 65536)
        return tr_fail(TR_ERR_DATA,
                       "%s is %zu pixels wide and %zu thick in order %s, and 65536 are "
                       "possible",
                       o->residual_of, width, thickness, xyz ? "xyz" : "xzy");
    o->width = (long)width;
    o->thickness = (long)thickness;
    return TR_OK;
}
