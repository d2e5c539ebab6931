/* The run of --try: which slabs, the trials shared out over the processes, the sheet. */
#include "common/trial/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/run.h"
#include "common/trial/trial_figure.h"
#include "common/trial/trial_measure.h"
#include "common/trial/trial_say.h"
#include "common/trial/trial_sheet.h"

enum { LEAST_SLICES = TR_TRIAL_SLABS * TR_TRIAL_PARTS, MOST_PER_PART = 4 };

typedef struct trial_run {
    const tr_run *run;
    tr_comm *comm;
    const tr_trial_spec *spec;
    tr_options options; /* those of the value being tried, */
    void *params;       /* and of the algorithm */
    tr_geometry *geometries;
    /* Of the volume; where there are too few rows for all slices of a slab, each is used
     * for some of them. */
    size_t slab_slices, slab_rows, slab_first[TR_TRIAL_SLABS];
    double *numbers; /* of all measures: summed over the processes in one go */
    size_t n_numbers;
    tr_trial_measure *measures; /* one per value, in numbers */
    tr_trial_weight *weights;   /* the same */
    tr_trial_sheet_layout layout;
    double *pixels;
    double updates;
} trial_run;

/* ---- what is tried ---- */

/* At a sixth, the middle and five sixths of the slices, as is usual for positioning. */
static tr_status choose_slabs(trial_run *t)
{
    const tr_job *job = &t->run->volumes[0].job;
    size_t n = job->output_spec.n_slices, per_part = n / LEAST_SLICES;
    bool few = n < LEAST_SLICES, otherwise_known = t->run->inputs.axis_looked_for;
    if (few && !otherwise_known)
        return tr_fail(
            TR_ERR_USAGE,
            "--try needs at least %d slices for its three slabs, and there are "
            "%zu; give more with --slices, or bin less",
            LEAST_SLICES, n);
    per_part = few ? 1 : per_part < MOST_PER_PART ? per_part : MOST_PER_PART;
    t->slab_slices = per_part * TR_TRIAL_PARTS;
    t->slab_rows = t->slab_slices < n ? t->slab_slices : n;
    for (size_t k = 0; k < TR_TRIAL_SLABS; k++) {
        size_t middle = (2 * k + 1) * n / (2 * TR_TRIAL_SLABS), half = t->slab_rows / 2;
        size_t first = middle > half ? middle - half : 0, last = n - t->slab_rows;
        t->slab_first[k] = job->first_slice + (first < last ? first : last);
    }
    return TR_OK;
}

static void set_value(tr_options *o, const tr_trial_spec *spec, size_t k)
{
    double value = tr_trial_value(spec, k);
    switch (spec->what) {
    case TR_TRIAL_TILT_OFFSET:
        o->tilt_offset = value;
        break;
    case TR_TRIAL_AXIS_SHIFT:
        o->axis_shift = value;
        break;
    case TR_TRIAL_PITCH:
        o->pitch = value;
        break;
    case TR_TRIAL_Z_SHIFT:
        o->z_shift = value;
        break;
    case TR_TRIAL_THICKNESS:
        o->thickness = (long)value;
        break;
    case TR_TRIAL_LAMBDA:
    case TR_TRIAL_SAMPLES:
        break;
    }
}

/* The weight is the algorithm's own option. */
static void set_params(trial_run *t, size_t k)
{
    const tr_algorithm *a = t->run->command.algorithm;
    double *times = tr_algorithm_option(a, t->params, TR_LAMBDA_TIMES);
    memcpy(t->params, t->run->command.params, a->params_size);
    if (t->spec->what == TR_TRIAL_LAMBDA && times)
        *times = tr_trial_value(t->spec, k);
}

static tr_status make_geometries(trial_run *t)
{
    t->geometries = tr_calloc("the trials", t->spec->n, sizeof *t->geometries);
    if (!t->geometries)
        return TR_ERR_MEMORY;
    tr_options options = t->run->command.options;
    tr_status status = TR_OK;
    for (size_t k = 0; k < t->spec->n && status == TR_OK; k++) {
        set_value(&options, t->spec, k);
        status =
            tr_reconstruction_geometry(&t->run->volumes[0], &options, &t->geometries[k]);
    }
    return status;
}

/* One place for each value's numbers; a picture for each panel. */
static tr_status make_room(trial_run *t)
{
    size_t n = t->spec->n, highest = 0;
    for (size_t k = 0; k < n; k++) {
        size_t planes = t->geometries[k].thickness;
        t->n_numbers += TR_TRIAL_UNITS * TR_TRIAL_THIRDS * (2 + planes);
        highest = planes > highest ? planes : highest;
    }
    _Static_assert(sizeof(tr_trial_weight) == 2 * sizeof(double), "two of the numbers");
    t->n_numbers += 2 * n;
    bool samples = t->spec->what == TR_TRIAL_SAMPLES;
    t->layout = tr_trial_sheet_plan(samples ? TR_TRIAL_SLABS : n,
                                    t->spec->what == TR_TRIAL_PITCH ? TR_TRIAL_SLABS : 1,
                                    t->geometries[0].width, highest, samples ? 1 : n);
    t->numbers = tr_calloc("the figures", t->n_numbers, sizeof *t->numbers);
    t->measures = tr_calloc("the figures", n, sizeof *t->measures);
    t->pixels = tr_calloc("the contact sheet", t->layout.n_pixels, sizeof *t->pixels);
    t->params = tr_calloc("options", 1, t->run->command.algorithm->params_size);
    if (!t->numbers || !t->measures || !t->pixels || !t->params)
        return TR_ERR_MEMORY;
    t->weights = (tr_trial_weight *)t->numbers;
    double *next = t->numbers + 2 * n;
    for (size_t k = 0; k < n; k++) {
        size_t planes = t->geometries[k].thickness;
        t->measures[k] =
            (tr_trial_measure){.planes = planes,
                               .squares = next,
                               .fourths = next + TR_TRIAL_UNITS * TR_TRIAL_THIRDS,
                               .profile = next + 2 * TR_TRIAL_UNITS * TR_TRIAL_THIRDS};
        next += TR_TRIAL_UNITS * TR_TRIAL_THIRDS * (2 + planes);
    }
    return TR_OK;
}

/* The columns that every view sees in all planes and at all values: within the circle
 * about the axis that turns inside the images. */
static void choose_columns(const trial_run *t, const tr_geometry *g, tr_trial_eye *eye)
{
    size_t centre = g->width / 2;
    double middle = (double)centre, shift = 0.0, lean = 0.0;
    for (size_t k = 0; k < t->spec->n; k++) {
        const tr_geometry *other = &t->geometries[k];
        shift = fmax(shift, fabs(other->axis_u + 0.5 - (double)g->n_u / 2.0));
        size_t plane = other->thickness / 2;
        lean = fmax(lean, fabs(other->axis_z + 0.5 - (double)plane));
    }
    double radius = (double)g->n_u / 2.0, height = (double)g->thickness / 2.0 + lean;
    double half = sqrt(fmax(radius * radius - height * height, 0.0)) - shift - 2.0;
    half = fmax(half, (double)g->width / 8.0);
    middle += t->run->command.options.x_shift / (double)t->run->command.options.views.bin;
    eye->first = (size_t)fmin(fmax(middle - half, 0.0), (double)(g->width - 1) / 2.0);
    eye->end = (size_t)fmax(fmin(middle + half, (double)g->width),
                            (double)eye->first + TR_TRIAL_THIRDS);
    eye->end = eye->end < g->width ? eye->end : g->width;
}

/* ---- a trial ---- */

/* Slices on their way from the reconstruction to the eye. */
typedef struct slab_sink {
    trial_run *t;
    size_t value, first; /* `first`: slice of the volume that comes as number 0 */
    tr_trial_eye eye;
} slab_sink;

static void put_picture(slab_sink *w, size_t slab)
{
    trial_run *t = w->t;
    bool samples = t->spec->what == TR_TRIAL_SAMPLES;
    size_t panel = samples ? TR_TRIAL_SLABS - 1 - slab : w->value;
    if (!samples && t->layout.n_strips == 1 && slab != TR_TRIAL_SLABS / 2)
        return; /* the middle slab stands for all */
    size_t strip = t->layout.n_strips == 1 ? 0 : TR_TRIAL_SLABS - 1 - slab;
    tr_trial_sheet_put(&t->layout, panel, strip, w->eye.picture, w->eye.planes,
                       w->eye.scratch[0], t->pixels);
}

static tr_status put_slices(void *self, size_t slice, size_t n, const float *planes)
{
    slab_sink *w = self;
    const trial_run *t = w->t;
    for (size_t k = 0; k < n; k++)
        for (size_t slab = 0; slab < TR_TRIAL_SLABS; slab++) {
            size_t y = w->first + slice + k, first = t->slab_first[slab];
            if (y < first || y >= first + t->slab_rows)
                continue;
            for (size_t i = 0; i < t->slab_slices; i++)
                if (first + i * t->slab_rows / t->slab_slices == y)
                    tr_trial_look(&w->eye, slab, i,
                                  planes + k * w->eye.width * w->eye.planes);
            if (y + 1 == first + t->slab_rows)
                put_picture(w, slab);
        }
    return TR_OK;
}

/* Reconstruct slices [first, end) at one value, by this process alone: the trials are
 * what is shared out, so that any number of processes has work. */
static tr_status reconstruct(trial_run *t, slab_sink *w, size_t first, size_t end)
{
    tr_job job = t->run->volumes[0].job;
    const tr_method *method = t->run->command.method;
    job.comm = tr_comm_serial();
    job.geometry = t->geometries[w->value];
    job.options = &t->options;
    job.params = t->params;
    job.first_slice = w->first = first;
    job.output_spec = (tr_output_spec){.path = job.output_spec.path,
                                       .width = job.geometry.width,
                                       .thickness = job.geometry.thickness,
                                       .n_slices = end - first,
                                       .type = TR_FLOAT32,
                                       .multiply = 1.0,
                                       .sink = put_slices,
                                       .sink_self = w};
    void *plan = NULL;
    tr_status status = tr_output_open(job.comm, &job.output_spec, &job.output);
    if (status == TR_OK)
        status = method->plan(&job, &plan);
    if (status == TR_OK)
        status = method->run(&job, plan);
    tr_output_discard(job.output);
    const tr_history *h = &job.history;
    size_t middle = t->slab_first[TR_TRIAL_SLABS / 2]; /* which the sheet shows */
    if (h->n && h->values > 0.0 && first <= middle && middle < end)
        t->weights[w->value] = (tr_trial_weight){
            h->lambda, sqrt(fmax(h->squares[h->n - 1], 0.0) / h->values)};
    tr_history_free(&job.history);
    free(plan);
    t->updates += job.updates;
    return status;
}

static tr_status reconstruct_slabs(trial_run *t, slab_sink *w)
{
    const tr_geometry *g = &t->geometries[w->value];
    size_t n = t->slab_rows;
    bool together =
        t->run->command.method->whole_volume && /* all slices are needed for one */
        (!tr_geometry_frame_independent(g) || t->run->volumes[0].job.transforms);
    if (together)
        return reconstruct(t, w, t->slab_first[0], t->slab_first[TR_TRIAL_SLABS - 1] + n);
    for (size_t slab = 0; slab < TR_TRIAL_SLABS; slab++)
        TR_TRY(reconstruct(t, w, t->slab_first[slab], t->slab_first[slab] + n));
    return TR_OK;
}

static tr_status run_value(trial_run *t, size_t k)
{
    TR_ASSERT(t->geometries);
    const tr_geometry *g = &t->geometries[k];
    slab_sink w = {.t = t, .value = k};
    tr_status status = tr_trial_eye_new(g->width, g->thickness, &w.eye);
    if (status == TR_OK) {
        choose_columns(t, g, &w.eye);
        w.eye.flat_side = tr_trial_flat_side(g->width);
        w.eye.per_part = t->slab_slices / TR_TRIAL_PARTS;
        w.eye.measure = &t->measures[k];
        t->measures[k].columns = w.eye.end - w.eye.first;
        set_value(&t->options, t->spec, k);
        set_params(t, k);
        status = reconstruct_slabs(t, &w);
    }
    tr_trial_eye_free(&w.eye);
    return status;
}

static tr_status run_share(trial_run *t)
{
    double start = tr_now();
    size_t ranks = (size_t)t->comm->size, rank = (size_t)t->comm->rank;
    tr_status status = TR_OK;
    for (size_t k = rank; k < t->spec->n && status == TR_OK; k += ranks) {
        tr_log_hush(true);
        status = run_value(t, k);
        tr_log_hush(false);
        tr_log_progress(tr_trial_name(t->spec->what), (double)(k + 1), (double)t->spec->n,
                        t->updates * (double)ranks, tr_now() - start);
    }
    return status;
}

/* ---- the whole ---- */

static tr_status prepare(trial_run *t)
{
    TR_TRY(choose_slabs(t));
    TR_TRY(make_geometries(t));
    TR_TRY(make_room(t));
    t->options = t->run->command.options;
    t->options.checkpoint = 0.0;
    return TR_OK;
}

static void say_what(const trial_run *t)
{
    size_t n = t->spec->n;
    char values[128] = "the geometry as it is";
    if (t->spec->what != TR_TRIAL_SAMPLES)
        snprintf(values, sizeof values, "%s %g to %g %s, %zu values",
                 tr_trial_name(t->spec->what), tr_trial_value(t->spec, 0),
                 tr_trial_value(t->spec, n - 1), tr_trial_unit(t->spec->what), n);
    tr_info("trying %s: slabs of %zu slices from slices %zu, %zu and %zu", values,
            t->slab_slices, t->slab_first[0], t->slab_first[1], t->slab_first[2]);
}

static tr_status finish(trial_run *t)
{
    tr_trial_findings found = {.spec = t->spec,
                               .options = &t->run->command.options,
                               .inputs = &t->run->inputs,
                               .measures = t->measures,
                               .weights = t->weights,
                               .sigma = t->run->volumes[0].job.noise.sigma,
                               .geometries = t->geometries,
                               .layout = &t->layout,
                               .pixels = t->pixels,
                               .slab_slices = t->slab_slices,
                               .slab_first = t->slab_first,
                               .path = t->run->volumes[0].job.output_spec.path};
    TR_TRY(tr_trial_say(&found));
    tr_info("wrote %s", found.path);
    return TR_OK;
}

static tr_status run_all(trial_run *t)
{
    tr_comm *comm = t->comm;
    double start = tr_now();
    TR_TRY(comm->ops->agree(comm, prepare(t)));
    say_what(t);
    if (t->run->command.options.dry_run) {
        tr_info("this was a dry run: nothing is written");
        return TR_OK;
    }
    TR_TRY(comm->ops->agree(comm, run_share(t)));
    TR_TRY(tr_comm_gather(comm, t->numbers, t->n_numbers));
    TR_TRY(tr_comm_gather(comm, t->pixels, t->layout.n_pixels));
    TR_TRY(comm->ops->agree(comm, comm->rank == 0 ? finish(t) : TR_OK));
    tr_info("everything took %.2f s", tr_now() - start);
    return TR_OK;
}

tr_status tr_trial_run(const tr_run *run, tr_comm *comm)
{
    trial_run t = {.run = run, .comm = comm, .spec = &run->command.trial};
    tr_status status = run_all(&t);
    for (size_t k = 0; t.geometries && k < t.spec->n; k++)
        tr_geometry_free(&t.geometries[k]);
    free(t.geometries);
    free(t.measures);
    free(t.params);
    free(t.numbers);
    free(t.pixels);
    return status;
}
