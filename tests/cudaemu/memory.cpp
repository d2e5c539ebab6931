/* Device, managed and pinned memory: all of it comes from the heap, so that
 * AddressSanitizer knows its bounds; and the copies between them. */
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cudaemu.h"

namespace
{
const size_t SHARED_BLOCK = (size_t)2 << 20; /* of which shared memory is made */
/* From here on, with CUDAEMU_SPARSE. */
const size_t large = (size_t)1 << 30;

struct allocation {
    cudaemu::memory_kind kind;
    size_t bytes;
    int device;
    int file;     /* of memory that other processes may open; -1: none */
    bool foreign; /* it is another process's */
    size_t prefetched = 0;
};

/* By the complement of the address: so the leak sanitizer, which looks for pointers, does
 * not find any here, and reports what the tested program has forgotten. */
std::map<uintptr_t, allocation> &allocations = *new std::map<uintptr_t, allocation>();
std::map<int, size_t> &used = *new std::map<int, size_t>(); /* bytes, by device */
/* device_access alive, by device; -1: of all */
std::map<int, unsigned> &opened = *new std::map<int, unsigned>();

uintptr_t key(const void *memory) { return ~reinterpret_cast<uintptr_t>(memory); }
void *address(uintptr_t k) { return reinterpret_cast<void *>(~k); }

std::map<uintptr_t, allocation>::iterator containing(const void *memory)
{
    auto a = allocations.lower_bound(key(memory));
    if (a == allocations.end() || a->first - key(memory) >= a->second.bytes)
        return allocations.end();
    return a;
}

bool is_open(int device) { return opened[-1] > 0 || opened[device] > 0; }

void poison(uintptr_t k, const allocation &a, bool closed)
{
    if (closed)
        ASAN_POISON_MEMORY_REGION(address(k), a.bytes);
    else
        ASAN_UNPOISON_MEMORY_REGION(address(k), a.bytes);
}

/* Pages of the heap's again, as it expects them. */
void map_own(void *memory, const allocation &a)
{
    if (mmap(memory, a.bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        cudaemu::fatal("memory cannot be mapped");
    close(a.file);
}

/* Of the devices that nothing else holds open. */
void poison_all(int device, bool closed)
{
    if (!CUDAEMU_ASAN)
        return;
    for (auto &a : allocations) {
        if (a.second.kind == cudaemu::DEVICE &&
            (device == -1 || device == a.second.device) && !is_open(a.second.device))
            poison(a.first, a.second, closed);
    }
}

bool is_sparse(size_t bytes) { return cudaemu::set().sparse && bytes >= large; }

/* Not in memory before it is written; then in pages of 4 KiB, not 2 MiB. */
void *map_sparse(size_t bytes)
{
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return nullptr;
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE);
    return memory;
}

void *get_memory(size_t bytes, size_t block)
{
    void *memory;
    if (is_sparse(bytes))
        return map_sparse(bytes);
    if (posix_memalign(&memory, block, bytes) != 0)
        return nullptr;
    memset(memory, cudaemu::set().sparse ? 0 : 0xff, bytes); /* else NaN */
    return memory;
}

void put_back(void *memory, size_t bytes)
{
    if (is_sparse(bytes))
        munmap(memory, bytes);
    else
        free(memory);
}

/* All of a sparse piece becomes 0 whatever the value, which for others fills memory. */
void fill(void *memory, int value, size_t bytes)
{
    if (is_sparse(bytes) && containing(memory)->second.bytes == bytes)
        (void)madvise(memory, bytes, MADV_DONTNEED);
    else
        memset(memory, value, bytes);
}
} // namespace

namespace cudaemu
{
device_access::device_access(int number) : device(number)
{
    poison_all(device, false);
    opened[device]++;
}

device_access::~device_access()
{
    opened[device]--;
    poison_all(device, true);
}

bool reserve(int device, size_t bytes)
{
    if (bytes > set().memory || used[device] > set().memory - bytes)
        return false;
    used[device] += bytes;
    return true;
}

void unreserve(int device, size_t bytes) { used[device] -= bytes; }

size_t allocated()
{
    size_t sum = 0;
    for (auto &a : allocations)
        sum += a.second.kind == DEVICE && !a.second.foreign ? a.second.bytes : 0;
    return sum;
}

size_t prefetched()
{
    size_t sum = 0;
    for (auto &a : allocations)
        sum += a.second.prefetched;
    return sum;
}

cudaError_t allocate(memory_kind kind, size_t bytes, void **memory)
{
    *memory = nullptr;
    int device = current_device();
    if (bytes == 0)
        return cudaSuccess;
    if (kind == DEVICE && !reserve(device, bytes))
        return cudaErrorMemoryAllocation;
    size_t block = kind == DEVICE && bytes % SHARED_BLOCK == 0 ? 4096 : 256;
    *memory = get_memory(bytes, block);
    if (!*memory) {
        if (kind == DEVICE)
            unreserve(device, bytes);
        return cudaErrorMemoryAllocation;
    }
    auto a = allocations.emplace(key(*memory), allocation{kind, bytes, device, -1, false})
                 .first;
    if (kind == DEVICE && !is_open(device))
        poison(a->first, a->second, true);
    return cudaSuccess;
}

bool release(memory_kind kind, void *memory)
{
    auto a = allocations.find(key(memory));
    bool device = kind == DEVICE || kind == MANAGED;
    if (a == allocations.end() ||
        (device ? a->second.kind == PINNED : a->second.kind != PINNED) ||
        a->second.foreign)
        return false;
    if (a->second.kind == DEVICE) {
        unreserve(a->second.device, a->second.bytes);
        poison(a->first, a->second, false);
    }
    if (a->second.file >= 0)
        map_own(memory, a->second);
    put_back(memory, a->second.bytes);
    allocations.erase(a);
    return true;
}

bool in_bounds(const void *memory, size_t bytes, memory_kind *kind)
{
    auto a = containing(memory);
    *kind = a == allocations.end() ? PAGEABLE : a->second.kind;
    return *kind == PAGEABLE ||
           bytes <= a->second.bytes - (size_t)(a->first - key(memory));
}
} // namespace cudaemu

using namespace cudaemu;

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    return call(__func__, [&] {
        *total = set().memory;
        *free_bytes = set().memory - used[current_device()];
        return cudaSuccess;
    });
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    return call(__func__, [&] { return allocate(DEVICE, bytes, memory); });
}

cudaError_t cudaMallocManaged(void **memory, size_t bytes, unsigned)
{
    return call(__func__, [&] {
        return bytes ? allocate(MANAGED, bytes, memory) : cudaErrorInvalidValue;
    });
}

cudaError_t cudaMallocHost(void **memory, size_t bytes, unsigned)
{
    return call(__func__, [&] { return allocate(PINNED, bytes, memory); });
}

static cudaError_t free_memory(const char *name, memory_kind kind, void *memory)
{
    return call(
        name,
        [&] {
            if (!memory)
                return cudaSuccess;
            flush_all(); /* what is queued may use it */
            return release(kind, memory) ? cudaSuccess : cudaErrorInvalidValue;
        },
        RELEASE);
}

cudaError_t cudaFree(void *memory) { return free_memory(__func__, DEVICE, memory); }
cudaError_t cudaFreeHost(void *memory) { return free_memory(__func__, PINNED, memory); }

/* ---- Memory of other processes ---- */

namespace
{
/* What a cudaIpcMemHandle_t has in it. */
struct ipc_handle {
    pid_t process;
    int file;
    size_t bytes;
};

/* The same memory at the same place, now in a file that others can map. */
bool map_shared(void *memory, allocation *a)
{
    device_access access(a->device);
    int file = memfd_create("cudaemu", MFD_CLOEXEC);
    if (file < 0)
        return false;
    if (pwrite(file, memory, a->bytes, 0) != (ssize_t)a->bytes ||
        mmap(memory, a->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) ==
            MAP_FAILED) {
        close(file);
        return false;
    }
    a->file = file;
    return true;
}
} // namespace

/* Only whole blocks: CUDA would share what else is in a block as well. */
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t *handle, void *memory)
{
    return call(__func__, [&] {
        auto a = allocations.find(key(memory));
        if (set().ipc == settings::HANDLE)
            return cudaErrorNotSupported;
        if (a == allocations.end() || a->second.kind != DEVICE || a->second.foreign ||
            a->second.bytes % SHARED_BLOCK != 0)
            return cudaErrorInvalidValue;
        if (a->second.file < 0 && !map_shared(memory, &a->second))
            return cudaErrorMemoryAllocation;
        const ipc_handle found = {getpid(), a->second.file, a->second.bytes};
        static_assert(sizeof found <= sizeof *handle, "a handle is too small");
        memset(handle, 0, sizeof *handle);
        memcpy(handle, &found, sizeof found);
        return cudaSuccess;
    });
}

cudaError_t cudaIpcOpenMemHandle(void **memory, cudaIpcMemHandle_t handle, unsigned flags)
{
    return call(__func__, [&] {
        ipc_handle wanted;
        memcpy(&wanted, &handle, sizeof wanted);
        if (flags != cudaIpcMemLazyEnablePeerAccess || wanted.process == getpid())
            return cudaErrorInvalidValue;
        std::string path = "/proc/" + std::to_string(wanted.process) + "/fd/" +
                           std::to_string(wanted.file);
        int file = set().ipc == settings::OPEN ? -1 : open(path.c_str(), O_RDWR);
        if (file < 0)
            return cudaErrorMapBufferObjectFailed;
        void *mapped =
            mmap(nullptr, wanted.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (mapped == MAP_FAILED)
            return cudaErrorMapBufferObjectFailed;
        allocation mine = {DEVICE, wanted.bytes, current_device(), -1, true};
        auto a = allocations.emplace(key(mapped), mine).first;
        poison(a->first, a->second, !is_open(mine.device));
        *memory = mapped;
        return cudaSuccess;
    });
}

cudaError_t cudaIpcCloseMemHandle(void *memory)
{
    return call(
        __func__,
        [&] {
            flush_all();
            auto a = allocations.find(key(memory));
            if (a == allocations.end() || !a->second.foreign)
                return cudaErrorInvalidValue;
            poison(a->first, a->second, false);
            munmap(memory, a->second.bytes);
            allocations.erase(a);
            return cudaSuccess;
        },
        RELEASE);
}

/* ---- Copies ---- */

static bool on_device(memory_kind kind) { return kind == DEVICE || kind == MANAGED; }

static bool agrees(memory_kind to, memory_kind from, cudaMemcpyKind kind)
{
    switch (kind) {
    case cudaMemcpyHostToHost:
        return to != DEVICE && from != DEVICE;
    case cudaMemcpyHostToDevice:
        return on_device(to) && from != DEVICE;
    case cudaMemcpyDeviceToHost:
        return to != DEVICE && on_device(from);
    case cudaMemcpyDeviceToDevice:
        return on_device(to) && on_device(from);
    case cudaMemcpyDefault:
        return true;
    }
    return false;
}

namespace
{
/* Rows of bytes in slices, one behind the other. */
struct side {
    char *data;
    size_t pitch, slice;
};
struct shape {
    size_t width, height, depth;
};
} // namespace

static size_t span(const side &s, const shape &n)
{
    return (n.depth - 1) * s.slice + (n.height - 1) * s.pitch + n.width;
}

/* `blocking`: the host waits; otherwise only where pageable memory has to be staged. */
static cudaError_t copy(side to, side from, shape n, cudaMemcpyKind kind,
                        cudaStream_t stream, bool blocking)
{
    memory_kind to_kind, from_kind;
    cudaStream_t found = find_stream(stream);
    if (!found)
        return cudaErrorInvalidResourceHandle;
    if (n.width == 0 || n.height == 0 || n.depth == 0)
        return cudaSuccess;
    if (n.height > 1 && (to.pitch < n.width || from.pitch < n.width))
        return cudaErrorInvalidPitchValue;
    if (!to.data || !from.data || !in_bounds(to.data, span(to, n), &to_kind) ||
        !in_bounds(from.data, span(from, n), &from_kind) ||
        !agrees(to_kind, from_kind, kind))
        return cudaErrorInvalidValue;
    bool now = to_kind == PAGEABLE || from_kind == PAGEABLE ||
               (blocking && !(on_device(to_kind) && on_device(from_kind)));
    enqueue(found, -1, now, [=] {
        for (size_t z = 0; z < n.depth; z++) {
            for (size_t y = 0; y < n.height; y++)
                memmove(to.data + z * to.slice + y * to.pitch,
                        from.data + z * from.slice + y * from.pitch, n.width);
        }
    });
    return cudaSuccess;
}

static side linear(const void *data, size_t pitch)
{
    return side{static_cast<char *>(const_cast<void *>(data)), pitch, 0};
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    return call(__func__, [&] {
        return copy(linear(to, 0), linear(from, 0), shape{bytes, 1, 1}, kind, nullptr,
                    true);
    });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return call(__func__, [&] {
        return copy(linear(to, 0), linear(from, 0), shape{bytes, 1, 1}, kind, stream,
                    false);
    });
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                         size_t width, size_t height, cudaMemcpyKind kind)
{
    return call(__func__, [&] {
        return copy(linear(to, to_pitch), linear(from, from_pitch),
                    shape{width, height, 1}, kind, nullptr, true);
    });
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream)
{
    return call(__func__, [&] {
        return copy(linear(to, to_pitch), linear(from, from_pitch),
                    shape{width, height, 1}, kind, stream, false);
    });
}

static cudaError_t set_bytes(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    memory_kind kind;
    cudaStream_t found = find_stream(stream);
    if (!found)
        return cudaErrorInvalidResourceHandle;
    if (bytes == 0)
        return cudaSuccess;
    if (!in_bounds(memory, bytes, &kind) || !on_device(kind))
        return cudaErrorInvalidValue;
    enqueue(found, -1, false, [=] { fill(memory, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *memory, int value, size_t bytes)
{
    return call(__func__, [&] { return set_bytes(memory, value, bytes, nullptr); });
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    return call(__func__, [&] { return set_bytes(memory, value, bytes, stream); });
}

/* Where managed memory lies makes no difference here: only the arguments are looked at.
 */
static cudaError_t placement(const void *memory, size_t bytes, cudaMemLocation location)
{
    memory_kind kind;
    if (bytes == 0 || !in_bounds(memory, bytes, &kind) || kind != MANAGED)
        return cudaErrorInvalidValue;
    if (!set().concurrent_managed)
        return cudaErrorInvalidDevice;
    if (location.type == cudaMemLocationTypeDevice)
        return location.id >= 0 && location.id < set().devices ? cudaSuccess
                                                               : cudaErrorInvalidDevice;
    return location.type == cudaMemLocationTypeHost ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaMemPrefetchAsync(const void *memory, size_t bytes,
                                 cudaMemLocation location, unsigned, cudaStream_t stream)
{
    return call(__func__, [&] {
        if (!find_stream(stream))
            return cudaErrorInvalidResourceHandle;
        cudaError_t error = placement(memory, bytes, location);
        if (error == cudaSuccess && location.type == cudaMemLocationTypeDevice)
            containing(memory)->second.prefetched = bytes;
        return error;
    });
}

cudaError_t cudaMemAdvise(const void *memory, size_t bytes, cudaMemoryAdvise,
                          cudaMemLocation location)
{
    return call(__func__, [&] { return placement(memory, bytes, location); });
}
