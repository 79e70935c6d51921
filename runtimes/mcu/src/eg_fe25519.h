#ifndef EG_FE25519_H
#define EG_FE25519_H
/* Numbers modulo p = 2^255 - 19, for eg_ed25519_verify.c alone: 8 words of 32 bits, the lowest first.
 *
 * Between operations a number is any of those below 2^256 that are congruent; 2^256 = 38 modulo p. Results may be
 * their operands. */
#include <stdbool.h>
#include <stdint.h>

struct eg_fe {
    uint32_t word[8];
};

/* Adds carry times 2^256, which is carry times 38; carry is at most 2^32. */
static void eg_fe_fold(struct eg_fe *a, uint64_t carry)
{
    while (carry != 0) {
        carry *= 38;
        for (int i = 0; i < 8; i++) {
            carry += a->word[i];
            a->word[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
}

static void eg_fe_add(struct eg_fe *out, const struct eg_fe *a, const struct eg_fe *b)
{
    uint64_t carry = 0;
    for (int i = 0; i < 8; i++) {
        carry += (uint64_t)a->word[i] + b->word[i];
        out->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    eg_fe_fold(out, carry);
}

static void eg_fe_sub(struct eg_fe *out, const struct eg_fe *a, const struct eg_fe *b)
{
    uint64_t borrow = 0;
    for (int i = 0; i < 8; i++) {
        const uint64_t word = (uint64_t)a->word[i] - b->word[i] - borrow;
        out->word[i] = (uint32_t)word;
        borrow = word >> 63;
    }
    /* What was borrowed is 2^256, so 38 are too much. */
    while (borrow != 0) {
        uint64_t less = 38;
        for (int i = 0; i < 8; i++) {
            const uint64_t word = (uint64_t)out->word[i] - less;
            out->word[i] = (uint32_t)word;
            less = word >> 63;
        }
        borrow = less;
    }
}

static void eg_fe_mul(struct eg_fe *out, const struct eg_fe *a, const struct eg_fe *b)
{
    uint32_t product[16] = {0};
    for (int i = 0; i < 8; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < 8; j++) {
            carry += (uint64_t)a->word[i] * b->word[j] + product[i + j]; /* at most 2^64 - 1 */
            product[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product[i + 8] = (uint32_t)carry;
    }
    uint64_t carry = 0;
    for (int i = 0; i < 8; i++) {
        carry += (uint64_t)product[i + 8] * 38 + product[i];
        out->word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    eg_fe_fold(out, carry);
}

/* out = a to the power whose lowest `bits` bits are ones but for those in `cleared`, which are among the lowest 5. */
static void eg_fe_pow(struct eg_fe *out, const struct eg_fe *a, int bits, unsigned cleared)
{
    const struct eg_fe base = *a;
    struct eg_fe power = base;
    for (int bit = bits - 2; bit >= 0; bit--) {
        eg_fe_mul(&power, &power, &power);
        if (bit > 4 || (cleared >> bit & 1u) == 0)
            eg_fe_mul(&power, &power, &base);
    }
    *out = power;
}

/* The one number below p that is congruent. */
static void eg_fe_freeze(struct eg_fe *a)
{
    /* Bit 255 stands for 19; the second time brings home what the first may have carried there. */
    for (int turn = 0; turn < 2; turn++) {
        uint64_t carry = (uint64_t)(a->word[7] >> 31) * 19;
        a->word[7] &= 0x7fffffffu;
        for (int i = 0; i < 8; i++) {
            carry += a->word[i];
            a->word[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    /* It is p or more if adding 19 reaches 2^255. */
    struct eg_fe more = *a;
    uint64_t carry = 19;
    for (int i = 0; i < 8; i++) {
        carry += more.word[i];
        more.word[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if ((more.word[7] >> 31) != 0) {
        more.word[7] &= 0x7fffffffu;
        *a = more;
    }
}

static bool eg_fe_equal(const struct eg_fe *a, const struct eg_fe *b)
{
    struct eg_fe difference;
    uint32_t bits = 0;
    eg_fe_sub(&difference, a, b);
    eg_fe_freeze(&difference);
    for (int i = 0; i < 8; i++)
        bits |= difference.word[i];
    return bits == 0;
}

static bool eg_fe_is_odd(const struct eg_fe *a)
{
    struct eg_fe frozen = *a;
    eg_fe_freeze(&frozen);
    return (frozen.word[0] & 1u) != 0;
}

/* Reads 255 bits, the lowest byte first; false if they are p or more. */
static bool eg_fe_read(struct eg_fe *out, const uint8_t bytes[32])
{
    for (int i = 0; i < 8; i++) {
        const uint8_t *at = bytes + 4 * i;
        out->word[i] = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    }
    out->word[7] &= 0x7fffffffu;
    struct eg_fe frozen = *out;
    eg_fe_freeze(&frozen);
    for (int i = 0; i < 8; i++) {
        if (frozen.word[i] != out->word[i])
            return false;
    }
    return true;
}

static void eg_fe_write(uint8_t bytes[32], const struct eg_fe *a)
{
    struct eg_fe frozen = *a;
    eg_fe_freeze(&frozen);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(frozen.word[i / 4] >> (8 * (i % 4)));
}

#endif
