#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/base/file_name.h"
#include "common/base/mem.h"
#include "common/series/series_private.h"

static tr_status write_prepared(const tr_series *s, size_t place, const float *image)
{
    size_t bytes = s->own_u * s->own_v * sizeof *image;
    off_t offset = (off_t)(place * bytes);
    for (const char *from = (const char *)image; bytes;) {
        ssize_t n = pwrite(s->prepared, from, bytes, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail(TR_ERR_DATA, "writing the prepared series failed: %s",
                           strerror(errno));
        from += n, offset += n, bytes -= (size_t)n;
    }
    return TR_OK;
}

/* Where the images of one view go. */
typedef struct images {
    const tr_series *series;
    size_t view;
} images;

static tr_status write_image(void *data, size_t k, const float *image)
{
    const images *i = data;
    return write_prepared(i->series, i->series->place[i->view] + k, image);
}

typedef struct preparation {
    tr_series *series;
    const tr_view_plans *plans;
} preparation;

typedef struct room {
    float *raw, *prepared;
} room;

static tr_status prepare_view(void *data, size_t k, void *thread)
{
    const preparation *of = data;
    const tr_view_plans *plans = of->plans;
    tr_series *s = of->series;
    float *raw = ((room *)thread)->raw, *prepared = ((room *)thread)->prepared;
    const tr_view_facts facts = tr_series_facts(s, k);
    TR_TRY(tr_content_read(&s->content, k, s->image, s->views.view[k].section, 0,
                           s->raw_v, raw));
    if (s->bands) {
        const tr_view_depths depths = {.n = s->bands[k].n,
                                       .first = s->per_depth * s->bands[k].first,
                                       .step = s->per_depth * s->bands[k].step};
        return tr_view_steps_several(plans, &facts, &depths, raw, prepared, write_image,
                                     &(images){s, k});
    }
    TR_TRY(tr_view_steps_image(plans, &facts, raw, prepared));
    return write_prepared(s, s->place[k], prepared);
}

tr_view_plans *tr_series_plans(const tr_series *s)
{
    size_t padding = 0;
    for (size_t k = 0; k < s->n_views; k++) {
        const tr_view_facts facts = tr_series_facts(s, k);
        size_t own = tr_view_steps_padding(&s->steps, &facts);
        padding = own > padding ? own : padding;
    }
    return tr_view_plans_new(&s->steps, s->raw_u, s->raw_v, padding);
}

int tr_series_workers(const tr_series_spec *spec, const tr_view_plans *plans)
{
    /* Of the four images that these are for, the spectrum is there twice. */
    size_t bytes = tr_view_plans_bytes(plans) / 4 * (spec->bands ? 5 : 4);
    size_t fits = spec->memory / bytes;
    int workers = fits < (size_t)spec->threads ? (int)fits : spec->threads;
    return workers > 0 ? workers : 1;
}

static tr_status begin_view(void *data, void **thread)
{
    const tr_series *s = ((const preparation *)data)->series;
    room *r = *thread = tr_calloc("a view to prepare", 1, sizeof *r);
    if (!r)
        return TR_ERR_MEMORY;
    r->raw = tr_calloc("a view to prepare", s->raw_u * s->raw_v, sizeof *r->raw);
    r->prepared = tr_calloc("a prepared view", s->own_u * s->own_v, sizeof *r->prepared);
    return r->raw && r->prepared ? TR_OK : TR_ERR_MEMORY;
}

static void end_view(void *thread)
{
    room *r = thread;
    if (!r)
        return;
    free(r->raw);
    free(r->prepared);
    free(r);
}

static tr_status prepare_share(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    tr_view_plans *plans = tr_series_plans(s);
    if (!plans)
        return TR_ERR_MEMORY;
    const tr_view_work work = {&(preparation){s, plans}, begin_view, prepare_view,
                               end_view};
    tr_status status =
        tr_series_share(comm, s->n_views, tr_series_workers(spec, plans), &work);
    tr_view_plans_free(plans);
    return status;
}

/* For several ranks a file has to have a name for a moment. Another run, or a dry run,
 * may have one there as well, so it has a number that rank 0 has drawn. */
static tr_status name_scratch(tr_comm *comm, const char *scratch, char **name)
{
    double number = 0.0;
    unsigned long long drawn = 0;
    if (comm->rank == 0) {
        if (getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != sizeof drawn)
            drawn = (unsigned long long)getpid();
        number = (double)(drawn & 0xffffffffffff);
    }
    TR_TRY(comm->ops->broadcast(comm, &number, 1));
    *name = tr_format_string("%s-%012llx", scratch, (unsigned long long)number);
    return comm->ops->agree(comm, *name ? TR_OK : TR_ERR_MEMORY);
}

static tr_status cannot_create(const char *name)
{
    return tr_fail(TR_ERR_DATA, "%s cannot be created for the prepared series: %s", name,
                   strerror(errno));
}

/* Rank 0 makes the file, all open it, rank 0 removes its name: it is gone with the last
 * process however the run ends. */
static tr_status open_named(tr_comm *comm, tr_series *s, const char *name)
{
    tr_status status = TR_OK;
    if (comm->rank == 0) {
        s->prepared = tr_file_create(name, 0600);
        if (s->prepared < 0)
            status = cannot_create(name);
    }
    TR_TRY(comm->ops->agree(comm, status));
    if (comm->rank != 0) {
        s->prepared = open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (s->prepared < 0)
            status = tr_fail(TR_ERR_DATA, "%s cannot be opened on every machine: %s",
                             name, strerror(errno));
    }
    status = comm->ops->agree(comm, status);
    if (comm->rank == 0)
        unlink(name);
    return status;
}

tr_status tr_series_prepare(tr_comm *comm, tr_series *s, const tr_series_spec *spec)
{
    if (comm->size == 1) {
        s->prepared = tr_file_unnamed(spec->scratch);
        if (s->prepared < 0)
            return cannot_create(spec->scratch);
        return prepare_share(comm, s, spec);
    }
    char *name = NULL;
    tr_status status = name_scratch(comm, spec->scratch, &name);
    if (status == TR_OK)
        status = open_named(comm, s, name);
    free(name);
    TR_TRY(status);
    return comm->ops->agree(comm, prepare_share(comm, s, spec));
}
