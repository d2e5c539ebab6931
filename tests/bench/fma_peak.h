/* The rate of multiply-adds of one core, for each instruction set of the projectors:
 * what their speed is measured against. */
#ifndef TR_FMA_PEAK_H
#define TR_FMA_PEAK_H

#include <stddef.h>

#if defined(__x86_64__)
#define TR_FMA_TARGET(text) __attribute__((target(text)))
#endif

/* Ten sums: two units with a latency of four need eight. The operation is that of the
 * projectors, a vector times a factor added to another, hence two instructions where
 * there is no fused one. The sums are variables, not an array: they must stay in
 * registers. They neither grow nor vanish. */
enum { TR_FMA_SUMS = 10 };
#define TR_FMA_STEP(s) s = s * factor + b
#define TR_FMA_LOOP(NAME, TARGET, LANES)                                                 \
    TARGET static float NAME(size_t rounds)                                              \
    {                                                                                    \
        typedef float lanes __attribute__((vector_size(4 * LANES)));                     \
        lanes zero = {0}, factor = zero + 0.999f, b = zero + 1e-3f;                      \
        lanes s0 = b + 0.0f, s1 = b + 1.0f, s2 = b + 2.0f, s3 = b + 3.0f, s4 = b + 4.0f; \
        lanes s5 = b + 5.0f, s6 = b + 6.0f, s7 = b + 7.0f, s8 = b + 8.0f, s9 = b + 9.0f; \
        for (size_t k = 0; k < rounds; k++) {                                            \
            TR_FMA_STEP(s0), TR_FMA_STEP(s1), TR_FMA_STEP(s2), TR_FMA_STEP(s3);          \
            TR_FMA_STEP(s4), TR_FMA_STEP(s5), TR_FMA_STEP(s6), TR_FMA_STEP(s7);          \
            TR_FMA_STEP(s8), TR_FMA_STEP(s9);                                            \
        }                                                                                \
        lanes sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9;                     \
        float total = 0.0f;                                                              \
        for (int i = 0; i < LANES; i++)                                                  \
            total += sum[i];                                                             \
        return total;                                                                    \
    }

typedef struct tr_fma_loop {
    const char *isa;
    size_t lanes;
    float (*run)(size_t rounds);
} tr_fma_loop;

TR_FMA_LOOP(tr_fma_baseline, , 4) /* on ARM: neon */
#if defined(__x86_64__)
TR_FMA_LOOP(tr_fma_avx2, TR_FMA_TARGET("avx2,fma"), 8)
TR_FMA_LOOP(tr_fma_avx512, TR_FMA_TARGET("avx512f,avx512vl,fma"), 16)
#endif
#undef TR_FMA_LOOP
#undef TR_FMA_STEP

static const tr_fma_loop tr_fma_loops[] = {
#if defined(__x86_64__)
    {"avx512", 16, tr_fma_avx512},
    {"avx2", 8, tr_fma_avx2},
#endif
#if defined(__aarch64__)
    {"neon", 4, tr_fma_baseline},
#else
    {"baseline", 4, tr_fma_baseline},
#endif
};

#endif
