/* Devices, the settings from the environment, errors, and failures made to order. */
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "cudaemu.h"

namespace
{
struct emulator {
    std::recursive_mutex lock;
    bool have_settings = false;
    bool lost = false;
    cudaemu::settings settings = {1, 0, true, false};
    std::map<std::string, std::set<long>> fail_at;
    std::map<std::string, long> fail_from;
    std::map<std::string, long> calls;
};

emulator &emu()
{
    static emulator e;
    return e;
}

thread_local int device_of_thread = 0;
thread_local cudaError_t last_error = cudaSuccess;

unsigned long long number(const char *name, unsigned long long otherwise)
{
    const char *text = getenv(name);
    if (!text || !*text)
        return otherwise;
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end)
        cudaemu::fatal("%s=%s is not a number", name, text);
    return value;
}

/* NAME:K or NAME:K+, or several separated by commas. */
void read_failures(const char *text)
{
    std::string rest = text ? text : "";
    while (!rest.empty()) {
        size_t comma = rest.find(',');
        std::string one = rest.substr(0, comma);
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
        size_t colon = one.find(':');
        long k = colon == std::string::npos ? 0 : atol(one.c_str() + colon + 1);
        if (k < 1)
            cudaemu::fatal("CUDAEMU_FAIL=%s: NAME:K with K from 1 is wanted", text);
        if (one.back() == '+')
            emu().fail_from[one.substr(0, colon)] = k;
        else
            emu().fail_at[one.substr(0, colon)].insert(k);
    }
}

void read_settings()
{
    emulator &e = emu();
    const char *order = getenv("CUDAEMU_ORDER");
    e.have_settings = true;
    e.settings.devices = (int)number("CUDAEMU_DEVICES", 1);
    e.settings.memory = number("CUDAEMU_MEMORY", 8ull << 30);
    e.settings.lazy = number("CUDAEMU_LAZY", 1) != 0;
    e.settings.reverse = order && strcmp(order, "reverse") == 0;
    if (order && *order && !e.settings.reverse && strcmp(order, "forward") != 0)
        cudaemu::fatal("CUDAEMU_ORDER=%s: forward or reverse is wanted", order);
    read_failures(getenv("CUDAEMU_FAIL"));
}

struct error_text {
    cudaError_t error;
    const char *name, *text;
};
#define TEXT(error, text)                                                                \
    {                                                                                    \
        error, #error, text                                                              \
    }
const error_text error_texts[] = {
    TEXT(cudaSuccess, "no error"),
    TEXT(cudaErrorInvalidValue, "invalid argument"),
    TEXT(cudaErrorMemoryAllocation, "out of memory"),
    TEXT(cudaErrorInitializationError, "initialization error"),
    TEXT(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    TEXT(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    TEXT(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    TEXT(cudaErrorInsufficientDriver, "CUDA driver version is insufficient"),
    TEXT(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    TEXT(cudaErrorInvalidDevice, "invalid device ordinal"),
    TEXT(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    TEXT(cudaErrorNotReady, "device not ready"),
    TEXT(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    TEXT(cudaErrorLaunchFailure, "unspecified launch failure"),
    TEXT(cudaErrorNotSupported, "operation not supported"),
    TEXT(cudaErrorUnknown, "unknown error")};
#undef TEXT

const error_text &find_text(cudaError_t error)
{
    for (const error_text &t : error_texts) {
        if (t.error == error)
            return t;
    }
    return error_texts[sizeof error_texts / sizeof error_texts[0] - 1];
}

/* What a call returns before it has begun; cudaSuccess: go on. */
cudaError_t refuse(const char *name)
{
    if (emu().lost)
        return cudaErrorLaunchFailure;
    if (cudaemu::set().devices == 0)
        return cudaErrorNoDevice;
    if (!cudaemu::injected(name))
        return cudaSuccess;
    if (strncmp(name, "cudaMalloc", 10) == 0)
        return cudaErrorMemoryAllocation;
    cudaemu::lose_device();
    return cudaErrorLaunchFailure;
}
} // namespace

namespace cudaemu
{
const settings &set()
{
    if (!emu().have_settings)
        read_settings();
    return emu().settings;
}

cudaError_t call(const char *name, const std::function<cudaError_t()> &body,
                 call_kind kind)
{
    std::lock_guard<std::recursive_mutex> hold(emu().lock);
    cudaError_t error = refuse(name);
    if (error == cudaSuccess || kind == RELEASE) {
        cudaError_t done = body();
        error = error == cudaSuccess ? done : error;
    }
    if (emu().lost)
        error = cudaErrorLaunchFailure;
    if (error != cudaSuccess && error != cudaErrorNotReady)
        last_error = error;
    return error;
}

bool injected(const char *name)
{
    set();
    auto at = emu().fail_at.find(name);
    auto from = emu().fail_from.find(name);
    if (at == emu().fail_at.end() && from == emu().fail_from.end())
        return false;
    long k = ++emu().calls[name];
    return (at != emu().fail_at.end() && at->second.count(k) > 0) ||
           (from != emu().fail_from.end() && k >= from->second);
}

void lose_device() { emu().lost = true; }
bool device_lost() { return emu().lost; }
int current_device() { return device_of_thread; }

void restart()
{
    std::lock_guard<std::recursive_mutex> hold(emu().lock);
    drop_all();
    emu().lost = false;
    emu().have_settings = false;
    emu().fail_at.clear();
    emu().fail_from.clear();
    emu().calls.clear();
    last_error = cudaSuccess;
    device_of_thread = 0;
}

void fatal(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("cudaemu: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}
} // namespace cudaemu

using namespace cudaemu;

static bool is_device(int device) { return device >= 0 && device < set().devices; }

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 0;
    return call(__func__, [&] {
        *count = set().devices;
        return cudaSuccess;
    });
}

cudaError_t cudaSetDevice(int device)
{
    return call(__func__, [&] {
        if (!is_device(device))
            return cudaErrorInvalidDevice;
        device_of_thread = device;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDevice(int *device)
{
    return call(__func__, [&] {
        *device = device_of_thread;
        return cudaSuccess;
    });
}

static void describe(cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Emulated device");
    p->totalGlobalMem = set().memory;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = 232448;
    p->sharedMemPerMultiprocessor = 233472;
    p->major = 9;
    if (const char *capability = getenv("CUDAEMU_CAPABILITY"))
        sscanf(capability, "%d.%d", &p->major, &p->minor);
    p->multiProcessorCount = 4;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->regsPerBlock = 65536;
    p->l2CacheSize = 1 << 20;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    for (int i = 0; i < 3; i++) {
        p->maxTexture3D[i] = 16384;
        p->maxTexture2DLayered[i] = i < 2 ? 32768 : 2048;
    }
    p->managedMemory = p->concurrentManagedAccess = p->unifiedAddressing = 1;
    p->asyncEngineCount = 2;
    p->concurrentKernels = 1;
    p->pciBusID = device;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    return call(__func__, [&] {
        if (!is_device(device))
            return cudaErrorInvalidDevice;
        describe(properties, device);
        return cudaSuccess;
    });
}

static int attribute_value(const cudaDeviceProp &p, cudaDeviceAttr attribute)
{
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        return p.maxThreadsPerBlock;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        return (int)p.sharedMemPerBlock;
    case cudaDevAttrWarpSize:
        return p.warpSize;
    case cudaDevAttrClockRate:
        return 1000000;
    case cudaDevAttrMultiProcessorCount:
        return p.multiProcessorCount;
    case cudaDevAttrL2CacheSize:
        return p.l2CacheSize;
    case cudaDevAttrComputeCapabilityMajor:
        return p.major;
    case cudaDevAttrComputeCapabilityMinor:
        return p.minor;
    case cudaDevAttrManagedMemory:
        return p.managedMemory;
    case cudaDevAttrConcurrentManagedAccess:
        return p.concurrentManagedAccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        return (int)p.sharedMemPerBlockOptin;
    }
    return -1;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    return call(__func__, [&] {
        if (!is_device(device))
            return cudaErrorInvalidDevice;
        cudaDeviceProp properties;
        describe(&properties, device);
        *value = attribute_value(properties, attribute);
        return *value < 0 ? cudaErrorInvalidValue : cudaSuccess;
    });
}

cudaError_t cudaPeekAtLastError()
{
    std::lock_guard<std::recursive_mutex> hold(emu().lock);
    return emu().lost ? cudaErrorLaunchFailure : last_error;
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = cudaPeekAtLastError();
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error) { return find_text(error).text; }
const char *cudaGetErrorName(cudaError_t error) { return find_text(error).name; }

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}
