/* Sigmoid and tanh of int16 numbers, as TFLite Micro computes them.
 *
 * in: any scale, brought to 1 / (3 * 4096) by `multiplier` and `shift`; zero point 0. out: scale 1 / 32768, zero point 0.
 * in and out may be the same memory. */
#ifndef EG_SIGMOID_S16_H
#define EG_SIGMOID_S16_H

#include "eg_core.h"

struct eg_sigmoid_s16_params {
    int32_t count;         /* elements, >= 1 */
    int32_t multiplier;    /* [0, 32767] */
    int32_t shift;         /* to the right, [0, 30] */
    int32_t tanh;          /* 0: sigmoid, 1: tanh */
    const uint16_t *table; /* sigmoid(i / 24) * 65536 for i of 0 .. 255 */
};

EG_KERNEL void eg_sigmoid_s16(const struct eg_sigmoid_s16_params *p, const int16_t *in, int16_t *out) {
    const int32_t round = p->shift > 0 ? (int32_t)1 << (p->shift - 1) : 0;
    const int bits = p->tanh ? 8 : 9;
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t moved = (in[i] * p->multiplier + round) >> p->shift;
        const int32_t size = moved < 0 ? -moved : moved;
        const int32_t place = size >> bits;
        int32_t result = p->tanh ? (int32_t)0xFFFF << 8 : (int32_t)0x7FFF << 10;
        if (place < 255) {
            const int32_t first = p->table[place];
            const int32_t second = p->table[place + 1];
            result = first * (1 << bits) + (size & ((1 << bits) - 1)) * (second - first);
        }
        if (p->tanh) {
            const int32_t centred = result - (1 << 23);
            out[i] = (int16_t)((moved >= 0 ? centred + 128 : -centred + 127) >> 8);
        } else {
            out[i] = (int16_t)((moved >= 0 ? result + (1 << 9) : (1 << 25) - result + (1 << 9) - 1) >> 10);
        }
    }
}

#endif
