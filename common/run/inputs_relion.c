/* RELION's STAR files in the place of the series. */
#include <string.h>
#include <strings.h>

#include "common/run/inputs.h"

/* As RELION writes them: other series are not opened to see whether they are tables. */
static bool is_named_star(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcasecmp(path + n - 5, ".star") == 0;
}

tr_status tr_inputs_follow_star(tr_inputs *in, const tr_command *c)
{
    const char *name = c->options.tomo_name;
    if (!tr_is_file(in->series_path))
        return TR_OK; /* it is said when it is opened */
    bool star = is_named_star(in->series_path);
    if (star && tr_star_leads(in->series_path)) {
        TR_TRY(tr_star_lead_read(in->series_path, name, &in->lead));
        in->star = in->series_path;
        in->series_path = in->lead.series;
        return TR_OK;
    }
    if (name)
        return tr_fail(
            TR_ERR_USAGE,
            "--tomo-name %s is for a series that RELION's tomograms.star leads "
            "to, and %s is none",
            name, in->series_path);
    if (star && tr_star_is_series(in->series_path))
        in->star = in->series_path;
    return TR_OK;
}
