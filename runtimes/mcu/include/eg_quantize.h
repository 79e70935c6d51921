/* float32 to stored integers: round(in / scale), halves away from zero (EG_ONNX_QDQ: to even), + zero_point, clamped to
 * the type.
 *
 * What is not a number becomes the zero point. */
#ifndef EG_QUANTIZE_H
#define EG_QUANTIZE_H

#include "eg_integers.h"
#include "eg_requantize.h"

struct eg_quantize_params {
    int32_t count; /* elements, >= 1 */
    float scale;   /* > 0 */
    int32_t zero_point;
    int32_t type;     /* EG_INT8, EG_UINT8 or EG_INT16 */
    int32_t rounding; /* of halves */
};

EG_KERNEL void eg_quantize(const struct eg_quantize_params *p, const float *in, void *out) {
    const float least = (float)(eg_least(p->type) - p->zero_point);
    const float most = (float)(eg_greatest(p->type) - p->zero_point);
    for (int32_t i = 0; i < p->count; i++) {
        float steps = in[i] / p->scale;
        steps = steps != steps ? 0.0f : steps < least ? least : steps > most ? most : steps;
        const int32_t whole = (int32_t)steps;
        const float rest = steps - (float)whole;
        const int32_t rounded =
            p->rounding == EG_ONNX_QDQ ? eg_round_even(steps) : whole + (rest >= 0.5f) - (rest <= -0.5f);
        eg_set_integer(out, p->type, i, rounded + p->zero_point);
    }
}

#endif
