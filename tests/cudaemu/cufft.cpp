/* Batched transforms between real and complex lines, by FFTW in single precision. */
#include <algorithm>
#include <map>
#include <fftw3.h>

#include "cufft.h"
#include "cudaemu.h"

namespace
{
struct layout {
    long long stride, distance;
};
struct transform {
    bool made, packed; /* packed: no layout was given, and in place differs */
    cufftType type;
    long long n, batch;
    layout in, out;
    size_t work;
    int device;
    cudaStream_t stream;
    fftwf_plan fftw[2]; /* apart and in place, when first needed */
};

std::map<cufftHandle, transform> &plans = *new std::map<cufftHandle, transform>();
cufftHandle handles;

transform *find(cufftHandle plan)
{
    auto found = plans.find(plan);
    return found == plans.end() ? nullptr : &found->second;
}

/* As cudaemu::call, which gives failures their order, but with cuFFT's codes. */
template <typename F>
cufftResult fft_call(const char *name, cufftResult injected, const F &body,
                     cudaemu::call_kind kind = cudaemu::CALL)
{
    cufftResult result = CUFFT_INTERNAL_ERROR;
    cudaemu::call(
        "cufft",
        [&] {
            result = cudaemu::injected(name) ? injected : body();
            return cudaSuccess;
        },
        kind);
    return result;
}

long long real_length(const transform &t) { return t.n; }
long long complex_length(const transform &t) { return t.n / 2 + 1; }
long long in_length(const transform &t)
{
    return t.type == CUFFT_R2C ? real_length(t) : complex_length(t);
}
long long out_length(const transform &t)
{
    return t.type == CUFFT_R2C ? complex_length(t) : real_length(t);
}

/* Without a layout: lines follow each other, real ones with room for the complex ones
 * where the transform is in place. */
layout actual(const transform &t, bool input, bool in_place)
{
    if (!t.packed)
        return input ? t.in : t.out;
    bool real = input == (t.type == CUFFT_R2C);
    if (!real)
        return layout{1, complex_length(t)};
    return layout{1, in_place ? 2 * complex_length(t) : real_length(t)};
}

fftwf_plan make_fftw(const transform &t, float *in, float *out)
{
    fftw_iodim64 line = {}, batch = {};
    layout i = actual(t, true, in == out), o = actual(t, false, in == out);
    line.n = t.n;
    line.is = i.stride;
    line.os = o.stride;
    batch.n = t.batch;
    batch.is = i.distance;
    batch.os = o.distance;
    unsigned flags = FFTW_ESTIMATE | FFTW_UNALIGNED;
    if (t.type == CUFFT_R2C)
        return fftwf_plan_guru64_dft_r2c(1, &line, 1, &batch, in,
                                         reinterpret_cast<fftwf_complex *>(out), flags);
    return fftwf_plan_guru64_dft_c2r(1, &line, 1, &batch,
                                     reinterpret_cast<fftwf_complex *>(in), out, flags);
}

bool reaches(const void *memory, long long length, layout l, long long batch, size_t item)
{
    cudaemu::memory_kind kind;
    long long last = (batch - 1) * l.distance + (length - 1) * l.stride;
    return memory && cudaemu::in_bounds(memory, ((size_t)last + 1) * item, &kind) &&
           kind != cudaemu::PAGEABLE;
}

cufftResult execute(transform *t, cufftType type, void *in, void *out)
{
    if (!t || !t->made || t->type != type)
        return CUFFT_INVALID_PLAN;
    size_t real = sizeof(float), complex = 2 * sizeof(float);
    bool r2c = type == CUFFT_R2C, in_place = in == out;
    /* FFTW is not instrumented: what AddressSanitizer would say is said here. */
    if (!reaches(in, in_length(*t), actual(*t, true, in_place), t->batch,
                 r2c ? real : complex) ||
        !reaches(out, out_length(*t), actual(*t, false, in_place), t->batch,
                 r2c ? complex : real))
        cudaemu::fatal("a transform of %lld x %lld reaches beyond its memory", t->batch,
                       t->n);
    float *from = static_cast<float *>(in), *to = static_cast<float *>(out);
    fftwf_plan &fftw = t->fftw[in_place];
    if (!fftw)
        fftw = make_fftw(*t, from, to);
    cudaStream_t stream = cudaemu::find_stream(t->stream);
    if (!fftw || !stream)
        return CUFFT_EXEC_FAILED;
    fftwf_plan plan = fftw;
    cudaemu::enqueue(stream, t->device, false, [plan, r2c, from, to] {
        if (r2c)
            fftwf_execute_dft_r2c(plan, from, reinterpret_cast<fftwf_complex *>(to));
        else
            fftwf_execute_dft_c2r(plan, reinterpret_cast<fftwf_complex *>(from), to);
    });
    return CUFFT_SUCCESS;
}

cufftResult make(transform *t, int rank, const transform &wanted, size_t *work)
{
    if (!t || t->made)
        return CUFFT_INVALID_PLAN;
    if (rank != 1)
        return CUFFT_NOT_IMPLEMENTED;
    if (wanted.type != CUFFT_R2C && wanted.type != CUFFT_C2R)
        return CUFFT_INVALID_TYPE;
    if (wanted.n < 1 || wanted.batch < 1)
        return CUFFT_INVALID_SIZE;
    *t = wanted;
    /* What cuFFT takes is its own affair; something, so that it can run out. */
    size_t bytes = (size_t)(complex_length(wanted) * wanted.batch) * 8;
    t->device = cudaemu::current_device();
    if (!cudaemu::reserve(t->device, bytes))
        return CUFFT_ALLOC_FAILED;
    t->work = bytes;
    t->made = true;
    *work = t->work;
    return CUFFT_SUCCESS;
}
} // namespace

cufftResult cufftCreate(cufftHandle *plan)
{
    return fft_call(__func__, CUFFT_ALLOC_FAILED, [&] {
        *plan = ++handles;
        plans[*plan] = transform();
        return CUFFT_SUCCESS;
    });
}

cufftResult cufftMakePlanMany64(cufftHandle plan, int rank, long long *n,
                                long long *inembed, long long istride, long long idist,
                                long long *onembed, long long ostride, long long odist,
                                cufftType type, long long batch, size_t *work)
{
    return fft_call(__func__, CUFFT_ALLOC_FAILED, [&] {
        transform wanted = transform();
        transform *t = find(plan);
        wanted.packed = !inembed || !onembed;
        wanted.type = type;
        wanted.n = n[0];
        wanted.batch = batch;
        wanted.in = layout{istride, idist};
        wanted.out = layout{ostride, odist};
        wanted.stream = t ? t->stream : nullptr;
        return make(t, rank, wanted, work);
    });
}

cufftResult cufftMakePlanMany(cufftHandle plan, int rank, int *n, int *inembed,
                              int istride, int idist, int *onembed, int ostride,
                              int odist, cufftType type, int batch, size_t *work)
{
    long long length = n[0], in = 0, out = 0;
    return cufftMakePlanMany64(plan, rank, &length, inembed ? &in : nullptr, istride,
                               idist, onembed ? &out : nullptr, ostride, odist, type,
                               batch, work);
}

cufftResult cufftPlanMany(cufftHandle *plan, int rank, int *n, int *inembed, int istride,
                          int idist, int *onembed, int ostride, int odist, cufftType type,
                          int batch)
{
    return fft_call(__func__, CUFFT_ALLOC_FAILED, [&] {
        size_t work;
        cufftResult result = cufftCreate(plan);
        if (result != CUFFT_SUCCESS)
            return result;
        result = cufftMakePlanMany(*plan, rank, n, inembed, istride, idist, onembed,
                                   ostride, odist, type, batch, &work);
        if (result != CUFFT_SUCCESS)
            (void)cufftDestroy(*plan);
        return result;
    });
}

cufftResult cufftPlan1d(cufftHandle *plan, int n, cufftType type, int batch)
{
    return cufftPlanMany(plan, 1, &n, nullptr, 1, 0, nullptr, 1, 0, type, batch);
}

cufftResult cufftGetSize(cufftHandle plan, size_t *work)
{
    return fft_call(__func__, CUFFT_INTERNAL_ERROR, [&] {
        transform *t = find(plan);
        *work = t ? t->work : 0;
        return t ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
    });
}

cufftResult cufftGetVersion(int *version)
{
    *version = CUFFT_VERSION;
    return CUFFT_SUCCESS;
}

cufftResult cufftSetStream(cufftHandle plan, cudaStream_t stream)
{
    return fft_call(__func__, CUFFT_INTERNAL_ERROR, [&] {
        transform *t = find(plan);
        if (!t)
            return CUFFT_INVALID_PLAN;
        t->stream = stream;
        return CUFFT_SUCCESS;
    });
}

cufftResult cufftExecR2C(cufftHandle plan, cufftReal *in, cufftComplex *out)
{
    return fft_call(__func__, CUFFT_EXEC_FAILED,
                    [&] { return execute(find(plan), CUFFT_R2C, in, out); });
}

cufftResult cufftExecC2R(cufftHandle plan, cufftComplex *in, cufftReal *out)
{
    return fft_call(__func__, CUFFT_EXEC_FAILED,
                    [&] { return execute(find(plan), CUFFT_C2R, in, out); });
}

cufftResult cufftDestroy(cufftHandle plan)
{
    return fft_call(
        __func__, CUFFT_INTERNAL_ERROR,
        [&] {
            transform *t = find(plan);
            if (!t)
                return CUFFT_INVALID_PLAN;
            cudaemu::flush_all(); /* as cudaFree does of its work area */
            for (fftwf_plan fftw : t->fftw) {
                if (fftw)
                    fftwf_destroy_plan(fftw);
            }
            cudaemu::unreserve(t->device, t->work);
            plans.erase(plan);
            return CUFFT_SUCCESS;
        },
        cudaemu::RELEASE);
}
