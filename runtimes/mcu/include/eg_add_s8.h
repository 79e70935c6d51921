/* a + b of int8 tensors of any scales, broadcast to each other.
 *
 * EG_TFLM_DOUBLE, EG_LITERT_REF: as TFLite's reference adds: both are raised by 20 bits and brought to twice the larger
 * scale, added, and the sum is brought to the output's scale. Multipliers and shifts as in eg_requantize.h, no shift
 * to the left.
 * EG_ONNX_QDQ: dequantized, added, divided by the output's scale, all in float32; ties to even.
 *
 * ``fast``: no rule of ONNX's; each input's factor is exactly a half (multiplier 2^30, shift 0) or has a shift in
 * [-20, -1]; the output's shift lies in [-21, -1]. Then |sum| < 2^29 and the one-step form of eg_output.h holds for all
 * three.
 *
 * out may be a or b where that is not broadcast. */
#ifndef EG_ADD_S8_H
#define EG_ADD_S8_H

#include "eg_loops.h"
#include "eg_output.h"
#include "eg_rows_s8_dsp.h"
#include "eg_rows_s8_mve.h"

struct eg_add_s8_params {
    struct eg_loops loops;
    int32_t rounding;
    int32_t fast;
    int32_t a_zero_point, a_multiplier, a_shift;
    int32_t b_zero_point, b_multiplier, b_shift;
    int32_t out_zero_point, out_multiplier, out_shift;
    int32_t low, high;                 /* clamp, within int8 */
    float a_scale, b_scale, out_scale; /* EG_ONNX_QDQ only */
};

EG_INLINE int8_t eg_add_one(const struct eg_add_s8_params *p, int32_t a, int32_t b) {
    a -= p->a_zero_point;
    b -= p->b_zero_point;
    if (p->rounding == EG_ONNX_QDQ) {
        const volatile float x = (float)a * p->a_scale; /* volatile: no fused multiply-add */
        const volatile float y = (float)b * p->b_scale;
        const float least = (float)(p->low - p->out_zero_point);
        const float most = (float)(p->high - p->out_zero_point);
        const float scaled = (x + y) / p->out_scale;
        return (int8_t)(eg_round_even(scaled < least ? least : scaled > most ? most : scaled) + p->out_zero_point);
    }
    const int32_t sum = eg_multiply_double(a * (1 << 20), p->a_multiplier, (int)p->a_shift) +
                        eg_multiply_double(b * (1 << 20), p->b_multiplier, (int)p->b_shift);
    return (int8_t)eg_requantize(sum, p->out_multiplier, (int)p->out_shift, EG_TFLM_DOUBLE, p->out_zero_point, p->low,
                                 p->high);
}

#if defined(EG_ISA_DSP)

/* An input less its zero point, brought to the common scale. */
EG_INLINE int32_t eg_add_scaled(int32_t value, int32_t multiplier, int32_t shift) {
    if (shift == 0) {
        return value * (1 << 19);
    }
    return eg_smmlar(value * (1 << 21), multiplier, (1 << (-shift - 1)) + (value >> 31)) >> -shift;
}

EG_INLINE uint32_t eg_add_element(const struct eg_add_s8_params *p, int32_t a, int32_t b) {
    const int32_t right = -p->out_shift;
    const int32_t sum = eg_add_scaled(a, p->a_multiplier, p->a_shift) + eg_add_scaled(b, p->b_multiplier, p->b_shift);
    const int32_t ties = p->low < p->out_zero_point ? sum >> 31 : 0;
    const int32_t offset = (1 << (right - 1)) + p->out_zero_point * (1 << right);
    const int32_t value = eg_smmlar(sum * 2, p->out_multiplier, offset + ties) >> right;
    if (p->low == -128 && p->high == 127) {
        return (uint8_t)eg_saturate8(value);
    }
    return (uint8_t)eg_clamp(value, p->low, p->high);
}

/* Whole words of two rows of the same length. Returns how many elements that were. */
EG_INLINE int32_t eg_add_words(const struct eg_add_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out,
                               int32_t count) {
    int32_t i = 0;
    const int32_t za = -p->a_zero_point;
    const int32_t zb = -p->b_zero_point;
    for (; i + 4 <= count; i += 4) {
        const uint32_t x = eg_word(a + i);
        const uint32_t y = eg_word(b + i);
        const uint32_t first = eg_add_element(p, (int8_t)x + za, (int8_t)y + zb);
        const uint32_t second = eg_add_element(p, (int8_t)(x >> 8) + za, (int8_t)(y >> 8) + zb);
        const uint32_t third = eg_add_element(p, (int8_t)(x >> 16) + za, (int8_t)(y >> 16) + zb);
        const uint32_t fourth = eg_add_element(p, (int8_t)(x >> 24) + za, (int8_t)(y >> 24) + zb);
        out[i] = (int8_t)first;
        out[i + 1] = (int8_t)second;
        out[i + 2] = (int8_t)third;
        out[i + 3] = (int8_t)fourth;
    }
    return i;
}

#elif defined(EG_ISA_MVE)

EG_INLINE int32x4_t eg_add_scaled(int32x4_t value, int32_t multiplier, int32_t shift) {
    if (shift == 0) {
        return vshlq_n_s32(value, 19);
    }
    value = vqrdmulhq_n_s32(vshlq_n_s32(value, 20), multiplier);
    return vrshlq_n_s32(vaddq_s32(value, vshrq_n_s32(value, 31)), shift);
}

/* Whole vectors of two rows of the same length. Returns how many elements that were. */
EG_INLINE int32_t eg_add_words(const struct eg_add_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out,
                               int32_t count) {
    int32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const int32x4_t x = vsubq_n_s32(vldrbq_s32(a + i), p->a_zero_point);
        const int32x4_t y = vsubq_n_s32(vldrbq_s32(b + i), p->b_zero_point);
        int32x4_t sum =
            vaddq_s32(eg_add_scaled(x, p->a_multiplier, p->a_shift), eg_add_scaled(y, p->b_multiplier, p->b_shift));
        sum = vqrdmulhq_n_s32(sum, p->out_multiplier);
        if (p->low < p->out_zero_point) {
            sum = vaddq_s32(sum, vshrq_n_s32(sum, 31));
        }
        sum = vaddq_n_s32(vrshlq_n_s32(sum, p->out_shift), p->out_zero_point);
        vstrbq_s32(out + i, vminq_s32(vmaxq_s32(sum, vdupq_n_s32(p->low)), vdupq_n_s32(p->high)));
    }
    return i;
}

#endif

EG_KERNEL void eg_add_s8(const struct eg_add_s8_params *p, const int8_t *a, const int8_t *b, int8_t *out) {
#if defined(EG_ISA_DSP) || defined(EG_ISA_MVE)
    const struct eg_loops *n = &p->loops;
    if (p->fast && n->count[0] * n->count[1] * n->count[2] == 1 && n->a[3] == 1 && n->b[3] == 1) {
        for (int32_t i = eg_add_words(p, a, b, out, n->count[3]); i < n->count[3]; i++) {
            out[i] = eg_add_one(p, a[i], b[i]);
        }
        return;
    }
#endif
    EG_LOOPS(p->loops, ia, ib, o) {
        out[o] = eg_add_one(p, a[ia], b[ib]);
    }
}

#endif
