/* The filter along u: shares out pairs of views. What is done to one is in filter_body.h.
 * Always the same plan for a length, so that a row's result does not depend on where it
 * is computed. */
#include <stdlib.h>

#include "kernels/cpu/fft.h"
#include "kernels/cpu/state.h"

tr_status tr_cpu_filter_memory(const tr_filter *f)
{
    return tr_fail(TR_ERR_MEMORY, "not enough memory to filter rows of %zu values",
                   f->length);
}

/* The response at each place of the transform, divided by the length: a transform there
 * and back multiplies by it. */
static void order_response(const tr_filter *f, const float *response, const tr_fft *fft,
                           float *gain)
{
    for (size_t i = 0; i < f->length; i++) {
        size_t k = fft->frequency[i];
        gain[i] = response[k <= f->length / 2 ? k : f->length - k] / (float)f->length;
    }
}

void tr_cpu_share_pairs(const tr_cpu *cpu, const tr_slab *s,
                        void (*run)(void *data, size_t view, size_t lane, float *room),
                        void *data, float *work, size_t room)
{
    size_t pairs = (s->n_views + 1) / 2, chunks = s->p_rows / TR_LANES;
    int next = 0; /* hands out the room */
#pragma omp parallel num_threads(cpu->threads)
    {
        int mine;
#pragma omp atomic capture
        mine = next++;
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < pairs * chunks; task++)
            run(data, task / chunks * 2, task % chunks * TR_LANES,
                work + (size_t)mine * room);
    }
}

typedef struct filter_run {
    const tr_projectors *projectors;
    const tr_slab *slab;
    const tr_filter *filter;
    const tr_fft *fft;
    const float *gain;
    float *p;
} filter_run;

static void filter_pair(void *data, size_t view, size_t lane, float *room)
{
    const filter_run *r = data;
    r->projectors->filter_pair(r->slab, r->filter, r->fft, r->gain, view, lane, r->p,
                               room);
}

tr_status tr_cpu_filter(void *state, const tr_slab *s, const tr_filter *f, tr_vec *p)
{
    const tr_cpu *cpu = state;
    if (!tr_fft_possible(f->length))
        return tr_cpu_filter_fftw(cpu, s, f, p);
    const size_t line = TR_LANES * sizeof(float);
    float *gain = malloc(f->length * sizeof *gain);
    float *work = aligned_alloc(line, (size_t)cpu->threads * 2 * f->length * line);
    tr_fft fft;
    bool complete = tr_fft_plan(f->length, &fft) && gain && work;
    if (complete) {
        /* With responses of their own, only an odd last view is alone. */
        size_t alone = f->stride ? s->n_views - 1 : 0;
        order_response(f, f->response + alone * f->stride, &fft, gain);
        filter_run run = {cpu->projectors, s, f, &fft, gain, p->data};
        tr_cpu_share_pairs(cpu, s, filter_pair, &run, work, 2 * f->length * TR_LANES);
    }
    tr_fft_free(&fft);
    free(gain);
    free(work);
    return complete ? TR_OK : tr_cpu_filter_memory(f);
}
