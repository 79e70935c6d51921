/* a / b of int16 tensors, as TFLite Micro computes it: b's reciprocal in fixed point, then two multiplications.
 *
 * Numbers less their zero points. b = 0 gives the quotient of the smallest positive b: TFLite leaves it undefined.
 * Multiplier and shift as in eg_requantize.h. out may be a or b where that is not broadcast. */
#ifndef EG_DIV_S16_H
#define EG_DIV_S16_H

#include "eg_loops.h"
#include "eg_fixed_point.h"

struct eg_div_s16_params {
    struct eg_loops loops;
    int32_t a_zero_point, b_zero_point;
    int32_t out_zero_point, out_multiplier, out_shift;
    int32_t low, high; /* clamp, within int16 */
};

EG_KERNEL void eg_div_s16(const struct eg_div_s16_params *p, const int16_t *a, const int16_t *b, int16_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        int32_t x = a[ia] - p->a_zero_point;
        int32_t y = b[ib] - p->b_zero_point;
        if (y < 0) {
            x = -x;
            y = -y;
        }
        y = y == 0 ? 1 : y;
        int32_t exponent;
        const int32_t inverse = eg_reciprocal((uint32_t)y, 31, &exponent);
        const int32_t headroom = __builtin_clrsb((int)x);
        const int32_t quotient = eg_multiply_double(x, inverse, (int)headroom);
        const int32_t shift = p->out_shift - exponent - headroom;
        const int32_t scaled = shift < -31 ? 0 : eg_multiply_double(quotient, p->out_multiplier, (int)shift);
        out[o] = (int16_t)eg_clamp(eg_clamp(scaled, -65536, 65536) + p->out_zero_point, p->low, p->high);
    }
}

#endif
