/* From memory to the file in one pass: slices are transposed, scaled, converted,
 * measured, hashed and written by blocks of lines that stay in the cache. Threads share
 * the slices; the values of one are always added up in the same order, so neither threads
 * nor slabs show in the statistics. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "common/tomogram/output_private.h"
#include "common/tomogram/verify.h"
#include "kernels/backend.h"
#include "kernels/samples.h"

enum {
    ROWS = TR_LANES, /* slices of one thread: a line of the cache has so many values */
    VALUES =
        1 << 14, /* of a block and slice: writing less at once costs more than that */
    APART = 16   /* more between the slices of a block, which else share a set of lines */
};

/* n slices from number `slice` on: `from` are lines[line][lanes] of the volume if `lanes`
 * is not 0, else planes[n][thickness][width]. */
typedef struct pass {
    tr_output *o;
    const tr_samples *samples;
    const float *from;
    size_t lanes, slice, n;
    tr_type type;         /* of the samples written: float32 before automatic scaling */
    bool scaled;          /* or not at all: value + 0, times 1 */
    size_t at_once;       /* lines of each slice in a block */
    size_t line_bytes;    /* of one in the file */
    tr_shared_file *file; /* that is written to */
} pass;

/* What a thread works in. */
typedef struct room {
    float *values; /* [ROWS][pitch] */
    char
        *samples; /* as they go to the file: [slice][line] or, order xyz, [line][slice] */
} room;

/* A slice as far as it is written. */
typedef struct progress {
    tr_measuring m;
    uint32_t check;
    bool finite; /* before the conversion, which makes something finite of all */
} progress;

static size_t block_lines(const tr_output_spec *s)
{
    size_t lines = s->width < VALUES ? VALUES / s->width : 1;
    return lines < s->thickness ? lines : s->thickness;
}

/* Between two slices of a block; also room for the values that tell of the mean. */
static size_t block_pitch(const tr_output_spec *s)
{
    size_t values = block_lines(s) * s->width;
    return (values > TR_MEASURE_START ? values : TR_MEASURE_START) + APART;
}

static size_t room_floats(const tr_output_spec *s) { return ROWS * block_pitch(s); }

size_t tr_output_bytes(const tr_output_spec *s)
{
    return s->sink ? 0 : tr_output_threads(s) * 2 * room_floats(s) * sizeof(float);
}

tr_status tr_output_make_room(tr_output *o, size_t *floats)
{
    *floats = room_floats(&o->spec);
    if (!o->room)
        o->room = tr_calloc("rows of the output", tr_output_bytes(&o->spec), 1);
    return o->room ? TR_OK : TR_ERR_MEMORY;
}

void tr_output_free_room(tr_output *o)
{
    free(o->room);
    o->room = NULL;
}

/* `count` values from `at` on of n slices, the first of them number `row` of the pass;
 * *pitch lies between two slices. In r->values unless they are written as they are. */
static const float *fetch(const pass *p, size_t row, size_t n, size_t at, size_t count,
                          const room *r, size_t *pitch)
{
    const tr_output_spec *spec = &p->o->spec;
    const size_t plane = spec->width * spec->thickness;
    const float *planes = p->from + row * plane + at;
    *pitch = block_pitch(spec);
    if (p->lanes) {
        p->samples->transpose(p->from + at * p->lanes + row, p->lanes, n, count,
                              r->values, *pitch);
        return r->values;
    }
    if (p->type == TR_FLOAT32 && !p->scaled) {
        *pitch = plane;
        return planes;
    }
    for (size_t k = 0; k < n; k++)
        memcpy(r->values + k * *pitch, planes + k * plane, count * sizeof *planes);
    return r->values;
}

/* Values become what a reader of the file will get, and `samples` those in the file. */
static void convert(const pass *p, float *values, size_t n, void *samples)
{
    p->samples->from_float[p->type](values, n, samples);
    p->samples->to_float[p->type](samples, n, values);
}

/* The first values tell about where the mean is. */
static void begin(const pass *p, size_t row, size_t n, const room *r, progress *slices)
{
    const tr_output_spec *spec = &p->o->spec;
    size_t plane = spec->width * spec->thickness, pitch;
    size_t start = plane < TR_MEASURE_START ? plane : TR_MEASURE_START;
    const float *values = fetch(p, row, n, 0, start, r, &pitch);
    for (size_t k = 0; k < n; k++) {
        if (p->scaled)
            p->samples->scale(r->values + k * pitch, start, spec->add, spec->multiply);
        if (p->type != TR_FLOAT32)
            convert(p, r->values + k * pitch, start, r->samples);
        slices[k] = (progress){.finite = true};
    }
    for (size_t k = 0; k < n; k++)
        tr_measure_begin(values + k * pitch, start, &slices[k].m);
}

/* Slice k's line of a block of n slices and `lines` lines, among the samples. */
static char *sample_line(const pass *p, const room *r, size_t n, size_t lines, size_t k,
                         size_t z)
{
    size_t line = p->o->spec.xyz ? z * n + k : k * lines + z;
    return r->samples + line * p->line_bytes;
}

/* Lines z0 .. z0 + lines - 1 of n slices: into the samples, and into what is known of
 * the slices. Of float32 in order xzy the values are the samples. */
static const float *take_block(const pass *p, size_t row, size_t n, size_t z0,
                               size_t lines, const room *r, progress *slices,
                               size_t *pitch)
{
    const tr_output_spec *spec = &p->o->spec;
    const size_t width = spec->width, count = lines * width;
    const float *values = fetch(p, row, n, z0 * width, count, r, pitch);
    for (size_t k = 0; k < n; k++) {
        const float *slice = values + k * *pitch;
        float *own = r->values + k * *pitch;
        if (p->scaled)
            p->samples->scale(own, count, spec->add, spec->multiply);
        if (p->type != TR_FLOAT32)
            slices[k].finite = p->samples->finite(own, count) && slices[k].finite;
        for (size_t z = 0; z < lines; z++) {
            char *to = sample_line(p, r, n, lines, k, z);
            if (p->type != TR_FLOAT32)
                convert(p, own + z * width, width, to);
            else if (spec->xyz)
                memcpy(to, slice + z * width, p->line_bytes);
            slices[k].check += tr_verify_line(z0 + z, slice + z * width, width);
        }
        p->samples->measure(slice, count, &slices[k].m);
    }
    return values;
}

/* Where a section begins in the file that is written to. */
static uint64_t section_start(const pass *p, size_t section)
{
    const tr_output *o = p->o;
    return o->raw ? (uint64_t)section * tr_output_section_samples(o) * sizeof(float)
                  : o->section_offset[section];
}

/* One thread at a time. */
static tr_status write_block(const pass *p, size_t row, size_t n, size_t z0, size_t lines,
                             const room *r, const float *values, size_t pitch)
{
    const tr_output *o = p->o;
    bool as_they_are = p->type == TR_FLOAT32;
    for (size_t k = 0; k < n && !o->spec.xyz; k++) {
        const void *from = as_they_are ? (const void *)(values + k * pitch)
                                       : sample_line(p, r, n, lines, k, 0);
        uint64_t at = section_start(p, p->slice + row + k) + z0 * p->line_bytes;
        TR_TRY(o->comm->ops->write(p->file, at, from, lines * p->line_bytes));
    }
    for (size_t z = 0; z < lines && o->spec.xyz; z++) {
        /* Rotated about x: the hand is kept. */
        uint64_t at = section_start(p, o->spec.thickness - 1 - (z0 + z)) +
                      (p->slice + row) * p->line_bytes;
        TR_TRY(o->comm->ops->write(p->file, at, sample_line(p, r, n, lines, 0, z),
                                   n * p->line_bytes));
    }
    return TR_OK;
}

static tr_status note_written(tr_output *o, size_t slice, size_t n)
{
    for (size_t k = slice; k < slice + n && o->journal; k++) {
        const tr_slice_sums *s = &o->sums[k];
        const double values[TR_JOURNAL_VALUES] = {s->min, s->max, s->mean, s->squares,
                                                  s->check};
        TR_TRY(tr_journal_add(o->journal, k, values));
    }
    return TR_OK;
}

/* n <= ROWS slices from number `row` of the pass on. */
static tr_status write_slices(const pass *p, size_t row, size_t n, const room *r)
{
    tr_output *o = p->o;
    progress slices[ROWS];
    TR_TRY(tr_output_check_files(o, false));
    begin(p, row, n, r, slices);
    for (size_t z = 0; z < o->spec.thickness; z += p->at_once) {
        size_t rest = o->spec.thickness - z, pitch;
        size_t lines = rest < p->at_once ? rest : p->at_once;
        const float *values = take_block(p, row, n, z, lines, r, slices, &pitch);
        pthread_mutex_lock(&o->one_writer);
        tr_status status = write_block(p, row, n, z, lines, r, values, pitch);
        pthread_mutex_unlock(&o->one_writer);
        TR_TRY(status);
    }
    for (size_t k = 0; k < n; k++) {
        tr_slice_sums *sums = &o->sums[p->slice + row + k];
        *sums = tr_measure_end(&slices[k].m);
        sums->check = (double)slices[k].check;
        if (!slices[k].finite)
            sums->mean = NAN;
    }
    pthread_mutex_lock(&o->one_writer);
    tr_status status = note_written(o, p->slice + row, n);
    pthread_mutex_unlock(&o->one_writer);
    return status;
}

static tr_status share_out(const pass *p, size_t threads, size_t rows)
{
    tr_output *o = p->o;
    size_t floats;
    TR_TRY(tr_output_make_room(o, &floats));
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (size_t row = 0; row < p->n; row += rows) {
        size_t n = p->n - row < rows ? p->n - row : rows;
        float *own = o->room + 2 * floats * (size_t)omp_get_thread_num();
        const room r = {own, (char *)(own + floats)};
        if (tr_first_error_needs(&failure, row))
            tr_first_error_note(&failure, row, write_slices(p, row, n, &r));
    }
    return tr_first_error_end(&failure);
}

/* Of planes, as many as give each thread work; lines are read 16 slices at a time. */
static size_t rows_at_once(const pass *p, size_t threads)
{
    size_t share = (p->n + threads - 1) / threads;
    return p->lanes || share > ROWS ? ROWS : share;
}

static tr_type written_type(const tr_output_spec *s)
{
    return s->automatic ? TR_FLOAT32 : s->type;
}

static bool is_scaled(const tr_output_spec *s)
{
    return s->add != 0.0 || s->multiply != 1.0;
}

static tr_status write_pass(tr_output *o, size_t slice, size_t n, const float *from,
                            size_t lanes)
{
    const tr_type type = written_type(&o->spec);
    const pass p = {.o = o,
                    .samples = tr_samples_best(),
                    .from = from,
                    .lanes = lanes,
                    .slice = slice,
                    .n = n,
                    .type = type,
                    .scaled = is_scaled(&o->spec),
                    .at_once = block_lines(&o->spec),
                    .line_bytes = o->spec.width * tr_type_size(type),
                    .file = o->raw ? o->raw_file : o->file};
    size_t threads = tr_output_threads(&o->spec);
    return share_out(&p, threads, rows_at_once(&p, threads));
}

tr_status tr_output_write(tr_output *o, size_t slice, size_t n, const float *planes)
{
    if (o->spec.sink)
        return o->spec.sink(o->spec.sink_self, slice, n, planes);
    return write_pass(o, slice, n, planes, 0);
}

tr_status tr_output_write_lines(tr_output *o, size_t slice, size_t n, const float *lines,
                                size_t lanes)
{
    TR_ASSERT(!o->spec.sink && lanes >= n);
    return write_pass(o, slice, n, lines, lanes);
}

/* ---- what a device made ---- */

_Static_assert((int)TR_INT8 == TR_SAMPLE_INT8 && (int)TR_UINT8 == TR_SAMPLE_UINT8 &&
                   (int)TR_INT16 == TR_SAMPLE_INT16 &&
                   (int)TR_UINT16 == TR_SAMPLE_UINT16 &&
                   (int)TR_FLOAT32 == TR_SAMPLE_FLOAT32 &&
                   (int)TR_FLOAT16 == TR_SAMPLE_FLOAT16,
               "the kernels' types are those of files");

bool tr_output_takes(const tr_output_spec *spec, tr_take *take)
{
    *take = (tr_take){.width = spec->width,
                      .thickness = spec->thickness,
                      .type = (int)written_type(spec),
                      .xyz = spec->xyz,
                      .scaled = is_scaled(spec),
                      .add = spec->add,
                      .multiply = spec->multiply};
    return !spec->sink && spec->width >= TR_TAKE_WIDTH;
}

static tr_slice_sums known_of(const tr_taken *taken)
{
    tr_slice_sums sums = tr_measure_end(&taken->m);
    sums.check = (double)(uint32_t)taken->check;
    for (size_t j = 0; j < TR_MEASURE_PARTS; j++)
        if (taken->infinite[j])
            sums.mean = NAN;
    return sums;
}

/* The samples are together as they are in the file: a slice, or a line of all slices. */
static tr_status write_together(const pass *p, const char *samples)
{
    const tr_output *o = p->o;
    const tr_output_spec *spec = &o->spec;
    size_t pieces = spec->xyz ? spec->thickness : p->n;
    size_t bytes = (spec->xyz ? p->n : spec->thickness) * p->line_bytes;
    for (size_t k = 0; k < pieces; k++) {
        uint64_t at = spec->xyz ? section_start(p, spec->thickness - 1 - k) +
                                      p->slice * p->line_bytes
                                : section_start(p, p->slice + k);
        TR_TRY(o->comm->ops->write(p->file, at, samples + k * bytes, bytes));
    }
    return TR_OK;
}

tr_status tr_output_write_taken(tr_output *o, size_t slice, size_t n, const void *samples,
                                const tr_taken *taken)
{
    const size_t size = tr_type_size(written_type(&o->spec));
    const pass p = {.o = o,
                    .slice = slice,
                    .n = n,
                    .line_bytes = o->spec.width * size,
                    .file = o->raw ? o->raw_file : o->file};
    TR_TRY(tr_output_check_files(o, false));
    TR_TRY(write_together(&p, samples));
    for (size_t k = 0; k < n; k++)
        o->sums[slice + k] = known_of(&taken[k]);
    return note_written(o, slice, n);
}
