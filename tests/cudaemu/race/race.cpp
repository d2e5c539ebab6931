/* A detector of races between the threads of a launch. Kernels compiled with
 * -fsanitize=thread call the functions below before each access to memory; they remember
 * who touched each 4 bytes last, or each byte where some are touched alone, and in which
 * interval between barriers. Two accesses, one of them a write and not both atomic, race
 * if threads of two blocks make them, or two threads of one block in the same interval
 * (and, in a warp, with no __syncwarp between). Not linked with the compiler's own
 * detector. */
#include <cstdio>
#include <cstdlib>
#include <execinfo.h>
#include <tuple>
#include <unistd.h>
#include <unordered_map>
#include <vector>

#include "../cudaemu.h"
#include "race.h"

namespace
{
struct who {
    uint32_t block, interval, warp_interval;
    uint16_t thread;
    bool any, atomic;
};

/* Of two reads that are not ordered both are kept: a write by the thread of one of them
 * races with the other. */
struct cell {
    uint32_t launch; /* of what follows: older ones do not count */
    who write, reads[2];
};

enum { PAGE_BITS = 12, CELLS = (1 << PAGE_BITS) / 4 };
struct page {
    cell cells[CELLS];
    std::vector<cell> bytes; /* of all its cells, once bytes of one are touched alone */
};

/* Where in the code, what, in shared memory?, kernel. */
typedef std::tuple<void *, const char *, bool, std::string> race;

struct detector {
    std::unordered_map<uintptr_t, page> pages;
    uintptr_t last_number = 0; /* of the page that was used last */
    page *last = nullptr;
    uint64_t accesses = 0;
    std::map<race, uint64_t> found;
    std::map<std::string, unsigned> launches; /* by kernel */
    uint32_t launch = 0;
    bool watched = false; /* is the present launch? */

    ~detector();
};

detector &all()
{
    static detector d;
    return d;
}

detector::~detector()
{
    fprintf(stderr, "race detector: %llu accesses, %zu kinds of race\n",
            (unsigned long long)accesses, found.size());
    for (auto &f : cudaemu::races())
        fprintf(stderr, "RACE: %s: %llu times\n", f.first.c_str(),
                (unsigned long long)f.second);
    if (!found.empty())
        _exit(66);
}

page &page_of(detector &d, uintptr_t address)
{
    uintptr_t number = address >> PAGE_BITS;
    if (!d.last || d.last_number != number) {
        d.last = &d.pages[number];
        d.last_number = number;
    }
    return *d.last;
}

/* Another block's shared memory is other memory. */
bool ordered(const who &a, const who &b, bool shared)
{
    if (!a.any || (a.atomic && b.atomic))
        return true;
    if (a.block != b.block)
        return shared;
    bool warp = a.thread / 32 == b.thread / 32 && a.warp_interval != b.warp_interval;
    return a.thread == b.thread || a.interval != b.interval || warp;
}

void report(detector &d, const char *what, bool shared, void *place)
{
    d.found[race(place, what, shared, cudaemu::present.kernel)]++;
}

void touch_cell(detector &d, cell &c, const who &me, bool write, bool shared, void *place)
{
    if (!ordered(c.write, me, shared))
        report(d, write ? "write after write" : "read after write", shared, place);
    if (write) {
        if (!ordered(c.reads[0], me, shared) || !ordered(c.reads[1], me, shared))
            report(d, "write after read", shared, place);
        c.write = me;
    } else {
        c.reads[ordered(c.reads[0], me, shared) ? 0 : 1] = me;
    }
}

/* Bytes [first, end) of the 4 from `word` on: what is known of the 4 is known of each,
 * until one is touched alone. */
void touch_word(detector &d, uintptr_t word, uintptr_t first, uintptr_t end,
                const who &me, bool write, bool shared, void *place)
{
    const uint32_t launch = cudaemu::present.launch;
    page &p = page_of(d, word);
    const size_t at = word & ((1 << PAGE_BITS) - 1);
    const bool all = first <= word && end >= word + 4;
    cell &c = p.cells[at / 4];
    if (c.launch != launch)
        c = cell{launch, {}, {}};
    if (all)
        touch_cell(d, c, me, write, shared, place);
    else if (p.bytes.empty())
        p.bytes.resize(4 * CELLS);
    for (size_t k = 0; k < 4 && !p.bytes.empty(); k++) {
        cell &byte = p.bytes[at + k];
        bool alone = byte.launch == launch, hit = word + k >= first && word + k < end;
        if (!hit || (all && !alone))
            continue;
        if (!alone)
            byte = c;
        touch_cell(d, byte, me, write, shared, place);
    }
}

uint32_t left_out; /* the launch that is not watched, as quickly told as can be */

/* A kernel's first launches, and of the later ones, as tests repeat them, every so many.
 */
bool is_watched(detector &d)
{
    if (d.launch != cudaemu::present.launch) {
        const char *every = getenv("CUDAEMU_RACE_EVERY");
        unsigned n = d.launches[cudaemu::present.kernel]++;
        unsigned step = every ? (unsigned)atoi(every) : 1;
        d.launch = cudaemu::present.launch;
        d.watched = step < 2 || n < 8 || n % step == 0;
        if (!d.watched)
            left_out = d.launch;
    }
    return d.watched;
}

void touch(const void *memory, size_t bytes, bool write, bool atomic, void *place)
{
    const cudaemu::moment &at = cudaemu::present;
    uintptr_t first = reinterpret_cast<uintptr_t>(memory);
    if (at.launch == left_out)
        return;
    if (!at.kernel || bytes == 0 ||
        first - reinterpret_cast<uintptr_t>(at.stack) < at.stack_bytes)
        return; /* the host's, or a thread's own variables */
    detector &d = all();
    bool shared =
        first - reinterpret_cast<uintptr_t>(at.shared) < at.shared_bytes && at.shared;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    if (!is_watched(d))
        return;
    who me = {at.block,         at.interval, cudaemu::warp_barriers(),
              (uint16_t)thread, true,        atomic};
    d.accesses++;
    for (uintptr_t a = first & ~(uintptr_t)3; a < first + bytes; a += 4)
        touch_word(d, a, first, first + bytes, me, write, shared, place);
}
} // namespace

namespace cudaemu
{
std::map<std::string, uint64_t> races()
{
    std::map<std::string, uint64_t> result;
    for (auto &f : all().found) {
        void *place = std::get<0>(f.first);
        char **names = backtrace_symbols(&place, 1), text[512];
        snprintf(text, sizeof text, "%s in %s memory, kernel %s, at %s",
                 std::get<1>(f.first), std::get<2>(f.first) ? "shared" : "global",
                 std::get<3>(f.first).c_str(), names ? names[0] : "?");
        free(names);
        result[text] += f.second;
    }
    return result;
}

void forget_races() { all().found.clear(); }
} // namespace cudaemu

namespace
{
/* Also of asynchronous copies. */
const bool watching = [] {
    cudaemu::watch = [](const void *memory, size_t bytes, bool write) {
        touch(memory, bytes, write, false, __builtin_return_address(0));
    };
    return true;
}();
} // namespace

/* ---- the compiler's calls ---- */

#define HERE __builtin_return_address(0)
#define PLAIN(name, bytes, write)                                                        \
    void __tsan_##name(void *p) { touch(p, bytes, write, false, HERE); }
#define SIZE(n)                                                                          \
    PLAIN(read##n, n, false)                                                             \
    PLAIN(write##n, n, true)                                                             \
    PLAIN(unaligned_read##n, n, false)                                                   \
    PLAIN(unaligned_write##n, n, true)                                                   \
    PLAIN(volatile_read##n, n, false)                                                    \
    PLAIN(volatile_write##n, n, true)
#define ATOMIC(bits, type)                                                               \
    type __tsan_atomic##bits##_fetch_add(volatile type *p, type v, int order)            \
    {                                                                                    \
        touch(const_cast<type *>(p), sizeof *p, true, true, HERE);                       \
        return __atomic_fetch_add(p, v, order);                                          \
    }                                                                                    \
    type __tsan_atomic##bits##_load(const volatile type *p, int order)                   \
    {                                                                                    \
        touch(const_cast<type *>(p), sizeof *p, false, true, HERE);                      \
        return __atomic_load_n(p, order);                                                \
    }                                                                                    \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *p, type *expected,  \
                                                      type v, int order, int otherwise)  \
    {                                                                                    \
        touch(const_cast<type *>(p), sizeof *p, true, true, HERE);                       \
        return __atomic_compare_exchange_n(p, expected, v, false, order, otherwise);     \
    }

extern "C" {
SIZE(1)
SIZE(2)
SIZE(4)
SIZE(8)
SIZE(16)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
void __tsan_read_range(void *p, size_t n) { touch(p, n, false, false, HERE); }
void __tsan_write_range(void *p, size_t n) { touch(p, n, true, false, HERE); }
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
}
