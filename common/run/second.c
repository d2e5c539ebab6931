#include "common/run/second.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/paths.h"

/* ---- options ---- */

/* Of those that say something of the second series alone. */
static tr_status check_alone(const tr_command *c)
{
    static const char *const own[] = {"second-match",      "second-tilts",
                                      "second-transforms", "second-imod-com",
                                      "second-ctf",        "second-scale"};
    for (size_t k = 0; k < sizeof own / sizeof *own; k++)
        if (tr_option_given(&c->line, own[k]))
            return tr_fail(TR_ERR_USAGE,
                           "--%s is about a second series, and there is none; give "
                           "--second, too",
                           own[k]);
    return TR_OK;
}

static tr_status check_with(const tr_options *o)
{
    const char *other = o->half_sets.choice ? "--half-sets"
                        : o->try_what       ? "--try"
                        : o->find_axis      ? "--find-axis"
                        : o->purpose.choice ? "--for"
                        : o->check_hand     ? "--check-hand"
                        : o->stripes        ? "--stripes"
                                            : NULL;
    if (other)
        return tr_fail(TR_ERR_USAGE,
                       "%s is about one series, and --second has two; leave out one of "
                       "them",
                       other);
    if (o->views.model)
        return tr_fail(TR_ERR_USAGE,
                       "a model of the views, as WIENER and --ctf-mode model have it, is "
                       "about one tilt axis; leave out --second, or use --ctf-mode flip "
                       "with another algorithm");
    if (o->ctf && !o->second_ctf)
        return tr_fail(TR_ERR_USAGE,
                       "--ctf is about the first series; give --second-ctf for the "
                       "other, so that both are corrected");
    if (o->second_ctf && !o->ctf)
        return tr_fail(TR_ERR_USAGE,
                       "--second-ctf is about the second series; give --ctf for the "
                       "other, so that both are corrected");
    return TR_OK;
}

/* mdoc, or a number: what holds for any series. */
static bool is_general_dose(const char *dose)
{
    double value;
    return strcmp(dose, "mdoc") == 0 || tr_parse_real(dose, strlen(dose), &value);
}

tr_status tr_second_check_options(const tr_command *c)
{
    const tr_options *o = &c->options;
    if (o->help || o->version)
        return TR_OK;
    if (!o->second)
        return check_alone(c);
    if (!c->program->method->whole_volume)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "--second needs the whole volume at once and %s works slice by "
                       "slice; use %s",
                       c->program->name, c->program->whole_volume);
    if (!(c->algorithm->needs & TR_COVERS_OUTSIDE))
        return tr_fail(TR_ERR_USAGE,
                       "%s does not reconstruct from two series; --second is for SIRT, "
                       "SART, CGLS and ADMM",
                       c->algorithm->name);
    if (o->dose && !is_general_dose(o->dose))
        return tr_fail(TR_ERR_USAGE,
                       "--dose %s is about one series, and --second has two; give --dose "
                       "mdoc, or the exposure of a view",
                       o->dose);
    return check_with(o);
}

/* ---- the second command ---- */

static tr_status push(tr_second *s, int *n, char *text)
{
    s->arguments[*n] = text;
    return s->arguments[(*n)++] ? TR_OK : TR_ERR_MEMORY;
}

/* "--name=value", where there is one. */
static tr_status push_value(tr_second *s, int *n, const char *name, const char *value)
{
    return value ? push(s, n, tr_format_string("--%s=%s", name, value)) : TR_OK;
}

/* The first command's options that say the same of any series. */
static bool is_shared(const char *name)
{
    static const char *const shared[] = {
        "thickness",  "bin",          "pixel",   "log",       "hot-pixels",
        "normalize",  "ctf-mode",     "cs",      "ctf-again", "amplitude-contrast",
        "ctf-band",   "defocus-hand", "invert",  "dose",      "dose-model",
        "dose-order", "dose-bfactor", "voltage", "dose-type", "dose-initial",
        "no-flats"};
    for (size_t k = 0; k < sizeof shared / sizeof *shared; k++)
        if (strcmp(name, shared[k]) == 0)
            return true;
    return false;
}

static tr_status push_shared(const tr_command *first, tr_second *s, int *n)
{
    for (size_t k = 0; k < tr_n_common_options; k++) {
        const tr_option *row = &tr_common_options[k];
        char word[512];
        if (!is_shared(row->name) || !tr_option_given(&first->line, row->name))
            continue;
        tr_option_word(row, (const char *)&first->options + row->offset, word,
                       sizeof word);
        if (row->type != TR_OPT_FLAG)
            TR_TRY(push_value(s, n, row->name, word));
        else
            TR_TRY(push(s, n, tr_format_string("--%s", row->name)));
    }
    return TR_OK;
}

static tr_status make_command(const tr_command *first, tr_second *s)
{
    enum { OTHERS = 16 };
    const tr_options *o = &first->options;
    char thickness[32];
    int n = 0;
    s->arguments =
        tr_calloc("arguments", tr_n_common_options + OTHERS, sizeof *s->arguments);
    if (!s->arguments)
        return TR_ERR_MEMORY;
    TR_TRY(push(s, &n, tr_strdup(first->program->name)));
    TR_TRY(push_value(s, &n, "algorithm", first->algorithm->name));
    TR_TRY(push_value(s, &n, "input", o->second));
    TR_TRY(push_value(s, &n, "tilts", o->second_tilts));
    TR_TRY(push_value(s, &n, "transforms", o->second_transforms));
    TR_TRY(push_value(s, &n, "imod-com", o->second_com));
    TR_TRY(push_value(s, &n, "ctf", o->second_ctf));
    TR_TRY(push_shared(first, s, &n));
    snprintf(thickness, sizeof thickness, "%ld", o->thickness);
    /* A tilt.com has its own. */
    if (!tr_option_given(&first->line, "thickness") && !o->second_com)
        TR_TRY(push_value(s, &n, "thickness", thickness));
    return tr_command_parse(&s->command, first->program, n, s->arguments);
}

/* ---- the files ---- */

static tr_status check_pixels(const tr_reconstruction *first, const tr_second *s)
{
    double a = first->inputs->pixel, b = s->inputs.pixel;
    if (a > 0.0 && b > 0.0 && fabs(a - b) > 0.01 * fmax(a, b))
        return tr_fail(
            TR_ERR_DATA,
            "%s has %g angstroms a pixel and %s %g; two series of one tomogram "
            "must have the same",
            first->series_path, a, s->r.series_path, b);
    return TR_OK;
}

/* Whether the tilt axis is nearer to the raw images' x. */
static bool lies_across(const tr_inputs *in)
{
    return in->views.has_transforms &&
           fabs(sin(tr_inputs_aligning(in)->rotation * TR_RADIANS)) > sqrt(0.5);
}

static bool fits(const tr_reconstruction *first, size_t nx, size_t ny)
{
    size_t bin = (size_t)first->command->options.views.bin;
    return nx / bin == first->job.geometry.n_u && ny / bin == first->job.geometry.n_v;
}

/* Images as they are, if these are as large as the first series', for rays can be turned
 * without a loss; transposed, where the axis lies across them, so that it is along rows.
 * Else as they become when they are aligned. */
static tr_status choose_size(const tr_reconstruction *first, tr_second *s)
{
    const tr_image_info *info = tr_image_get_info(s->inputs.image);
    bool has = s->inputs.views.has_transforms;
    s->transposed = lies_across(&s->inputs) && fits(first, info->ny, info->nx);
    if (s->transposed || (has && fits(first, info->nx, info->ny))) {
        /* The middle of its volume is that of aligned views. */
        if (!s->command.options.width)
            s->command.options.width = (long)s->inputs.nx;
        s->inputs.nx = info->nx;
        s->inputs.ny = info->ny;
        return TR_OK;
    }
    if (fits(first, s->inputs.nx, s->inputs.ny))
        return TR_OK;
    return tr_fail(TR_ERR_DATA,
                   "the views of %s have %zu x %zu pixels and those of %s %zu x %zu; two "
                   "series of one tomogram must have the same number",
                   first->series_path, first->inputs->nx, first->inputs->ny,
                   s->inputs.series_path, s->inputs.nx, s->inputs.ny);
}

static tr_status check_local(const tr_reconstruction *first, const tr_second *s)
{
    if (first->job.geometry.local || s->r.job.geometry.local)
        return tr_fail(TR_ERR_UNAVAILABLE,
                       "a local alignment cannot be applied to two series at once; leave "
                       "it out with --local none, or leave out --second");
    return TR_OK;
}

static tr_status open_files(tr_reconstruction *first, tr_second *s)
{
    const tr_job *job = &first->job;
    TR_TRY(make_command(first->command, s));
    tr_info("the second series, %s:", s->command.options.input);
    TR_TRY(tr_inputs_open(&s->inputs, &s->command));
    TR_TRY(choose_size(first, s));
    s->r = (tr_reconstruction){.command = &s->command,
                               .inputs = &s->inputs,
                               .series_path = s->inputs.series_path,
                               .image = s->inputs.image,
                               .scratch = tr_strdup(first->scratch),
                               .job = {.comm = job->comm,
                                       .backend = job->backend,
                                       .device = job->device,
                                       .threads = job->threads,
                                       .memory = job->memory / 2,
                                       .algorithm = job->algorithm,
                                       .params = s->command.params,
                                       .options = &s->command.options}};
    if (!s->r.scratch)
        return TR_ERR_MEMORY;
    TR_TRY(tr_reconstruction_check_chunks(&s->r));
    TR_TRY(check_pixels(first, s));
    TR_TRY(tr_views_copy(&s->inputs.views, &s->r.views));
    TR_TRY(tr_reconstruction_geometry(&s->r, &s->command.options, &s->r.job.geometry));
    return check_local(first, s);
}

static bool is_across(const tr_second *s)
{
    double along_x = 0.0, along_y = 0.0;
    for (size_t k = 0; k < s->r.views.n; k++) {
        along_x += fabs(s->rays[k].vx);
        along_y += fabs(s->rays[k].vy);
    }
    return along_x > along_y;
}

/* The volume turned over must not have more rows than the images. */
static bool can_turn(const tr_reconstruction *first)
{
    const tr_geometry *g = &first->job.geometry;
    if (first->job.backend->separate_memory)
        return false;
    if (g->width > g->n_v)
        tr_info("projecting the second series would be several times faster with --width "
                "%zu or less, the number of the views' rows",
                g->n_v * (size_t)first->command->options.views.bin);
    return g->width <= g->n_v;
}

tr_status tr_second_files(tr_run *run)
{
    tr_reconstruction *first = &run->volumes[0];
    if (!run->command.options.second)
        return TR_OK;
    tr_second *s = tr_calloc("a second series", 1, sizeof *s);
    if (!s)
        return TR_ERR_MEMORY;
    run->second = first->second = s;
    s->match = run->command.options.second_match;
    if (tr_same_file(run->command.options.second, first->series_path))
        return tr_fail(TR_ERR_USAGE, "--second %s is the first series itself",
                       run->command.options.second);
    TR_TRY(open_files(first, s));
    TR_TRY(tr_second_relate(first, s));
    TR_TRY(tr_second_find_rays(s));
    s->second = (tr_second_axis){.n_views = s->r.views.n,
                                 .geometry = &s->r.job.geometry,
                                 .rays = s->rays,
                                 .transposed = s->transposed,
                                 .across = is_across(s),
                                 .factor = 1.0};
    s->second.turned = s->second.across && can_turn(first);
    first->job.second = &s->second;
    return tr_paths_check(run->volumes, 1);
}

/* ---- the views ---- */

/* The deviation of what is no noise; 0 where that cannot be told from it. */
static double signal_of(const tr_noise *n)
{
    double least = 0.3 * n->deviation;
    double square = n->deviation * n->deviation - n->sigma * n->sigma;
    return square > least * least ? sqrt(square) : 0.0;
}

/* By how much the second series must be multiplied to be as strong as the first: by their
 * signals, or where noise hides these, by the noise; little is left as it is. */
static double find_factor(const tr_noise *a, const tr_noise *b)
{
    const double little = 1.25;
    double factor = signal_of(a) / signal_of(b);
    if (!(signal_of(a) > 0.0 && signal_of(b) > 0.0))
        factor = a->sigma / b->sigma;
    bool known = isfinite(factor) && factor > 0.0;
    return known && fabs(log(factor)) > log(little) ? factor : 1.0;
}

/* Of the second series' pixels, those that count; from every few of them. */
static double kept_part(const tr_second *s, const tr_geometry *first)
{
    enum { ALONG = 200 };
    size_t n_u = first->n_u, n_v = first->n_v, kept = 0, all = 0;
    size_t step_u = 1 + n_u / ALONG, step_v = 1 + n_v / ALONG;
    if (!s->second.masked)
        return 1.0;
    for (size_t k = 0; k < s->second.n_views; k++)
        for (size_t u = step_u / 2; u < n_u; u += step_u)
            for (size_t v = step_v / 2; v < n_v; v += step_v, all++)
                kept += tr_second_stays_inside(first, &s->rays[k], s->second.across,
                                               (double)u, (double)v);
    return all ? (double)kept / (double)all : 1.0;
}

/* What residuals of both, those of pixels that do not count being 0, are compared with.
 */
static void share_noise(const tr_second *s, tr_job *job)
{
    const tr_noise *b = &s->r.job.noise;
    tr_noise *a = &job->noise;
    double n_a = (double)job->geometry.n_views, n_b = (double)s->second.n_views;
    double f = s->second.factor, part_a = n_a / (n_a + n_b);
    double part_b = s->kept * f * f * n_b / (n_a + n_b);
    a->sigma = sqrt(part_a * a->sigma * a->sigma + part_b * b->sigma * b->sigma);
    a->deviation =
        sqrt(part_a * a->deviation * a->deviation + part_b * b->deviation * b->deviation);
}

tr_status tr_second_series(tr_reconstruction *r, tr_comm *comm)
{
    tr_second *s = r->second;
    const tr_options *o = &r->command->options;
    if (!s)
        return TR_OK;
    TR_TRY(tr_reconstruction_open_series(&s->r, comm));
    TR_TRY(tr_noise_measure(comm, s->r.job.series, &s->r.job.geometry, &s->r.job.noise));
    bool each = o->views.normalize == TR_NORMALIZE_MEAN_STD ||
                o->views.normalize == TR_NORMALIZE_CONTRAST;
    s->second.series = s->r.job.series;
    s->second.factor = o->second_scale > 0.0 ? o->second_scale
                       : each                ? 1.0
                              : find_factor(&r->job.noise, &s->r.job.noise);
    s->second.masked = r->job.outside;
    s->kept = kept_part(s, &r->job.geometry);
    s->alone = r->job.noise;
    share_noise(s, &r->job);
    return TR_OK;
}

void tr_second_print(const tr_second *s)
{
    if (!s)
        return;
    const tr_image_info *info = tr_image_get_info(s->r.image);
    const tr_noise *noise = &s->r.job.noise;
    tr_info("second series %s: %zu of %zu views of %zu x %zu pixels, multiplied by %.4g",
            s->r.series_path, s->r.views.n, info->nz, info->nx, info->ny,
            s->second.factor);
    tr_info("deviation of the views and of their noise: %.4g and %.4g in the first "
            "series, %.4g and %.4g in the second",
            s->alone.deviation, s->alone.sigma, noise->deviation, noise->sigma);
    tr_info("second axis: %.2f degrees from the first one, counter-clockwise, by %s",
            s->axis, s->match ? s->match : "the alignments of both");
    if (s->second.masked)
        tr_info("second axis: what it sees beyond the first and last slice does not "
                "count, %.0f %% of its pixels",
                100.0 * (1.0 - s->kept));
}

void tr_second_free(tr_second *s)
{
    if (!s)
        return;
    tr_reconstruction_free(&s->r);
    tr_inputs_free(&s->inputs);
    tr_command_free(&s->command);
    for (char **a = s->arguments; a && *a; a++)
        free(*a);
    free(s->arguments);
    free(s->rays);
    free(s);
}
