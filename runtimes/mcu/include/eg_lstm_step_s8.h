/* One step of a long short-term memory, int8 with an int16 cell (PyTorch's order of gates i, f, g, o).
 *
 *   i, f, o = sigmoid(W x + b + U h + c)   g = tanh(W x + b + U h + c)
 *   c' = f c + i g        h' = o tanh(c')
 *
 * in: x (inputs), h (size), c (size, int16, scale 2^-cell_bits); out: h' (size), c' (size, as c), which may be h's and c's
 * places. Both sides' products: eg_gate_rows.h, 4 * size rows. scratch: as eg_gru_step_s8.h. */
#ifndef EG_LSTM_STEP_S8_H
#define EG_LSTM_STEP_S8_H

#include "eg_gate_rows.h"
#include "eg_gates.h"

struct eg_lstm_step_s8_params {
    int32_t size; /* >= 1 */
    struct eg_gate_rows x;
    struct eg_gate_rows h;
    const uint16_t *table; /* eg_sigmoid_s16.h */
    int32_t cell_bits;     /* [8, 12] */
    int32_t out_zero_point;
    int32_t down_multiplier, down_right; /* from 2^-15 to h' scale: below 2^14, [1, 30] */
};

EG_KERNEL void eg_lstm_step_s8(const struct eg_lstm_step_s8_params *p, const int8_t *x, const int8_t *h, const int16_t *c,
                               int8_t *h_out, int16_t *c_out, void *scratch) {
    int16_t *from_x = (int16_t *)scratch;
    int16_t *from_h = from_x + p->x.padded_rows;
    void *rest = from_h + p->x.padded_rows;
    const int32_t size = p->size;
    eg_gate_inputs(&p->x, x, from_x, rest);
    eg_gate_inputs(&p->h, h, from_h, rest);
    for (int32_t k = 0; k < size; k++) {
        const int32_t i = eg_gate_sigmoid(from_x[k] + from_h[k], p->table);
        const int32_t f = eg_gate_sigmoid(from_x[size + k] + from_h[size + k], p->table);
        const int32_t g = eg_gate_tanh(from_x[2 * size + k] + from_h[2 * size + k], p->table);
        const int32_t o = eg_gate_sigmoid(from_x[3 * size + k] + from_h[3 * size + k], p->table);
        const int64_t kept = (int64_t)f * c[k];
        const int64_t added = ((int64_t)i * g + ((int64_t)1 << (14 - p->cell_bits))) >> (15 - p->cell_bits);
        const int32_t cell = eg_clamp((int32_t)((kept + added + (1 << 14)) >> 15), -32768, 32767);
        const int32_t inner = eg_clamp(cell * (1 << (12 - p->cell_bits)), -32768, 32767);
        const int32_t made = eg_gate_product(o, eg_gate_tanh(inner, p->table));
        c_out[k] = (int16_t)cell;
        const int32_t stored = eg_gate_moved(made, p->down_multiplier, p->down_right) + p->out_zero_point;
        h_out[k] = (int8_t)eg_clamp(stored, -128, 127);
    }
}

#endif
