/* One step of a long short-term memory, int8 with an int16 cell (PyTorch's order of gates i, f, g, o).
 *
 *   i, f, o = sigmoid(W x + b + U h + c)   g = tanh(W x + b + U h + c)
 *   c' = f c + i g        h' = o tanh(c')
 *
 * in: x (inputs), h (size), c (size, int16, scale 2^-cell_bits); out: h' (size), of h's scale, c' (size, as c). Both sides'
 * weights: (4 * size, inputs or size), their biases with the vector's zero point folded in, a multiplier and shift each to a
 * scale of 2^-12. States in and out do not overlap. */
#ifndef EG_LSTM_STEP_S8_H
#define EG_LSTM_STEP_S8_H

#include "eg_gates.h"

struct eg_lstm_step_s8_params {
    int32_t inputs, size; /* >= 1 */
    const int8_t *x_weights, *h_weights;
    const int32_t *x_bias, *h_bias; /* 4 * size */
    int32_t x_multiplier, x_shift;
    int32_t h_multiplier, h_shift;
    const uint16_t *table; /* eg_sigmoid_s16.h */
    int32_t cell_bits;     /* [8, 12] */
    int32_t h_zero_point;
    int32_t down_multiplier, down_shift; /* from 2^-15 to h's scale */
};

EG_INLINE int32_t eg_lstm_gate(const struct eg_lstm_step_s8_params *p, const int8_t *x, const int8_t *h, int32_t row) {
    const int32_t from_x = eg_gate_sum(p->x_weights + row * p->inputs, x, p->inputs, p->x_bias[row]);
    const int32_t from_h = eg_gate_sum(p->h_weights + row * p->size, h, p->size, p->h_bias[row]);
    return eg_clamp(eg_gate_input(from_x, p->x_multiplier, p->x_shift) + eg_gate_input(from_h, p->h_multiplier, p->h_shift),
                    -32768, 32767);
}

EG_KERNEL void eg_lstm_step_s8(const struct eg_lstm_step_s8_params *p, const int8_t *x, const int8_t *h, const int16_t *c,
                               int8_t *h_out, int16_t *c_out) {
    for (int32_t k = 0; k < p->size; k++) {
        const int32_t i = eg_gate_sigmoid(eg_lstm_gate(p, x, h, k), p->table);
        const int32_t f = eg_gate_sigmoid(eg_lstm_gate(p, x, h, p->size + k), p->table);
        const int32_t g = eg_gate_tanh(eg_lstm_gate(p, x, h, 2 * p->size + k), p->table);
        const int32_t o = eg_gate_sigmoid(eg_lstm_gate(p, x, h, 3 * p->size + k), p->table);
        const int64_t kept = (int64_t)f * c[k];
        const int64_t added = ((int64_t)i * g + ((int64_t)1 << (14 - p->cell_bits))) >> (15 - p->cell_bits);
        const int32_t cell = eg_clamp((int32_t)((kept + added + (1 << 14)) >> 15), -32768, 32767);
        const int32_t inner = eg_clamp(cell * (1 << (12 - p->cell_bits)), -32768, 32767);
        const int32_t made = eg_gate_product(o, eg_gate_tanh(inner, p->table));
        c_out[k] = (int16_t)cell;
        h_out[k] = (int8_t)eg_requantize(made, p->down_multiplier, (int)p->down_shift, EG_TFLM_DOUBLE, p->h_zero_point, -128, 127);
    }
}

#endif
