/* XXH3, the 64-bit hash with a seed, of inputs of more than 240 bytes, by eight threads:
 * each has one of the eight accumulators, which meet at the end. From the specification
 * (xxhash's doc/xxhash_spec.md), whose names the constants have. */
#ifndef TR_CUDA_XXH3_H
#define TR_CUDA_XXH3_H

#include <stdint.h>

#include "kernels/cuda/launch.h"

enum {
    TR_XXH3_PARTS = 8,   /* accumulators, and words of 8 bytes of a stripe */
    TR_XXH3_WORDS = 24,  /* of the secret */
    TR_XXH3_STRIPES = 16 /* of a block, after which accumulators are scrambled */
};

__constant__ static const uint64_t tr_xxh3_secret[TR_XXH3_WORDS] = {
    0xbe4ba423396cfeb8, 0x1cad21f72c81017c, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072,
    0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82, 0x8e2443f7744608b8, 0x4c263a81e69035e0,
    0xcb00c391bb52283c, 0xa32e531b8b65d088, 0x4ef90da297486471, 0xd8acdea946ef1938,
    0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8,
    0xc3ebd33483acc5ea, 0xeb6313faffa081c5, 0x49daf0b751dd0d17, 0x9e68d429265516d3,
    0xfca1477d58be162b, 0xce31d07ad1b8f88f, 0x280416958f3acb45, 0x7e404bbbcafbd7af};

__constant__ static const uint64_t tr_xxh3_start[TR_XXH3_PARTS] = {
    0xc2b2ae3d,         0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9,
    0x85ebca77c2b2ae63, 0x85ebca77,         0x27d4eb2f165667c5, 0x9e3779b1};

/* Word k of the secret with the seed in it; and 8 bytes of that from any byte on. */
__device__ static inline uint64_t tr_xxh3_key(const uint64_t *secret, unsigned k,
                                              uint64_t seed)
{
    return secret[k] + (k % 2 ? 0 - seed : seed);
}
__device__ static inline uint64_t tr_xxh3_key_at(const uint64_t *secret, unsigned byte,
                                                 uint64_t seed)
{
    unsigned k = byte / 8, bits = byte % 8 * 8; /* which is not 0 */
    return tr_xxh3_key(secret, k, seed) >> bits | tr_xxh3_key(secret, k + 1, seed)
                                                      << (64 - bits);
}

__device__ static inline void tr_xxh3_add(uint64_t own, uint64_t neighbour, uint64_t key,
                                          uint64_t *sum)
{
    uint64_t mixed = own ^ key;
    *sum += neighbour + (mixed & 0xffffffff) * (mixed >> 32);
}

/* Accumulator `part` at the end, of a line of n_floats floats, more than 60;
 * line.two(i) are the bits of the two from number i on. */
template <typename L>
__device__ static uint64_t tr_xxh3_part(const L &line, unsigned n_floats, uint64_t seed,
                                        const uint64_t *secret, unsigned part)
{
    uint64_t sum = tr_xxh3_start[part];
    const unsigned stripes = (4 * n_floats - 1) / 64;
    for (unsigned s = 0; s < stripes; s++) {
        unsigned at = 16 * s;
        tr_xxh3_add(line.two(at + 2 * part), line.two(at + 2 * (part ^ 1)),
                    tr_xxh3_key(secret, s % TR_XXH3_STRIPES + part, seed), &sum);
        if (s % TR_XXH3_STRIPES == TR_XXH3_STRIPES - 1) {
            sum ^= sum >> 47;
            sum ^= tr_xxh3_key(secret, TR_XXH3_STRIPES + part, seed);
            sum *= 0x9e3779b1;
        }
    }
    unsigned last = n_floats - 16;
    tr_xxh3_add(line.two(last + 2 * part), line.two(last + 2 * (part ^ 1)),
                tr_xxh3_key_at(secret, 121 + 8 * part, seed), &sum);
    return sum;
}

/* The hash, from all eight. */
__device__ static inline uint64_t tr_xxh3_end(const uint64_t *sums, unsigned n_floats,
                                              uint64_t seed, const uint64_t *secret)
{
    uint64_t hash = 4 * (uint64_t)n_floats * 0x9e3779b185ebca87;
    for (unsigned k = 0; k < TR_XXH3_PARTS; k += 2) {
        uint64_t a = sums[k] ^ tr_xxh3_key_at(secret, 11 + 8 * k, seed);
        uint64_t b = sums[k + 1] ^ tr_xxh3_key_at(secret, 19 + 8 * k, seed);
        hash += a * b ^ __umul64hi(a, b);
    }
    hash ^= hash >> 37;
    hash *= 0x165667919e3779f9;
    return hash ^ hash >> 32;
}

#endif
