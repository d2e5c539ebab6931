/* Volumes in host memory, for they are larger than the device's. Operations that read and
 * write each value once reach it there, through the bus (vectors.cu). Those that use it
 * more often go over the volume slab of planes by slab, in two sets of buffers: while one
 * is computed on, the other is sent back and gets the planes after these.
 *
 * Slabs begin at multiples of as many planes as kernels take at a time, rays are exact
 * (tr_cuda_exact), and sums over all planes are made in the order of these or in fixed
 * point: so no result depends on the slabs. */
#include "kernels/cuda/planes.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/project.h"

enum {
    SETS = 2,
    STEP = 32,        /* planes that projectors take at a time, or a multiple of these */
    MOST_VOLUMES = 4, /* that an operation goes over at once */
    LEAST = 3,        /* planes of each of these, with a neighbour on both sides */
    ALIGNED = 256     /* bytes */
};

struct tr_cuda_planes {
    char *memory; /* of the device */
    size_t bytes;
    cudaEvent_t begun;                                     /* what came before is done */
    cudaEvent_t filled[SETS], computed[SETS], taken[SETS]; /* of each set of buffers */
};

/* ---- memory ---- */

static size_t least_of(size_t a, size_t b) { return a < b ? a : b; }
static size_t most_of(size_t a, size_t b) { return a > b ? a : b; }

static size_t plane_floats(const tr_slab *s, bool cells)
{
    return (cells ? tr_all_columns(s) : s->n_x) * s->rows;
}

static size_t cell_bytes(const tr_slab *s)
{
    return s->n_z * 2 * s->outer * s->rows * sizeof(float);
}

static size_t sums_bytes(const tr_slab *s) /* of one view */
{
    return (s->n_u + TR_GUARDS) * s->p_rows * sizeof(unsigned long long);
}

bool tr_cuda_plane_bytes(void *state, const tr_slab *s, bool coupled, size_t *least,
                         size_t *most)
{
    const size_t plane = plane_floats(s, true) * sizeof(float);
    /* Of one volume, of two by fewer, and of the most there are with their neighbours. */
    const size_t planes =
        SETS * most_of(most_of(least_of(STEP, s->n_z), 2 * least_of(STEP / 2, s->n_z)),
                       MOST_VOLUMES * least_of(LEAST, s->n_z));
    const size_t buffers = most_of(planes * plane, cell_bytes(s)) +
                           (SETS * MOST_VOLUMES + 1) * (size_t)ALIGNED;
    *least = buffers + (coupled ? sums_bytes(s) : 0);
    *most = buffers + (coupled ? s->n_views * sums_bytes(s) : 0);
    return !((tr_cuda *)state)->prefer_managed;
}

static tr_status new_events(tr_cuda_planes *p)
{
    const unsigned flags = cudaEventDisableTiming;
    TR_CUDA("start", cudaEventCreateWithFlags(&p->begun, flags));
    for (int set = 0; set < SETS; set++) {
        TR_CUDA("start", cudaEventCreateWithFlags(&p->filled[set], flags));
        TR_CUDA("start", cudaEventCreateWithFlags(&p->computed[set], flags));
        TR_CUDA("start", cudaEventCreateWithFlags(&p->taken[set], flags));
    }
    return TR_OK;
}

tr_status tr_cuda_keep_on_host(void *state, size_t bytes)
{
    tr_cuda *c = (tr_cuda *)state;
    void *memory;
    TR_ASSERT(!c->planes && !c->managed);
    TR_CUDA("start", cudaSetDevice(c->device));
    c->planes = (tr_cuda_planes *)calloc(1, sizeof *c->planes);
    if (!c->planes)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to describe planes");
    TR_TRY(new_events(c->planes));
    TR_TRY(tr_cuda_malloc(c, bytes, &memory));
    c->planes->memory = (char *)memory;
    c->planes->bytes = bytes;
    return TR_OK;
}

void tr_cuda_planes_free(tr_cuda *c)
{
    tr_cuda_planes *p = c->planes;
    if (!p)
        return;
    (void)cudaFree(p->memory);
    for (int set = 0; set < SETS; set++)
        for (cudaEvent_t event : {p->filled[set], p->computed[set], p->taken[set]})
            if (event)
                (void)cudaEventDestroy(event);
    if (p->begun)
        (void)cudaEventDestroy(p->begun);
    free(p);
    c->planes = NULL;
}

/* ---- going over volumes ---- */

namespace
{
struct volume {
    float *host;
    bool in, out;
};

/* Planes [begin, end) are in a buffer, of which [first, end_own) are the slab's own. */
struct range {
    size_t begin, first, end_own, end;
};

struct sweep {
    const tr_slab *slab;
    volume of[MOST_VOLUMES];
    unsigned n;
    size_t step, beside; /* slabs begin at multiples of step; planes read on both sides */
    bool cells;          /* with those outside the field */
    size_t taken;        /* bytes of the memory for planes that the operation has */
};

/* Planes of a core, or of its cells, between host and buffer. */
tr_status copy_part(cudaStream_t stream, bool up, const range *planes, size_t floats,
                    float *host, float *buffer)
{
    const size_t from = up ? planes->begin : planes->first;
    const size_t end = up ? planes->end : planes->end_own;
    float *there = buffer + (from - planes->begin) * floats, *here = host + from * floats;
    return tr_cuda_check(
        cudaMemcpyAsync(up ? there : here, up ? here : there,
                        (end - from) * floats * sizeof(float),
                        up ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost, stream),
        up ? "receive planes" : "return planes");
}

tr_status copy_planes(const sweep *w, cudaStream_t stream, bool up, const range *planes,
                      float *host, float *buffer)
{
    const tr_slab *s = w->slab;
    const size_t core = s->n_x * s->rows, cells = 2 * s->outer * s->rows;
    TR_TRY(copy_part(stream, up, planes, core, host, buffer));
    if (!w->cells || !cells)
        return TR_OK;
    return copy_part(stream, up, planes, cells, host + s->n_z * core,
                     buffer + (planes->end - planes->begin) * core);
}

/* What is copied up, or down. */
tr_status copy_all(const sweep *w, cudaStream_t stream, bool up, const range *planes,
                   float *const *buffers)
{
    for (unsigned k = 0; k < w->n; k++)
        if (up ? w->of[k].in : w->of[k].out)
            TR_TRY(copy_planes(w, stream, up, planes, w->of[k].host, buffers[k]));
    return TR_OK;
}

/* The slab of these planes, whose rays count from there. */
tr_slab planes_of(tr_cuda *c, const sweep *w, const range *planes)
{
    tr_slab part = *w->slab;
    const size_t n = part.n_views;
    const bool rays = part.rays == c->rays;
    part.n_z = planes->end - planes->begin;
    part.outer = w->cells ? part.outer : 0;
    part.rays = rays ? c->rays + n : part.rays;
    if (part.offsets) {
        c->offsets = *w->slab->offsets;
        c->offsets.z_first += (double)planes->begin;
        part.offsets = &c->offsets;
    }
    for (size_t k = 0; rays && k < n; k++) {
        tr_ray *ray = c->rays + n + k;
        *ray = c->rays[k];
        ray->u0 += ray->uz * (double)planes->begin;
        ray->v0 += ray->vz * (double)planes->begin;
    }
    return part;
}

#define TR_STREAM(call) TR_CUDA("order its work", call)

/* One slab, in set k of the buffers; work(part, planes, buffers) launches what is to be
 * done with it. */
template <class F>
tr_status do_slab(tr_cuda *c, const sweep *w, const range *planes, int set,
                  float *const *buffers, const F &work)
{
    const tr_cuda_planes *p = c->planes;
    TR_STREAM(cudaStreamWaitEvent(c->up, p->computed[set], 0));
    TR_STREAM(cudaStreamWaitEvent(c->up, p->taken[set], 0));
    TR_TRY(copy_all(w, c->up, true, planes, buffers));
    TR_STREAM(cudaEventRecord(p->filled[set], c->up));
    TR_STREAM(cudaStreamWaitEvent(c->compute, p->filled[set], 0));
    const tr_slab part = planes_of(c, w, planes);
    TR_TRY(work(&part, planes, buffers));
    TR_STREAM(cudaEventRecord(p->computed[set], c->compute));
    TR_STREAM(cudaStreamWaitEvent(c->down, p->computed[set], 0));
    TR_TRY(copy_all(w, c->down, false, planes, buffers));
    return tr_cuda_check(cudaEventRecord(p->taken[set], c->down), "order its work");
}

/* All slabs: after what was launched before, and before what will be. */
template <class F> tr_status go_over(tr_cuda *c, const sweep *w, const F &work)
{
    const tr_cuda_planes *p = c->planes;
    const size_t n_z = w->slab->n_z;
    const size_t plane = plane_floats(w->slab, w->cells) * sizeof(float);
    const size_t each =
        (p->bytes - w->taken) / (SETS * w->n) / (size_t)ALIGNED * (size_t)ALIGNED;
    size_t own = n_z;
    if (each / plane < n_z) {
        TR_ASSERT(each / plane >= w->step + 2 * w->beside);
        own = (each / plane - 2 * w->beside) / w->step * w->step;
    }
    TR_STREAM(cudaEventRecord(p->begun, c->compute));
    TR_STREAM(cudaStreamWaitEvent(c->up, p->begun, 0));
    TR_STREAM(cudaStreamWaitEvent(c->down, p->begun, 0));
    for (size_t first = 0, k = 0; first < n_z; first += own, k++) {
        const size_t end = least_of(first + own, n_z);
        const range planes = {first - least_of(w->beside, first), first, end,
                              least_of(end + w->beside, n_z)};
        const int set = (int)(k % SETS);
        float *buffers[MOST_VOLUMES];
        for (unsigned i = 0; i < w->n; i++)
            buffers[i] =
                (float *)(p->memory + w->taken + ((size_t)set * w->n + i) * each);
        TR_TRY(do_slab(c, w, &planes, set, buffers, work));
    }
    for (cudaEvent_t taken : p->taken)
        TR_STREAM(cudaStreamWaitEvent(c->compute, taken, 0));
    return TR_OK;
}

/* The volume of which only the cells outside the field are there, in this memory. */
float *without_core(const tr_slab *s, void *cells)
{
    return (float *)((uintptr_t)cells - tr_core_lines(s) * s->rows * sizeof(float));
}

/* All cells outside the field, to the memory for planes or from there. */
tr_status copy_cells(tr_cuda *c, const tr_slab *s, bool up, float *host)
{
    const size_t core = tr_core_lines(s) * s->rows;
    char *memory = c->planes->memory;
    TR_ASSERT(cell_bytes(s) <= c->planes->bytes);
    return tr_cuda_check(up ? cudaMemcpyAsync(memory, host + core, cell_bytes(s),
                                              cudaMemcpyHostToDevice, c->compute)
                            : cudaMemcpyAsync(host + core, memory, cell_bytes(s),
                                              cudaMemcpyDeviceToHost, c->compute),
                         up ? "receive planes" : "return planes");
}
} // namespace

/* ---- projectors ---- */

tr_status tr_cuda_planes_backproject(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                     const float *p, float *x)
{
    const sweep w = {s, {{x, false, true}}, 1, STEP, 0, false, 0};
    const auto work = [&](const tr_slab *part, const range *, float *const *at) {
        tr_cuda_rays rays;
        TR_TRY(tr_cuda_get_rays(c, part, views, &rays));
        return tr_cuda_core_backproject(c, part, views, &rays, p, at[0]);
    };
    TR_TRY(go_over(c, &w, work));
    if (!s->outer)
        return TR_OK;
    tr_cuda_rays all;
    TR_TRY(tr_cuda_get_rays(c, s, views, &all));
    TR_TRY(tr_cuda_cells_backproject(c, s, views, &all, p,
                                     without_core(s, c->planes->memory)));
    return copy_cells(c, s, false, x);
}

namespace
{
/* y = max(y + a w x, low) on some lines of a volume, from `line` on. */
struct update {
    tr_cuda *c;
    float a, low;
    const tr_vec *w;

    tr_status operator()(size_t line, const tr_vec *x, tr_vec *y) const
    {
        const tr_vec factors = {w->data + line * w->rows, y->lines, w->rows};
        TR_TRY(tr_cuda_axpy_lines(c, a, &factors, x, y));
        return low > -INFINITY ? tr_cuda_clamp(c, low, y) : TR_OK;
    }
};
} // namespace

/* The weights, which are used once, may be in host memory, and so are the cells of x. */
tr_status tr_cuda_backproject_add(void *state, const tr_slab *slab,
                                  const tr_subset *views, float a, const tr_vec *w,
                                  float low, const tr_vec *p, tr_vec *x)
{
    tr_cuda *c = (tr_cuda *)state;
    const update add = {c, a, low, w};
    tr_slab s;
    TR_ASSERT(tr_cuda_on_host(c, x->data));
    if (tr_view_count(slab, views) == 0)
        return low > -INFINITY ? tr_cuda_clamp(c, low, x) : TR_OK;
    TR_TRY(tr_cuda_exact(c, slab, &s));
    const sweep over = {
        &s, {{x->data, true, true}, {NULL, false, false}}, 2, STEP / 2, 0, false, 0};
    const auto work = [&](const tr_slab *part, const range *r, float *const *at) {
        const size_t lines = tr_core_lines(part);
        const tr_vec sums = {at[1], lines, s.rows};
        tr_vec own = {at[0], lines, s.rows};
        tr_cuda_rays rays;
        TR_TRY(tr_cuda_get_rays(c, part, views, &rays));
        TR_TRY(tr_cuda_core_backproject(c, part, views, &rays, p->data, at[1]));
        return add(r->begin * s.n_x, &sums, &own);
    };
    TR_TRY(go_over(c, &over, work));
    if (!s.outer)
        return TR_OK;
    const size_t core = tr_core_lines(&s), lines = s.n_z * 2 * s.outer;
    const tr_vec sums = {(float *)c->planes->memory, lines, s.rows};
    tr_vec own = {x->data + core * s.rows, lines, s.rows};
    tr_cuda_rays rays;
    TR_TRY(tr_cuda_get_rays(c, &s, views, &rays));
    TR_TRY(tr_cuda_cells_backproject(c, &s, views, &rays, p->data,
                                     without_core(&s, c->planes->memory)));
    return add(core, &sums, &own);
}

/* Sums in fixed point of as many views at a time as there is room for. */
static tr_status project_general(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                 float *x, float *p)
{
    const size_t n = tr_view_count(s, views), view = (s->n_u + TR_GUARDS) * s->p_rows;
    size_t least, most, group;
    void *scale;
    (void)tr_cuda_plane_bytes(c, s, false, &least, &most);
    group = least_of((c->planes->bytes - least) / sums_bytes(s), n);
    TR_ASSERT(group > 0);
    unsigned long long *sums = (unsigned long long *)c->planes->memory;
    const size_t taken = tr_cuda_parts(group * sums_bytes(s), ALIGNED) * ALIGNED;
    TR_TRY(tr_cuda_general_scale(c, s, x, &scale));
    for (size_t first = 0; first < n; first += group) {
        const size_t count = least_of(n - first, group);
        const sweep w = {s, {{x, true, false}}, 1, STEP, 0, false, taken};
        TR_CUDA("clear views",
                cudaMemsetAsync(sums, 0, count * sums_bytes(s), c->compute));
        const auto work = [&](const tr_slab *part, const range *, float *const *at) {
            tr_cuda_rays rays;
            tr_cuda_offsets offsets;
            TR_TRY(tr_cuda_get_rays(c, part, views, &rays));
            TR_TRY(tr_cuda_get_offsets(c, part, &offsets));
            for (size_t k = 0; k < count; k++)
                TR_TRY(tr_cuda_general_add(c, part, &rays, (unsigned)(first + k),
                                           &offsets, scale, at[0], sums + k * view));
            return TR_OK;
        };
        TR_TRY(go_over(c, &w, work));
        for (size_t k = 0; k < count; k++)
            TR_TRY(tr_cuda_general_write(c, s, scale, sums + k * view,
                                         p + tr_view_at(views, first + k) * view));
    }
    return TR_OK;
}

tr_status tr_cuda_planes_project(tr_cuda *c, const tr_slab *s, const tr_subset *views,
                                 const float *x, float *p)
{
    float *from = const_cast<float *>(x);
    if (tr_cuda_is_general(s, views)) {
        TR_TRY(project_general(c, s, views, from, p));
    } else {
        const sweep w = {s, {{from, true, false}}, 1, STEP, 0, false, 0};
        TR_TRY(tr_cuda_clear_views(c, s, views, p));
        const auto work = [&](const tr_slab *part, const range *, float *const *at) {
            tr_cuda_rays rays;
            TR_TRY(tr_cuda_get_rays(c, part, views, &rays));
            return tr_cuda_core_project(c, part, views, &rays, at[0], p);
        };
        TR_TRY(go_over(c, &w, work));
    }
    if (!s->outer)
        return TR_OK;
    TR_TRY(copy_cells(c, s, true, from));
    tr_cuda_rays rays;
    TR_TRY(tr_cuda_get_rays(c, s, views, &rays));
    return tr_cuda_cells_project(c, s, views, &rays, without_core(s, c->planes->memory),
                                 p);
}

/* ---- regularizers ---- */

/* One value per line, of these planes: *part is NULL where all is. */
static tr_status values_of(const tr_slab *s, const range *planes, const float *all,
                           float **part)
{
    const size_t n = planes->end - planes->begin, cells = 2 * s->outer;
    *part = NULL;
    if (!all)
        return TR_OK;
    *part = (float *)malloc(n * tr_all_columns(s) * sizeof **part);
    if (!*part)
        return tr_fail(TR_ERR_MEMORY, "not enough memory for a row of the volume");
    memcpy(*part, all + planes->begin * s->n_x, n * s->n_x * sizeof **part);
    memcpy(*part + n * s->n_x, all + tr_core_lines(s) + planes->begin * cells,
           n * cells * sizeof **part);
    return TR_OK;
}

static tr_vec buffer_of(const tr_slab *part, float *at)
{
    return {at, tr_volume_lines(part), part->rows};
}

/* Either the gradient (g) of `one`, or the adjoint: the same volumes in the other
 * direction. */
static tr_status go_over_gradient(tr_cuda *c, const tr_slab *s, size_t n, bool adjoint,
                                  float *one, float *const (&g)[3], const float *beside)
{
    const sweep w = {s,
                     {{one, !adjoint, adjoint},
                      {g[0], adjoint, !adjoint},
                      {g[1], adjoint, !adjoint},
                      {g[2], adjoint, !adjoint}},
                     MOST_VOLUMES,
                     1,
                     1,
                     true,
                     0};
    return go_over(c, &w, [&](const tr_slab *part, const range *r, float *const *at) {
        tr_vec v[MOST_VOLUMES];
        float *row;
        for (int k = 0; k < MOST_VOLUMES; k++)
            v[k] = buffer_of(part, at[k]);
        TR_TRY(values_of(s, r, beside, &row));
        tr_status status =
            adjoint ? tr_cuda_grad_adjoint(c, part, n, &v[1], &v[2], &v[3], row, &v[0])
                    : tr_cuda_grad(c, part, n, &v[0], row, &v[1], &v[2], &v[3]);
        free(row);
        return status;
    });
}

tr_status tr_cuda_planes_grad(tr_cuda *c, const tr_slab *s, size_t n, const tr_vec *x,
                              const float *above, tr_vec *gx, tr_vec *gy, tr_vec *gz)
{
    return go_over_gradient(c, s, n, false, x->data, {gx->data, gy->data, gz->data},
                            above);
}

tr_status tr_cuda_planes_grad_adjoint(tr_cuda *c, const tr_slab *s, size_t n,
                                      const tr_vec *gx, const tr_vec *gy,
                                      const tr_vec *gz, const float *below, tr_vec *y)
{
    TR_ASSERT(y->data != gx->data && y->data != gy->data && y->data != gz->data);
    return go_over_gradient(c, s, n, true, y->data, {gx->data, gy->data, gz->data},
                            below);
}

tr_status tr_cuda_planes_haar(tr_cuda *c, const tr_slab *s, size_t n, int levels,
                              bool inverse, tr_vec *x)
{
    const sweep w = {s, {{x->data, true, true}}, 1, (size_t)1 << levels, 0, true, 0};
    return go_over(c, &w, [&](const tr_slab *part, const range *, float *const *at) {
        tr_vec v = buffer_of(part, at[0]);
        return tr_cuda_haar(c, part, n, levels, inverse, &v);
    });
}
