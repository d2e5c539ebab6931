/* Backprojection by gridding in Fourier space (a nonuniform fast Fourier transform of
 * type 1), for independent rows. Part of project.c, to be compiled for every instruction
 * set.
 *
 * Input: views g_i(u), filtered, on columns 0 .. n_u - 1, both guards of a view holding
 * what is seen outside; rays u = u0 + ux x + uz z with |ux|, |uz| <= 1.
 * Output: f(x, z) = sum over i of g_i(u), g_i being interpolated by its Fourier series
 * instead of linearly.
 *
 * 1. A view goes over to its guard over TR_GRIDDING_TAPER columns, and its period L is
 *    such that no voxel sees the next one. With G_i its transform,
 *        g_i(u) = 1/L  sum over k of G_i[k] exp(2 pi i k (u + before) / L),
 *    so f is a sum of plane waves: node k of view i has the frequency k (ux, uz) / L.
 * 2. Nodes are spread to a grid of frequencies with ES kernels of TAPS points along x and
 *    z. Views and volume are real: columns of frequencies < 0 along x are not kept.
 *    Threads share out tiles of the grid; each gathers the nodes that reach it, view by
 *    view in their order, so that sums do not depend on the number of threads.
 * 3. Transforms along z, then along x, of which only the field is kept.
 * 4. Division by the kernel's transform.
 * 5. Where the direct sum reads the guard, between the image and it linearly, what the
 *    taper put there is taken off again.
 *
 * Every value is a vector of rows: what a row's result is does not depend on others.
 * After Barnett, Magland and af Klinteberg (SIAM J. Sci. Comput. 41 (2019) C479) and
 * Nikitin (J. Synchrotron Rad. 30 (2023) 179). */

enum {
    GRID_TILE = 64, /* points either way: in the second-level cache */
    FEW_TILE = 32,
    TILES_EACH = 16, /* fewer for each thread are made smaller */
    GRID_IMAGES = 6,
    TAPER_PLANES = 4 /* of a row that tapers are taken off together */
};

/* What is the same for all tiles of a group of views. */
typedef struct gridding {
    const tr_slab *s;
    const tr_gridding *g;
    size_t first, n; /* the group of views */
    const cvec *spectra;
    cvec *grid;
} gridding;

/* What the thread that asks works in. */
static inline cvec *thread_room(const tr_gridding_work *w)
{
    return (cvec *)(w->room + (size_t)omp_get_thread_num() * w->room_floats);
}

static inline vec *as_vec(cvec *x) { return (vec *)x; }

static inline cvec conjugate(cvec a) { return (cvec){a.re, -a.im}; }

static inline cvec times(cvec a, float re, float im)
{
    return (cvec){a.re * re - a.im * im, a.re * im + a.im * re};
}

/* ---- 1: the views ---- */

/* One period. Left and right of the image it is reflected in the point at its end, with a
 * share that falls to 0. */
static void extend_view(const tr_slab *s, const tr_gridding *g, const float *p, vec *e)
{
    size_t rows = s->rows, taper = g->taper, end = g->before + s->n_u;
    const float *first = p + rows, *last = p + s->n_u * rows;
    vec fill = *(const vec *)p;
    vec a = *(const vec *)first, b = *(const vec *)last;
    for (size_t t = 0; t < g->before - taper; t++)
        e[t] = fill;
    for (size_t t = end + taper; t < g->length; t++)
        e[t] = fill;
    for (size_t u = 0; u < s->n_u; u++)
        e[g->before + u] = *(const vec *)(first + u * rows);
    for (size_t j = 1; j <= taper; j++) {
        vec left = 2.0f * a - *(const vec *)(first + j * rows);
        vec right = 2.0f * b - *(const vec *)(last - j * rows);
        e[g->before - j] = fill + g->edge[j] * (left - fill);
        e[end - 1 + j] = fill + g->edge[j] * (right - fill);
    }
}

/* Value k of the spectrum of real values, from that of the pairs that neighbours are. */
static inline __attribute__((always_inline)) cvec
of_pairs(const tr_fft *fft, const float *turn, const cvec *z, size_t k)
{
    size_t n = fft->length;
    cvec a = z[fft->place[k % n]], b = conjugate(z[fft->place[(n - k) % n]]);
    cvec even = {0.5f * (a.re + b.re), 0.5f * (a.im + b.im)};
    cvec odd = {0.5f * (a.im - b.im), 0.5f * (b.re - a.re)};
    cvec x = times(odd, turn[2 * k], -turn[2 * k + 1]);
    return (cvec){even.re + x.re, even.im + x.im};
}

/* Half a spectrum to that of the pairs of neighbours of its real values, in the order in
 * which it is transformed back. */
static inline __attribute__((always_inline)) void
pair_up(const tr_fft *fft, const float *turn, const cvec *half, cvec *room)
{
    size_t n = fft->length;
    for (size_t k = 0; k < n; k++) {
        cvec a = half[k], b = conjugate(half[n - k]);
        cvec even = {a.re + b.re, a.im + b.im}, odd = {a.re - b.re, a.im - b.im};
        odd = times(odd, turn[2 * k], turn[2 * k + 1]);
        room[fft->place[k]] = (cvec){even.re - odd.im, even.im + odd.re};
    }
}

/* The spectrum of real values from that of the pairs that neighbours are, turned such
 * that node k stands for a wave about the middle of the field. */
static void split_spectrum(const tr_gridding *g, const cvec *z, double turn, bool flip,
                           cvec *spectrum)
{
    size_t n = g->length / 2;
    double re = cos(turn), im = sin(turn), c = 1.0 / (double)g->length, d = 0.0;
    for (size_t k = 0; k <= n; k++) {
        cvec x = of_pairs(&g->view_fft, g->view_turn, z, k);
        float half =
            k == 0 || k == n ? 0.5f : 1.0f; /* it comes twice, as its conjugate */
        x = times(x, half * (float)c, half * (float)d);
        spectrum[k] = flip ? conjugate(x) : x;
        double next = c * re - d * im;
        d = c * im + d * re;
        c = next;
    }
}

/* From one frequency to the next, to the middle of the field. */
static double turn_of(const tr_slab *s, const tr_gridding *g, const tr_ray *r)
{
    double middle = r->u0 + r->ux * (double)(s->n_x / 2) + r->uz * (double)(s->n_z / 2);
    return 2.0 * TR_PI * (middle + (double)g->before) / (double)g->length;
}

static void transform_view(const tr_slab *s, const tr_gridding *g, size_t view,
                           const float *p, cvec *room, cvec *spectrum)
{
    const tr_ray *r = &s->rays[view];
    extend_view(s, g, p + view * (s->n_u + TR_GUARDS) * s->rows, as_vec(room));
    transform_block(&g->view_fft, 0, false, room);
    split_spectrum(g, room, turn_of(s, g, r), r->ux < 0.0, spectrum);
}

/* ---- 2: spreading ---- */

typedef struct grid_box {
    long x0, x1, z0, z1;
} grid_box;

/* Nodes k at (x + k dx, z + k dz) in grid points. */
typedef struct node_line {
    double x, dx, z, dz;
    bool conjugate;
} node_line;

/* A view's nodes, and where else they are: at minus the frequency, and a period on. Along
 * x a node is in the half that is kept, or a few points outside it. */
static void lines_of_view(const tr_gridding *g, const tr_ray *r, node_line *line)
{
    double sign = r->ux < 0.0 ? -1.0 : 1.0;
    double dx = sign * r->ux * (double)g->n_x / (double)g->length;
    double dz = sign * r->uz * (double)g->n_z / (double)g->length;
    for (int i = 0; i < GRID_IMAGES; i++) {
        bool positive = i / 2 == 0;
        line[i] = (node_line){.x = i / 2 == 2 ? (double)g->n_x : 0.0,
                              .dx = positive ? dx : -dx,
                              .z = i % 2 ? (double)g->n_z : 0.0,
                              .dz = positive ? dz : -dz,
                              .conjugate = !positive};
    }
}

/* Narrows first <= k <= last to those with low < x + k dx < high. */
static void narrow(double x, double dx, double low, double high, double *first,
                   double *last)
{
    if (dx == 0.0) {
        if (!(x > low && x < high))
            *last = -1.0;
        return;
    }
    double a = (low - x) / dx, b = (high - x) / dx;
    double from = ceil(a < b ? a : b), to = floor(a < b ? b : a);
    *first = from > *first ? from : *first;
    *last = to < *last ? to : *last;
}

/* The first grid point in reach of a node, and the weights from there on. */
static inline __attribute__((always_inline)) long taps_at(const tr_gridding *g,
                                                          double position, float *weight)
{
    double from = position - TR_GRIDDING_TAPS / 2.0;
    double point = ceil(from), place = (point - from) * TR_GRIDDING_FRACTIONS;
    size_t row = (size_t)place;
    float part = (float)(place - (double)row);
    const float *a = g->weight + row * TR_GRIDDING_ROOM, *b = a + TR_GRIDDING_ROOM;
    for (int i = 0; i < TR_GRIDDING_ROOM; i++)
        weight[i] = a[i] + part * (b[i] - a[i]);
    return (long)point;
}

static inline __attribute__((always_inline)) void add_taps(cvec *to, size_t stride,
                                                           const float *wx,
                                                           const float *wz, cvec c,
                                                           const long nx, const long nz)
{
    for (long j = 0; j < nz; j++, to += stride) {
        cvec part = {wz[j] * c.re, wz[j] * c.im};
#pragma GCC unroll 8
        for (long i = 0; i < nx; i++) {
            to[i].re += wx[i] * part.re;
            to[i].im += wx[i] * part.im;
        }
    }
}

static inline long max_long(long a, long b) { return a > b ? a : b; }
static inline long min_long(long a, long b) { return a < b ? a : b; }

static void add_line(const tr_gridding *g, const grid_box *box, const node_line *l,
                     size_t first, size_t last, const cvec *spectrum, cvec *grid)
{
    size_t stride = g->n_x / 2 + 1;
    for (size_t k = first; k <= last; k++) {
        float wx[TR_GRIDDING_ROOM], wz[TR_GRIDDING_ROOM];
        long x = taps_at(g, l->x + (double)k * l->dx, wx);
        long z = taps_at(g, l->z + (double)k * l->dz, wz);
        cvec c = l->conjugate ? conjugate(spectrum[k]) : spectrum[k];
        long x0 = max_long(x, box->x0), x1 = min_long(x + TR_GRIDDING_TAPS, box->x1);
        long z0 = max_long(z, box->z0), z1 = min_long(z + TR_GRIDDING_TAPS, box->z1);
        if (x0 >= x1 || z0 >= z1)
            continue;
        cvec *to = grid + (size_t)z0 * stride + (size_t)x0;
        if (x1 - x0 == TR_GRIDDING_TAPS && z1 - z0 == TR_GRIDDING_TAPS)
            add_taps(to, stride, wx, wz, c, TR_GRIDDING_TAPS, TR_GRIDDING_TAPS);
        else
            add_taps(to, stride, wx + (x0 - x), wz + (z0 - z), c, x1 - x0, z1 - z0);
    }
}

static void clear_box(const tr_gridding *g, const grid_box *box, cvec *grid)
{
    size_t stride = g->n_x / 2 + 1;
    for (long z = box->z0; z < box->z1; z++)
        memset(grid + (size_t)z * stride + (size_t)box->x0, 0,
               (size_t)(box->x1 - box->x0) * sizeof *grid);
}

static void gather_grid_tile(const gridding *t, const grid_box *box)
{
    const tr_gridding *g = t->g;
    const double reach = TR_GRIDDING_TAPS / 2.0;
    if (t->first == 0)
        clear_box(g, box, t->grid);
    for (size_t v = 0; v < t->n; v++) {
        node_line line[GRID_IMAGES];
        lines_of_view(g, &t->s->rays[t->first + v], line);
        for (int i = 0; i < GRID_IMAGES; i++) {
            const node_line *l = &line[i];
            double first = 0.0, last = (double)(g->length / 2);
            narrow(l->x, l->dx, (double)box->x0 - reach, (double)box->x1 - 1.0 + reach,
                   &first, &last);
            narrow(l->z, l->dz, (double)box->z0 - reach, (double)box->z1 - 1.0 + reach,
                   &first, &last);
            /* One more on either side: what is added is then up to the nodes' taps, and
             * not to how a tile's limits are rounded. */
            first = fmax(first - 1.0, 0.0);
            last = fmin(last + 1.0, (double)(g->length / 2));
            if (first <= last)
                add_line(g, box, l, (size_t)first, (size_t)last,
                         t->spectra + v * (g->length / 2 + 1), t->grid);
        }
    }
}

static size_t count_tiles(size_t points, size_t tile_size)
{
    return (points + tile_size - 1) / tile_size;
}

/* The sizes of tiles do not change a point's sum. */
static void gather_nodes(const gridding *t, int threads)
{
    size_t columns = t->g->n_x / 2 + 1, lines = t->g->n_z, size = GRID_TILE;
    if (count_tiles(columns, size) * count_tiles(lines, size) <
        (size_t)threads * TILES_EACH)
        size = FEW_TILE;
    size_t nx = count_tiles(columns, size), nz = count_tiles(lines, size);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < nx * nz; k++) {
        size_t x = k / nz * size, z = k % nz * size;
        grid_box box = {(long)x, (long)min_size(x + size, columns), (long)z,
                        (long)min_size(z + size, lines)};
        gather_grid_tile(t, &box);
    }
}

/* ---- 3 and 4: to the volume ---- */

/* A column of frequencies to the planes of the field, in place. */
static void transform_column(const tr_slab *s, const tr_gridding *g, size_t column,
                             cvec *room, cvec *grid)
{
    size_t stride = g->n_x / 2 + 1, middle = s->n_z / 2;
    cvec *at = grid + column;
    for (size_t q = 0; q < g->n_z; q++)
        room[g->z_fft.place[q]] = at[q * stride];
    transform_block(&g->z_fft, 0, true, room);
    for (size_t z = 0; z < s->n_z; z++)
        at[z * stride] = room[z < middle ? z + g->n_z - middle : z - middle];
}

/* Half a spectrum to real values, two neighbours as one complex value. */
static void transform_line(const tr_slab *s, const tr_gridding *g, size_t z,
                           const cvec *line, cvec *room, float *x)
{
    size_t middle = s->n_x / 2;
    pair_up(&g->x_fft, g->x_turn, line, room);
    transform_block(&g->x_fft, 0, true, room);
    const vec *value = as_vec(room);
    for (size_t i = 0; i < s->n_x; i++) {
        float scale = g->scale_z[z] * g->scale_x[i];
        *(vec *)(x + i * s->rows) =
            scale * value[i < middle ? i + g->n_x - middle : i - middle];
    }
}

/* ---- 5: what lies outside the image ---- */

/* The taper's share of a position `outside` columns beyond the end of an image, taken off
 * a voxel: linear between columns, as the direct sum is. `inward` leads to the next
 * column of the image. */
static void take_taper(const tr_gridding *g, const float *end, ptrdiff_t inward,
                       const float *fill, double outside, size_t rows, float *x)
{
    size_t j = (size_t)outside;
    float part = (float)(outside - (double)j);
    float a = j > 0 ? (1.0f - part) * g->edge[j] : 0.0f;
    float b = j < g->taper ? part * g->edge[j + 1] : 0.0f;
    const float *near = end + (ptrdiff_t)j * inward;
    const float *far = j < g->taper ? near + inward : near;
    for (size_t r = 0; r < rows; r += VECTOR) {
        vec base = *(const vec *)(fill + r) - 2.0f * *(const vec *)(end + r);
        *(vec *)(x + r) +=
            a * (base + *(const vec *)(near + r)) + b * (base + *(const vec *)(far + r));
    }
}

static void take_tapers(const tr_slab *s, const tr_gridding *g, const tr_ray *r, size_t z,
                        const float *p, float *x)
{
    double base = r->u0 + r->uz * (double)z, last = (double)s->n_u - 1.0;
    double least = (double)g->taper + 1.0;
    const float *first = p + s->rows, *end = p + s->n_u * s->rows;
    ptrdiff_t rows = (ptrdiff_t)s->rows;
    for (int side = 0; side < 2; side++) {
        double from = 0.0, to = (double)s->n_x - 1.0;
        narrow(base, r->ux, side ? last : -least, side ? last + least : 0.0, &from, &to);
        for (double i = from; i <= to; i += 1.0) {
            double u = base + r->ux * i, outside = side ? u - last : -u;
            if (outside > 0.0 && outside < least)
                take_taper(g, side ? end : first, side ? -rows : rows, p, outside,
                           s->rows, x + (size_t)i * s->rows);
        }
    }
}

/* ---- all of it ---- */

static void grid_lanes(gridding *t, const tr_gridding_work *w, const float *p, float *x)
{
    const tr_slab *s = t->s;
    const tr_gridding *g = t->g;
    size_t nodes = g->length / 2 + 1, columns = g->n_x / 2 + 1;
    cvec *spectra = (cvec *)w->spectra;
    for (t->first = 0; t->first < s->n_views; t->first += t->n) {
        t->n = min_size(g->group, s->n_views - t->first);
#pragma omp parallel for schedule(dynamic) num_threads(w->threads)
        for (size_t v = 0; v < t->n; v++)
            transform_view(s, g, t->first + v, p, thread_room(w), spectra + v * nodes);
        gather_nodes(t, w->threads);
    }
#pragma omp parallel for schedule(dynamic, 4) num_threads(w->threads)
    for (size_t column = 0; column < columns; column++)
        transform_column(s, g, column, thread_room(w), t->grid);
#pragma omp parallel for schedule(dynamic) num_threads(w->threads)
    for (size_t z = 0; z < s->n_z; z++)
        transform_line(s, g, z, t->grid + z * columns, thread_room(w),
                       x + z * s->n_x * s->rows);
}

static void backproject_fourier(const tr_slab *s, const tr_gridding *g,
                                const tr_gridding_work *w, const float *p, float *x)
{
    gridding t = {.s = s, .g = g, .spectra = (cvec *)w->spectra, .grid = (cvec *)w->grid};
    for (size_t lane = 0; lane < s->rows; lane += VECTOR)
        grid_lanes(&t, w, p + lane, x + lane);
#pragma omp parallel for schedule(dynamic) num_threads(w->threads)
    for (size_t z0 = 0; z0 < s->n_z; z0 += TAPER_PLANES)
        for (size_t v = 0; v < s->n_views; v++)
            for (size_t z = z0; z < min_size(z0 + TAPER_PLANES, s->n_z); z++)
                take_tapers(s, g, &s->rays[v], z, p + v * (s->n_u + TR_GUARDS) * s->rows,
                            x + z * s->n_x * s->rows);
}
