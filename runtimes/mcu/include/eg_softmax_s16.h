/* Softmax over the last axis of int16, byte for byte TFLite Micro's: e^x and 1/(1 + x) by tables with interpolation.
 *
 * in: any scale, zero point 0. out: scale 1/32768, zero point 0. exponential: e^x for x of -10 .. 0; reciprocal: 1/(1 + x) for
 * x of 0 .. 1; 513 entries each. `multiplier` and `shift` bring a difference to steps of 10 / 65535. in and out may be the same
 * memory. */
#ifndef EG_SOFTMAX_S16_H
#define EG_SOFTMAX_S16_H

#include "eg_lut_s16.h"
#include "eg_requantize.h"

struct eg_softmax_s16_params {
    int32_t rows;  /* >= 1 */
    int32_t depth; /* elements a row, [1, 65535] */
    int32_t multiplier, shift;
    const int16_t *exponential;
    const int16_t *reciprocal;
};

EG_KERNEL void eg_softmax_s16(const struct eg_softmax_s16_params *p, const int16_t *in, int16_t *out) {
    for (int32_t row = 0; row < p->rows; row++) {
        int32_t largest = in[0];
        for (int32_t i = 1; i < p->depth; i++) {
            largest = in[i] > largest ? in[i] : largest;
        }
        int32_t sum = 0;
        for (int32_t i = 0; i < p->depth; i++) {
            const int32_t scaled = eg_multiply_double(in[i] - largest, p->multiplier, (int)p->shift);
            out[i] = eg_interpolate(eg_clamp(scaled, -65535, 0) + 32767, p->exponential);
            sum += out[i];
        }
        const int headroom = __builtin_clz((uint32_t)sum | 1u);
        const int32_t mantissa = (int32_t)((((int64_t)sum << (headroom - 1)) + (1 << 13)) >> 14);
        const int32_t place = eg_clamp(mantissa - ((1 << 15) + (1 << 16)), -32768, 32767);
        const int32_t scale = eg_interpolate(place, p->reciprocal);
        const int right = 31 - headroom;
        for (int32_t i = 0; i < p->depth; i++) {
            const int64_t made = ((int64_t)out[i] * scale + ((int64_t)1 << right >> 1)) >> right;
            out[i] = (int16_t)(made < 0 ? 0 : made > 32767 ? 32767 : made);
        }
        in += p->depth;
        out += p->depth;
    }
}

#endif
