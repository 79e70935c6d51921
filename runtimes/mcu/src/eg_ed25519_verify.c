#include "eg_ed25519_verify.h"

#include "eg_fe25519.h"
#include "eg_sha512.h"

/* A point in extended coordinates: its x is x/z, its y is y/z, and t is x*y/z (RFC 8032, section 5.1.4). */
struct point {
    struct eg_fe x, y, z, t;
};

/* Numbers of RFC 8032, section 5.1, the low 32 bits first. */
static const struct eg_fe curve_d = {{
    0x135978a3u, 0x75eb4dcau, 0x4141d8abu, 0x00700a4du,
    0x7779e898u, 0x8cc74079u, 0x2b6ffe73u, 0x52036ceeu,
}};
static const struct eg_fe curve_2d = {{
    0x26b2f159u, 0xebd69b94u, 0x8283b156u, 0x00e0149au,
    0xeef3d130u, 0x198e80f2u, 0x56dffce7u, 0x2406d9dcu,
}};
static const struct eg_fe root_of_minus_one = {{
    0x4a0ea0b0u, 0xc4ee1b27u, 0xad2fe478u, 0x2f431806u,
    0x3dfbd7a7u, 0x2b4d0099u, 0x4fc1df0bu, 0x2b832480u,
}};
static const struct eg_fe base_x = {{
    0x8f25d51au, 0xc9562d60u, 0x9525a7b2u, 0x692cc760u,
    0xfdd6dc5cu, 0xc0a4e231u, 0xcd6e53feu, 0x216936d3u,
}};
static const struct eg_fe base_y = {{
    0x66666658u, 0x66666666u, 0x66666666u, 0x66666666u,
    0x66666666u, 0x66666666u, 0x66666666u, 0x66666666u,
}};
static const uint32_t order[8] = {
    0x5cf5d3edu, 0x5812631au, 0xa2f79cd6u, 0x14def9deu,
    0x00000000u, 0x00000000u, 0x00000000u, 0x10000000u,
};

static const struct eg_fe zero = {{0}};
static const struct eg_fe one = {{1}};

/* out = a + b, for any two points (RFC 8032, section 5.1.4); out may be a or b. */
static void add(struct point *out, const struct point *a, const struct point *b)
{
    struct eg_fe m, n, p, q, s;
    eg_fe_sub(&m, &a->y, &a->x);
    eg_fe_sub(&s, &b->y, &b->x);
    eg_fe_mul(&m, &m, &s);
    eg_fe_add(&n, &a->y, &a->x);
    eg_fe_add(&s, &b->y, &b->x);
    eg_fe_mul(&n, &n, &s);
    eg_fe_mul(&p, &a->t, &b->t);
    eg_fe_mul(&p, &p, &curve_2d);
    eg_fe_mul(&q, &a->z, &b->z);
    eg_fe_add(&q, &q, &q);
    eg_fe_sub(&s, &n, &m); /* E */
    eg_fe_add(&n, &n, &m); /* H */
    eg_fe_sub(&m, &q, &p); /* F */
    eg_fe_add(&q, &q, &p); /* G */
    eg_fe_mul(&out->x, &s, &m);
    eg_fe_mul(&out->y, &q, &n);
    eg_fe_mul(&out->z, &m, &q);
    eg_fe_mul(&out->t, &s, &n);
}

/* a = 2a. */
static void twice(struct point *a)
{
    struct eg_fe m, n, p, q, s;
    eg_fe_mul(&m, &a->x, &a->x);
    eg_fe_mul(&n, &a->y, &a->y);
    eg_fe_mul(&p, &a->z, &a->z);
    eg_fe_add(&p, &p, &p);
    eg_fe_add(&q, &a->x, &a->y);
    eg_fe_mul(&q, &q, &q);
    eg_fe_add(&s, &m, &n);  /* H */
    eg_fe_sub(&q, &s, &q);  /* E */
    eg_fe_sub(&m, &m, &n);  /* G */
    eg_fe_add(&p, &p, &m);  /* F */
    eg_fe_mul(&a->x, &q, &p);
    eg_fe_mul(&a->y, &m, &s);
    eg_fe_mul(&a->z, &p, &m);
    eg_fe_mul(&a->t, &q, &s);
}

/* The point that 32 bytes stand for (RFC 8032, section 5.1.3); false if they stand for none. */
static bool decode(struct point *out, const uint8_t bytes[32])
{
    struct eg_fe u, v, x, s;
    if (!eg_fe_read(&out->y, bytes))
        return false;
    eg_fe_mul(&s, &out->y, &out->y);
    eg_fe_sub(&u, &s, &one);
    eg_fe_mul(&v, &s, &curve_d);
    eg_fe_add(&v, &v, &one);
    /* x = u v^3 (u v^7)^((p-5)/8) is a root of u/v or of -u/v, if there is one. */
    eg_fe_mul(&s, &v, &v);
    eg_fe_mul(&s, &s, &v);
    eg_fe_mul(&x, &u, &s);
    eg_fe_mul(&s, &s, &s);
    eg_fe_mul(&s, &s, &v);
    eg_fe_mul(&s, &s, &u);
    eg_fe_pow(&s, &s, 252, 0x02); /* 2^252 - 3 */
    eg_fe_mul(&x, &x, &s);
    eg_fe_mul(&s, &x, &x);
    eg_fe_mul(&s, &s, &v);
    if (!eg_fe_equal(&s, &u)) {
        eg_fe_mul(&x, &x, &root_of_minus_one);
        eg_fe_mul(&s, &x, &x);
        eg_fe_mul(&s, &s, &v);
        if (!eg_fe_equal(&s, &u))
            return false;
    }
    const bool odd = (bytes[31] & 0x80u) != 0;
    if (eg_fe_equal(&x, &zero) && odd)
        return false;
    if (eg_fe_is_odd(&x) != odd)
        eg_fe_sub(&x, &zero, &x);
    out->x = x;
    out->z = one;
    eg_fe_mul(&out->t, &x, &out->y);
    return true;
}

static void encode(uint8_t bytes[32], const struct point *a)
{
    struct eg_fe inverse, x, y;
    eg_fe_pow(&inverse, &a->z, 255, 0x14); /* 2^255 - 21 = p - 2 */
    eg_fe_mul(&x, &a->x, &inverse);
    eg_fe_mul(&y, &a->y, &inverse);
    eg_fe_write(bytes, &y);
    if (eg_fe_is_odd(&x))
        bytes[31] |= 0x80u;
}

/* -1, 0 or 1 as a is less than, equal to or greater than the order of the base point. */
static int against_order(const uint32_t a[8])
{
    for (int i = 7; i >= 0; i--) {
        if (a[i] != order[i])
            return a[i] < order[i] ? -1 : 1;
    }
    return 0;
}

/* out = bytes, 64 of them with the lowest first, modulo the order: one bit after the other. */
static void reduce(uint32_t out[8], const uint8_t bytes[64])
{
    for (int i = 0; i < 8; i++)
        out[i] = 0;
    for (int bit = 511; bit >= 0; bit--) {
        uint32_t carry = (uint32_t)(bytes[bit / 8] >> (bit % 8)) & 1u;
        for (int i = 0; i < 8; i++) {
            const uint32_t word = out[i];
            out[i] = word << 1 | carry;
            carry = word >> 31;
        }
        if (against_order(out) >= 0) {
            uint64_t borrow = 0;
            for (int i = 0; i < 8; i++) {
                const uint64_t word = (uint64_t)out[i] - order[i] - borrow;
                out[i] = (uint32_t)word;
                borrow = word >> 63;
            }
        }
    }
}

bool eg_ed25519_verify(const uint8_t key[EG_ED25519_KEY_BYTES], const uint8_t *message, size_t length,
                       const uint8_t signature[EG_ED25519_SIGNATURE_BYTES])
{
    struct point table[3], total = {zero, one, one, zero}; /* table: B, -A, B - A */
    uint32_t s[8], h[8];
    uint8_t digest[EG_SHA512_BYTES], encoded[32];
    for (int i = 0; i < 8; i++) {
        const uint8_t *at = signature + 32 + 4 * i;
        s[i] = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    }
    if (against_order(s) >= 0 || !decode(&table[1], key))
        return false;
    const struct eg_bytes parts[3] = {{signature, 32}, {key, EG_ED25519_KEY_BYTES}, {message, length}};
    eg_sha512(parts, 3, digest);
    reduce(h, digest);
    eg_fe_sub(&table[1].x, &zero, &table[1].x);
    eg_fe_sub(&table[1].t, &zero, &table[1].t);
    table[0].x = base_x;
    table[0].y = base_y;
    table[0].z = one;
    eg_fe_mul(&table[0].t, &base_x, &base_y);
    add(&table[2], &table[0], &table[1]);
    /* [s]B + [h](-A), both at once; numbers are public, so it may take longer for some than for others. */
    for (int bit = 252; bit >= 0; bit--) {
        const unsigned chosen = (s[bit / 32] >> (bit % 32) & 1u) | (h[bit / 32] >> (bit % 32) & 1u) << 1;
        twice(&total);
        if (chosen != 0)
            add(&total, &total, &table[chosen - 1u]);
    }
    encode(encoded, &total);
    for (int i = 0; i < 32; i++) {
        if (encoded[i] != signature[i])
            return false;
    }
    return true;
}
