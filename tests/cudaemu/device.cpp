/* Devices, the settings from the environment, errors, and failures made to order. */
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "cudaemu.h"

namespace
{
struct emulator {
    std::recursive_mutex lock;
    bool have_settings = false;
    bool lost = false;
    cudaemu::settings settings = {};
    std::map<std::string, std::map<long, int>> fail_at; /* by which error, 0: the usual */
    std::map<std::string, long> fail_from;
    std::map<int, unsigned> flags; /* of devices */
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

/* "9.0" as 90. */
int capability(const char *text)
{
    int major = 9, minor = 0;
    if (text && *text && sscanf(text, "%d.%d", &major, &minor) != 2)
        cudaemu::fatal("CUDAEMU_CAPABILITY=%s: such as 9.0 is wanted", text);
    return 10 * major + minor;
}

/* NAME:K, NAME:K+ or NAME:K=ERROR, or several separated by commas. */
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
        size_t equal = one.find('=');
        if (one.back() == '+')
            emu().fail_from[one.substr(0, colon)] = k;
        else
            emu().fail_at[one.substr(0, colon)][k] =
                equal == std::string::npos ? 0 : atoi(one.c_str() + equal + 1);
    }
}

void read_ipc(const char *text)
{
    const char *const names[] = {"", "handle", "access", "open"};
    int found = -1;
    for (int i = 0; i < 4; i++)
        found = strcmp(text ? text : "", names[i]) == 0 ? i : found;
    if (found < 0)
        cudaemu::fatal("CUDAEMU_IPC=%s: handle, access or open is wanted", text);
    emu().settings.ipc = static_cast<decltype(emu().settings.ipc)>(found);
}

void read_settings()
{
    emulator &e = emu();
    const char *order = getenv("CUDAEMU_ORDER");
    e.have_settings = true;
    e.settings.devices = (int)number("CUDAEMU_DEVICES", 1);
    e.settings.first = (int)number("CUDAEMU_FIRST", 0);
    e.settings.driver = (int)number("CUDAEMU_DRIVER", CUDART_VERSION);
    e.settings.capability = capability(getenv("CUDAEMU_CAPABILITY"));
    const char *code = getenv("CUDAEMU_CODE");
    e.settings.ptx = code ? capability(code) : e.settings.capability;
    e.settings.spin = number("CUDAEMU_SPIN", 1) != 0;
    e.settings.memory = number("CUDAEMU_MEMORY", 8ull << 30);
    e.settings.lazy = number("CUDAEMU_LAZY", 1) != 0;
    e.settings.sparse = number("CUDAEMU_SPARSE", 0) != 0;
    e.settings.blocks = number("CUDAEMU_BLOCKS", 0);
    e.settings.concurrent_managed = number("CUDAEMU_CONCURRENT_MANAGED", 1) != 0;
    e.settings.reverse = order && strcmp(order, "reverse") == 0;
    if (order && *order && !e.settings.reverse && strcmp(order, "forward") != 0)
        cudaemu::fatal("CUDAEMU_ORDER=%s: forward or reverse is wanted", order);
    read_ipc(getenv("CUDAEMU_IPC"));
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
    TEXT(cudaErrorDevicesUnavailable,
         "CUDA-capable device(s) is/are busy or unavailable"),
    TEXT(cudaErrorInvalidDeviceFunction, "invalid device function"),
    TEXT(cudaErrorMapBufferObjectFailed, "mapping of buffer object failed"),
    TEXT(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    TEXT(cudaErrorInvalidDevice, "invalid device ordinal"),
    TEXT(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution"),
    TEXT(cudaErrorUnsupportedPtxVersion,
         "the provided PTX was compiled with an unsupported "
         "toolchain"),
    TEXT(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    TEXT(cudaErrorNotReady, "device not ready"),
    TEXT(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    TEXT(cudaErrorLaunchFailure, "unspecified launch failure"),
    TEXT(cudaErrorNotPermitted, "operation not permitted"),
    TEXT(cudaErrorNotSupported, "operation not supported"),
    TEXT(cudaErrorSystemNotReady, "system not yet initialized"),
    TEXT(cudaErrorSystemDriverMismatch, "system has unsupported display driver / cuda "
                                        "driver combination"),
    TEXT(cudaErrorCompatNotSupportedOnDevice, "forward compatibility was attempted on "
                                              "non supported HW"),
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
    if (cudaemu::set().driver < CUDART_VERSION)
        return cudaErrorInsufficientDriver;
    if (cudaemu::set().devices == 0)
        return cudaErrorNoDevice;
    if (!cudaemu::injected(name))
        return cudaSuccess;
    if (int error = emu().fail_at[name][emu().calls[name]])
        return (cudaError_t)error;
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
    long k = ++emu().calls[name];
    return (at != emu().fail_at.end() && at->second.count(k) > 0) ||
           (from != emu().fail_from.end() && k >= from->second);
}

void lose_device() { emu().lost = true; }
bool device_lost() { return emu().lost; }
int current_device() { return device_of_thread; }

long calls(const char *name)
{
    std::lock_guard<std::recursive_mutex> hold(emu().lock);
    auto found = emu().calls.find(name);
    return found == emu().calls.end() ? 0 : found->second;
}

void check_wait()
{
    if (!set().spin && emu().flags[device_of_thread] != cudaDeviceScheduleBlockingSync)
        fatal("a wait for device %d spins, and CUDAEMU_SPIN=0", device_of_thread);
}

void restart()
{
    std::lock_guard<std::recursive_mutex> hold(emu().lock);
    drop_all();
    emu().lost = false;
    emu().have_settings = false;
    emu().fail_at.clear();
    emu().fail_from.clear();
    emu().calls.clear();
    emu().flags.clear();
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

cudaError_t cudaSetDeviceFlags(unsigned flags)
{
    return call(__func__, [&] {
        if (flags & ~7u)
            return cudaErrorInvalidValue;
        emu().flags[device_of_thread] = flags;
        return cudaSuccess;
    });
}

cudaError_t cudaGetDeviceFlags(unsigned *flags)
{
    return call(__func__, [&] {
        *flags = emu().flags[device_of_thread];
        return cudaSuccess;
    });
}

cudaError_t cudaemu::get_function_attributes(cudaFuncAttributes *attributes)
{
    return call("cudaFuncGetAttributes", [&] {
        attributes->numRegs = 32;
        attributes->ptxVersion = set().ptx;
        return set().capability < 75 ? cudaErrorNoKernelImageForDevice : cudaSuccess;
    });
}

static void describe(cudaDeviceProp *p, int device)
{
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Emulated device");
    snprintf(p->uuid.bytes, sizeof p->uuid.bytes, "device %d", set().first + device);
    p->totalGlobalMem = set().memory;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = 232448;
    p->sharedMemPerMultiprocessor = 233472;
    p->major = set().capability / 10;
    p->minor = set().capability % 10;
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
    p->managedMemory = p->unifiedAddressing = 1;
    p->concurrentManagedAccess = set().concurrent_managed;
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

cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *id)
{
    return call(__func__, [&] {
        unsigned domain, bus, number;
        if (sscanf(id, "%x:%x:%x", &domain, &bus, &number) != 3 || !is_device((int)bus) ||
            domain || number)
            return cudaErrorInvalidValue;
        *device = (int)bus;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    return call(__func__, [&] {
        if (!is_device(device) || !is_device(peer))
            return cudaErrorInvalidDevice;
        *can = device != peer && set().ipc != settings::ACCESS;
        return cudaSuccess;
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
    std::lock_guard<std::recursive_mutex> hold(emu().lock);
    *version = set().driver;
    return cudaSuccess;
}
