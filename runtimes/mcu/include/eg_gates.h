/* The arithmetic of gates in recurrent cells: int16 numbers with 12 bits of fraction in, with 15 out.
 *
 * A gate's input is the sum of two numbers of eg_gate_rows.h, so it lies within -16 and 16; sigmoid or tanh come from TFLite's table as
 * eg_sigmoid_s16.h has them. */
#ifndef EG_GATES_H
#define EG_GATES_H

#include "eg_requantize.h"

/* Sigmoid of a number with 12 bits of fraction within 17: [0, 32767] / 32768. */
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

/* Tanh of a number with 12 bits of fraction within 17: [-32768, 32767] / 32768. */
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

/* value * multiplier / 2^right, rounded half up: the product stays below 2^30. */
EG_INLINE int32_t eg_gate_moved(int32_t value, int32_t multiplier, int32_t right) {
    return (value * multiplier + ((1 << right) >> 1)) >> right;
}

#endif
