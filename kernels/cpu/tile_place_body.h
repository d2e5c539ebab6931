/* Tiles of voxels for rays that leave their row: CELL x CELL voxels in x and z, and a
 * vector of rows, the lanes. Over a tile, a view's column and row are polynomials, which
 * are found here in double. Tiles lie on multiples of their size of all voxels and all
 * rows, however these are shared out, so that no result depends on that. Part of
 * project.c, to be compiled for every instruction set. */

enum {
    CELL = TR_OFFSET_STEP, /* a tile lies in one cell of a grid of offsets */
    MOST_COLUMNS = 48,     /* of an image that a tile is seen in; and rows more than */
    MOST_SHIFTS = 9        /* its lanes */
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
    bool along_x;         /* rather than z: neighbours lie on different columns */
    bool bent;            /* slopes along the lanes differ between voxels */
    bool fits;            /* what follows from positions does in the kernels for tiles */
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

/* Polynomials are steepest, and least and most, in corners of the tile. The least whole
 * number at one, from which the plane counts from now on, and how many there are. */
static long settle(plane *p, const tile_place *at, size_t *n, double *spread)
{
    double low = INFINITY, high = -INFINITY, x1 = (double)(at->n_x - 1);
    double z1 = (double)(at->n_z - 1);
    *spread = 0.0;
    for (int corner = 0; corner < 4; corner++) {
        double i = corner & 1 ? x1 : 0.0, k = corner & 2 ? z1 : 0.0;
        double first = p->a + p->x * i + (p->z + p->xz * i) * k;
        double lanes = (VECTOR - 1) * (p->r + p->xr * i + (p->zr + p->xzr * i) * k);
        low = least(low, first + least(lanes, 0.0));
        high = most(high, first + most(lanes, 0.0));
        *spread = most(*spread, fabs(lanes));
    }
    low = floor(within(low, FAR) - 1e-3);
    *n = (size_t)least(high - low, FAR) + 3;
    p->a -= low;
    return (long)low;
}

static tile_view place_tile(const tr_slab *s, size_t view, const tile_place *at)
{
    const tr_ray *ray = &s->rays[view];
    double x = (double)at->x, z = (double)at->z, r = (double)at->row;
    tile_view t = {.along_x = fabs(ray->ux) >= fabs(ray->uz)};
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
    t.column = settle(&t.u, at, &t.n_columns, &t.across);
    t.row = settle(&t.v, at, &t.n_shifts, &t.along) + at->row - s->p_first;
    t.fits = t.across <= 2.0 && t.along <= 1.0 && t.n_columns <= MOST_COLUMNS &&
             t.n_shifts <= MOST_SHIFTS;
    return t;
}
