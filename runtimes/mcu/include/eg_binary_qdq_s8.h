/* Two int8 tensors of any scales, broadcast to each other, under EG_ONNX_QDQ: both are dequantized, the operation is done
 * in float32, and the result divided by the output's scale; ties to even.
 *
 * EG_QDQ_PRELU: a where it is at least 0, else a * b. out may be a or b where that is not broadcast. */
#ifndef EG_BINARY_QDQ_S8_H
#define EG_BINARY_QDQ_S8_H

#include "eg_loops.h"
#include "eg_qdq.h"

enum { EG_QDQ_SUB = 0, EG_QDQ_MUL, EG_QDQ_DIV, EG_QDQ_MAXIMUM, EG_QDQ_MINIMUM, EG_QDQ_PRELU };

struct eg_binary_qdq_s8_params {
    struct eg_loops loops;
    int32_t operation; /* EG_QDQ_SUB ... */
    int32_t a_zero_point, b_zero_point, out_zero_point;
    float a_scale, b_scale, out_scale; /* > 0 */
    int32_t low, high;                 /* clamp, within int8 */
};

EG_INLINE float eg_qdq_made(int32_t operation, float x, float y) {
    switch (operation) {
    case EG_QDQ_SUB:
        return x - y;
    case EG_QDQ_MUL:
        return x * y;
    case EG_QDQ_DIV:
        return x / y;
    case EG_QDQ_MAXIMUM:
        return x > y ? x : y;
    case EG_QDQ_MINIMUM:
        return x < y ? x : y;
    default:
        return x >= 0.0f ? x : x * y;
    }
}

EG_KERNEL void eg_binary_qdq_s8(const struct eg_binary_qdq_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
    EG_LOOPS (p->loops, ia, ib, o) {
        const volatile float x = (float)(a[ia] - p->a_zero_point) * p->a_scale; /* volatile: no fused multiply-add */
        const volatile float y = (float)(b[ib] - p->b_zero_point) * p->b_scale;
        const volatile float made = eg_qdq_made(p->operation, x, y);
        out[o] = eg_steps_s8(made / p->out_scale, p->out_zero_point, p->low, p->high);
    }
}

#endif
