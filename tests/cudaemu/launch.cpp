/* Kernel launches: the threads of a block are fibers where they wait for each other. */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cudaemu.h"

#if defined(__x86_64__) && !defined(CUDAEMU_UCONTEXT)
#define FAST_SWITCH 1
#else
#define FAST_SWITCH 0
#include <ucontext.h>
#endif

/* A fiber's first and last switches happen in frames that are never left: there must be
 * nothing in them that AddressSanitizer would mark on the stack. */
#define UNCHECKED __attribute__((no_sanitize("address", "undefined"), noinline))

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
cudaemu::moment cudaemu::present;

namespace
{
const size_t stack_bytes = CUDAEMU_ASAN ? 256 << 10 : 128 << 10;

#if FAST_SWITCH
typedef void *context; /* the stack pointer, below the saved registers */
#else
typedef ucontext_t context;
#endif

struct fiber {
    context where;
    char *stack;
    size_t skipped;   /* at its top: else all stacks compete for the same cache lines */
    void *fake_stack; /* AddressSanitizer's */
    bool waiting;
    uint3 thread;
};

/* The one block that runs. */
struct running {
    const char *kernel;
    const std::function<void()> *body;
    unsigned threads, started, ended;
    void *shared;
    fiber *current; /* nullptr: no kernel runs */
    context scheduler;
    const void *scheduler_stack;
    size_t scheduler_bytes;
    bool reverse;
};
running now;
size_t fibers;
std::vector<fiber *> &idle = *new std::vector<fiber *>(); /* kept for ever */
} // namespace

#if FAST_SWITCH
/* Save what a call must preserve on this stack, go on with what the other one saved. */
extern "C" void cudaemu_switch(void **save, void *load);
asm(".text\n"
    ".globl cudaemu_switch\n"
    ".type cudaemu_switch, @function\n"
    "cudaemu_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size cudaemu_switch, . - cudaemu_switch\n");

namespace
{
inline void switch_context(context *from, context *to) { cudaemu_switch(from, *to); }

UNCHECKED void make_context(fiber *f, void (*entry)())
{
    void **top = reinterpret_cast<void **>(f->stack + stack_bytes - f->skipped);
    *--top = nullptr; /* the end of a stack trace */
    *--top = reinterpret_cast<void *>(entry);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->where = top;
}
} // namespace
#else
namespace
{
inline void switch_context(context *from, context *to) { swapcontext(from, to); }

void make_context(fiber *f, void (*entry)())
{
    getcontext(&f->where);
    f->where.uc_stack.ss_sp = f->stack;
    f->where.uc_stack.ss_size = stack_bytes;
    f->where.uc_link = nullptr;
    makecontext(&f->where, entry, 0);
}
} // namespace
#endif

namespace
{
fiber *new_fiber()
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(nullptr, guard + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) != 0)
        cudaemu::fatal("no memory for the stacks of a block's threads");
    fiber *f = new fiber();
    f->stack = static_cast<char *>(memory) + guard;
    f->skipped = fibers++ % 64 * 192;
    return f;
}

/* From the scheduler to a fiber, until it waits or has no more threads to run. */
UNCHECKED void resume(fiber *f)
{
    now.current = f;
    cudaemu::present.stack = f->stack;
#if CUDAEMU_ASAN
    void *fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, f->stack, stack_bytes);
#endif
    switch_context(&now.scheduler, &f->where);
#if CUDAEMU_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    now.current = nullptr;
}

/* From a fiber to the scheduler; `last`: for ever. */
UNCHECKED void leave(fiber *f, bool last)
{
#if CUDAEMU_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &f->fake_stack, now.scheduler_stack,
                                   now.scheduler_bytes);
#endif
    (void)last;
    switch_context(&f->where, &now.scheduler);
#if CUDAEMU_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, nullptr, nullptr);
#endif
}

void run_threads()
{
    while (now.started < now.threads) {
        unsigned i = now.reverse ? now.threads - 1 - now.started : now.started;
        now.started++;
        threadIdx.x = i % blockDim.x;
        threadIdx.y = i / blockDim.x % blockDim.y;
        threadIdx.z = i / blockDim.x / blockDim.y;
        (*now.body)();
        now.ended++;
    }
}

UNCHECKED void fiber_main()
{
#if CUDAEMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &now.scheduler_stack, &now.scheduler_bytes);
#endif
    run_threads();
    leave(now.current, true);
    abort();
}

void run_block()
{
    std::vector<fiber *> waiting, before;
    now.started = now.ended = 0;
    cudaemu::present.interval = 0;
    while (now.started < now.threads) {
        if (idle.empty())
            idle.push_back(new_fiber());
        fiber *f = idle.back();
        idle.pop_back();
        f->waiting = false;
        make_context(f, fiber_main);
        resume(f);
        (f->waiting ? waiting : idle).push_back(f);
    }
    while (!waiting.empty()) {
        if (now.ended > 0)
            cudaemu::fatal("kernel %s, block (%u, %u, %u): %u threads have ended while "
                           "%zu wait in __syncthreads",
                           now.kernel, blockIdx.x, blockIdx.y, blockIdx.z, now.ended,
                           waiting.size());
        before.swap(waiting);
        waiting.clear();
        cudaemu::present.interval++;
        for (fiber *f : before) {
            f->waiting = false;
            threadIdx = f->thread;
            resume(f);
            (f->waiting ? waiting : idle).push_back(f);
        }
    }
}
} // namespace

namespace
{
/* Of a launch with far more blocks than CUDAEMU_BLOCKS so many: the first and the last
 * ones and, between, the same for every launch with as many blocks. */
std::vector<size_t> choose_blocks(size_t blocks)
{
    size_t most = cudaemu::set().blocks;
    std::vector<size_t> chosen;
    if (most == 0 || blocks <= 16 * most) {
        for (size_t b = 0; b < blocks; b++)
            chosen.push_back(b);
        return chosen;
    }
    uint64_t random = blocks;
    for (size_t i = 0; i < most; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t part = (blocks - 2) / most;
        chosen.push_back(i == 0          ? 0
                         : i == most - 1 ? blocks - 1
                                         : 1 + i * part + (size_t)(random >> 33) % part);
    }
    return chosen;
}
} // namespace

void __syncthreads()
{
    fiber *f = now.current;
    if (!f)
        cudaemu::fatal("__syncthreads outside a kernel");
    f->thread = threadIdx;
    f->waiting = true;
    leave(f, false);
}

namespace cudaemu
{
void *shared_memory()
{
    if (!now.current)
        fatal("shared memory outside a kernel");
    return now.shared;
}

void run_grid(const char *name, dim3 grid, dim3 block, size_t shared,
              const std::function<void()> &thread)
{
    std::vector<size_t> blocks = choose_blocks((size_t)grid.x * grid.y * grid.z);
    now.kernel = name;
    now.body = &thread;
    now.threads = block.x * block.y * block.z;
    now.reverse = set().reverse;
    now.shared = malloc(shared);
    if (shared && !now.shared)
        fatal("no memory for the shared memory of kernel %s", name);
    gridDim = grid;
    blockDim = block;
    present = moment{
        name,    present.launch + 1, 0, 0, static_cast<const char *>(now.shared), shared,
        nullptr, stack_bytes};
    if (now.reverse)
        std::reverse(blocks.begin(), blocks.end());
    for (size_t b : blocks) {
        blockIdx.x = (unsigned)(b % grid.x);
        blockIdx.y = (unsigned)(b / grid.x % grid.y);
        blockIdx.z = (unsigned)(b / grid.x / grid.y);
        present.block = (uint32_t)b;
        if (shared)
            memset(now.shared, 0xff, shared); /* NaN */
        run_block();
    }
    present.kernel = nullptr;
    free(now.shared);
    now.shared = nullptr;
}

/* Kernels that asked for more than 48 KB. */
static std::map<const void *, size_t> &shared_limits()
{
    static std::map<const void *, size_t> limits;
    return limits;
}

cudaError_t set_function_attribute(const void *kernel, cudaFuncAttribute attribute,
                                   int value)
{
    return call("cudaFuncSetAttribute", [&] {
        if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
            value > 232448)
            return cudaErrorInvalidValue;
        shared_limits()[kernel] = (size_t)value;
        return cudaSuccess;
    });
}

static bool valid_shape(dim3 grid, dim3 block, size_t shared, const void *kernel)
{
    auto limit = shared_limits().find(kernel);
    size_t most =
        limit == shared_limits().end() || limit->second < 49152 ? 49152 : limit->second;
    bool grid_fits = grid.x > 0 && grid.y > 0 && grid.z > 0 && grid.x <= 0x7fffffff &&
                     grid.y <= 65535 && grid.z <= 65535;
    bool block_fits = block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 &&
                      block.y <= 1024 && block.z <= 64 &&
                      block.x * block.y * block.z <= 1024;
    return grid_fits && block_fits && shared <= most;
}

/* Its error, as that of <<< >>>, is left to cudaGetLastError. */
void launch_erased(const char *name, dim3 grid, dim3 block, size_t shared,
                   cudaStream_t stream, const void *kernel, std::function<void()> thread)
{
    call("launch", [&] {
        cudaStream_t found = find_stream(stream);
        if (!found || stream_device(found) != current_device())
            return cudaErrorInvalidResourceHandle;
        if (!valid_shape(grid, block, shared, kernel))
            return cudaErrorInvalidConfiguration;
        enqueue(found, current_device(), false, [=] {
            if (injected("kernel"))
                lose_device();
            else
                run_grid(name, grid, block, shared, thread);
        });
        return cudaSuccess;
    });
}
} // namespace cudaemu
