/* EG_ONNX_QDQ for operators that are no products: real numbers in float32, between DequantizeLinear and
 * QuantizeLinear. */
#ifndef EG_QDQ_H
#define EG_QDQ_H

#include "eg_requantize.h"

/* A number in steps of the output's scale as it is stored: clamped, ties to even, + zero point. What is not a number
 * becomes the zero point, within the clamp. */
EG_INLINE int8_t eg_steps_s8(float steps, int32_t zero_point, int32_t low, int32_t high) {
    const float least = (float)(low - zero_point);
    const float most = (float)(high - zero_point);
    steps = steps != steps ? 0.0f : steps;
    return (int8_t)(eg_round_even(steps < least ? least : steps > most ? most : steps) + zero_point);
}

#endif
