/* Slices of a volume as a file holds them: transposed and converted on the device, so
 * that no more bytes cross the bus than are written; and measured and hashed there, so
 * that the host need not look at them. What kernels/cpu/samples.c does, to the bit. */
#include "kernels/cuda/state.h"
#include "kernels/cuda/xxh3.h"
#include "kernels/sample_body.h"

namespace
{
enum {
    TILE = 32,
    TALL = 8,
    PITCH = TILE + 1,
    AHEAD = 16, /* values of a thread that are read before the first is used */
    HASHED = TILE * TR_XXH3_PARTS /* threads, for so many lines */
};

/* ---- types of samples ---- */

template <typename E, int low, int high> struct integer {
    typedef E element;
    static constexpr bool rounds = true;
    __device__ static E from(float value) { return (E)tr_rounded(value, low, high); }
    __device__ static float to(E sample) { return sample; }
};
struct half_float {
    typedef uint16_t element;
    static constexpr bool rounds = true;
    __device__ static uint16_t from(float value) { return tr_half_from_float(value); }
    __device__ static float to(uint16_t sample) { return tr_half_to_float(sample); }
};
struct whole_float {
    typedef float element;
    static constexpr bool rounds = false;
    __device__ static float from(float value) { return value; }
    __device__ static float to(float sample) { return sample; }
};

/* What is taken: n rows of `lanes`, from `lines` on. */
struct taking {
    const float *lines;
    size_t lanes, plane;
    double add, multiply;
    unsigned n, width;
    bool scaled, xyz;

    __device__ float scale(float value) const
    {
        return scaled ? (float)((value + add) * multiply) : value;
    }
};

/* Some lines of each slice, among samples: all of a slice's together, or all slices'. */
struct some_lines {
    size_t first;
    unsigned count;

    __device__ size_t sample(const taking &t, unsigned row, unsigned i) const
    {
        if (!t.xyz)
            return (size_t)row * count * t.width + i;
        return ((size_t)(i / t.width) * t.n + row) * t.width + i % t.width;
    }
};

/* ---- transposition and conversion ---- */

/* Reads along the lanes, writes along x. */
template <typename S>
__global__ void make_samples(taking t, some_lines some, typename S::element *samples)
{
    TR_SHARED(float, square);
    const unsigned values = some.count * t.width;
    const unsigned across = (values + TILE - 1) / TILE, down = (t.n + TILE - 1) / TILE;
    const float *from = t.lines + some.first * t.width * t.lanes;
    for (size_t tile = blockIdx.x; tile < (size_t)across * down; tile += gridDim.x) {
        const unsigned i = (unsigned)(tile / down) * TILE,
                       row = (unsigned)(tile % down) * TILE;
        for (unsigned j = threadIdx.y; j < TILE; j += TALL)
            if (i + j < values && row + threadIdx.x < t.n)
                square[j * PITCH + threadIdx.x] =
                    from[(i + j) * t.lanes + row + threadIdx.x];
        __syncthreads();
        for (unsigned j = threadIdx.y; j < TILE; j += TALL)
            if (i + threadIdx.x < values && row + j < t.n)
                samples[some.sample(t, row + j, i + threadIdx.x)] =
                    S::from(t.scale(square[threadIdx.x * PITCH + j]));
        __syncthreads();
    }
}

/* ---- checksums ---- */

/* As a reader gets it. */
template <typename S> struct decoded {
    const typename S::element *samples;

    __device__ uint64_t two(unsigned i) const
    {
        return tr_bits_of(S::to(samples[i])) | (uint64_t)tr_bits_of(S::to(samples[i + 1]))
                                                   << 32;
    }
};

struct hash_memory {
    uint64_t secret[TR_XXH3_WORDS], sums[TILE][TR_XXH3_PARTS];
};

/* Each line has as many threads as the hash has accumulators. */
template <typename S>
__global__ void add_checks(taking t, some_lines some, const typename S::element *samples,
                           tr_taken *taken)
{
    TR_SHARED(hash_memory, m);
    const unsigned own = threadIdx.x / TR_XXH3_PARTS, part = threadIdx.x % TR_XXH3_PARTS;
    const size_t lines = (size_t)t.n * some.count;
    if (threadIdx.x < TR_XXH3_WORDS)
        m->secret[threadIdx.x] = tr_xxh3_secret[threadIdx.x];
    __syncthreads();
    for (size_t first = blockIdx.x * (size_t)TILE; first < lines;
         first += gridDim.x * (size_t)TILE) {
        const size_t line = first + own;
        const unsigned row = (unsigned)(t.xyz ? line % t.n : line / some.count);
        const size_t number = some.first + (t.xyz ? line / t.n : line % some.count);
        if (line < lines)
            m->sums[own][part] = tr_xxh3_part(decoded<S>{samples + line * t.width},
                                              t.width, number, m->secret, part);
        __syncthreads();
        if (line < lines && part == 0)
            atomicAdd((unsigned long long *)&taken[row].check,
                      tr_xxh3_end(m->sums[own], t.width, number, m->secret) & 0xffffffff);
        __syncthreads();
    }
}

/* ---- measuring ---- */

/* As a reader gets it, of what is in memory. */
template <typename S> __device__ float kept(const taking &t, float value)
{
    return S::to(S::from(t.scale(value)));
}

/* Values i, i + step, ... of a row, some at a time: the next ones need not wait for what
 * is done with those before. */
template <typename F>
__device__ void each_value(const taking &t, unsigned row, size_t i, size_t step,
                           size_t end, F use)
{
    const float *from = t.lines + row;
    for (; i < end; i += AHEAD * step) {
        float values[AHEAD];
#pragma unroll
        for (unsigned k = 0; k < AHEAD; k++)
            values[k] = i + k * step < end ? from[(i + k * step) * t.lanes] : 0.0f;
#pragma unroll
        for (unsigned k = 0; k < AHEAD; k++)
            if (i + k * step < end)
                use(values[k]);
    }
}

/* The mean of each slice's first values, added up in their order. */
template <typename S> __global__ void begin_measuring(taking t, tr_taken *taken)
{
    const unsigned row = blockIdx.x * blockDim.x + threadIdx.x;
    const size_t most = TR_MEASURE_START, start = t.plane < most ? t.plane : most;
    if (row >= t.n)
        return;
    double about = 0.0;
    each_value(t, row, 0, 1, start,
               [&](float value) { about += kept<S>(t, value) / (double)start; });
    taken[row].m.about = about;
    taken[row].m.n = t.plane;
}

/* A thread has one part of one slice. Sums are rounded after each step, as the host's. */
template <typename S> __global__ void measure(taking t, tr_taken *taken)
{
    const unsigned row = blockIdx.x * blockDim.x + threadIdx.x, part = blockIdx.y;
    if (row >= t.n)
        return;
    tr_measuring *m = &taken[row].m;
    const double about = m->about;
    double first = 0.0, second = 0.0;
    float low = kept<S>(t, t.lines[row]), high = low;
    bool infinite = false;
    each_value(t, row, part, TR_MEASURE_PARTS, t.plane, [&](float value) {
        value = t.scale(value);
        infinite |= S::rounds && (tr_bits_of(value) & 0x7f800000) == 0x7f800000;
        value = S::to(S::from(value));
        low = value < low ? value : low;
        high = value > high ? value : high;
        const double d = value - about;
        first += d;
        second = __dadd_rn(second, __dmul_rn(d, d));
    });
    m->low[part] = low;
    m->high[part] = high;
    m->first[part] = first;
    m->second[part] = second;
    taken[row].infinite[part] = infinite;
}
} // namespace

/* ---- launches ---- */

template <typename S>
static tr_status launch_measuring(const tr_cuda *c, const taking *t, tr_taken *taken)
{
    const unsigned across = (t->n + TILE - 1) / TILE;
    TR_LAUNCH(begin_measuring<S>, dim3(across), dim3(TILE), 0, c->beside, *t, taken);
    TR_TRY(tr_cuda_launched("begin_measuring"));
    TR_LAUNCH(measure<S>, dim3(across, TR_MEASURE_PARTS), dim3(TILE), 0, c->beside, *t,
              taken);
    return tr_cuda_launched("measure");
}

template <typename S>
static tr_status launch_samples(const tr_cuda *c, const taking *t, const some_lines *some,
                                typename S::element *samples, tr_taken *taken)
{
    const size_t lines = (size_t)t->n * some->count, rows = (t->n + TILE - 1) / TILE;
    const size_t tiles = ((size_t)some->count * t->width + TILE - 1) / TILE * rows;
    TR_LAUNCH(make_samples<S>, dim3(tr_cuda_blocks(c, tiles, 1)), dim3(TILE, TALL),
              TILE * PITCH * sizeof(float), c->down, *t, *some, samples);
    TR_TRY(tr_cuda_launched("make_samples"));
    TR_LAUNCH(add_checks<S>, dim3(tr_cuda_blocks(c, lines, TILE)), dim3(HASHED),
              sizeof(hash_memory), c->down, *t, *some,
              (const typename S::element *)samples, taken);
    return tr_cuda_launched("add_checks");
}

/* Lines as they are made to their places among the host's samples. */
static tr_status copy_samples(const tr_cuda *c, const tr_take *take,
                              const some_lines *some, size_t size, const void *from,
                              void *samples)
{
    const size_t line = take->width * size, together = some->count * line;
    char *to = (char *)samples + some->first * line * (take->xyz ? take->n : 1);
    if (take->xyz)
        return tr_cuda_check(cudaMemcpyAsync(to, from, take->n * together,
                                             cudaMemcpyDeviceToHost, c->down),
                             "return data");
    return tr_cuda_check(cudaMemcpy2DAsync(to, take->thickness * line, from, together,
                                           together, take->n, cudaMemcpyDeviceToHost,
                                           c->down),
                         "return data");
}

template <typename S>
static tr_status take_all(const tr_cuda *c, const taking *t, const tr_take *take,
                          tr_taken *known, void *samples)
{
    typename S::element *made = (typename S::element *)(known + take->n);
    some_lines some;
    TR_TRY(launch_measuring<S>(c, t, known));
    for (some.first = 0; some.first < take->thickness; some.first += some.count) {
        size_t rest = take->thickness - some.first;
        some.count = (unsigned)(rest < take->lines ? rest : take->lines);
        TR_TRY(launch_samples<S>(c, t, &some, made, known));
        TR_TRY(copy_samples(c, take, &some, sizeof *made, made, samples));
    }
    return TR_OK;
}

static tr_status take_as(const tr_cuda *c, const taking *t, const tr_take *take,
                         tr_taken *known, void *samples)
{
    switch (take->type) {
    case TR_SAMPLE_INT8:
        return take_all<integer<int8_t, -128, 127>>(c, t, take, known, samples);
    case TR_SAMPLE_UINT8:
        return take_all<integer<uint8_t, 0, 255>>(c, t, take, known, samples);
    case TR_SAMPLE_INT16:
        return take_all<integer<int16_t, -32768, 32767>>(c, t, take, known, samples);
    case TR_SAMPLE_UINT16:
        return take_all<integer<uint16_t, 0, 65535>>(c, t, take, known, samples);
    case TR_SAMPLE_FLOAT16:
        return take_all<half_float>(c, t, take, known, samples);
    default:
        return take_all<whole_float>(c, t, take, known, samples);
    }
}

/* Runs in the thread that downloads, on two streams of its own. */
tr_status tr_cuda_take_slices(void *state, const tr_vec *x, const tr_take *take,
                              float *work, void *samples, tr_taken *taken)
{
    const tr_cuda *c = (const tr_cuda *)state;
    const size_t bytes = take->n * sizeof *taken;
    tr_taken *known = (tr_taken *)work;
    TR_ASSERT(take->width >= TR_TAKE_WIDTH && take->row + take->n <= x->rows);
    TR_ASSERT(take->width * take->thickness <= x->lines && take->n && take->lines);
    const taking t = {x->data + take->row,
                      x->rows,
                      take->width * take->thickness,
                      take->add,
                      take->multiply,
                      (unsigned)take->n,
                      (unsigned)take->width,
                      take->scaled,
                      take->xyz};
    TR_CUDA("return data", cudaSetDevice(c->device));
    TR_CUDA("return data", cudaMemsetAsync(known, 0, bytes, c->down));
    TR_CUDA("return data", cudaStreamSynchronize(c->down));
    TR_TRY(take_as(c, &t, take, known, samples));
    TR_CUDA("return data", cudaStreamSynchronize(c->beside));
    TR_CUDA("return data",
            cudaMemcpyAsync(taken, known, bytes, cudaMemcpyDeviceToHost, c->down));
    return tr_cuda_check(cudaStreamSynchronize(c->down), "return data");
}
