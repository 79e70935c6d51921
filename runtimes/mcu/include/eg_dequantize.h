/* Stored integers to float32: (in - zero_point) * scale. */
#ifndef EG_DEQUANTIZE_H
#define EG_DEQUANTIZE_H

#include "eg_integers.h"

struct eg_dequantize_params {
    int32_t count; /* elements, >= 1 */
    float scale;   /* > 0 */
    int32_t zero_point;
    int32_t type; /* EG_INT8, EG_UINT8 or EG_INT16 */
};

EG_KERNEL void eg_dequantize(const struct eg_dequantize_params *p, const void *in, float *out) {
    for (int32_t i = 0; i < p->count; i++) {
        out[i] = (float)(eg_get_integer(in, p->type, i) - p->zero_point) * p->scale;
    }
}

#endif
