/* What a device can do, as one table; the backends are in cpu/ and cuda/.
 *
 * Data layout. y (the image row, along the tilt axis) is the lane axis and runs
 * fastest, because every row has the same ray geometry:
 *   projections  P[view][column + 1][row]   n_views x (n_u + 3) lines of `rows` floats
 *   volume       V[z][x][row]               n_z x n_x lines of `rows` floats,
 *                then C[z][cell][row]       n_z x 2 outer lines: what lies outside the
 *                field (outer_body.h), the cells of a plane in order of x
 * A projection has one guard column left of the image and two right of it. A ray
 * that leaves the image reads the guard: 0 where such a view must not contribute, the
 * fill value where it must. The guards of a vector of algorithms are always 0 except
 * after filter().
 *
 * `rows` is a multiple of TR_LANES; unused lanes hold anything finite. What a lane's
 * result is never depends on its neighbours, on `rows`, or on the number of threads. */
#ifndef TR_BACKEND_H
#define TR_BACKEND_H

#include <stdint.h>

#include "common/base/err.h"
#include "kernels/host_device.h"
#include "kernels/samples.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TR_LANES = 16, TR_GUARDS = 3, TR_DEVICE_ID = 16, TR_SHARED_LANES = 32 };

/* Where one view's rays run: voxel (ix, iz) of lane r is seen at image column
 *   u0 + ux ix + uy r + uz iz   (0-based), in lane   v0 + vx ix + vy r + vz iz
 * of the projections. Slabs of independent rows have uy = vx = 0, vy = 1 and |ux| <= 1;
 * then v0 = vz = 0 but for views with an x-tilt of their own. */
typedef struct tr_ray {
    double u0, ux, uy, uz, v0, vx, vy, vz;
} tr_ray;

/* What local alignments add to the rays: a coarse grid of offsets for each view, its
 * nodes TR_OFFSET_STEP voxels apart in x and rows. Node (ix, iy) of view i, as rays count
 * them, grid[((i * n_y + iy) * n_x + ix) * 4 ...] = {du, duz, dv, dvz} is at voxel ix
 * TR_OFFSET_STEP and row iy TR_OFFSET_STEP, and there the view is seen at u = u_ray + du
 * + s duz,   v = v_ray + dv + s dvz,   s = z_first + iz in image columns, and lanes of
 * projections, as in tr_ray. In between the four are bilinear in x and row, beyond the
 * last nodes they stay as they are. Hence, for all voxels of all rows: n_x >= (slab's n_x
 * - 1) / TR_OFFSET_STEP + 2, n_y likewise. In the host's memory, of whoever made the
 * slab; the same grid until that is no longer used. */
enum { TR_OFFSET_STEP = 16 };
typedef struct tr_offsets {
    const float *grid;
    size_t n_x, n_y; /* nodes */
    double z_first;
} tr_offsets;
/* Of a view that has several images, each right for voxels of one band of depth, which of
 * them a voxel is seen in: image first + k, where k is
 *   b0 + bx x + by r + bz z   rounded down, and held within 0 .. n - 1
 * and (x, z) is the middle of the voxel's block (tr_band_image), so that kernels which
 * work on tiles of voxels find one image for them. The four numbers are multiples of
 * 2^-37: their sum is exact in whatever order. by is 0 where rows are independent. */
typedef struct tr_band {
    double b0, bx, by, bz;
    size_t first, n;
} tr_band;

/* Voxels along x and z of a block, which begins at multiples of that. */
enum { TR_BAND_SIDE = 16 };

TR_HD static inline size_t tr_band_image(const tr_band *b, size_t ix, size_t iz,
                                         size_t row)
{
    double x = (double)(ix / TR_BAND_SIDE * TR_BAND_SIDE) + 0.5 * (TR_BAND_SIDE - 1);
    double z = (double)(iz / TR_BAND_SIDE * TR_BAND_SIDE) + 0.5 * (TR_BAND_SIDE - 1);
    double at = b->b0 + b->bx * x + b->by * (double)row + b->bz * z;
    double last = (double)(b->n - 1);
    at = at > 0.0 ? at : 0.0;
    return b->first + (size_t)(at < last ? at : last);
}

/* Sizes and one ray per view (owned by whoever made the slab). With `outer` cells on each
 * side of a row, rays of independent rows need ux > 0, and no others may have ux = vx =
 * 0. `p_rows`, the lanes of projections, equals `rows`, those of the volume, where rows
 * are independent; otherwise the lanes needed beyond the volume's are there as well, and
 * reads outside [0, p_rows - 1] are held at its ends. */
typedef struct tr_slab {
    size_t n_views, n_u, n_x, n_z, rows, p_rows, outer;
    const tr_ray *rays;
    /* Where the rows of a volume are shared out: lane r is row first + r of all_rows, and
     * lane r of projections is image row p_first + r. The rays count rows so, and may be
     * any; no result depends on how the rows are shared, where the backend has
     * project_sums or lane 0 of every share is a multiple of TR_SHARED_LANES. Otherwise
     * 0. */
    size_t all_rows, first;
    long p_first;
    /* Added to the rays; NULL: nothing. What lies outside the field is seen by the rays
     * alone. Rays that have them couple rows, whatever they are by themselves. */
    const tr_offsets *offsets;
    /* One per view, where projections are n_images images; NULL: image k is view k. Only
     * for backproject, of rows that are kept or shifted. */
    const tr_band *bands;
    size_t n_images;
} tr_slab;

static inline size_t tr_projection_lines(const tr_slab *s)
{
    return (s->bands ? s->n_images : s->n_views) * (s->n_u + TR_GUARDS);
}
/* Without the cells outside the field, which follow; and with them. */
TR_HD static inline size_t tr_core_lines(const tr_slab *s) { return s->n_z * s->n_x; }
TR_HD static inline size_t tr_volume_lines(const tr_slab *s)
{
    return s->n_z * (s->n_x + 2 * s->outer);
}

/* With the cells outside the field, a row has so many voxels, and voxel i of them in
 * plane z is this line of a volume. */
TR_HD static inline size_t tr_all_columns(const tr_slab *s)
{
    return s->n_x + 2 * s->outer;
}
TR_HD static inline size_t tr_line_at(const tr_slab *s, size_t z, size_t i)
{
    if (i >= s->outer && i < s->outer + s->n_x)
        return z * s->n_x + i - s->outer;
    return tr_core_lines(s) + z * 2 * s->outer + (i < s->outer ? i : i - s->n_x);
}

/* A vector of `lines` lines of `rows` floats: a volume, projections, or with rows = 1
 * one weight per line. `data` is the backend's memory. */
typedef struct tr_vec {
    float *data;
    size_t lines, rows;
} tr_vec;

/* Some of the views, in the order given; a NULL tr_subset pointer means all. */
typedef struct tr_subset {
    size_t n;
    const size_t *views;
} tr_subset;

static inline size_t tr_view_count(const tr_slab *s, const tr_subset *views)
{
    return views ? views->n : s->n_views;
}
static inline size_t tr_view_at(const tr_subset *views, size_t k)
{
    return views ? views->views[k] : k;
}

/* Where voxels of a row are seen: in the same row of projections; shifted by a number of
 * rows that depends on their depth alone, as with an x-tilt; or in any. */
typedef enum tr_ray_kind {
    TR_RAYS_OWN_ROW,
    TR_RAYS_SHIFTED,
    TR_RAYS_ANYWHERE
} tr_ray_kind;

static inline tr_ray_kind tr_kind_of_ray(const tr_ray *r)
{
    if (r->uy != 0.0 || r->vx != 0.0 || r->vy != 1.0)
        return TR_RAYS_ANYWHERE;
    return r->v0 != 0.0 || r->vz != 0.0 ? TR_RAYS_SHIFTED : TR_RAYS_OWN_ROW;
}

/* The last of the kinds of these views, with what is added to the rays and with rows that
 * are counted otherwise in projections. */
static inline tr_ray_kind tr_kind_of_rays(const tr_slab *s, const tr_subset *views)
{
    tr_ray_kind kind =
        s->p_rows != s->rows || s->offsets ? TR_RAYS_ANYWHERE : TR_RAYS_OWN_ROW;
    for (size_t k = 0; k < tr_view_count(s, views); k++) {
        tr_ray_kind own = tr_kind_of_ray(&s->rays[tr_view_at(views, k)]);
        kind = own > kind ? own : kind;
    }
    return kind;
}

/* As many of its first `end` views, from the one at place `first` on, as follow each
 * other in a vector. */
static inline size_t tr_views_together(const tr_subset *views, size_t first, size_t end)
{
    size_t n = views ? 1 : end - first;
    while (first + n < end && views->views[first + n] == views->views[first] + n)
        n++;
    return n;
}

/* A filter along u. Each image row of n_u values is extended to `length` values, the
 * added ones falling linearly from the mean of the last 3 values to the mean of the
 * first 3, multiplied in Fourier space by its view's response[0 .. length/2] (real,
 * even), and by its view's weight. Afterwards the guards hold edge_gain * weight * the
 * row's mean before filtering. response and weight are the caller's. */
typedef struct tr_filter {
    size_t length;         /* even, >= n_u */
    const float *response; /* length/2 + 1 values, frequency k / length per pixel */
    const float *weight;   /* one per view */
    float edge_gain;
    size_t stride; /* values from one view's response to the next one's, at least
                      length/2 + 1; 0: one response for all views */
} tr_filter;

/* Rows [row, row + n_rows) of lines [line, line + n_lines) of a vector. */
typedef struct tr_rows {
    size_t line, n_lines, row, n_rows;
} tr_rows;

/* Where rows [row, ...) of some views of projections are: lines of `rows` floats from
 * `data` on, those of a view together. `packed`: the views follow each other in the order
 * of a subset; otherwise each has its own place, as in a vector. */
typedef struct tr_view_rows {
    float *data;
    size_t rows, row;
    bool packed;
} tr_view_rows;

/* How other processes of the machine find memory of this one: bytes to be sent to them.
 */
typedef struct tr_handle {
    char memory[64], device[32];
    char obstacle[96]; /* a sentence: why none can have it; else empty */
} tr_handle;

/* Where a caller of the library has the values of a vector: `n` images of n_rows rows of
 * n_columns values. Neighbouring images lie `image` values apart, which may be negative,
 * rows `row`; the values of a row are neighbours. Column c of image k is line
 * k lines + first + c of the vector, row r is lane r. */
typedef struct tr_layout {
    size_t n, n_rows, n_columns;
    ptrdiff_t image;
    size_t row, lines, first;
    bool on_device; /* in the device's memory, if that is not the host's */
} tr_layout;

/* How a device projects. AUTO is TILE, whatever the device, so that results do not depend
 * on it; backends with one kernel ignore it. */
typedef enum tr_kernel {
    TR_KERNEL_AUTO,
    TR_KERNEL_TEXTURE,
    TR_KERNEL_TILE,
    TR_KERNEL_TENSOR
} tr_kernel;

typedef struct tr_backend_settings {
    int threads;
    int local_rank;      /* of this process among those of this machine */
    const char *devices; /* device numbers to share out ("0,2"), NULL for all */
    tr_kernel kernel;
    int widest; /* an instruction set no wider than this, of `widest` below; 0: any */
    /* Threads that wait for the device leave their processor to others: a setting of the
     * device for the whole process, hence not for a library. */
    bool wait_asleep;
    bool managed; /* volumes larger than the device in memory that it shares with the
                     host, not by planes */
} tr_backend_settings;

/* Every function returns a status; `state` is what open made. Vectors of one call have
 * the shapes the slab gives, or equal shapes for plain vector operations. A status is
 * TR_ERR_UNAVAILABLE where the device is missing, TR_ERR_MEMORY where its memory is
 * short, TR_ERR_DATA where it failed.
 *
 * One thread at a time computes. upload and download (or take_slices) may run in two
 * other threads meanwhile: they return when the copy is done, and do not wait for
 * computing. All other operations may still be running on the device when they return,
 * but results in host memory are there, and operations follow each other in order. */
typedef struct tr_backend {
    const char *name;
    bool separate_memory; /* vectors are not on the host: copy with upload and download */

    /* The instruction set that open would take, as a number that is larger for wider
     * ones; NULL where there is one only. */
    tr_status (*widest)(int *number);
    tr_status (*open)(const tr_backend_settings *settings, void **state);
    void (*close)(void *state);
    /* A line on what was chosen ("8 threads, avx512"), for --verbose. */
    const char *(*describe)(void *state);
    /* What the last bits of a result depend on besides the operands: the instructions
     * chosen, the device, the version of a library. The same on every call. */
    const char *(*arithmetic)(void *state);
    /* What tells the device from all others, of any machine. And so many processes use
     * it, this one among them, none of which has allocated a vector yet: `available` is
     * from now on what is left of this one's share. Both NULL where `separate_memory` is
     * false.
     */
    tr_status (*identity)(void *state, unsigned char id[TR_DEVICE_ID]);
    tr_status (*divide)(void *state, int processes);
    /* Bytes the device can still give to vectors; SIZE_MAX where `separate_memory` is
     * false.
     */
    tr_status (*available)(void *state, size_t *bytes);
    /* Vectors of so many bytes in all are to come. Where they exceed what the device has,
     * alloc gives memory that the device and the host share from now on. */
    tr_status (*reserve)(void *state, size_t bytes);
    /* Volumes of a slab that are larger than the device: they can lie in host memory,
     * while the device holds some planes of them at a time. The bytes of device memory
     * for these, `least` where this is to work at all, `most` if no time is to be lost;
     * `coupled`: rays leave their row. False where the settings say otherwise. And so it
     * is from now on, with `bytes` for planes, for what alloc_volume gives: results are
     * the same. Both NULL where `separate_memory` is false. */
    bool (*plane_bytes)(void *state, const tr_slab *slab, bool coupled, size_t *least,
                        size_t *most);
    tr_status (*keep_on_host)(void *state, size_t bytes);
    /* 64-byte aligned or better, contents undefined (NaN in debug builds). */
    tr_status (*alloc)(void *state, size_t floats, float **data);
    /* The same for a volume, or what has its size: see keep_on_host. */
    tr_status (*alloc_volume)(void *state, size_t floats, float **data);
    void (*free)(void *state, float *data);
    /* Host memory that is copied to and from the device fastest. */
    tr_status (*alloc_host)(void *state, size_t floats, float **data);
    void (*free_host)(void *state, float *data);
    tr_status (*upload)(void *state, const float *host, float *data, size_t floats);
    tr_status (*download)(void *state, const float *data, float *host, size_t floats);
    /* Slices of a volume as a file holds them, and what is known of them: taken[n]. Only
     * the samples cross the bus, instead of floats. Like download; `work` is memory of
     * vectors, tr_take_floats of it. NULL where vectors are in the host's memory. */
    tr_status (*take_slices)(void *state, const tr_vec *x, const tr_take *take,
                             float *work, void *samples, tr_taken *taken);
    /* All operations so far are done: their results may be downloaded. */
    tr_status (*wait)(void *state);

    /* A thread begins to use the device, of which another one may have chosen another,
     * and has done so; `foreign`: in the device's memory, what others wrote there is
     * complete from here on. NULL where there is nothing to do. */
    tr_status (*enter)(void *state, bool foreign);
    void (*leave)(void *state);
    /* All lines of a vector from a caller's images: lanes beyond the rows and lines
     * beyond the columns become 0. And back, in their place or added to them. The images
     * may be changed or read on return. */
    tr_status (*lines_from)(void *state, const tr_layout *layout, const float *images,
                            tr_vec *v);
    tr_status (*lines_to)(void *state, const tr_layout *layout, const tr_vec *v, bool add,
                          float *images);

    /* Some rows to host[n_lines][n_rows], and back: in their place, or added to it. */
    tr_status (*get_rows)(void *state, const tr_vec *v, const tr_rows *rows, float *host);
    tr_status (*put_rows)(void *state, const tr_rows *rows, const float *host, bool add,
                          tr_vec *v);
    /* Each of the rows becomes a copy of row *from of its line; 0 where from is NULL. */
    tr_status (*set_rows)(void *state, const tr_rows *rows, const size_t *from,
                          tr_vec *v);

    /* n_rows rows of each of the views from one place to another, both in the memory of
     * vectors and apart; in the place of what is there, or added to it. */
    tr_status (*copy_views)(void *state, const tr_slab *slab, const tr_subset *views,
                            size_t n_rows, const tr_view_rows *from, bool add,
                            const tr_view_rows *to);

    /* Memory of vectors, contents undefined, into which operations of other processes of
     * this machine may write. Where none can reach it, it is there all the same and the
     * handle says why. All four are NULL where vectors are in the host's memory. */
    tr_status (*share)(void *state, size_t floats, float **data, tr_handle *handle);
    void (*unshare)(void *state, float *data); /* once they have detached; NULL is fine */
    /* That of another process, for writing. TR_ERR_UNAVAILABLE where it cannot be
     * reached, after which all goes on without. */
    tr_status (*attach)(void *state, const tr_handle *handle, float **data);
    void (*detach)(void *state, float *data);

    tr_status (*fill)(void *state, tr_vec *y, float value);              /* y = value */
    tr_status (*copy)(void *state, const tr_vec *x, tr_vec *y);          /* y = x */
    tr_status (*axpy)(void *state, float a, const tr_vec *x, tr_vec *y); /* y += a x */
    tr_status (*xpay)(void *state, const tr_vec *x, float a, tr_vec *y); /* y = x + a y */
    tr_status (*clamp)(void *state, float low, tr_vec *y); /* y = max(y, low) */
    tr_status (*shrink)(void *state, float t, tr_vec *y);  /* soft threshold by t */
    tr_status (*dot)(void *state, const tr_vec *x, const tr_vec *y, double *sum);
    /* w has one factor per line (rows = 1), or one per value. */
    tr_status (*mul_lines)(void *state, const tr_vec *w, tr_vec *y); /* y *= w */
    tr_status (*axpy_lines)(void *state, float a, const tr_vec *w, const tr_vec *x,
                            tr_vec *y); /* y += a w x */
    /* y = 1/y where y > tiny, else 0 */
    tr_status (*invert_guarded)(void *state, float tiny, tr_vec *y);
    /* Row by row, one value of host memory for each: sums[r] = the sum of w x y over row
     * r, w having one factor per line (rows = 1) or per value, or being NULL for 1; y +=
     * a[r] x; y *= a[r]. */
    tr_status (*row_dots)(void *state, const tr_vec *w, const tr_vec *x, const tr_vec *y,
                          double *sums);
    tr_status (*axpy_rows)(void *state, const float *a, const tr_vec *x, tr_vec *y);
    tr_status (*scale_rows)(void *state, const float *a, tr_vec *y);
    /* Per row over the subset's lines of projections, host memory: sums[r] += sum of
     * squares; and y[line][r] *= mask[r]. */
    tr_status (*row_squares)(void *state, const tr_slab *slab, const tr_subset *views,
                             const tr_vec *p, double *sums);
    tr_status (*mask_rows)(void *state, const tr_slab *slab, const tr_subset *views,
                           const float *mask, tr_vec *p);

    /* Forward differences of the first n rows along x, y and z, 0 at the end of an axis.
     * `above` holds the row after the last, one value per line, or NULL where the volume
     * ends; other lanes become 0. (L of total variation.) */
    tr_status (*grad)(void *state, const tr_slab *slab, size_t n, const tr_vec *x,
                      const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz);
    /* The adjoint: y = L^T g. `below` holds gy of the row before the first, or NULL where
     * the volume begins; where it ends, gy of the last row must be 0, as grad leaves it.
     */
    tr_status (*grad_adjoint)(void *state, const tr_slab *slab, size_t n,
                              const tr_vec *gx, const tr_vec *gy, const tr_vec *gz,
                              const float *below, tr_vec *y);
    /* Shorten each voxel's vector (gx, gy, gz) by t, at most to 0. */
    tr_status (*shrink_vectors)(void *state, float t, tr_vec *gx, tr_vec *gy, tr_vec *gz);
    /* The sum of the lengths of these vectors; of absolute values with gy = gz = NULL.
     * And row by row, one sum for each; NULL where the backend does not have that. */
    tr_status (*sum_lengths)(void *state, const tr_vec *gx, const tr_vec *gy,
                             const tr_vec *gz, double *sum);
    tr_status (*row_lengths)(void *state, const tr_vec *gx, const tr_vec *gy,
                             const tr_vec *gz, double *sums);
    /* The orthonormal Haar transform of the first n rows (n even, or the volume's last
     * row without a partner stays as it is), `levels` levels along x and z and one along
     * y, in place; and its inverse, which is its adjoint. What an odd length leaves over
     * at a level takes part in no coarser one. */
    tr_status (*haar)(void *state, const tr_slab *slab, size_t n, int levels,
                      bool inverse, tr_vec *x);

    tr_status (*filter)(void *state, const tr_slab *slab, const tr_filter *filter,
                        tr_vec *p);
    /* p = A x on the subset's views (guards 0), other views untouched; and its exact
     * adjoint x = A^T p, summed over the subset's views. Linear interpolation. */
    tr_status (*project)(void *state, const tr_slab *slab, const tr_subset *views,
                         const tr_vec *x, tr_vec *p);
    tr_status (*backproject)(void *state, const tr_slab *slab, const tr_subset *views,
                             const tr_vec *p, tr_vec *x);
    /* The same sum over all views, interpolated by their Fourier series instead of
     * linearly, which is nearer to the truth and faster where views are many. For
     * independent rows, v0 = vz = 0, |uz| <= 1, no outer cells; both guards of a view are
     * equal. TR_ERR_MEMORY. NULL where the backend does not have it. */
    tr_status (*backproject_fourier)(void *state, const tr_slab *slab, const tr_vec *p,
                                     tr_vec *x);
    /* Its exact adjoint for guards that are 0: p = A x on all views. */
    tr_status (*project_fourier)(void *state, const tr_slab *slab, const tr_vec *x,
                                 tr_vec *p);
    /* x = max(x + a w A^T p, low), w as for axpy_lines; low = -INFINITY changes nothing.
     * The same bytes as with an operation for each, in one pass over a volume that lies
     * in host memory, and only of such. NULL where keep_on_host is. */
    tr_status (*backproject_add)(void *state, const tr_slab *slab, const tr_subset *views,
                                 float a, const tr_vec *w, float low, const tr_vec *p,
                                 tr_vec *x);
    /* A x as sums that do not depend on their order, for rows that are shared out:
     * sums[k][n_u + TR_GUARDS][p_rows] is the projection of the subset's k-th view
     * (guards 0), every addend rounded to a multiple of quantum[k]. That is a power of
     * two such that no sum gets to 2^52 of them, so that nothing else is rounded; or 0:
     * addends stay as they are. In host memory. And the largest absolute value of a
     * vector. Both NULL where the backend cannot do that. */
    tr_status (*project_sums)(void *state, const tr_slab *slab, const tr_subset *views,
                              const tr_vec *x, const double *quantum, double *sums);
    tr_status (*largest)(void *state, const tr_vec *x, double *value);
    /* A 1 and A^T 1 where rows are independent, hence the same for every row: one value
     * per line (rows = 1). */
    tr_status (*row_sums)(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *p);
    tr_status (*col_sums)(void *state, const tr_slab *slab, const tr_subset *views,
                          tr_vec *x);
} tr_backend;

/* The backends of this build, by name; NULL for an unknown one. */
const tr_backend *tr_backend_find(const char *name);

/* projections = A volume, both in host memory, in the layouts of the slab's volume and of
 * its projections; on a device by way of copies. Errors: the device's memory. */
TR_CHECKED tr_status tr_project_host(const tr_backend *backend, void *state,
                                     const tr_slab *slab, float *volume,
                                     float *projections);

/* The smallest even length >= n without prime factors above 7: a fast FFT. */
size_t tr_fft_length(size_t n);

#ifdef __cplusplus
}
#endif

#endif
