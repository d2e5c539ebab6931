/* IMOD's tilt.com as options. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/algorithms/filter_design.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/setup.h"

enum { MOST_ADDED = 24 };

/* Append "--name=value" if the chosen algorithm or the program has that option and the
 * user did not give it. Takes the value. */
static tr_status add(tr_setup *s, const char *name, char *value)
{
    bool known = false;
    for (size_t g = 0; g < s->n_groups; g++)
        for (size_t r = 0; s->groups[g].target && r < s->groups[g].n; r++)
            known = known || strcmp(s->groups[g].rows[r].name, name) == 0;
    if (!value)
        return TR_ERR_MEMORY;
    if (known && !tr_option_given(&s->line, name)) {
        TR_ASSERT(s->n_added < MOST_ADDED);
        char *text = *value ? tr_format_string("--%s=%s", name, value)
                            : tr_format_string("--%s", name);
        if (!text) {
            free(value);
            return TR_ERR_MEMORY;
        }
        s->extended[1 + s->n_added++] = text;
    }
    free(value);
    return TR_OK;
}

/* A com file that nobody named may have come with the data: it reaches no further than
 * its folder. */
static tr_status check_inside(const tr_setup *s, const char *path)
{
    if (!path || s->options.imod_com)
        return TR_OK;
    bool outside = path[0] == '/' || strncmp(path, "../", 3) == 0 || strstr(path, "/../");
    return outside
               ? tr_fail(TR_ERR_USAGE,
                         "%s names %s, outside its folder; if that is right, name the "
                         "com file itself with --imod-com",
                         s->found.imod_com, path)
               : TR_OK;
}

static tr_status add_files(tr_setup *s)
{
    const tr_imod_com *c = &s->com;
    const char *const names[] = {c->output, c->tilt_file, c->xtilt_file};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        TR_TRY(check_inside(s, names[i]));
    if (c->output)
        TR_TRY(add(s, "output", tr_strdup(c->output)));
    if (c->tilt_file)
        TR_TRY(add(s, "tilts", tr_strdup(c->tilt_file)));
    if (c->xtilt_file)
        TR_TRY(add(s, "xtilts", tr_strdup(c->xtilt_file)));
    if (c->exclude)
        TR_TRY(add(s, "exclude", tr_strdup(c->exclude)));
    if (c->include)
        TR_TRY(add(s, "include", tr_strdup(c->include)));
    return TR_OK;
}

/* The com file counts pixels before binning, this program pixels of the series. */
static tr_status add_geometry(tr_setup *s)
{
    const tr_imod_com *c = &s->com;
    double b = (double)c->binning;
    if (c->has_thickness)
        TR_TRY(add(s, "thickness", tr_format_string("%ld", c->thickness / c->binning)));
    if (c->has_width)
        TR_TRY(add(s, "width", tr_format_string("%ld", c->width / c->binning)));
    if (c->has_offset) {
        TR_TRY(add(s, "tilt-offset", tr_format_string("%.9g", c->offset_angle)));
        TR_TRY(add(s, "axis-shift", tr_format_string("%.9g", c->offset_axis / b)));
    }
    if (c->has_shift) {
        TR_TRY(add(s, "x-shift", tr_format_string("%.9g", c->shift_x / b)));
        TR_TRY(add(s, "z-shift", tr_format_string("%.9g", c->shift_z / b)));
    }
    if (c->has_xaxistilt)
        TR_TRY(add(s, "pitch", tr_format_string("%.9g", c->xaxistilt)));
    if (c->has_slice)
        TR_TRY(add(s, "slices",
                   tr_format_string("%ld:%ld", c->slice_first / c->binning,
                                    c->slice_last / c->binning)));
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

static tr_status add_filter_and_data(tr_setup *s)
{
    const tr_imod_com *c = &s->com;
    if (c->has_radial)
        TR_TRY(add(
            s, "radial",
            tr_format_string("%.9g,%.9g", fmin(c->radial_cutoff, 0.5), c->radial_sigma)));
    if (c->hamming_start > 0.0)
        TR_TRY(add(s, "hamming-like", tr_format_string("%.9g", c->hamming_start)));
    if (c->fake_sirt_iterations > 0)
        TR_TRY(add(s, "sirt-like", tr_format_string("%ld", c->fake_sirt_iterations)));
    if (c->has_log) {
        /* IMOD takes +log10, --log takes -ln: the sign is turned here, the base in the
         * scale. */
        TR_TRY(add(s, "log", tr_format_string("%.9g", c->log_base)));
        TR_TRY(add(s, "invert", tr_strdup("")));
    }
    if (c->has_mode)
        TR_TRY(add(s, "mode", tr_strdup(mode_name(c->mode))));
    return TR_OK;
}

static void say_not_honoured(const tr_setup *s)
{
    const tr_imod_com *c = &s->com;
    const char *file = s->options.imod_com ? s->options.imod_com : s->found.imod_com;
    if (c->not_honoured)
        tr_warn("%s: not honoured here: %s", file, c->not_honoured);
    if (c->parallel)
        tr_warn("%s: PARALLEL is not honoured here; choose the orientation with --order",
                file);
    double ny = c->has_full_image && c->has_subset_start
                    ? (double)c->full_ny / 2.0 - (double)c->subset_y
                    : 0.0;
    if (ny != 0.0 && c->has_xaxistilt && c->xaxistilt != 0.0)
        tr_verbose("%s: the pitch is taken about the centre of the series", file);
}

tr_status tr_setup_apply_com(tr_setup *s)
{
    int n = 0;
    while (s->arguments[n])
        n++;
    s->extended = tr_calloc("arguments", (size_t)n + MOST_ADDED + 1, sizeof(char *));
    if (!s->extended)
        return TR_ERR_MEMORY;
    s->extended[0] = s->arguments[0];
    TR_TRY(add_files(s));
    TR_TRY(add_geometry(s));
    TR_TRY(add_filter_and_data(s));
    for (int i = 1; i < n; i++)
        s->extended[s->n_added + (size_t)i] = s->arguments[i];
    say_not_honoured(s);
    bool user_scale = tr_option_given(&s->line, "scale");
    const char *input = s->options.input;
    tr_command_line_free(&s->line);
    tr_status status = tr_options_parse(s->groups, s->n_groups, "SERIES",
                                        n + (int)s->n_added, s->extended, &s->line);
    if (status != TR_OK)
        return tr_fail(status, "%s (with what %s says)", tr_error(),
                       s->options.imod_com ? s->options.imod_com : s->found.imod_com);
    s->options.input = input;
    s->options.log = tr_option_given(&s->line, "log");
    s->com.has_scale = s->com.has_scale && !user_scale;
    return TR_OK;
}

tr_status tr_setup_com_scale(const tr_setup *s, double *add_out, double *multiply)
{
    const tr_geometry *g = &s->job.geometry;
    double *width = tr_calloc("the view weights", g->n_views, sizeof *width);
    if (!width)
        return TR_ERR_MEMORY;
    tr_status status = tr_view_weights(g->tilt, g->n_views, true, width);
    /* IMOD's density is the mean over views of images filtered with the ramp k = f * N;
     * ours is the sum of images filtered with f, each times its angular width. */
    double imod = (double)tr_wbp_length(g->n_u) / ((double)g->n_views * width[0]);
    free(width);
    if (s->com.has_log)
        imod /= log(10.0);
    *multiply = s->com.scale_multiply * imod;
    *add_out = s->com.scale_add / imod;
    return status;
}
