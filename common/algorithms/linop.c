/* Operators made of operators. Every vector operation here keeps to the subset's views
 * where it writes projections: others stay as they are. */
#include "common/algorithms/linop.h"

#include <stdlib.h>

#include "common/base/mem.h"

typedef struct composed {
    tr_linop A; /* what is handed out */
    tr_linop_ops ops;
    enum { CHAIN, WEIGHT, SUM } type;
    tr_vec left, right;          /* weights; no data: 1 */
    tr_vec volume, images;       /* workspace; no data: not made yet */
    size_t volumes, projections; /* workspace at most, that of the parts as well */
    size_t n;                    /* parts; a chain's first one is applied first */
    const tr_linop *parts[];
} composed;

static tr_status forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p);
static tr_status adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x);

static bool is_composed(const tr_linop *A) { return A->ops->forward == forward; }
static composed *composed_of(const tr_linop *A) { return A->self; }

/* Whether x, and p, are projections. */
static bool from_images(const tr_linop *A) { return A->kind == TR_ON_IMAGES; }
static bool to_images(const tr_linop *A) { return A->kind != TR_ON_VOLUME; }

/* The part that projects; where none does, the innermost first part. */
static const tr_linop *plain_of(const tr_linop *A)
{
    while (is_composed(A)) {
        const composed *c = composed_of(A);
        bool second = c->type == CHAIN && c->parts[1]->kind == TR_PROJECTS;
        A = c->parts[second];
    }
    return A;
}

/* ---- vectors ---- */

static tr_status new_vector(const tr_linop *A, bool images, bool per_line, tr_vec *v)
{
    const tr_slab *s = A->slab;
    *v = (tr_vec){.lines = images ? tr_projection_lines(s) : tr_volume_lines(s),
                  .rows = per_line ? 1
                          : images ? s->p_rows
                                   : s->rows};
    TR_TRY((images || per_line ? A->backend->alloc : A->backend->alloc_volume)(
        A->device, v->lines * v->rows, &v->data));
    tr_status status = A->backend->fill(A->device, v, 0.0f);
    if (status != TR_OK)
        A->backend->free(A->device, v->data);
    return status;
}

static tr_status workspace(composed *c, bool images, tr_vec **v)
{
    *v = images ? &c->images : &c->volume;
    if ((*v)->data)
        return TR_OK;
    tr_vec made;
    TR_TRY(new_vector(&c->A, images, false, &made));
    **v = made;
    return TR_OK;
}

/* The lines of one view. */
static tr_vec view_of(const tr_linop *A, const tr_vec *p, size_t view)
{
    size_t lines = A->slab->n_u + TR_GUARDS;
    return (tr_vec){p->data + view * lines * p->rows, lines, p->rows};
}

/* y *= w, on all of a volume or on the subset's views of projections. */
static tr_status multiply(const tr_linop *A, bool images, const tr_subset *views,
                          const tr_vec *w, tr_vec *y)
{
    if (!images || !views)
        return A->backend->mul_lines(A->device, w, y);
    for (size_t k = 0; k < views->n; k++) {
        tr_vec factor = view_of(A, w, views->views[k]);
        tr_vec part = view_of(A, y, views->views[k]);
        TR_TRY(A->backend->mul_lines(A->device, &factor, &part));
    }
    return TR_OK;
}

/* y += x, likewise. */
static tr_status add(const tr_linop *A, bool images, const tr_subset *views,
                     const tr_vec *x, tr_vec *y)
{
    if (!images || !views)
        return A->backend->axpy(A->device, 1.0f, x, y);
    for (size_t k = 0; k < views->n; k++) {
        tr_vec from = view_of(A, x, views->views[k]);
        tr_vec part = view_of(A, y, views->views[k]);
        TR_TRY(A->backend->axpy(A->device, 1.0f, &from, &part));
    }
    return TR_OK;
}

/* ---- applying ---- */

static tr_status apply(const tr_linop *A, bool back, const tr_subset *views,
                       const tr_vec *x, tr_vec *y)
{
    return back ? A->ops->adjoint(A, views, x, y) : A->ops->forward(A, views, x, y);
}

static tr_status apply_chain(composed *c, bool back, const tr_subset *views,
                             const tr_vec *x, tr_vec *y)
{
    tr_vec *between;
    TR_TRY(workspace(c, to_images(c->parts[0]), &between));
    TR_TRY(apply(c->parts[back], back, views, x, between));
    return apply(c->parts[!back], back, views, between, y);
}

static tr_status apply_weight(composed *c, bool back, const tr_subset *views,
                              const tr_vec *x, tr_vec *y)
{
    const tr_linop *A = c->parts[0];
    const tr_vec *before = back ? &c->left : &c->right;
    const tr_vec *after = back ? &c->right : &c->left;
    bool in = back ? to_images(A) : from_images(A);
    bool out = back ? from_images(A) : to_images(A);
    if (before->data) {
        tr_vec *weighted;
        TR_TRY(workspace(c, in, &weighted));
        TR_TRY(A->backend->copy(A->device, x, weighted));
        TR_TRY(multiply(A, in, views, before, weighted));
        x = weighted;
    }
    TR_TRY(apply(A, back, views, x, y));
    return after->data ? multiply(A, out, views, after, y) : TR_OK;
}

static tr_status apply_sum(composed *c, bool back, const tr_subset *views,
                           const tr_vec *x, tr_vec *y)
{
    bool out = back ? from_images(&c->A) : to_images(&c->A);
    TR_TRY(apply(c->parts[0], back, views, x, y));
    for (size_t k = 1; k < c->n; k++) {
        tr_vec *one;
        TR_TRY(workspace(c, out, &one));
        TR_TRY(apply(c->parts[k], back, views, x, one));
        TR_TRY(add(&c->A, out, views, one, y));
    }
    return TR_OK;
}

static tr_status apply_composed(const tr_linop *A, bool back, const tr_subset *views,
                                const tr_vec *x, tr_vec *y)
{
    composed *c = composed_of(A);
    return c->type == CHAIN    ? apply_chain(c, back, views, x, y)
           : c->type == WEIGHT ? apply_weight(c, back, views, x, y)
                               : apply_sum(c, back, views, x, y);
}

static tr_status forward(const tr_linop *A, const tr_subset *views, const tr_vec *x,
                         tr_vec *p)
{
    return apply_composed(A, false, views, x, p);
}

static tr_status adjoint(const tr_linop *A, const tr_subset *views, const tr_vec *p,
                         tr_vec *x)
{
    return apply_composed(A, true, views, p, x);
}

/* ---- sums ---- */

tr_status tr_linop_ones(const tr_linop *A, bool images, tr_vec *v)
{
    const tr_backend *b = A->backend;
    const tr_slab *s = A->slab;
    size_t end = A->first_row + A->n_rows;
    TR_TRY(new_vector(A, images, false, v));
    tr_status status = b->fill(A->device, v, 1.0f);
    for (size_t view = 0; images && status == TR_OK && view < s->n_views; view++) {
        size_t line = view * (s->n_u + TR_GUARDS);
        const tr_rows left = {line, 1, 0, v->rows},
                      right = {line + s->n_u + 1, 2, 0, v->rows};
        status = b->set_rows(A->device, &left, NULL, v);
        if (status == TR_OK)
            status = b->set_rows(A->device, &right, NULL, v);
    }
    if (plain_of(A)->coupled) {
        const tr_rows below = {0, v->lines, 0, A->first_row},
                      above = {0, v->lines, end, v->rows - end};
        if (status == TR_OK && below.n_rows)
            status = b->set_rows(A->device, &below, NULL, v);
        if (status == TR_OK && above.n_rows)
            status = b->set_rows(A->device, &above, NULL, v);
    }
    if (status != TR_OK)
        b->free(A->device, v->data);
    return status;
}

/* sums, which has one value per line, = the middle one of the rows in use. */
static tr_status take_row(const tr_linop *A, bool images, const tr_subset *views,
                          const tr_vec *v, tr_vec *sums)
{
    size_t row = A->first_row + A->n_rows / 2, each = A->slab->n_u + TR_GUARDS;
    size_t n = images && views ? views->n : 1,
           lines = n && images && views ? each : v->lines;
    row = row < v->rows ? row : v->rows - 1;
    float *host = tr_calloc("row sums", lines, sizeof *host);
    tr_status status = host ? TR_OK : TR_ERR_MEMORY;
    for (size_t k = 0; k < n && status == TR_OK; k++) {
        size_t line = images && views ? views->views[k] * each : 0;
        const tr_rows from = {line, lines, row, 1}, to = {line, lines, 0, 1};
        status = A->backend->get_rows(A->device, v, &from, host);
        if (status == TR_OK)
            status = A->backend->put_rows(A->device, &to, host, false, sums);
    }
    free(host);
    return status;
}

/* A 1, or A^T 1 if `back`. */
static tr_status apply_to_ones(const tr_linop *A, bool back, const tr_subset *views,
                               tr_vec *sums)
{
    bool in = back ? to_images(A) : from_images(A);
    bool out = back ? from_images(A) : to_images(A);
    tr_vec ones, all;
    TR_TRY(tr_linop_ones(A, in, &ones));
    tr_status status;
    if (sums->rows > 1) {
        status = apply(A, back, views, &ones, sums);
    } else if ((status = new_vector(A, out, false, &all)) == TR_OK) {
        status = apply(A, back, views, &ones, &all);
        if (status == TR_OK)
            status = take_row(A, out, views, &all, sums);
        A->backend->free(A->device, all.data);
    }
    A->backend->free(A->device, ones.data);
    return status;
}

static tr_status sums_of(const tr_linop *A, bool back, const tr_subset *views,
                         tr_vec *sums)
{
    return back ? A->ops->col_sums(A, views, sums) : A->ops->row_sums(A, views, sums);
}

/* Those of a part, for each row if the sums of the whole depend on it. */
static tr_status part_sums(const tr_linop *A, bool back, const tr_subset *views,
                           tr_vec *sums)
{
    return A->coupled || sums->rows == 1 ? sums_of(A, back, views, sums)
                                         : apply_to_ones(A, back, views, sums);
}

static tr_status sums_of_sum(const composed *c, bool back, const tr_subset *views,
                             tr_vec *sums)
{
    bool out = back ? from_images(&c->A) : to_images(&c->A);
    TR_TRY(part_sums(c->parts[0], back, views, sums));
    for (size_t k = 1; k < c->n; k++) {
        tr_vec one;
        TR_TRY(new_vector(&c->A, out, sums->rows == 1, &one));
        tr_status status = part_sums(c->parts[k], back, views, &one);
        if (status == TR_OK)
            status = add(&c->A, out, views, &one, sums);
        c->A.backend->free(c->A.device, one.data);
        TR_TRY(status);
    }
    return TR_OK;
}

static tr_status composed_sums(const tr_linop *A, bool back, const tr_subset *views,
                               tr_vec *sums)
{
    const composed *c = composed_of(A);
    const tr_vec *before = back ? &c->left : &c->right;
    const tr_vec *after = back ? &c->right : &c->left;
    if (c->type == SUM)
        return sums_of_sum(c, back, views, sums);
    if (c->type == CHAIN || before->data)
        return apply_to_ones(A, back, views, sums);
    bool out = back ? from_images(A) : to_images(A);
    TR_TRY(part_sums(c->parts[0], back, views, sums));
    return after->data ? multiply(A, out, views, after, sums) : TR_OK;
}

static tr_status row_sums(const tr_linop *A, const tr_subset *views, tr_vec *p)
{
    return composed_sums(A, false, views, p);
}

static tr_status col_sums(const tr_linop *A, const tr_subset *views, tr_vec *x)
{
    return composed_sums(A, true, views, x);
}

/* ---- what the operator at the bottom does ---- */

static tr_status filter(const tr_linop *A, const tr_filter *f, tr_vec *p)
{
    const tr_linop *plain = plain_of(A);
    return plain->ops->filter(plain, f, p);
}

static tr_status total(const tr_linop *A, const double *rows, size_t n, double *values)
{
    const tr_linop *plain = plain_of(A);
    return plain->ops->total(plain, rows, n, values);
}

static tr_status neighbour(const tr_linop *A, bool above, const tr_vec *x, float *row,
                           bool *exists)
{
    const tr_linop *plain = plain_of(A);
    return plain->ops->neighbour(plain, above, x, row, exists);
}

/* ---- making them ---- */

static composed *new_composed(const tr_linop *const *parts, size_t n)
{
    composed *c = tr_calloc("an operator", 1, sizeof *c + n * sizeof(void *));
    if (!c)
        return NULL;
    for (size_t k = 0; k < n; k++)
        c->parts[k] = parts[k];
    c->n = n;
    c->A = *parts[0];
    for (size_t k = 1; k < n; k++) {
        TR_ASSERT(parts[k]->backend == parts[0]->backend &&
                  parts[k]->device == parts[0]->device &&
                  parts[k]->slab == parts[0]->slab);
        c->A.coupled = c->A.coupled || parts[k]->coupled;
    }
    return c;
}

static void count_workspace(composed *c)
{
    bool in = from_images(&c->A), out = to_images(&c->A);
    bool images = c->type == CHAIN ? to_images(c->parts[0]) : in || out;
    bool volume = c->type == CHAIN ? !images : !in || !out;
    if (c->type == WEIGHT) {
        images = (c->right.data && in) || (c->left.data && out);
        volume = (c->right.data && !in) || (c->left.data && !out);
    }
    c->projections = images;
    c->volumes = volume;
    for (size_t k = 0; k < c->n; k++) {
        size_t volumes, projections;
        tr_linop_workspace(c->parts[k], &volumes, &projections);
        c->volumes += volumes;
        c->projections += projections;
    }
}

/* Once `type` is set. What the operator that projects cannot do stays NULL. */
static void hand_out(composed *c, tr_linop **made)
{
    c->ops = (tr_linop_ops){.forward = forward,
                            .adjoint = adjoint,
                            .row_sums = row_sums,
                            .col_sums = col_sums};
    c->A.ops = &c->ops;
    c->A.self = c;
    const tr_linop *plain = plain_of(&c->A);
    c->ops.filter = plain->ops->filter ? filter : NULL;
    c->ops.total = plain->ops->total ? total : NULL;
    c->ops.neighbour = plain->ops->neighbour ? neighbour : NULL;
    count_workspace(c);
    *made = &c->A;
}

tr_status tr_linop_chain(const tr_linop *second, const tr_linop *first, tr_linop **made)
{
    const tr_linop *parts[] = {first, second};
    TR_ASSERT(to_images(first) == from_images(second));
    composed *c = new_composed(parts, 2);
    if (!c)
        return TR_ERR_MEMORY;
    c->type = CHAIN;
    c->A.kind = second->kind == TR_PROJECTS ? TR_PROJECTS : first->kind;
    c->A.tilt = second->kind == TR_PROJECTS ? second->tilt : first->tilt;
    hand_out(c, made);
    return TR_OK;
}

tr_status tr_linop_weight(const tr_linop *A, const tr_vec *left, const tr_vec *right,
                          tr_linop **made)
{
    composed *c = new_composed(&A, 1);
    if (!c)
        return TR_ERR_MEMORY;
    c->type = WEIGHT;
    if (left)
        c->left = *left;
    if (right)
        c->right = *right;
    c->A.coupled = A->coupled || c->left.rows > 1 || c->right.rows > 1;
    hand_out(c, made);
    return TR_OK;
}

tr_status tr_linop_sum(const tr_linop *const *parts, size_t n, tr_linop **made)
{
    for (size_t k = 0; k < n; k++)
        TR_ASSERT(parts[k]->kind == parts[0]->kind);
    composed *c = new_composed(parts, n);
    if (!c)
        return TR_ERR_MEMORY;
    c->type = SUM;
    hand_out(c, made);
    return TR_OK;
}

void tr_linop_free(tr_linop *made)
{
    if (!made)
        return;
    composed *c = composed_of(made);
    if (c->volume.data)
        made->backend->free(made->device, c->volume.data);
    if (c->images.data)
        made->backend->free(made->device, c->images.data);
    free(c);
}

void tr_linop_workspace(const tr_linop *A, size_t *volumes, size_t *projections)
{
    *volumes = is_composed(A) ? composed_of(A)->volumes : 0;
    *projections = is_composed(A) ? composed_of(A)->projections : 0;
}
