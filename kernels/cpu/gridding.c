/* The plan of backprojection by gridding, and its entry in the backend table. */
#include "kernels/cpu/gridding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "kernels/cpu/state.h"
#include "kernels/gridding_size.h"

/* 0.97 pi TAPS (1 - 1 / (2 upsampling)) with 1.5 as much: Barnett, Magland and af
 * Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479, sec. 4; 2.30 TAPS for 2. */
static const double beta = 0.97 * TR_PI * TR_GRIDDING_TAPS * (2.0 / 3.0);
static const double half = TR_GRIDDING_TAPS / 2.0;

/* The "exponential of semicircle" at a distance of t grid points. */
static double kernel(double t)
{
    double z = t / half, rest = 1.0 - z * z;
    return rest > 0.0 ? exp(beta * (sqrt(rest) - 1.0)) : 0.0;
}

/* Its Fourier transform at f cycles per grid point, by the trapezoidal rule in the angle
 * of the semicircle, which converges as fast as for a periodic function. */
static double kernel_transform(double f)
{
    enum { STEPS = 200 };
    double sum = 0.0, step = TR_PI / STEPS;
    for (int i = 1; i < STEPS; i++) {
        double angle = i * step - TR_PI / 2.0;
        double t = half * sin(angle);
        sum += half * cos(angle) * kernel(t) * cos(2.0 * TR_PI * f * t);
    }
    return sum * step;
}

/* One more row than there are fractions, for what lies between the last and 1. */
static void fill_weights(float *weight)
{
    for (int i = 0; i <= TR_GRIDDING_FRACTIONS; i++)
        for (int tap = 0; tap < TR_GRIDDING_TAPS; tap++) {
            double fraction = (double)i / TR_GRIDDING_FRACTIONS;
            weight[i * TR_GRIDDING_ROOM + tap] =
                (float)kernel(fraction + (double)tap - half);
        }
}

static void fill_turn(size_t length, float *turn)
{
    for (size_t k = 0; k <= length / 2; k++) {
        double angle = 2.0 * TR_PI * (double)k / (double)length;
        turn[2 * k] = (float)cos(angle);
        turn[2 * k + 1] = (float)sin(angle);
    }
}

static void fill_scale(size_t n, size_t points, float *scale)
{
    for (size_t i = 0; i < n; i++) {
        double f = ((double)i - (double)(n / 2)) / (double)points;
        scale[i] = (float)(1.0 / kernel_transform(f));
    }
}

static void fill_edge(size_t taper, float *edge)
{
    for (size_t j = 0; j <= taper; j++) {
        double share = cos(TR_PI / 2.0 * (double)j / (double)(taper + 1));
        edge[j] = (float)(share * share);
    }
}

/* Where the rays of all views meet the image's row: 0-based columns. */
static void reach(const tr_slab *s, double *low, double *high)
{
    *low = 0.0;
    *high = (double)s->n_u - 1.0;
    for (size_t i = 0; i < s->n_views; i++)
        for (int corner = 0; corner < 4; corner++) {
            const tr_ray *r = &s->rays[i];
            double u = r->u0 + r->ux * (corner % 2 ? (double)s->n_x - 1.0 : 0.0) +
                       r->uz * (corner / 2 ? (double)s->n_z - 1.0 : 0.0);
            *low = fmin(*low, u);
            *high = fmax(*high, u);
        }
}

tr_status tr_gridding_plan(const tr_slab *s, tr_gridding *g)
{
    double low, high;
    memset(g, 0, sizeof *g);
    reach(s, &low, &high);
    g->taper = s->n_u - 1 < TR_GRIDDING_TAPER ? s->n_u - 1 : TR_GRIDDING_TAPER;
    g->length = tr_gridding_length(s->n_u, low, high, g->taper, &g->before);
    g->n_x = tr_gridding_axis(s->n_x);
    g->n_z = tr_gridding_axis(s->n_z);
    g->view_turn = malloc((g->length + 2) * sizeof(float));
    g->x_turn = malloc((g->n_x + 2) * sizeof(float));
    g->weight = calloc((TR_GRIDDING_FRACTIONS + 2) * TR_GRIDDING_ROOM, sizeof(float));
    g->scale_x = malloc(s->n_x * sizeof(float));
    g->scale_z = malloc(s->n_z * sizeof(float));
    g->edge = malloc((g->taper + 1) * sizeof(float));
    bool complete = tr_fft_plan(g->length / 2, &g->view_fft) &&
                    tr_fft_plan(g->n_x / 2, &g->x_fft) &&
                    tr_fft_plan(g->n_z, &g->z_fft) && g->view_turn && g->x_turn &&
                    g->weight && g->scale_x && g->scale_z && g->edge;
    if (!complete)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to sum views in Fourier space");
    fill_turn(g->length, g->view_turn);
    fill_turn(g->n_x, g->x_turn);
    fill_weights(g->weight);
    fill_scale(s->n_x, g->n_x, g->scale_x);
    fill_scale(s->n_z, g->n_z, g->scale_z);
    fill_edge(g->taper, g->edge);
    size_t line = 2 * sizeof(float); /* the same for any number of lanes */
    size_t group = tr_gridding_group(tr_gridding_grid_floats(g, TR_LANES) * sizeof(float),
                                     (g->length / 2 + 1) * line * TR_LANES);
    g->group = group < s->n_views ? group : s->n_views;
    return TR_OK;
}

void tr_gridding_free(tr_gridding *g)
{
    tr_fft_free(&g->view_fft);
    tr_fft_free(&g->x_fft);
    tr_fft_free(&g->z_fft);
    free(g->view_turn);
    free(g->x_turn);
    free(g->weight);
    free(g->scale_x);
    free(g->scale_z);
    free(g->edge);
}

size_t tr_gridding_grid_floats(const tr_gridding *g, size_t lanes)
{
    return g->n_z * (g->n_x / 2 + 1) * 2 * lanes;
}

size_t tr_gridding_spectra_floats(const tr_gridding *g, size_t lanes)
{
    return g->group * (g->length / 2 + 1) * 2 * lanes;
}

/* What a thread works in: a view, or a line or column of the grid. */
static size_t room_floats(const tr_gridding *g, size_t lanes)
{
    size_t longest = g->length > 2 * g->n_z ? g->length : 2 * g->n_z;
    return (longest > g->n_x ? longest : g->n_x) * lanes;
}

/* New memory has to be cleared by the system, which takes as long as a transform. */
static tr_status keep_room(tr_cpu *cpu, size_t floats)
{
    if (floats <= cpu->room_floats)
        return TR_OK;
    free(cpu->room);
    cpu->room = NULL;
    cpu->room_floats = 0;
    TR_TRY(tr_cpu_alloc(cpu, floats, &cpu->room));
    cpu->room_floats = floats;
    return TR_OK;
}

/* The entry of tr_projectors that is to be called. */
typedef void gridded(const tr_slab *s, const tr_gridding *plan,
                     const tr_gridding_work *work, const float *from, float *to);

static tr_status run(tr_cpu *cpu, gridded *entry, const tr_slab *s, const tr_vec *from,
                     tr_vec *to)
{
    size_t lanes = (size_t)cpu->projectors->width;
    tr_gridding g;
    tr_status status = tr_gridding_plan(s, &g);
    size_t grid = tr_gridding_grid_floats(&g, lanes);
    size_t spectra = tr_gridding_spectra_floats(&g, lanes), each = room_floats(&g, lanes);
    if (status == TR_OK)
        status = keep_room(cpu, grid + spectra + (size_t)cpu->threads * each);
    if (status == TR_OK) {
        tr_gridding_work work = {.grid = cpu->room,
                                 .spectra = cpu->room + grid,
                                 .room = cpu->room + grid + spectra,
                                 .room_floats = each,
                                 .threads = cpu->threads};
        entry(s, &g, &work, from->data, to->data);
    }
    tr_gridding_free(&g);
    return status;
}

tr_status tr_cpu_backproject_fourier(void *state, const tr_slab *s, const tr_vec *p,
                                     tr_vec *x)
{
    tr_cpu *cpu = state;
    return run(cpu, cpu->projectors->backproject_fourier, s, p, x);
}

tr_status tr_cpu_project_fourier(void *state, const tr_slab *s, const tr_vec *x,
                                 tr_vec *p)
{
    tr_cpu *cpu = state;
    return run(cpu, cpu->projectors->project_fourier, s, x, p);
}
