/* One step of attention over a cache of int8 keys and values, a ring of `places`: heads of `width` numbers each.
 *
 * The new key and value go to place position % places; the query meets the min(position + 1, places) keys that are there:
 *   score_j = sum (query - zero) (key_j - zero);   share_j = e^(scale (score_j - largest)) / their sum
 *   out = sum share_j (value_j - zero), brought to the output's scale (EG_TFLM_DOUBLE)
 * e^x by gemmlowp's fixed point with 5 integer bits; shares have 15 bits. Query heads share key heads where there are fewer
 * (heads is a multiple of key_heads).
 *
 * in: query (heads, width), key and value (key_heads, width), caches (places, key_heads, width), position (1; from 0 on).
 * out: (heads, width) and both caches with the new row. Caches in and out may be the same memory. width * 65025 and places fit
 * int32 sums: width <= 33,000, places <= 4,095. scratch: 4 * places bytes. */
#ifndef EG_ATTENTION_STEP_S8_H
#define EG_ATTENTION_STEP_S8_H

#include "eg_exponential.h"

struct eg_attention_step_s8_params {
    int32_t heads, key_heads, width, places;
    int32_t query_zero_point, key_zero_point, value_zero_point, out_zero_point;
    int32_t score_multiplier, score_shift; /* from a difference of scores to 5 integer bits */
    int32_t multiplier, shift;             /* from value's scale * 2^-15 to the output's */
};

EG_KERNEL void eg_attention_step_s8(const struct eg_attention_step_s8_params *p, const int8_t *query, const int8_t *key,
                                    const int8_t *value, const int8_t *keys, const int8_t *values, const int32_t *position,
                                    int8_t *out, int8_t *keys_out, int8_t *values_out, void *scratch) {
    int32_t *scores = (int32_t *)__builtin_assume_aligned(scratch, 4);
    const int32_t row = p->key_heads * p->width;
    const int32_t now = position[0] < 0 ? 0 : position[0];
    const int32_t place = now % p->places;
    const int32_t there = now < p->places - 1 ? now + 1 : p->places;
    if (keys_out != keys) {
        memcpy(keys_out, keys, (size_t)(p->places * row));
    }
    if (values_out != values) {
        memcpy(values_out, values, (size_t)(p->places * row));
    }
    memcpy(keys_out + place * row, key, (size_t)row);
    memcpy(values_out + place * row, value, (size_t)row);
    for (int32_t head = 0; head < p->heads; head++) {
        const int32_t from = head / (p->heads / p->key_heads) * p->width;
        const int8_t *q = query + head * p->width;
        int32_t largest = INT32_MIN;
        for (int32_t j = 0; j < there; j++) {
            const int8_t *k = keys_out + j * row + from;
            int32_t score = 0;
            for (int32_t i = 0; i < p->width; i++) {
                score += (q[i] - p->query_zero_point) * (k[i] - p->key_zero_point);
            }
            scores[j] = score;
            largest = score > largest ? score : largest;
        }
        int32_t sum = 0;
        for (int32_t j = 0; j < there; j++) {
            const int32_t below = scores[j] - largest;
            scores[j] = eg_exponential(eg_multiply_double(below, p->score_multiplier, (int)p->score_shift));
            sum += eg_divide_by_power(scores[j], 12);
        }
        int32_t exponent;
        const int32_t inverse = eg_reciprocal((uint32_t)sum, 12, &exponent);
        for (int32_t j = 0; j < there; j++) {
            scores[j] = eg_divide_by_power(eg_high_mul(inverse, scores[j]), (int)(exponent + 16));
        }
        for (int32_t i = 0; i < p->width; i++) {
            int32_t total = 0;
            for (int32_t j = 0; j < there; j++) {
                total += scores[j] * (values_out[j * row + from + i] - p->value_zero_point);
            }
            *out++ = (int8_t)eg_requantize(total, p->multiplier, (int)p->shift, EG_TFLM_DOUBLE, p->out_zero_point, -128, 127);
        }
    }
}

#endif
