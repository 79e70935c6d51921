/* One step of a gated recurrent unit, int8 (PyTorch's order of gates r, z, n; the reset gate on the hidden product).
 *
 *   r = sigmoid(Wr x + br + Ur h + cr)   z = sigmoid(Wz x + bz + Uz h + cz)   n = tanh(Wn x + bn + r (Un h + cn))
 *   h' = n + z (h - n)
 *
 * in: x (inputs), h (size); out: h' (size), of h's scale. Both sides' weights: (3 * size, inputs or size), their biases with the
 * vector's zero point folded in, a multiplier and shift each to a scale of 2^-12. h and h' do not overlap. */
#ifndef EG_GRU_STEP_S8_H
#define EG_GRU_STEP_S8_H

#include "eg_gates.h"

struct eg_gru_step_s8_params {
    int32_t inputs, size; /* >= 1 */
    const int8_t *x_weights, *h_weights;
    const int32_t *x_bias, *h_bias; /* 3 * size */
    int32_t x_multiplier, x_shift;
    int32_t h_multiplier, h_shift;
    const uint16_t *table; /* eg_sigmoid_s16.h */
    int32_t h_zero_point;
    int32_t up_multiplier, up_shift;     /* from h's scale to 2^-15 */
    int32_t down_multiplier, down_shift; /* back */
};

EG_INLINE int32_t eg_gru_x(const struct eg_gru_step_s8_params *p, const int8_t *x, int32_t row) {
    return eg_gate_input(eg_gate_sum(p->x_weights + row * p->inputs, x, p->inputs, p->x_bias[row]), p->x_multiplier, p->x_shift);
}

EG_INLINE int32_t eg_gru_h(const struct eg_gru_step_s8_params *p, const int8_t *h, int32_t row) {
    return eg_gate_input(eg_gate_sum(p->h_weights + row * p->size, h, p->size, p->h_bias[row]), p->h_multiplier, p->h_shift);
}

EG_KERNEL void eg_gru_step_s8(const struct eg_gru_step_s8_params *p, const int8_t *x, const int8_t *h, int8_t *out) {
    for (int32_t i = 0; i < p->size; i++) {
        const int32_t ri = i;
        const int32_t zi = p->size + i;
        const int32_t ni = 2 * p->size + i;
        const int32_t r = eg_gate_sigmoid(eg_clamp(eg_gru_x(p, x, ri) + eg_gru_h(p, h, ri), -32768, 32767), p->table);
        const int32_t z = eg_gate_sigmoid(eg_clamp(eg_gru_x(p, x, zi) + eg_gru_h(p, h, zi), -32768, 32767), p->table);
        const int32_t inner = eg_gru_x(p, x, ni) + eg_gate_product(r, eg_gru_h(p, h, ni));
        const int32_t n = eg_gate_tanh(eg_clamp(inner, -32768, 32767), p->table);
        const int32_t before = eg_requantize(h[i] - p->h_zero_point, p->up_multiplier, (int)p->up_shift, EG_TFLM_DOUBLE, 0,
                                             -65536, 65535);
        const int32_t after = n + eg_gate_product(z, before - n);
        out[i] = (int8_t)eg_requantize(after, p->down_multiplier, (int)p->down_shift, EG_TFLM_DOUBLE, p->h_zero_point, -128, 127);
    }
}

#endif
