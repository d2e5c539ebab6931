/* The CUDA backend: which device, and the table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/project.h"

#ifndef TR_CUDA_ARCHITECTURES
#define TR_CUDA_ARCHITECTURES "other GPUs"
#endif

/* Is it, for this program as it was built, as if there were no such device? */
static bool is_unavailable(cudaError_t result)
{
    switch (result) {
    case cudaErrorInsufficientDriver:
    case cudaErrorDevicesUnavailable:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorNotPermitted:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
        return true;
    default:
        return false;
    }
}

static tr_status status_of(cudaError_t result)
{
    return result == cudaErrorMemoryAllocation ? TR_ERR_MEMORY
           : is_unavailable(result)            ? TR_ERR_UNAVAILABLE
                                               : TR_ERR_DATA;
}

tr_status tr_cuda_check(cudaError_t result, const char *what)
{
    if (result == cudaSuccess)
        return TR_OK;
    (void)cudaGetLastError(); /* else the next launch would report it once more */
    return tr_fail(status_of(result), "the GPU could not %s: %s", what,
                   cudaGetErrorString(result));
}

tr_status tr_cuda_launched(const char *kernel)
{
    cudaError_t result = cudaGetLastError();
    if (result == cudaSuccess)
        return TR_OK;
    return tr_fail(status_of(result), "the GPU could not start the kernel %s: %s", kernel,
                   cudaGetErrorString(result));
}

unsigned tr_cuda_blocks(const tr_cuda *c, size_t n, unsigned per_block)
{
    size_t most = (size_t)c->properties.multiProcessorCount * 32;
    size_t blocks = (n + per_block - 1) / per_block;
    blocks = blocks < most ? blocks : most;
    return blocks ? (unsigned)blocks : 1;
}

tr_cuda_shape tr_cuda_lines(const tr_cuda *c, size_t lines, size_t values)
{
    enum { THREADS = 256, WARP = 32 };
    unsigned width = 1;
    while (width < values && width < WARP)
        width *= 2;
    dim3 block(width, THREADS / width);
    return {dim3(tr_cuda_blocks(c, lines, block.y)), block};
}

/* ---- the views of a subset ---- */

namespace
{
/* Some views as arguments of a kernel: nothing to copy, hence nothing to wait for. */
struct few_views {
    static constexpr unsigned MOST = 48; /* the arguments of a kernel are 4 KiB at most */
    tr_ray rays[MOST];
    unsigned numbers[MOST];
    unsigned n, first;
};

__global__ void store_views(few_views views, tr_ray *rays, unsigned *numbers)
{
    for (unsigned i = threadIdx.x; i < views.n; i += blockDim.x) {
        if (rays)
            rays[views.first + i] = views.rays[i];
        numbers[views.first + i] = views.numbers[i];
    }
}
} // namespace

tr_status tr_cuda_views(tr_cuda *c, const tr_slab *slab, const tr_subset *views,
                        const tr_ray **rays, const unsigned **numbers, unsigned *n)
{
    size_t count = views ? views->n : slab->n_views;
    void *to_numbers, *to_rays = NULL;
    TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_VIEWS, count * sizeof **numbers, &to_numbers));
    if (rays)
        TR_TRY(tr_cuda_scratch(c, TR_SCRATCH_RAYS, count * sizeof **rays, &to_rays));
    few_views few = {};
    for (few.first = 0; few.first < count; few.first += few.n) {
        size_t left = count - few.first;
        few.n = left < few.MOST ? (unsigned)left : few.MOST;
        for (unsigned i = 0; i < few.n; i++) {
            size_t view = views ? views->views[few.first + i] : few.first + i;
            TR_ASSERT(view < slab->n_views);
            few.numbers[i] = (unsigned)view;
            if (rays)
                few.rays[i] = slab->rays[view];
        }
        TR_LAUNCH(store_views, 1, 64, 0, c->compute, few, (tr_ray *)to_rays,
                  (unsigned *)to_numbers);
        TR_TRY(tr_cuda_launched("store_views"));
    }
    if (rays)
        *rays = (const tr_ray *)to_rays;
    *numbers = (const unsigned *)to_numbers;
    *n = (unsigned)count;
    return TR_OK;
}

/* ---- which device ---- */

/* The number of devices that a list such as "0,2" or "1-3" names, and the one at index
 * `wanted` of them. 0: `list` is not such a list. */
static size_t read_list(const char *list, size_t wanted, long *device, long *largest)
{
    size_t n = 0;
    *largest = 0;
    for (const char *at = list;; at++) {
        char *end;
        if (*at < '0' || *at > '9')
            return 0;
        long first = strtol(at, &end, 10), last = first;
        at = end;
        if (*at == '-') {
            if (at[1] < '0' || at[1] > '9')
                return 0;
            last = strtol(at + 1, &end, 10);
            at = end;
        }
        if (last < first || (*at != ',' && *at != '\0'))
            return 0;
        size_t members = (size_t)(last - first) + 1;
        if (wanted >= n && wanted - n < members)
            *device = first + (long)(wanted - n);
        n += members;
        *largest = last > *largest ? last : *largest;
        if (*at == '\0')
            return n;
    }
}

static tr_status choose_device(const tr_backend_settings *settings, int count,
                               int *device)
{
    size_t rank = settings->local_rank > 0 ? (size_t)settings->local_rank : 0;
    const char *list = settings->devices;
    *device = (int)(rank % (size_t)count);
    if (!list)
        return TR_OK;
    char present[64];
    snprintf(present, sizeof present, count == 1 ? "only device 0" : "devices 0 to %d",
             count - 1);
    long chosen = 0, largest;
    size_t n = read_list(list, 0, &chosen, &largest);
    if (n == 0)
        return tr_fail(TR_ERR_USAGE,
                       "--device %s: must be device numbers and ranges such as 0,2 or "
                       "1-3; this machine has %s",
                       *list ? list : "''", present);
    if (largest >= count)
        return tr_fail(TR_ERR_USAGE,
                       "--device %s: there is no device %ld; this machine has %s", list,
                       largest, present);
    (void)read_list(list, rank % n, &chosen, &largest);
    *device = (int)chosen;
    return TR_OK;
}

/* ---- the state ---- */

static void cuda_close(void *state)
{
    tr_cuda *c = (tr_cuda *)state;
    cudaStream_t *const streams[] = {&c->compute, &c->up, &c->down, &c->beside};
    (void)cudaSetDevice(c->device);
    for (cudaStream_t *stream : streams)
        if (*stream)
            (void)cudaStreamSynchronize(*stream);
    tr_cuda_transform_free(c);
    tr_cuda_texture_free(c);
    tr_cuda_planes_free(c);
    tr_cuda_memory_free(c);
    for (cudaStream_t *stream : streams)
        if (*stream)
            (void)cudaStreamDestroy(*stream);
    (void)cudaGetLastError();
    free(c->rays);
    free(c);
}

/* The device's context, which is the first thing that a device can refuse. */
static tr_status take_device(const tr_cuda *c, bool wait_asleep)
{
    cudaError_t result = cudaSetDevice(c->device);
    if (result == cudaSuccess && wait_asleep)
        result = cudaSetDeviceFlags(cudaDeviceScheduleBlockingSync);
    if (result == cudaSuccess)
        result = cudaFree(NULL);
    if (!is_unavailable(result))
        return tr_cuda_check(result, "start");
    (void)cudaGetLastError();
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "CUDA device %d cannot be used (%s): nvidia-smi shows whether another "
                   "program has it for itself; choose another with --device, or use "
                   "tiltrec-mpi or tiltrecz-mpi, which need none",
                   c->device, cudaGetErrorString(result));
}

/* Does the program have machine code, or PTX, for the device? */
static tr_status check_code(const tr_cuda *c)
{
    const cudaDeviceProp *p = &c->properties;
    cudaFuncAttributes attributes;
    cudaError_t result = cudaFuncGetAttributes(&attributes, store_views);
    if (!is_unavailable(result))
        return tr_cuda_check(result, "load the kernels");
    (void)cudaGetLastError();
    return tr_fail(
        TR_ERR_UNAVAILABLE,
        "CUDA device %d (%.100s) has compute capability %.1f, and this program has "
        "code for %s (%s): choose another with --device, build it with "
        "-DCMAKE_CUDA_ARCHITECTURES=%d%d, or use tiltrec-mpi or tiltrecz-mpi, "
        "which need none",
        c->device, p->name, p->major + p->minor / 10.0, TR_CUDA_ARCHITECTURES,
        cudaGetErrorString(result), p->major, p->minor);
}

static tr_status start(tr_cuda *c, bool wait_asleep)
{
    TR_TRY(take_device(c, wait_asleep));
    TR_CUDA("tell its properties", cudaGetDeviceProperties(&c->properties, c->device));
    TR_TRY(check_code(c));
    if (c->kernel == TR_KERNEL_TENSOR)
        TR_TRY(tr_cuda_tensor_check(c));
    TR_CUDA("start", cudaStreamCreateWithFlags(&c->compute, cudaStreamNonBlocking));
    TR_CUDA("start", cudaStreamCreateWithFlags(&c->up, cudaStreamNonBlocking));
    TR_CUDA("start", cudaStreamCreateWithFlags(&c->down, cudaStreamNonBlocking));
    TR_CUDA("start", cudaStreamCreateWithFlags(&c->beside, cudaStreamNonBlocking));
    return TR_OK;
}

static const char *kernel_name(tr_kernel kernel)
{
    return kernel == TR_KERNEL_TEXTURE  ? "texture"
           : kernel == TR_KERNEL_TENSOR ? "tensor"
                                        : "tile";
}

/* There is a driver, and it is too old for the program. Versions as CUDA has them. */
static tr_status refuse_driver(int driver)
{
    char theirs[32], ours[32];
    snprintf(theirs, sizeof theirs, "%d.%d", driver / 1000, driver % 1000 / 10);
    snprintf(ours, sizeof ours, "%d.%d", CUDART_VERSION / 1000,
             CUDART_VERSION % 1000 / 10);
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "the driver of this machine's GPUs is for CUDA %s, and this program "
                   "was built with CUDA %s: install a newer driver, build the program "
                   "with an older CUDA, or use tiltrec-mpi or tiltrecz-mpi, which need "
                   "none",
                   theirs, ours);
}

static tr_status count_devices(int *count)
{
    int driver = 0;
    cudaError_t found = cudaGetDeviceCount(count);
    if (found == cudaSuccess && *count > 0)
        return TR_OK;
    (void)cudaGetLastError();
    if (found == cudaErrorInsufficientDriver &&
        cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0)
        return refuse_driver(driver);
    return tr_fail(TR_ERR_UNAVAILABLE,
                   "no CUDA device is present (%s); use tiltrec-mpi or "
                   "tiltrecz-mpi, which need none",
                   found == cudaErrorInsufficientDriver
                       ? "no driver of NVIDIA is installed"
                   : found != cudaSuccess ? cudaGetErrorString(found)
                                          : "the driver lists none");
}

static tr_status cuda_open(const tr_backend_settings *settings, void **state)
{
    int count = 0, device;
    TR_TRY(count_devices(&count));
    TR_TRY(choose_device(settings, count, &device));
    tr_cuda *c = (tr_cuda *)calloc(1, sizeof *c);
    if (!c)
        return tr_fail(TR_ERR_MEMORY, "not enough memory to start the CUDA backend");
    c->device = device;
    c->processes = 1;
    c->kernel = settings->kernel == TR_KERNEL_AUTO ? TR_KERNEL_TILE : settings->kernel;
    c->prefer_managed = settings->managed;
    tr_status status = start(c, settings->wait_asleep);
    if (status != TR_OK) {
        cuda_close(c);
        return status;
    }
    snprintf(c->arithmetic, sizeof c->arithmetic,
             "%.100s, compute capability %d.%d, kernel %s, CUDA %d", c->properties.name,
             c->properties.major, c->properties.minor, kernel_name(c->kernel),
             CUDART_VERSION);
    *state = c;
    return TR_OK;
}

static tr_status cuda_identity(void *state, unsigned char id[TR_DEVICE_ID])
{
    const tr_cuda *c = (const tr_cuda *)state;
    static_assert(sizeof c->properties.uuid.bytes == TR_DEVICE_ID,
                  "another kind of UUID");
    memcpy(id, c->properties.uuid.bytes, TR_DEVICE_ID);
    return TR_OK;
}

static const char *cuda_describe(void *state)
{
    tr_cuda *c = (tr_cuda *)state;
    snprintf(c->description, sizeof c->description,
             "%.100s, %.1f GiB, compute capability %d.%d, kernel %s%s",
             c->properties.name, (double)c->properties.totalGlobalMem / (1 << 30),
             c->properties.major, c->properties.minor, kernel_name(c->kernel),
             c->managed  ? ", unified memory"
             : c->planes ? ", volumes in host memory"
                         : "");
    size_t used = strlen(c->description);
    if (c->processes > 1) {
        snprintf(c->description + used, sizeof c->description - used,
                 ", shared by %d processes", c->processes);
        used = strlen(c->description);
    }
    if (c->blocks)
        snprintf(c->description + used, sizeof c->description - used,
                 ", backprojection in %zu blocks of %u threads", c->blocks, c->threads);
    return c->description;
}

static const char *cuda_arithmetic(void *state) { return ((tr_cuda *)state)->arithmetic; }

/* By name, as C's designated initialisers would do it. */
static constexpr tr_backend make_table()
{
    tr_backend table = {};
    table.name = "cuda";
    table.separate_memory = true;
    table.open = cuda_open;
    table.close = cuda_close;
    table.describe = cuda_describe;
    table.arithmetic = cuda_arithmetic;
    table.identity = cuda_identity;
    table.divide = tr_cuda_divide;
    table.available = tr_cuda_available;
    table.reserve = tr_cuda_reserve;
    table.plane_bytes = tr_cuda_plane_bytes;
    table.keep_on_host = tr_cuda_keep_on_host;
    table.alloc = tr_cuda_alloc;
    table.alloc_volume = tr_cuda_alloc_volume;
    table.free = tr_cuda_free;
    table.alloc_host = tr_cuda_alloc_host;
    table.free_host = tr_cuda_free_host;
    table.upload = tr_cuda_upload;
    table.download = tr_cuda_download;
    table.take_slices = tr_cuda_take_slices;
    table.wait = tr_cuda_wait;
    table.enter = tr_cuda_enter;
    table.leave = tr_cuda_leave;
    table.lines_from = tr_cuda_lines_from;
    table.lines_to = tr_cuda_lines_to;
    table.get_rows = tr_cuda_get_rows;
    table.put_rows = tr_cuda_put_rows;
    table.set_rows = tr_cuda_set_rows;
    table.copy_views = tr_cuda_copy_views;
    table.share = tr_cuda_share;
    table.unshare = tr_cuda_unshare;
    table.attach = tr_cuda_attach;
    table.detach = tr_cuda_detach;
    table.fill = tr_cuda_fill;
    table.copy = tr_cuda_copy;
    table.axpy = tr_cuda_axpy;
    table.xpay = tr_cuda_xpay;
    table.clamp = tr_cuda_clamp;
    table.shrink = tr_cuda_shrink;
    table.dot = tr_cuda_dot;
    table.mul_lines = tr_cuda_mul_lines;
    table.axpy_lines = tr_cuda_axpy_lines;
    table.invert_guarded = tr_cuda_invert_guarded;
    table.row_dots = tr_cuda_row_dots;
    table.axpy_rows = tr_cuda_axpy_rows;
    table.scale_rows = tr_cuda_scale_rows;
    table.row_squares = tr_cuda_row_squares;
    table.mask_rows = tr_cuda_mask_rows;
    table.grad = tr_cuda_grad;
    table.grad_adjoint = tr_cuda_grad_adjoint;
    table.shrink_vectors = tr_cuda_shrink_vectors;
    table.sum_lengths = tr_cuda_sum_lengths;
    table.haar = tr_cuda_haar;
    table.filter = tr_cuda_filter;
    table.project = tr_cuda_project;
    table.backproject = tr_cuda_backproject;
    table.backproject_add = tr_cuda_backproject_add;
    table.row_sums = tr_cuda_row_sums;
    table.col_sums = tr_cuda_col_sums;
    return table;
}

extern "C" {
extern const tr_backend tr_backend_cuda;
const tr_backend tr_backend_cuda = make_table();
}
