/* IMOD's tilt.com as options. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/algorithms/filter_design.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"

enum { MOST_ADDED = 32 };

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

static const char *file_name(const tr_inputs *in, const tr_command *c)
{
    return c->options.imod_com ? c->options.imod_com : in->found.imod_com;
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
    const char *const names[] = {com->output, com->tilt_file, com->xtilt_file,
                                 com->local_file, com->zfactor_file};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        TR_TRY(check_inside(in, c, names[i]));
    if (com->has_angles && !c->options.tilts)
        return tr_fail(TR_ERR_DATA,
                       "%s has the tilt angles in itself (ANGLES); write them into a "
                       "file, one a line, and name it with --tilts",
                       file_name(in, c));
    if (com->output)
        TR_TRY(add(c, "output", tr_strdup(com->output)));
    if (com->tilt_file)
        TR_TRY(add(c, "tilts", tr_strdup(com->tilt_file)));
    if (com->xtilt_file)
        TR_TRY(add(c, "xtilts", tr_strdup(com->xtilt_file)));
    if (com->zfactor_file)
        TR_TRY(add(c, "z-factors", tr_strdup(com->zfactor_file)));
    if (com->local_file)
        TR_TRY(add(c, "local", tr_strdup(com->local_file)));
    if (com->local_scale > 0.0)
        TR_TRY(add(c, "local-scale", tr_format_string("%.9g", com->local_scale)));
    if (com->exclude)
        TR_TRY(add(c, "exclude", tr_strdup(com->exclude)));
    if (com->include)
        TR_TRY(add(c, "include", tr_strdup(com->include)));
    return TR_OK;
}

/* The com file is about an aligned stack that may have been binned. Where the series has
 * the pixels of FULLIMAGE, as the raw one has of which the stack was made, it is not
 * binned yet, and that is done while it is read. */
static tr_status settle_binning(tr_inputs *in, tr_command *c, long *of_slices)
{
    tr_imod_com *com = &in->com;
    *of_slices = com->binning * c->options.views.bin;
    if (com->binning == 1 || !com->has_full_image || !in->image)
        return TR_OK;
    const tr_image_info *info = tr_image_get_info(in->image);
    long nx = (long)info->nx, ny = (long)info->ny;
    if (!(nx == com->full_nx && ny == com->full_ny) &&
        !(nx == com->full_ny && ny == com->full_nx))
        return TR_OK;
    if (!tr_option_given(&c->line, "bin"))
        tr_info("%s is about images binned by %ld, and %s is not: it is binned while it "
                "is read",
                file_name(in, c), com->binning, in->series_path);
    TR_TRY(add(c, "bin", tr_format_string("%ld", com->binning)));
    *of_slices = tr_option_given(&c->line, "bin") ? c->options.views.bin : com->binning;
    com->binning = 1;
    return TR_OK;
}

/* The com file counts pixels before binning, this program pixels of the series; but
 * slices of the tomogram. */
static tr_status add_geometry(const tr_inputs *in, tr_command *c, long binned)
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
                   tr_format_string("%ld:%ld", com->slice_first / binned,
                                    com->slice_last / binned)));
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
    if (com->uniform_weights)
        TR_TRY(add(c, "uniform-weights", tr_strdup("")));
    if (com->rotated)
        TR_TRY(add(c, "order", tr_strdup("xyz")));
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

/* SIRTIterations asks for SIRT, unless the user names an algorithm. */
static tr_status add_sirt(tr_inputs *in, tr_command *c)
{
    if (in->com.sirt_iterations <= 0)
        return TR_OK;
    if (!tr_option_given(&c->line, "algorithm")) {
        tr_info("%s asks for SIRT", file_name(in, c));
        TR_TRY(tr_command_set_algorithm(c, "SIRT"));
        TR_TRY(add(c, "algorithm", tr_strdup("SIRT")));
    }
    if (strcmp(c->algorithm->name, "SIRT") != 0)
        return TR_OK;
    in->com_sirt = true;
    TR_TRY(add(c, "iterations", tr_format_string("%ld", in->com.sirt_iterations)));
    return in->com.positive ? add(c, "positive", tr_strdup("")) : TR_OK;
}

static void say_not_honoured(const tr_inputs *in, const tr_command *c)
{
    const tr_imod_com *com = &in->com;
    const char *file = file_name(in, c), *rest = com->not_honoured;
    const char *filter =
        !in->com_sirt               ? NULL
        : com->has_radial           ? "RADIAL with SIRTIterations"
        : com->fake_sirt_iterations ? "FakeSIRTiterations with SIRTIterations"
        : com->hamming_start > 0.0  ? "HammingLikeFilter with SIRTIterations"
                                    : NULL;
    if (rest || filter)
        tr_warn("%s: not honoured here: %s%s%s", file, filter ? filter : "",
                rest && filter ? ", " : "", rest ? rest : "");
    if (com->parallel)
        tr_warn("%s: PARALLEL is not honoured here; choose the orientation with --order",
                file);
}

static tr_status add_all(tr_inputs *in, tr_command *c)
{
    long of_slices;
    TR_TRY(add_sirt(in, c));
    TR_TRY(add_files(in, c));
    TR_TRY(settle_binning(in, c, &of_slices));
    TR_TRY(add_geometry(in, c, of_slices));
    return add_filter_and_data(in, c);
}

tr_status tr_inputs_apply_com(tr_inputs *in, tr_command *c)
{
    int n = 0;
    while (c->arguments[n])
        n++;
    c->extended = tr_calloc("arguments", (size_t)n + MOST_ADDED + 1, sizeof(char *));
    if (!c->extended)
        return TR_ERR_MEMORY;
    c->extended[0] = c->arguments[0];
    TR_TRY(add_all(in, c));
    for (int i = 1; i < n; i++)
        c->extended[c->n_added + (size_t)i] = c->arguments[i];
    say_not_honoured(in, c);
    bool user_scale = tr_option_given(&c->line, "scale");
    const char *file = file_name(in, c); /* parsing sets the options back first */
    tr_status status = tr_command_parse_again(c, n + (int)c->n_added, c->extended);
    if (status != TR_OK)
        return tr_fail(status, "%s (with what %s says)", tr_error(), file);
    in->com.has_scale = in->com.has_scale && !user_scale;
    return TR_OK;
}

/* The length of IMOD's ramp, whose transforms (FFTW's) take primes up to 13. */
static size_t imod_length(size_t n_u)
{
    enum { LARGEST_PRIME = 13 };
    size_t least = tr_wbp_least(n_u);
    for (size_t length = least + least % 2;; length += 2) {
        size_t rest = length;
        for (size_t prime = 2; prime <= LARGEST_PRIME; prime++)
            while (rest % prime == 0)
                rest /= prime;
        if (rest == 1)
            return length;
    }
}

tr_status tr_inputs_com_scale(const tr_inputs *in, const tr_geometry *g, double *add_out,
                              double *multiply)
{
    double *width = tr_calloc("the view weights", g->n_views, sizeof *width);
    if (!width)
        return TR_ERR_MEMORY;
    tr_status status = tr_view_weights(g->tilt, g->n_views, true, width);
    /* IMOD's density is the mean over views of images filtered with the ramp k = f * N;
     * ours is the sum of images filtered with f, each times its angular width. From its
     * SIRT, whose density is ours, it gets there by the images' width over 2.2. */
    double imod = in->com_sirt
                      ? (double)g->n_u / 2.2
                      : (double)imod_length(g->n_u) / ((double)g->n_views * width[0]);
    free(width);
    if (in->com.has_log)
        imod /= log(10.0);
    *multiply = in->com.scale_multiply * imod;
    *add_out = in->com.scale_add / imod;
    return status;
}
