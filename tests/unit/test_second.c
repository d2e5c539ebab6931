/* The operator of two series: its adjoint, whatever process has which rows, with local
 * cells, with pixels that do not count and without. tests/cli/test_ranks.py runs it under
 * mpiexec as well. */
#include "backend_fixture.h"
#include "common/base/comm.h"
#include "tiltrecz/across.h"
#include "tiltrecz/mask.h"

enum { N = 20, PLANES = 6, FIRST = 5, SECOND = 4, VIEWS = FIRST + SECOND };

static tr_comm *comm;

typedef struct problem {
    fixture f;
    tr_job job;
    tr_geometry other;
    tr_ray rays[SECOND];
    tr_second_axis second;
    tr_volume_plan plan;
    tr_volume_operator *op;
    tr_volume_across *across;
    tr_volume_mask *mask;
} problem;

/* What is tried: cells outside, whether the volume is turned over for the second series,
 * and whether pixels are left out. */
typedef struct how {
    size_t cells;
    bool across, masked;
} how;

static const tr_linop *projector_of(const problem *p)
{
    return p->across ? tr_volume_across_linop(p->across) : tr_volume_linop(p->op);
}

/* The second axis is nearly across, and not quite in the same plane. */
static void make_rays(problem *p)
{
    double tilt[FIRST], tilt2[SECOND];
    for (size_t k = 0; k < FIRST; k++)
        tilt[k] = 25.0 * (double)k - 50.0;
    for (size_t k = 0; k < SECOND; k++)
        tilt2[k] = 33.0 * (double)k - 48.0;
    tr_geometry_spec spec = {.n_views = FIRST,
                             .tilts = tilt,
                             .n_u = N,
                             .n_v = N,
                             .width = N,
                             .thickness = PLANES};
    assert_int_equal(tr_geometry_init(&spec, &p->job.geometry), TR_OK);
    spec.n_views = SECOND;
    spec.tilts = tilt2;
    assert_int_equal(tr_geometry_init(&spec, &p->other), TR_OK);
    for (size_t k = 0; k < SECOND; k++) {
        double t = p->other.tilt[k], c = 9.5, h = 2.5;
        tr_ray ray = {.ux = 0.1,
                      .uy = cos(t),
                      .uz = -sin(t) + 0.02 * (double)k,
                      .vx = -0.98,
                      .vy = 0.12,
                      .vz = 0.05};
        ray.u0 = 9.3 - (ray.ux + ray.uy) * c - ray.uz * h;
        ray.v0 = 9.8 - (ray.vx + ray.vy) * c - ray.vz * h;
        p->rays[k] = ray;
    }
}

static void begin(problem *p, how h)
{
    *p = (problem){.f = open_first(comm->size > 1 ? 1 : 2)};
    make_rays(p);
    p->second = (tr_second_axis){.n_views = SECOND,
                                 .geometry = &p->other,
                                 .rays = p->rays,
                                 .factor = 1.0,
                                 .turned = h.across,
                                 .masked = h.masked};
    p->job.geometry.outer = h.cells;
    p->job.comm = comm;
    p->job.backend = p->f.backend;
    p->job.device = p->f.device;
    p->job.threads = comm->size > 1 ? 1 : 2;
    p->job.algorithm = tr_algorithm_find("BPT");
    p->job.second = &p->second;
    p->job.output_spec.n_slices = N;
    tr_volume_plan_rows(&p->job, &p->plan);
    assert_true(p->plan.coupled == !h.across);
    assert_int_equal(tr_volume_operator_new(&p->job, &p->plan, &p->op), TR_OK);
    if (h.across)
        assert_int_equal(
            tr_volume_across_new(&p->job, &p->plan, tr_volume_linop(p->op), &p->across),
            TR_OK);
    assert_int_equal(tr_volume_mask_new(&p->job, &p->plan, projector_of(p), &p->mask),
                     TR_OK);
    assert_int_equal(p->mask != NULL, h.masked);
}

static void end(problem *p)
{
    tr_volume_mask_free(p->mask);
    assert_int_equal(tr_volume_across_end(p->across), TR_OK);
    tr_volume_across_free(p->across);
    assert_int_equal(tr_volume_operator_end(p->op), TR_OK);
    tr_volume_operator_free(p->op);
    tr_geometry_free(&p->job.geometry);
    tr_geometry_free(&p->other);
    close_backend(&p->f);
}

static const tr_linop *operator_of(const problem *p)
{
    return p->mask ? tr_volume_mask_linop(p->mask) : projector_of(p);
}

/* The same on all ranks for a row of the whole; guards and rows not in use are 0. */
static tr_vec new_vector(const problem *p, bool images)
{
    const tr_slab *slab = operator_of(p)->slab;
    size_t line = slab->n_u + TR_GUARDS, lanes = p->plan.lanes;
    tr_vec v = {.lines = images ? tr_projection_lines(slab) : tr_volume_lines(slab),
                .rows = lanes};
    float *host = calloc(v.lines * lanes, sizeof *host);
    assert_non_null(host);
    for (size_t l = 0; l < v.lines; l++)
        for (size_t r = 0; r < p->plan.rows; r++)
            if (!images || (l % line >= 1 && l % line <= slab->n_u))
                host[l * lanes + r] =
                    (float)(1.0 + sin(3.0 * (double)l + (double)((p->plan.first + r) *
                                                                 (p->plan.first + r))));
    assert_int_equal(p->f.backend->alloc(p->f.device, v.lines * lanes, &v.data), TR_OK);
    assert_int_equal(p->f.backend->upload(p->f.device, host, v.data, v.lines * lanes),
                     TR_OK);
    free(host);
    return v;
}

static float *values_of(const problem *p, const tr_vec *v)
{
    float *host = malloc(v->lines * v->rows * sizeof *host);
    assert_int_equal(p->f.backend->wait(p->f.device), TR_OK);
    assert_int_equal(
        p->f.backend->download(p->f.device, v->data, host, v->lines * v->rows), TR_OK);
    return host;
}

/* Over the lines [first, first + lines) of both. */
static double product(const problem *p, const tr_vec *a, const tr_vec *b, size_t first,
                      size_t lines)
{
    float *x = values_of(p, a), *y = values_of(p, b);
    double sum = 0.0;
    for (size_t l = first; l < first + lines; l++)
        for (size_t r = 0; r < p->plan.rows; r++)
            sum += (double)x[l * a->rows + r] * (double)y[l * a->rows + r];
    free(x);
    free(y);
    assert_int_equal(comm->ops->sum(comm, &sum, 1), TR_OK);
    return sum;
}

static void check_adjoint(how h, const tr_subset *views)
{
    problem p;
    begin(&p, h);
    const tr_linop *A = operator_of(&p);
    tr_vec x = new_vector(&p, false), y = new_vector(&p, true);
    tr_vec Ax = new_vector(&p, true), ATy = new_vector(&p, false);
    size_t view = A->slab->n_u + TR_GUARDS;
    assert_int_equal(A->ops->forward(A, views, &x, &Ax), TR_OK);
    assert_int_equal(A->ops->adjoint(A, views, &y, &ATy), TR_OK);
    double left = 0.0, right = product(&p, &x, &ATy, 0, x.lines);
    for (size_t k = 0; k < (views ? views->n : VIEWS); k++)
        left += product(&p, &Ax, &y, (views ? views->views[k] : k) * view, view);
    /* Both series are seen. */
    assert_true(left > 1.0 && product(&p, &Ax, &Ax, 0, FIRST * view) > 1.0);
    assert_true(product(&p, &Ax, &Ax, FIRST * view, SECOND * view) > 1.0);
    if (!(fabs(left - right) <= 1e-6 * fabs(left)))
        fail_msg("rank %d of %d, %zu cells%s%s: <A x, y> = %.12g, <x, A^T y> = %.12g",
                 comm->rank, comm->size, h.cells, h.across ? ", turned over" : "",
                 h.masked ? ", masked" : "", left, right);
    for (tr_vec *const *v = (tr_vec *const[]){&x, &y, &Ax, &ATy, NULL}; *v; v++)
        p.f.backend->free(p.f.device, (*v)->data);
    end(&p);
}

static void test_adjoint(void **state)
{
    (void)state;
    static const size_t some[] = {7, 1, 5};
    static const size_t low[] = {2, 0}, high[] = {8, 5};
    const tr_subset subset = {3, some}, first = {2, low}, second = {2, high};
    /* Only volumes in the host's memory are turned over. */
    int ways = tr_backend_find(backend_name())->separate_memory ? 4 : 8;
    for (int k = 0; k < ways; k++) {
        const how h = {k & 1 ? 3 : 0, k & 4, k & 2};
        check_adjoint(h, NULL);
        check_adjoint(h, &subset);
        check_adjoint(h, &first);
        check_adjoint(h, &second);
    }
}

/* ---- both ways of projecting ---- */

/* The volume turned over gives the same. */
static void test_across(void **state)
{
    (void)state;
    problem p[2];
    tr_vec y[2], z[2];
    if (tr_backend_find(backend_name())->separate_memory)
        return;
    for (int k = 0; k < 2; k++) {
        begin(&p[k], (how){.cells = 0, .across = k});
        const tr_linop *A = operator_of(&p[k]);
        tr_vec x = new_vector(&p[k], false), b = new_vector(&p[k], true);
        y[k] = new_vector(&p[k], true);
        z[k] = new_vector(&p[k], false);
        assert_int_equal(A->ops->forward(A, NULL, &x, &y[k]), TR_OK);
        assert_int_equal(A->ops->adjoint(A, NULL, &b, &z[k]), TR_OK);
        p[k].f.backend->free(p[k].f.device, x.data);
        p[k].f.backend->free(p[k].f.device, b.data);
    }
    for (int what = 0; what < 2; what++) {
        const tr_vec *v = what ? z : y;
        float *a = values_of(&p[0], &v[0]), *b = values_of(&p[1], &v[1]);
        double largest = 0.0;
        for (size_t l = 0; l < v->lines; l++)
            for (size_t r = 0; r < p->plan.rows; r++)
                largest = fmax(largest, fabs(a[l * v->rows + r]));
        for (size_t l = 0; l < v->lines; l++)
            for (size_t r = 0; r < p->plan.rows; r++)
                if (!(fabs(a[l * v->rows + r] - b[l * v->rows + r]) <= 2e-6 * largest))
                    fail_msg("rank %d of %d, %s line %zu, row %zu: %.9g, not %.9g",
                             comm->rank, comm->size, what ? "volume" : "projection", l, r,
                             (double)b[l * v->rows + r], (double)a[l * v->rows + r]);
        free(a);
        free(b);
    }
    for (int k = 0; k < 2; k++) {
        p[k].f.backend->free(p[k].f.device, y[k].data);
        p[k].f.backend->free(p[k].f.device, z[k].data);
        end(&p[k]);
    }
}

/* ---- the pixels that count ---- */

/* Marched in small steps of depth: all the way through a pixel's ray is between the first
 * and the last slice. */
static bool marched(const tr_ray *ray, double u, double v)
{
    double det = ray->ux * ray->vy - ray->uy * ray->vx;
    for (double z = 0.0; z <= PLANES - 1.0; z += 0.25) {
        double du = u - ray->u0 - ray->uz * z, dv = v - ray->v0 - ray->vz * z;
        double y = (ray->ux * dv - ray->vx * du) / det;
        if (y < -0.5 || y > N - 0.5)
            return false;
    }
    return true;
}

static void test_mask(void **state)
{
    (void)state;
    problem p;
    size_t kept = 0, line = N + TR_GUARDS;
    begin(&p, (how){.masked = true});
    tr_vec b = new_vector(&p, true);
    float *before = values_of(&p, &b);
    assert_int_equal(tr_volume_mask_data(p.mask, &b), TR_OK);
    float *after = values_of(&p, &b);
    for (size_t view = 0; view < VIEWS; view++)
        for (size_t c = 0; c < N; c++)
            for (size_t r = 0; r < p.plan.rows; r++) {
                size_t at = (view * line + 1 + c) * b.rows + r;
                bool counts = view < FIRST || marched(&p.rays[view - FIRST], (double)c,
                                                      (double)(p.plan.first + r));
                assert_true(after[at] == (counts ? before[at] : 0.0f));
                kept += view >= FIRST && counts;
            }
    double all = (double)kept;
    assert_int_equal(comm->ops->sum(comm, &all, 1), TR_OK);
    assert_true(all > 0.3 * SECOND * N * N && all < 0.9 * SECOND * N * N);
    free(before);
    free(after);
    p.f.backend->free(p.f.device, b.data);
    end(&p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_adjoint),
                                       cmocka_unit_test(test_across),
                                       cmocka_unit_test(test_mask)};
    int missing = backend_missing();
    if (missing)
        return missing;
    if (tr_comm_mpi(&argc, &argv, &comm) != TR_OK) {
        fprintf(stderr, "%s\n", tr_error());
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm->ops->finish(comm);
    return failed;
}
