/* From one scale, zero point and integer type to another: TFLite Micro's Requantize (EG_TFLM_DOUBLE).
 *
 * Multiplier and shift as in eg_requantize.h. */
#ifndef EG_REQUANTIZE_TENSOR_H
#define EG_REQUANTIZE_TENSOR_H

#include "eg_integers.h"
#include "eg_requantize.h"

struct eg_requantize_tensor_params {
    int32_t count;    /* elements, >= 1 */
    int32_t from, to; /* EG_INT8, EG_UINT8 or EG_INT16 */
    int32_t in_zero_point, out_zero_point;
    int32_t multiplier, shift;
};

EG_KERNEL void eg_requantize_tensor(const struct eg_requantize_tensor_params *p, const void *in, void *out) {
    for (int32_t i = 0; i < p->count; i++) {
        const int32_t value = eg_get_integer(in, p->from, i) - p->in_zero_point;
        eg_set_integer(out, p->to, i,
                       eg_requantize(value, p->multiplier, (int)p->shift, EG_TFLM_DOUBLE, p->out_zero_point,
                                     eg_least(p->to), eg_greatest(p->to)));
    }
}

#endif
