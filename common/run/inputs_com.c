/* IMOD's tilt.com as options. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/algorithms/filter_design.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"

enum { MOST_ADDED = 24 };

/* Append "--name=value" if the chosen algorithm or the program has that option and the
 * user did not give it. Takes the value. */
static tr_status add(tr_command *c, const char *name, char *value)
{
    bool known = false;
    for (size_t g = 0; g < c->n_groups; g++)
        for (size_t r = 0; c->groups[g].target && r < c->groups[g].n; r++)
            known = known || strcmp(c->groups[g].rows[r].name, name) == 0;
    if (!value)
        return TR_ERR_MEMORY;
    if (known && !tr_option_given(&c->line, name)) {
        TR_ASSERT(c->n_added < MOST_ADDED);
        char *text = *value ? tr_format_string("--%s=%s", name, value)
                            : tr_format_string("--%s", name);
        if (!text) {
            free(value);
            return TR_ERR_MEMORY;
        }
        c->extended[1 + c->n_added++] = text;
    }
    free(value);
    return TR_OK;
}

/* A com file that nobody named may have come with the data: it reaches no further than
 * its folder. */
static tr_status check_inside(const tr_inputs *in, const tr_command *c, const char *path)
{
    if (!path || c->options.imod_com)
        return TR_OK;
    bool outside = path[0] == '/' || strncmp(path, "../", 3) == 0 || strstr(path, "/../");
    return outside
               ? tr_fail(TR_ERR_USAGE,
                         "%s names %s, outside its folder; if that is right, name the "
                         "com file itself with --imod-com",
                         in->found.imod_com, path)
               : TR_OK;
}

static tr_status add_files(const tr_inputs *in, tr_command *c)
{
    const tr_imod_com *com = &in->com;
    const char *const names[] = {com->output, com->tilt_file, com->xtilt_file};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        TR_TRY(check_inside(in, c, names[i]));
    if (com->output)
        TR_TRY(add(c, "output", tr_strdup(com->output)));
    if (com->tilt_file)
        TR_TRY(add(c, "tilts", tr_strdup(com->tilt_file)));
    if (com->xtilt_file)
        TR_TRY(add(c, "xtilts", tr_strdup(com->xtilt_file)));
    if (com->exclude)
        TR_TRY(add(c, "exclude", tr_strdup(com->exclude)));
    if (com->include)
        TR_TRY(add(c, "include", tr_strdup(com->include)));
    return TR_OK;
}

/* The com file counts pixels before binning, this program pixels of the series. */
static tr_status add_geometry(const tr_inputs *in, tr_command *c)
{
    const tr_imod_com *com = &in->com;
    double b = (double)com->binning;
    if (com->has_thickness)
        TR_TRY(
            add(c, "thickness", tr_format_string("%ld", com->thickness / com->binning)));
    if (com->has_width)
        TR_TRY(add(c, "width", tr_format_string("%ld", com->width / com->binning)));
    if (com->has_offset) {
        TR_TRY(add(c, "tilt-offset", tr_format_string("%.9g", com->offset_angle)));
        TR_TRY(add(c, "axis-shift", tr_format_string("%.9g", com->offset_axis / b)));
    }
    if (com->has_shift) {
        TR_TRY(add(c, "x-shift", tr_format_string("%.9g", com->shift_x / b)));
        TR_TRY(add(c, "z-shift", tr_format_string("%.9g", com->shift_z / b)));
    }
    if (com->has_xaxistilt)
        TR_TRY(add(c, "pitch", tr_format_string("%.9g", com->xaxistilt)));
    if (com->has_slice)
        TR_TRY(add(c, "slices",
                   tr_format_string("%ld:%ld", com->slice_first / com->binning,
                                    com->slice_last / com->binning)));
    return TR_OK;
}

static const char *mode_name(long mode)
{
    switch (mode) {
    case 0:
        return "byte";
    case 1:
        return "int16";
    case 6:
        return "uint16";
    case 12:
        return "half";
    default:
        return "float";
    }
}

static tr_status add_filter_and_data(const tr_inputs *in, tr_command *c)
{
    const tr_imod_com *com = &in->com;
    if (com->has_radial)
        TR_TRY(add(c, "radial",
                   tr_format_string("%.9g,%.9g", fmin(com->radial_cutoff, 0.5),
                                    com->radial_sigma)));
    if (com->hamming_start > 0.0)
        TR_TRY(add(c, "hamming-like", tr_format_string("%.9g", com->hamming_start)));
    if (com->fake_sirt_iterations > 0)
        TR_TRY(add(c, "sirt-like", tr_format_string("%ld", com->fake_sirt_iterations)));
    if (com->has_log) {
        /* IMOD takes +log10, --log takes -ln: the sign is turned here, the base in the
         * scale. */
        TR_TRY(add(c, "log", tr_format_string("%.9g", com->log_base)));
        TR_TRY(add(c, "invert", tr_strdup("")));
    }
    if (com->has_mode)
        TR_TRY(add(c, "mode", tr_strdup(mode_name(com->mode))));
    return TR_OK;
}

static void say_not_honoured(const tr_inputs *in, const tr_command *c)
{
    const tr_imod_com *com = &in->com;
    const char *file = c->options.imod_com ? c->options.imod_com : in->found.imod_com;
    if (com->not_honoured)
        tr_warn("%s: not honoured here: %s", file, com->not_honoured);
    if (com->parallel)
        tr_warn("%s: PARALLEL is not honoured here; choose the orientation with --order",
                file);
    double ny = com->has_full_image && com->has_subset_start
                    ? (double)com->full_ny / 2.0 - (double)com->subset_y
                    : 0.0;
    if (ny != 0.0 && com->has_xaxistilt && com->xaxistilt != 0.0)
        tr_verbose("%s: the pitch is taken about the centre of the series", file);
}

tr_status tr_inputs_apply_com(tr_inputs *in, tr_command *c)
{
    /* A failed parse leaves the options at their defaults. */
    const char *file = c->options.imod_com ? c->options.imod_com : in->found.imod_com;
    int n = 0;
    while (c->arguments[n])
        n++;
    bool sirt = in->com.sirt_iterations > 0 && !tr_option_given(&c->line, "algorithm");
    if (sirt && tr_command_set_algorithm(c, "SIRT") != TR_OK)
        return tr_fail(TR_ERR_USAGE, "%s (with what %s says)", tr_error(), file);
    c->extended = tr_calloc("arguments", (size_t)n + MOST_ADDED + 1, sizeof(char *));
    if (!c->extended)
        return TR_ERR_MEMORY;
    c->extended[0] = c->arguments[0];
    if (sirt) {
        tr_info("%s asks for SIRT", file);
        TR_TRY(add(c, "algorithm", tr_strdup("SIRT")));
        TR_TRY(add(c, "iterations", tr_format_string("%ld", in->com.sirt_iterations)));
    }
    TR_TRY(add_files(in, c));
    TR_TRY(add_geometry(in, c));
    TR_TRY(add_filter_and_data(in, c));
    for (int i = 1; i < n; i++)
        c->extended[c->n_added + (size_t)i] = c->arguments[i];
    say_not_honoured(in, c);
    bool user_scale = tr_option_given(&c->line, "scale");
    tr_status status = tr_command_parse_again(c, n + (int)c->n_added, c->extended);
    if (status != TR_OK)
        return tr_fail(status, "%s (with what %s says)", tr_error(), file);
    in->com.has_scale = in->com.has_scale && !user_scale;
    return TR_OK;
}

tr_status tr_inputs_com_scale(const tr_inputs *in, const tr_geometry *g, double *add_out,
                              double *multiply)
{
    double *width = tr_calloc("the view weights", g->n_views, sizeof *width);
    if (!width)
        return TR_ERR_MEMORY;
    tr_status status = tr_view_weights(g->tilt, g->n_views, true, width);
    /* IMOD's density is the mean over views of images filtered with the ramp k = f * N;
     * ours is the sum of images filtered with f, each times its angular width. */
    double imod = (double)tr_wbp_length(g->n_u) / ((double)g->n_views * width[0]);
    free(width);
    if (in->com.has_log)
        imod /= log(10.0);
    *multiply = in->com.scale_multiply * imod;
    *add_out = in->com.scale_add / imod;
    return status;
}
