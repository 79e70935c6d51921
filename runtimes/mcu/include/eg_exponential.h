/* e^a of a <= 0 with 5 integer bits, as gemmlowp's exp_on_negative_values; 0 integer bits out. */
#ifndef EG_EXPONENTIAL_H
#define EG_EXPONENTIAL_H

#include "eg_fixed_point.h"

EG_KERNEL int32_t eg_exponential(int32_t a) {
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242}; /* e^-2^(k-2) */
    const int32_t quarter = 1 << 24;
    const int32_t within = (a & (quarter - 1)) - quarter; /* [-1/4, 0) */
    const int32_t rest = within - a;
    const int32_t x = within * (1 << 5) + (1 << 28);
    const int32_t squared = eg_high_mul(x, x);
    const int32_t fourth = eg_divide_by_power(eg_high_mul(squared, squared), 2);
    const int32_t cubic = eg_high_mul(fourth + eg_high_mul(squared, x), 715827883);
    int32_t made = 1895147668 + eg_high_mul(x + eg_divide_by_power(cubic + squared, 1), 1895147668);
    for (int k = 0; k < 7; k++) {
        if (rest & (int32_t)((uint32_t)1 << (24 + k))) {
            made = eg_high_mul(made, factors[k]);
        }
    }
    return a == 0 ? INT32_MAX : made;
}

#endif
