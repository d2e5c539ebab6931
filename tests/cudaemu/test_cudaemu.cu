/* The emulation of CUDA itself: launches and streams. */
#include <thread>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cuda_pipeline_primitives.h>

#include "test_cudaemu.h"

/* ---- Kernels ---- */

namespace
{
__global__ void block_sums(const float *x, float *sums)
{
    TR_SHARED(float, part);
    unsigned n = blockDim.x * blockDim.y * blockDim.z;
    unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    part[t] = x[blockIdx.x * n + t];
    __syncthreads();
    for (unsigned half = n / 2; half > 0; half /= 2) {
        if (t < half)
            part[t] += part[t + half];
        __syncthreads();
    }
    if (t == 0)
        sums[blockIdx.x] = part[0];
}

template <bool barrier> __global__ void reversed_by_shared(float *y)
{
    TR_SHARED(float, part);
    part[threadIdx.x] = (float)threadIdx.x;
    if (barrier)
        __syncthreads();
    y[threadIdx.x] = part[blockDim.x - 1 - threadIdx.x];
}

/* What the block finds in shared memory, and leaves behind. */
__global__ void fresh_shared(float *y)
{
    TR_SHARED(float, part);
    y[blockIdx.x * blockDim.x + threadIdx.x] = part[threadIdx.x];
    part[threadIdx.x] = 1.0F;
}

__global__ void some_reach(float *y)
{
    if (threadIdx.x > 0)
        __syncthreads();
    y[threadIdx.x] = 0.0F;
}

__global__ void ask_warp(float *y)
{
    const unsigned lane = threadIdx.x % 32;
    unsigned odd = __ballot_sync(0xffffffff, lane % 2 == 1 && threadIdx.x >= 32);
    float own = (float)threadIdx.x;
    for (int i = 0; i < 3; i++) /* from the next lane, three times */
        own = __shfl_sync(0xffffffff, own, (int)(lane + 1) % 32);
    y[threadIdx.x] = own + (odd == 0xaaaaaaaa ? 1000.0F : odd == 0 ? 0.0F : -1.0F);
}

__global__ void some_lanes(float *y)
{
    if (threadIdx.x > 3)
        __syncwarp();
    y[threadIdx.x] = 0.0F;
}

/* Two groups of copies, the second with zeros at its end; waits for all but `except`. */
__global__ void copy_async(const float *x, float *y, int except)
{
    TR_SHARED(float4, part);
    const float *from = x + 8 * threadIdx.x;
    __pipeline_memcpy_async(&part[2 * threadIdx.x], from, 16);
    __pipeline_commit();
    __pipeline_memcpy_async(&part[2 * threadIdx.x + 1], from + 4, 16, 8);
    __pipeline_commit();
    __pipeline_wait_prior((size_t)except);
    for (int i = 0; i < 8; i++)
        y[8 * threadIdx.x + (unsigned)i] =
            reinterpret_cast<float *>(&part[2 * threadIdx.x])[i];
}

__global__ void count(unsigned long long *counter, unsigned long long *seen)
{
    unsigned b = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    seen[b * blockDim.x + threadIdx.x] = atomicAdd(counter, 1ULL);
}

__global__ void add(float *y, size_t n, float value)
{
    size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    if (i < n)
        y[i] += value;
}
} // namespace

/* ---- Launches ---- */

static void test_barriers(void **)
{
    const char *orders[] = {"forward", "reverse"};
    std::vector<float> x(4 * 128);
    for (size_t i = 0; i < x.size(); i++)
        x[i] = (float)(i % 31);
    for (const char *order : orders) {
        with("ORDER", order);
        float *from = send(x), *to = device_floats(4);
        TR_LAUNCH(block_sums, 4, dim3(8, 4, 4), 128 * sizeof(float), nullptr, from, to);
        OK(cudaGetLastError());
        std::vector<float> sums = fetch(to, 4);
        for (size_t b = 0; b < 4; b++) {
            float wanted = 0;
            for (size_t i = 0; i < 128; i++)
                wanted += x[b * 128 + i];
            assert_true(sums[b] == wanted);
        }
        OK(cudaFree(from));
        OK(cudaFree(to));
    }
}

static int wrong_reversals(bool barrier)
{
    float *y = device_floats(64);
    auto *kernel = barrier ? reversed_by_shared<true> : reversed_by_shared<false>;
    TR_LAUNCH(kernel, 1, 64, 64 * sizeof(float), nullptr, y);
    std::vector<float> got = fetch(y, 64);
    int wrong = 0;
    for (size_t i = 0; i < 64; i++)
        wrong += got[i] != (float)(63 - i);
    OK(cudaFree(y));
    return wrong;
}

static void test_missing_barrier_shows(void **)
{
    with("ORDER", "forward");
    assert_int_equal(wrong_reversals(true), 0);
    assert_int_equal(wrong_reversals(false), 32);
    with("ORDER", "reverse");
    assert_int_equal(wrong_reversals(true), 0);
    assert_int_equal(wrong_reversals(false), 32);
}

static void test_shared_memory_is_nan_in_each_block(void **)
{
    float *y = device_floats(3 * 32);
    TR_LAUNCH(fresh_shared, 3, 32, 32 * sizeof(float), nullptr, y);
    for (float value : fetch(y, 3 * 32))
        assert_true(std::isnan(value));
    OK(cudaFree(y));
}

static void expect_abort(void (*kernel)(float *))
{
    pid_t child = fork();
    if (child == 0) {
        float *y = nullptr;
        if (!freopen("/dev/null", "w", stderr) || cudaMalloc(&y, 128) != cudaSuccess)
            _exit(1);
        signal(SIGABRT, SIG_DFL);
        TR_LAUNCH(kernel, 1, 32, 0, nullptr, y);
        _exit(cudaDeviceSynchronize());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_barrier_for_some_aborts(void **) { expect_abort(some_reach); }
static void test_warp_function_for_some_aborts(void **) { expect_abort(some_lanes); }

static void test_warp_functions(void **)
{
    for (const char *order : {"forward", "reverse"}) {
        with("ORDER", order);
        float *y = device_floats(64);
        TR_LAUNCH(ask_warp, 1, 64, 0, nullptr, y);
        std::vector<float> got = fetch(y, 64);
        for (size_t i = 0; i < 64; i++)
            assert_true(got[i] == (float)(i / 32 * 1032 + (i + 3) % 32));
        OK(cudaFree(y));
    }
}

/* What is not waited for has not come: shared memory is NaN still. */
static void test_asynchronous_copies(void **)
{
    std::vector<float> x(8 * 32);
    for (size_t i = 0; i < x.size(); i++)
        x[i] = (float)i;
    for (int except = 0; except < 3; except++) {
        float *from = send(x), *to = device_floats(x.size());
        TR_LAUNCH(copy_async, 1, 32, x.size() * sizeof(float), nullptr, from, to, except);
        OK(cudaGetLastError());
        std::vector<float> got = fetch(to, x.size());
        for (size_t i = 0; i < x.size(); i++) {
            bool there = except == 0 || (except == 1 && i % 8 < 4);
            float wanted = i % 8 < 6 ? x[i] : 0.0F;
            assert_true(there ? got[i] == wanted : std::isnan(got[i]));
        }
        OK(cudaFree(from));
        OK(cudaFree(to));
    }
}

static void test_order(void **)
{
    unsigned long long *counter = nullptr, *seen = nullptr, host[24];
    for (int reverse = 0; reverse < 2; reverse++) {
        with("ORDER", reverse ? "reverse" : "forward");
        OK(cudaMalloc(&counter, sizeof *counter));
        OK(cudaMalloc(&seen, sizeof host));
        OK(cudaMemset(counter, 0, sizeof *counter));
        TR_LAUNCH(count, dim3(1, 3, 2), 4, 0, nullptr, counter, seen);
        OK(cudaMemcpy(host, seen, sizeof host, cudaMemcpyDeviceToHost));
        for (unsigned i = 0; i < 24; i++)
            assert_int_equal(host[i], reverse ? 23 - i : i);
        OK(cudaFree(counter));
        OK(cudaFree(seen));
    }
}

static void test_bad_launches(void **)
{
    float *y = device_floats(1);
    size_t most = 49152;
    auto *kernel = add;
    FAILS(cudaErrorInvalidResourceHandle,
          cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(y)));
    FAILS(cudaErrorInvalidResourceHandle, cudaGetLastError());
    TR_LAUNCH(add, 1, 1025, 0, nullptr, y, 1, 1.0F);
    FAILS(cudaErrorInvalidConfiguration, cudaPeekAtLastError());
    FAILS(cudaErrorInvalidConfiguration, cudaGetLastError());
    OK(cudaGetLastError());
    TR_LAUNCH(add, 0, 32, 0, nullptr, y, 1, 1.0F);
    FAILS(cudaErrorInvalidConfiguration, cudaGetLastError());
    TR_LAUNCH(add, dim3(1, 65536), 32, 0, nullptr, y, 1, 1.0F);
    FAILS(cudaErrorInvalidConfiguration, cudaGetLastError());
    TR_LAUNCH(kernel, 1, 32, most + 1, nullptr, y, 1, 1.0F);
    FAILS(cudaErrorInvalidConfiguration, cudaGetLastError());
    OK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                            (int)most + 1));
    TR_LAUNCH(kernel, 1, 32, most + 1, nullptr, y, 1, 1.0F);
    OK(cudaGetLastError());
    OK(cudaFree(y));
}

/* ---- Streams ---- */

static void test_streams_are_lazy(void **)
{
    float *pinned = nullptr, pageable[2] = {0, 0}, value = 1.0F;
    float *y = send({1.0F, 2.0F});
    cudaStream_t stream = new_stream();
    OK(cudaMallocHost(&pinned, sizeof pageable));
    pinned[0] = pinned[1] = 0;
    TR_LAUNCH(add, 1, 2, 0, stream, y, 2, value);
    value = 100.0F; /* the launch has its own copy */
    OK(cudaMemcpyAsync(pinned, y, sizeof pageable, cudaMemcpyDeviceToHost, stream));
    assert_true(pinned[0] == 0.0F);
    OK(cudaStreamSynchronize(stream));
    assert_true(pinned[0] == 2.0F && pinned[1] == 3.0F);

    TR_LAUNCH(add, 1, 2, 0, stream, y, 2, 1.0F);
    assert_true(fetch(y, 2)[0] == 2.0F); /* the default stream does not wait for it */
    OK(cudaMemcpyAsync(pageable, y, sizeof pageable, cudaMemcpyDeviceToHost, stream));
    assert_true(pageable[0] == 3.0F); /* staged */
    TR_LAUNCH(add, 1, 2, 0, stream, y, 2, 1.0F);
    OK(cudaDeviceSynchronize());
    assert_true(fetch(y, 2)[0] == 4.0F);

    setenv("CUDAEMU_LAZY", "0", 1);
    cudaemu::restart();
    TR_LAUNCH(add, 1, 2, 0, stream, y, 2, 1.0F);
    OK(cudaMemcpyAsync(pinned, y, sizeof pageable, cudaMemcpyDeviceToHost, stream));
    assert_true(pinned[0] == 5.0F);
    OK(cudaStreamDestroy(stream));
    OK(cudaFreeHost(pinned));
    OK(cudaFree(y));
}

static void test_events_order_streams(void **)
{
    float *y = send({1.0F}), *pinned = nullptr, elapsed = -1.0F;
    cudaStream_t a = new_stream(), b = new_stream();
    cudaEvent_t start = nullptr, end = nullptr;
    OK(cudaMallocHost(&pinned, sizeof(float)));
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&end));
    OK(cudaEventRecord(start, a));
    TR_LAUNCH(add, 1, 1, 0, a, y, 1, 1.0F);
    OK(cudaEventRecord(end, a));
    TR_LAUNCH(add, 1, 1, 0, a, y, 1, 10.0F);
    FAILS(cudaErrorNotReady, cudaEventElapsedTime(&elapsed, start, end));

    OK(cudaMemcpyAsync(pinned, y, sizeof(float), cudaMemcpyDeviceToHost, b));
    OK(cudaStreamSynchronize(b));
    assert_true(*pinned == 1.0F); /* nobody waited for a */
    OK(cudaStreamWaitEvent(b, end));
    OK(cudaMemcpyAsync(pinned, y, sizeof(float), cudaMemcpyDeviceToHost, b));
    OK(cudaStreamSynchronize(b));
    assert_true(*pinned == 2.0F); /* up to the event, not beyond */
    OK(cudaEventElapsedTime(&elapsed, start, end));
    assert_true(elapsed >= 0.0F && elapsed < 1000.0F);

    OK(cudaEventRecord(end, a));
    FAILS(cudaErrorNotReady, cudaEventQuery(end));
    OK(cudaEventQuery(end));
    OK(cudaGetLastError());
    OK(cudaEventSynchronize(end));
    assert_true(fetch(y, 1)[0] == 12.0F);
    OK(cudaEventDestroy(start));
    OK(cudaEventDestroy(end));
    OK(cudaStreamDestroy(a));
    OK(cudaStreamDestroy(b));
    OK(cudaFreeHost(pinned));
    OK(cudaFree(y));
}

static void test_default_stream(void **)
{
    float *y = send({1.0F, 1.0F});
    cudaStream_t blocking = new_stream(cudaStreamDefault), apart = new_stream();
    TR_LAUNCH(add, 1, 1, 0, blocking, y, 1, 1.0F);
    TR_LAUNCH(add, 1, 1, 0, apart, y + 1, 1, 1.0F);
    std::vector<float> got = fetch(y, 2);
    assert_true(got[0] == 2.0F && got[1] == 1.0F);
    OK(cudaMemset(y, 0, sizeof(float))); /* queued; the blocking stream waits for it */
    TR_LAUNCH(add, 1, 1, 0, blocking, y, 1, 5.0F);
    TR_LAUNCH(add, 1, 1, 0, nullptr, y, 1, 1.0F);
    OK(cudaStreamSynchronize(blocking));
    OK(cudaMemcpyAsync(y + 1, y, sizeof(float), cudaMemcpyDeviceToDevice, apart));
    OK(cudaStreamSynchronize(apart));
    got = fetch(y, 2);
    assert_true(got[0] == 6.0F && got[1] == 5.0F);
    OK(cudaStreamDestroy(blocking));
    TR_LAUNCH(add, 1, 2, 0, apart, y, 2, 1.0F);
    OK(cudaStreamDestroy(apart));
    assert_true(fetch(y, 1)[0] == 7.0F);
    OK(cudaFree(y));
}

static void test_free_runs_what_is_queued(void **)
{
    float *y = send({1.0F}), *z = send({0.0F});
    cudaStream_t stream = new_stream();
    TR_LAUNCH(add, 1, 1, 0, stream, y, 1, 1.0F);
    OK(cudaMemcpyAsync(z, y, sizeof(float), cudaMemcpyDeviceToDevice, stream));
    OK(cudaFree(y));
    assert_true(fetch(z, 1)[0] == 2.0F);
    OK(cudaFree(z));
    OK(cudaStreamDestroy(stream));
}

static void work_alone(bool *right)
{
    float *y = nullptr, *pinned = nullptr;
    cudaStream_t stream = nullptr;
    bool ok = cudaMalloc(&y, 256 * sizeof(float)) == cudaSuccess &&
              cudaMallocHost(&pinned, 256 * sizeof(float)) == cudaSuccess &&
              cudaStreamCreateWithFlags(&stream, 1) == cudaSuccess &&
              cudaMemsetAsync(y, 0, 256 * sizeof(float), stream) == cudaSuccess;
    for (int i = 0; ok && i < 50; i++) {
        TR_LAUNCH(add, 4, 64, 0, stream, y, 256, 1.0F);
        ok = cudaMemcpyAsync(pinned, y, 256 * sizeof(float), cudaMemcpyDeviceToHost,
                             stream) == cudaSuccess &&
             cudaStreamSynchronize(stream) == cudaSuccess && pinned[77] == (float)i + 1;
    }
    *right = ok && cudaStreamDestroy(stream) == cudaSuccess &&
             cudaFree(y) == cudaSuccess && cudaFreeHost(pinned) == cudaSuccess;
}

static void test_host_threads(void **)
{
    bool right[3] = {false, false, false};
    std::vector<std::thread> threads;
    for (bool &r : right)
        threads.emplace_back(work_alone, &r);
    for (std::thread &t : threads)
        t.join();
    assert_true(right[0] && right[1] && right[2]);
}

int main()
{
#define TEST(name) cmocka_unit_test_teardown(name, clean)
    const struct CMUnitTest tests[] = {
        TEST(test_barriers),
        TEST(test_missing_barrier_shows),
        TEST(test_shared_memory_is_nan_in_each_block),
        TEST(test_barrier_for_some_aborts),
        TEST(test_warp_functions),
        TEST(test_warp_function_for_some_aborts),
        TEST(test_asynchronous_copies),
        TEST(test_order),
        TEST(test_bad_launches),
        TEST(test_streams_are_lazy),
        TEST(test_events_order_streams),
        TEST(test_default_stream),
        TEST(test_free_runs_what_is_queued),
        TEST(test_host_threads),
    };
#undef TEST
    return cmocka_run_group_tests_name("cudaemu", tests, nullptr, nullptr);
}
