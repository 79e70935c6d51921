#include "eg_self_test.h"

#include <string.h>

#include "eg_sha256.h"

int32_t eg_self_test(const struct eg_golden *golden, void *arena, void *in, void *out)
{
    const uint32_t expected_bytes = golden->hashed != 0u ? EG_SHA256_BYTES : golden->output_bytes;
    for (uint32_t i = 0; i < golden->vectors; i++) {
        const uint8_t *made = out;
        uint8_t digest[EG_SHA256_BYTES];
        memcpy(in, golden->inputs + i * golden->input_bytes, golden->input_bytes);
        memset(out, 0, golden->output_bytes);
        golden->run(arena, in, out);
        if (golden->hashed != 0u) {
            const struct eg_bytes block = {made, golden->output_bytes};
            eg_sha256(&block, 1, digest);
            made = digest;
        }
        if (memcmp(made, golden->outputs + i * expected_bytes, expected_bytes) != 0)
            return (int32_t)i;
    }
    return EG_SELF_TEST_HOLDS;
}
