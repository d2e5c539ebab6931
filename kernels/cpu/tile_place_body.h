/* Tiles of voxels for rays that leave their row: CELL x CELL voxels in x and z, and a
 * vector of rows, the lanes. Over a tile, a view's column and row are polynomials, which
 * are found here in double. Tiles lie on multiples of their size of all voxels and all
 * rows, however these are shared out, so that no result depends on that. Part of
 * project.c, to be compiled for every instruction set. */

enum {
    CELL = TR_OFFSET_STEP, /* a tile lies in one cell of a grid of offsets */
    MOST_COLUMNS = 48,     /* of an image that a tile is seen in; and rows more than */
    MOST_SHIFTS = 9,       /* its lanes */
    MOST_SPREAD = 6        /* columns between a voxel's lanes, and rows */
};

/* At voxel (i, k) and lane l: a + x i + z k + xz i k + l (r + xr i + zr k + xzr i k). */
typedef struct plane {
    double a, x, z, xz, r, xr, zr, xzr;
} plane;

/* The voxels of a tile that there are; `row` counts all rows and may begin before those
 * of the slab. */
typedef struct tile_place {
    size_t x, z, n_x, n_z;
    long row;
} tile_place;

/* How one view sees a tile: positions count from a column, 0 being the left guard, and
 * from row + l for lane l. */
typedef struct tile_view {
    plane u, v;
    long column, row;
    size_t n_columns, n_shifts;
    double across, along; /* columns between the lanes of a voxel at most, and rows */
    int n_u, n_v;
    bool steep_x; /* columns change with x more than with z */
    bool bent;    /* slopes along the lanes differ between voxels */
    bool fits;    /* what follows from positions does in the kernels for tiles */
} tile_view;

#define FAR 5e8 /* beyond all images, and with all rows still an int */

static inline double within(double at, double limit)
{
    return at < -limit ? -limit : at > limit ? limit : at;
}

/* Component m of the four at the corners of a cell, bilinear: times (from + k) in z. */
static void add_offset(const float *const node[4], size_t m, double row, double from,
                       double per_z, plane *p)
{
    const double step = 1.0 / TR_OFFSET_STEP;
    double here = node[0][m], right = node[1][m], above = node[2][m];
    double r = (above - here) * step, x = (right - here) * step;
    double xr = ((double)node[3][m] - above - right + here) * step * step;
    double a = here + r * row;
    x += xr * row;
    p->a += from * a, p->x += from * x, p->r += from * r, p->xr += from * xr;
    p->z += per_z * a, p->xz += per_z * x, p->zr += per_z * r, p->xzr += per_z * xr;
}

static void add_offsets(const tr_offsets *g, size_t view, const tile_place *at,
                        tile_view *t)
{
    size_t row = at->row > 0 ? (size_t)at->row : 0;
    size_t x0 = min_size(at->x / CELL, g->n_x - 1), x1 = min_size(x0 + 1, g->n_x - 1);
    size_t y0 = min_size(row / CELL, g->n_y - 1), y1 = min_size(y0 + 1, g->n_y - 1);
    const float *lower = g->grid + (view * g->n_y + y0) * g->n_x * 4;
    const float *upper = g->grid + (view * g->n_y + y1) * g->n_x * 4;
    const float *const node[4] = {lower + 4 * x0, lower + 4 * x1, upper + 4 * x0,
                                  upper + 4 * x1};
    double inside = (double)(row % CELL), z = g->z_first + (double)at->z;
    add_offset(node, 0, inside, 1.0, 0.0, &t->u);
    add_offset(node, 1, inside, z, 1.0, &t->u);
    add_offset(node, 2, inside, 1.0, 0.0, &t->v);
    add_offset(node, 3, inside, z, 1.0, &t->v);
    t->bent = true;
}

static inline double least(double a, double b) { return a < b ? a : b; }
static inline double most(double a, double b) { return a > b ? a : b; }

/* Where a plane lies. */
typedef struct plane_span {
    double low, high, spread;
} plane_span;

/* Polynomials are steepest, and least and most, in corners of the tile. */
static plane_span find_bent_span(const plane *p, double x1, double z1)
{
    plane_span span = {INFINITY, -INFINITY, 0.0};
    for (int corner = 0; corner < 4; corner++) {
        double i = corner & 1 ? x1 : 0.0, k = corner & 2 ? z1 : 0.0;
        double first = p->a + p->x * i + (p->z + p->xz * i) * k;
        double lanes = (VECTOR - 1) * (p->r + p->xr * i + (p->zr + p->xzr * i) * k);
        span.low = least(span.low, first + least(lanes, 0.0));
        span.high = most(span.high, first + most(lanes, 0.0));
        span.spread = most(span.spread, fabs(lanes));
    }
    return span;
}

static inline plane_span find_straight_span(const plane *p, double x1, double z1)
{
    double x = x1 * p->x, z = z1 * p->z, lanes = (VECTOR - 1) * p->r;
    return (plane_span){p->a + least(x, 0.0) + least(z, 0.0) + least(lanes, 0.0),
                        p->a + most(x, 0.0) + most(z, 0.0) + most(lanes, 0.0),
                        fabs(lanes)};
}

/* The least whole number of a plane, from which it counts from now on; how many columns
 * or rows its lanes need, and how far apart they are. */
static inline long settle(plane *p, bool bent, const tile_place *at, size_t *n,
                          double *spread)
{
    double x1 = (double)(at->n_x - 1), z1 = (double)(at->n_z - 1);
    plane_span span = bent ? find_bent_span(p, x1, z1) : find_straight_span(p, x1, z1);
    double from = within(span.low, FAR) - 1e-3;
    long low = (long)from;
    low -= from < (double)low;
    *n = (size_t)least(span.high + 1e-3 - (double)low, FAR) + 2;
    *spread = span.spread;
    p->a -= (double)low;
    return low;
}

/* How many columns and rows each voxel is given: those of most of them where others are
 * left for later, which are given three of both then. */
static inline void choose_numbers(tile_view *t)
{
    bool wide = t->across > 2.0 || t->along > 1.0, narrow = t->across < 0.12;
    t->n_u = wide ? (int)t->across + 3 : t->across > 1.0 ? 4 : narrow ? 2 : 3;
    t->n_v = wide ? (int)t->along + 3 : 2;
    /* The last lane may not need all of them. */
    t->n_columns += (size_t)(narrow && !wide ? 1 : t->n_u - 2);
    t->n_shifts += (size_t)(narrow && !wide ? 1 : t->n_v - 2);
    t->fits = t->across < MOST_SPREAD - 1 && t->along < MOST_SPREAD - 1 &&
              t->n_columns <= MOST_COLUMNS && t->n_shifts <= MOST_SHIFTS;
}

static void place_tile(const tr_slab *s, size_t view, const tile_place *at,
                       tile_view *placed)
{
    const tr_ray *ray = &s->rays[view];
    double x = (double)at->x, z = (double)at->z, r = (double)at->row;
    tile_view t = {.steep_x = fabs(ray->ux) >= fabs(ray->uz)};
    t.u = (plane){tr_ray_base(ray->u0, ray->uz, z) + ray->ux * x + ray->uy * r,
                  ray->ux,
                  ray->uz,
                  0,
                  ray->uy,
                  0,
                  0,
                  0};
    /* Without the lanes' own number, rows that are shifted only are all alike. */
    t.v = (plane){ray->v0 + ray->vx * x + (ray->vy - 1.0) * r + ray->vz * z,
                  ray->vx,
                  ray->vz,
                  0,
                  ray->vy - 1.0,
                  0,
                  0,
                  0};
    if (s->offsets)
        add_offsets(s->offsets, view, at, &t);
    t.column = settle(&t.u, t.bent, at, &t.n_columns, &t.across);
    t.row = settle(&t.v, t.bent, at, &t.n_shifts, &t.along) + at->row - s->p_first;
    choose_numbers(&t);
    *placed = t;
}
