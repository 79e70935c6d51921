/* How a kernel's accumulators become stored int8: bias, factor, zero point, clamp. Part of the parameters of every
 * product.
 *
 * The table holds, for channel c and field f, table[c * channel_step + f * field_step]:
 *   0 bias        int32, the input's zero point folded in (bias - zero_point * sum of the channel's weights)
 *   1 multiplier  int32 in [2^30, 2^31), or the bits of a float32 scale under EG_ONNX_QDQ
 *   2 shift       to the right where ``shift_is_right``, else as in eg_requantize.h
 *   3 offset      only where ``fast`` on the DSP path: 2^shift / 2, rounded down, + zero_point * 2^shift
 * With ``uniform`` there is only field 0, and the three others are the members below.
 *
 * ``fast``: the generator has proved, from weights and bias, for every channel that |accumulator| < 2^30 and that
 * 1 <= right shift <= 22, under a rule other than EG_ONNX_QDQ. Then both roundings of EG_TFLM_DOUBLE are one: with
 * a = accumulator, m = multiplier, s = shift,
 *
 *     floor((floor((a m + 2^30) / 2^31) + 2^(s-1) - [a < 0]) / 2^s)
 *   = floor((2 a m + 2^31 + 2^32 (2^(s-1) - [a < 0])) / 2^(32+s))
 *
 * which is SMMLAR and an arithmetic shift. ``ties``: -1 where [a < 0] matters, 0 where it does not (low >= zero point:
 * ReLU). There, under EG_TFLM_DOUBLE, a shift of 0 is ``fast`` too: 2^(s-1) and [a < 0] both fall away. */
#ifndef EG_OUTPUT_H
#define EG_OUTPUT_H

#include "eg_requantize.h"

struct eg_output {
    const int32_t *table;
    int32_t channel_step;
    int32_t field_step;
    int32_t multiplier;
    int32_t shift;
    int32_t offset;
    int32_t uniform;
    int32_t shift_is_right;
    int32_t fast;
    int32_t ties;
    int32_t rounding;
    int32_t zero_point;
    int32_t low;
    int32_t high;
};

EG_INLINE int32_t eg_bias(const struct eg_output *o, int32_t channel) {
    return o->table[channel * o->channel_step];
}

EG_INLINE int32_t eg_field(const struct eg_output *o, int32_t channel, int32_t field, int32_t of_all) {
    return o->uniform ? of_all : o->table[channel * o->channel_step + field * o->field_step];
}

#if defined(EG_ISA_DSP)

/* SMMLAR: ((addend << 32) + a * b + 2^31) >> 32. SMMLA: the same without the rounding term. */
EG_INLINE int32_t eg_smmlar(int32_t a, int32_t b, int32_t addend) {
    int32_t high;
    __asm("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(a), "r"(b), "r"(addend));
    return high;
}

EG_INLINE int32_t eg_smmla(int32_t a, int32_t b, int32_t addend) {
    int32_t high;
    __asm("smmla %0, %1, %2, %3" : "=r"(high) : "r"(a), "r"(b), "r"(addend));
    return high;
}

EG_INLINE int32_t eg_saturate8(int32_t value) {
    int32_t saturated;
    __asm("ssat %0, #8, %1" : "=r"(saturated) : "r"(value));
    return saturated;
}

/* A channel's numbers, read once for several pixels. */
struct eg_channel {
    int32_t multiplier;
    int32_t shift;
    int32_t offset;
};

EG_INLINE struct eg_channel eg_channel_of(const struct eg_output *o, int32_t channel) {
    struct eg_channel c;
    if (o->uniform) {
        c.multiplier = o->multiplier;
        c.shift = o->shift;
        c.offset = o->offset;
    } else {
        const int32_t *row = o->table + channel * o->channel_step;
        c.multiplier = row[o->field_step];
        c.shift = row[2 * o->field_step];
        c.offset = o->fast ? row[3 * o->field_step] : 0;
    }
    return c;
}

/* What the short form does not do. */
EG_KERNEL int8_t eg_finish_slowly(const struct eg_output *o, int32_t value, struct eg_channel c) {
    const int shift = o->shift_is_right ? -c.shift : c.shift;
    return (int8_t)eg_requantize(value, c.multiplier, shift, o->rounding, o->zero_point, o->low, o->high);
}

/* An accumulator, bias included, as a stored value. */
EG_INLINE int8_t eg_finish_channel(const struct eg_output *o, int32_t value, struct eg_channel c) {
    if (!o->fast) {
        return eg_finish_slowly(o, value, c);
    }
    /* |value| < 2^30: doubling stays in range. */
    const int32_t doubled = value * 2;
    const int32_t addend = c.offset + ((value >> 31) & o->ties);
    const int32_t high = (o->rounding == EG_LITERT_REF ? eg_smmla(doubled, c.multiplier, addend)
                                                       : eg_smmlar(doubled, c.multiplier, addend)) >>
                         c.shift;
    if (o->low == -128 && o->high == 127) {
        return (int8_t)eg_saturate8(high);
    }
    return (int8_t)eg_clamp(high, o->low, o->high);
}

EG_INLINE int8_t eg_finish(const struct eg_output *o, int32_t value, int32_t channel) {
    return eg_finish_channel(o, value, eg_channel_of(o, channel));
}

#else

/* An accumulator, bias included, of a channel as a stored value. */
EG_KERNEL int8_t eg_finish(const struct eg_output *o, int32_t value, int32_t channel) {
    const int32_t multiplier = eg_field(o, channel, 1, o->multiplier);
    const int32_t shift = eg_field(o, channel, 2, o->shift);
    const int right = o->shift_is_right ? shift : -shift;
    if (o->fast) {
        const int32_t addend = ((1 << right) >> 1) + o->zero_point * (1 << right) + ((value >> 31) & o->ties);
        /* Twice the value fits: |value| < 2^30. */
        const int64_t half = o->rounding == EG_LITERT_REF ? 0 : (int64_t)1 << 31;
        const int64_t sum = (int64_t)(value * 2) * multiplier + (int64_t)addend * ((int64_t)1 << 32) + half;
        return (int8_t)eg_clamp((int32_t)(sum >> 32) >> right, o->low, o->high);
    }
    return (int8_t)eg_requantize(value, multiplier, -right, o->rounding, o->zero_point, o->low, o->high);
}

#endif

#if defined(EG_ISA_MVE)

/* Four channels' numbers; of a planar table (channel_step 1) with shifts to the left. */
struct eg_channels {
    int32x4_t bias;
    int32x4_t multiplier;
    int32x4_t shift;
};

EG_INLINE struct eg_channels eg_channels_of(const struct eg_output *o, int32_t channel) {
    struct eg_channels c;
    const int32_t *at = o->table + channel;
    c.bias = vldrwq_s32(at);
    c.multiplier = o->uniform ? vdupq_n_s32(o->multiplier) : vldrwq_s32(at + o->field_step);
    c.shift = o->uniform ? vdupq_n_s32(o->shift) : vldrwq_s32(at + 2 * o->field_step);
    return c;
}

/* Accumulators without their bias; only where ``fast``. Lanes stay int32. */
EG_INLINE int32x4_t eg_finish_vector(const struct eg_output *o, int32x4_t value, struct eg_channels c) {
    value = vaddq_s32(value, c.bias);
    if (o->rounding == EG_LITERT_REF) {
        value = o->uniform ? vqdmulhq_n_s32(value, o->multiplier) : vqdmulhq_s32(value, c.multiplier);
    } else {
        value = o->uniform ? vqrdmulhq_n_s32(value, o->multiplier) : vqrdmulhq_s32(value, c.multiplier);
        if (o->ties) {
            value = vaddq_s32(value, vshrq_n_s32(value, 31));
        }
    }
    value = o->uniform ? vrshlq_n_s32(value, o->shift) : vrshlq_s32(value, c.shift);
    value = vaddq_n_s32(value, o->zero_point);
    return vminq_s32(vmaxq_s32(value, vdupq_n_s32(o->low)), vdupq_n_s32(o->high));
}

#endif

#endif
