/* The projectors for any rays: each lane has its own column and row, so the four samples
 * are gathered. Part of cpu_project.c, to be compiled for every instruction set. */

/* The four samples of TR_LANES lanes of one voxel: the first one's index, and weights.
 * Loops have a constant length, so that the compiler turns them into vectors. */
typedef struct lane_taps {
    int index[TR_LANES];
    float right[TR_LANES], up[TR_LANES];
} lane_taps;

static inline __attribute__((always_inline)) void find_lanes(const tr_slab *s,
                                                             const tr_ray *ray, size_t ix,
                                                             size_t iz, size_t first,
                                                             lane_taps *t)
{
    double last = tr_ray_last((double)s->n_u), top = (double)s->p_rows - 1.0;
    double column0 = tr_ray_base(ray->u0, ray->uz, (double)iz) + ray->ux * (double)ix;
    double row0 = ray->v0 + ray->vx * (double)ix + ray->vz * (double)iz;
    int p_rows = (int)s->p_rows, lane = (int)first;
    for (int r = 0; r < TR_LANES; r++) {
        int column, row;
        tr_ray_column(column0, ray->uy, (double)(lane + r), last, &column, &t->right[r]);
        tr_ray_column(row0, ray->vy, (double)(lane + r), top, &row, &t->up[r]);
        /* The last row has no neighbour above: it is its neighbour's upper one. */
        int at_top = row == p_rows - 1;
        t->index[r] = column * p_rows + row - at_top;
        t->up[r] = at_top ? 1.0f : t->up[r];
    }
}

static inline __attribute__((always_inline)) void gather_lanes(const float *p, int p_rows,
                                                               const lane_taps *t,
                                                               float *sum)
{
    for (int r = 0; r < TR_LANES; r++) {
        int i = t->index[r];
        float right = t->right[r], left = 1.0f - right, up = t->up[r];
        float low = left * p[i] + right * p[i + p_rows];
        float high = left * p[i + 1] + right * p[i + 1 + p_rows];
        sum[r] += (1.0f - up) * low + up * high;
    }
}

static void backproject_general(const tr_slab *s, const tr_subset *views, const float *p,
                                float *x, int threads)
{
    size_t stride = (s->n_u + TR_GUARDS) * s->p_rows, n_views = view_count(s, views);
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
    for (size_t line = 0; line < s->n_z * s->n_x; line++) {
        size_t ix = line % s->n_x, iz = line / s->n_x;
        memset(x + line * s->rows, 0, s->rows * sizeof *x);
        for (size_t k = 0; k < n_views; k++) {
            size_t view = view_at(views, k);
            tr_ray ray = s->rays[view];
            for (size_t lane = 0; lane < s->rows; lane += TR_LANES) {
                lane_taps t;
                find_lanes(s, &ray, ix, iz, lane, &t);
                gather_lanes(p + view * stride, (int)s->p_rows, &t,
                             x + line * s->rows + lane);
            }
        }
    }
}

static void project_general_view(const tr_slab *s, const tr_ray *ray, const float *x,
                                 float *p)
{
    size_t p_rows = s->p_rows;
    memset(p, 0, (s->n_u + TR_GUARDS) * p_rows * sizeof *p);
    for (size_t line = 0; line < s->n_z * s->n_x; line++)
        for (size_t lane = 0; lane < s->rows; lane += TR_LANES) {
            const float *from = x + line * s->rows + lane;
            float low[TR_LANES], high[TR_LANES];
            lane_taps t;
            find_lanes(s, ray, line % s->n_x, line / s->n_x, lane, &t);
            for (int r = 0; r < TR_LANES; r++) {
                low[r] = (1.0f - t.up[r]) * from[r];
                high[r] = t.up[r] * from[r];
            }
            for (int r = 0; r < TR_LANES; r++) {
                float *a = p + t.index[r], right = t.right[r], left = 1.0f - right;
                a[0] += left * low[r];
                a[1] += left * high[r];
                a[p_rows] += right * low[r];
                a[p_rows + 1] += right * high[r];
            }
        }
    /* What fell on the guards left the image. */
    memset(p, 0, p_rows * sizeof *p);
    memset(p + (s->n_u + 1) * p_rows, 0, 2 * p_rows * sizeof *p);
}

static void project_general(const tr_slab *s, const tr_subset *views, const float *x,
                            float *p, int threads)
{
    size_t stride = (s->n_u + TR_GUARDS) * s->p_rows;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t k = 0; k < view_count(s, views); k++) {
        size_t view = view_at(views, k);
        project_general_view(s, &s->rays[view], x, p + view * stride);
    }
}
