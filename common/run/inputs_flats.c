/* Flat-field correction: transmission = (value - dark) / (flat - dark), each field the
 * mean of its images. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/inputs.h"
#include "common/series/stripes_wavelet.h"

/* Images that become one field: `n` from number `first` on of an image's fields, or of
 * its sections. */
typedef struct frames {
    tr_image *image;
    bool sections;
    tr_field kind;
    size_t first, n;
} frames;

/* From this number on the largest and the smallest value of a pixel are left out of its
 * mean: a cosmic ray or a zinger in one image is then not in the field. */
enum { ROBUST = 4 };

typedef struct pixel_sums {
    double *sum;
    float *low, *high, *values;
} pixel_sums;

static tr_status add_frames(const frames *f, size_t pixels, pixel_sums *s)
{
    const tr_image_info *info = tr_image_get_info(f->image);
    for (size_t k = 0; k < f->n; k++) {
        if (f->sections)
            TR_TRY(tr_image_read(f->image, f->first + k, 0, info->ny, 0, info->nx,
                                 s->values));
        else
            TR_TRY(tr_image_read_field(f->image, f->kind, f->first + k, 0, info->ny,
                                       s->values));
        for (size_t i = 0; i < pixels; i++) {
            float value = s->values[i];
            s->sum[i] += value;
            s->low[i] = k == 0 || value < s->low[i] ? value : s->low[i];
            s->high[i] = k == 0 || value > s->high[i] ? value : s->high[i];
        }
    }
    return TR_OK;
}

/* *field becomes the frames' mean, [ny][nx], to be freed. */
static tr_status mean_frames(const frames *f, float **field)
{
    const tr_image_info *info = tr_image_get_info(f->image);
    size_t pixels = info->nx * info->ny;
    pixel_sums s = {.sum = tr_calloc("a field", pixels, sizeof *s.sum),
                    .low = tr_calloc("a field", pixels, sizeof *s.low),
                    .high = tr_calloc("a field", pixels, sizeof *s.high),
                    .values = tr_calloc("a field", pixels, sizeof *s.values)};
    tr_status status = s.sum && s.low && s.high && s.values ? TR_OK : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = add_frames(f, pixels, &s);
    bool robust = f->n >= ROBUST;
    for (size_t i = 0; i < pixels && status == TR_OK; i++)
        s.values[i] =
            (float)(robust ? (s.sum[i] - s.low[i] - s.high[i]) / (double)(f->n - 2)
                           : s.sum[i] / (double)f->n);
    free(s.sum);
    free(s.low);
    free(s.high);
    if (status == TR_OK)
        *field = s.values;
    else
        free(s.values);
    return status;
}

/* All images of a file, which must have the views' size. */
static tr_status mean_file(const tr_inputs *in, const char *path, size_t *n,
                           float **field)
{
    const tr_image_info *views = tr_image_get_info(in->image);
    tr_image *image;
    TR_TRY(tr_image_open(path, &image));
    const tr_image_info *info = tr_image_get_info(image);
    tr_status status = TR_OK;
    if (info->nx != views->nx || info->ny != views->ny)
        status = tr_fail(TR_ERR_DATA,
                         "%s has images of %zu x %zu pixels, and the views of %s have "
                         "%zu x %zu; both must be alike",
                         path, info->nx, info->ny, in->series_path, views->nx, views->ny);
    *n = info->nz;
    if (status == TR_OK)
        status = mean_frames(&(frames){.image = image, .sections = true, .n = info->nz},
                             field);
    tr_image_close(image);
    return status;
}

static tr_status mean_own(const tr_inputs *in, tr_field kind, size_t first, size_t n,
                          float **field)
{
    return n ? mean_frames(
                   &(frames){.image = in->image, .kind = kind, .first = first, .n = n},
                   field)
             : TR_OK;
}

/* Flat fields in one file, or in two that are divided by a comma. */
static tr_status read_flats(const tr_inputs *in, const char *files, size_t n[2],
                            tr_flat_field *flat)
{
    const char *comma = tr_is_file(files) ? NULL : strchr(files, ',');
    if (!comma)
        return mean_file(in, files, &n[0], &flat->before);
    char *first = strndup(files, (size_t)(comma - files));
    tr_status status = first ? mean_file(in, first, &n[0], &flat->before) : TR_ERR_MEMORY;
    free(first);
    TR_TRY(status);
    return mean_file(in, comma + 1, &n[1], &flat->after);
}

/* n: how many images are before the views, after them, and dark. */
static tr_status read_fields(const tr_inputs *in, const tr_options *o, size_t n[3],
                             tr_flat_field *flat)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    if (o->flats) {
        TR_TRY(read_flats(in, o->flats, n, flat));
    } else {
        size_t all = info->n_fields[TR_FLAT];
        n[0] = info->flats_before;
        n[1] = all - n[0];
        TR_TRY(mean_own(in, TR_FLAT, 0, n[0], &flat->before));
        TR_TRY(mean_own(in, TR_FLAT, n[0], n[1], &flat->after));
        if (!flat->before) {
            flat->before = flat->after;
            flat->after = NULL;
        }
    }
    if (o->darks)
        return mean_file(in, o->darks, &n[2], &flat->dark);
    n[2] = info->n_fields[TR_DARK];
    return mean_own(in, TR_DARK, 0, n[2], &flat->dark);
}

/* A flat field that is nowhere above the dark one cannot be one. */
static tr_status check_fields(const tr_inputs *in, const tr_flat_field *flat)
{
    const tr_image_info *info = tr_image_get_info(in->image);
    const float *fields[] = {flat->before, flat->after};
    for (int f = 0; f < 2 && fields[f]; f++) {
        size_t above = 0, pixels = info->nx * info->ny;
        for (size_t i = 0; i < pixels; i++)
            above += fields[f][i] > (flat->dark ? flat->dark[i] : 0.0f);
        if (above < pixels / 2)
            return tr_fail(TR_ERR_DATA,
                           "%s: only %zu of %zu pixels of the flat field are above the "
                           "dark one; views that are divided already need --no-flats",
                           in->series_path, above, pixels);
    }
    return TR_OK;
}

static void say(const tr_inputs *in, const tr_command *c, const size_t n[3],
                const tr_flat_field *flat)
{
    const char *from = c->options.flats ? c->options.flats : in->series_path;
    char log[64] = "their logarithm is taken";
    if (tr_option_given(&c->line, "log"))
        snprintf(log, sizeof log, "--log %g is taken", c->options.views.log_base);
    if (flat->after)
        tr_info("the views are divided by flat fields (%s: the means of %zu before them "
                "and of %zu after them, less %zu dark), and %s",
                from, n[0], n[1], n[2], log);
    else
        tr_info("the views are divided by a flat field (%s: the mean of %zu, less %zu "
                "dark), and %s",
                from, n[0] + n[1], n[2], log);
}

tr_status tr_inputs_take_flats(tr_inputs *in, tr_command *c)
{
    tr_options *o = &c->options;
    const size_t *own = tr_image_get_info(in->image)->n_fields;
    if (o->no_flats && (o->flats || o->darks))
        return tr_fail(TR_ERR_USAGE, "--no-flats and --%s contradict each other",
                       o->flats ? "flats" : "darks");
    if (o->no_flats)
        return TR_OK;
    if (!o->flats && !own[TR_FLAT]) {
        if (o->darks)
            return tr_fail(TR_ERR_USAGE,
                           "--darks %s: there are no flat fields; name them with --flats",
                           o->darks);
        if (own[TR_DARK])
            tr_warn("%s has dark fields but no flat fields, so that they are not used; "
                    "name those with --flats",
                    in->series_path);
        return TR_OK;
    }
    if (o->half_sets.choice > TR_HALVES_VIEWS)
        return tr_fail(TR_ERR_USAGE,
                       "--half-sets frames is for electron microscopy, whose series have "
                       "no flat fields; leave one of the two out, or give --no-flats");
    size_t n[3] = {0};
    tr_flat_field flat = {NULL, NULL, NULL};
    tr_status status = read_fields(in, o, n, &flat);
    if (status == TR_OK)
        status = check_fields(in, &flat);
    tr_image_correct(in->image, &flat);
    TR_TRY(status);
    say(in, c, n, &flat);
    in->flat_field = true;
    if (!tr_option_given(&c->line, "log")) {
        o->views.log = true;
        o->views.log_base = 0.0;
    }
    return TR_OK;
}

tr_status tr_inputs_check_stripes(tr_inputs *in, const tr_command *c)
{
    enum { FEWEST = 60 };
    TR_TRY(tr_stripes_parse(c->options.stripes, &in->stripes));
    if (!tr_stripes_wanted(&in->stripes))
        return TR_OK;
    if (in->views.n < FEWEST)
        return tr_fail(TR_ERR_USAGE,
                       "--stripes %s: %zu views are too few to tell stripes from the "
                       "specimen's edges; %d are needed",
                       c->options.stripes, in->views.n, FEWEST);
    long most =
        tr_wavelet_most_levels(in->views.n, in->nx / (size_t)c->options.views.bin);
    if (in->stripes.wavelet && in->stripes.wavelet != TR_USUAL_LEVELS &&
        in->stripes.wavelet > most)
        return tr_fail(TR_ERR_USAGE,
                       "--stripes %s: %zu views of %zu columns can be halved %ld times, "
                       "which is the largest number of levels",
                       c->options.stripes, in->views.n,
                       in->nx / (size_t)c->options.views.bin, most);
    if (in->views.has_transforms || in->aligned)
        tr_warn(
            "--stripes %s: the views are aligned, so that a column of the detector is "
            "not in the same column of all views: stripes are hardly found, and edges "
            "of the specimen may be taken for some",
            c->options.stripes);
    return TR_OK;
}
