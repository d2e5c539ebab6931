/* For texts that are compiled once for each instruction set: TR_ISA names it, and VECTOR
 * is how many floats its registers hold. */
#ifndef TR_CPU_ISA_H
#define TR_CPU_ISA_H

#ifndef TR_ISA
#define TR_ISA baseline
#endif
#define TR_JOIN_(a, b) a##b
#define TR_JOIN(a, b) TR_JOIN_(a, b)
#define TR_TEXT_(a) #a
#define TR_TEXT(a) TR_TEXT_(a)

#if defined(__AVX512F__)
enum { VECTOR = 16 };
#elif defined(__AVX__)
enum { VECTOR = 8 };
#else
enum { VECTOR = 4 };
#endif

#endif
