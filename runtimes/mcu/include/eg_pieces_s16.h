/* Functions of int16 numbers that are straight on either side of zero: relu, relu6, leaky relu, abs, a change of scale.
 *
 *   out = clamp(in * below or in * above)        (EG_TFLM_DOUBLE; zero points are 0)
 *
 * With `negate` a number below zero loses its sign before it is multiplied. in and out may be the same memory. */
#ifndef EG_PIECES_S16_H
#define EG_PIECES_S16_H

#include "eg_requantize.h"

struct eg_pieces_s16_params {
    int32_t count; /* elements, >= 1 */
    int32_t below_multiplier, below_shift;
    int32_t above_multiplier, above_shift;
    int32_t negate;
    int32_t low, high; /* within int16 */
};

EG_KERNEL void eg_pieces_s16(const struct eg_pieces_s16_params *p, const int16_t *in, int16_t *out) {
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t value = in[i];
        const int32_t scaled =
            value >= 0 ? eg_multiply_double(value, p->above_multiplier, (int)p->above_shift)
                       : eg_multiply_double(p->negate ? -value : value, p->below_multiplier, (int)p->below_shift);
        out[i] = (int16_t)eg_clamp(scaled, p->low, p->high);
    }
}

#endif
