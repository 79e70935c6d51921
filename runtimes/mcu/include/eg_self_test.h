#ifndef EG_SELF_TEST_H
#define EG_SELF_TEST_H
/* A model's golden vectors, run where the model is to work: same input blocks, same output blocks to the byte.
 *
 * It finds weights, code or memory that are not what they were when the vectors were made. It proves nothing about who
 * made them: that is the signature's (eg_ed25519_verify.h). No allocation, no state. */
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* What a model's golden.h defines. */
struct eg_golden {
    void (*run)(void *arena, const void *in, void *out);
    uint32_t vectors;      /* at least 1 */
    uint32_t input_bytes;  /* of one block */
    uint32_t output_bytes; /* of one block */
    const uint8_t *inputs;  /* one block after the other */
    const uint8_t *outputs; /* the same; where hashed is not 0, the SHA-256 of each block instead */
    uint32_t hashed;
};

#define EG_SELF_TEST_HOLDS (-1)

/* The first vector whose output differs, counted from 0; EG_SELF_TEST_HOLDS if none does. arena, in and out are the
 * blocks that the model is run with, and hold nothing of use afterwards. Bytes between outputs are 0 in a golden block,
 * and are made so before each run. Stack: the model's, and about 450 bytes where blocks are hashed. */
int32_t eg_self_test(const struct eg_golden *golden, void *arena, void *in, void *out);

#if defined(__cplusplus)
}
#endif

#endif
