/* Projection by gridding in Fourier space: the exact transpose of gridding_body.h, step
 * by step from its last to its first, for views whose guards are 0 (a nonuniform fast
 * Fourier transform of type 2). Part of project.c, to be compiled for every instruction
 * set.
 *
 * Input: f(x, z). Output: p_i(u) = sum over x, z of f(x, z) d(u - u0 - ux x - uz z), d
 * being the Fourier series of the view's period instead of a triangle; guards 0.
 *
 * 4, 3. Division by the kernel's transform; transforms along x, half of whose frequencies
 *    are kept, and along z.
 * 2. Nodes read the grid points that they are spread to. A node belongs to the tile of
 * its middle point and is read by it alone, so that tiles do not show in the result.
 * 1. Back to a period of the view; what was put beside the image is folded back into it.
 * 5. Voxels beside the image: what the taper makes of them is taken off. */

/* ---- 4 and 3: to the grid ---- */

/* A row of voxels to half its spectrum. */
static void spread_line(const tr_slab *s, const tr_gridding *g, size_t z, const float *x,
                        cvec *room, cvec *line)
{
    size_t n = g->n_x / 2, middle = s->n_x / 2;
    vec *value = as_vec(room);
    memset(room, 0, n * sizeof *room);
    for (size_t i = 0; i < s->n_x; i++) {
        float scale = g->scale_z[z] * g->scale_x[i];
        value[i < middle ? i + g->n_x - middle : i - middle] =
            scale * *(const vec *)(x + i * s->rows);
    }
    transform_block(&g->x_fft, 0, false, room);
    for (size_t k = 0; k <= n; k++)
        line[k] = of_pairs(&g->x_fft, g->x_turn, room, k);
}

/* The planes of the field to a column of frequencies, in place. */
static void spread_column(const tr_slab *s, const tr_gridding *g, size_t column,
                          cvec *room, cvec *grid)
{
    size_t stride = g->n_x / 2 + 1, middle = s->n_z / 2;
    cvec *at = grid + column;
    memset(room, 0, g->n_z * sizeof *room);
    for (size_t z = 0; z < s->n_z; z++)
        room[z < middle ? z + g->n_z - middle : z - middle] = at[z * stride];
    transform_block(&g->z_fft, 0, false, room);
    for (size_t q = 0; q < g->n_z; q++)
        at[q * stride] = room[g->z_fft.place[q]];
}

/* ---- 2: nodes ---- */

static inline __attribute__((always_inline)) cvec
take_taps(const cvec *from, size_t stride, const float *wx, const float *wz)
{
    cvec sum = {0};
    for (long j = 0; j < TR_GRIDDING_TAPS; j++, from += stride) {
        cvec part = {0};
#pragma GCC unroll 8
        for (long i = 0; i < TR_GRIDDING_TAPS; i++) {
            part.re += wx[i] * from[i].re;
            part.im += wx[i] * from[i].im;
        }
        sum.re += wz[j] * part.re;
        sum.im += wz[j] * part.im;
    }
    return sum;
}

/* Any point: columns that are not kept are the conjugates of others, and all is periodic.
 */
static cvec grid_point(const tr_gridding *g, const cvec *grid, long x, long z)
{
    long n_x = (long)g->n_x, n_z = (long)g->n_z;
    bool kept = x >= 0 && x <= n_x / 2;
    if (!kept) {
        x = x < 0 ? -x : n_x - x;
        z = -z;
    }
    z = (z % n_z + n_z) % n_z;
    cvec value = grid[(size_t)z * (g->n_x / 2 + 1) + (size_t)x];
    return kept ? value : conjugate(value);
}

static cvec take_edge_taps(const tr_gridding *g, const cvec *grid, long x, long z,
                           const float *wx, const float *wz)
{
    cvec sum = {0};
    for (long j = 0; j < TR_GRIDDING_TAPS; j++) {
        cvec part = {0};
        for (long i = 0; i < TR_GRIDDING_TAPS; i++) {
            cvec value = grid_point(g, grid, x + i, z + j);
            part.re += wx[i] * value.re;
            part.im += wx[i] * value.im;
        }
        sum.re += wz[j] * part.re;
        sum.im += wz[j] * part.im;
    }
    return sum;
}

static void read_line(const tr_gridding *g, const grid_box *box, const node_line *l,
                      size_t first, size_t last, const cvec *grid, cvec *spectrum)
{
    const long taps = TR_GRIDDING_TAPS, columns = (long)g->n_x / 2 + 1;
    for (size_t k = first; k <= last; k++) {
        float wx[TR_GRIDDING_ROOM], wz[TR_GRIDDING_ROOM];
        long x = taps_at(g, l->x + (double)k * l->dx, wx), middle_x = x + taps / 2;
        long z = taps_at(g, l->z + (double)k * l->dz, wz), middle_z = z + taps / 2;
        if (middle_x < box->x0 || middle_x >= box->x1 || middle_z < box->z0 ||
            middle_z >= box->z1)
            continue;
        long row = z < 0 ? z + (long)g->n_z : z;
        if (x >= 0 && x + taps <= columns && row + taps <= (long)g->n_z)
            spectrum[k] = take_taps(grid + row * columns + x, (size_t)columns, wx, wz);
        else
            spectrum[k] = take_edge_taps(g, grid, x, z, wx, wz);
    }
}

static void read_tile(const gridding *t, const grid_box *box, cvec *spectra)
{
    const tr_gridding *g = t->g;
    for (size_t v = 0; v < t->n; v++) {
        node_line line[GRID_IMAGES];
        double first = 0.0, last = (double)(g->length / 2);
        lines_of_view(g, &t->s->rays[t->first + v], line);
        narrow(line->x, line->dx, (double)box->x0 - 1.0, (double)box->x1, &first, &last);
        narrow(line->z, line->dz, (double)box->z0 - 1.0, (double)box->z1, &first, &last);
        /* One more on either side: which tile has a node is then up to its taps. */
        first = fmax(first - 1.0, 0.0);
        last = fmin(last + 1.0, (double)(g->length / 2));
        if (first <= last)
            read_line(g, box, line, (size_t)first, (size_t)last, t->grid,
                      spectra + v * (g->length / 2 + 1));
    }
}

/* Along z tiles begin at the lowest frequency, so that a view is one line of nodes. */
static void read_nodes(const gridding *t, cvec *spectra, int threads)
{
    size_t columns = t->g->n_x / 2 + 1, lines = t->g->n_z + 3, size = GRID_TILE;
    long low = -(long)(t->g->n_z / 2) - 1;
    if (count_tiles(columns, size) * count_tiles(lines, size) <
        (size_t)threads * TILES_EACH)
        size = FEW_TILE;
    size_t nx = count_tiles(columns, size), nz = count_tiles(lines, size);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < nx * nz; k++) {
        size_t x = k / nz * size, z = k % nz * size;
        grid_box box = {(long)x, (long)min_size(x + size, columns), low + (long)z,
                        low + (long)min_size(z + size, lines)};
        read_tile(t, &box, spectra);
    }
}

/* ---- 1: the views ---- */

/* The transpose of split_spectrum, to real values. */
static void join_spectrum(const tr_gridding *g, double turn, bool flip, cvec *spectrum,
                          cvec *room)
{
    size_t n = g->length / 2;
    double re = cos(turn), im = sin(turn), c = 1.0 / (double)g->length, d = 0.0;
    for (size_t k = 0; k <= n; k++) {
        cvec a = flip ? conjugate(spectrum[k]) : spectrum[k];
        spectrum[k] = times(a, (float)c, -(float)d);
        double next = c * re - d * im;
        d = c * im + d * re;
        c = next;
    }
    spectrum[0].im = spectrum[n].im = (vec){0};
    pair_up(&g->view_fft, g->view_turn, spectrum, room);
    transform_block(&g->view_fft, 0, true, room);
}

/* The transpose of extend_view, but for the guards. */
static void fold_view(const tr_slab *s, const tr_gridding *g, vec *e, float *p)
{
    vec *first = e + g->before, *last = first + s->n_u - 1;
    for (size_t j = 1; j <= g->taper; j++) {
        vec left = g->edge[j] * first[-(ptrdiff_t)j], right = g->edge[j] * last[j];
        *first += 2.0f * left;
        first[j] -= left;
        *last += 2.0f * right;
        last[-(ptrdiff_t)j] -= right;
    }
    fill_guards(p, s->rows, s->n_u, (vec){0});
    for (size_t u = 0; u < s->n_u; u++)
        *(vec *)(p + (u + 1) * s->rows) = first[u];
}

/* ---- 5: voxels beside the image ---- */

/* The transpose of take_taper. */
static void give_taper(const tr_gridding *g, float *end, ptrdiff_t inward, double outside,
                       vec x)
{
    size_t j = (size_t)outside;
    float part = (float)(outside - (double)j);
    float a = j > 0 ? (1.0f - part) * g->edge[j] : 0.0f;
    float b = j < g->taper ? part * g->edge[j + 1] : 0.0f;
    float *near = end + (ptrdiff_t)j * inward;
    float *far = j < g->taper ? near + inward : near;
    *(vec *)near += a * x;
    *(vec *)far += b * x;
    *(vec *)end -= 2.0f * (a + b) * x;
}

static void give_tapers(const tr_slab *s, const tr_gridding *g, const tr_ray *r,
                        const float *x, float *p)
{
    double last = (double)s->n_u - 1.0, least = (double)g->taper + 1.0;
    ptrdiff_t rows = (ptrdiff_t)s->rows;
    for (size_t z = 0; z < s->n_z; z++)
        for (int side = 0; side < 2; side++) {
            double base = r->u0 + r->uz * (double)z, from = 0.0,
                   to = (double)s->n_x - 1.0;
            narrow(base, r->ux, side ? last : -least, side ? last + least : 0.0, &from,
                   &to);
            for (double i = from; i <= to; i += 1.0) {
                double u = base + r->ux * i, outside = side ? u - last : -u;
                if (outside > 0.0 && outside < least)
                    give_taper(g, p + (side ? s->n_u : 1) * s->rows, side ? -rows : rows,
                               outside,
                               *(const vec *)(x + (z * s->n_x + (size_t)i) * s->rows));
            }
        }
}

/* ---- all of it ---- */

static void finish_view(const tr_slab *s, const tr_gridding *g, size_t view,
                        const float *x, cvec *spectrum, cvec *room, float *p)
{
    const tr_ray *r = &s->rays[view];
    float *to = p + view * (s->n_u + TR_GUARDS) * s->rows;
    join_spectrum(g, turn_of(s, g, r), r->ux < 0.0, spectrum, room);
    fold_view(s, g, as_vec(room), to);
    give_tapers(s, g, r, x, to);
}

static void project_lanes(gridding *t, const tr_gridding_work *w, const float *x,
                          float *p)
{
    const tr_slab *s = t->s;
    const tr_gridding *g = t->g;
    size_t nodes = g->length / 2 + 1, columns = g->n_x / 2 + 1;
    cvec *spectra = (cvec *)w->spectra;
#pragma omp parallel for schedule(dynamic) num_threads(w->threads)
    for (size_t z = 0; z < s->n_z; z++)
        spread_line(s, g, z, x + z * s->n_x * s->rows, thread_room(w),
                    t->grid + z * columns);
#pragma omp parallel for schedule(dynamic, 4) num_threads(w->threads)
    for (size_t column = 0; column < columns; column++)
        spread_column(s, g, column, thread_room(w), t->grid);
    for (t->first = 0; t->first < s->n_views; t->first += t->n) {
        t->n = min_size(g->group, s->n_views - t->first);
        read_nodes(t, spectra, w->threads);
#pragma omp parallel for schedule(dynamic) num_threads(w->threads)
        for (size_t v = 0; v < t->n; v++)
            finish_view(s, g, t->first + v, x, spectra + v * nodes, thread_room(w), p);
    }
}

static void project_fourier(const tr_slab *s, const tr_gridding *g,
                            const tr_gridding_work *w, const float *x, float *p)
{
    gridding t = {.s = s, .g = g, .spectra = (cvec *)w->spectra, .grid = (cvec *)w->grid};
    for (size_t lane = 0; lane < s->rows; lane += VECTOR)
        project_lanes(&t, w, x + lane, p + lane);
}
