/* Arrays of floats, layered or with three dimensions, and textures that read them with
 * the hardware's linear filter. */
#include <cmath>
#include <cstring>

#include "cudaemu.h"

struct cudaArray {
    float *data;
    size_t width, height, depth; /* depth: layers as well */
    bool layered;
};

namespace
{
/* What a cudaTextureObject_t points to. */
struct texture {
    cudaArray_t array;
    bool linear, border[3];
    float border_value;
};

/* The two texels around a coordinate, and the weight of the second: with 8 bits. */
struct taps {
    long first, second;
    float fraction;
};

taps find_taps(float x, bool linear)
{
    x = std::fmin(std::fmax(x, -1e6F), 1e6F); /* NaN as well */
    if (!linear)
        return taps{std::lround(std::floor(x)), 0, 0.0F};
    float shifted = x - 0.5F;
    float whole = std::floor(shifted);
    float fraction = std::floor((shifted - whole) * 256.0F + 0.5F) / 256.0F;
    return taps{std::lround(whole), std::lround(whole) + 1, fraction};
}

/* Held at the ends, or false: in the border. */
bool place(long *i, size_t n, bool border)
{
    if (border && (*i < 0 || *i >= (long)n))
        return false;
    *i = *i < 0 ? 0 : *i >= (long)n ? (long)n - 1 : *i;
    return true;
}

float texel(const texture *t, long x, long y, long z)
{
    const cudaArray *a = t->array;
    if (!place(&x, a->width, t->border[0]) || !place(&y, a->height, t->border[1]) ||
        !place(&z, a->depth, t->border[2] && !a->layered))
        return t->border_value;
    return a->data[((size_t)z * a->height + (size_t)y) * a->width + (size_t)x];
}

float filter_plane(const texture *t, taps x, taps y, long z)
{
    float top = texel(t, x.first, y.first, z);
    if (!t->linear)
        return top;
    float a = x.fraction, b = y.fraction;
    return (1 - a) * (1 - b) * top + a * (1 - b) * texel(t, x.second, y.first, z) +
           (1 - a) * b * texel(t, x.first, y.second, z) +
           a * b * texel(t, x.second, y.second, z);
}

const texture *find_texture(cudaTextureObject_t handle, bool layered)
{
    const texture *t = reinterpret_cast<const texture *>(handle);
    if (!t || t->array->layered != layered)
        cudaemu::fatal("a texture that is not one, or of the other kind, is read");
    return t;
}
} // namespace

namespace cudaemu
{
float fetch_layered(cudaTextureObject_t handle, float x, float y, int layer)
{
    const texture *t = find_texture(handle, true);
    return filter_plane(t, find_taps(x, t->linear), find_taps(y, t->linear), layer);
}

float fetch_volume(cudaTextureObject_t handle, float x, float y, float z)
{
    const texture *t = find_texture(handle, false);
    taps tx = find_taps(x, t->linear), ty = find_taps(y, t->linear),
         tz = find_taps(z, t->linear);
    float first = filter_plane(t, tx, ty, tz.first);
    if (!t->linear)
        return first;
    return (1 - tz.fraction) * first + tz.fraction * filter_plane(t, tx, ty, tz.second);
}

static bool valid_array(const cudaChannelFormatDesc *channel, cudaExtent n,
                        unsigned flags)
{
    bool layered = flags == cudaArrayLayered;
    size_t side = layered ? 32768 : 16384, deep = layered ? 2048 : 16384;
    return channel->x == 32 && channel->y == 0 && channel->z == 0 && channel->w == 0 &&
           channel->f == cudaChannelFormatKindFloat && flags <= cudaArrayLayered &&
           n.width > 0 && n.height > 0 && n.depth > 0 && n.width <= side &&
           n.height <= side && n.depth <= deep;
}

static bool valid_copy(const cudaMemcpy3DParms *c)
{
    const cudaArray *a = c->dstArray;
    cudaExtent n = c->extent;
    return a && c->srcPtr.ptr && !c->srcArray && !c->dstPtr.ptr &&
           c->dstPos.x + n.width <= a->width && c->dstPos.y + n.height <= a->height &&
           c->dstPos.z + n.depth <= a->depth && n.height <= c->srcPtr.ysize &&
           n.width * sizeof(float) <= c->srcPtr.pitch;
}

static void copy_rows(const cudaMemcpy3DParms &c)
{
    const cudaArray *a = c.dstArray;
    const char *from = static_cast<const char *>(c.srcPtr.ptr);
    for (size_t z = 0; z < c.extent.depth; z++) {
        for (size_t y = 0; y < c.extent.height; y++) {
            size_t row = ((c.dstPos.z + z) * a->height + c.dstPos.y + y) * a->width;
            size_t line = (c.srcPos.z + z) * c.srcPtr.ysize + c.srcPos.y + y;
            memcpy(a->data + row + c.dstPos.x, from + line * c.srcPtr.pitch + c.srcPos.x,
                   c.extent.width * sizeof(float));
        }
    }
}

static cudaError_t copy_to_array(const cudaMemcpy3DParms &c, cudaStream_t stream,
                                 bool blocking)
{
    memory_kind kind;
    cudaStream_t found = find_stream(stream);
    if (!found)
        return cudaErrorInvalidResourceHandle;
    if (c.extent.width == 0 || c.extent.height == 0 || c.extent.depth == 0)
        return cudaSuccess;
    if (!valid_copy(&c))
        return cudaErrorInvalidValue;
    size_t lines = (c.srcPos.z + c.extent.depth - 1) * c.srcPtr.ysize + c.srcPos.y +
                   c.extent.height - 1;
    size_t bytes = lines * c.srcPtr.pitch + c.srcPos.x + c.extent.width * sizeof(float);
    if (!in_bounds(c.srcPtr.ptr, bytes, &kind) ||
        (c.kind == cudaMemcpyHostToDevice && kind == DEVICE) ||
        (c.kind == cudaMemcpyDeviceToDevice && kind != DEVICE && kind != MANAGED) ||
        c.kind == cudaMemcpyDeviceToHost || c.kind == cudaMemcpyHostToHost)
        return cudaErrorInvalidValue;
    bool now = kind == PAGEABLE || (blocking && kind == PINNED);
    enqueue(found, -1, now, [c] { copy_rows(c); });
    return cudaSuccess;
}
} // namespace cudaemu

using namespace cudaemu;

cudaError_t cudaMalloc3DArray(cudaArray_t *array, const cudaChannelFormatDesc *channel,
                              cudaExtent n, unsigned flags)
{
    return call(__func__, [&] {
        void *memory;
        *array = nullptr;
        if (!valid_array(channel, n, flags))
            return cudaErrorInvalidValue;
        cudaError_t error =
            allocate(DEVICE, n.width * n.height * n.depth * sizeof(float), &memory);
        if (error == cudaSuccess)
            *array = new cudaArray{static_cast<float *>(memory), n.width, n.height,
                                   n.depth, flags == cudaArrayLayered};
        return error;
    });
}

cudaError_t cudaFreeArray(cudaArray_t array)
{
    return call(
        __func__,
        [&] {
            if (!array)
                return cudaSuccess;
            flush_all();
            release(DEVICE, array->data);
            delete array;
            return cudaSuccess;
        },
        RELEASE);
}

cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms *copy)
{
    return call(__func__, [&] { return copy_to_array(*copy, nullptr, true); });
}

cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms *copy, cudaStream_t stream)
{
    return call(__func__, [&] { return copy_to_array(*copy, stream, false); });
}

/* Of unnormalised coordinates, CUDA too takes clamp and border only. */
cudaError_t cudaCreateTextureObject(cudaTextureObject_t *handle,
                                    const cudaResourceDesc *resource,
                                    const cudaTextureDesc *d,
                                    const cudaResourceViewDesc *view)
{
    return call(__func__, [&] {
        *handle = 0;
        if (resource->resType != cudaResourceTypeArray || !resource->res.array.array ||
            d->readMode != cudaReadModeElementType || d->normalizedCoords || view)
            return cudaErrorInvalidValue;
        texture made = {resource->res.array.array,
                        d->filterMode == cudaFilterModeLinear,
                        {false, false, false},
                        d->borderColor[0]};
        int axes = made.array->layered ? 2 : 3;
        for (int i = 0; i < axes; i++) {
            if (d->addressMode[i] != cudaAddressModeClamp &&
                d->addressMode[i] != cudaAddressModeBorder)
                return cudaErrorInvalidValue;
            made.border[i] = d->addressMode[i] == cudaAddressModeBorder;
        }
        *handle = reinterpret_cast<cudaTextureObject_t>(new texture(made));
        return cudaSuccess;
    });
}

cudaError_t cudaDestroyTextureObject(cudaTextureObject_t handle)
{
    return call(
        __func__,
        [&] {
            delete reinterpret_cast<texture *>(handle);
            return cudaSuccess;
        },
        RELEASE);
}
