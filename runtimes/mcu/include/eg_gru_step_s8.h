/* One step of a gated recurrent unit, int8 (PyTorch's order of gates r, z, n; the reset gate on the hidden product).
 *
 *   r = sigmoid(Wr x + br + Ur h + cr)   z = sigmoid(Wz x + bz + Uz h + cz)   n = tanh(Wn x + bn + r (Un h + cn))
 *   h' = n + z (h - n)
 *
 * in: x (inputs), h (size); out: h' (size), which may be h's place. Both sides' products: eg_gate_rows.h, 3 * size rows.
 * scratch: 4-byte aligned; 4 * padded_rows bytes, then what the larger of the two products takes. */
#ifndef EG_GRU_STEP_S8_H
#define EG_GRU_STEP_S8_H

#include "eg_gate_rows.h"
#include "eg_gates.h"

struct eg_gru_step_s8_params {
    int32_t size; /* >= 1 */
    struct eg_gate_rows x;
    struct eg_gate_rows h;
    const uint16_t *table; /* eg_sigmoid_s16.h */
    int32_t h_zero_point;
    int32_t out_zero_point;
    int32_t up_multiplier, up_right;     /* from h's scale to 2^-15: below 2^21, [0, 30] */
    int32_t down_multiplier, down_right; /* from 2^-15 to h' scale: below 2^14, [1, 30] */
};

EG_KERNEL void eg_gru_step_s8(const struct eg_gru_step_s8_params *p, const int8_t *x, const int8_t *h, int8_t *out, void *scratch) {
    int16_t *from_x = (int16_t *)scratch;
    int16_t *from_h = from_x + p->x.padded_rows;
    void *rest = from_h + p->x.padded_rows;
    const int32_t size = p->size;
    eg_gate_inputs(&p->x, x, from_x, rest);
    eg_gate_inputs(&p->h, h, from_h, rest);
    for (int32_t i = 0; i < size; i++) {
        const int32_t r = eg_gate_sigmoid(from_x[i] + from_h[i], p->table);
        const int32_t z = eg_gate_sigmoid(from_x[size + i] + from_h[size + i], p->table);
        const int32_t hidden = (r * from_h[2 * size + i] + (1 << 14)) >> 15;
        const int32_t n = eg_gate_tanh(from_x[2 * size + i] + hidden, p->table);
        const int32_t before = eg_clamp(eg_gate_moved(h[i] - p->h_zero_point, p->up_multiplier, p->up_right), -65536, 65535);
        const int32_t after = n + eg_gate_product(z, before - n);
        const int32_t stored = eg_gate_moved(after, p->down_multiplier, p->down_right) + p->out_zero_point;
        out[i] = (int8_t)eg_clamp(stored, -128, 127);
    }
}

#endif
