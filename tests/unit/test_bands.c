/* Backprojection of views that are several images each, one for each band of depth,
 * against a double-precision reference. */
#include "backend_fixture.h"
#include "common/geometry/geometry.h"
#include "operator_reference.h"

enum { VIEWS = 13 };

/* The last tile and block of 16 voxels are not whole, lanes more or fewer than the tile's
 * size depends on. */
static const struct slab_case {
    const char *name;
    size_t n_u, width, thickness, rows;
    double pitch;
    bool xtilts;
} cases[] = {
    {"plain", 60, 70, 40, 16, 0, false},  {"more rows", 60, 57, 35, 80, 0, false},
    {"thin", 45, 40, 3, 48, 0, false},    {"pitch", 40, 40, 20, 32, -7, false},
    {"x-tilts", 40, 50, 37, 32, 0, true}, {"x-tilts and pitch", 37, 42, 18, 48, 4, true},
};

static tr_slab make_slab(const struct slab_case *c, tr_geometry *g, tr_ray *rays)
{
    double tilts[VIEWS], xtilts[VIEWS];
    for (int i = 0; i < VIEWS; i++) {
        tilts[i] = -66 + 11 * i + (i % 3) * 0.37;
        xtilts[i] = 1.7 * sin(2.1 * i) + 0.4;
    }
    const tr_geometry_spec spec = {.n_views = VIEWS,
                                   .tilts = tilts,
                                   .xtilts = c->xtilts ? xtilts : NULL,
                                   .tilt_offset = 1.5,
                                   .pitch = c->pitch,
                                   .n_u = c->n_u,
                                   .n_v = 100,
                                   .width = c->width,
                                   .thickness = c->thickness,
                                   .x_shift = 3.25};
    assert_int_equal(tr_geometry_init(&spec, g), TR_OK);
    tr_geometry_rays(g, 32, c->rows, rays);
    return (tr_slab){.n_views = VIEWS,
                     .n_u = c->n_u,
                     .n_x = c->width,
                     .n_z = tr_geometry_planes(g, c->rows),
                     .rows = c->rows,
                     .p_rows = c->rows,
                     .rays = rays};
}

static void compare(const char *name, const float *got, const double *wanted, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(wanted[i]));
    assert_true(largest > 0.0);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - wanted[i]) <= 2e-6 * largest))
            fail_msg("%s: voxel value %zu is %.9g, the reference %.9g (largest %.9g)",
                     name, i, got[i], wanted[i], largest);
}

typedef struct banded {
    const tr_slab *slab;
    const float *in;
    double *out;
} banded;

/* Which image the documentation says, in more precision than is needed. */
static size_t image_of(const tr_slab *s, size_t view, size_t voxel)
{
    const tr_band *b = &s->bands[view];
    size_t r = voxel % s->rows, ix = voxel / s->rows % s->n_x;
    size_t iz = voxel / s->rows / s->n_x;
    long double at = b->b0 + b->bx * (7.5L + (long double)(ix - ix % 16)) +
                     b->by * (long double)r +
                     b->bz * (7.5L + (long double)(iz - iz % 16));
    long k = (long)floorl(at), last = (long)b->n - 1;
    return b->first + (size_t)(k < 0 ? 0 : k > last ? last : k);
}

static void add_banded_pair(void *data, size_t voxel, size_t sample, double weight)
{
    banded *v = data;
    size_t view_floats = (v->slab->n_u + TR_GUARDS) * v->slab->p_rows;
    size_t image = image_of(v->slab, sample / view_floats, voxel);
    v->out[voxel] += weight * v->in[image * view_floats + sample % view_floats];
}

static double multiple(double value) { return rint(value * 0x1p37) / 0x1p37; }

/* Bands that begin anywhere, from none to some within the slab, and images without order
 * but that of the views. */
static size_t make_bands(const tr_slab *s, bool shifted, tr_band *bands)
{
    uint64_t state = 77;
    size_t images = 0;
    for (size_t k = 0; k < s->n_views; k++) {
        double slope[3];
        for (int i = 0; i < 3; i++)
            slope[i] = multiple(0.1 * (uniform(&state) - 0.5));
        bands[k] = (tr_band){.b0 = multiple(4.0 * uniform(&state) - 1.0),
                             .bx = slope[0],
                             .by = shifted ? slope[1] : 0.0,
                             .bz = slope[2],
                             .first = images,
                             .n = 1 + k % 4};
        images += bands[k].n;
    }
    return images;
}

static void check_bands(const fixture *f, const tr_slab *slab, bool shifted,
                        const char *name)
{
    tr_slab s = *slab;
    tr_band bands[VIEWS];
    s.n_images = make_bands(&s, shifted, bands);
    s.bands = bands;
    vec x = new_vec(f, tr_volume_lines(&s), s.rows);
    vec p = new_vec(f, tr_projection_lines(&s), s.p_rows);
    assert_int_equal(p.on.lines, s.n_images * (s.n_u + TR_GUARDS));
    double *wanted = calloc(x.n, sizeof *wanted);
    randomize_projections(f, &s, &p, 4);
    reference_pairs(&s, add_banded_pair, &(banded){&s, p.host, wanted});
    tr_status status = f->backend->backproject(f->device, &s, NULL, &p.on, &x.on);
    if (strstr(name, "texture") || strstr(name, "tensor")) {
        assert_int_equal(status, TR_ERR_UNAVAILABLE);
        assert_non_null(strstr(tr_error(), "--kernel tile"));
    } else {
        assert_int_equal(status, TR_OK);
        to_host(f, &x);
        compare(name, x.host, wanted, x.n);
    }
    free(wanted);
    free_vec(f, &x);
    free_vec(f, &p);
}

static void test_bands(void **state)
{
    (void)state;
    for (int i = 0; i < N_VARIANTS; i++) {
        fixture f;
        if (!open_variant(&f, i, 2))
            continue;
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            tr_geometry g;
            tr_ray rays[VIEWS];
            char name[100];
            const tr_slab s = make_slab(&cases[k], &g, rays);
            snprintf(name, sizeof name, "%s, %s", f.name, cases[k].name);
            check_bands(&f, &s, cases[k].xtilts, name);
            tr_geometry_free(&g);
        }
        close_backend(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bands)};
    int missing = backend_missing();
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
