/* The arithmetic of gates in recurrent cells: int16 numbers with 12 bits of fraction in, with 15 out.
 *
 * A gate's input is brought to a scale of 2^-12 (it is kept within -8 and 8), then sigmoid or tanh come from TFLite's table as
 * eg_sigmoid_s16.h has them. */
#ifndef EG_GATES_H
#define EG_GATES_H

#include "eg_requantize.h"

/* Products of a row of weights with a vector of int8, plus the row's bias (the vector's zero point folded in). */
EG_INLINE int32_t eg_gate_sum(const int8_t *weights, const int8_t *x, int32_t count, int32_t bias) {
    int32_t sum = bias;
    for (int32_t k = 0; k < count; k++) {
        sum += weights[k] * x[k];
    }
    return sum;
}

/* A sum at 12 bits of fraction, within int16. */
EG_INLINE int32_t eg_gate_input(int32_t sum, int32_t multiplier, int32_t shift) {
    return eg_requantize(sum, multiplier, (int)shift, EG_TFLM_DOUBLE, 0, -32768, 32767);
}

/* Sigmoid of a number with 12 bits of fraction within int16: [0, 32767] / 32768. */
EG_KERNEL int32_t eg_gate_sigmoid(int32_t x, const uint16_t *table) {
    const int32_t moved = x * 3;
    const int32_t size = moved < 0 ? -moved : moved;
    const int32_t place = size >> 9;
    int32_t made = (int32_t)0x7FFF << 10;
    if (place < 255) {
        made = table[place] * (1 << 9) + (size & 511) * (table[place + 1] - table[place]);
    }
    return (moved >= 0 ? made + (1 << 9) : (1 << 25) - made + (1 << 9) - 1) >> 10;
}

/* Tanh of a number with 12 bits of fraction within int16: [-32768, 32767] / 32768. */
EG_KERNEL int32_t eg_gate_tanh(int32_t x, const uint16_t *table) {
    const int32_t moved = x * 3;
    const int32_t size = moved < 0 ? -moved : moved;
    const int32_t place = size >> 8;
    int32_t made = (int32_t)0xFFFF << 8;
    if (place < 255) {
        made = table[place] * (1 << 8) + (size & 255) * (table[place + 1] - table[place]);
    }
    made -= 1 << 23;
    return (moved >= 0 ? made + 128 : -made + 127) >> 8;
}

/* a * b / 2^15, rounded half up, within int32: |a|, |b| <= 2^16. */
EG_INLINE int32_t eg_gate_product(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (1 << 14)) >> 15);
}

#endif
