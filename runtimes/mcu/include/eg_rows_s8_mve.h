/* eg_rows_s8.h with vectors (Armv8.1-M MVE): 16 values an instruction, block 4, chunk 16. A column is read up to a
 * multiple of 16 values; weights are 0 there. Accumulators are even registers, as VMLADAV wants; pointers take the odd
 * ones. */
#ifndef EG_ROWS_S8_MVE_H
#define EG_ROWS_S8_MVE_H

#include "eg_rows_s8.h"

#if defined(EG_ISA_MVE)

/* Four lanes to int8: all, or the first ``lanes``. */
EG_INLINE void eg_store_lanes(int8_t *out, int32x4_t value, int32_t lanes) {
    if (lanes >= 4) {
        vstrbq_s32(out, value);
    } else {
        vstrbq_p_s32(out, value, vctp32q((uint32_t)lanes));
    }
}

/* Four rows times two columns. ``at`` moves to the next block. */
EG_INLINE const int8_t *eg_block_pair(const int8_t *at, const int8_t *x, const int8_t *y, int32_t chunks, int32x4_t *p,
                                      int32x4_t *q) {
    register int32x4_t first __asm("q0");
    register int32x4_t second __asm("q1");
    int32_t left = chunks - 1;
    __asm volatile("vldrb.8 q0, [%[x]], #16\n\t"
                   "vldrb.8 q1, [%[y]], #16\n\t"
                   "vldrb.8 q2, [%[w]], #16\n\t"
                   "vmladav.s8 r0, q0, q2\n\t"
                   "vldrb.8 q3, [%[w]], #16\n\t"
                   "vmladav.s8 r8, q1, q2\n\t"
                   "vmladav.s8 r2, q0, q3\n\t"
                   "vldrb.8 q2, [%[w]], #16\n\t"
                   "vmladav.s8 r10, q1, q3\n\t"
                   "vmladav.s8 r4, q0, q2\n\t"
                   "vldrb.8 q3, [%[w]], #16\n\t"
                   "vmladav.s8 r12, q1, q2\n\t"
                   "vmladav.s8 r6, q0, q3\n\t"
                   "vmladav.s8 lr, q1, q3\n\t"
                   "cmp %[n], #0\n\t"
                   "beq 2f\n\t"
                   "1:\n\t"
                   "vldrb.8 q0, [%[x]], #16\n\t"
                   "vldrb.8 q1, [%[y]], #16\n\t"
                   "vldrb.8 q2, [%[w]], #16\n\t"
                   "subs %[n], #1\n\t"
                   "vmladava.s8 r0, q0, q2\n\t"
                   "vldrb.8 q3, [%[w]], #16\n\t"
                   "vmladava.s8 r8, q1, q2\n\t"
                   "vmladava.s8 r2, q0, q3\n\t"
                   "vldrb.8 q2, [%[w]], #16\n\t"
                   "vmladava.s8 r10, q1, q3\n\t"
                   "vmladava.s8 r4, q0, q2\n\t"
                   "vldrb.8 q3, [%[w]], #16\n\t"
                   "vmladava.s8 r12, q1, q2\n\t"
                   "vmladava.s8 r6, q0, q3\n\t"
                   "vmladava.s8 lr, q1, q3\n\t"
                   "bne 1b\n\t"
                   "2:\n\t"
                   "vmov q0[2], q0[0], r0, r4\n\t"
                   "vmov q0[3], q0[1], r2, r6\n\t"
                   "vmov q1[2], q1[0], r8, r12\n\t"
                   "vmov q1[3], q1[1], r10, lr\n\t"
                   : "=w"(first), "=w"(second), [x] "+r"(x), [y] "+r"(y), [w] "+r"(at), [n] "+r"(left)
                   :
                   : "r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr", "q2", "q3", "cc", "memory");
    *p = first;
    *q = second;
    return at;
}

/* Four rows times one column. */
EG_INLINE const int8_t *eg_block_single(const int8_t *at, const int8_t *x, int32_t chunks, int32x4_t *p) {
    register int32x4_t first __asm("q0");
    __asm volatile("mov r0, #0\n\t"
                   "mov r2, #0\n\t"
                   "mov r4, #0\n\t"
                   "mov r6, #0\n\t"
                   "dls lr, %[n]\n\t"
                   "1:\n\t"
                   "vldrb.8 q0, [%[x]], #16\n\t"
                   "vldrb.8 q1, [%[w]], #16\n\t"
                   "vmladava.s8 r0, q0, q1\n\t"
                   "vldrb.8 q2, [%[w]], #16\n\t"
                   "vmladava.s8 r2, q0, q2\n\t"
                   "vldrb.8 q1, [%[w]], #16\n\t"
                   "vmladava.s8 r4, q0, q1\n\t"
                   "vldrb.8 q2, [%[w]], #16\n\t"
                   "vmladava.s8 r6, q0, q2\n\t"
                   "le lr, 1b\n\t"
                   "vmov q0[2], q0[0], r0, r4\n\t"
                   "vmov q0[3], q0[1], r2, r6\n\t"
                   : "=w"(first), [x] "+r"(x), [w] "+r"(at)
                   : [n] "r"(chunks)
                   : "r0", "r2", "r4", "r6", "lr", "q1", "q2", "cc", "memory");
    *p = first;
    return at;
}

/* Values that the vector finish does not do. */
EG_INLINE void eg_finish_lanes(const struct eg_output *o, int32x4_t sums, int32_t channel, int32_t lanes, int8_t *out) {
    int32_t sum[4];
    vstrwq_s32(sum, sums);
    for (int32_t i = 0; i < 4 && i < lanes; i++) {
        out[i] = eg_finish(o, sum[i] + eg_bias(o, channel + i), channel + i);
    }
}

/* One or two columns (``y`` NULL) times all rows. */
EG_KERNEL void eg_rows_vector(const struct eg_rows *w, const struct eg_output *o, int32_t first, const int8_t *x,
                              const int8_t *y, int8_t *out0, int8_t *out1) {
    const int8_t *at = w->weights;
    const int32_t chunks = w->padded_depth / 16;
    for (int32_t row = 0; row < w->rows; row += 4) {
        const int32_t lanes = w->rows - row;
        int32x4_t p;
        int32x4_t q;
        if (y) {
            at = eg_block_pair(at, x, y, chunks, &p, &q);
        } else {
            at = eg_block_single(at, x, chunks, &p);
            q = p;
        }
        if (o->fast) {
            const struct eg_channels c = eg_channels_of(o, first + row);
            eg_store_lanes(out0 + row, eg_finish_vector(o, p, c), lanes);
            if (y) {
                eg_store_lanes(out1 + row, eg_finish_vector(o, q, c), lanes);
            }
        } else {
            eg_finish_lanes(o, p, first + row, lanes, out0 + row);
            if (y) {
                eg_finish_lanes(o, q, first + row, lanes, out1 + row);
            }
        }
    }
}

#endif

#endif
