#include "eg_sha256.h"

/* FIPS 180-4, section 4.2.2: fractions of the cube roots of the first 64 primes. */
static const uint32_t rounds[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

/* Section 5.3.3: fractions of the square roots of the first 8 primes. */
static const uint32_t beginning[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

static uint32_t turned(uint32_t word, unsigned bits)
{
    return (word >> bits) | (word << (32u - bits));
}

/* Section 6.2.2, for one block; the message schedule is kept as its last 16 words. */
static void take_block(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[16], s[8];
    for (unsigned i = 0; i < 8; i++)
        s[i] = state[i];
    for (unsigned i = 0; i < 64; i++) {
        if (i < 16) {
            const uint8_t *at = block + 4 * i;
            w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        } else {
            const uint32_t a = w[(i + 1) & 15], b = w[(i + 14) & 15];
            w[i & 15] += (turned(a, 7) ^ turned(a, 18) ^ (a >> 3)) + w[(i + 9) & 15] +
                         (turned(b, 17) ^ turned(b, 19) ^ (b >> 10));
        }
        const uint32_t one = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) +
                             ((s[4] & s[5]) ^ (~s[4] & s[6])) + rounds[i] + w[i & 15];
        const uint32_t two = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) +
                             ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        for (unsigned n = 7; n > 0; n--)
            s[n] = s[n - 1];
        s[4] += one;
        s[0] = one + two;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += s[i];
}

void eg_sha256(const struct eg_bytes *parts, size_t count, uint8_t digest[EG_SHA256_BYTES])
{
    uint32_t state[8];
    uint8_t block[64];
    uint64_t bits = 0;
    size_t used = 0;
    for (size_t i = 0; i < 8; i++)
        state[i] = beginning[i];
    for (size_t part = 0; part < count; part++) {
        bits += (uint64_t)parts[part].length * 8;
        for (size_t i = 0; i < parts[part].length; i++) {
            block[used++] = parts[part].data[i];
            if (used == sizeof block) {
                take_block(state, block);
                used = 0;
            }
        }
    }
    /* Section 5.1.1: one bit, zeros, and the length in bits as the block's last 8 bytes. */
    block[used++] = 0x80;
    if (used > sizeof block - 8) {
        while (used < sizeof block)
            block[used++] = 0;
        take_block(state, block);
        used = 0;
    }
    while (used < sizeof block - 8)
        block[used++] = 0;
    for (unsigned i = 0; i < 8; i++)
        block[used++] = (uint8_t)(bits >> (56 - 8 * i));
    take_block(state, block);
    for (size_t i = 0; i < EG_SHA256_BYTES; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}
