#include "eg_generation.h"

#include <string.h>

#include "eg_protocol.h"

static uint32_t tokens_read;
static uint32_t waiting; /* a token that was taken and not read, where has_waiting */
static int has_waiting;

/* Stored at one scale to stored at another, as the host does it: real = scale * (stored - zero) in float32, rounded
 * halves away from zero. */
static int32_t converted(const struct eg_kept *kept, int32_t stored, int32_t least, int32_t most)
{
    const float real = (float)(stored - kept->output_zero) * kept->output_scale;
    const float steps = real / kept->input_scale;
    if (steps >= 65536.0f || steps <= -65536.0f) {
        return steps > 0.0f ? most : least;
    }
    int32_t whole = (int32_t)steps;
    const float rest = steps - (float)whole;
    whole += rest >= 0.5f ? 1 : rest <= -0.5f ? -1 : 0;
    whole += kept->input_zero;
    return whole < least ? least : whole > most ? most : whole;
}

/* Whether a stored number means the same on both sides. */
static int alike(const struct eg_kept *kept)
{
    return kept->type == EG_FLOAT32 ||
           (kept->input_zero == kept->output_zero && kept->input_scale <= kept->output_scale &&
            kept->input_scale >= kept->output_scale);
}

static void keep_one(const struct eg_kept *kept, uint32_t to, uint32_t from)
{
    const void *source = eg_model.output + kept->output;
    void *target = eg_model.input + kept->input;
    if (kept->type == EG_INT8) {
        ((int8_t *)target)[to] = (int8_t)converted(kept, ((const int8_t *)source)[from], -128, 127);
    } else if (kept->type == EG_INT16) {
        ((int16_t *)target)[to] = (int16_t)converted(kept, ((const int16_t *)source)[from], -32768, 32767);
    } else {
        ((uint32_t *)target)[to] = ((const uint32_t *)source)[from];
    }
}

void eg_forget(void)
{
    tokens_read = 0;
    has_waiting = 0;
    for (uint32_t i = 0; i < eg_generation.kept_count; i++) {
        const struct eg_kept *kept = &eg_generation.kept[i];
        void *target = eg_model.input + kept->input;
        for (uint32_t j = 0; j < kept->outer * kept->places * kept->inner; j++) {
            if (kept->type == EG_INT8) {
                ((int8_t *)target)[j] = (int8_t)kept->input_zero;
            } else if (kept->type == EG_INT16) {
                ((int16_t *)target)[j] = (int16_t)kept->input_zero;
            } else {
                ((uint32_t *)target)[j] = 0u;
            }
        }
    }
}

static uint64_t step(int scored)
{
    *(uint32_t *)(void *)(eg_model.input + eg_generation.token) = waiting;
    if (eg_generation.position != EG_NO_POSITION) {
        *(uint32_t *)(void *)(eg_model.input + eg_generation.position) = tokens_read;
    }
    const uint64_t ticks = scored ? eg_timed_runs(1u) : eg_timed_read();
    for (uint32_t i = 0; i < eg_generation.kept_count; i++) {
        const struct eg_kept *kept = &eg_generation.kept[i];
        const uint32_t place = tokens_read % kept->places;
        const uint32_t bytes = kept->type == EG_INT8 ? 1u : kept->type == EG_INT16 ? 2u : 4u;
        for (uint32_t row = 0; row < kept->outer; row++) {
            const uint32_t to = (row * kept->places + place) * kept->inner;
            if (alike(kept)) {
                memcpy(eg_model.input + kept->input + to * bytes, eg_model.output + kept->output + row * kept->inner * bytes,
                       (size_t)kept->inner * bytes);
                continue;
            }
            for (uint32_t j = 0; j < kept->inner; j++) {
                keep_one(kept, to + j, row * kept->inner + j);
            }
        }
    }
    tokens_read++;
    has_waiting = 0;
    return ticks;
}

uint64_t eg_read_token(uint32_t token)
{
    const uint64_t ticks = has_waiting ? step(0) : 0u;
    waiting = token;
    has_waiting = 1;
    return ticks;
}

uint64_t eg_score(void)
{
    return has_waiting ? step(1) : 0u;
}

uint32_t eg_tokens_read(void)
{
    return tokens_read + (has_waiting ? 1u : 0u);
}

/* MurmurHash3's finalizer of 32 bits (Austin Appleby, public domain). */
static uint32_t mixed(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x85ebca6bu;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    return x ^ (x >> 16);
}

uint32_t eg_choose(uint32_t ratio, uint32_t seed, uint32_t draw)
{
    static uint32_t weights[256]; /* by how far a score lies below the highest */
    const int8_t *scores = (const int8_t *)(eg_model.output + eg_generation.scores);
    uint32_t highest = 0;
    for (uint32_t i = 1; i < eg_generation.vocabulary; i++) {
        highest = scores[i] > scores[highest] ? i : highest;
    }
    if (ratio == 0u) {
        return highest;
    }
    weights[0] = 65536u;
    for (uint32_t d = 1; d < 256u; d++) {
        weights[d] = (uint32_t)(((uint64_t)weights[d - 1u] * ratio) >> 32);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < eg_generation.vocabulary; i++) {
        sum += weights[scores[highest] - scores[i]];
    }
    const uint32_t random = mixed(mixed(seed) + draw * 0x9e3779b9u);
    const uint64_t wanted = ((uint64_t)random * sum) >> 32; /* the sum fits 32 bits: at most 65,535 scores */
    uint64_t passed = 0;
    for (uint32_t i = 0; i < eg_generation.vocabulary; i++) {
        passed += weights[scores[highest] - scores[i]];
        if (passed > wanted) {
            return i;
        }
    }
    return highest;
}
