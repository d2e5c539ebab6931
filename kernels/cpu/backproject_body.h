/* The backprojector for independent rows: each voxel gathers two columns of every view.
 * Part of project.c, to be compiled for every instruction set.
 *
 * A vector of rows costs two multiply-adds and two loads per voxel and view. All else is
 * kept small beside that: columns and weights of a voxel are found for VIEW_GROUP views
 * at once, sums stay in registers over these views, and what a view group needs for a
 * tile of voxels stays in the first-level cache. */

enum {
    VOXELS = 2,    /* with sums in registers: with WIDE vectors enough to hide latency */
    TILE = 8,      /* voxels in x and z that one view group is added to at a time */
    FEW_ROWS = 32, /* up to so many rows, tiles are larger */
    FEW_ROWS_TILE = 16,
    BLOCK = 32 /* voxels in x and z that one thread works on; stay in the second level */
};
_Static_assert(TR_BAND_SIDE % TILE == 0 && TR_BAND_SIDE % FEW_ROWS_TILE == 0 &&
                   BLOCK % TR_BAND_SIDE == 0,
               "a tile is in one block of depth");

/* A group of views, one per lane. */
enum { PARTS = VIEW_GROUP / DOUBLES };
typedef struct view_group {
    union {
        dvec part[PARTS];
        double view[VIEW_GROUP];
    } u0, ux, uz;
    union {
        bvec part[PARTS];
        uint64_t view[VIEW_GROUP];
    } p; /* address of the view's left guard, less the bits of ONE */
    size_t n;
} view_group;

/* The two taps of one voxel in each view of a group: found for all, used one by one. */
typedef struct voxel_taps {
    union {
        bvec part[PARTS];
        const float *view[VIEW_GROUP];
    } column;
    union {
        fvec part[PARTS];
        float view[VIEW_GROUP];
    } left, right;
} voxel_taps;

typedef struct tile {
    size_t x0, x1, z0, z1;
} tile;

static uint64_t address_of(const tr_slab *s, size_t image, const float *p)
{
    return (uintptr_t)(p + image * (s->n_u + TR_GUARDS) * s->rows) - BITS_OF_ONE;
}

static void load_group(const tr_slab *s, const tr_subset *views, size_t first,
                       const float *p, view_group *g)
{
    g->n = min_size(VIEW_GROUP, tr_view_count(s, views) - first);
    for (size_t k = 0; k < VIEW_GROUP; k++) {
        /* Spare lanes repeat the last view; they are computed, never used. */
        size_t view = tr_view_at(views, first + min_size(k, g->n - 1));
        g->u0.view[k] = s->rays[view].u0;
        g->ux.view[k] = s->rays[view].ux;
        g->uz.view[k] = s->rays[view].uz;
        g->p.view[k] = address_of(s, view, p);
    }
}

/* The images that a tile is seen in, where that depends on its depth. */
static void choose_images(const tr_slab *s, const tr_subset *views, size_t first,
                          const float *p, const tile *t, view_group *g)
{
    for (size_t k = 0; k < VIEW_GROUP; k++) {
        size_t view = tr_view_at(views, first + min_size(k, g->n - 1));
        g->p.view[k] = address_of(s, tr_band_image(&s->bands[view], t->x0, t->z0, 0), p);
    }
}

/* Whether all views of a group see a tile inside their image: nothing is to be held at
 * its ends then. */
static bool is_inside(const tr_slab *s, const view_group *g, const tile *t)
{
    double last = tr_ray_last((double)s->n_u);
    for (int corner = 0; corner < 4; corner++) {
        double ix = (double)(corner % 2 ? t->x0 : t->x1 - 1);
        double iz = (double)(corner / 2 ? t->z0 : t->z1 - 1);
        for (int k = 0; k < VIEW_GROUP; k++) {
            double c = tr_ray_base(g->u0.view[k], g->uz.view[k], iz) + g->ux.view[k] * ix;
            if (!(c > 0.0 && c < last))
                return false;
        }
    }
    return true;
}

/* What tr_ray_column finds, for a group of views. Columns are rounded by adding a number
 * so large that no fraction is left, and line addresses read off the low bits of another
 * such sum: conversions to integers and back take longer. A position right on a column
 * may come out as fraction 1 of the column before; that is the same tap. */
static inline __attribute__((always_inline)) void find_taps(const view_group *g,
                                                            double iz, double ix,
                                                            double last, size_t rows,
                                                            bool inside, voxel_taps *t)
{
    for (int k = 0; k < PARTS; k++) {
        dvec c = g->u0.part[k] + 1.0 + g->uz.part[k] * iz + g->ux.part[k] * ix;
        if (!inside) {
            bvec in = (bvec)(c < last);
            c = (dvec)((bvec)c & (bvec)(c > 0.0));
            c = (dvec)(((bvec)c & in) | ((bvec)((dvec){0} + last) & ~in));
        }
        dvec column = (c - 0.5 + ROUND) - ROUND;
        fvec right = __builtin_convertvector(c - column, fvec);
        t->right.part[k] = right;
        t->left.part[k] = 1.0f - right;
        t->column.part[k] =
            (bvec)(column * (double)(rows * sizeof(float)) + ONE) + g->p.part[k];
    }
}

/* Add a view group to some vectors of the rows of a few voxels. */
static inline __attribute__((always_inline)) void
add_views(float *const *x, const voxel_taps *t, size_t n, bool clear, size_t row,
          size_t rows, const int n_voxels, const int n_vec)
{
    vec sum[VOXELS][WIDE];
    for (int v = 0; v < n_voxels; v++)
        for (int i = 0; i < n_vec; i++)
            sum[v][i] = clear ? (vec){0} : ((const vec *)(x[v] + row))[i];
    for (size_t k = 0; k < n; k++)
        for (int v = 0; v < n_voxels; v++) {
            const float *a = in_register(t[v].column.view[k] + row);
            const float *b = in_register(a + rows);
            float left = t[v].left.view[k], right = t[v].right.view[k];
            for (int i = 0; i < n_vec; i++) {
                sum[v][i] += left * ((const vec *)a)[i];
                sum[v][i] += right * ((const vec *)b)[i];
            }
        }
    for (int v = 0; v < n_voxels; v++)
        for (int i = 0; i < n_vec; i++)
            ((vec *)(x[v] + row))[i] = sum[v][i];
}

static inline __attribute__((always_inline)) void add_rows(float *const *x,
                                                           const voxel_taps *t, size_t n,
                                                           bool clear, size_t rows,
                                                           const int n_voxels)
{
    size_t r = 0;
    for (; r + WIDE * VECTOR <= rows; r += WIDE * VECTOR)
        if (n == VIEW_GROUP)
            add_views(x, t, VIEW_GROUP, clear, r, rows, n_voxels, WIDE);
        else
            add_views(x, t, n, clear, r, rows, n_voxels, WIDE);
    if (PAIR_LEFT && r + 2 * VECTOR <= rows) {
        add_views(x, t, n, clear, r, rows, n_voxels, 2);
        r += 2 * VECTOR;
    }
    for (; r < rows; r += VECTOR)
        add_views(x, t, n, clear, r, rows, n_voxels, 1);
}

/* VOXELS lines of a tile along x, or fewer where it ends. The next voxels' taps are
 * found while these voxels are added to. */
static inline __attribute__((always_inline)) void
backproject_lines(const tr_slab *s, const view_group *g, const tile *b, size_t iz,
                  bool clear, bool inside, float *x)
{
    double last = tr_ray_last((double)s->n_u);
    size_t n = min_size(VOXELS, b->z1 - iz);
    voxel_taps taps[2][VOXELS];
    for (size_t v = 0; v < VOXELS; v++) {
        find_taps(g, (double)(iz + v), (double)b->x0, last, s->rows, inside, &taps[0][v]);
    }
    for (size_t ix = b->x0; ix < b->x1; ix++) {
        const voxel_taps *now = taps[(ix - b->x0) % 2];
        voxel_taps *next = taps[(ix - b->x0 + 1) % 2];
        float *to[VOXELS];
        for (size_t v = 0; v < VOXELS; v++) {
            to[v] = x + ((iz + v) * s->n_x + ix) * s->rows;
            find_taps(g, (double)(iz + v), (double)(ix + 1), last, s->rows, inside,
                      &next[v]);
        }
        if (n == VOXELS)
            add_rows(to, now, g->n, clear, s->rows, VOXELS);
        else
            for (size_t v = 0; v < n; v++)
                add_rows(to + v, now + v, g->n, clear, s->rows, 1);
    }
}

static void backproject_tile(const tr_slab *s, const view_group *g, const tile *b,
                             bool clear, float *x)
{
    if (is_inside(s, g, b))
        for (size_t iz = b->z0; iz < b->z1; iz += VOXELS)
            backproject_lines(s, g, b, iz, clear, true, x);
    else
        for (size_t iz = b->z0; iz < b->z1; iz += VOXELS)
            backproject_lines(s, g, b, iz, clear, false, x);
}

static void backproject_block(const tr_slab *s, const tr_subset *views, const float *p,
                              size_t bx, size_t bz, float *x)
{
    size_t x1 = min_size(bx + BLOCK, s->n_x), z1 = min_size(bz + BLOCK, s->n_z);
    const size_t side = s->rows > FEW_ROWS ? TILE : FEW_ROWS_TILE;
    for (size_t k = 0; k < tr_view_count(s, views); k += VIEW_GROUP) {
        view_group g;
        load_group(s, views, k, p, &g);
        for (size_t tz = bz; tz < z1; tz += side)
            for (size_t tx = bx; tx < x1; tx += side) {
                tile t = {tx, min_size(tx + side, x1), tz, min_size(tz + side, z1)};
                if (s->bands)
                    choose_images(s, views, k, p, &t, &g);
                backproject_tile(s, &g, &t, k == 0, x);
            }
    }
}

static void backproject_blocks(const tr_slab *s, const tr_subset *views, const float *p,
                               float *x, int threads)
{
    size_t across = (s->n_x + BLOCK - 1) / BLOCK, down = (s->n_z + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t b = 0; b < across * down; b++)
        backproject_block(s, views, p, b % across * BLOCK, b / across * BLOCK, x);
}
