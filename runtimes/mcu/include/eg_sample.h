/* Draws a place of a row of int8 logits: temperature, the k likeliest, a seed. The same place on every machine.
 *
 *   weight of place i = weights[largest - in[i]]     (65536 * e^(-d * scale / temperature), rounded; 0 beyond the table)
 *   places below the k-th largest logit have no weight; those equal to it keep theirs
 *   random = mix(mix(seed) + position * 0x9E3779B9)  (mix: MurmurHash3's 32-bit finalizer)
 *   drawn  = the first place whose weights up to it exceed (random * sum of all weights) / 2^32
 *
 * in: (count) int8; seed, position: one int32 each, any number; out: one int32. No state: the next place is drawn with the next
 * position. count at most 65,535, so that sums fit 32 bits. scratch: 1024 bytes, 4-byte aligned. */
#ifndef EG_SAMPLE_H
#define EG_SAMPLE_H

#include "eg_core.h"

struct eg_sample_params {
    int32_t count;           /* [1, 65535] */
    int32_t likeliest;       /* k, [1, count] */
    int32_t reach;           /* [1, 256] */
    const uint32_t *weights; /* reach */
};

EG_INLINE uint32_t eg_mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ (x >> 16);
}

EG_KERNEL void eg_sample(const struct eg_sample_params *p, const int8_t *in, const int32_t *seed, const int32_t *position,
                         int32_t *out, void *scratch) {
    uint32_t *found = (uint32_t *)__builtin_assume_aligned(scratch, 4); /* how often each distance occurs */
    int32_t largest = in[0];
    for (int32_t i = 1; i < p->count; i++) {
        largest = in[i] > largest ? in[i] : largest;
    }
    memset(found, 0, 1024);
    for (int32_t i = 0; i < p->count; i++) {
        found[largest - in[i]]++;
    }
    uint32_t sum = 0;
    uint32_t kept = 0;
    int32_t farthest = 0;
    for (int32_t d = 0; d < p->reach && kept < (uint32_t)p->likeliest; d++) {
        kept += found[d];
        sum += found[d] * p->weights[d];
        farthest = d;
    }
    const uint32_t random = eg_mix(eg_mix((uint32_t)seed[0]) + (uint32_t)position[0] * 0x9E3779B9u);
    const uint32_t wanted = (uint32_t)(((uint64_t)random * sum) >> 32);
    uint32_t passed = 0;
    int32_t drawn = 0;
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t d = largest - in[i];
        if (d <= farthest) {
            passed += p->weights[d];
            if (passed > wanted) {
                drawn = i;
                break;
            }
        }
    }
    out[0] = drawn;
}

#endif
