/* How a model of sequences is fed: a token in, scores of the next one out, and memory that goes round. */
#ifndef EG_GENERATION_H
#define EG_GENERATION_H

#include <stdint.h>

#include "eg_model.h"

#define EG_NO_POSITION 0xffffffffu

/* An input that holds memory and the output that follows it. Elements are outer x places x inner; the output has those
 * of one place, which is the number of tokens read, modulo places. One place: the output takes the input's. */
struct eg_kept {
    uint32_t input; /* bytes into the block */
    uint32_t output;
    uint32_t outer;
    uint32_t places;
    uint32_t inner;
    enum eg_type type; /* of both: EG_INT8, EG_INT16 or EG_FLOAT32 */
    float input_scale; /* of integers */
    float output_scale;
    int32_t input_zero;
    int32_t output_zero;
};

struct eg_generation {
    uint32_t token;    /* where the input block has its int32 */
    uint32_t position; /* the same of the number of tokens before; or EG_NO_POSITION */
    uint32_t scores;   /* where the output block has them: int8 */
    uint32_t vocabulary;
    uint32_t kept_count;
    const struct eg_kept *kept;
};

extern const struct eg_generation eg_generation;

/* Memory as before the first token. */
void eg_forget(void);
/* Takes a token to read. It waits until the next one comes, which tells that nobody asks for its scores, or eg_score does.
 * Ticks of the one that waited; 0: none did. */
uint64_t eg_read_token(uint32_t token);
/* Scores of the next token by all that were taken. Ticks; 0: they were there. */
uint64_t eg_score(void);
/* Tokens taken since eg_forget. */
uint32_t eg_tokens_read(void);
/* The next token by the scores of eg_score. ratio: e^(-scale of a score / temperature) * 2^32, by which a
 * score's weight falls a step below the highest; 0: the first of the highest. draw: counts the draws of a seed. */
uint32_t eg_choose(uint32_t ratio, uint32_t seed, uint32_t draw);

#endif
