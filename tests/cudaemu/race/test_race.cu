/* The race detector itself: faults made on purpose, each beside a kernel without it. */
#include <csetjmp>
#include <cstdarg>
#include <cstring>

extern "C" {
#include <cmocka.h>
}

#include "kernels/cuda/launch.h"
#include "race.h"

namespace
{
enum { THREADS = 64, BLOCKS = 3, N = THREADS * BLOCKS };

/* Each thread reads what its neighbour has written. */
__global__ void exchange(bool barrier, float *out)
{
    TR_SHARED(float, memory);
    memory[threadIdx.x] = (float)threadIdx.x;
    if (barrier)
        __syncthreads();
    out[blockIdx.x * THREADS + threadIdx.x] = memory[(threadIdx.x + 1) % THREADS];
}

/* The last of the sums is read by all threads right after the first one's write, and only
 * that one does something with it: an optimiser might read it there alone. */
__global__ void sum_read_by_all(bool barrier, float *out)
{
    TR_SHARED(float, memory);
    memory[threadIdx.x] = 1.0f;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            memory[threadIdx.x] += memory[threadIdx.x + half];
    }
    if (barrier)
        __syncthreads();
    float sum = memory[0];
    if (threadIdx.x == 0)
        out[blockIdx.x] = sum;
}

/* Blocks that overlap by some values, each thread twice at its own place. */
__global__ void overlap(unsigned by, float *out)
{
    float *mine = out + blockIdx.x * (THREADS - by) + threadIdx.x;
    *mine = 1.0f;
    *mine = 2.0f;
}

/* As exchange, within each warp. */
__global__ void exchange_in_warps(bool barrier, float *out)
{
    TR_SHARED(float, memory);
    unsigned warp = threadIdx.x / 32 * 32;
    memory[threadIdx.x] = (float)threadIdx.x;
    if (barrier)
        __syncwarp();
    out[blockIdx.x * THREADS + threadIdx.x] = memory[warp + (threadIdx.x + 1) % 32];
}

__global__ void count(bool atomic, unsigned long long *n)
{
    if (atomic)
        atomicAdd(n, 1ull);
    else
        *n += 1;
}

/* Each thread has a byte, and the first one of the second block `words` words as well. */
__global__ void bytes_and_words(unsigned words, unsigned bytes_apart, unsigned *out)
{
    unsigned char *bytes = (unsigned char *)out;
    const unsigned own = blockIdx.x * THREADS + threadIdx.x;
    bytes[own * bytes_apart] = 1;
    for (unsigned k = 0; k < words && own == THREADS; k++)
        out[k] = 2;
}

float *values;
unsigned long long *number;

int allocate(void **)
{
    return cudaMalloc(&values, N * sizeof *values) != cudaSuccess ||
           cudaMalloc(&number, sizeof *number) != cudaSuccess;
}

int release(void **)
{
    return cudaFree(values) != cudaSuccess || cudaFree(number) != cudaSuccess;
}

/* Run what was launched: exactly these kinds of race, in this memory. */
void expect(const char *memory, const char *kinds)
{
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    const std::map<std::string, uint64_t> races = cudaemu::races();
    if (!kinds && !races.empty())
        fail_msg("no race, but: %s", races.begin()->first.c_str());
    for (auto &race : races)
        assert_non_null(strstr(race.first.c_str(), memory));
    std::string found;
    for (const char *kind : {"read after write", "write after read", "write after write"})
        for (auto &race : races)
            if (race.first.compare(0, strlen(kind), kind) == 0) {
                found += std::string(found.empty() ? "" : ", ") + kind;
                break;
            }
    if (kinds)
        assert_string_equal(found.c_str(), kinds);
    cudaemu::forget_races();
}

void test_barriers(void **)
{
    for (int barrier = 0; barrier < 2; barrier++) {
        TR_LAUNCH(exchange, BLOCKS, THREADS, THREADS * sizeof *values, nullptr,
                  barrier != 0, values);
        expect("shared memory, kernel exchange",
               barrier ? nullptr : "read after write, write after read");
        TR_LAUNCH(exchange_in_warps, BLOCKS, THREADS, THREADS * sizeof *values, nullptr,
                  barrier != 0, values);
        expect("shared memory, kernel exchange_in_warps",
               barrier ? nullptr : "read after write, write after read");
        TR_LAUNCH(sum_read_by_all, BLOCKS, THREADS, THREADS * sizeof *values, nullptr,
                  barrier != 0, values);
        expect("shared memory, kernel sum_read_by_all",
               barrier ? nullptr : "read after write");
    }
}

void test_blocks(void **)
{
    TR_LAUNCH(overlap, BLOCKS, THREADS, 0, nullptr, 0u, values);
    expect("", nullptr);
    TR_LAUNCH(overlap, BLOCKS, THREADS, 0, nullptr, 1u, values);
    expect("global memory, kernel overlap", "write after write");
    /* Launches of a stream are ordered. */
    TR_LAUNCH(overlap, BLOCKS, THREADS, 0, nullptr, 0u, values);
    TR_LAUNCH(overlap, BLOCKS, THREADS, 0, nullptr, 0u, values);
    expect("", nullptr);
}

/* Neighbouring bytes are different memory, and a word is all of its. */
void test_bytes(void **)
{
    unsigned *words = (unsigned *)values;
    TR_LAUNCH(bytes_and_words, BLOCKS, THREADS, 0, nullptr, 0u, 1u, words);
    expect("", nullptr);
    TR_LAUNCH(bytes_and_words, BLOCKS, THREADS, 0, nullptr, 0u, 0u, words);
    expect("global memory, kernel bytes_and_words", "write after write");
    TR_LAUNCH(bytes_and_words, BLOCKS, THREADS, 0, nullptr, 1u, 1u, words);
    expect("global memory, kernel bytes_and_words", "write after write");
}

void test_atomics(void **)
{
    TR_LAUNCH(count, BLOCKS, THREADS, 0, nullptr, true, number);
    expect("", nullptr);
    TR_LAUNCH(count, BLOCKS, THREADS, 0, nullptr, false, number);
    expect("global memory, kernel count",
           "read after write, write after read, write after write");
}
} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barriers), cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_atomics)};
    return cmocka_run_group_tests(tests, allocate, release);
}
