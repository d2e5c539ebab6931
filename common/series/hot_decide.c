#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/series/hot_pixels.h"

/* ---- the outliers of all views ---- */

enum { PLACE, INSTEAD, IS_HOT, MEMBERS };

/* On all ranks: value[start[k] * MEMBERS ...] of view k. */
typedef struct all_outliers {
    size_t *start;
    double *value;
} all_outliers;

static tr_status gather_counts(tr_comm *comm, size_t n_views, const tr_outliers *outliers,
                               all_outliers *all, tr_hot_pixels *hot)
{
    double *count = tr_calloc("the list of views", 2 * n_views, sizeof *count);
    all->start = tr_calloc("the list of views", n_views + 1, sizeof *all->start);
    tr_status status =
        comm->ops->agree(comm, count && all->start ? TR_OK : TR_ERR_MEMORY);
    for (size_t k = 0; k < n_views && status == TR_OK; k++) {
        count[2 * k] = outliers[k].too_many ? 0.0 : (double)outliers[k].n;
        count[2 * k + 1] = outliers[k].too_many;
    }
    if (status == TR_OK)
        status = tr_comm_gather(comm, count, 2 * n_views);
    for (size_t k = 0; k < n_views && status == TR_OK; k++) {
        all->start[k + 1] = all->start[k] + (size_t)count[2 * k];
        if (count[2 * k + 1] != 0.0 && hot->n_crowded++ == 0)
            hot->crowded = k;
    }
    free(count);
    return status;
}

static tr_status gather_outliers(tr_comm *comm, size_t n_views,
                                 const tr_outliers *outliers, all_outliers *all,
                                 tr_hot_pixels *hot)
{
    TR_TRY(gather_counts(comm, n_views, outliers, all, hot));
    size_t n = all->start[n_views];
    all->value = tr_calloc("hot pixels", n * MEMBERS + 1, sizeof *all->value);
    TR_TRY(comm->ops->agree(comm, all->value ? TR_OK : TR_ERR_MEMORY));
    for (size_t k = 0; k < n_views; k++)
        for (size_t i = 0; i < outliers[k].n && !outliers[k].too_many; i++) {
            const tr_outlier *o = &outliers[k].list[i];
            double *to = all->value + (all->start[k] + i) * MEMBERS;
            to[PLACE] = (double)o->place;
            to[INSTEAD] = o->instead;
            to[IS_HOT] = o->hot;
        }
    return n ? tr_comm_gather(comm, all->value, n * MEMBERS) : TR_OK;
}

/* ---- persistent ones ---- */

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Places in order, those in many views first; returns how many these are. */
static size_t find_persistent(double *place, size_t n, size_t n_views)
{
    enum { FEWEST = 3 };
    size_t found = 0;
    qsort(place, n, sizeof *place, by_number);
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && place[next] == place[i];)
            next++;
        if (next - i >= FEWEST && 10 * (next - i) > 3 * n_views)
            place[found++] = place[i];
    }
    return found;
}

static tr_status choose(const all_outliers *all, size_t n_views, size_t nx,
                        tr_hot_pixels *hot)
{
    size_t n = all->start[n_views], kept = 0;
    double *place = tr_calloc("hot pixels", n + 1, sizeof *place);
    hot->start = tr_calloc("hot pixels", n_views + 1, sizeof *hot->start);
    hot->list = tr_calloc("hot pixels", n + 1, sizeof *hot->list);
    if (!place || !hot->start || !hot->list) {
        free(place);
        return TR_ERR_MEMORY;
    }
    for (size_t i = 0; i < n; i++)
        place[i] = all->value[i * MEMBERS + PLACE];
    hot->persistent = find_persistent(place, n, n_views);
    for (size_t k = 0; k < n_views; k++) {
        for (size_t i = all->start[k]; i < all->start[k + 1]; i++) {
            const double *o = all->value + i * MEMBERS;
            size_t at = (size_t)o[PLACE];
            if (o[IS_HOT] != 0.0 ||
                bsearch(&o[PLACE], place, hot->persistent, sizeof *place, by_number))
                hot->list[kept++] = (tr_replaced){at % nx, at / nx, (float)o[INSTEAD]};
        }
        hot->start[k + 1] = kept;
    }
    free(place);
    return TR_OK;
}

tr_status tr_hot_decide(tr_comm *comm, size_t n_views, size_t nx,
                        const tr_outliers *outliers, tr_hot_pixels *hot)
{
    all_outliers all = {.start = NULL};
    *hot = (tr_hot_pixels){.n_views = n_views};
    tr_status status = gather_outliers(comm, n_views, outliers, &all, hot);
    if (status == TR_OK)
        status = comm->ops->agree(comm, choose(&all, n_views, nx, hot));
    free(all.start);
    free(all.value);
    return status;
}

double tr_hot_mean(const tr_hot_pixels *hot, size_t k, size_t nx,
                   const tr_outliers *outliers, double n)
{
    const tr_replaced *r = hot->list + hot->start[k],
                      *end = hot->list + hot->start[k + 1];
    double sum = outliers->rest;
    for (size_t i = 0; i < outliers->n; i++) {
        const tr_outlier *o = &outliers->list[i];
        bool replaced = r < end && r->y * nx + r->x == o->place;
        sum += replaced ? r->value : o->value;
        r += replaced;
    }
    return sum / n;
}

/* ---- lists ---- */

void tr_hot_pixels_free(tr_hot_pixels *hot)
{
    free(hot->start);
    free(hot->list);
    *hot = (tr_hot_pixels){.list = NULL};
}

tr_status tr_hot_select(const tr_hot_pixels *from, const size_t *part, size_t n,
                        tr_hot_pixels *hot)
{
    size_t total = 0;
    for (size_t k = 0; k < n; k++)
        total += from->start[part[k] + 1] - from->start[part[k]];
    *hot = (tr_hot_pixels){.n_views = n,
                           .start = tr_calloc("hot pixels", n + 1, sizeof *hot->start),
                           .list = tr_calloc("hot pixels", total + 1, sizeof *hot->list)};
    if (!hot->start || !hot->list)
        return TR_ERR_MEMORY;
    for (size_t k = 0; k < n; k++) {
        size_t first = from->start[part[k]], many = from->start[part[k] + 1] - first;
        memcpy(hot->list + hot->start[k], from->list + first, many * sizeof *hot->list);
        hot->start[k + 1] = hot->start[k] + many;
    }
    return TR_OK;
}
