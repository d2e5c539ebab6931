#include "common/views/view_steps.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/mem.h"
#include "kernels/fourier_crop.h"

#define TR_VIEW_STEP(name) extern const tr_view_step name;
#include "common/views/view_step_list.h"
#undef TR_VIEW_STEP

const tr_view_step *const *tr_view_step_list(void)
{
#define TR_VIEW_STEP(name) &name,
    static const tr_view_step *const list[] = {
#include "common/views/view_step_list.h"
        NULL};
#undef TR_VIEW_STEP
    return list;
}

static bool in_fourier_space(const tr_view_step *step)
{
    return step->spectrum || step->factor;
}

bool tr_view_steps_whole(const tr_view_steps *s)
{
    for (const tr_view_step *const *step = s->list; *step; step++)
        if (((*step)->image || in_fourier_space(*step)) &&
            (*step)->wanted(&s->params, NULL))
            return true;
    return false;
}

size_t tr_view_steps_factor(const tr_view_steps *s)
{
    size_t factor = 1;
    for (const tr_view_step *const *step = s->list; *step; step++)
        if ((*step)->factor && (*step)->wanted(&s->params, NULL))
            factor *= (*step)->factor(&s->params);
    return factor;
}

size_t tr_view_steps_padding(const tr_view_steps *s, const tr_view_facts *view)
{
    size_t padding = 0;
    for (const tr_view_step *const *step = s->list; *step; step++)
        if ((*step)->padding && (*step)->wanted(&s->params, view)) {
            size_t own = (*step)->padding(&s->params, view);
            padding = own > padding ? own : padding;
        }
    return padding;
}

/* ---- single pixels ---- */

static void run_pixels(const tr_view_steps *s, const tr_view_facts *view,
                       const tr_pixels *pixels)
{
    for (const tr_view_step *const *step = s->list; *step; step++)
        if ((*step)->pixels && (*step)->wanted(&s->params, view))
            (*step)->pixels(&s->params, view, pixels);
}

void tr_view_steps_pixels(const tr_view_steps *s, const tr_view_facts *view,
                          const tr_window_2d *w, float *values)
{
    enum { AT_A_TIME = 512 };
    double several[AT_A_TIME];
    bool any = false;
    for (const tr_view_step *const *step = s->list; *step; step++)
        any = any || ((*step)->pixels && (*step)->wanted(&s->params, view));
    if (!any)
        return;
    for (size_t y = 0; y < w->ny; y++)
        for (size_t x = 0; x < w->nx; x += AT_A_TIME) {
            size_t n = w->nx - x < AT_A_TIME ? w->nx - x : AT_A_TIME;
            float *value = values + y * w->nx + x;
            for (size_t i = 0; i < n; i++)
                several[i] = value[i];
            run_pixels(s, view, &(tr_pixels){w->x0 + x, w->y0 + y, n, several});
            for (size_t i = 0; i < n; i++)
                value[i] = (float)several[i];
        }
}

bool tr_view_steps_mean(const tr_view_steps *s, const tr_view_facts *view, double *mean)
{
    for (const tr_view_step *const *step = s->list; *step; step++)
        if ((*step)->pixels && !(*step)->keeps_mean && (*step)->wanted(&s->params, view))
            return false;
    *mean = view->mean;
    /* In no row: it is no pixel that may have been replaced. */
    run_pixels(s, view, &(tr_pixels){0, SIZE_MAX, 1, mean});
    return true;
}

/* ---- whole views ---- */

struct tr_view_plans {
    const tr_view_steps *steps;
    size_t nx, ny;
    tr_fourier_crop *crop; /* NULL: no step is in Fourier space */
};

tr_view_plans *tr_view_plans_new(const tr_view_steps *s, size_t nx, size_t ny,
                                 size_t padding)
{
    bool fourier = false;
    tr_view_plans *plans = tr_calloc("the steps of views", 1, sizeof *plans);
    if (!plans)
        return NULL;
    *plans = (tr_view_plans){.steps = s, .nx = nx, .ny = ny};
    fourier = s->params.model; /* to be looked at */
    for (const tr_view_step *const *step = s->list; *step; step++)
        fourier =
            fourier || (in_fourier_space(*step) && (*step)->wanted(&s->params, NULL));
    if (!fourier)
        return plans;
    plans->crop = tr_fourier_crop_new(nx, ny, tr_view_steps_factor(s), padding);
    if (plans->crop)
        return plans;
    free(plans);
    return NULL;
}

void tr_view_plans_free(tr_view_plans *plans)
{
    if (!plans)
        return;
    tr_fourier_crop_free(plans->crop);
    free(plans);
}

size_t tr_view_plans_bytes(const tr_view_plans *plans)
{
    size_t pixels = plans->nx * plans->ny,
           most = plans->crop ? tr_fourier_crop_pixels(plans->crop) : 0;
    return 4 * (most > pixels ? most : pixels) * sizeof(float);
}

typedef struct spectrum_of {
    const tr_view_steps *steps;
    const tr_view_facts *view;
} spectrum_of;

static void run_spectrum(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    const spectrum_of *of = data;
    const tr_view_params *params = &of->steps->params;
    for (const tr_view_step *const *step = of->steps->list; *step; step++)
        if ((*step)->spectrum && (*step)->wanted(params, of->view))
            (*step)->spectrum(params, of->view, nx, ny, spectrum);
}

/* All that comes before the spectrum. */
static tr_status run_image(const tr_view_plans *plans, const tr_view_facts *view,
                           float *image)
{
    const tr_view_steps *s = plans->steps;
    const tr_window_2d all = {.nx = plans->nx, .ny = plans->ny};
    tr_view_steps_pixels(s, view, &all, image);
    for (const tr_view_step *const *step = s->list; *step; step++)
        if ((*step)->image && (*step)->wanted(&s->params, view))
            TR_TRY((*step)->image(&s->params, view, plans->nx, plans->ny, image));
    return TR_OK;
}

tr_status tr_view_steps_image(const tr_view_plans *plans, const tr_view_facts *view,
                              float *image, float *out)
{
    TR_TRY(run_image(plans, view, image));
    if (!plans->crop) {
        memcpy(out, image, plans->nx * plans->ny * sizeof *out);
        return TR_OK;
    }
    return tr_fourier_crop_run(plans->crop, image, run_spectrum,
                               &(spectrum_of){plans->steps, view}, out);
}

/* Of several images the one that is made, and where they go. */
typedef struct several {
    const tr_view_steps *steps;
    tr_view_facts view;
    const tr_view_depths *depths;
    tr_on_image *done;
    void *data;
} several;

static void run_spectrum_at_depth(void *data, size_t nx, size_t ny, float (*spectrum)[2])
{
    const several *s = data;
    run_spectrum(&(spectrum_of){s->steps, &s->view}, nx, ny, spectrum);
}

static tr_status go_deeper(void *data, size_t k, const float *out)
{
    several *s = data;
    s->view.depth = s->depths->first + (double)(k + 1) * s->depths->step;
    return s->done(s->data, k, out);
}

tr_status tr_view_steps_several(const tr_view_plans *plans, const tr_view_facts *view,
                                const tr_view_depths *depths, float *image, float *out,
                                tr_on_image *done, void *data)
{
    several s = {plans->steps, *view, depths, done, data};
    TR_ASSERT(plans->crop);
    TR_TRY(run_image(plans, view, image));
    s.view.depth = depths->first;
    return tr_fourier_crop_several(plans->crop, image, depths->n, run_spectrum_at_depth,
                                   go_deeper, &s, out);
}

/* From 1 in the middle to 0 beyond both ends, a cosine over an eighth of the length. */
static double fade(size_t i, size_t n)
{
    double in = fmin((double)i + 0.5, (double)n - (double)i - 0.5),
           over = (double)n / 8.0;
    return in < over ? 0.5 - 0.5 * cos(TR_PI * in / over) : 1.0;
}

/* So that the spectrum has nothing of the edges, which padding stretches. */
static void fade_edges(size_t nx, size_t ny, float *image)
{
    double sum = 0.0;
    for (size_t i = 0; i < nx * ny; i++)
        sum += image[i];
    double mean = sum / ((double)nx * (double)ny);
    for (size_t y = 0; y < ny; y++) {
        double of_row = fade(y, ny);
        for (size_t x = 0; x < nx; x++) {
            float *value = image + y * nx + x;
            *value = (float)(mean + fade(x, nx) * of_row * (*value - mean));
        }
    }
}

tr_status tr_view_steps_look(const tr_view_plans *plans, const tr_view_facts *view,
                             float *image, tr_on_spectrum *look, void *data)
{
    TR_ASSERT(plans->crop);
    TR_TRY(run_image(plans, view, image));
    fade_edges(plans->nx, plans->ny, image);
    return tr_fourier_crop_run(plans->crop, image, look, data, NULL);
}

/* ---- rows ---- */

const tr_view_step *tr_view_steps_rows(const tr_view_steps *s, const tr_view_facts *view)
{
    for (const tr_view_step *const *step = s->list; *step; step++)
        if ((*step)->rows && (*step)->wanted(&s->params, view))
            return *step;
    return NULL;
}
