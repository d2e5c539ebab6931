/* What the files of the emulation share. Everything happens under one lock. */
#ifndef CUDAEMU_H
#define CUDAEMU_H

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#define CUDAEMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDAEMU_ASAN 1
#endif
#endif
#ifndef CUDAEMU_ASAN
#define CUDAEMU_ASAN 0
#endif

namespace cudaemu
{
/* ---- device.cpp: settings, errors, the frame of every call ---- */

struct settings {
    int devices;
    int first;              /* number of the first one among those of the machine */
    int capability, driver; /* 90 for 9.0, 13000 for a driver for CUDA 13.0 */
    int ptx;                /* what the kernels are compiled for, 90 for 9.0 */
    size_t memory;          /* of each device */
    bool lazy, reverse, spin;
    bool sparse;   /* memory is 0, and large pieces of it take up what is written only */
    size_t blocks; /* so many of a launch with far more run, 0: all */
    bool concurrent_managed;
    /* What of getting at another process's memory fails, first. */
    enum { NOTHING, HANDLE, ACCESS, OPEN } ipc;
};
const settings &set();

/* Run the body of a runtime function: locks, fails it where CUDAEMU_FAIL says so or the
 * device is lost, and keeps its error for cudaGetLastError. */
enum call_kind { CALL, RELEASE /* also on a lost device */ };
cudaError_t call(const char *name, const std::function<cudaError_t()> &body,
                 call_kind kind = CALL);

/* Does CUDAEMU_FAIL hit this call of the name? */
bool injected(const char *name);
void lose_device();
bool device_lost();
int current_device();

/* A wait of the host: may it spin? */
void check_wait();

/* An error in the tested program that no status could express. */
[[noreturn]] void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- memory.cpp ---- */

enum memory_kind { PAGEABLE, PINNED, MANAGED, DEVICE };

/* Device memory can be touched while one of these lives: that of one device, or of all
 * (-1). */
struct device_access {
    explicit device_access(int number);
    ~device_access();
    device_access(const device_access &) = delete;
    device_access &operator=(const device_access &) = delete;

  private:
    int device;
};

cudaError_t allocate(memory_kind kind, size_t bytes, void **memory);
bool release(memory_kind kind, void *memory);
/* Is [memory, memory + bytes) within one allocation, or none of ours? */
bool in_bounds(const void *memory, size_t bytes, memory_kind *kind);
/* Take so much of the current device's memory without allocating; false: too much. */
bool reserve(int device, size_t bytes);
void unreserve(int device, size_t bytes);

/* ---- stream.cpp ---- */

/* One cudaEventRecord: where it is in the queues, and whether it has happened. */
struct record {
    bool done;
    cudaStream_t stream;
    uint64_t ticket;
    int64_t nanoseconds;
};

struct operation {
    uint64_t ticket;
    int device; /* whose memory it touches, -1: of all */
    std::function<void()> run;
    std::shared_ptr<record> marks;
};

/* The stream itself, or the current device's for 0; nullptr where there is none such. */
cudaStream_t find_stream(cudaStream_t stream);
int stream_device(cudaStream_t stream);
/* Queue it; run it and all before it if `now`. */
void enqueue(cudaStream_t stream, int device, bool now, std::function<void()> run);
void flush_all();
void drop_all();

/* ---- launch.cpp ---- */

/* What runs at the moment, for the race detector of race/. A barrier ends an interval. */
struct moment {
    const char *kernel; /* nullptr: none */
    uint32_t launch, block, interval;
    const char *shared;
    size_t shared_bytes;
    const char *stack; /* of the thread */
    size_t stack_bytes;
};
extern moment present;
/* __syncwarp that the present thread has passed in this block. */
unsigned warp_barriers();
/* Told of what asynchronous copies touch, when they begin and when they are there. */
extern void (*watch)(const void *memory, size_t bytes, bool write);

/* `n` threads, one after another where they meet no barrier. */
void run_grid(const char *name, dim3 grid, dim3 block, size_t shared,
              const std::function<void()> &thread);

/* Inside a kernel: show `bytes` to the other lanes of the warp; what all of them show, to
 * be read before the next but one such call; this lane's number. */
typedef char slot[64];
unsigned show_warp(const void *mine, size_t bytes, const slot **all);

} // namespace cudaemu

#endif
