#include "common/series/hand.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/first_error.h"
#include "common/base/mem.h"
#include "common/base/partition.h"
#include "common/series/series_private.h"
#include "common/views/ctf.h"

enum { MOST_VIEWS = 12, LARGE_TILE = 256, SMALL_TILE = 128, MOST_RINGS = LARGE_TILE / 2 };
enum { TERMS = 6, FEWEST_RINGS = 2 * TERMS }; /* Legendre polynomials 0 to 5 */
static const double least_tilt = 20.0 * TR_RADIANS, margin = 0.03;
/* 1/angstrom; parts of 1/pixel. */
static const double lowest = 1.0 / 60.0, highest = 0.42, plateau = 0.85 * 0.5;

/* ---- spectra ---- */

/* Tiles of a view at about the same distance from the axis; from 0. */
typedef struct group {
    double tiles, u; /* how many, and the sum of their distances, pixels */
    double power[MOST_RINGS];
} group;

typedef struct look {
    const tr_series *series;
    size_t tile, rings, n_groups; /* of a view: half of these are left of the axis */
    double shift;
    size_t view[MOST_VIEWS], n_views;
    double window[LARGE_TILE];
} look;

typedef struct tile_rings {
    size_t rings;
    double *power;
} tile_rings;

static void add_rings(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    const tile_rings *t = data;
    double power[MOST_RINGS] = {0.0}, count[MOST_RINGS] = {0.0};
    for (size_t ky = 0; ky < ny; ky++) {
        double y = ky > ny / 2 ? (double)ky - (double)ny : (double)ky;
        for (size_t kx = 0; kx <= nx / 2; kx++) {
            size_t ring = (size_t)sqrt((double)(kx * kx) + y * y);
            const float *f = spectrum[ky * (nx / 2 + 1) + kx];
            if (ring >= t->rings)
                continue;
            power[ring] += (double)f[0] * f[0] + (double)f[1] * f[1];
            count[ring] += 1.0;
        }
    }
    for (size_t r = 0; r < t->rings; r++)
        t->power[r] += power[r] / count[r];
}

/* The tile at (x, y), without its mean and faded to its edges. */
static void cut_tile(const look *l, const float *image, size_t x, size_t y, float *tile)
{
    size_t n = l->tile, nx = l->series->raw_u;
    double sum = 0.0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++)
            sum += image[(y + j) * nx + x + i];
    double mean = sum / (double)(n * n);
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++)
            tile[j * n + i] = (float)(l->window[i] * l->window[j] *
                                      (image[(y + j) * nx + x + i] - mean));
}

/* Of a tile's middle, right of the axis in the aligned image. */
static double distance(const look *l, size_t k, size_t x, size_t y)
{
    const tr_series *s = l->series;
    const tr_transform *t = &s->views.view[k].transform;
    double half = 0.5 * (double)l->tile;
    double u = (double)x + half - 0.5 * (double)s->raw_u;
    double v = (double)y + half - 0.5 * (double)s->raw_v;
    if (s->views.has_transforms)
        u = t->a11 * u + t->a12 * v + t->dx * (double)s->steps.params.bin;
    return u - l->shift;
}

static tr_status add_tiles(const look *l, size_t k, const tr_fourier_crop *plan,
                           const float *image, float *tile, group *groups)
{
    const tr_series *s = l->series;
    size_t step = l->tile / 2;
    for (size_t y = 0; y + l->tile <= s->raw_v; y += step)
        for (size_t x = 0; x + l->tile <= s->raw_u; x += step) {
            double u = distance(l, k, x, y);
            double of = floor(u / (double)step + 0.5) + 0.5 * (double)l->n_groups;
            if (!(of >= 0.0 && of < (double)l->n_groups))
                continue;
            group *to = groups + (size_t)of;
            to->tiles += 1.0;
            to->u += u;
            cut_tile(l, image, x, y, tile);
            TR_TRY(tr_fourier_crop_run(plan, tile, add_rings,
                                       &(tile_rings){l->rings, to->power}, NULL));
        }
    return TR_OK;
}

static tr_status look_at_view(const look *l, size_t k, const tr_fourier_crop *plan,
                              float *image, float *tile, group *groups)
{
    const tr_series *s = l->series;
    const tr_view_facts facts = tr_series_facts(s, k);
    const tr_window_2d all = {.nx = s->raw_u, .ny = s->raw_v};
    TR_TRY(tr_content_read(&s->content, k, s->image, s->views.view[k].section, 0,
                           s->raw_v, image));
    tr_view_steps_pixels(&s->steps, &facts, &all, image);
    return add_tiles(l, k, plan, image, tile, groups);
}

static tr_status look_at_share(tr_comm *comm, const look *l, int threads, group *groups)
{
    const tr_series *s = l->series;
    size_t first, count;
    tr_partition(l->n_views, (size_t)comm->size, (size_t)comm->rank, &first, &count);
    tr_fourier_crop *plan = tr_fourier_crop_new(l->tile, l->tile, 1, 0);
    if (!plan)
        return TR_ERR_MEMORY;
    tr_first_error failure = TR_NO_ERROR_YET;
#pragma omp parallel num_threads(threads)
    {
        float *image = tr_calloc("a view to look at", s->raw_u * s->raw_v, sizeof *image);
        float *tile = tr_calloc("a part of a view", l->tile * l->tile, sizeof *tile);
#pragma omp for schedule(dynamic)
        for (size_t i = first; i < first + count; i++)
            if (tr_first_error_needs(&failure, i))
                tr_first_error_note(&failure, i,
                                    image && tile
                                        ? look_at_view(l, l->view[i], plan, image, tile,
                                                       groups + i * l->n_groups)
                                        : TR_ERR_MEMORY);
        free(image);
        free(tile);
    }
    tr_fourier_crop_free(plan);
    return tr_first_error_end(&failure);
}

/* ---- what they say ---- */

typedef struct scores {
    size_t rings, first, n; /* all, and those that count */
    double pixel;
    double smooth[TERMS][MOST_RINGS]; /* orthonormal, of these rings */
    double reference;                 /* the mean defocus */
    double product[TR_HANDS], model[TR_HANDS], data[TR_HANDS];
    double mean[TR_HANDS][MOST_RINGS]; /* of the stretched rings */
    size_t n_curves;
} scores;

static double frequency(const scores *s, size_t i)
{
    return ((double)(s->first + i) + 0.5) / (2.0 * (double)s->rings * s->pixel);
}

static double inner(const double *a, const double *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Legendre's in log f, one after the other made orthogonal to those before. */
static void make_smooth(scores *s)
{
    double low = log(frequency(s, 0)), high = log(frequency(s, s->n - 1));
    for (size_t i = 0; i < s->n; i++) {
        double x = 2.0 * (log(frequency(s, i)) - low) / (high - low) - 1.0;
        s->smooth[0][i] = 1.0;
        s->smooth[1][i] = x;
        for (int t = 2; t < TERMS; t++)
            s->smooth[t][i] = ((2.0 * t - 1.0) * x * s->smooth[t - 1][i] -
                               (t - 1.0) * s->smooth[t - 2][i]) /
                              t;
    }
    for (int t = 0; t < TERMS; t++) {
        double *of = s->smooth[t];
        for (int before = 0; before < t; before++) {
            double part = inner(of, s->smooth[before], s->n);
            for (size_t i = 0; i < s->n; i++)
                of[i] -= part * s->smooth[before][i];
        }
        double length = sqrt(inner(of, of, s->n));
        for (size_t i = 0; i < s->n; i++)
            of[i] /= length;
    }
}

static void take_smooth(const scores *s, double *curve)
{
    for (int t = 0; t < TERMS; t++) {
        double part = inner(curve, s->smooth[t], s->n);
        for (size_t i = 0; i < s->n; i++)
            curve[i] -= part * s->smooth[t][i];
    }
}

/* The curve with its frequencies times `by`, 0 beyond, added to sum. */
static void add_stretched(const double *curve, size_t n, double first, double by,
                          double *sum)
{
    for (size_t i = 0; i < n; i++) {
        double at = ((double)i + first) / by - first;
        size_t low = at >= 0.0 ? (size_t)at : n;
        if (low + 1 < n)
            sum[i] += curve[low] + (at - (double)low) * (curve[low + 1] - curve[low]);
    }
}

/* A curve of the data, by the hypothesis that its tiles have this defocus. */
static void add_score(scores *s, int hand, const double *curve, const tr_ctf *view,
                      double defocus, const tr_optics *optics)
{
    double model[MOST_RINGS];
    const tr_ctf ctf = {.defocus_1 = defocus, .defocus_2 = defocus, .phase = view->phase};
    const tr_ctf_phase phase = tr_ctf_phase_of(&ctf, optics);
    for (size_t i = 0; i < s->n; i++) {
        double f = frequency(s, i), value = tr_ctf_value(&phase, f, 0.0);
        model[i] = value * value * exp(-30.0 * f);
    }
    take_smooth(s, model);
    s->product[hand] += inner(model, curve, s->n);
    s->model[hand] += inner(model, model, s->n);
    s->data[hand] += inner(curve, curve, s->n);
    add_stretched(curve, s->n, (double)s->first + 0.5, sqrt(defocus / s->reference),
                  s->mean[hand]);
}

/* Of the group's mean power over its plateau; false: it has none. */
static bool make_curve(const scores *s, const group *of, double *curve)
{
    double high = 0.0, n = 0.0;
    for (size_t r = (size_t)(2.0 * plateau * (double)s->rings); r < s->rings; r++) {
        high += of->power[r];
        n += 1.0;
    }
    for (size_t i = 0; i < s->n; i++)
        if (!(of->power[s->first + i] > 0.0) || !(high > 0.0))
            return false;
    for (size_t i = 0; i < s->n; i++)
        curve[i] = log(of->power[s->first + i] * n / high);
    take_smooth(s, curve);
    return true;
}

static void add_group(scores *s, const look *l, size_t k, double slope, const group *of,
                      tr_hand *hand)
{
    const tr_view_params *p = &l->series->steps.params;
    const tr_optics optics = {p->voltage, p->cs, p->amplitude};
    const tr_ctf *ctf = &l->series->views.view[k].ctf;
    double curve[MOST_RINGS], middle = 0.5 * (ctf->defocus_1 + ctf->defocus_2);
    double more = of->tiles > 0.0 ? s->pixel * slope * of->u / of->tiles : 0.0;
    /* At the axis both are alike; and so near to focus there are no rings. */
    if (fabs(more) < 1.0 || fabs(more) > 0.75 * fabs(middle) ||
        !(middle / s->reference > 0.0) || !make_curve(s, of, curve))
        return;
    hand->n_tiles += (size_t)of->tiles;
    s->n_curves++;
    add_score(s, TR_HAND_IS_PLUS, curve, ctf, middle + more, &optics);
    add_score(s, TR_HAND_IS_MINUS, curve, ctf, middle - more, &optics);
}

static void conclude(const scores *s, tr_hand *hand)
{
    if (!s->n_curves)
        return;
    for (int h = 0; h < TR_HANDS; h++) {
        double sum = 0.0, squares = 0.0, n = (double)s->n;
        double size = sqrt(s->model[h] * s->data[h]);
        hand->model[h] = size > 0.0 ? s->product[h] / size : 0.0;
        for (size_t i = 0; i < s->n; i++) {
            double value = s->mean[h][i] / (double)s->n_curves;
            sum += value;
            squares += value * value;
        }
        hand->stretched[h] = fmax(squares / n - sum * sum / (n * n), 0.0);
    }
    double more = hand->model[TR_HAND_IS_PLUS] - hand->model[TR_HAND_IS_MINUS];
    double also = hand->stretched[TR_HAND_IS_PLUS] - hand->stretched[TR_HAND_IS_MINUS];
    if (fabs(more) > margin && more * also > 0.0)
        hand->verdict = more > 0.0 ? 1 : -1;
}

static void judge(const look *l, const tr_geometry *g, const group *groups, tr_hand *hand)
{
    scores s = {.rings = l->rings, .pixel = l->series->pixel};
    while (s.first < l->rings && frequency(&s, 0) <= lowest)
        s.first++;
    while (s.first + s.n < l->rings && frequency(&s, s.n) < highest / s.pixel)
        s.n++;
    if (s.n < FEWEST_RINGS)
        return;
    make_smooth(&s);
    for (size_t i = 0; i < l->n_views; i++) {
        const tr_ctf *ctf = &l->series->views.view[l->view[i]].ctf;
        s.reference += 0.5 * (ctf->defocus_1 + ctf->defocus_2) / (double)l->n_views;
    }
    for (size_t i = 0; i < l->n_views; i++)
        for (size_t k = 0; k < l->n_groups; k++)
            add_group(&s, l, l->view[i], tan(g->tilt[l->view[i]]),
                      groups + i * l->n_groups + k, hand);
    conclude(&s, hand);
}

/* ---- all of it ---- */

/* Evenly among those that are tilted enough, in the order of the file. */
static void choose_views(const tr_geometry *g, look *l)
{
    size_t n = 0, at = 0;
    for (size_t k = 0; k < g->n_views; k++)
        n += fabs(g->tilt[k]) >= least_tilt;
    l->n_views = n < MOST_VIEWS ? n : MOST_VIEWS;
    for (size_t k = 0, i = 0; k < g->n_views && i < l->n_views; k++) {
        if (fabs(g->tilt[k]) < least_tilt)
            continue;
        if (at++ == (2 * i + 1) * n / (2 * l->n_views))
            l->view[i++] = k;
    }
}

tr_status tr_hand_check(tr_comm *comm, const tr_series *series, const tr_geometry *g,
                        double shift, int threads, tr_hand *hand)
{
    size_t most = series->raw_u > series->raw_v ? series->raw_u : series->raw_v;
    size_t least = series->raw_u < series->raw_v ? series->raw_u : series->raw_v;
    look l = {.series = series, .shift = shift};
    l.tile = most >= 4 * LARGE_TILE && least >= LARGE_TILE ? LARGE_TILE : SMALL_TILE;
    l.rings = l.tile / 2;
    l.n_groups = 2 * (size_t)ceil((double)most / (double)(l.tile / 2)) + 2;
    for (size_t i = 0; i < l.tile; i++)
        l.window[i] = 0.5 - 0.5 * cos(TR_PI * (double)i / (double)(l.tile - 1) * 2.0);
    choose_views(g, &l);
    *hand = (tr_hand){.n_views = l.n_views, .tile = l.tile};
    size_t n = MOST_VIEWS * l.n_groups;
    group *groups = tr_calloc("parts of views", n, sizeof *groups);
    tr_status status = comm->ops->agree(
        comm, groups ? look_at_share(comm, &l, threads, groups) : TR_ERR_MEMORY);
    if (status == TR_OK)
        status =
            tr_comm_gather(comm, &groups->tiles, n * sizeof *groups / sizeof(double));
    if (status == TR_OK)
        judge(&l, g, groups, hand);
    free(groups);
    return status;
}
