/* Which of the instruction sets of samples.c is used. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/samples.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Conversions from and to half; clang's __builtin_cpu_supports does not know them. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}
#endif

/* TR_ISA names that of the projectors, and is checked where they are chosen. */
static const tr_samples *choose(void)
{
#if defined(__aarch64__)
    return &tr_samples_neon;
#elif defined(__x86_64__)
    const char *wanted = getenv("TR_ISA");
    bool named = wanted && *wanted;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        has_f16c() && (!named || strcmp(wanted, "avx512") == 0))
        return &tr_samples_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c() &&
        (!named || strcmp(wanted, "baseline") != 0))
        return &tr_samples_avx2;
    return &tr_samples_baseline;
#else
    return &tr_samples_baseline;
#endif
}

const tr_samples *tr_samples_best(void)
{
    static const tr_samples *chosen; /* the same whichever thread is first */
    const tr_samples *best = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (!best) {
        best = choose();
        __atomic_store_n(&chosen, best, __ATOMIC_RELAXED);
    }
    return best;
}
