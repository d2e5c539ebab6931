/* Backprojection by gridding in Fourier space against sums in double precision of views
 * that are known between their columns as well, and projection against line integrals;
 * that they are adjoint. */
#include "backend_fixture.h"

#include "common/base/angle.h"

enum { BUMPS = 24 };

/* A view as a sum of Gaussians whose spectra end before the Nyquist frequency, and a wave
 * that goes on to the ends; what is seen outside. */
typedef struct view {
    double at[BUMPS], height[BUMPS], width[BUMPS];
    double wave, phase, outside;
} view;

typedef struct workload {
    tr_slab slab;
    tr_ray *rays;
    view *views; /* of each view and lane */
} workload;

static double between(double low, double high)
{
    return low + (high - low) * (double)rand() / (double)RAND_MAX;
}

static double view_at(const view *v, double u)
{
    double sum = v->wave * cos(0.07 * u + v->phase);
    for (int i = 0; i < BUMPS; i++) {
        double t = (u - v->at[i]) / v->width[i];
        sum += v->height[i] * exp(-0.5 * t * t);
    }
    return sum;
}

/* Linear between the image's ends and what lies outside. */
static double seen_at(const view *v, double u, double last)
{
    if (u >= 0.0 && u <= last)
        return view_at(v, u);
    double part = fmin(u < 0.0 ? -u : u - last, 1.0);
    return (1.0 - part) * view_at(v, u < 0.0 ? 0.0 : last) + part * v->outside;
}

/* Bumps at least `margin` from the ends. Unequal angles, from -90 degrees on, some of
 * them with the axis the other way round. */
static workload new_workload(tr_slab slab, double margin, double wave)
{
    workload w = {.slab = slab};
    w.rays = calloc(slab.n_views, sizeof *w.rays);
    w.views = calloc(slab.n_views * slab.rows, sizeof *w.views);
    assert_true(w.rays && w.views);
    srand(7);
    for (size_t i = 0; i < slab.n_views; i++) {
        double step = 180.0 / (double)slab.n_views;
        double angle = TR_PI / 180.0 * (-90.0 + step * ((double)i + between(0.0, 0.8)));
        tr_ray *r = &w.rays[i];
        *r = (tr_ray){.ux = cos(angle), .uz = sin(angle), .vy = 1.0};
        if (i % 5 == 3)
            r->ux = -r->ux;
        r->u0 = (double)(slab.n_u - 1) / 2.0 + between(-1.0, 1.0) -
                r->ux * ((double)slab.n_x - 1.0) / 2.0 -
                r->uz * ((double)slab.n_z - 1.0) / 2.0;
    }
    for (size_t i = 0; i < slab.n_views * slab.rows; i++) {
        view *v = &w.views[i];
        v->wave = between(0.0, wave);
        v->phase = between(0.0, 6.0);
        v->outside = between(0.0, wave);
        for (int b = 0; b < BUMPS; b++) {
            v->width[b] = between(1.6, 4.0);
            v->height[b] = between(-1.0, 1.0);
            v->at[b] = between(margin, (double)slab.n_u - 1.0 - margin);
        }
    }
    w.slab.rays = w.rays;
    return w;
}

static void free_workload(workload *w)
{
    free(w->rays);
    free(w->views);
}

static void fill_views(const workload *w, float *p)
{
    const tr_slab *s = &w->slab;
    for (size_t i = 0; i < s->n_views; i++)
        for (size_t c = 0; c < s->n_u + TR_GUARDS; c++)
            for (size_t r = 0; r < s->rows; r++) {
                const view *v = &w->views[i * s->rows + r];
                bool inside = c >= 1 && c <= s->n_u;
                p[(i * (s->n_u + TR_GUARDS) + c) * s->rows + r] =
                    (float)(inside ? view_at(v, (double)c - 1.0) : v->outside);
            }
}

static double truth_at(const workload *w, size_t z, size_t x, size_t r)
{
    const tr_slab *s = &w->slab;
    double sum = 0.0;
    for (size_t i = 0; i < s->n_views; i++) {
        const tr_ray *ray = &s->rays[i];
        double u = ray->u0 + ray->ux * (double)x + ray->uz * (double)z;
        sum += seen_at(&w->views[i * s->rows + r], u, (double)s->n_u - 1.0);
    }
    return sum;
}

/* The largest errors, over some lanes: where all views see a voxel, and elsewhere. */
typedef struct errors {
    double seen, elsewhere, most;
} errors;

static bool all_see(const tr_slab *s, size_t z, size_t x)
{
    for (size_t i = 0; i < s->n_views; i++) {
        const tr_ray *r = &s->rays[i];
        double u = r->u0 + r->ux * (double)x + r->uz * (double)z;
        if (u < 0.0 || u > (double)s->n_u - 1.0)
            return false;
    }
    return true;
}

static errors compare(const workload *w, const float *x)
{
    const tr_slab *s = &w->slab;
    errors e = {0};
    for (size_t z = 0; z < s->n_z; z++)
        for (size_t i = 0; i < s->n_x; i++)
            for (size_t r = 0; r < s->rows; r += 13) {
                double truth = truth_at(w, z, i, r);
                double found = x[(z * s->n_x + i) * s->rows + r];
                double *error = all_see(s, z, i) ? &e.seen : &e.elsewhere;
                assert_true(isfinite(found));
                *error = fmax(*error, fabs(found - truth));
                e.most = fmax(e.most, fabs(truth));
            }
    return e;
}

static void check(tr_slab slab, double margin, double wave, double seen, double elsewhere)
{
    slab.p_rows = slab.rows;
    workload w = new_workload(slab, margin, wave);
    fixture f;
    for (int i = 0; i < N_VARIANTS; i++) {
        if (!open_variant(&f, i, 2))
            continue;
        vec p = new_vec(&f, tr_projection_lines(&w.slab), slab.rows);
        vec x = new_vec(&f, tr_volume_lines(&w.slab), slab.rows);
        fill_views(&w, p.host);
        to_device(&f, &p);
        assert_int_equal(f.backend->backproject_fourier(f.device, &w.slab, &p.on, &x.on),
                         TR_OK);
        to_host(&f, &x);
        errors e = compare(&w, x.host);
        print_message("%s, %zu views of %zu, %zu x %zu: %.1e and %.1e of %.3g\n", f.name,
                      slab.n_views, slab.n_u, slab.n_x, slab.n_z, e.seen, e.elsewhere,
                      e.most);
        if (!(e.seen <= seen * e.most) || !(e.elsewhere <= elsewhere * e.most))
            fail_msg("errors %g and %g of %g", e.seen, e.elsewhere, e.most);
        free_vec(&f, &p);
        free_vec(&f, &x);
        close_backend(&f);
    }
    free_workload(&w);
}

/* Fields that views see whole and in part, larger and smaller than they are, thick and
 * thin, odd and even; nothing but the guards' value near the ends of a view. */
static void test_reference(void **state)
{
    (void)state;
    const double tolerance = 3e-5;
    const tr_slab slabs[] = {
        {.n_views = 61, .n_u = 101, .n_x = 63, .n_z = 63, .rows = 16},
        {.n_views = 40, .n_u = 130, .n_x = 150, .n_z = 80, .rows = 16},
        {.n_views = 33, .n_u = 128, .n_x = 131, .n_z = 5, .rows = 32},
        {.n_views = 33, .n_u = 75, .n_x = 1, .n_z = 37, .rows = 16},
        {.n_views = 3, .n_u = 111, .n_x = 40, .n_z = 33, .rows = 16}};
    for (size_t i = 0; i < sizeof slabs / sizeof *slabs; i++)
        check(slabs[i], (double)slabs[i].n_u / 2.0 - 6.0, 0.0, tolerance, tolerance);
}

/* Views that end in the midst of a specimen: no ringing where all see a voxel; elsewhere
 * what the direct sum would give, which is linear there as well. */
static void test_truncated(void **state)
{
    (void)state;
    check((tr_slab){.n_views = 61, .n_u = 101, .n_x = 120, .n_z = 90, .rows = 16}, 0.0,
          1.0, 1e-3, 1e-2);
    check((tr_slab){.n_views = 61, .n_u = 101, .n_x = 101, .n_z = 20, .rows = 16}, 0.0,
          1.0, 1e-3, 5e-3);
}

/* ---- projection ---- */

/* |<A x, p> - <x, A' p>| of |A x| |p|; and guards of A x are 0. */
static double adjoint_error(const fixture *f, const tr_slab *s)
{
    vec p = new_vec(f, tr_projection_lines(s), s->rows);
    vec q = new_vec(f, p.on.lines, s->rows);
    vec x = new_vec(f, tr_volume_lines(s), s->rows);
    vec y = new_vec(f, x.on.lines, s->rows);
    randomize_projections(f, s, &p, 1);
    randomize(f, &x, 2, -0.5f);
    assert_int_equal(f->backend->project_fourier(f->device, s, &x.on, &q.on), TR_OK);
    assert_int_equal(f->backend->backproject_fourier(f->device, s, &p.on, &y.on), TR_OK);
    to_host(f, &q);
    to_host(f, &y);
    for (size_t line = 0; line < q.on.lines; line++) {
        size_t column = line % (s->n_u + TR_GUARDS);
        for (size_t r = 0; r < s->rows && (column == 0 || column > s->n_u); r++)
            assert_true(q.host[line * s->rows + r] == 0.0f);
    }
    double error = fabs(host_dot(&q, &p) - host_dot(&x, &y)) /
                   sqrt(host_dot(&q, &q) * host_dot(&p, &p));
    free_vec(f, &p);
    free_vec(f, &q);
    free_vec(f, &x);
    free_vec(f, &y);
    return error;
}

/* Fields that views see whole, in part and beside which they end, thick and thin, of one
 * column, odd and even, and of columns that have fewer than a taper. */
static void test_adjoint(void **state)
{
    (void)state;
    const tr_slab slabs[] = {
        {.n_views = 61, .n_u = 101, .n_x = 63, .n_z = 63, .rows = 16},
        {.n_views = 40, .n_u = 90, .n_x = 150, .n_z = 80, .rows = 16},
        {.n_views = 33, .n_u = 128, .n_x = 131, .n_z = 5, .rows = 32},
        {.n_views = 33, .n_u = 75, .n_x = 1, .n_z = 37, .rows = 16},
        {.n_views = 7, .n_u = 9, .n_x = 20, .n_z = 33, .rows = 16},
        {.n_views = 3, .n_u = 111, .n_x = 40, .n_z = 33, .rows = 16}};
    for (size_t k = 0; k < sizeof slabs / sizeof *slabs; k++) {
        workload w = new_workload(slabs[k], 1.0, 1.0);
        w.slab.p_rows = w.slab.rows;
        fixture f;
        for (int i = 0; i < N_VARIANTS; i++) {
            if (!open_variant(&f, i, 2))
                continue;
            double error = adjoint_error(&f, &w.slab);
            print_message("%s, field %zu: %.1e\n", f.name, k, error);
            if (!(error < 1e-6))
                fail_msg("field %zu: not adjoint by %g", k, error);
            close_backend(&f);
        }
        free_workload(&w);
    }
}

/* Gaussians in a field, so far from its ends that nothing is cut, and so wide that voxels
 * do; their projections are known. */
typedef struct spot {
    double x, z, sigma, height;
} spot;

static void fill_spots(const tr_slab *s, const spot *spots, float *x)
{
    for (size_t z = 0; z < s->n_z; z++)
        for (size_t i = 0; i < s->n_x; i++)
            for (size_t r = 0; r < s->rows; r++) {
                double sum = 0.0;
                for (const spot *a = spots + r * BUMPS; a < spots + (r + 1) * BUMPS; a++)
                    sum += a->height *
                           exp(-0.5 *
                               (pow((double)i - a->x, 2.0) + pow((double)z - a->z, 2.0)) /
                               (a->sigma * a->sigma));
                x[(z * s->n_x + i) * s->rows + r] = (float)sum;
            }
}

static double projection_error(const tr_slab *s, const spot *spots, const float *p)
{
    double most = 0.0, error = 0.0;
    for (size_t i = 0; i < s->n_views; i++)
        for (size_t c = 0; c < s->n_u; c++)
            for (size_t r = 0; r < s->rows; r += 5) {
                const tr_ray *ray = &s->rays[i];
                double truth = 0.0;
                for (const spot *a = spots + r * BUMPS; a < spots + (r + 1) * BUMPS;
                     a++) {
                    double u = ray->u0 + ray->ux * a->x + ray->uz * a->z;
                    truth += a->height * a->sigma * sqrt(2.0 * TR_PI) *
                             exp(-0.5 * pow(((double)c - u) / a->sigma, 2.0));
                }
                double found = p[(i * (s->n_u + TR_GUARDS) + c + 1) * s->rows + r];
                assert_true(isfinite(found));
                error = fmax(error, fabs(found - truth));
                most = fmax(most, fabs(truth));
            }
    return error / most;
}

/* Against line integrals in double precision. */
static void test_projection(void **state)
{
    (void)state;
    enum { ROWS = 16, EDGE = 12 };
    const tr_slab slabs[] = {
        {.n_views = 61, .n_u = 101, .n_x = 63, .n_z = 63, .rows = ROWS, .p_rows = ROWS},
        {.n_views = 40, .n_u = 190, .n_x = 150, .n_z = 80, .rows = ROWS, .p_rows = ROWS},
        {.n_views = 3, .n_u = 111, .n_x = 40, .n_z = 33, .rows = ROWS, .p_rows = ROWS}};
    for (size_t k = 0; k < sizeof slabs / sizeof *slabs; k++) {
        workload w = new_workload(slabs[k], 1.0, 0.0);
        const tr_slab *s = &w.slab;
        spot spots[ROWS * BUMPS];
        for (size_t i = 0; i < ROWS * BUMPS; i++)
            spots[i] = (spot){.x = between(EDGE, (double)s->n_x - 1.0 - EDGE),
                              .z = between(EDGE, (double)s->n_z - 1.0 - EDGE),
                              .sigma = between(1.7, 2.2),
                              .height = between(-1.0, 1.0)};
        fixture f;
        for (int i = 0; i < N_VARIANTS; i++) {
            if (!open_variant(&f, i, 2))
                continue;
            vec x = new_vec(&f, tr_volume_lines(s), ROWS);
            vec p = new_vec(&f, tr_projection_lines(s), ROWS);
            fill_spots(s, spots, x.host);
            to_device(&f, &x);
            assert_int_equal(f.backend->project_fourier(f.device, s, &x.on, &p.on),
                             TR_OK);
            to_host(&f, &p);
            double error = projection_error(s, spots, p.host);
            print_message("%s, field %zu: %.1e\n", f.name, k, error);
            if (!(error < 3e-5))
                fail_msg("field %zu: an error of %g", k, error);
            free_vec(&f, &p);
            free_vec(&f, &x);
            close_backend(&f);
        }
        free_workload(&w);
    }
}

/* Backprojects views, or projects a volume, whose first 16 lanes are the same for any
 * `rows`, others large. */
static vec run_lanes(const fixture *f, tr_slab s, size_t rows, bool forward)
{
    s.rows = s.p_rows = rows;
    size_t images = tr_projection_lines(&s), voxels = tr_volume_lines(&s);
    vec from = new_vec(f, forward ? voxels : images, rows);
    vec to = new_vec(f, forward ? images : voxels, rows);
    for (size_t line = 0; line < from.on.lines; line++) {
        uint64_t seed = line;
        for (size_t r = 0; r < 16; r++)
            from.host[line * rows + r] = uniform(&seed) - 0.5f;
        for (size_t r = 16; r < rows; r++)
            from.host[line * rows + r] = 1e6f * uniform(&seed);
    }
    to_device(f, &from);
    tr_status status =
        forward ? f->backend->project_fourier(f->device, &s, &from.on, &to.on)
                : f->backend->backproject_fourier(f->device, &s, &from.on, &to.on);
    assert_int_equal(status, TR_OK);
    to_host(f, &to);
    free_vec(f, &from);
    return to;
}

/* The same bytes with any number of threads, here also with tiles of another size for it,
 * and whatever other lanes hold. */
static void test_threads_and_lanes(void **state)
{
    (void)state;
    workload w = new_workload(
        (tr_slab){.n_views = 20, .n_u = 90, .n_x = 256, .n_z = 200, .rows = 1}, 1.0, 1.0);
    for (int i = 0; i < N_VARIANTS; i++)
        for (int threads = 2; threads <= 3; threads++) {
            fixture one, many;
            if (!open_variant(&one, i, 1))
                break;
            assert_true(open_variant(&many, i, threads));
            for (int forward = 0; forward < 2; forward++) {
                vec a = run_lanes(&one, w.slab, 16, forward);
                vec b = run_lanes(&many, w.slab, 48, forward);
                for (size_t line = 0; line < a.on.lines; line++)
                    assert_memory_equal(a.host + line * 16, b.host + line * 48,
                                        16 * sizeof *a.host);
                free_vec(&one, &a);
                free_vec(&many, &b);
            }
            close_backend(&one);
            close_backend(&many);
        }
    free_workload(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),         cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_adjoint),           cmocka_unit_test(test_projection),
        cmocka_unit_test(test_threads_and_lanes),
    };
    int missing = backend_missing();
    if (!missing && !tr_backend_find(backend_name())->backproject_fourier) {
        printf("SKIPPED: %s sums directly\n", backend_name());
        return 77;
    }
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
