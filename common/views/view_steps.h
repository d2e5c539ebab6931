/* Running the steps of view_step.h: those of a list that are wanted, in its order. */
#ifndef TR_VIEW_STEPS_H
#define TR_VIEW_STEPS_H

#include "common/views/view_step.h"
#include "kernels/fourier_crop.h"

typedef struct tr_view_steps {
    const tr_view_step *const *list; /* NULL ends it */
    tr_view_params params;
} tr_view_steps;

typedef struct tr_view_depths {
    size_t n;
    double first, step;
} tr_view_depths;

/* Whether any of them needs whole views; and by how much views become smaller. */
bool tr_view_steps_whole(const tr_view_steps *steps);
size_t tr_view_steps_factor(const tr_view_steps *steps);
/* How many pixels more a view needs on every side while it is transformed: the most that
 * any step asks for this one. */
size_t tr_view_steps_padding(const tr_view_steps *steps, const tr_view_facts *view);

/* The steps on single pixels, on values[w->ny][w->nx] of the view. */
void tr_view_steps_pixels(const tr_view_steps *steps, const tr_view_facts *view,
                          const tr_window_2d *w, float *values);

/* What they make of the view's mean: true if that is the mean of what they make of the
 * pixels. */
bool tr_view_steps_mean(const tr_view_steps *steps, const tr_view_facts *view,
                        double *mean);

/* The plans for whole views of nx x ny pixels, shared by threads; `padding` is the same
 * for all views of a series, the largest that one of them needs. NULL, with the sentence
 * set, when memory is short. */
typedef struct tr_view_plans tr_view_plans;
tr_view_plans *tr_view_plans_new(const tr_view_steps *steps, size_t nx, size_t ny,
                                 size_t padding);
void tr_view_plans_free(tr_view_plans *plans);
/* That a thread needs for one view, its images included, about. */
size_t tr_view_plans_bytes(const tr_view_plans *plans);

/* All steps up to the whole view: image[ny][nx] as in the file, which is changed as well,
 * to out, smaller by the factor. From any thread. */
TR_CHECKED tr_status tr_view_steps_image(const tr_view_plans *plans,
                                         const tr_view_facts *view, float *image,
                                         float *out);

/* The same n times of one transform, at the depths first, first + step, ... (view->depth,
 * angstroms): done(data, k, out) has the k-th image before the next is made. */
TR_CHECKED tr_status tr_view_steps_several(const tr_view_plans *plans,
                                           const tr_view_facts *view,
                                           const tr_view_depths *depths, float *image,
                                           float *out, tr_on_image *done, void *data);

/* The same only up to the spectrum, which `look` is given before the steps on it: of the
 * view with edges that fade to its mean. */
TR_CHECKED tr_status tr_view_steps_look(const tr_view_plans *plans,
                                        const tr_view_facts *view, float *image,
                                        tr_on_spectrum *look, void *data);

/* The step that delivers rows of this view; NULL if they are the prepared view's own. */
const tr_view_step *tr_view_steps_rows(const tr_view_steps *steps,
                                       const tr_view_facts *view);

#endif
