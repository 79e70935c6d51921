/* Depthwise taps of sixteen channels at a time (Armv8.1-M MVE).
 *
 * Products of two taps fit 16 bits together where no weight is -128: 2 * 127 * 128 < 2^15; only then are they widened
 * and added up. VMULL and VMOVL take every second lane, so that the four accumulators hold channels (0 4 8 12),
 * (1 5 9 13), (2 6 10 14) and (3 7 11 15) of a block: the output's table stands in that order.
 * Weights: (channels / 16, taps, 16), filled up with 0. */
#ifndef EG_DEPTHWISE_S8_MVE_H
#define EG_DEPTHWISE_S8_MVE_H

#include "eg_rows_s8_mve.h"

#if defined(EG_ISA_MVE)

/* One step is one piece of assembly: gcc 12 else moves the loads of all taps to the front and spills them. Accumulators
 * q0 to q3; the second tap's inputs are read twice, as there is no ninth register. */
#define EG_TAP_FIRST(load)                                                                                             \
    load " q4, [%[x]]\n\t"                                                                                             \
         "vldrb.8 q5, [%[w]], #16\n\t"                                                                                 \
         "vmullb.s8 q6, q4, q5\n\t"                                                                                    \
         "vmullt.s8 q4, q4, q5\n\t"
#define EG_TAP_SECOND(load)                                                                                            \
    load " q5, [%[y]]\n\t"                                                                                             \
         "vldrb.8 q7, [%[w]], #16\n\t"                                                                                 \
         "vmullt.s8 q5, q5, q7\n\t"                                                                                    \
         "vadd.i16 q4, q4, q5\n\t" load " q5, [%[y]]\n\t"                                                              \
         "vmullb.s8 q5, q5, q7\n\t"                                                                                    \
         "vadd.i16 q6, q6, q5\n\t"
#define EG_TAP_WIDEN                                                                                                   \
    "vmovlb.s16 q5, q6\n\t"                                                                                            \
    "vmovlt.s16 q6, q6\n\t"                                                                                            \
    "vadd.i32 q0, q0, q5\n\t"                                                                                          \
    "vadd.i32 q2, q2, q6\n\t"                                                                                          \
    "vmovlb.s16 q5, q4\n\t"                                                                                            \
    "vmovlt.s16 q4, q4\n\t"                                                                                            \
    "vadd.i32 q1, q1, q5\n\t"                                                                                          \
    "vadd.i32 q3, q3, q4\n\t"
#define EG_TAPS(text)                                                                                                  \
    __asm volatile(text                                                                                                \
                   : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), [w] "+r"(w)                                               \
                   : [x] "r"(at), [y] "r"(next), [n] "r"(lanes)                                                        \
                   : "q4", "q5", "q6", "q7", "memory")

/* Accumulator n to its scaled value; m and s move along the table. */
#define EG_SCALE(n)                                                                                                    \
    "vldrw.32 q4, [%[m]], #16\n\t"                                                                                     \
    "vqrdmulh.s32 q" #n ", q" #n ", q4\n\t"
#define EG_TIES(n)                                                                                                     \
    "vshr.s32 q5, q" #n ", #31\n\t"                                                                                    \
    "vadd.i32 q" #n ", q" #n ", q5\n\t"
#define EG_ROUND(n)                                                                                                    \
    "vldrw.32 q4, [%[s]], #16\n\t"                                                                                     \
    "vrshl.s32 q" #n ", q" #n ", q4\n\t"
#define EG_SCALED(text)                                                                                                \
    __asm volatile(text : "+w"(s0), "+w"(s1), "+w"(s2), "+w"(s3), [m] "+r"(m), [s] "+r"(s) : : "q4", "q5", "memory")

/* A tap of a patch, found without a division. */
struct eg_tap {
    const int8_t *at;
    const int8_t *line; /* of its row's first tap */
    int32_t column;
};

EG_INLINE void eg_next_tap(struct eg_tap *place, int32_t kernel_w, int32_t row, int32_t tap) {
    place->column++;
    place->at += tap;
    if (place->column == kernel_w) {
        place->column = 0;
        place->line += row;
        place->at = place->line;
    }
}

/* One block of channels of one output pixel. ``row``, ``tap``: bytes between taps; ``lanes``: channels of the block. */
EG_INLINE void eg_depthwise_block(const struct eg_output *o, const int32_t *entry, const int8_t *w, int32_t kernel_h,
                                  int32_t kernel_w, const int8_t *x, int32_t row, int32_t tap, int8_t *out,
                                  int32_t lanes) {
    register int32x4_t s0 __asm("q0") = vldrwq_s32(entry);
    register int32x4_t s1 __asm("q1") = vldrwq_s32(entry + 4);
    register int32x4_t s2 __asm("q2") = vldrwq_s32(entry + 8);
    register int32x4_t s3 __asm("q3") = vldrwq_s32(entry + 12);
    const int32_t *m = entry + o->field_step;
    const int32_t *s = m + o->field_step;
    const int32_t taps = kernel_h * kernel_w;
    struct eg_tap place = {x, x, 0};
    for (int32_t k = 0; k < taps; k += 2) {
        const int8_t *at = place.at;
        if (k + 1 < taps) {
            eg_next_tap(&place, kernel_w, row, tap);
        }
        const int8_t *next = place.at;
        if (lanes >= 16) {
            if (k + 1 < taps) {
                EG_TAPS(EG_TAP_FIRST("vldrb.8") EG_TAP_SECOND("vldrb.8") EG_TAP_WIDEN);
            } else {
                EG_TAPS(EG_TAP_FIRST("vldrb.8") EG_TAP_WIDEN);
            }
        } else if (k + 1 < taps) { /* past the last channel may be past the input: predicated */
            EG_TAPS("vctp.8 %[n]\n\t" EG_TAP_FIRST("vpst\n\tvldrbt.8") EG_TAP_SECOND("vpst\n\tvldrbt.8") EG_TAP_WIDEN);
        } else {
            EG_TAPS("vctp.8 %[n]\n\t" EG_TAP_FIRST("vpst\n\tvldrbt.8") EG_TAP_WIDEN);
        }
        if (k + 2 < taps) {
            eg_next_tap(&place, kernel_w, row, tap);
        }
    }
    if (o->ties) {
        EG_SCALED(EG_SCALE(0) EG_TIES(0) EG_ROUND(0) EG_SCALE(1) EG_TIES(1) EG_ROUND(1) EG_SCALE(2) EG_TIES(2)
                      EG_ROUND(2) EG_SCALE(3) EG_TIES(3) EG_ROUND(3));
    } else {
        EG_SCALED(EG_SCALE(0) EG_ROUND(0) EG_SCALE(1) EG_ROUND(1) EG_SCALE(2) EG_ROUND(2) EG_SCALE(3) EG_ROUND(3));
    }
    /* The bottom half of a pair takes the even places, the top half the odd ones. */
    int16x8_t even = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(s0), s0), s2);
    int16x8_t odd = vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(s1), s1), s3);
    even = vqaddq_n_s16(even, (int16_t)o->zero_point);
    odd = vqaddq_n_s16(odd, (int16_t)o->zero_point);
    int8x16_t stored = vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even), even), odd);
    if (o->low > -128) {
        stored = vmaxq_s8(stored, vdupq_n_s8((int8_t)o->low));
    }
    if (o->high < 127) {
        stored = vminq_s8(stored, vdupq_n_s8((int8_t)o->high));
    }
    if (lanes < 16) {
        vstrbq_p_s8(out, stored, vctp8q((uint32_t)lanes));
    } else {
        vstrbq_s8(out, stored);
    }
}

/* One output pixel. */
EG_KERNEL void eg_depthwise_vectors(const struct eg_output *o, const int8_t *weights, int32_t channels,
                                    int32_t kernel_h, int32_t kernel_w, const int8_t *from, int32_t row, int32_t tap,
                                    int8_t *out) {
    const int32_t *entry = o->table;
    int32_t left = channels;
    for (; left >= 16; left -= 16) {
        eg_depthwise_block(o, entry, weights, kernel_h, kernel_w, from, row, tap, out, 16);
        entry += 16;
        weights += kernel_h * kernel_w * 16;
        from += 16;
        out += 16;
    }
    if (left > 0) {
        eg_depthwise_block(o, entry, weights, kernel_h, kernel_w, from, row, tap, out, left);
    }
}

#endif

#endif
