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
void (*cudaemu::watch)(const void *memory, size_t bytes, bool write);

namespace
{
const size_t stack_bytes = CUDAEMU_ASAN ? 256 << 10 : 128 << 10;

#if FAST_SWITCH
typedef void *context; /* the stack pointer, below the saved registers */
#else
typedef ucontext_t context;
#endif

enum wait_kind { RUNS, AT_BLOCK, AT_WARP };

struct fiber {
    context where;
    char *stack;
    size_t skipped;   /* at its top: else all stacks compete for the same cache lines */
    void *fake_stack; /* AddressSanitizer's */
    wait_kind waiting;
    uint3 thread;
    unsigned number; /* of that thread */
};

/* What a thread has that others do not see: copies under way, by groups; how many warp
 * functions it has called. */
struct private_state {
    std::vector<std::vector<std::function<void()>>> copies;
    unsigned exchanges;
    unsigned warp_barriers; /* that it has come to */
};

const unsigned warp_size = 32;

/* What the lanes of a warp show each other; two, as some have come to the next function
 * while others still read. */
struct warp_slots {
    alignas(16) cudaemu::slot bytes[2][warp_size];
    unsigned lanes, waiting; /* how many it has, and how many are at a warp function */
};

/* The one block that runs. */
struct running {
    const char *kernel;
    const std::function<void()> *body;
    unsigned threads, started, ended;
    unsigned thread; /* threadIdx as a number */
    void *shared;
    fiber *current;     /* nullptr: no kernel runs */
    bool starting;      /* threads; else the waiting ones are gone through: */
    size_t next, still; /* where they are read, and where those that wait on are put */
    bool scheduled;     /* the current one comes from the scheduler */
    context scheduler;
    const void *scheduler_stack;
    size_t scheduler_bytes;
    bool reverse;
};
running now;
std::vector<private_state> &states = *new std::vector<private_state>();
std::vector<warp_slots> &slots = *new std::vector<warp_slots>();
size_t fibers;
std::vector<fiber *> &idle = *new std::vector<fiber *>(); /* kept for ever */
std::vector<fiber *> &waiting = *new std::vector<fiber *>();
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

/* From the scheduler to a fiber, and back from that, or from one that followed it: that
 * one. */
UNCHECKED fiber *resume(fiber *f)
{
    now.current = f;
    now.scheduled = true;
    cudaemu::present.stack = f->stack;
#if CUDAEMU_ASAN
    void *fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, f->stack, stack_bytes);
#endif
    switch_context(&now.scheduler, &f->where);
#if CUDAEMU_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    fiber *last = now.current;
    now.current = nullptr;
    return last;
}

/* From a fiber to the scheduler, or to `other`; `last`: for ever. */
UNCHECKED void leave(fiber *f, fiber *other, bool last)
{
#if CUDAEMU_ASAN
    __sanitizer_start_switch_fiber(last ? nullptr : &f->fake_stack,
                                   other ? other->stack : now.scheduler_stack,
                                   other ? stack_bytes : now.scheduler_bytes);
#endif
    (void)last;
    if (other) {
        now.current = other;
        now.scheduled = false;
        cudaemu::present.stack = other->stack;
    }
    switch_context(&f->where, other ? &other->where : &now.scheduler);
#if CUDAEMU_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, nullptr, nullptr);
#endif
}

void run_threads()
{
    while (now.started < now.threads) {
        unsigned i = now.reverse ? now.threads - 1 - now.started : now.started;
        now.started++;
        now.thread = i;
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
    const void *stack;
    size_t bytes;
    __sanitizer_finish_switch_fiber(nullptr, &stack, &bytes);
    if (now.scheduled) {
        now.scheduler_stack = stack;
        now.scheduler_bytes = bytes;
    }
#endif
    run_threads();
    leave(now.current, nullptr, true);
    abort();
}

/* Those that wait for nothing any more: warps that are complete, or the whole block. */
bool free_warps()
{
    bool any = false;
    for (fiber *f : waiting) {
        const warp_slots &warp = slots[f->number / warp_size];
        if (f->waiting == AT_WARP && warp.waiting == warp.lanes) {
            f->waiting = RUNS;
            any = true;
        }
    }
    for (warp_slots &warp : slots)
        if (warp.waiting == warp.lanes)
            warp.waiting = 0;
    return any;
}

void free_block()
{
    for (fiber *f : waiting) {
        if (f->waiting == AT_WARP)
            cudaemu::fatal("kernel %s, block (%u, %u, %u): only some threads of a warp "
                           "have come to a warp function",
                           now.kernel, blockIdx.x, blockIdx.y, blockIdx.z);
        f->waiting = RUNS;
    }
    if (now.ended > 0)
        cudaemu::fatal("kernel %s, block (%u, %u, %u): %u threads have ended while "
                       "%zu wait in __syncthreads",
                       now.kernel, blockIdx.x, blockIdx.y, blockIdx.z, now.ended,
                       waiting.size());
}

void start_block()
{
    now.started = now.ended = 0;
    states.resize(now.threads);
    for (private_state &state : states) {
        state.copies.clear();
        state.exchanges = state.warp_barriers = 0;
    }
    slots.resize((now.threads + warp_size - 1) / warp_size);
    for (size_t w = 0; w < slots.size(); w++) {
        slots[w].lanes = std::min(warp_size, now.threads - (unsigned)w * warp_size);
        slots[w].waiting = 0;
    }
    cudaemu::present.interval = 0;
}

/* The next one to run: of threads that start, or of those that wait for nothing more. */
fiber *following()
{
    if (now.starting) {
        if (now.started == now.threads)
            return nullptr;
        if (idle.empty())
            idle.push_back(new_fiber());
        fiber *f = idle.back();
        idle.pop_back();
        f->waiting = RUNS;
        make_context(f, fiber_main);
        return f;
    }
    while (now.next < waiting.size()) {
        fiber *f = waiting[now.next++];
        if (f->waiting == RUNS) {
            threadIdx = f->thread;
            now.thread = f->number;
            return f;
        }
        waiting[now.still++] = f;
    }
    return nullptr;
}

/* All that run, each to where it waits or has no more threads to run. */
void run_all()
{
    while (fiber *f = following()) {
        f = resume(f);
        if (f->waiting == RUNS)
            idle.push_back(f);
    }
}

void run_block()
{
    start_block();
    now.starting = true;
    run_all();
    now.starting = false;
    while (!waiting.empty()) {
        if (!free_warps()) {
            free_block();
            cudaemu::present.interval++;
        }
        now.next = now.still = 0;
        run_all();
        waiting.resize(now.still);
    }
}

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

void wait_for(wait_kind others, const char *function)
{
    fiber *f = now.current;
    if (!f)
        cudaemu::fatal("%s outside a kernel", function);
    f->thread = threadIdx;
    f->number = now.thread;
    f->waiting = others;
    if (others == AT_WARP)
        slots[f->number / warp_size].waiting++;
    if (now.starting)
        waiting.push_back(f);
    else
        waiting[now.still++] = f;
    leave(f, following(), false);
}

private_state &state_here() { return states[now.thread]; }

} // namespace

void __syncthreads() { wait_for(AT_BLOCK, "__syncthreads"); }
void __syncwarp(unsigned)
{
    wait_for(AT_WARP, "__syncwarp");
    state_here().warp_barriers++;
}

unsigned __ballot_sync(unsigned, int mine)
{
    const cudaemu::slot *all;
    unsigned bits = 0;
    cudaemu::show_warp(&mine, sizeof mine, &all);
    for (unsigned lane = 0; lane < warp_size; lane++) {
        int theirs;
        memcpy(&theirs, all[lane], sizeof theirs);
        bits |= (unsigned)(theirs != 0) << lane;
    }
    return bits;
}

namespace cudaemu
{
unsigned warp_barriers() { return state_here().warp_barriers; }

unsigned show_warp(const void *mine, size_t bytes, const slot **all)
{
    const unsigned lane = now.thread % warp_size;
    slot *here = slots[now.thread / warp_size].bytes[state_here().exchanges++ % 2];
    if (bytes > sizeof(slot))
        fatal("a warp function that shows %zu bytes", bytes);
    memcpy(here[lane], mine, bytes);
    wait_for(AT_WARP, "a warp function");
    *all = here;
    return lane;
}

void shuffle(const void *mine, size_t bytes, int lane, void *result)
{
    const slot *all;
    show_warp(mine, bytes, &all);
    memcpy(result, all[(unsigned)lane % warp_size], bytes);
}

void copy_later(void *to, const void *from, size_t bytes, size_t zeros)
{
    if (reinterpret_cast<uintptr_t>(to) % bytes ||
        (bytes != 4 && bytes != 8 && bytes != 16))
        fatal("kernel %s: an asynchronous copy of %zu bytes to %p", now.kernel, bytes,
              to);
    auto &groups = state_here().copies;
    if (groups.empty())
        groups.emplace_back();
    if (watch) {
        watch(from, bytes - zeros, false);
        watch(to, bytes, true);
    }
    groups.back().push_back([=] {
        if (watch)
            watch(to, bytes, true);
        memcpy(to, from, bytes - zeros);
        memset(static_cast<char *>(to) + bytes - zeros, 0, zeros);
    });
}

void commit_copies()
{
    auto &groups = state_here().copies;
    if (groups.empty())
        groups.emplace_back();
    groups.emplace_back();
}

/* The last group is the one that is not committed. */
void wait_for_copies(size_t except)
{
    auto &groups = state_here().copies;
    while (groups.size() > except + 1) {
        for (const auto &copy : groups.front())
            copy();
        groups.erase(groups.begin());
    }
}
} // namespace cudaemu

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
