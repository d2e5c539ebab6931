/* The filter along u with FFTW, for the lengths that filter_body.h does not do: no length
 * the programs choose is one, but callers of the library may. The same pairs of views.
 * Always the same plan on the same shape, planned without timing, so that a row's result
 * does not depend on where it is computed. */
#include <fftw3.h>
#include <stdlib.h>

#include "kernels/cpu/state.h"
#include "kernels/fftw_planner.h"

typedef struct filter_run {
    const tr_slab *slab;
    const tr_filter *filter;
    fftwf_plan forward, backward;
    float *p;
} filter_run;

static fftwf_plan plan_lanes(fftwf_complex *work, size_t length, int sign)
{
    int n = (int)length;
    return fftwf_plan_many_dft(1, &n, TR_LANES, work, NULL, TR_LANES, 1, work, NULL,
                               TR_LANES, 1, sign, FFTW_ESTIMATE);
}

/* Copy one view's lanes into the real (part 0) or imaginary (1) parts, extended by the
 * line from the mean of the last 3 values to the mean of the first 3. Returns the rows'
 * means in mean[TR_LANES]. */
static void load_view(const float *p, size_t rows, size_t n_u, size_t length, int part,
                      fftwf_complex *work, float *mean)
{
    size_t edge = n_u < 3 ? n_u : 3;
    double sum[TR_LANES] = {0}, first[TR_LANES] = {0}, end[TR_LANES] = {0};
    for (size_t u = 0; u < n_u; u++)
        for (size_t r = 0; r < TR_LANES; r++) {
            float value = p[(u + 1) * rows + r];
            work[u * TR_LANES + r][part] = value;
            sum[r] += value;
            first[r] += u < edge ? value : 0.0f;
            end[r] += u >= n_u - edge ? value : 0.0f;
        }
    size_t added = length - n_u;
    for (size_t u = 0; u < added; u++) {
        double t = (double)(u + 1) / (double)(added + 1);
        for (size_t r = 0; r < TR_LANES; r++)
            work[(n_u + u) * TR_LANES + r][part] =
                (float)(((1.0 - t) * end[r] + t * first[r]) / (double)edge);
    }
    for (size_t r = 0; r < TR_LANES; r++)
        mean[r] = (float)(sum[r] / (double)n_u);
}

static void store_view(float *p, size_t rows, size_t n_u, int part, float weight,
                       const fftwf_complex *work, float edge_gain, const float *mean)
{
    for (size_t u = 0; u < n_u; u++)
        for (size_t r = 0; r < TR_LANES; r++)
            p[(u + 1) * rows + r] = weight * work[u * TR_LANES + r][part];
    for (size_t r = 0; r < TR_LANES; r++)
        p[r] = p[(n_u + 1) * rows + r] = p[(n_u + 2) * rows + r] =
            edge_gain * weight * mean[r];
}

/* The response divided by the length: FFTW's transforms are not normalised. */
static void apply_response(fftwf_complex *work, size_t length, const float *response)
{
    for (size_t k = 0; k < length; k++) {
        float gain = response[k <= length / 2 ? k : length - k] / (float)length;
        for (size_t r = 0; r < TR_LANES; r++) {
            work[k * TR_LANES + r][0] *= gain;
            work[k * TR_LANES + r][1] *= gain;
        }
    }
}

/* The same where the real and the imaginary part have responses of their own. With Z the
 * spectrum of a + i b, that of a is (Z[k] + conj Z[-k]) / 2, that of i b is
 * (Z[k] - conj Z[-k]) / 2. */
static void apply_responses(fftwf_complex *work, size_t length, const float *a,
                            const float *b)
{
    for (size_t k = 0; k <= length / 2; k++) {
        float both = 0.5f * (a[k] + b[k]) / (float)length;
        float apart = 0.5f * (a[k] - b[k]) / (float)length;
        fftwf_complex *up = work + k * TR_LANES,
                      *down = work + (length - k) % length * TR_LANES;
        for (size_t r = 0; r < TR_LANES; r++) {
            float re = up[r][0], im = up[r][1], other_re = down[r][0],
                  other_im = down[r][1];
            up[r][0] = both * re + apart * other_re;
            up[r][1] = both * im - apart * other_im;
            down[r][0] = both * other_re + apart * re;
            down[r][1] = both * other_im - apart * im;
        }
    }
}

/* Views `view` and, if there is one, `view` + 1, lanes from `lane`. */
static void filter_pair(void *data, size_t view, size_t lane, float *room)
{
    const filter_run *run = data;
    const tr_slab *s = run->slab;
    const tr_filter *f = run->filter;
    fftwf_complex *work = (fftwf_complex *)room;
    size_t rows = s->p_rows, stride = (s->n_u + TR_GUARDS) * rows;
    float *a = run->p + view * stride + lane, *b = a + stride;
    bool pair = view + 1 < s->n_views;
    float mean[2][TR_LANES];
    load_view(a, rows, s->n_u, f->length, 0, work, mean[0]);
    load_view(pair ? b : a, rows, s->n_u, f->length, 1, work, mean[1]);
    fftwf_execute_dft(run->forward, work, work);
    const float *response = f->response + view * f->stride;
    if (f->stride && pair)
        apply_responses(work, f->length, response, response + f->stride);
    else
        apply_response(work, f->length, response);
    fftwf_execute_dft(run->backward, work, work);
    store_view(a, rows, s->n_u, 0, f->weight[view], work, f->edge_gain, mean[0]);
    if (pair)
        store_view(b, rows, s->n_u, 1, f->weight[view + 1], work, f->edge_gain, mean[1]);
}

tr_status tr_cpu_filter_fftw(const tr_cpu *cpu, const tr_slab *s, const tr_filter *f,
                             tr_vec *p)
{
    size_t samples = f->length * TR_LANES;
    fftwf_complex *work = fftwf_alloc_complex((size_t)cpu->threads * samples);
    filter_run run = {.slab = s, .filter = f, .p = p->data};
    tr_fftw_planner_lock();
    if (work) {
        run.forward = plan_lanes(work, f->length, FFTW_FORWARD);
        run.backward = plan_lanes(work, f->length, FFTW_BACKWARD);
    }
    tr_fftw_planner_unlock();
    bool complete = run.forward && run.backward;
    if (complete)
        tr_cpu_share_pairs(cpu, s, filter_pair, &run, (float *)work, 2 * samples);
    tr_fftw_planner_lock();
    if (run.forward)
        fftwf_destroy_plan(run.forward);
    if (run.backward)
        fftwf_destroy_plan(run.backward);
    tr_fftw_planner_unlock();
    fftwf_free(work);
    return complete ? TR_OK : tr_cpu_filter_memory(f);
}
