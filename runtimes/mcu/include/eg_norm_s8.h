/* Layer, instance and RMS norm of int8: (x - mean) / sqrt(variance + epsilon) * gain + offset, by groups.
 *
 * Sums are exact: with d = x - zero_point and n numbers a group, n d - sum(d) and n sum(d^2) - sum(d)^2 are n times what is
 * divided and n^2 times the variance. Their quotient has 16 bits of fraction; eg_affine.h does the rest. Without `centred`
 * nothing is subtracted (RMS norm).
 *
 * in and out may be the same memory. */
#ifndef EG_NORM_S8_H
#define EG_NORM_S8_H

#include "eg_affine.h"
#include "eg_inverse_root.h"

struct eg_norm_s8_params {
    int32_t groups, group_step;   /* elements between the first of a group and of the next */
    int32_t size, step;           /* numbers a group, [1, 4096], and elements between them */
    int32_t by_group;             /* 1: gain and offset are a group's, 0: a number's */
    int32_t centred;              /* 0: RMS norm */
    int32_t epsilon_high;         /* epsilon n^2 / scale^2 = epsilon_high * 2^31 + epsilon_low */
    int32_t epsilon_low;          /* [0, 2^31) */
    int32_t in_zero_point, out_zero_point;
    int32_t gain_bits;            /* [1, 30] */
    const int32_t *gain, *offset; /* eg_affine.h */
    int32_t low, high;            /* clamp, within int8 */
};

EG_KERNEL void eg_norm_s8(const struct eg_norm_s8_params *p, const int8_t *in, int8_t *out) {
    const int64_t epsilon = (int64_t)p->epsilon_high * ((int64_t)1 << 31) + p->epsilon_low;
    for (int32_t group = 0; group < p->groups; group++) {
        const int8_t *from = in + group * p->group_step;
        int8_t *to = out + group * p->group_step;
        int32_t sum = 0;
        int64_t squares = 0;
        for (int32_t i = 0; i < p->size; i++) {
            const int32_t value = from[i * p->step] - p->in_zero_point;
            sum += value;
            squares += (int64_t)value * value;
        }
        sum = p->centred ? sum : 0;
        const int64_t spread = p->size * squares - (int64_t)sum * sum + epsilon;
        int32_t right;
        const int32_t root = eg_inverse_root(spread > 0 ? spread : 1, &right);
        right -= 16;
        for (int32_t i = 0; i < p->size; i++) {
            const int32_t apart = p->size * (from[i * p->step] - p->in_zero_point) - sum;
            const int32_t number = (int32_t)(((int64_t)apart * root + ((int64_t)1 << (right - 1))) >> right);
            const int32_t place = p->by_group ? group : i;
            to[i * p->step] = (int8_t)eg_affine(number, p->gain[place], (int)p->gain_bits, p->offset[place],
                                                p->out_zero_point, p->low, p->high);
        }
    }
}

#endif
