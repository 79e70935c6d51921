/* The model that a firmware holds. The definition is generated beside the model's own sources. */
#ifndef EG_MODEL_H
#define EG_MODEL_H

#include <stdint.h>

enum eg_type { EG_INT8, EG_UINT8, EG_INT16, EG_INT32, EG_FLOAT32 };

/* One output within the output block. In millionths: ((stored - zero_point) * numerator) >> shift. */
struct eg_output {
    uint32_t offset;   /* bytes */
    uint32_t elements;
    enum eg_type type;
    int32_t zero_point;
    int64_t numerator; /* without meaning for EG_FLOAT32 */
    uint8_t shift;
};

struct eg_model {
    const char *name;
    const char *digest; /* of the sources that it was built from, hexadecimal */
    uint32_t arena_bytes;
    uint32_t input_bytes;
    uint32_t output_bytes;
    uint32_t operators;
    uint32_t output_count;
    const struct eg_output *outputs;
    uint8_t *input;  /* input_bytes of them, 16-byte aligned */
    uint8_t *output; /* output_bytes of them, 16-byte aligned */
    void (*run)(void);  /* input -> output */
    void (*read)(void); /* the same of a token whose scores nobody asks for: memory alone; else run */
};

extern const struct eg_model eg_model;

#endif
