/* float32 functions that give the same bits on every core: each operation rounds once, none are joined.
 *
 * Needs IEEE 754's round to nearest and no -ffast-math; a core without a floating-point unit has them in software. */
#ifndef EG_FLOAT_H
#define EG_FLOAT_H

#include "eg_core.h"

/* a * b, kept apart from an addition that follows: compilers may join the two into one rounding. */
EG_INLINE float eg_times(float a, float b) {
    const volatile float product = a * b;
    return product;
}

/* e^x within 2 units in the last place: x = k ln 2 + r, a polynomial of degree 6 in r (Taylor's), times 2^k. 0 below -87 and
 * the largest float32 above 88. */
EG_KERNEL float eg_exp_f32(float x) {
    if (x != x) {
        return x;
    }
    if (x < -87.0f) {
        return 0.0f;
    }
    if (x > 88.0f) {
        return 3.4028234663852886e38f;
    }
    const float scaled = eg_times(x, 1.44269504088896341f);
    const int32_t k = (int32_t)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float whole = (float)k;
    float r = x - eg_times(whole, 0.693359375f);
    r = r - eg_times(whole, -2.12194440e-4f);
    float sum = 1.0f / 720.0f;
    sum = eg_times(sum, r) + 1.0f / 120.0f;
    sum = eg_times(sum, r) + 1.0f / 24.0f;
    sum = eg_times(sum, r) + 1.0f / 6.0f;
    sum = eg_times(sum, r) + 0.5f;
    sum = eg_times(sum, r) + 1.0f;
    sum = eg_times(sum, r) + 1.0f;
    const uint32_t bits = (uint32_t)(k + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return eg_times(sum, power);
}

#endif
