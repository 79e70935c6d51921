/* One step of attention over a ring of int8 keys and values and the token itself, whose row the caller adds to the ring later.
 *
 *   score_j = factor q k_j + table[age of j]    share_j = e^(score_j - largest) / sum of them    out = sum share_j v_j
 *
 * query, key, value (heads, width): the token's, each of its own scale; keys, values (all heads, places, width): the rings;
 * position: tokens before this one. Place j of a ring holds the token that is (position - j) modulo places old; age 0, the
 * token's own place, holds one that is forgotten. table (heads, places): 1/256 a step, by age; age 0 is the token itself.
 *
 * Scores are int32 in steps of 1/256, e^-x = whole[x >> 8] * fraction[x & 255] / 2^15 with `bits` bits, weighted sums int32.
 * scratch: 4-byte aligned; 2 * places rounded up to fours, 4 * places, and 2 * width bytes. */
#ifndef EG_ATTENTION_RING_S8_H
#define EG_ATTENTION_RING_S8_H

#include "eg_output.h"
#include "eg_rows_s8_dsp.h"

struct eg_attention_ring_s8_params {
    int32_t heads, width, places; /* >= 1; places <= 4095 */
    int32_t first;                /* the ring's head that is head 0 */
    int32_t query_zero_point;
    int32_t key_zero_point, value_zero_point; /* the token's */
    int32_t keys_zero_point, values_zero_point; /* the rings' */
    int32_t out_zero_point;
    int32_t keys_multiplier, keys_right; /* a product with the ring to 1/256: below 2^31, [1, 62] */
    int32_t key_multiplier, key_right;   /* with the token's key */
    int32_t value_multiplier, value_right; /* the token's value to 1/128 of the ring's steps: below 2^21, [0, 30] */
    int32_t out_multiplier, out_right;     /* 1/256 of the ring's steps to out: below 2^31, [1, 62] */
    const int16_t *table;
    const uint16_t *whole; /* e^-k 2^bits */
    const uint16_t *fraction; /* e^(-f / 256) 2^15 */
    int32_t reach; /* numbers in whole */
};

EG_INLINE int32_t eg_ring_scaled(int32_t value, int32_t multiplier, int32_t right) {
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << (right - 1))) >> right);
}

#if defined(EG_ISA_DSP)
/* Four values of a row times four of the query: six instructions. */
#define EG_RING_QUAD                                                                                                            \
    "ldr r8, [%[at]], #4\n\t"                                                                                                  \
    "ldrd r4, lr, [%[q]], #8\n\t"                                                                                              \
    "sxtb16 r9, r8\n\t"                                                                                                        \
    "sxtb16 r8, r8, ror #8\n\t"                                                                                                \
    "smlad %[sum], r4, r9, %[sum]\n\t"                                                                                         \
    "smlad %[sum], lr, r8, %[sum]\n\t"

#define EG_RING_QUADS(text)                                                                                                     \
    __asm volatile(text : [sum] "+r"(sum), [q] "+r"(q), [at] "+r"(at) : : "r4", "r8", "r9", "lr", "memory")
#endif

/* Products of the widened query with a row of int8. */
EG_INLINE int32_t eg_ring_dot(const int16_t *query, const int8_t *row, int32_t width) {
    int32_t sum = 0;
    int32_t i = 0;
#if defined(EG_ISA_DSP)
    const int16_t *q = query;
    const int8_t *at = row;
    for (; i + 16 <= width; i += 16) {
        EG_RING_QUADS(EG_RING_QUAD EG_RING_QUAD EG_RING_QUAD EG_RING_QUAD);
    }
    for (; i + 4 <= width; i += 4) {
        EG_RING_QUADS(EG_RING_QUAD);
    }
#elif defined(EG_ISA_MVE)
    for (; i + 8 <= width; i += 8) {
        sum = vmladavaq_s16(sum, vldrhq_s16(query + i), vldrbq_s16(row + i));
    }
#endif
    for (; i < width; i++) {
        sum += query[i] * row[i];
    }
    return sum;
}

/* The query less its zero point, in the order in which eg_ring_dot wants it; gives the sum. */
EG_INLINE int32_t eg_ring_query(const int8_t *query, int32_t zero_point, int32_t width, int16_t *wide) {
    int32_t sum = 0;
    for (int32_t i = 0; i < width; i++) {
        wide[i] = (int16_t)(query[i] - zero_point);
        sum += wide[i];
    }
#if defined(EG_ISA_DSP)
    for (int32_t i = 0; i + 4 <= width; i += 4) {
        const int16_t second = wide[i + 1];
        wide[i + 1] = wide[i + 2];
        wide[i + 2] = second;
    }
#endif
    return sum;
}

/* Channels whose sums are taken at once. */
#if defined(EG_ISA_MVE)
#define EG_RING_CHANNELS 16
#else
#define EG_RING_CHANNELS 4
#endif

/* Shares times the values of so many channels, or fewer: rows `width` apart. */
EG_INLINE void eg_ring_sums(const int16_t *shares, int32_t count, const int8_t *values, int32_t width, int32_t channels,
                            int32_t *sums) {
    int32_t j = 0;
    for (int32_t i = 0; i < channels; i++) {
        sums[i] = 0;
    }
#if defined(EG_ISA_DSP)
    if (channels == 4) {
        int32_t a = 0;
        int32_t b = 0;
        int32_t c = 0;
        int32_t d = 0;
        for (; j + 2 <= count; j += 2) {
            const uint32_t one = eg_word(values);
            const uint32_t two = eg_word(values + width);
            int32_t share;
            memcpy(&share, shares + j, sizeof share);
            const int32_t even = eg_even_bytes(one);
            const int32_t odd = eg_odd_bytes(one);
            const int32_t next_even = eg_even_bytes(two);
            const int32_t next_odd = eg_odd_bytes(two);
            int32_t low;
            int32_t high;
            __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(low) : "r"(even), "r"(next_even));
            __asm("pkhtb %0, %1, %2, asr #16" : "=r"(high) : "r"(next_even), "r"(even));
            __asm("smlad %0, %1, %2, %0" : "+r"(a) : "r"(low), "r"(share));
            __asm("smlad %0, %1, %2, %0" : "+r"(c) : "r"(high), "r"(share));
            __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(low) : "r"(odd), "r"(next_odd));
            __asm("pkhtb %0, %1, %2, asr #16" : "=r"(high) : "r"(next_odd), "r"(odd));
            __asm("smlad %0, %1, %2, %0" : "+r"(b) : "r"(low), "r"(share));
            __asm("smlad %0, %1, %2, %0" : "+r"(d) : "r"(high), "r"(share));
            values += 2 * width;
        }
        sums[0] = a;
        sums[1] = b;
        sums[2] = c;
        sums[3] = d;
    }
#elif defined(EG_ISA_MVE)
    if (channels == 16) {
        int32x4_t a = vdupq_n_s32(0);
        int32x4_t b = a;
        int32x4_t c = a;
        int32x4_t d = a;
        for (; j < count; j++) {
            const int32_t share = shares[j];
            a = vmlaq_n_s32(a, vldrbq_s32(values), share);
            b = vmlaq_n_s32(b, vldrbq_s32(values + 4), share);
            c = vmlaq_n_s32(c, vldrbq_s32(values + 8), share);
            d = vmlaq_n_s32(d, vldrbq_s32(values + 12), share);
            values += width;
        }
        vstrwq_s32(sums, a);
        vstrwq_s32(sums + 4, b);
        vstrwq_s32(sums + 8, c);
        vstrwq_s32(sums + 12, d);
        return;
    }
    for (int32_t i = 0; i < channels; i += 4) {
        const mve_pred16_t there = vctp32q((uint32_t)(channels - i));
        int32x4_t total = vdupq_n_s32(0);
        for (j = 0; j < count; j++) {
            total = vmlaq_n_s32(total, vldrbq_z_s32(values + j * width + i, there), shares[j]);
        }
        vstrwq_p_s32(sums + i, total, there);
    }
#endif
    for (; j < count; j++) {
        for (int32_t i = 0; i < channels; i++) {
            sums[i] += shares[j] * values[i];
        }
        values += width;
    }
}

EG_INLINE int32_t eg_ring_power(const struct eg_attention_ring_s8_params *p, int32_t below) {
    return (below >> 8) < p->reach ? ((int32_t)p->whole[below >> 8] * p->fraction[below & 255] + (1 << 14)) >> 15 : 0;
}

EG_KERNEL void eg_attention_ring_s8(const struct eg_attention_ring_s8_params *p, const int8_t *query, const int8_t *key,
                                    const int8_t *value, const int8_t *keys, const int8_t *values, const int32_t *position,
                                    int8_t *out, void *scratch) {
    int32_t *scores = (int32_t *)scratch;
    int16_t *shares = (int16_t *)(scores + p->places);
    int16_t *wide = shares + (p->places + 3) / 4 * 4;
    const int32_t width = p->width;
    const int32_t now = *position > 0 ? *position : 0;
    const int32_t own = now % p->places;
    const int32_t count = now < p->places ? own : p->places;
    keys += p->first * p->places * width;
    values += p->first * p->places * width;
    for (int32_t head = 0; head < p->heads; head++) {
        const int16_t *table = p->table + head * p->places;
        const int32_t q_sum = eg_ring_query(query, p->query_zero_point, width, wide);
        const int32_t self = eg_ring_dot(wide, key, width) - p->key_zero_point * q_sum;
        const int32_t own_score = eg_ring_scaled(self, p->key_multiplier, p->key_right) + table[0];
        const int32_t correction = p->keys_zero_point * q_sum;
        int32_t largest = own_score;
        for (int32_t j = 0; j < count; j++) {
            int32_t score = INT32_MIN / 2; /* the token's own place: forgotten */
            if (j != own) {
                const int32_t dot = eg_ring_dot(wide, keys + j * width, width) - correction;
                score = eg_ring_scaled(dot, p->keys_multiplier, p->keys_right) + table[own > j ? own - j : own - j + p->places];
            }
            scores[j] = score;
            largest = score > largest ? score : largest;
        }
        int32_t ring = 0;
        for (int32_t j = 0; j < count; j++) {
            shares[j] = (int16_t)eg_ring_power(p, largest - scores[j]);
            ring += shares[j];
        }
        const int32_t own_share = eg_ring_power(p, largest - own_score);
        /* Of the sum of shares its 16 highest bits, and 2^31 over them. */
        int32_t high = ring + own_share;
        int32_t right = 23;
        while (high >= 65536) {
            high >>= 1;
            right++;
        }
        const int32_t inverse = (int32_t)(2147483648u / (uint32_t)high);
        for (int32_t i = 0; i < width; i += EG_RING_CHANNELS) {
            const int32_t channels = width - i < EG_RING_CHANNELS ? width - i : EG_RING_CHANNELS;
            int32_t sums[EG_RING_CHANNELS];
            if (channels == EG_RING_CHANNELS) { /* apart, so that the compiler knows the number */
                eg_ring_sums(shares, count, values + i, width, EG_RING_CHANNELS, sums);
            } else {
                eg_ring_sums(shares, count, values + i, width, channels, sums);
            }
            for (int32_t k = 0; k < channels; k++) {
                const int32_t apart = value[i + k] - p->value_zero_point;
                const int32_t mine = (apart * p->value_multiplier + ((1 << p->value_right) >> 1)) >> p->value_right;
                const int32_t sum = sums[k] - p->values_zero_point * ring + (int32_t)(((int64_t)own_share * mine + 64) >> 7);
                const int32_t mean = eg_ring_scaled(sum, inverse, right); /* below 2^22: at most 64 times the ring's values */
                const int32_t stored = eg_ring_scaled(mean, p->out_multiplier, p->out_right);
                out[i + k] = (int8_t)eg_clamp(stored + p->out_zero_point, -128, 127);
            }
        }
        query += width;
        key += width;
        value += width;
        keys += p->places * width;
        values += p->places * width;
        out += width;
    }
}

#endif
